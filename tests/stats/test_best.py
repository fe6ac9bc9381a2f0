"""Which of many is the best, where it was picked by looking."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from matrixbench.stats.best import Belief, belief, chances_of_best, holm_beside_best
from matrixbench.stats.multiple import holm


def test_the_chances_are_those_of_draws() -> None:
    """A million draws of three beta variables; each is the largest about as often as is said."""
    beliefs = [belief([[(8, 10)]]), belief([[(9, 10)]]), belief([[(5, 10)]])]
    draws = np.random.default_rng(1).beta([8.5, 9.5, 5.5], [2.5, 1.5, 5.5], size=(200_000, 3))
    counts = np.bincount(draws.argmax(axis=1), minlength=3) / len(draws)
    assert chances_of_best(beliefs) == pytest.approx(counts.tolist(), abs=0.005)


def test_equal_rows_have_equal_chances() -> None:
    """Also where all passed: what always passed is not certain to."""
    assert chances_of_best([belief([[(5, 5)]] * 20)] * 40) == pytest.approx([1 / 40] * 40)
    assert chances_of_best([belief([[(5, 5)]])]) == [1.0]
    assert chances_of_best([]) == []


def test_a_row_out_of_reach_has_no_chance() -> None:
    """A thousand hopeless rows change nothing for the two that matter."""
    two = [Belief(mean=0.9, variance=1e-4), Belief(mean=0.88, variance=1e-4)]
    many = chances_of_best([*two, *[Belief(mean=0.1, variance=1e-4)] * 1000])
    assert many[:2] == pytest.approx(chances_of_best(two))
    assert sum(many[2:]) == 0


def test_cells_that_may_go_together_know_no_more() -> None:
    """Copies of a cell have the variance of one, unless they are known to be independent."""
    one, copies = belief([[(8, 10)]]), belief([[(8, 10)] * 4])
    assert copies.variance == pytest.approx(one.variance)
    apart = belief([[(8, 10)] * 4], effect=1.0)
    assert apart.variance == pytest.approx(one.variance / 4)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_the_correction_is_holms_over_all_pairs(p_values: list[float]) -> None:
    """As if every pair without the best had a p of 1."""
    rows = len(p_values) + 1
    pairs = rows * (rows - 1) // 2
    expected = holm([*p_values, *[1.0] * (pairs - len(p_values))])[: len(p_values)]
    assert holm_beside_best(list(p_values), rows) == pytest.approx(expected)
    assert holm_beside_best([None, *p_values], rows)[0] is None
