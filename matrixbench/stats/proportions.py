"""Intervals for a proportion and for a difference of two; two cells whose trials are not paired."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import comb, copysign, inf, sqrt
from statistics import NormalDist
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

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

    Raises:
        ValueError: As `wilson_interval` says.
    """
    up, down = (wilson_interval(*side, confidence=confidence) for side in (candidate, baseline))
    if not candidate[1] or not baseline[1]:
        return Difference(estimate=0.0, interval=Interval(low=-1.0, high=1.0))
    p_up, p_down = candidate[0] / candidate[1], baseline[0] / baseline[1]
    below = _together(p_up - up.low, down.high - p_down)
    above = _together(up.high - p_up, p_down - down.low)
    estimate = p_up - p_down
    return Difference(
        estimate=estimate,
        interval=Interval(low=max(-1.0, estimate - below), high=min(1.0, estimate + above)),
    )


def _together(one: float, other: float) -> float:
    return sqrt(one * one + other * other)


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
            low=border(-1.0, estimate, rejected, _HALVINGS) if rejected(-1.0) else -1.0,
            high=border(1.0, estimate, rejected, _HALVINGS) if rejected(1.0) else 1.0,
        ),
    )


def border(outside: float, inside: float, is_out: Callable[[float], bool], halvings: int) -> float:
    """Return where a span that is out at `outside`, and not at `inside`, ends: the last one out."""
    for _ in range(halvings):
        middle = (outside + inside) / 2
        if is_out(middle):
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


def jeffreys_interval(successes: float, n: float, *, confidence: float = CONFIDENCE) -> Interval:
    """Return the equal-tailed interval of Jeffreys' prior for `successes` of `n`.

    The quantiles of Beta(x + ½, n − x + ½); 0 below no success and 1 above no failure. Source:
    L. Brown, T. Cai and A. DasGupta, Statistical Science 16(2) (2001), section 3.1.2 and equation
    8. With n = 0 nothing is known: [0, 1]. Counts need not be whole.

    Raises:
        ValueError: `successes` is not between 0 and `n`, or `confidence` not between 0 and 1.
    """
    _check(successes, n, confidence)
    return _ends(
        successes,
        n,
        (successes + 0.5, n - successes + 0.5),
        (successes + 0.5, n - successes + 0.5),
        confidence,
    )


def exact_interval(successes: float, n: float, *, confidence: float = CONFIDENCE) -> Interval:
    """Return the interval of C. Clopper and E. Pearson for `successes` of `n`.

    It holds at least as often as it says, whatever the ratio, and so is wider than it need be.
    Source: Biometrika 26(4) (1934), by quantiles of the beta distribution. With n = 0 nothing is
    known: [0, 1]. Counts need not be whole, but it is exact only for those that are.

    Raises:
        ValueError: `successes` is not between 0 and `n`, or `confidence` not between 0 and 1.
    """
    _check(successes, n, confidence)
    return _ends(
        successes,
        n,
        (successes, n - successes + 1),
        (successes + 1, n - successes),
        confidence,
    )


def _check(successes: float, n: float, confidence: float) -> None:
    if not 0 <= successes <= n:
        raise ValueError(f"{successes} successes of {n}")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence {confidence} is not between 0 and 1")


def _ends(
    successes: float,
    n: float,
    lower: tuple[float, float],
    upper: tuple[float, float],
    confidence: float,
) -> Interval:
    from scipy.special import betaincinv

    if n == 0:
        return Interval(low=0.0, high=1.0)
    tail = (1 - confidence) / 2
    return Interval(
        low=0.0 if successes == 0 else float(betaincinv(*lower, tail)),
        high=1.0 if successes == n else float(betaincinv(*upper, 1 - tail)),
    )


Floats: TypeAlias = "NDArray[np.float64]"

_FEWEST_ANGLES = 129
_NEAR = 0.98
"""How high a hump must be, as a share of the highest point, to be looked at closely."""
_ZOOMS = 5
"""Each makes the step an eighth; at the top of a hump the error is the square of it."""
_EQUAL = 1e-9
"""Fisher's p-values that differ by no more than this share are one: rounding parts them."""


