"""What bets on the rounds that are complete show, however often one looks."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, TypeAlias

from matrixbench.comparison.cells import End, basis_of
from matrixbench.comparison.values import Anytime, Basis, GateVerdict
from matrixbench.stats.betting import Bets
from matrixbench.stats.proportions import Difference, Interval

if TYPE_CHECKING:
    from collections.abc import Sequence

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
        pairs: All pairs of cells; those without chance in them are left out. None where all are.
        max_drop: The drop of the mean success ratio that is allowed.
        ignore: Whether rounds in which a trial has no verdict are left out instead.
    """
    import numpy as np

    sampled = [pair for pair in pairs if pair.sampled and basis_of(pair) in _SAMPLED]
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
    import numpy as np

    reached = min(side.reached for pair in pairs for side in pair.sides)

    def by_index(side: Trials) -> Floats:
        seeds = range(side.first_seed, side.first_seed + reached)
        return np.array([side.passed.get(seed, np.nan) for seed in seeds], dtype=np.float64)

    return [(by_index(pair.candidate), by_index(pair.baseline), pair.test) for pair in pairs]


def _differences(outcomes: Sequence[tuple[Floats, Floats, str]], end: End | None) -> Floats:
    """Return rounds × tests: means over a test's cells, candidate less baseline.

    Args:
        end: To which end trials without a verdict are put in; with None, rounds that have one are
            left out.
    """
    import numpy as np

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
    verdict, after = GateVerdict.UNDECIDED, None
    if len(rounds) and above is not None and below is None and estimate > -max_drop:
        verdict, after = GateVerdict.NO_WORSE, above
    if below is not None and above is None and estimate < -max_drop:
        verdict, after = GateVerdict.REGRESSION, below
    needed = (
        bets.rounds_to_rule_out(-max_drop, above=estimate > -max_drop)
        if verdict is GateVerdict.UNDECIDED
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
    if worst.verdict is GateVerdict.NO_WORSE:
        shown = worst
    elif best.verdict is GateVerdict.REGRESSION:
        shown = best
    low, high = worst.difference.interval.low, best.difference.interval.high
    middle = (worst.difference.estimate + best.difference.estimate) / 2
    return Anytime(
        verdict=GateVerdict.UNDECIDED if shown is None else shown.verdict,
        rounds=worst.rounds,
        tests=worst.tests,
        difference=Difference(estimate=middle, interval=Interval(low=low, high=high)),
        decided_after=None if shown is None else shown.decided_after,
        together=worst.together,
        rounds_to_decide=None if shown else worst.rounds_to_decide,
    )
