"""Many cells at once: exact tests against enumeration and R, intervals, clusters."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, fisher_exact, norm, ttest_1samp
from scipy.stats import t as student

from matrixbench.stats.clustered import Ratio, mean_of_these_tests, mean_over_tests, ratio_of
from matrixbench.stats.proportions import (
    Difference,
    Interval,
    score_paired_difference,
    wilson_interval,
)
from matrixbench.stats.stratified import (
    Stratum,
    across_tests,
    design_effect,
    effective_pairs,
    exact_cmh_p,
    no_worse,
    overall_p,
    sign_flip_p,
    stratified_difference,
    worse,
)
from tests.benchmarks.total_coverage import coverage, truths
from tests.properties import examples

if TYPE_CHECKING:
    from collections.abc import Sequence


def stratum(candidate: str, baseline: str, *, test: str = "t", paired: bool = True) -> Stratum:
    """Return a cell from outcomes by seed: `1` passed, `0` did not."""
    return Stratum(
        test=test,
        candidate={seed: char == "1" for seed, char in enumerate(candidate)},
        baseline={seed: char == "1" for seed, char in enumerate(baseline)},
        paired=paired,
    )


@given(st.lists(st.integers(-3, 3), max_size=9))
def test_sign_flips_agree_with_enumeration(sums: list[int]) -> None:
    """The p-value is the share of all sign choices that are at least as extreme."""
    observed = abs(sum(sums))
    flips = [
        abs(sum(sign * value for sign, value in zip(signs, sums, strict=True))) >= observed
        for signs in product((1, -1), repeat=len(sums))
    ]
    assert sign_flip_p(sums) == pytest.approx(sum(flips) / len(flips))


@given(st.integers(0, 60), st.integers(0, 60))
def test_one_cell_a_test_is_the_pooled_sign_test(lost: int, won: int) -> None:
    """Clusters of ±1 give the exact binomial test of the discordant pairs."""
    wanted = binomtest(lost, lost + won).pvalue if lost + won else 1.0
    assert sign_flip_p([-1] * lost + [1] * won + [0] * 5) == pytest.approx(wanted)


def test_cells_that_share_a_seed_are_one_cluster() -> None:
    """Three cells of one test that change together are no more evidence than one."""
    alone = [stratum("0000011111", "1111111111")]
    copies = alone * 3
    assert overall_p(copies) == overall_p(alone) == 0.0625
    apart = [stratum("0000011111", "1111111111", test=f"t{n}") for n in range(3)]
    assert overall_p(apart) == pytest.approx(binomtest(0, 15).pvalue)


def test_cmh_agrees_with_r() -> None:
    """R's `mantelhaen.test(Rabbits, exact = TRUE)`: p-value = 0.03994."""
    rabbits = [(0, 0, 6, 5), (3, 0, 3, 6), (6, 2, 0, 4), (5, 6, 1, 0), (2, 5, 0, 0)]
    tables = [((a, a + c), (b, b + d)) for a, b, c, d in rabbits]
    assert exact_cmh_p(tables) == pytest.approx(0.03994, abs=5e-6)


@given(st.tuples(st.integers(0, 15), st.integers(0, 15), st.integers(0, 15), st.integers(0, 15)))
def test_cmh_of_one_cell_is_fishers_test(counts: tuple[int, int, int, int]) -> None:
    """With a single stratum it agrees with scipy."""
    passed_up, failed_up, passed_down, failed_down = counts
    table = ((passed_up, passed_up + failed_up), (passed_down, passed_down + failed_down))
    wanted = fisher_exact(np.array([[passed_up, passed_down], [failed_up, failed_down]])).pvalue
    assert exact_cmh_p([table]) == pytest.approx(wanted, abs=1e-9)


def test_cells_without_common_seeds_are_tested_unpaired() -> None:
    """One cell that is no pair takes the whole test to the unpaired one."""
    cells = [stratum("1110", "1000"), stratum("1110", "1000", paired=False)]
    assert overall_p(cells) == exact_cmh_p([cell.counts() for cell in cells])


