"""Tests that share seeds share their luck: what is allowed for, made up and of recorded replies."""

from __future__ import annotations

import numpy as np
import pytest

from matrixbench.stats.clustered import mean_of_these_tests, mean_over_tests, ratio_of
from matrixbench.stats.paired import LEAST, Shared, least_effect, mean_effect
from matrixbench.stats.stratified import (
    Stratum,
    design_effect,
    overall_p,
    stratified_difference,
    student_p,
)
from tests.benchmarks.shared_luck import (
    alarms,
    coverage,
    holds,
    luck_shared,
    permutation_test,
    phi_of,
    recorded,
    table,
)


def shared(signs: str, test: str, luck: int = 1) -> Shared:
    """Return a cell whose trials passed (1) or not (0)."""
    return Shared(test=test, luck=luck, passed={i: sign == "1" for i, sign in enumerate(signs)})


def stratum(up: str, down: str, test: str, luck: int | None = 1) -> Stratum:
    """Return a cell on both sides, paired, seeds from 1 on."""
    sides = [{i: sign == "1" for i, sign in enumerate(signs, 1)} for signs in (up, down)]
    return Stratum(test=test, candidate=sides[0], baseline=sides[1], paired=True, luck=luck)


def test_tests_that_go_wholly_together_count_as_one() -> None:
    """Their effect is at least their number; the interval then is that of one of them."""
    same = [shared("1100110010", str(test)) for test in range(4)]
    assert mean_effect(same) >= 4
    ratios = [[ratio_of(5, 10)]] * 4
    together = mean_of_these_tests(ratios, luck=[mean_effect(same)] * 4)
    one = mean_of_these_tests(ratios[:1])
    assert together.low == pytest.approx(one.low)
    assert together.high == pytest.approx(one.high)


def test_where_nothing_varied_the_least_correlation_is_allowed_for() -> None:
    """Ten tests of ten of ten say nothing of how they go together."""
    assert least_effect(10) == pytest.approx(1 + 9 * LEAST)
    every = [shared("1111111111", str(test)) for test in range(10)]
    assert mean_effect(every) == pytest.approx(least_effect(10))
    pairs = [stratum("1111111111", "1111111111", str(test)) for test in range(10)]
    assert design_effect(pairs) == pytest.approx(least_effect(10))


def test_groups_that_share_no_seeds_with_each_other_are_independent() -> None:
    """Two pairs of tests have the effect of one pair."""
    pair = [shared("1100110010", "a"), shared("1100110010", "b")]
    other = [shared("1100110010", "c", luck=9), shared("1100110010", "d", luck=9)]
    assert mean_effect(pair + other) == pytest.approx(mean_effect(pair))


def test_what_tests_have_in_common_widens_the_interval_for_such_tests_too() -> None:
    """It does not show in how their ratios differ."""
    ratios = [[ratio_of(passed, 10)] for passed in (4, 5, 6, 5)]
    alone, common = (mean_over_tests(ratios, luck=luck) for luck in ((), [4.0] * 4))
    assert alone is not None
    assert common is not None
    assert common.interval.half_width > alone.interval.half_width


def test_seeds_that_only_one_test_has_change_nothing() -> None:
    """A cell may share its seeds, in principle, with tests that are not looked at."""
    cells = [stratum("1101", "1011", "a"), stratum("0110", "1110", "a")]
    own = [stratum("1101", "1011", "a", None), stratum("0110", "1110", "a", None)]
    assert design_effect(cells) == design_effect(own)
    assert overall_p(cells) == overall_p(own)


def test_a_seed_that_all_tests_share_is_one_cluster() -> None:
    """Ten tests that all changed under the same three seeds are three changes, not thirty."""
    cells = [stratum("0001111111", "1111111111", str(test)) for test in range(10)]
    assert overall_p(cells) == pytest.approx(0.25)
    own = [stratum("0001111111", "1111111111", str(test), None) for test in range(10)]
    assert overall_p(own) < 1e-8
    wide, narrow = (stratified_difference(found).interval.half_width for found in (cells, own))
    assert wide > 2 * narrow


