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


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """A cell's success ratio with its interval."""

    estimate: float
    interval: Interval


def ratio_of(successes: float, n: float, *, confidence: float = CONFIDENCE) -> Ratio:
    """Return the ratio of `successes` of `n` with Wilson's interval.

    Raises:
        ValueError: There is no trial, or as `wilson_interval` says.
    """
    if not n:
        raise ValueError("a ratio needs a trial")
    interval = wilson_interval(successes, n, confidence=confidence)
    return Ratio(estimate=successes / n, interval=interval)


def mean_over_tests(
    tests: Sequence[Sequence[Ratio]], *, confidence: float = CONFIDENCE
) -> Mean | None:
    """Return the mean success ratio over tests, each given by the ratios of its cells.

    Tests weigh the same, and in a test its cells do. The standard error is that of the tests'
    ratios, sd / √G, which with equal weights is the cluster-robust one (E. Miller, arXiv
    2411.00640, section 2.2), and the interval Student's with G − 1 degrees of freedom, for few
    clusters (S. G. Donald and K. Lang, Review of Economics and Statistics 89(2) (2007); A. C.
    Cameron and D. L. Miller, Journal of Human Resources 50(2) (2015), section VI). It takes the
    tests as a sample of such tests. It is never narrower than the interval for these very tests
    (`mean_of_these_tests`), which is also what a single test gets: without it, tests that all came
    out alike would leave no width at all.

    Tests without cells are left out; None where none is left.
    """
    known = [cells for cells in tests if cells]
    if not known:
        return None
    ratios = [fmean(cell.estimate for cell in cells) for cells in known]
    estimate = fmean(ratios)
    these = mean_of_these_tests(known)
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


def mean_of_these_tests(tests: Sequence[Sequence[Ratio]]) -> Interval:
    """Return the interval of the mean ratio over these very tests: only their trials are chance.

    Intervals of the tests are combined by squaring and adding (G. Y. Zou and A. Donner,
    Statistics in Medicine 27 (2008); X. Yan and X. G. Su, Statistics in Biopharmaceutical Research
    2(3) (2010)). Cells of one test share their seeds, so that they may go wholly together: their
    reaches are averaged, which is the widest.

    Raises:
        ValueError: There is no test, or one without cells.
    """
    if not tests or not all(tests):
        raise ValueError("a mean needs tests, and every test a cell")
    estimate = fmean(fmean(cell.estimate for cell in cells) for cells in tests)
    below = [fmean(cell.estimate - cell.interval.low for cell in cells) for cells in tests]
    above = [fmean(cell.interval.high - cell.estimate for cell in cells) for cells in tests]
    return Interval(
        low=max(0.0, estimate - sqrt(sum(reach**2 for reach in below)) / len(tests)),
        high=min(1.0, estimate + sqrt(sum(reach**2 for reach in above)) / len(tests)),
    )
