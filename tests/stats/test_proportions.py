"""Intervals: values of scipy and statsmodels, and what holds for all counts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, fisher_exact

from matrixbench.stats.proportions import (
    CONFIDENCE,
    Interval,
    newcombe_difference,
    score_paired_difference,
    smallest_significant_drop,
    wilson_interval,
)

COUNTS = st.integers(0, 200).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))
SOME = COUNTS.filter(lambda count: count[1] > 0)
PAIRS = st.tuples(*[st.integers(0, 40)] * 4).filter(lambda table: sum(table) > 0)


@given(SOME)
def test_wilson_agrees_with_scipy(count: tuple[int, int]) -> None:
    """The closed form gives what scipy gives."""
    found = wilson_interval(*count)
    wanted = binomtest(*count).proportion_ci(confidence_level=CONFIDENCE, method="wilson")
    assert (found.low, found.high) == pytest.approx((wanted.low, wanted.high), abs=1e-12)


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [
        (0, 10, 0.0, 0.277533),
        (10, 10, 0.722467, 1.0),
        (15, 30, 0.331541, 0.668459),
        (27, 30, 0.743789, 0.965400),
        (1, 3, 0.061492, 0.792340),
        (99, 100, 0.945514, 0.998233),
        (1, 1, 0.206549, 1.0),
        (0, 1, 0.0, 0.793451),
        (5, 7, 0.358934, 0.917781),
        (450, 1000, 0.419415, 0.480967),
    ],
)
def test_wilson_agrees_with_statsmodels(successes: int, n: int, low: float, high: float) -> None:
    """Values of statsmodels 0.15 `proportion_confint(method="wilson")`."""
    found = wilson_interval(successes, n)
    assert (found.low, found.high) == pytest.approx((low, high), abs=5e-7)


@given(COUNTS)
def test_wilson_contains_its_estimate(count: tuple[int, int]) -> None:
    """The ratio lies inside, the ends within [0, 1]; without trials nothing is known."""
    successes, n = count
    found = wilson_interval(successes, n)
    assert 0 <= found.low <= found.high <= 1
    if n:
        assert found.low <= successes / n <= found.high
    else:
        assert found == Interval(low=0.0, high=1.0)


@given(SOME, st.integers(2, 5))
def test_wilson_narrows_with_n(count: tuple[int, int], times: int) -> None:
    """More trials of the same ratio know more."""
    more = wilson_interval(count[0] * times, count[1] * times)
    assert more.half_width < wilson_interval(*count).half_width


@pytest.mark.parametrize(("successes", "n"), [(-1, 3), (4, 3), (1, 0)])
def test_impossible_counts_are_refused(successes: int, n: int) -> None:
    """Counts that cannot be are an error, not a number."""
    with pytest.raises(ValueError, match="successes of"):
        wilson_interval(successes, n)
    with pytest.raises(ValueError, match="confidence"):
        wilson_interval(1, 2, confidence=1.0)


@pytest.mark.parametrize(
    ("candidate", "baseline", "low", "high"),
    [
        ((56, 70), (48, 80), 0.052431, 0.333873),
        ((9, 10), (3, 10), 0.170523, 0.809018),
        ((10, 10), (0, 10), 0.607509, 1.0),
        ((0, 10), (0, 10), -0.277533, 0.277533),
        ((30, 30), (24, 30), 0.045405, 0.373057),
        ((5, 7), (11, 40), 0.052258, 0.672498),
    ],
)
def test_newcombe_agrees_with_statsmodels(
    candidate: tuple[int, int], baseline: tuple[int, int], low: float, high: float
) -> None:
    """Values of statsmodels 0.15 `confint_proportions_2indep(method="newcomb")`."""
    found = newcombe_difference(candidate, baseline).interval
    assert (found.low, found.high) == pytest.approx((low, high), abs=5e-7)


@given(COUNTS, COUNTS)
def test_a_difference_contains_its_estimate(up: tuple[int, int], down: tuple[int, int]) -> None:
    """The estimate lies inside; swapping the sides turns the interval round."""
    found = newcombe_difference(up, down)
    assert -1 <= found.interval.low <= found.estimate <= found.interval.high <= 1
    turned = newcombe_difference(down, up)
    assert turned.interval.low == pytest.approx(-found.interval.high)


@given(SOME, SOME, st.integers(2, 5))
def test_a_difference_narrows_with_n(
    up: tuple[int, int], down: tuple[int, int], times: int
) -> None:
    """More trials of the same ratios know more of their difference."""
    more = newcombe_difference((up[0] * times, up[1] * times), (down[0] * times, down[1] * times))
    assert more.interval.half_width < newcombe_difference(up, down).interval.half_width


def test_a_difference_of_nothing_is_unknown() -> None:
    """A side without trials leaves the whole range."""
    assert newcombe_difference((0, 0), (5, 5)).interval == Interval(low=-1.0, high=1.0)
    unknown = Interval(low=-1.0, high=1.0)
    assert score_paired_difference(worse=0, better=0, n=0).interval == unknown


def test_tangos_interval_has_its_published_value() -> None:
    """Fagerland et al. (2017), chapter 8, airway hyper-responsiveness: 0.026 to 0.517."""
    found = score_paired_difference(worse=1, better=7, n=21)
    assert (found.interval.low, found.interval.high) == pytest.approx((0.0260, 0.5172), abs=5e-5)


@given(PAIRS)
def test_paired_intervals_contain_their_estimate(table: tuple[int, int, int, int]) -> None:
    """Tango's interval holds the estimate, within [−1, 1], and turns round exactly."""
    _, worse, better, _ = table
    n = sum(table)
    found = score_paired_difference(worse=worse, better=better, n=n)
    assert found.estimate == pytest.approx((better - worse) / n)
    assert -1 <= found.interval.low <= found.estimate <= found.interval.high <= 1
    turned = score_paired_difference(worse=better, better=worse, n=n)
    assert turned.interval.low == pytest.approx(-found.interval.high, abs=1e-9)


