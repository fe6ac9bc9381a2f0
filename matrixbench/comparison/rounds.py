"""What do the rounds so far say, if one may look after every one of them?

A round is what all cells of both sides were asked at one trial index. The bets of `stats.betting`
are on a test's mean difference in a round. Trials pair by their index: where the two sides have
different seeds they are independent, and the difference of an index is as good an observation.
"""

from __future__ import annotations

from collections import defaultdict
from statistics import fmean
from typing import TYPE_CHECKING

from matrixbench.comparison.cells import basis_of
from matrixbench.comparison.missing import End
from matrixbench.comparison.values import Anytime, Basis, Verdict
from matrixbench.stats.betting import Bets
from matrixbench.stats.proportions import Difference, Interval

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from matrixbench.comparison.values import CellPair, Trials

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
    sampled = [pair for pair in pairs if _has_chance(pair)]
    if not sampled:
        return None
    together = any(side.common_seeds for pair in sampled for side in _sides(pair))
    if ignore:
        rounds = differences(sampled, None)
        return judge_rounds(rounds, max_drop=max_drop, together=together)
    worst, best = (
        judge_rounds(differences(sampled, end), max_drop=max_drop, together=together)
        for end in (End.WORST, End.BEST)
    )
    return _between(worst, best)


def differences(pairs: Sequence[CellPair], end: End | None) -> list[list[float]]:
    """Return each round's differences by test: means over its cells, candidate less baseline.

    Args:
        pairs: Pairs of cells with chance in them.
        end: To which end trials without a verdict are put in; with None, rounds that have one are
            left out.
    """
    reached = min(min(side.reached for side in _sides(pair)) for pair in pairs)
    by_test: dict[str, list[CellPair]] = defaultdict(list)
    for pair in pairs:
        by_test[pair.test].append(pair)
    passes = None if end is None else end is End.BEST
    rounds = []
    for index in range(reached):
        cells = [[_difference(pair, index, passes) for pair in cells] for cells in by_test.values()]
        known = [[value for value in found if value is not None] for found in cells]
        if all(len(some) == len(found) for some, found in zip(known, cells, strict=True)):
            rounds.append([fmean(found) for found in known])
    return rounds


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
    rounds: Sequence[Sequence[float]], *, max_drop: float, together: bool = False
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
    if rounds and above is not None and below is None and estimate > -max_drop:
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
        tests=len(rounds[0]) if rounds else 0,
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
    return not pair.shared and not any(pair.greedy) and basis_of(pair) in _SAMPLED


def _sides(pair: CellPair) -> tuple[Trials, Trials]:
    return pair.candidate, pair.baseline


def _difference(pair: CellPair, index: int, passes: bool | None) -> float | None:
    """Return the difference at an index; `passes` is what a missing trial of the candidate does."""
    up, down = pair.candidate, pair.baseline
    one = up.passed.get(up.first_seed + index, passes)
    other = down.passed.get(down.first_seed + index, None if passes is None else not passes)
    return None if one is None or other is None else float(one - other)
