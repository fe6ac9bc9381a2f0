"""What is done: which attempts count, and what they are worth."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from matrixbench.plan.cells import CellProgress
from matrixbench.records import Judgement, Kind, Outcome
from matrixbench.store.database import open_store
from tests.properties import examples

if TYPE_CHECKING:
    from matrixbench.store.database import Store
    from tests.store.conftest import Make


def progress(store: Store, experiment: str = "exp", *, trials: int = 4) -> dict[str, CellProgress]:
    """Return what is known of the cells of the one build."""
    found = store.progress(experiment, first_seed=1, trials=trials, request_timeout_s=300.0)
    return found.get("b" * 24, {})


def test_an_empty_store_knows_nothing(store: Store) -> None:
    """Where nothing ran, there is no build and no cell."""
    assert store.progress("exp", first_seed=1, trials=4, request_timeout_s=1.0) == {}


def test_a_bit_for_each_seed(store: Store, make: Make, launch: int) -> None:
    """Bit i is the trial with seed first_seed + i; seeds outside are somebody else's."""
    make.stored(store, [make.trial(launch, seed=seed) for seed in (0, 1, 3, 5)])
    assert progress(store) == {"c1": CellProgress(kept=0b101)}


def test_the_newest_attempt_counts(store: Store, make: Make, launch: int) -> None:
    """An attempt that measured nothing is made good by a later one, and the other way round."""
    make.stored(
        store,
        [
            make.trial(launch, seed=1, refusal=make.errored()),
            make.trial(launch, seed=1),
            make.trial(launch, seed=2),
            make.trial(launch, seed=2, refusal=make.errored()),
        ],
    )
    assert progress(store) == {"c1": CellProgress(kept=0b01, errored=0b10)}


def test_a_reply_is_kept_whatever_its_checks_say(store: Store, make: Make, launch: int) -> None:
    """A reply that failed, and one at which a check raised, are not asked for again."""
    raised = Judgement(outcome=Outcome.ERRORED, kind=Kind.CHECK_RAISED, reason="bug")
    failed = Judgement(outcome=Outcome.FAILED, kind=Kind.WRONG_CONTENT, reason="no Paris")
    make.stored(
        store,
        [
            make.trial(launch, seed=1, judgement=raised),
            make.trial(launch, seed=2, judgement=failed),
            make.trial(launch, seed=3, refusal=make.rejected(by_request=False)),
        ],
    )
    assert progress(store) == {"c1": CellProgress(kept=0b111)}


@pytest.mark.parametrize(
    ("limit_s", "known"),
    [(300.0, CellProgress(kept=1)), (299.0, CellProgress(kept=1)), (301.0, CellProgress(short=1))],
)
def test_a_timeout_counts_until_the_limit_is_raised(
    store: Store, make: Make, launch: int, limit_s: float, known: CellProgress
) -> None:
    """A timeout is kept under its own limit or a lower one, and short of a higher one."""
    make.stored(store, [make.trial(launch, refusal=make.timeout())])
    found = store.progress("exp", first_seed=1, trials=1, request_timeout_s=limit_s)
    assert found == {make.build.id: {"c1": known}}


def test_what_the_request_decides_stands_for_the_cell(
    store: Store, make: Make, launch: int
) -> None:
    """A rejection by the request stands, until a newer attempt at that trial says otherwise."""
    refused = make.trial(launch, seed=2, refusal=make.rejected(by_request=True))
    make.stored(store, [refused])
    assert progress(store) == {"c1": CellProgress(kept=0b10, stands=True)}
    make.stored(store, [make.trial(launch, seed=2)])
    assert progress(store) == {"c1": CellProgress(kept=0b10)}


def test_builds_are_kept_apart(store: Store, make: Make, launch: int) -> None:
    """The same cell under another build has its own progress."""
    other = make.build.__class__(id="o" * 24, kind="llama-server", server="7" * 64)
    with store.writer() as writer:
        second = writer.start_launch(make.launch(build=other))
        writer.offer(make.trial(launch))
        key = make.trial(second, seed=2).key.__class__(
            cell="c1", build=other.id, seed=2, generation=0
        )
        writer.offer(make.trial(second, key=key))
    assert store.progress("exp", first_seed=1, trials=2, request_timeout_s=1.0) == {
        make.build.id: {"c1": CellProgress(kept=0b01)},
        other.id: {"c1": CellProgress(kept=0b10)},
    }