def boschloo(candidate: tuple[int, int], baseline: tuple[int, int]) -> float:
    """Return the two-sided p-value of Boschloo's exact test: 1 where a side has no trials.

    Source: R. D. Boschloo, Statistica Neerlandica 24 (1970): an unconditional test that orders
    tables by Fisher's p-value, and never has less power than Fisher's. Two-sided it is twice the
    smaller of both sides, as scipy's `boschloo_exact` has it, to whose values it agrees.

    Args:
        candidate: Successes and trials.
        baseline: Successes and trials.

    Raises:
        ValueError: Successes are not between 0 and the trials.
    """
    for successes, n in (candidate, baseline):
        if not 0 <= successes <= n:
            raise ValueError(f"{successes} successes of {n}")
    if not candidate[1] or not baseline[1]:
        return 1.0
    # Neither swapping the sides nor calling failures successes changes the p-value: thus one
    # entry of the cache, of which thousands of cells fill few, serves up to four tables.
    complement = tuple((n - successes, n) for successes, n in (candidate, baseline))
    return _boschloo(*min(sorted((candidate, baseline)), sorted(complement)))


@lru_cache(maxsize=65536)
def _boschloo(one: tuple[int, int], other: tuple[int, int]) -> float:
    if not one[0] + other[0] or one[0] + other[0] == one[1] + other[1]:
        return 1.0
    return min(1.0, 2 * min(_fewer(one, other), _fewer(other, one)))


def _fewer(one: tuple[int, int], other: tuple[int, int]) -> float:
    """Return the one-sided p-value that the first side succeeds less often.

    Given s successes in all, the tables that count are those whose first side has at most some
    number: Fisher's tail, whose probability knows no common ratio. The p-value is the greatest
    that these tails come to, each with the binomial probability of its s, over all common ratios.
    """
    import numpy as np

    n = one[1] + other[1]
    tails = _tails(one, other)
    rows = np.flatnonzero(tails)
    weights = np.log(tails[rows]) + _log_combinations(n)[rows]

    def chance(angles: Floats) -> Floats:
        """Return the chance of these tables at common ratios sin²(angle)."""
        up, down = (np.log(np.maximum(side(angles) ** 2, 1e-300)) for side in (np.sin, np.cos))
        logs = weights + up[..., None] * rows + down[..., None] * (n - rows)
        return np.asarray(np.exp(logs).sum(axis=-1))

    # In angles a binomial is equally wide everywhere, about 1/√n: no hump is between two points.
    angles = np.linspace(0, np.pi / 2, max(_FEWEST_ANGLES, int(8 * sqrt(n))))
    found = chance(angles)
    best = float(found.max())
    beside = np.concatenate([[0.0], found, [0.0]])
    humps = (found >= beside[:-2]) & (found >= beside[2:]) & (found >= _NEAR * best)
    around, step = angles[humps], float(angles[1])
    for _ in range(_ZOOMS):
        looked = np.clip(around[:, None] + step * np.linspace(-1, 1, 17), 0, np.pi / 2)
        found = chance(looked)
        around = looked[np.arange(len(looked)), found.argmax(axis=1)]
        best = max(best, float(found.max()))
        step /= 8
    return best


def _tails(one: tuple[int, int], other: tuple[int, int]) -> Floats:
    """Return for each s the probability of those tables with s successes that count.

    These are the ones whose one-sided Fisher's p-value is not above that of the table observed.
    """
    import numpy as np

    ours, theirs = _log_combinations(one[1]), _log_combinations(other[1])
    both = _log_combinations(one[1] + other[1])

    def tail(s: int) -> Floats:
        """Return Fisher's p-value of each table with s successes, from the fewest of ours on."""
        low, high = max(0, s - other[1]), min(one[1], s)
        ways = ours[low : high + 1] + theirs[s - high : s - low + 1][::-1]
        return np.cumsum(np.exp(ways - both[s]))

    s = one[0] + other[0]
    limit = tail(s)[one[0] - max(0, s - other[1])] * (1 + _EQUAL)
    counting = (tail(s) for s in range(len(both)))
    return np.array([p[p <= limit].max(initial=0.0) for p in counting])


def _log_combinations(n: int) -> Floats:
    """Return the logarithms of n over k, for k from 0 to n."""
    import numpy as np

    factorials = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, n + 1)))])
    return np.asarray(factorials[n] - factorials - factorials[::-1])
