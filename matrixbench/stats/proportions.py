"""Intervals for a proportion and for a difference of two."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import comb, copysign, inf, sqrt
from statistics import NormalDist
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

CONFIDENCE = 0.95

_HALVINGS = 44
"""Of an interval at most 2 wide: to 10⁻¹³."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A two-sided interval: of a proportion within [0, 1], of a difference within [−1, 1]."""

    low: float
    high: float

    @property
    def half_width(self) -> float:
        """Half the distance between the ends."""
        return (self.high - self.low) / 2


def normal_quantile(confidence: float) -> float:
    """Return z with P(−z < Z < z) = confidence for a standard normal Z.

    Raises:
        ValueError: `confidence` is not between 0 and 1.
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence {confidence} is not between 0 and 1")
    return NormalDist().inv_cdf(0.5 + confidence / 2)


def wilson_interval(successes: float, n: float, *, confidence: float = CONFIDENCE) -> Interval:
    """Return Wilson's score interval for `successes` of `n`.

    Source: E. B. Wilson, JASA 22 (1927); recommended for small n by Brown, Cai and DasGupta,
    Statistical Science 16(2) (2001). With n = 0 nothing is known: [0, 1]. Counts need not be
    whole: the formula is also used for what more trials would give.

    Raises:
        ValueError: `successes` is not between 0 and `n`, or `confidence` not between 0 and 1.
    """
    return score_interval(successes, n, normal_quantile(confidence))


def score_interval(successes: float, n: float, z: float) -> Interval:
    """Return Wilson's score interval at a quantile of the normal distribution.

    Raises:
        ValueError: `successes` is not between 0 and `n`.
    """
    if not 0 <= successes <= n:
        raise ValueError(f"{successes} successes of {n}")
    if n == 0:
        return Interval(low=0.0, high=1.0)
    ratio = successes / n
    centre = ratio + z * z / (2 * n)
    spread = z * sqrt(ratio * (1 - ratio) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    # At the ends the exact bound is 0 or 1; the sum above misses it by a rounding error.
    low = 0.0 if successes == 0 else max(0.0, (centre - spread) / scale)
    high = 1.0 if successes == n else min(1.0, (centre + spread) / scale)
    return Interval(low=low, high=high)


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """The success ratio of a candidate less that of a baseline, with its interval.

    Args:
        estimate: Between −1 and 1; negative where the candidate is worse.
        interval: Its interval; [−1, 1] where nothing is known.
    """

    estimate: float
    interval: Interval

    @property
    def below(self) -> float:
        """How far the interval reaches below the estimate."""
        return self.estimate - self.interval.low

    @property
    def above(self) -> float:
        """How far the interval reaches above the estimate."""
        return self.interval.high - self.estimate


def newcombe_difference(
    candidate: tuple[float, float], baseline: tuple[float, float], *, confidence: float = CONFIDENCE
) -> Difference:
    """Return the difference of two independent proportions with Newcombe's hybrid score interval.

    Source: R. G. Newcombe, Statistics in Medicine 17, 873–890 (1998), method 10.

    Args:
        candidate: Successes and trials.
        baseline: Successes and trials.
        confidence: Of the interval.

    Raises:
        ValueError: As `wilson_interval` says.
    """
    return _square_and_add(candidate, baseline, phi=0.0, confidence=confidence)


def newcombe_paired_difference(
    *, both: float, worse: float, better: float, neither: float, confidence: float = CONFIDENCE
) -> Difference:
    """Return the difference of two paired proportions with Newcombe's interval.

    Source: R. G. Newcombe, Statistics in Medicine 17, 2635–2650 (1998), method 10: Wilson
    intervals of the two ratios, combined under their correlation phi, which is taken to be
    smaller than observed where it is positive (a continuity correction).

    Args:
        both: Pairs in which both passed.
        worse: Pairs in which only the baseline passed.
        better: Pairs in which only the candidate passed.
        neither: Pairs in which none passed.
        confidence: Of the interval.

    Raises:
        ValueError: A count is negative, or `confidence` is not between 0 and 1.
    """
    n = both + worse + better + neither
    return _square_and_add(
        (both + better, n),
        (both + worse, n),
        phi=_corrected_phi(both, worse, better, neither),
        confidence=confidence,
    )


def _corrected_phi(both: float, worse: float, better: float, neither: float) -> float:
    margins = (both + worse) * (better + neither) * (both + better) * (worse + neither)
    if margins <= 0:
        return 0.0
    excess = both * neither - worse * better
    if excess > 0:
        excess = max(excess - (both + worse + better + neither) / 2, 0.0)
    return excess / sqrt(margins)


def _square_and_add(
    candidate: tuple[float, float], baseline: tuple[float, float], *, phi: float, confidence: float
) -> Difference:
    up, down = (wilson_interval(*side, confidence=confidence) for side in (candidate, baseline))
    if not candidate[1] or not baseline[1]:
        return Difference(estimate=0.0, interval=Interval(low=-1.0, high=1.0))
    p_up, p_down = candidate[0] / candidate[1], baseline[0] / baseline[1]
    below = _combined(p_up - up.low, down.high - p_down, phi)
    above = _combined(up.high - p_up, p_down - down.low, phi)
    estimate = p_up - p_down
    return Difference(
        estimate=estimate,
        interval=Interval(low=max(-1.0, estimate - below), high=min(1.0, estimate + above)),
    )


def _combined(one: float, other: float, phi: float) -> float:
    return sqrt(max(0.0, one * one - 2 * phi * one * other + other * other))


@lru_cache(maxsize=65536)
def score_paired_difference(
    *, worse: float, better: float, n: float, confidence: float = CONFIDENCE
) -> Difference:
    """Return the difference of two paired proportions with Tango's score interval.

    Source: T. Tango, Statistics in Medicine 17, 891–908 (1998): all differences that the score
    test with the restricted maximum likelihood estimate does not reject. Unlike Newcombe's it
    keeps its one-sided error where the two sides are nearly equal, which is what a gate meets
    (tests/benchmarks/gate_error.py: 1.5 % where Newcombe's has 8 %).

    Args:
        worse: Pairs in which only the baseline passed.
        better: Pairs in which only the candidate passed.
        n: All pairs. Counts need not be whole.
        confidence: Of the interval.

    Raises:
        ValueError: A count is negative, there are more discordant pairs than pairs, or
            `confidence` is not between 0 and 1.
    """
    if worse < 0 or better < 0 or worse + better > n * (1 + 1e-9):
        raise ValueError(f"{worse} worse and {better} better of {n} pairs")
    z = normal_quantile(confidence)
    if n == 0:
        return Difference(estimate=0.0, interval=Interval(low=-1.0, high=1.0))
    estimate = (better - worse) / n

    def rejected(difference: float) -> bool:
        return abs(_tango_score(worse, better, n, difference)) > z

    return Difference(
        estimate=estimate,
        interval=Interval(
            low=_last_rejected(-1.0, estimate, rejected),
            high=_last_rejected(1.0, estimate, rejected),
        ),
    )


def _last_rejected(outside: float, inside: float, rejected: Callable[[float], bool]) -> float:
    """Return where rejection ends on the way from `outside` to `inside`."""
    if not rejected(outside):
        return outside
    for _ in range(_HALVINGS):
        middle = (outside + inside) / 2
        if rejected(middle):
            outside = middle
        else:
            inside = middle
    return outside


def _tango_score(worse: float, better: float, n: float, difference: float) -> float:
    """Return Tango's statistic for a true difference; 0 where nothing speaks against it."""
    a = 2 * n
    b = -worse - better + (2 * n - better + worse) * difference
    c = -worse * difference * (1 - difference)
    lost = (sqrt(max(0.0, b * b - 4 * a * c)) - b) / (2 * a)
    variance = n * (2 * lost + difference * (1 - difference))
    excess = better - worse - n * difference
    if variance <= 0:
        return 0.0 if excess == 0 else copysign(inf, excess)
    return excess / sqrt(variance)


def smallest_significant_drop(n: int, *, paired: bool, alpha: float = 0.05) -> float | None:
    """Return the smallest drop from n of n successes that n trials a side can show at all.

    It is the best case: from a baseline below 1, a drop must be larger. None where not even a
    drop to 0 would be significant.

    Args:
        n: Trials of each side.
        paired: By the exact McNemar test, whose p-value for k losses and no gain is 2 · 2⁻ᵏ; else
            by Fisher's exact test, two-sided, than which Boschloo's never needs more.
        alpha: The two-sided level; for Holm's first step among m cells give 0.05 / m.
    """
    for lost in range(1, n + 1):
        p = 2.0 ** (1 - lost) if paired else _fisher_from_perfect(n, lost)
        if p <= alpha:
            return lost / n
    return None


def _fisher_from_perfect(n: int, lost: int) -> float:
    """Return Fisher's two-sided p-value of n of n against n − lost of n.

    With sides of equal size both tails are equal: all losses on one side or on the other.
    """
    return min(1.0, 2 * comb(n, lost) / comb(2 * n, lost))
