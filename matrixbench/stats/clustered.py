"""Totals over tests: each test weighs the same; what several attempts at one task are worth."""

from __future__ import annotations

from dataclasses import dataclass
from math import comb, sqrt
from statistics import fmean, stdev
from typing import TYPE_CHECKING

from matrixbench.stats.proportions import (
    CONFIDENCE,
    Interval,
    normal_quantile,
    score_interval,
    wilson_interval,
)

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True, kw_only=True)
class Mean:
    """A mean over tests.

    Args:
        estimate: The mean of the tests' own ratios.
        standard_error: Cluster-robust; None for fewer than two tests.
    """

    estimate: float
    interval: Interval
    standard_error: float | None
    tests: int


def student_quantile(df: float, *, confidence: float = CONFIDENCE) -> float:
    """Return t with P(−t < T < t) = confidence for Student's T with `df` degrees of freedom."""
    from scipy.special import stdtrit

    return float(stdtrit(df, 0.5 + confidence / 2))


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """A cell's success ratio with its interval.

    Args:
        n: The trials behind it where the interval is Wilson's; None where it is another.
    """

    estimate: float
    interval: Interval
    n: float | None = None

    def at(self, quantile: float) -> Interval:
        """Return the interval at another normal quantile than that of 95 %.

        Of one that is not Wilson's the reaches are scaled.
        """
        if self.n is not None:
            return score_interval(self.estimate * self.n, self.n, quantile)
        scale = quantile / normal_quantile(CONFIDENCE)
        return Interval(
            low=self.estimate - scale * (self.estimate - self.interval.low),
            high=self.estimate + scale * (self.interval.high - self.estimate),
        )

    @property
    def standard_error(self) -> float:
        """The estimated one; 0 where every trial came out alike."""
        if self.n is None:
            return self.interval.half_width / normal_quantile(CONFIDENCE)
        return sqrt(self.estimate * (1 - self.estimate) / self.n)

    @property
    def scale(self) -> float:
        """What the standard error is proportional to where all ratios are one and the same."""
        return 1.0 if self.n is None else 1 / sqrt(self.n)


def ratio_of(successes: float, n: float, *, confidence: float = CONFIDENCE) -> Ratio:
    """Return the ratio of `successes` of `n` with Wilson's interval.

    Raises:
        ValueError: There is no trial, or as `wilson_interval` says.
    """
    if not n:
        raise ValueError("a ratio needs a trial")
    interval = wilson_interval(successes, n, confidence=confidence)
    return Ratio(estimate=successes / n, interval=interval, n=n)


def mean_over_tests(
    tests: Sequence[Sequence[Ratio]],
    *,
    luck: Sequence[float] = (),
    confidence: float = CONFIDENCE,
) -> Mean | None:
    """Return the mean success ratio over tests, each given by the ratios of its cells.

    Tests weigh the same, and in a test its cells do. The standard error is that of the tests'
    ratios, sd / √G, which with equal weights is the cluster-robust one (E. Miller, arXiv
    2411.00640, section 2.2), and the interval Student's with G − 1 degrees of freedom, for few
    clusters (S. G. Donald and K. Lang, Review of Economics and Statistics 89(2) (2007); A. C.
    Cameron and D. L. Miller, Journal of Human Resources 50(2) (2015), section VI). It takes the
    tests as a sample of such tests. It is never narrower than the interval for these very tests
    (`mean_of_these_tests`), which is also what a single test gets: without it, tests that all came
    out alike would leave no width at all. What tests have in common, since they share seeds, does
    not show in how their ratios differ: it is added.

    Tests without cells are left out; None where none is left. `luck` is as in
    `mean_of_these_tests`; then no test may be without cells.
    """
    known = [cells for cells in tests if cells]
    if not known:
        return None
    ratios = [fmean(cell.estimate for cell in cells) for cells in known]
    estimate = fmean(ratios)
    these = mean_of_these_tests(known, luck=luck, confidence=confidence)
    if len(ratios) == 1:
        return Mean(estimate=estimate, interval=these, standard_error=None, tests=1)
    common = sum(
        (effect - 1) * fmean(cell.standard_error for cell in cells) ** 2
        for cells, effect in zip(known, luck or [1.0] * len(known), strict=True)
    )
    error = sqrt(stdev(ratios) ** 2 / len(ratios) + common / len(ratios) ** 2)
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
    tests: Sequence[Sequence[Ratio]],
    *,
    luck: Sequence[float] = (),
    confidence: float = CONFIDENCE,
) -> Interval:
    """Return the interval of the mean ratio over these very tests: only their trials are chance.

    The stratified Wilson interval of X. Yan and X. G. Su (Statistics in Biopharmaceutical Research
    2(3) (2010)), a test being a stratum: each has Wilson's interval at the quantile
    z · √Σ(w·se)² / Σ(w·se), and their ends are averaged with the weights w = 1 / tests. Where
    every trial of every test came out alike no standard error is known and the quantile is 0 / 0:
    its limit is taken, z / √tests where all have as many trials. Cells of one test share their
    seeds, so that they may go wholly together: their ends and standard errors are averaged.

    Where tests share seeds with each other, each se² in the quantile's numerator is multiplied by
    their design effect, up to complete dependence, at which the quantile is z.

    Args:
        luck: The design effect of each test (`paired.mean_effect`), 1 for those that share no
            seeds; empty where none does.

    Raises:
        ValueError: There is no test, or one without cells.
    """
    if not tests or not all(tests):
        raise ValueError("a mean needs tests, and every test a cell")
    errors = [fmean(cell.standard_error for cell in cells) for cells in tests]
    if not any(errors):
        errors = [fmean(cell.scale for cell in cells) for cells in tests]
    effects = luck or [1.0] * len(errors)
    together = sum(effect * e * e for effect, e in zip(effects, errors, strict=True))
    quantile = normal_quantile(confidence) * min(1.0, sqrt(together) / sum(errors))
    ends = [[cell.at(quantile) for cell in cells] for cells in tests]
    return Interval(
        low=max(0.0, fmean(fmean(end.low for end in found) for found in ends)),
        high=min(1.0, fmean(fmean(end.high for end in found) for found in ends)),
    )


def pass_at_k(successes: int, n: int, k: int) -> float | None:
    """Return the chance that at least one of k attempts passes; None where n < k.

    The unbiased estimate 1 − C(n−c, k) / C(n, k). Source: M. Chen et al., arXiv 2107.03374
    (2021). Average it over tests; never pool the trials of several.

    Raises:
        ValueError: `successes` is not between 0 and `n`, or k is below 1.
    """
    _check(successes, n, k)
    return None if n < k else 1 - comb(n - successes, k) / comb(n, k)


def pass_hat_k(successes: int, n: int, k: int) -> float | None:
    """Return pass^k, the chance that all of k attempts pass; None where n < k.

    The unbiased estimate C(c, k) / C(n, k), where (c/n)ᵏ would be too high for small n. Source:
    S. Yao et al., τ-bench, arXiv 2406.12045 (2024).

    Raises:
        ValueError: `successes` is not between 0 and `n`, or k is below 1.
    """
    _check(successes, n, k)
    return None if n < k else comb(successes, k) / comb(n, k)


def _check(successes: int, n: int, k: int) -> None:
    if not 0 <= successes <= n:
        raise ValueError(f"{successes} successes of {n}")
    if k < 1:
        raise ValueError(f"k is {k}; it counts attempts, from 1 on")
