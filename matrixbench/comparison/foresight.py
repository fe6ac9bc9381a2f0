"""What a comparison will be able to see, before anything has been paid for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from matrixbench.comparison.totals import MAX_DROP
from matrixbench.plan.requests import is_greedy
from matrixbench.stats.proportions import minimum_detectable_drop, score_paired_difference

if TYPE_CHECKING:
    from matrixbench.plan.planner import Plan
    from matrixbench.plan.wanted import Wanted

_MOST_TRIALS = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Foresight:
    """The drops, from a baseline that always passes, that a comparison can see; others are larger.

    Args:
        trials: Trials of each sampled cell and side.
        tests: Tests with a sampled cell.
        cell: The smallest drop of one cell alone that is significant (Boschloo's test sees at
            least that); None where not even a drop to 0 is.
        mean: The smallest drop of the mean over tests that is told from none: as far as the
            interval for these tests reaches where both sides always pass.
        max_drop: The drop that the gate allows where nobody says.
        trials_for_max_drop: Trials of each cell that exclude it where both sides always pass.
        adaptive: Whether cells may stop early. All of this is about fixed numbers of trials: what
            holds whenever a cell stops sees less.
    """

    trials: int
    tests: int
    cell: float | None
    mean: float
    max_drop: float
    trials_for_max_drop: int
    adaptive: bool = False

    @property
    def line(self) -> str:
        """All of it in a sentence or two."""
        tests = "1 test" if self.tests == 1 else f"{self.tests:,} tests"
        trials = "1 trial" if self.trials == 1 else f"{self.trials:,} trials"
        alone = "none" if self.cell is None else f"from {self.cell:.2g} on"
        said = (
            f"against a baseline that always passes, {trials} per cell and {tests} can show a drop "
            f"of the mean from {self.mean:.2g} on, of one cell alone {alone}"
        )
        if self.trials < self.trials_for_max_drop:
            said += (
                f"; to exclude a drop of {self.max_drop:g} takes {self.trials_for_max_drop} trials "
                "per cell"
            )
        return f"{said}; adaptive trials show less" if self.adaptive else said


def foresee(trials: int, tests: int, *, max_drop: float = MAX_DROP) -> Foresight:
    """Return what so many trials per cell and so many tests can see."""
    return Foresight(
        trials=trials,
        tests=tests,
        cell=minimum_detectable_drop(trials, paired=False),
        mean=_reach(trials, tests),
        max_drop=max_drop,
        trials_for_max_drop=next(
            (n for n in range(1, _MOST_TRIALS) if _reach(n, tests) <= max_drop), _MOST_TRIALS
        ),
    )


def foresight_of(plan: Plan, wanted: Wanted) -> Foresight | None:
    """Return what the comparison of a plan's cells can see; None where no cell is sampled.

    Args:
        plan: The plan.
        wanted: How many trials a cell should have; where they are adaptive, the most counts.
    """
    sampled: set[int] = set()
    for launch in plan.launches:
        for cell in launch.cells:
            if id(cell.test) not in sampled and not is_greedy(cell.point.fields):
                sampled.add(id(cell.test))
    if not sampled:
        return None
    return replace(foresee(wanted.trials, len(sampled)), adaptive=wanted.until is not None)


def _reach(trials: int, tests: int) -> float:
    """Return how far the interval of the mean reaches where all trials of both sides pass.

    Cells of one test may go wholly together, so that tests alone add to it.
    """
    return score_paired_difference(worse=0, better=0, n=trials * tests).interval.high
