"""Which seeds a cell's trials ask for.

Trial i asks for the file's `seed`, plus i, plus an offset of its test. So the two sides of a
comparison share the seed of a trial, and thereby the sampler's random numbers. Two tests do not,
for then their luck would be one. Versions before asked for `seed + i` in every test. A test of
which the store holds such trials goes on like that until a fresh start: nothing is measured twice,
and what comes new pairs with what is there.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from matrixbench.identity import digest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from matrixbench.plan.cells import Cell, CellProgress, Progress
    from matrixbench.records import JsonObject
    from matrixbench.spec.load import TestCase

SPAN = 2**24
"""More trials than a cell has: seeds of a test's own begin at least so far from the file's."""

_ROOM = 2**31 - SPAN
"""First seeds of a test's own lie below, and so the last ones below 2³¹: a server may read a seed
as a signed number of 32 bits."""


def sent_by(test: TestCase) -> JsonObject:
    """Return what a test itself sends: messages, tools, and what a conversation goes on with.

    Neither its name nor its checks, and nothing that is set beside it: sampling and other request
    fields, the chat template, the server.
    """
    sent: JsonObject = {"messages": list(test.messages), "tools": list(test.tools)}
    if test.script is not None:
        script = test.script.identity
        sent["conversation"] = {key: script[key] for key in ("returns", "turns")}
    return sent


def offset_of(test: TestCase) -> int:
    """Return how far a test's seeds lie behind the file's: a stable hash of what it sends."""
    number = int(digest(sent_by(test))[:16], 16)
    return SPAN + number % (_ROOM - 2 * SPAN)


def own_first_seed(seed: int, test: TestCase) -> int:
    """Return the seed of a test's trial 0: the file's plus the test's offset.

    What would pass the room for first seeds begins anew at 0, which takes a file's `seed` above
    16 million.
    """
    return (seed + offset_of(test)) % _ROOM


def first_seeds(seed: int, tests: Iterable[TestCase]) -> dict[TestCase, int]:
    """Return test → the seed of its trial 0."""
    return {test: own_first_seed(seed, test) for test in tests}


@dataclass(frozen=True, slots=True, kw_only=True)
class Seeds:
    """From which seed on the trials of each cell ask.

    Args:
        base: The file's `seed`.
        own: Test → the seed of its trial 0 under the present rule.
        old: Those of `own` whose tests ask under the old rule, from `base` on.
        apart: Id of a cell that differs from its test's other cells → whether it asks under the
            old rule.
    """

    base: int
    own: Mapping[TestCase, int]
    old: frozenset[int] = frozenset()
    apart: Mapping[str, bool] = field(default_factory=dict)

    def is_old(self, cell: Cell) -> bool:
        """Return whether a cell's trials are asked under the old rule."""
        by_test = self.own[cell.test] in self.old
        return self.apart.get(cell.id, by_test) if self.apart else by_test

    def first(self, cell: Cell) -> int:
        """Return the seed of a cell's trial 0; trial i has that one plus i."""
        return self.base if self.is_old(cell) else self.own[cell.test]

    def old_cells(self, cells: Iterable[Cell]) -> int:
        """Return how many cells ask under the old rule."""
        return sum(map(self.is_old, cells)) if self.old or self.apart else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What a store holds of both rules.

    Args:
        old: What is known of trials that were asked from the file's seed on, in every test.
        own: What is known of trials that were asked from their test's own first seed on.
    """

    old: Progress
    own: Progress


def seeds_of(
    seed: int, tests: Sequence[TestCase], cells: Iterable[Cell] = (), held: Held | None = None
) -> Seeds:
    """Return from which seed on the trials of each cell ask, given what a store holds.

    A test asks under the old rule where the store holds more of its trials under that than under
    the present one, whichever cell, build and load they are of; also where it holds as many, but
    not where it holds none. So a new cell pairs with those of its test that were there before. Only
    a cell that itself holds more of the other kind goes on with that. Tests that send the same are
    one here, for they have the same seeds.

    Args:
        cells: All its cells, selected or not, less those that are about to start over.
    """
    own = first_seeds(seed, tests)
    if held is None or not any(held.old.values()):
        return Seeds(base=seed, own=own)
    if not any(held.own.values()):
        known = list(held.old.values())
        asked = (cell for cell in cells if any(cell.id in of_build for of_build in known))
        return Seeds(base=seed, own=own, old=frozenset(own[cell.test] for cell in asked))
    more: Counter[int] = Counter()
    by_cell: dict[str, tuple[int, int]] = {}
    for cell in cells:
        counts = _trials(cell.id, held.old), _trials(cell.id, held.own)
        if any(counts):
            by_cell[cell.id] = own[cell.test], counts[0] - counts[1]
            more[own[cell.test]] += counts[0] - counts[1]
    old = frozenset(test for test, most in more.items() if most >= 0)
    apart = {
        cell: most > 0
        for cell, (test, most) in by_cell.items()
        if most and (most > 0) != (test in old)
    }
    return Seeds(base=seed, own=own, old=old, apart=apart)


def _trials(cell: str, progress: Progress) -> int:
    """Return how many trials of a cell were asked for, over all builds."""
    return sum(
        (known.kept | known.errored | known.short).bit_count()
        for cells in progress.values()
        if (known := cells.get(cell)) is not None
    )


def chosen_progress(seeds: Seeds, cells: Iterable[Cell], held: Held) -> Progress:
    """Return build → cell → what is known of the trials that count: each cell's by its own rule."""
    if not any(held.old.values()):
        return held.own
    if not any(held.own.values()):
        return held.old
    found: dict[str, dict[str, CellProgress]] = {build: {} for build in (*held.old, *held.own)}
    for cell in cells:
        for build, known in (held.old if seeds.is_old(cell) else held.own).items():
            if (one := known.get(cell.id)) is not None:
                found[build][cell.id] = one
    return found


def seed_notes(old: int, cells: int, *, offset: int, trials: int) -> Iterator[str]:
    """Yield what should be known of the seeds of cells.

    Args:
        old: How many ask by the old rule.
        offset: By how much the file's seed is higher than as it is written.
    """
    if 0 < offset < trials:
        yield (
            f"with a seed offset of {offset:,} some seeds are those of other trials without it: "
            f"for an independent look choose at least {trials:,}"
        )
    if old:
        yield (
            f"{old:,} of {cells:,} cells go on by the old rule for seeds, seed + i in every test, "
            "for they have such trials or pair with cells that have: their tests share their luck, "
            "and intervals over tests allow for it; execute --fresh gives each test its own seeds"
        )
