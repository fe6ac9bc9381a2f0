"""What a comparison will be able to see."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from matrixbench.comparison.foresight import foresee
from matrixbench.comparison.totals import compare_cells
from matrixbench.comparison.values import Candidate, CellPair, Trials, Verdict


@pytest.mark.parametrize(("tests", "trials"), [(1, 35), (3, 12), (10, 4), (30, 2)])
def test_what_it_takes_to_exclude_a_tenth(tests: int, trials: int) -> None:
    """The figures of docs/comparing.md; one trial fewer is not enough for the gate."""
    assert foresee(1, tests).trials_for_max_drop == trials
    assert gate(tests, trials) is Verdict.NO_WORSE
    assert gate(tests, trials - 1) is Verdict.UNDECIDED


def gate(tests: int, trials: int) -> Verdict:
    """Return the verdict on two sides that always pass."""
    passed = dict.fromkeys(range(trials), True)
    sides = [
        Trials(cell=name, build=name, passed=passed, replies=dict.fromkeys(passed, "r"))
        for name in ("new", "old")
    ]
    pairs = [
        CellPair(coordinates={"test": str(n)}, test=str(n), candidate=sides[0], baseline=sides[1])
        for n in range(tests)
    ]
    candidate = Candidate(name="new", pairs=pairs)
    return compare_cells([candidate], experiment="x", axis="a", baseline="old").verdict


@given(st.integers(1, 200), st.integers(1, 50))
def test_more_trials_and_more_tests_see_more(trials: int, tests: int) -> None:
    """The visible drop of the mean shrinks with both; that of a cell does not know of tests."""
    here = foresee(trials, tests)
    assert 0 < foresee(trials + 1, tests).mean < here.mean < 1
    assert foresee(trials, tests + 1).mean < here.mean
    assert foresee(trials, tests + 1).cell == here.cell


def test_it_is_said_in_a_sentence() -> None:
    """Three trials show no drop of one cell at all; thirty need no hint."""
    hint = "of one cell alone none; to exclude a drop of 0.1 takes 12 trials per cell"
    assert hint in foresee(3, 3).line
    assert foresee(30, 3).line.endswith("of one cell alone from 0.2 on")


def test_of_adaptive_trials_it_is_no_promise() -> None:
    """The figures are those of fixed numbers; that cells which may stop show less is said."""
    fixed = foresee(30, 3)
    assert replace(fixed, adaptive=True).line == f"{fixed.line}; adaptive trials show less"
