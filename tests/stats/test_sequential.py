"""Confidence sequences: known values, and that they hold however often one looks."""

from __future__ import annotations

from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import betaln, xlogy

from matrixbench.stats.proportions import Interval, wilson_interval
from matrixbench.stats.sequential import (
    Precision,
    sequential_interval,
    trials_to_precision,
)

COUNTS = st.integers(0, 300).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [(30, 30, 0.807087, 1.0), (10, 10, 0.583120, 1.0), (0, 10, 0.0, 0.416880), (0, 0, 0.0, 1.0)],
)
def test_known_values(successes: int, n: int, low: float, high: float) -> None:
    """30 of 30 gives 0.807, 10 of 10 gives 0.583: (α / (n + 1)) to the power of 1 / n."""
    found = sequential_interval(successes, n)
    assert (found.low, found.high) == pytest.approx((low, high), abs=5e-7)


@given(COUNTS.filter(lambda count: count[1] > 0), st.floats(0.001, 0.999))
def test_it_is_the_set_of_the_mixture(count: tuple[int, int], p: float) -> None:
    """A p is inside exactly where the mixture's likelihood ratio is below 1/α (by scipy)."""
    successes, n = count
    likelihood = float(xlogy(successes, p)) + float(xlogy(n - successes, 1 - p))
    evidence = float(betaln(1 + successes, 1 + n - successes)) - likelihood
    found = sequential_interval(successes, n)
    if abs(evidence - 2.995732) > 1e-6:
        assert (evidence < 2.995732) is (found.low < p < found.high)


@given(COUNTS)
def test_it_contains_its_estimate_and_is_wider_than_wilson(count: tuple[int, int]) -> None:
    """It holds the ratio, stays in [0, 1], and pays for holding at all times with its width."""
    successes, n = count
    found = sequential_interval(successes, n)
    assert 0 <= found.low <= found.high <= 1
    if n:
        assert found.low <= successes / n <= found.high
        assert found.half_width > wilson_interval(successes, n).half_width
    else:
        assert found == Interval(low=0.0, high=1.0)


@pytest.mark.parametrize("ratio", [0.5, 0.8, 0.95])
def test_looking_after_every_trial_keeps_the_promise(ratio: float) -> None:
    """Followed exactly: the chance that any of 60 looks misses is below 5 %; Wilson's is not."""
    missed = {}
    for name, interval in (("sequence", sequential_interval), ("wilson", wilson_interval)):
        alive = {0: 1.0}
        for n in range(1, 61):
            grown: dict[int, float] = defaultdict(float)
            for passed, chance in alive.items():
                grown[passed + 1] += chance * ratio
                grown[passed] += chance * (1 - ratio)
            alive = {}
            for passed, chance in grown.items():
                found = interval(passed, n)
                if found.low <= ratio <= found.high:
                    alive[passed] = chance
        missed[name] = 1 - sum(alive.values())
    assert missed["sequence"] <= 0.05
    assert missed["wilson"] > 0.15


@pytest.mark.parametrize(("ratio", "trials"), [(1.0, 29), (0.9, 100), (0.5, 274)])
def test_what_precision_costs(ratio: float, trials: int) -> None:
    """To 0.1 a side a perfect cell needs 29 trials, a coin 274."""
    assert trials_to_precision(ratio, half_width=0.1) == trials
    assert trials_to_precision(ratio, half_width=0.1, most=trials - 1) is None
    assert Precision(half_width=0.1).reached(29, 29)
    assert not Precision(half_width=0.1).reached(28, 28)
    assert not Precision(half_width=0.1, least=30).reached(29, 29)


def test_impossible_counts_are_refused() -> None:
    """Counts and confidences that cannot be are errors."""
    with pytest.raises(ValueError, match="successes of"):
        sequential_interval(3, 2)
    with pytest.raises(ValueError, match="confidence"):
        sequential_interval(1, 2, confidence=0.0)
