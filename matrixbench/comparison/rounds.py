"""What do the rounds so far say, if one may look after every one of them?

A round is what all cells of both sides were asked at one trial index. The bets of `stats.betting`
are on a test's mean difference in a round. Trials pair by their index: where the two sides have
different seeds they are independent, and the difference of an index is as good an observation.
"""

from __future__ import annotations

from collections import defaultdict
from statistics import fmean
from typing import TYPE_CHECKING, TypeAlias

from matrixbench.comparison.cells import basis_of
from matrixbench.comparison.missing import End
from matrixbench.comparison.values import Anytime, Basis, Verdict
from matrixbench.stats.betting import Bets
from matrixbench.stats.proportions import Difference, Interval

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from matrixbench.comparison.values import CellPair, Trials

Floats: TypeAlias = "NDArray[np.float64]"

_SAMPLED = {Basis.PAIRED, Basis.UNPAIRED, Basis.NOT_COMPARABLE}


def look(pairs: Sequence[CellPair], *, max_drop: float, ignore: bool = False) -> Anytime | None:
    """Return whether the complete rounds show that the candidate is no worse, or a regression.

    It may be asked after every round. A trial without a verdict in a round that was reached counts
    at its worst for «no worse» and for the interval's low end, at its best for «regression» and
    the high end. Rounds that some launch has not come to do not count. Each error has a chance of
    at most 2.5 %, at however many looks.

    Args:
        pairs: All pairs of cells; those without chance in them are left out.
        max_drop: The drop of the mean success ratio that is allowed.
        ignore: Whether rounds in which a trial has no verdict are left out instead.

    Returns:
        What is shown; None where no cell has chance in it.
    """
    import numpy as np  # noqa: PLC0415  heavy

    sampled = [pair for pair in pairs if _has_chance(pair)]
    if not sampled:
        return None
    together = any(side.common_seeds for pair in sampled for side in pair.sides)
    outcomes = _outcomes(sampled)
    complete = not any(np.isnan(one).any() for *both, _ in outcomes for one in both)
    ends = (None,) if ignore or complete else (End.WORST, End.BEST)
    found = [
        judge_rounds(_differences(outcomes, end), max_drop=max_drop, together=together)
        for end in ends
    ]
    return _between(found[0], found[-1])


def _outcomes(pairs: Sequence[CellPair]) -> list[tuple[Floats, Floats, str]]:
    """Return the trials of both sides of each pair by index, and its test.

    1 passed, 0 did not, NaN has no verdict; up to the last round that all have come to.
    """
    reached = min(side.reached for pair in pairs for side in pair.sides)
    return [
        (_by_index(pair.candidate, reached), _by_index(pair.baseline, reached), pair.test)
        for pair in pairs
    ]


def _by_index(side: Trials, reached: int) -> Floats:
    import numpy as np  # noqa: PLC0415  heavy

    seeds = range(side.first_seed, side.first_seed + reached)
    return np.array([side.passed.get(seed, np.nan) for seed in seeds], dtype=np.float64)


def _differences(outcomes: Sequence[tuple[Floats, Floats, str]], end: End | None) -> Floats:
    """Return rounds × tests: means over a test's cells, candidate less baseline.

    Args:
        outcomes: As `_outcomes` returns them.
        end: To which end trials without a verdict are put in; with None, rounds that have one are
            left out.
    """
    import numpy as np  # noqa: PLC0415  heavy

    by_test: dict[str, list[Floats]] = defaultdict(list)
    for up, down, test in outcomes:
        if end is None:
            by_test[test].append(up - down)
        else:
            passes = float(end is End.BEST)
            by_test[test].append(
                np.nan_to_num(up, nan=passes) - np.nan_to_num(down, nan=1 - passes)
            )
    found: Floats = np.column_stack([np.mean(cells, axis=0) for cells in by_test.values()])
    return found[~np.isnan(found).any(axis=1)]


def rounds_from(rows: Iterable[tuple[str, int, float]]) -> list[list[float]]:
    """Return the complete rounds of rows of test, trial index and difference (one cell or more).

    The first rounds up to the first in which a test of any other round is missing.
    """
    found: dict[int, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for test, index, difference in rows:
        found[index][test].append(difference)
    tests = sorted({test for tests in found.values() for test in tests})
    rounds = []
    for index in range(len(found)):
        if index not in found or len(found[index]) < len(tests):
            break
        rounds.append([fmean(found[index][test]) for test in tests])
    return rounds


def judge_rounds(
    rounds: Sequence[Sequence[float]] | Floats, *, max_drop: float, together: bool = False
) -> Anytime:
    """Return what rounds of differences show.

    No worse: a mean difference of −max_drop or less is ruled out; a regression: one of −max_drop
    or more is, which rules «no difference» out as well. What a round has shown stays shown, so
    that trials that were in flight when a run stopped do not undo it. But it does not stand
    against the mean over all rounds, nor if other rounds show the opposite: then nothing is
    decided.

    Args:
        rounds: Of each complete round, in order, each test's difference.
        max_drop: The drop that is allowed.
        together: Whether tests of a round share their seeds: then their mean is one bet.
    """
    bets = Bets(rounds, together=together)
    estimate = float(bets.estimates[-1]) if len(rounds) else 0.0
    # Nothing is below −1, so that there is nothing to bet on.
    above = bets.ruled_out(-max_drop, above=True) if max_drop < 1 else 1
    below = bets.ruled_out(-max_drop, above=False)
    verdict, after = Verdict.UNDECIDED, None
    if len(rounds) and above is not None and below is None and estimate > -max_drop:
        verdict, after = Verdict.NO_WORSE, above
    if below is not None and above is None and estimate < -max_drop:
        verdict, after = Verdict.REGRESSION, below
    needed = (
        bets.rounds_to_rule_out(-max_drop, above=estimate > -max_drop)
        if verdict is Verdict.UNDECIDED
        else None
    )
    return Anytime(
        verdict=verdict,
        rounds=len(rounds),
        tests=len(rounds[0]) if len(rounds) else 0,
        difference=Difference(estimate=estimate, interval=bets.interval()),
        decided_after=after,
        together=together,
        rounds_to_decide=needed if needed is None else max(needed, len(rounds) + 1),
    )


def _between(worst: Anytime, best: Anytime) -> Anytime:
    """Return what holds whatever trials without a verdict would have said."""
    shown: Anytime | None = None
    if worst.verdict is Verdict.NO_WORSE:
        shown = worst
    elif best.verdict is Verdict.REGRESSION:
        shown = best
    low, high = worst.difference.interval.low, best.difference.interval.high
    middle = (worst.difference.estimate + best.difference.estimate) / 2
    return Anytime(
        verdict=Verdict.UNDECIDED if shown is None else shown.verdict,
        rounds=worst.rounds,
        tests=worst.tests,
        difference=Difference(estimate=middle, interval=Interval(low=low, high=high)),
        decided_after=None if shown is None else shown.decided_after,
        together=worst.together,
        rounds_to_decide=None if shown else worst.rounds_to_decide,
    )


def _has_chance(pair: CellPair) -> bool:
    return pair.sampled and basis_of(pair) in _SAMPLED