def test_tests_weigh_the_same_whatever_their_cells() -> None:
    """Nine cells of one test do not outvote one cell of another."""
    many = [stratum("0" * 10, "1" * 10, test="many")] * 9
    one = [stratum("1" * 10, "1" * 10, test="one")]
    assert stratified_difference(many + one).estimate == pytest.approx(-0.5)


def test_one_cell_keeps_its_own_interval() -> None:
    """The stratified interval of a single pair of cells is Tango's."""
    cell = stratum("1110011111", "1111111111")
    found = stratified_difference([cell]).interval
    wanted = score_paired_difference(worse=2, better=0, n=10).interval
    assert (found.low, found.high) == pytest.approx((wanted.low, wanted.high))


def test_copies_of_a_cell_know_no_more() -> None:
    """Cells of one test that agree trial by trial are not taken for independent."""
    cell = stratum("11100111110111011111", "11111111111111111110")
    alone = stratified_difference([cell]).interval
    copies = stratified_difference([cell] * 5).interval
    assert copies.half_width >= alone.half_width * 0.999
    assert design_effect([cell] * 5) == 5.0
    other = [stratum("11100111110111011111", "11111111111111111110", test=str(n)) for n in "abc"]
    assert design_effect(other) == 1.0
    assert stratified_difference(other).interval.half_width < alone.half_width


@examples(50)
@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.integers(0, 255), st.integers(0, 255), st.booleans()),
        min_size=1,
        max_size=8,
    )
)
def test_a_mean_difference_contains_its_estimate(cells: list[tuple[str, int, int, bool]]) -> None:
    """The interval holds the estimate within [−1, 1]; that for «such tests» is no narrower."""
    strata = [
        stratum(f"{up:08b}", f"{down:08b}", test=test, paired=paired)
        for test, up, down, paired in cells
    ]
    found = stratified_difference(strata)
    assert -1 <= found.interval.low <= found.estimate <= found.interval.high <= 1
    wider = across_tests(strata)
    assert (wider is None) is (len({test for test, *_ in cells}) == 1)
    if wider is not None:
        assert wider.low <= found.interval.low
        assert wider.high >= found.interval.high
    assert 0 < overall_p(strata) <= 1


def test_where_nothing_varied_cells_of_a_test_may_be_one() -> None:
    """Five perfect cells of one test settle no more than one: their dependence is unknown."""
    perfect = [stratum("1" * 10, "1" * 10)]
    assert design_effect(perfect * 5) == 5.0
    apart = [stratum("1" * 10, "1" * 10, test=f"t{n}") for n in range(10)]
    assert design_effect(apart) == 1.0


def test_tests_are_pooled_in_one_table() -> None:
    """Equal tests of one cell have Tango's interval of all their pairs."""
    cells = [stratum("1110011111", "1111111111", test=f"t{n}") for n in range(6)]
    found = stratified_difference(cells).interval
    wanted = score_paired_difference(worse=12, better=0, n=60).interval
    assert (found.low, found.high) == pytest.approx((wanted.low, wanted.high))


def test_cells_of_other_seeds_have_the_pairs_to_be_expected() -> None:
    """Unpaired, 5 of 10 against 8 of 10: pairs at random are worse in 0.4, better in 0.1."""
    cells = [stratum("1111100000", "1111111100", paired=False)]
    found = stratified_difference(cells).interval
    wanted = score_paired_difference(worse=4, better=1, n=10).interval
    assert (found.low, found.high) == pytest.approx((wanted.low, wanted.high))


def test_few_trials_of_a_test_that_varies_count_for_what_they_are() -> None:
    """Where the test with few trials varies the most, all are worth less than equal ones would."""
    steady = stratum("1" * 40, "1" * 40, test="steady")
    varies = stratum("0110", "1010", test="varies")
    assert effective_pairs([steady, varies]) < 4 / (1 / 40 + 1 / 4)
    alike = [stratum("1" * 40, "1" * 40, test="a"), stratum("1111", "1111", test="b")]
    assert effective_pairs(alike) == pytest.approx(4 / (1 / 40 + 1 / 4))