@given(PAIRS, st.integers(2, 5))
def test_paired_intervals_narrow_with_n(table: tuple[int, int, int, int], times: int) -> None:
    """More pairs of the same shares know more."""
    _, worse, better, _ = table
    few = score_paired_difference(worse=worse, better=better, n=sum(table))
    more = score_paired_difference(worse=worse * times, better=better * times, n=sum(table) * times)
    assert more.interval.half_width < few.interval.half_width


@pytest.mark.parametrize("n", [1, 34, 35, 100])
def test_perfect_against_perfect_needs_35_trials(n: int) -> None:
    """Equal outcomes leave ± z² / (n + z²): within 0.1 from n = 35 on."""
    tango = score_paired_difference(worse=0, better=0, n=n).interval
    assert tango.low == pytest.approx(-3.8414588 / (n + 3.8414588))
    assert (tango.low >= -0.1) is (n >= 35)


@pytest.mark.parametrize(
    ("n", "unpaired", "paired"),
    [(3, None, None), (5, 0.8, None), (6, 5 / 6, 1.0), (10, 0.5, 0.6), (30, 0.2, 0.2),
     (100, 0.06, 0.06)],
)  # fmt: skip
def test_the_smallest_visible_drop(n: int, unpaired: float | None, paired: float | None) -> None:
    """30 of 30 is told from 24, 10 of 10 from 5, 100 of 100 from 94; pairs need six losses."""
    assert smallest_significant_drop(n, paired=False) == unpaired
    assert smallest_significant_drop(n, paired=True) == paired


@given(st.integers(1, 60))
def test_the_smallest_visible_drop_is_fishers(n: int) -> None:
    """One loss fewer is not significant by scipy's Fisher test, and this one is."""
    drop = smallest_significant_drop(n, paired=False)
    losses = n + 1 if drop is None else round(drop * n)
    for lost in range(1, n + 1):
        significant = bool(fisher_exact(np.array([[n, n - lost], [0, lost]])).pvalue <= 0.05)
        assert significant is (lost >= losses)


def test_few_trials_show_nothing_among_many_cells() -> None:
    """Under Holm, ten pairs cannot make one of 26 cells stand out, though one of 25."""
    assert smallest_significant_drop(10, paired=True, alpha=0.05 / 26) is None
    assert smallest_significant_drop(10, paired=True, alpha=0.05 / 25) == 1.0
