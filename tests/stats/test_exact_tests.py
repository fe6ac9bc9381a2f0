"""Exact tests of two cells, Holm's correction, pass@k: values of scipy and statsmodels."""

from __future__ import annotations

from itertools import combinations
from math import sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, boschloo_exact, fisher_exact, pearsonr

from matrixbench.stats.clustered import pass_at_k, pass_hat_k
from matrixbench.stats.paired import Pairs, holm, mcnemar_exact, phi, pooled_phi
from matrixbench.stats.proportions import boschloo
from tests.properties import examples

SIDE = st.integers(1, 25).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))
TABLE = st.builds(
    Pairs,
    both=st.integers(0, 20),
    worse=st.integers(0, 20),
    better=st.integers(0, 20),
    neither=st.integers(0, 20),
)


@pytest.mark.parametrize(
    ("worse", "better", "p"),
    [(0, 6, 0.03125), (1, 6, 0.125), (3, 9, 0.14599609375), (10, 10, 1.0), (0, 0, 1.0),
     (2, 25, 5.647540092468262e-06)],
)  # fmt: skip
def test_mcnemar_agrees_with_statsmodels(worse: int, better: int, p: float) -> None:
    """Values of statsmodels 0.15 `mcnemar(exact=True)`."""
    assert mcnemar_exact(worse, better) == pytest.approx(p, rel=1e-12)


@given(st.integers(0, 300), st.integers(0, 300))
def test_mcnemar_is_the_binomial_test(worse: int, better: int) -> None:
    """It agrees with scipy's binomial test of the discordant pairs."""
    wanted = binomtest(worse, worse + better).pvalue if worse + better else 1.0
    assert mcnemar_exact(worse, better) == pytest.approx(wanted, rel=1e-9)


def test_ten_pairs_reach_two_in_a_thousand() -> None:
    """The best that n = 10 can do is p = .00195."""
    assert mcnemar_exact(10, 0) == pytest.approx(0.001953125)


@pytest.mark.parametrize(
    ("candidate", "baseline", "p"),
    [
        ((10, 10), (5, 10), 0.012779235839843762),
        ((9, 12), (3, 10), 0.04636586576325079),
        ((30, 30), (24, 30), 0.013502031344219803),
        ((7, 10), (8, 9), 0.3873595698866704),
        ((10, 10), (10, 10), 1.0),
        ((0, 10), (0, 5), 1.0),
        ((0, 0), (5, 5), 1.0),
    ],
)
def test_boschloo_agrees_with_scipy(
    candidate: tuple[int, int], baseline: tuple[int, int], p: float
) -> None:
    """Values of scipy 1.17 `boschloo_exact`; 1 where nothing can differ."""
    assert boschloo(candidate, baseline) == pytest.approx(p, abs=1e-6)


@pytest.mark.parametrize(
    ("candidate", "baseline"),
    [((60, 150), (97, 140)), ((149, 150), (143, 150)), ((3, 200), (12, 90)), ((299, 300), (1, 1))],
)
def test_boschloo_of_many_trials_is_scipys(
    candidate: tuple[int, int], baseline: tuple[int, int]
) -> None:
    """Where the sides differ in size and the ratios are near an end, too."""
    table = [[k, n - k] for k, n in (candidate, baseline)]
    wanted = float(boschloo_exact(np.transpose(table)).pvalue)
    assert boschloo(candidate, baseline) == pytest.approx(wanted, rel=1e-8)


@examples(15)
@given(SIDE, SIDE)
def test_boschloo_has_no_less_power_than_fisher(
    candidate: tuple[int, int], baseline: tuple[int, int]
) -> None:
    """One-sided, its p-value is never above Fisher's; ours is two-sided as scipy says."""
    table = [
        [candidate[0], baseline[0]],
        [candidate[1] - candidate[0], baseline[1] - baseline[0]],
    ]
    less = boschloo_exact(table, alternative="less").pvalue
    assert less <= fisher_exact(np.array(table), alternative="less").pvalue + 1e-9
    both = min(1.0, boschloo_exact(table).pvalue)
    varies = 0 < candidate[0] + baseline[0] < candidate[1] + baseline[1]
    assert boschloo(candidate, baseline) == pytest.approx(both if varies else 1.0, rel=1e-9)