def test_a_fresh_start_is_one_experiments(store: Store, make: Make, launch: int) -> None:
    """`--fresh` hides older trials from its experiment, and from no other."""
    make.stored(store, [make.trial(launch)])
    assert store.start_fresh("exp") == 1
    assert progress(store) == {}
    assert progress(store, "other") == {"c1": CellProgress(kept=1)}
    make.stored(store, [make.trial(launch, seed=2, generation=store.generation())])
    assert progress(store) == {"c1": CellProgress(kept=0b10)}
    assert progress(store, "other") == {"c1": CellProgress(kept=0b11)}


def test_a_fresh_start_of_some_cells(store: Store, make: Make, launch: int) -> None:
    """`--fresh --where` hides older trials of the selected cells only."""
    make.stored(store, [make.trial(launch, cell) for cell in ("c1", "c2")])
    store.start_fresh("exp", ["c1"])
    assert progress(store) == {"c2": CellProgress(kept=1)}
    store.start_fresh("exp")
    assert progress(store) == {}


def test_an_older_generation_that_ends_late_is_old(store: Store, make: Make, launch: int) -> None:
    """Of two runs at a time the newer generation's attempt counts, whichever is stored last."""
    store.start_fresh("other")
    make.stored(
        store,
        [
            make.trial(launch, generation=1),
            make.trial(launch, generation=0, refusal=make.errored()),
        ],
    )
    assert progress(store) == {"c1": CellProgress(kept=1)}


@dataclass(frozen=True)
class Attempt:
    """One step of a history."""

    cell: str
    seed: int
    generation: int
    what: str


ATTEMPTS = st.builds(
    Attempt,
    cell=st.sampled_from(["c1", "c2", "c3"]),
    seed=st.integers(0, 5),
    generation=st.integers(0, 3),
    what=st.sampled_from(["reply", "errored", "timeout", "rejected", "stands"]),
)
FRESH = st.none() | st.sets(st.sampled_from(["c1", "c2", "c3"]), min_size=1)


def naive(
    history: list[Attempt], floors: dict[str, int], limit_s: float
) -> dict[str, CellProgress]:
    """Say the same in the simplest way: take the newest of each seed, then add up."""
    newest: dict[tuple[str, int], tuple[int, int, str]] = {}
    for number, attempt in enumerate(history):
        if attempt.generation >= floors[attempt.cell] and 1 <= attempt.seed < 5:
            key = attempt.cell, attempt.seed
            newest[key] = max(
                newest.get(key, (-1, -1, "")), (attempt.generation, number, attempt.what)
            )
    known: dict[str, CellProgress] = {}
    for (cell, seed), (_, _, what) in newest.items():
        before, bit = known.get(cell, CellProgress()), 1 << seed - 1
        short = what == "timeout" and limit_s > 300
        known[cell] = CellProgress(
            kept=before.kept | (0 if what == "errored" or short else bit),
            errored=before.errored | (bit if what == "errored" else 0),
            short=before.short | (bit if short else 0),
            stands=before.stands or what == "stands",
        )
    return known


@examples(40)
@given(
    st.lists(ATTEMPTS, max_size=25), st.lists(FRESH, max_size=3), st.sampled_from([300.0, 400.0])
)
def test_progress_is_what_a_naive_count_says(
    make: Make, history: list[Attempt], fresh: list[set[str] | None], limit_s: float
) -> None:
    """Whatever was attempted in whatever order: progress, and the trials that are read, agree."""
    refusals = {
        "errored": make.errored(),
        "timeout": make.timeout(),
        "rejected": make.rejected(by_request=False),
        "stands": make.rejected(by_request=True),
    }
    floors = dict.fromkeys(["c1", "c2", "c3"], 0)
    with TemporaryDirectory() as folder, open_store(Path(folder, "x.db"), create=True) as store:
        with store.writer() as writer:
            launch = writer.start_launch(make.launch())
            for one in history:
                refusal = refusals.get(one.what)
                writer.offer(
                    make.trial(
                        launch, one.cell, one.seed, generation=one.generation, refusal=refusal
                    )
                )
        for cells in fresh:
            number = store.start_fresh("exp", cells)
            floors.update(dict.fromkeys(cells or floors, number))
        found = store.progress("exp", first_seed=1, trials=4, request_timeout_s=limit_s)
        expected = naive(history, floors, limit_s)
        assert found.get(make.build.id, {}) == expected
        rows = list(store.trials("exp", first_seed=1, trials=4))
    read: dict[str, int] = {}
    for row in rows:
        read[row.cell] = read.get(row.cell, 0) + (1 << row.trial)
        errored = bool(expected[row.cell].errored >> row.trial & 1)
        assert (row.outcome is Outcome.ERRORED) is errored
    known = {cell: one.kept | one.errored | one.short for cell, one in expected.items()}
    assert read == known