def test_tests_of_common_seeds_share_their_luck() -> None:
    """Ten tests that fail under the same seeds know hardly more than one; all-pass is assumed."""
    worse = [replace(stratum("0011111111", "1111111111", test=f"t{n}"), luck=0) for n in range(10)]
    assert design_effect(worse) == pytest.approx(10.0, rel=0.25)
    assert overall_p(worse) == 0.5
    perfect = [replace(stratum("1" * 10, "1" * 10, test=f"t{n}"), luck=0) for n in range(10)]
    assert design_effect(perfect) == pytest.approx(2.8)


def test_a_mean_difference_over_tests_is_students() -> None:
    """Tests that differ more than chance explains: Student's interval of their differences."""
    lost = (4, 20, 30, 12)
    cells = [stratum("0" * n + "1" * (40 - n), "1" * 40, test=f"t{n}") for n in lost]
    found = across_tests(cells)
    expected = ttest_1samp([-n / 40 for n in lost], 0).confidence_interval(0.95)
    assert found is not None
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert across_tests(cells[:1]) is None


@pytest.mark.parametrize(
    ("low", "high", "shown"),
    [
        (-0.1, 0.1, (True, False)),
        (-0.1 - 1e-9, 0.1, (False, False)),
        (-0.5, -0.1, (False, False)),
        (-0.5, -0.1 - 1e-9, (False, True)),
    ],
)
def test_a_drop_of_what_is_allowed_is_allowed(
    low: float, high: float, shown: tuple[bool, bool]
) -> None:
    """An interval that ends at the limit is no worse, and no drop that is larger."""
    found = Difference(estimate=(low + high) / 2, interval=Interval(low=low, high=high))
    assert (no_worse(found, 0.1), worse(found, 0.1)) == shown


def test_a_decision_needs_trials() -> None:
    """Equal outcomes settle a drop of 0.1 from 35 trials on."""
    equal = [stratum("1" * 10, "1" * 10)]
    assert not no_worse(stratified_difference(equal), 0.1)
    assert no_worse(stratified_difference(equal, n=35), 0.1)
    assert not no_worse(stratified_difference(equal, n=34), 0.1)
    gone = [stratum("0" * 10, "1" * 10)]
    assert worse(stratified_difference(gone), 0.1)


def one_cell_each(counts: Sequence[tuple[int, int]]) -> list[list[Ratio]]:
    """Return tests of one cell each."""
    return [[ratio_of(*count)] for count in counts]


def test_a_mean_over_tests_is_students() -> None:
    """Equal weights, clusters as they are: mean, sd / √G and t with G − 1 degrees of freedom."""
    found = mean_over_tests(one_cell_each([(90, 100), (50, 100), (10, 100), (70, 100)]))
    assert found is not None
    assert found.standard_error is not None
    wanted = student.interval(0.95, 3, loc=0.55, scale=0.34156502553198664 / 2)
    assert found.estimate == pytest.approx(0.55)
    assert found.standard_error == pytest.approx(0.34156502553198664 / 2)
    assert (found.interval.low, found.interval.high) == pytest.approx(
        (max(0.0, wanted[0]), min(1.0, wanted[1]))
    )


@pytest.mark.parametrize(
    ("counts", "mean", "error", "low", "high"),
    [
        ([(9, 10), (5, 10), (1, 10), (7, 10)], 0.55, 0.170783, 0.006494, 1.093506),
        ([(30, 30), (24, 30), (27, 30)], 0.9, 0.057735, 0.651586, 1.148414),
        ([(1, 5), (2, 5), (4, 5), (5, 5), (0, 5), (3, 5)], 0.5, 0.152753, 0.107337, 0.892663),
    ],
)
def test_a_mean_over_tests_agrees_with_statsmodels(
    counts: list[tuple[int, int]], mean: float, error: float, low: float, high: float
) -> None:
    """Values of statsmodels 0.15.0: OLS of every trial on a constant, clustered by test.

    `fit(cov_type="cluster", cov_kwds={"groups": tests}, use_t=True)`; ours ends at 0 and 1.
    """
    found = mean_over_tests(one_cell_each(counts))
    assert found is not None
    assert (found.estimate, found.standard_error) == pytest.approx((mean, error), abs=5e-7)
    assert (found.interval.low, found.interval.high) == pytest.approx(
        (max(0.0, low), min(1.0, high)), abs=5e-7
    )


