"""Which drops a comparison shows, and when its gate decides, in 80 % of runs.

All that stands here is about fixed numbers of trials.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from math import ceil
from typing import TYPE_CHECKING

from matrixbench.comparison.cells import PAIRING_PAYS, SEQUENTIAL_PAIRS
from matrixbench.comparison.values import MAX_DROP
from matrixbench.plan.matrix import is_greedy
from matrixbench.spec.wording import counted
from matrixbench.stats.paired import ALPHA, Pairs, pooled_phi
from matrixbench.stats.power import (
    POWER,
    Sides,
    boschloo_power,
    drop_shown,
    gate_decides,
    gate_power,
    mcnemar_power,
    sides_of,
    stratified_power,
    trials_for,
)
from matrixbench.stats.stratified import MOST_TRIALS, design_effect, effective_pairs, test_weights

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matrixbench.comparison.values import CandidateResult, Overall
    from matrixbench.plan.cells import Cell, CellProgress, Judged
    from matrixbench.plan.planner import History, Plan, TrialBudget
    from matrixbench.stats.stratified import Stratum

OFTEN = f"{100 * POWER:.0f} % of runs"
"""How often a drop that is promised is shown, and a gate is decided."""

_HUNDREDTHS = 100
_PAIRED = frozenset({"mcnemar", SEQUENTIAL_PAIRS})


@dataclass(frozen=True, slots=True, kw_only=True)
class Power:
    """What a comparison shows in 80 % of runs.

    Args:
        trials: Trials of each sampled cell and side.
        tests: Tests with a sampled cell.
        sides: What is known or assumed of the outcomes.
        mean: The smallest drop of every test, and so of the mean, that the exact test over all
            trials shows; None where it shows none. Further cells of a test are not counted: they
            may go wholly together.
        cell: The smallest drop of one cell alone that its own test shows; None where none is.
        max_drop: The drop that the gate allows where nobody says.
        trials_for_max_drop: Trials of each cell with which the gate shows that two equal sides are
            no worse; None where no number of trials is enough.
        adaptive: Whether cells may stop early. All of this is about fixed numbers of trials: what
            holds whenever a cell stops sees less.
    """

    trials: int
    tests: int
    sides: Sides
    mean: float | None
    cell: float | None
    max_drop: float
    trials_for_max_drop: int | None
    adaptive: bool = False

    @property
    def line(self) -> str:
        """All of it in a sentence or two."""
        tests = counted(self.tests, "test")
        verb = "shows" if self.trials == 1 and self.tests == 1 else "show"
        trials = counted(self.trials, "trial")
        mean = (
            "no drop of the mean"
            if self.mean is None
            else f"a drop of the mean of {hundredths(self.mean)}"
        )
        cell = "none" if self.cell is None else f"of {hundredths(self.cell)}"
        said = f"{trials} per cell and {tests} {verb}, in {OFTEN}, {mean}, of one cell alone {cell}"
        if self.trials_for_max_drop is None:
            said += f"; no number of trials excludes a drop of {self.max_drop:g}"
        elif self.trials < self.trials_for_max_drop:
            said += (
                f"; to exclude a drop of {self.max_drop:g} as often takes "
                f"{self.trials_for_max_drop:,} trials per cell"
            )
        said = f"{said} ({given(self.sides)})"
        return f"{said}; adaptive trials show less" if self.adaptive else said


def given(sides: Sides) -> str:
    """Return of which baseline and correlation a promise is, and whether they are known."""
    ratio, phi = f"baseline {sides.ratio:.2g}", f"phi {sides.phi:.2g}".replace("-", "−")
    if sides.ratio_known is sides.phi_known:
        return f"{ratio} and {phi}, {'as stored' if sides.ratio_known else 'assumed'}"
    stored = ("as stored", "assumed") if sides.ratio_known else ("assumed", "as stored")
    return f"{ratio} {stored[0]}, {phi} {stored[1]}"


def power_of(
    trials: int, tests: int, sides: Sides | None = None, *, max_drop: float = MAX_DROP
) -> Power:
    """Return what so many trials per cell and so many tests show.

    Args:
        trials: Trials of each cell and side, paired by seed.
        sides: What is known of the outcomes; by default a baseline of 0.9 and a phi of 0.3.
    """
    sides = sides or Sides()
    return Power(
        trials=trials,
        tests=tests,
        sides=sides,
        mean=mean_drop(tests * trials, sides),
        cell=cell_drop(trials, sides, paired=sides.phi >= PAIRING_PAYS),
        max_drop=max_drop,
        trials_for_max_drop=_trials_that_decide(tests, *sides.discordant(0.0), max_drop),
    )


@lru_cache(maxsize=4096)
def mean_drop(pairs: int, sides: Sides, *, alpha: float = ALPHA) -> float | None:
    """Return the drop of every test that the exact test over so many pairs shows."""

    def power(drop: float) -> float:
        return mcnemar_power(pairs, *sides.discordant(drop), alpha=alpha)

    return drop_shown(power, most=sides.ratio)


@lru_cache(maxsize=4096)
def unpaired_drop(cells: float, trials: int, sides: Sides) -> float | None:
    """Return the drop of every test that the exact test over unpaired cells shows.

    Args:
        cells: As many independent cells as they are worth.
        trials: Trials of each and of each side.
    """
    return drop_shown(lambda drop: stratified_power(cells, trials, sides, drop), most=sides.ratio)


@lru_cache(maxsize=4096)
def cell_drop(trials: int, sides: Sides, *, paired: bool, alpha: float = ALPHA) -> float | None:
    """Return the drop that one cell's own test shows, of a cell with the baseline's mean ratio."""
    if paired:
        return mean_drop(trials, Sides(ratio=sides.ratio, phi=sides.phi), alpha=alpha)

    def power(drop: float) -> float:
        return boschloo_power(trials, sides.ratio, drop, alpha=alpha)

    return drop_shown(power, most=sides.ratio)


def overall_drop(strata: Sequence[Stratum], sides: Sides) -> float | None:
    """Return the mean drop that the exact test over some cells shows in 80 % of runs."""
    worth = len(strata) / design_effect(strata)
    trials = sum(min(up[1], down[1]) for up, down in (one.counts() for one in strata))
    if all(stratum.paired for stratum in strata):
        return mean_drop(round(trials * worth / len(strata)), sides)
    return unpaired_drop(worth, round(trials / len(strata)), sides)


def with_detectable_drops(result: CandidateResult, strata: Sequence[Stratum]) -> CandidateResult:
    """Return a candidate's result with the drops that its tests show in 80 % of runs."""
    if result.overall is None or result.sides is None:
        return result
    sides = result.sides
    by_test: dict[str, list[Stratum]] = {}
    for stratum in strata:
        by_test.setdefault(stratum.test, []).append(stratum)

    def of(overall: Overall | None, some: Sequence[Stratum]) -> Overall | None:
        return overall and replace(overall, detectable_drop=overall_drop(some, sides))

    return replace(
        result,
        overall=of(result.overall, strata),
        tests=tuple(
            replace(test, overall=of(test.overall, by_test.get(test.test, ())))
            for test in result.tests
        ),
        cells=tuple(
            cell
            if cell.p is None
            else replace(
                cell,
                detectable_drop=cell_drop(min(cell.trials), sides, paired=cell.test in _PAIRED),
            )
            for cell in result.cells
        ),
    )


