"""The replies that count, as comparisons of cells need them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matrixbench.store.database import Store
    from tests.store.conftest import Make


def test_the_replies_that_count_come_with_cell_build_and_seed(
    store: Store, make: Make, launch: int
) -> None:
    """Refusals, other cells and lower seeds are left out; each reply can be had by its number."""
    make.stored(
        store,
        [
            make.trial(launch, "c1", 1),
            make.trial(launch, "c1", 2, reply=make.reply("Rome")),
            make.trial(launch, "c1", 3, refusal=make.errored()),
            make.trial(launch, "c2", 2),
            make.trial(launch, "c3", 2),
        ],
    )
    kept = list(store.kept("exp", first_seed=2, cells={"c1", "c2"}))
    assert {(item.cell, item.build, item.seed) for item in kept} == {
        ("c1", make.build.id, 2),
        ("c2", make.build.id, 2),
    }
    (number,) = (item.id for item in kept if item.cell == "c1")
    assert store.reply(number).content == "Rome"
    assert store.newest() == 5


def test_a_newer_attempt_takes_the_place_of_an_older_one(
    store: Store, make: Make, launch: int
) -> None:
    """So does a fresh start: of the older generation nothing counts."""
    make.stored(store, [make.trial(launch)])
    (first,) = store.kept("exp", first_seed=1, cells={"c1"})
    fresh = store.start_fresh("exp")
    assert list(store.kept("exp", first_seed=1, cells={"c1"})) == []
    make.stored(store, [make.trial(launch, generation=fresh)])
    (second,) = store.kept("exp", first_seed=1, cells={"c1"})
    assert second.id > first.id


def test_an_empty_store_keeps_nothing(store: Store) -> None:
    """There is no newest attempt either."""
    assert list(store.kept("exp", first_seed=1, cells={"c1"})) == []
    assert store.newest() == 0
