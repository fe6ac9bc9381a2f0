"""Which of many is the best, where it was picked by looking."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from matrixbench.stats.best import Belief, belief, chances_of_best, holm_beside_best
from matrixbench.stats.paired import holm


def test_the_chances_are_those_of_draws() -> None:
    """Rows whose means were drawn: of those said to be the best with .4 to .6, half are."""
    draw = np.random.default_rng(1).normal
    said, true = [], []
    for _ in range(150):
        means = draw(0.7, 0.05, size=8)
        seen = means + draw(0, 0.04, size=8)
        found = chances_of_best([Belief(mean=mean, variance=0.04**2) for mean in seen.tolist()])
        said += found
        true += (means == means.max()).tolist()
    for low, high in ((0.05, 0.2), (0.2, 0.45), (0.45, 1.0)):
        inside = [(one, hit) for one, hit in zip(said, true, strict=True) if low < one <= high]
        chance, hits = (sum(values) / len(inside) for values in zip(*inside, strict=True))
        assert hits == pytest.approx(chance, abs=0.1)


def test_two_rows_far_apart_are_told_apart() -> None:
    """Where chance cannot have made the difference, hardly anything is left of the doubt."""
    best, lower = chances_of_best([belief([[(95, 100)]]), belief([[(60, 100)]])])
    assert best > 0.999
    assert best + lower == pytest.approx(1)


def test_equal_rows_have_equal_chances() -> None:
    """Also where all passed: what always passed is not certain to."""
    assert chances_of_best([belief([[(5, 5)]] * 20)] * 40) == pytest.approx([1 / 40] * 40)
    assert chances_of_best([belief([[(5, 5)]])]) == pytest.approx([1.0])
    assert chances_of_best([]) == []


def test_a_row_out_of_reach_has_no_chance() -> None:
    """A thousand hopeless rows change nothing for the two that matter."""
    two = [Belief(mean=0.9, variance=1e-4), Belief(mean=0.88, variance=1e-4)]
    many = chances_of_best([*two, *[Belief(mean=0.1, variance=1e-4)] * 1000])
    assert many[0] > many[1] > 0.05
    assert sum(many[:2]) == pytest.approx(1)


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
