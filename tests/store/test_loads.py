"""What the load of a launch run makes of its trials."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matrixbench.plan.cells import Load, Loads
from matrixbench.store.experiments import LOAD, load_note

if TYPE_CHECKING:
    from matrixbench.store.database import Store
    from tests.store.conftest import Make

ALONE = Loads(keys=frozenset({"c4"}))
COMPARED = Loads(
    keys=frozenset({"c4", "c8"}),
    of={"d1": frozenset({"c4", "c8"})},
    apart={"d1": {"four": "c4", "eight": "c8"}},
)


def runs(store: Store, make: Make, **noted: str | None) -> None:
    """Store one trial of seed 1 for each launch run, by name and what it noted of its load."""
    with store.writer() as writer:
        numbers = [writer.start_launch(make.launch(name=name)) for name in noted]
        for number, value in zip(numbers, noted.values(), strict=True):
            if value is not None:
                writer.note(number, LOAD, value)
    make.stored(store, [make.trial(number) for number in numbers])


def seen(store: Store, loads: Loads, cells: set[str] | None = None) -> list[tuple[str, str | None]]:
    """Return cell and load of the attempts that count."""
    found = store.trials("exp", first_seed=1, cells=cells, loads=loads)
    return [(row.cell, row.load) for row in found]


def test_loads_that_are_compared_have_trials_of_their_own(store: Store, make: Make) -> None:
    """One seed under two loads is two trials, each known by its load; else the newest counts."""
    runs(store, make, four="c4", eight="c8")
    assert seen(store, COMPARED) == [("c1@c4", "c4"), ("c1@c8", "c8")]
    assert seen(store, COMPARED, {"c1@c8"}) == [("c1@c8", "c8")]
    assert seen(store, Loads()) == [("c1", "c8")]
    progress = store.progress(
        "exp", first_seed=1, trials=1, request_timeout_s=300.0, loads=COMPARED
    )
    assert {cell for cells in progress.values() for cell in cells} == {"c1@c4", "c1@c8"}
    assert set(store.durations(loads=COMPARED)) == {"c1@c4", "c1@c8"}


def test_the_own_load_goes_before_a_newer_one(store: Store, make: Make) -> None:
    """What another load measured later does not hide it; where there is nothing else, it counts."""
    runs(store, make, four="c4", eight="c8")
    assert seen(store, ALONE) == [("c1", "c4")]
    assert seen(store, Loads(keys=frozenset({"c2"}))) == [("c1", "c8")]


def test_a_run_of_before_belongs_to_its_name(store: Store, make: Make) -> None:
    """Whose name nobody has any more goes to the first; its load stays unknown."""
    runs(store, make, eight=None)
    assert seen(store, COMPARED) == [("c1@c8", None)]
    runs(store, make, renamed=None)
    assert seen(store, COMPARED) == [("c1@c8", None), ("c1@c4", None)]
    assert seen(store, ALONE) == [("c1", None)]


def test_a_load_that_was_left_to_the_server_is_also_what_came_of_it(
    store: Store, make: Make
) -> None:
    """An endpoint with four slots was sent four at a time: that is a plain 4 as well."""
    note = load_note(Load(), 4)
    assert load_note(Load(concurrency=4), 4) == "c4"
    runs(store, make, left=note)
    assert seen(store, COMPARED) == [("c1@c4", "c4")]
    assert seen(store, ALONE) == [("c1", "c4")]
    assert seen(store, Loads(keys=frozenset({"auto"}))) == [("c1", "auto")]


def test_a_fresh_start_hides_the_trials_of_every_load(store: Store, make: Make) -> None:
    """One of the plain cell holds for all of them, one of a load for it alone."""
    runs(store, make, four="c4", eight="c8")
    store.start_fresh("exp", ["c1@c8"])
    assert seen(store, COMPARED) == [("c1@c4", "c4")]
    store.start_fresh("exp", ["c1"])
    assert seen(store, COMPARED) == []
