"""What a comparison shows in 80 % of runs."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from matrixbench.comparison.power import given as known
from matrixbench.comparison.power import hundredths, power_of
from matrixbench.stats.power import Sides
from tests.properties import examples


@examples(15)
@given(st.integers(1, 60), st.integers(1, 10))
def test_more_trials_and_more_tests_show_more(trials: int, tests: int) -> None:
    """The detectable drop of the mean shrinks with both; that of a cell does not know of tests."""
    here = power_of(trials, tests)
    more = power_of(2 * trials, tests)
    if here.mean is not None:
        assert more.mean is not None
        assert 0 < more.mean < here.mean < 1
        wider = power_of(trials, 2 * tests)
        assert wider.mean == more.mean
        assert wider.cell == here.cell


@pytest.mark.parametrize(
    ("tests", "trials", "drop"), [(1, 30, 0.29), (3, 12, 0.26), (3, 30, 0.14), (20, 5, 0.14)]
)
def test_the_drops_of_the_page(tests: int, trials: int, drop: float) -> None:
    """A baseline of 0.9 and a phi of 0.3: the drops that the page of simulations has."""
    mean = power_of(trials, tests).mean
    assert mean is not None
    assert float(hundredths(mean)) == drop


def test_it_is_said_in_a_sentence() -> None:
    """Three trials show no drop of one cell; the baseline and phi are named as assumed."""
    few = power_of(3, 3).line
    assert few.startswith("3 trials per cell and 3 tests show, in 80 % of runs, a drop of the mean")
    assert "of one cell alone none; to exclude a drop of 0.1 as often takes" in few
    assert few.endswith("(baseline 0.9 and phi 0.3, assumed)")
    many = power_of(300, 3).line
    assert "to exclude" not in many


def test_of_adaptive_trials_it_is_no_promise() -> None:
    """The figures are those of fixed numbers; that cells which may stop show less is said."""
    fixed = power_of(30, 3)
    assert replace(fixed, adaptive=True).line == f"{fixed.line}; adaptive trials show less"


def test_what_was_used_is_said() -> None:
    """Each of baseline and phi is as stored, or assumed."""
    assert known(Sides(ratio=0.831, phi=0.42, ratio_known=True, phi_known=True)) == (
        "baseline 0.83 and phi 0.42, as stored"
    )
    assert known(Sides(ratio=0.831, ratio_known=True)) == (
        "baseline 0.83 as stored, phi 0.3 assumed"
    )


def test_a_promise_is_rounded_up() -> None:
    """A drop of 0.121 is no drop of 0.12."""
    assert [hundredths(drop) for drop in (0.121, 0.12, 0.5, 0.004)] == [
        "0.13",
        "0.12",
        "0.5",
        "0.01",
    ]