def sides_in(strata: Sequence[Stratum], phi: float | None) -> Sides:
    """Return what is known of the baseline of some cells."""
    tests: dict[str, list[tuple[float, int]]] = {}
    for stratum in strata:
        tests.setdefault(stratum.test, []).append(stratum.counts()[1])
    if not all(stratum.paired for stratum in strata):
        return sides_of(list(tests.values()), 0.0)
    return sides_of(list(tests.values()), phi)


def trials_to_decide(strata: Sequence[Stratum], overall: Overall, max_drop: float) -> int | None:
    """Return the trials a cell with which a gate decides in 80 % of runs, if ratios stay.

    The share of discordant pairs is taken with half a pair more of each kind: that none has been
    seen does not mean that there is none. None where `MOST_TRIALS` would not do: the drop is too
    close to the limit.
    """
    drop = -overall.difference.estimate
    pairs, shares = effective_pairs(strata), [stratum.discordant() for stratum in strata]
    weighted = zip(test_weights(strata), shares, strict=True)
    discordant = sum(weight * (lost + gained) for weight, (lost, gained) in weighted)
    discordant = max(abs(drop), (discordant * pairs + 1) / (pairs + 1))
    worse, better = (discordant + drop) / 2, (discordant - drop) / 2
    least = min(min(len(one.candidate), len(one.baseline)) for one in strata)

    def power(n: int) -> float:
        worth = int(effective_pairs(strata, n=n))
        return gate_power(worth, worse, better, max_drop=max_drop, decides=gate_decides)

    return trials_for(power, least=least, most=MOST_TRIALS)


@lru_cache(maxsize=1024)
def _trials_that_decide(tests: int, worse: float, better: float, max_drop: float) -> int | None:
    """Return the trials of each of so many independent cells with which the gate decides."""
    return trials_for(
        lambda n: gate_power(tests * n, worse, better, max_drop=max_drop, decides=gate_decides),
        most=MOST_TRIALS,
    )


def power_of_plan(plan: Plan, wanted: TrialBudget, history: History) -> Power | None:
    """Return what the comparison of a plan's cells shows; None where no cell is sampled.

    Args:
        wanted: How many trials a cell should have; where they are adaptive, the most counts.
        history: What the store knows. Where it tells what passed, the baseline's ratio is the mean
            of what is stored, and phi is that between launches; else they are assumed.
    """
    tests: dict[int, list[tuple[float, int]]] = {}
    beside: dict[tuple[int, str], list[Judged]] = {}
    for launch in plan.launches:
        known = history.under(launch.build.build)
        for cell in launch.cells:
            if is_greedy(cell.point.fields):
                continue
            found = tests.setdefault(id(cell.test), [])
            if known and (judged := _judged(cell, known)) is not None:
                found.append((judged.passes, judged.n))
                beside.setdefault((id(cell.test), str(cell.point.coordinates)), []).append(judged)
    if not tests:
        return None
    phi = pooled_phi(_table(found[0], other) for found in beside.values() for other in found[1:])
    power = power_of(wanted.trials, len(tests), sides_of(list(tests.values()), phi))
    return replace(power, adaptive=wanted.until is not None)


def _judged(cell: Cell, known: Mapping[str, CellProgress]) -> Judged | None:
    """Return what passed of a cell's trials; None where nobody asked or nothing was measured."""
    progress = known.get(cell.id)
    if progress is None or not progress.judged or not progress.judged[0].measured:
        return None
    return progress.judged[0]


def _table(one: Judged, other: Judged) -> Pairs:
    """Return the pairs of two cells by the index of the trial."""
    up, down = one.passed & other.measured, other.passed & one.measured
    both, common = (up & down).bit_count(), (one.measured & other.measured).bit_count()
    worse, better = (down & ~up).bit_count(), (up & ~down).bit_count()
    return Pairs(both=both, worse=worse, better=better, neither=common - both - worse - better)


def hundredths(drop: float) -> str:
    """Return a drop as it is said: in hundredths, rounded up, as a promise has to be."""
    return f"{ceil(drop * _HUNDREDTHS - 1e-6) / _HUNDREDTHS:g}"