def test_tests_that_came_out_alike_leave_a_width() -> None:
    """Five tests of 10 of 10 are as uncertain as 50 of 50; no trials make no mean."""
    found = mean_over_tests(one_cell_each([(10, 10)] * 5))
    assert found is not None
    assert found.interval == mean_of_these_tests(one_cell_each([(10, 10)] * 5))
    assert found.interval.low == pytest.approx(wilson_interval(50, 50).low)
    assert found.interval.high == 1.0
    one = mean_over_tests([*one_cell_each([(3, 4)]), []])
    assert one is not None
    assert (one.estimate, one.tests, one.standard_error) == (0.75, 1, None)
    assert mean_over_tests([[]]) is None
    with pytest.raises(ValueError, match="needs a trial"):
        ratio_of(0, 0)


def test_tests_weigh_and_not_their_trials() -> None:
    """A test of 1,000 trials in three cells counts as much as one of ten in one."""
    many = [ratio_of(900, 1000), ratio_of(90, 100), ratio_of(9, 10)]
    found = mean_over_tests([many, [ratio_of(1, 10)]])
    assert found is not None
    assert found.estimate == pytest.approx(0.5)


def test_copies_of_a_cell_in_a_test_know_no_more_of_it() -> None:
    """Cells of one test may go wholly together, so that copies leave the interval as it was."""
    one = mean_of_these_tests([[ratio_of(7, 10)], [ratio_of(3, 10)]])
    many = mean_of_these_tests([[ratio_of(7, 10)] * 5, [ratio_of(3, 10)] * 5])
    assert (many.low, many.high) == pytest.approx((one.low, one.high))
    more_tests = mean_of_these_tests([[ratio_of(7, 10)], [ratio_of(3, 10)]] * 5)
    assert more_tests.half_width == pytest.approx(one.half_width / 5**0.5, rel=0.1)


def test_one_test_has_wilsons_interval() -> None:
    """With one stratum nothing is left to combine."""
    for passed in range(11):
        found = mean_of_these_tests([[ratio_of(passed, 10)]])
        known = wilson_interval(passed, 10)
        assert (found.low, found.high) == pytest.approx((known.low, known.high))


def test_the_interval_is_yan_and_sus() -> None:
    """Against its formula, written out: Wilson's ends at the pooled quantile, averaged."""
    counts = [(7, 10), (3, 10), (19, 20), (20, 20)]
    found = mean_of_these_tests(one_cell_each(counts))
    variances = [k / n * (1 - k / n) / n for k, n in counts]
    z = norm.ppf(0.975) * sum(variances) ** 0.5 / sum(v**0.5 for v in variances)
    ends = []
    for sign in (-1, 1):
        each = [
            (k + z * z / 2 + sign * z * (k * (n - k) / n + z * z / 4) ** 0.5) / (n + z * z)
            for k, n in counts
        ]
        ends.append(sum(each) / len(each))
    assert (found.low, found.high) == pytest.approx(ends)


@pytest.mark.parametrize("ratio", [0.5, 0.9, 0.98, 0.99, 0.999])
@pytest.mark.parametrize(("tests", "trials"), [(20, 5), (57, 5), (57, 10)])
def test_the_interval_of_a_total_covers(ratio: float, tests: int, trials: int) -> None:
    """The page's simulation of means over tests, in short; Wilson's own dips are part of it."""
    held, _ = coverage(truths(ratio, tests, spread=False), trials, experiments=400, seed=1)
    assert held >= 0.89


@given(
    st.lists(
        st.lists(
            st.integers(1, 30).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))),
            min_size=1,
            max_size=3,
        ),
        min_size=1,
        max_size=8,
    )
)
def test_a_mean_contains_its_estimate(counts: list[list[tuple[int, int]]]) -> None:
    """The interval holds the mean, within [0, 1], and never is narrower than these tests' own."""
    tests = [[ratio_of(*count) for count in cells] for cells in counts]
    found = mean_over_tests(tests)
    assert found is not None
    assert 0 <= found.interval.low <= found.estimate <= found.interval.high <= 1
    these = mean_of_these_tests(tests)
    assert found.interval.low <= these.low
    assert found.interval.high >= these.high