def test_the_robust_p_is_told_where_tests_share_seeds_and_sides_do_not() -> None:
    """The exact test takes all trials to be independent."""
    sides = [
        Stratum(
            test=str(test),
            candidate={seed: seed > 4 for seed in range(1, 11)},
            baseline={seed: seed > 101 for seed in range(101, 111)},
            paired=False,
            luck=1,
        )
        for test in range(10)
    ]
    assert overall_p(sides) == student_p(sides)
    assert 0.01 < student_p(sides) < 0.2


def test_made_up_outcomes_correlate_as_asked() -> None:
    """The simulation's own phi is the one that it names."""
    (outcomes,) = luck_shared(np.random.default_rng(1), (1, 20, 4000), 0.8, 0.2)
    assert outcomes.mean() == pytest.approx(0.8, abs=0.02)
    assert phi_of(outcomes) == pytest.approx(0.2, abs=0.03)


@pytest.mark.parametrize("ratio", [0.5, 0.9, 0.98])
def test_the_simulation_is_what_rank_and_compare_do(ratio: float) -> None:
    """It computes all repetitions at once; here one by one, as the product does."""
    rng = np.random.default_rng(3)
    ups, downs = (luck_shared(rng, (40, 6, 8), ratio, 0.2) for _ in range(2))
    for clustered in (False, True):
        held = holds(ups, ratio, clustered=clustered)
        alarmed = alarms(ups, downs, clustered=clustered)
        for up, down, holds_here, alarms_here in zip(ups, downs, held, alarmed, strict=True):
            signs = [
                ["".join("01"[int(one)] for one in row) for row in side] for side in (up, down)
            ]
            cells = [shared(row, str(test)) for test, row in enumerate(signs[0])]
            luck = [mean_effect(cells)] * 6 if clustered else []
            found = mean_of_these_tests([[ratio_of(row.sum(), 8)] for row in up], luck=luck)
            assert (found.low <= ratio <= found.high) == holds_here
            pairs = [
                stratum(one, other, str(test), 1 if clustered else None)
                for test, (one, other) in enumerate(zip(*signs, strict=True))
            ]
            assert (overall_p(pairs) <= 0.05) == alarms_here


def test_intervals_hold_by_seed_and_with_own_seeds() -> None:
    """A short form of `benchmarks/shared_luck.py simulate`: as if alone they do not."""
    for row in table(400, [(20, 10)], (0.2,)):
        *_, alone, by_seed, own, alarmed, alarmed_by_seed, alarmed_own = row.strip("| ").split(
            " | "
        )
        assert float(alone) < 0.9
        assert min(float(by_seed), float(own)) >= 0.92
        assert float(alarmed) > 0.05
        assert max(float(alarmed_by_seed), float(alarmed_own)) <= 0.07


@pytest.mark.parametrize("group", recorded()["old"])
def test_recorded_replies_share_luck_only_under_the_old_rule(group: str) -> None:
    """A permutation test of the variance over seeds of the mean over tests."""
    ratio, p = permutation_test(recorded()["old"][group], 999)
    assert p <= 0.002
    assert ratio > 1.9
    ratio, p = permutation_test(recorded()["own"][group], 999)
    assert p > 0.05
    assert ratio < 1.25


def test_intervals_of_recorded_replies_hold() -> None:
    """Ten of 80 seeds, drawn again and again: at least .92 everywhere, .94 on average."""
    found = recorded()
    for rule, clustered in (("old", True), ("own", False)):
        shares = [coverage(one, 400, clustered=clustered) for one in found[rule].values()]
        assert min(shares) >= 0.92 - 0.02  # three standard errors of so few draws
        assert sum(shares) / len(shares) >= 0.94
    as_if_alone = [coverage(one, 400, clustered=False) for one in found["old"].values()]
    assert max(as_if_alone) < 0.92
