"""Jeffreys' and the exact interval: values of scipy, and what holds for all counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta, binomtest

from matrixbench.stats.proportions import Interval, exact_interval, jeffreys_interval

if TYPE_CHECKING:
    from collections.abc import Callable

COUNTS = st.integers(1, 300).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@given(COUNTS, st.sampled_from([0.8, 0.95, 0.99]))
def test_the_exact_interval_agrees_with_scipy(count: tuple[int, int], confidence: float) -> None:
    """Clopper's and Pearson's, at any confidence."""
    found = exact_interval(*count, confidence=confidence)
    wanted = binomtest(*count).proportion_ci(confidence_level=confidence, method="exact")
    assert (found.low, found.high) == pytest.approx((wanted.low, wanted.high), abs=1e-9)


@given(COUNTS)
def test_jeffreys_interval_is_the_posteriors(count: tuple[int, int]) -> None:
    """Quantiles of Beta(x + ½, n − x + ½), with the ends closed where all came out alike."""
    successes, n = count
    found = jeffreys_interval(*count)
    posterior = beta(successes + 0.5, n - successes + 0.5)
    low, high = float(posterior.ppf(0.025)), float(posterior.ppf(0.975))
    assert found.low == pytest.approx(low if successes else 0.0, abs=1e-9)
    assert found.high == pytest.approx(high if successes < n else 1.0, abs=1e-9)


@given(COUNTS)
def test_they_mirror_and_hold_the_ratio(count: tuple[int, int]) -> None:
    """Failures are successes seen from the other side; the exact one is the wider."""
    successes, n = count
    jeffreys, exact = jeffreys_interval(*count), exact_interval(*count)
    for interval, of in ((jeffreys, jeffreys_interval), (exact, exact_interval)):
        other = of(n - successes, n)
        mirrored = (1 - other.high, 1 - other.low)
        assert (interval.low, interval.high) == pytest.approx(mirrored, abs=1e-9)
        assert interval.low <= successes / n <= interval.high
    assert exact.low <= jeffreys.low + 1e-12
    assert exact.high >= jeffreys.high - 1e-12


@pytest.mark.parametrize("interval", [exact_interval, jeffreys_interval])
def test_nothing_is_known_of_nothing(interval: Callable[..., Interval]) -> None:
    """And counts that cannot be are refused."""
    assert (interval(0, 0).low, interval(0, 0).high) == (0, 1)
    with pytest.raises(ValueError, match="3 successes of 2"):
        interval(3, 2)
    with pytest.raises(ValueError, match="not between 0 and 1"):
        interval(1, 2, confidence=1.0)
