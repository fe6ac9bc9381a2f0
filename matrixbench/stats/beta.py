"""Intervals for a proportion whose ends are quantiles of the beta distribution."""

from __future__ import annotations

from matrixbench.stats.proportions import CONFIDENCE, Interval


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
    from scipy.special import betaincinv  # noqa: PLC0415  heavy: scipy

    if n == 0:
        return Interval(low=0.0, high=1.0)
    tail = (1 - confidence) / 2
    return Interval(
        low=0.0 if successes == 0 else float(betaincinv(*lower, tail)),
        high=1.0 if successes == n else float(betaincinv(*upper, 1 - tail)),
    )
