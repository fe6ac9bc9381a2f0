"""Tests that hold whenever one stops: known values, and that looking costs nothing."""

from __future__ import annotations

from collections import defaultdict
from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st

from matrixbench.stats.sequential import (
    independent_evidence,
    mean_difference,
    mean_evidence,
    p_value,
    paired_evidence,
    sequential_difference,
    sequential_interval,
)

COUNT = st.integers(1, 120).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@pytest.mark.parametrize(("lost", "p"), [(0, 1.0), (6, 7 / 64), (7, 8 / 128), (8, 9 / 256)])
def test_pairs_that_all_go_one_way(lost: int, p: float) -> None:
    """After k losses and no gain it is (k + 1) / 2ᵏ: eight show a drop, McNemar needs six."""
    assert p_value(paired_evidence(lost, 0)) == pytest.approx(p)
    assert paired_evidence(0, lost) == paired_evidence(lost, 0)


@given(COUNT, COUNT)
def test_independent_cells_against_a_common_ratio(
    candidate: tuple[int, int], baseline: tuple[int, int]
) -> None:
    """It is the product of both mixtures at the ratio that is likeliest; sides may be swapped."""
    found = independent_evidence(candidate, baseline)
    assert found == pytest.approx(independent_evidence(baseline, candidate))
    n = candidate[1] + baseline[1]
    ratio = (candidate[0] + baseline[0]) / n
    likelihood = 1.0
    product = 1.0
    for successes, trials in (candidate, baseline):
        likelihood *= ratio**successes * (1 - ratio) ** (trials - successes)
        product /= (trials + 1) * comb(trials, successes)
    if likelihood > 1e-250 and product < 1e250 * likelihood:
        assert found == pytest.approx(product / likelihood, rel=1e-6)


@given(COUNT, COUNT)
def test_the_difference_holds_its_estimate(
    candidate: tuple[int, int], baseline: tuple[int, int]
) -> None:
    """The interval contains the estimate, and is wider than either cell's own."""
    found = sequential_difference(candidate, baseline)
    assert -1 <= found.interval.low <= found.estimate <= found.interval.high <= 1
    for side in (candidate, baseline):
        assert found.interval.half_width >= sequential_interval(*side).half_width
    several = mean_difference([(candidate, baseline)] * 3, [0.5, 0.25, 0.25])
    assert several.estimate == pytest.approx(found.estimate)
    assert several.interval.low <= found.interval.low


def test_looking_at_pairs_after_each_keeps_the_promise() -> None:
    """Followed exactly: the chance that any of 200 looks at a fair coin finds p ≤ 5 % is below."""
    alive = {0: 1.0}
    for n in range(1, 201):
        grown: dict[int, float] = defaultdict(float)
        for worse, chance in alive.items():
            grown[worse] += chance / 2
            grown[worse + 1] += chance / 2
        alive = {w: c for w, c in grown.items() if p_value(paired_evidence(w, n - w)) > 0.05}
    assert 0.01 < 1 - sum(alive.values()) <= 0.05


@pytest.mark.parametrize("ratio", [0.5, 0.9, 0.98])
def test_looking_at_two_cells_after_each_trial_keeps_the_promise(ratio: float) -> None:
    """Followed exactly, one trial a side at a time, over 40 looks."""
    steps = [(1, 1, ratio**2), (1, 0, ratio * (1 - ratio)), (0, 1, (1 - ratio) * ratio)]
    steps.append((0, 0, (1 - ratio) ** 2))
    alive = {(0, 0): 1.0}
    for n in range(1, 41):
        grown: dict[tuple[int, int], float] = defaultdict(float)
        for (up, down), chance in alive.items():
            for more_up, more_down, share in steps:
                grown[up + more_up, down + more_down] += chance * share
        alive = {
            (up, down): chance
            for (up, down), chance in grown.items()
            if p_value(independent_evidence((up, n), (down, n))) > 0.05
        }
    assert 1 - sum(alive.values()) <= 0.05


def test_evidence_of_many_cells_is_their_mean() -> None:
    """One cell that speaks loudly among four speaks a quarter as loudly for all."""
    assert mean_evidence([100.0, 0.0, 0.0, 0.0]) == 25.0
    assert p_value(25.0) == 0.04
    assert p_value(0.0) == p_value(0.5) == 1.0
