"""Intervals and tests that hold however often one looks, so that trials may stop early."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from functools import lru_cache
from math import exp, inf, lgamma, log
from typing import TYPE_CHECKING

from matrixbench.stats.proportions import CONFIDENCE, Difference, Interval, border

if TYPE_CHECKING:
    from collections.abc import Sequence

_STEPS = 60
"""Halvings of [0, 1]: to the last digit of a float."""


@lru_cache(maxsize=65536)
def sequential_interval(successes: float, n: int, *, confidence: float = CONFIDENCE) -> Interval:
    """Return the beta-binomial confidence sequence at n trials, two-sided, uniform prior.

    All p with B(1+S, 1+n−S) / (pˢ (1−p)ⁿ⁻ˢ) < 1/α. The chance that the true p is *ever* outside,
    over all n, is at most α, so one may look after each trial and stop when one likes. With n = 0:
    [0, 1].

    Sources: H. Robbins, Annals of Mathematical Statistics 41(5) (1970), the mixture and Ville's
    inequality; S. Howard, A. Ramdas, J. McAuliffe, J. Sekhon, Annals of Statistics 49(2) (2021).

    Raises:
        ValueError: `successes` is not between 0 and `n`, or `confidence` not between 0 and 1.
    """
    if not 0 <= successes <= n:
        raise ValueError(f"{successes} successes of {n}")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence {confidence} is not between 0 and 1")
    failures = n - successes
    # p is inside where log(pˢ (1−p)ᶠ) lies above this.
    least = lgamma(1 + successes) + lgamma(1 + failures) - lgamma(2 + n) + log(1 - confidence)
    peak = successes / n if n else 0.5

    def is_out(p: float) -> bool:
        return _log_likelihood(successes, failures, p) <= least

    # The last one outside: the interval never claims too much.
    low = border(0.0, peak, is_out, _STEPS) if successes else 0.0
    high = border(1.0, peak, is_out, _STEPS) if failures else 1.0
    return Interval(low=low, high=high)


def _log_likelihood(successes: float, failures: float, p: float) -> float:
    total = 0.0
    if successes:
        total += successes * log(p) if p > 0 else -inf
    if failures:
        total += failures * log(1 - p) if p < 1 else -inf
    return total


@dataclass(frozen=True, slots=True, kw_only=True)
class Precision:
    """When a cell has enough trials: its interval is narrow, after a least number of trials.

    It asks for the interval of all trials that were measured, in whatever order they came in: the
    counts alone decide, so that a run that goes on later decides alike. Not for the intersection
    of all intervals so far, which depends on the order and may be empty where a machine drifts.

    Args:
        half_width: How wide the confidence sequence may be, to a side.
        least: Trials before which it is never enough.
    """

    half_width: float
    least: int = 1

    def reached(self, successes: float, n: int) -> bool:
        """Return whether so many successes of n trials are enough."""
        return n >= self.least and sequential_interval(successes, n).half_width <= self.half_width


def trials_to_precision(
    ratio: float, *, half_width: float, confidence: float = CONFIDENCE, most: int = 100_000
) -> int | None:
    """Return after how many trials a cell with exactly that success ratio is precise enough.

    None where `most` trials do not suffice.
    """

    def enough(n: int) -> bool:
        found = sequential_interval(ratio * n, n, confidence=confidence)
        return found.half_width <= half_width

    return bisect_left(range(most), True, lo=1, key=enough) if enough(most) else None


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