def test_impossible_counts_are_refused() -> None:
    """Counts that cannot be are an error."""
    with pytest.raises(ValueError, match="successes of"):
        boschloo((3, 2), (1, 1))
    with pytest.raises(ValueError, match="pairs"):
        mcnemar_exact(-1, 2)
    with pytest.raises(ValueError, match="successes of"):
        pass_at_k(3, 2, 1)
    with pytest.raises(ValueError, match="from 1 on"):
        pass_hat_k(1, 2, 0)


@given(TABLE)
def test_phi_is_the_correlation(table: Pairs) -> None:
    """Phi is Pearson's correlation of the outcomes; unknown where a side is constant."""
    outcomes = (
        [(1, 1)] * table.both + [(1, 0)] * table.worse + [(0, 1)] * table.better
        + [(0, 0)] * table.neither
    )  # fmt: skip
    sides = list(zip(*outcomes, strict=True))
    if not outcomes or any(len(set(side)) == 1 for side in sides):
        assert phi(table) is None
        return
    found = phi(table)
    assert found == pytest.approx(float(pearsonr(*sides).statistic), abs=1e-9)


def test_pooled_phi_looks_within_cells() -> None:
    """An easy and a hard cell without correlation in them have none together either."""
    easy = Pairs(both=81, worse=9, better=9, neither=1)
    hard = Pairs(both=1, worse=9, better=9, neither=81)
    assert pooled_phi([easy, hard]) == pytest.approx(0.0, abs=1e-12)
    constant = Pairs(both=10)
    assert pooled_phi([constant]) is None
    assert pooled_phi([constant, Pairs(both=5, neither=5)]) == pytest.approx(1.0)


def test_holm_agrees_with_statsmodels() -> None:
    """Values of statsmodels 0.15 `multipletests(method="holm")`."""
    found = holm([0.01, 0.04, 0.03, 0.005, 0.5])
    assert found == pytest.approx([0.04, 0.09, 0.09, 0.025, 0.5])
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_holm_keeps_the_order(p_values: list[float]) -> None:
    """Adjusted values are no smaller, at most 1, and in the same order."""
    found = holm(p_values)
    assert all(old <= new <= 1 for old, new in zip(p_values, found, strict=True))
    by_old = [new for _, new in sorted(zip(p_values, found, strict=True))]
    assert by_old == sorted(by_old)
    assert min(found) == pytest.approx(min(1.0, len(p_values) * min(p_values)))


@given(st.integers(1, 8).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_pass_at_k_counts_subsets(count: tuple[int, int]) -> None:
    """Both estimates are shares of the subsets of k trials; missing where n < k."""
    successes, n = count
    trials = [True] * successes + [False] * (n - successes)
    for k in range(1, n + 1):
        subsets = list(combinations(trials, k))
        assert pass_at_k(successes, n, k) == pytest.approx(sum(map(any, subsets)) / len(subsets))
        assert pass_hat_k(successes, n, k) == pytest.approx(sum(map(all, subsets)) / len(subsets))
    assert pass_at_k(successes, n, n + 1) is None
    assert pass_hat_k(successes, n, n + 1) is None


def test_one_attempt_is_the_ratio() -> None:
    """pass@1 and pass^1 are the success ratio; p^k would be too high for pass^k."""
    assert pass_at_k(7, 10, 1) == pass_hat_k(7, 10, 1) == pytest.approx(0.7)
    strict = pass_hat_k(7, 10, 3)
    assert strict is not None
    assert sqrt(strict) < sqrt(0.7**3)
