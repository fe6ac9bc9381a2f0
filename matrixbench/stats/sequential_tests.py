"""Do two cells differ, where each stops when it likes? Tests and intervals that hold at any time.

Evidence against «no difference» is a number whose mean is at most 1 where there is none, at any
time and however often one looks (a test martingale, or less than one), so that its reciprocal is a
p-value whatever made the trials stop. Sources: J. Ville, Étude critique de la notion de collectif
(1939); V. Vovk and R. Wang, Annals of Statistics 49(3) (2021) for means of evidence, which need no
independence; G. Shafer et al., Statistical Science 26(1) (2011).
"""

from __future__ import annotations

from math import exp, lgamma, log
from typing import TYPE_CHECKING

from matrixbench.stats.proportions import CONFIDENCE, Difference, Interval
from matrixbench.stats.sequential import sequential_interval

if TYPE_CHECKING:
    from collections.abc import Sequence

_MOST_EVIDENCE = 700.0
"""Its logarithm: more would not fit into a float, and convinces nobody more."""


def paired_evidence(worse: int, better: int) -> float:
    """Return the evidence of discordant pairs against a fair coin.

    Where nothing differs, each pair of trials of one seed that disagree is as likely to be better
    as worse, whatever went before: Robbins' mixture (`sequential_interval`) at p = ½.
    """
    return _exp(_log_beta(better, worse) + (worse + better) * log(2))


def independent_evidence(candidate: tuple[int, int], baseline: tuple[int, int]) -> float:
    """Return the evidence of two independent cells against a common success ratio.

    The product of both mixtures, at that common ratio which it speaks against the least.

    Args:
        candidate: Successes and trials.
        baseline: Successes and trials.
    """
    both = (candidate[0] + baseline[0], candidate[1] + baseline[1])
    likelihood = sum(k * log(k / both[1]) for k in (both[0], both[1] - both[0]) if k)
    return _exp(sum(_log_beta(s, n - s) for s, n in (candidate, baseline)) - likelihood)


def p_value(evidence: float) -> float:
    """Return the p-value of evidence: its reciprocal, at most 1 (Markov's inequality)."""
    return min(1.0, 1 / evidence) if evidence > 0 else 1.0


def mean_evidence(several: Sequence[float]) -> float:
    """Return the evidence of many cells together, whatever their dependence: the mean."""
    return sum(several) / len(several)


def sequential_difference(
    candidate: tuple[int, int], baseline: tuple[int, int], *, confidence: float = CONFIDENCE
) -> Difference:
    """Return the difference of two cells, paired or not, with an interval that always holds.

    From the two confidence sequences, each of which may miss half as often (Bonferroni).

    Args:
        candidate: Successes and trials; at least one.
        baseline: Successes and trials; at least one.
        confidence: Of the interval.
    """
    each = 1 - (1 - confidence) / 2
    up, down = (sequential_interval(s, n, confidence=each) for s, n in (candidate, baseline))
    return Difference(
        estimate=candidate[0] / candidate[1] - baseline[0] / baseline[1],
        interval=Interval(low=up.low - down.high, high=up.high - down.low),
    )


def mean_difference(
    cells: Sequence[tuple[tuple[int, int], tuple[int, int]]],
    weights: Sequence[float],
    *,
    confidence: float = CONFIDENCE,
) -> Difference:
    """Return a weighted mean of cells' differences, whatever their dependence.

    Each cell's interval may miss 1 / cells as often (Bonferroni), so that none of them does.

    Args:
        cells: Of each, the candidate's successes and trials and the baseline's; at least one.
        weights: Of each; their sum is 1.
        confidence: Of the interval.
    """
    each = 1 - (1 - confidence) / len(cells)
    found = [sequential_difference(*cell, confidence=each) for cell in cells]
    terms = list(zip(weights, found, strict=True))
    return Difference(
        estimate=sum(weight * one.estimate for weight, one in terms),
        interval=Interval(
            low=max(-1.0, sum(weight * one.interval.low for weight, one in terms)),
            high=min(1.0, sum(weight * one.interval.high for weight, one in terms)),
        ),
    )


def _log_beta(successes: int, failures: int) -> float:
    return lgamma(1 + successes) + lgamma(1 + failures) - lgamma(2 + successes + failures)


def _exp(power: float) -> float:
    return exp(min(power, _MOST_EVIDENCE))
