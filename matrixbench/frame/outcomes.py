"""Which trials passed, by seed: what a row of a table has to be compared by."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from matrixbench.plan.values import label
from matrixbench.records import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    import numpy as np
    from numpy.typing import NDArray

    from matrixbench.frame.tally import Square
    from matrixbench.store.rows import TrialRow


def as_bits(mask: int) -> NDArray[np.float64]:
    """Return the bits of a mask as numbers, bit 0 first, in whole bytes of them."""
    import numpy as np  # noqa: PLC0415  heavy

    held = np.frombuffer(mask.to_bytes(-(-mask.bit_length() // 8), "little"), dtype=np.uint8)
    return np.unpackbits(held, bitorder="little").astype(np.float64)


@dataclass(slots=True)
class Passed:
    """The trials of a cell that count; bit i of a mask stands for trial i.

    Args:
        first_seed: The seed of trial 0.
        measured: Trials with a verdict.
        passed: Those of them that passed.
    """

    first_seed: int
    measured: int = 0
    passed: int = 0

    def by_seed(self, *, one: bool = False) -> Mapping[int, bool]:
        """Return seed → whether the trial passed; of the first one only, where one says it all."""
        measured, found = self.measured, {}
        while measured:
            low = (measured & -measured).bit_length() - 1
            found[self.first_seed + low] = bool(self.passed >> low & 1)
            if one:
                break
            measured &= measured - 1
        return found

    def bits(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return for each index 1 where the trial counts, and 1 where it passed, else 0."""
        measured = as_bits(self.measured)
        passed = as_bits(self.passed)
        passed.resize(len(measured))
        return measured, passed


_Cells: TypeAlias = "dict[tuple[str, str | None], Passed]"


@dataclass(slots=True)
class Outcomes:
    """Which trials of which cell passed, kept while the trials of a frame stream by."""

    _cells: dict[tuple[str, str | None, str], _Cells] = field(default_factory=dict)

    def watched(self, trials: Iterable[TrialRow], squares: Iterable[Square]) -> Iterator[TrialRow]:
        """Yield the trials of some squares as they come, and keep what passed.

        Tests that differ in their checks alone share their trials, not what came of them: their
        squares come in calls of their own.
        """
        cells: _Cells = {}
        for square in squares:
            key = square.cell, square.build, label(square.coordinates.get("test"))
            self._cells[key] = cells
        for trial in trials:
            if trial.outcome != Outcome.ERRORED:
                whose = trial.cell, trial.build
                if (found := cells.get(whose)) is None:
                    found = cells[whose] = Passed(trial.seed - trial.trial)
                bit = 1 << trial.trial
                found.measured |= bit
                if trial.outcome == Outcome.PASSED:
                    found.passed |= bit
            yield trial

    def of(self, cell: str, build: str | None, test: object) -> Passed | None:
        """Return what passed of a cell; None where nothing was measured."""
        return self._cells.get((cell, build, label(test)), {}).get((cell, build))

    @property
    def most(self) -> int:
        """How many indices of trials are taken: one more than the highest."""
        found = {id(cells): cells for cells in self._cells.values()}
        return max(
            (one.measured.bit_length() for cells in found.values() for one in cells.values()),
            default=0,
        )
