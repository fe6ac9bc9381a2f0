"""Totals over tests: each test weighs the same, and is one cluster of trials."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from statistics import fmean, stdev
from typing import TYPE_CHECKING

from matrixbench.stats.proportions import CONFIDENCE, Interval, wilson_interval

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True, kw_only=True)
class Mean:
    """A mean over tests.

    Args:
        estimate: The mean of the tests' own ratios.
        interval: Its interval.
        standard_error: Cluster-robust; None for fewer than two tests.
        tests: How many tests there are.
    """

    estimate: float
    interval: Interval
    standard_error: float | None
    tests: int


def student_quantile(df: float, *, confidence: float = CONFIDENCE) -> float:
    """Return t with P(−t < T < t) = confidence for Student's T with `df` degrees of freedom."""
    from scipy.special import stdtrit  # noqa: PLC0415  heavy: scipy

    return float(stdtrit(df, 0.5 + confidence / 2))


def mean_over_tests(
    counts: Sequence[tuple[int, int]], *, confidence: float = CONFIDENCE
) -> Mean | None:
    """Return the mean success ratio over tests, each given as (successes, trials).

    The standard error is that of the tests' ratios, sd / √G, which with equal weights is the
    cluster-robust one (E. Miller, arXiv 2411.00640, section 2.2), and the interval Student's with
    G − 1 degrees of freedom, for few clusters (S. G. Donald and K. Lang, Review of Economics and
    Statistics 89(2) (2007); A. C. Cameron and D. L. Miller, Journal of Human Resources 50(2)
    (2015), section VI). It takes the tests as a sample of such tests. It is never narrower than
    the interval for these very tests (`mean_of_these_tests`), which is also what a single test
    gets: without it, tests that all came out alike would leave no width at all.

    Tests without trials are left out; None where none is left.

    Raises:
        ValueError: Successes are not between 0 and the trials.
    """
    known = [(successes, n) for successes, n in counts if n]
    if not known:
        return None
    ratios = [successes / n for successes, n in known]
    estimate = fmean(ratios)
    these = mean_of_these_tests(known, confidence=confidence)
    if len(ratios) == 1:
        return Mean(estimate=estimate, interval=these, standard_error=None, tests=1)
    error = stdev(ratios) / sqrt(len(ratios))
    reach = student_quantile(len(ratios) - 1, confidence=confidence) * error
    return Mean(
        estimate=estimate,
        interval=Interval(
            low=max(0.0, min(these.low, estimate - reach)),
            high=min(1.0, max(these.high, estimate + reach)),
        ),
        standard_error=error,
        tests=len(ratios),
    )


def mean_of_these_tests(
    counts: Sequence[tuple[int, int]], *, confidence: float = CONFIDENCE
) -> Interval:
    """Return the interval of the mean ratio over these very tests: only their trials are chance.

    The tests' Wilson intervals, combined by squaring and adding (G. Y. Zou and A. Donner,
    Statistics in Medicine 27 (2008); X. Yan and X. G. Su, Statistics in Biopharmaceutical Research
    2(3) (2010)).

    Raises:
        ValueError: There is no test, or one without trials.
    """
    if not counts or not all(n for _, n in counts):
        raise ValueError("a mean needs tests, and every test a trial")
    intervals = [wilson_interval(*count, confidence=confidence) for count in counts]
    ratios = [successes / n for successes, n in counts]
    estimate = fmean(ratios)
    below = sqrt(sum((p - i.low) ** 2 for p, i in zip(ratios, intervals, strict=True)))
    above = sqrt(sum((i.high - p) ** 2 for p, i in zip(ratios, intervals, strict=True)))
    return Interval(
        low=max(0.0, estimate - below / len(ratios)), high=min(1.0, estimate + above / len(ratios))
    )
