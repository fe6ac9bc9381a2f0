"""A comparison that rests on a guess of which build ran: it may show a regression, never pass."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from matrixbench.comparison.totals import compare_cells
from matrixbench.comparison.values import Candidate, CellPair, GateVerdict, Trials
from matrixbench.output.compare import By, markdown, verdict_line

if TYPE_CHECKING:
    from matrixbench.comparison.data import Comparison

DOUBT = "shown is the build that ran last (unverified): there is no such file"


def side(outcomes: str, build: str, doubt: str = "") -> Trials:
    """Return the trials of one side: `1` passed, `0` did not."""
    passed = {seed: char == "1" for seed, char in enumerate(outcomes)}
    return Trials(cell="c", build=build, passed=passed, unverified=doubt)


def compared(
    candidate: str, baseline: str, *doubts: str, greedy: bool = False, more: int = 0
) -> Comparison:
    """Return one pair of cells whose sides have some doubts, beside more pairs that have none."""
    pairs = [
        CellPair(
            coordinates={"test": f"t{number}"},
            test=f"t{number}",
            candidate=side(candidate, "new", up),
            baseline=side(baseline, "old", down),
            greedy=(greedy, greedy),
            planned=len(candidate),
        )
        for number, (up, down) in enumerate([(doubts[0], doubts[1]), *[("", "")] * more])
    ]
    listed = [Candidate(name="new", pairs=pairs)]
    return compare_cells(listed, experiment="e", axis="backend", baseline="old")


@pytest.mark.parametrize("doubts", [(DOUBT, ""), ("", DOUBT), (DOUBT, DOUBT)])
@pytest.mark.parametrize(("greedy", "more"), [(False, 0), (True, 0), (False, 5)])
def test_what_would_pass_is_undecided(doubts: tuple[str, str], *, greedy: bool, more: int) -> None:
    """One doubtful cell on either side is enough, and no number of trials would decide."""
    found = compared("1" * 80, "1" * 80, *doubts, greedy=greedy, more=more)
    assert compared("1" * 80, "1" * 80, "", "", greedy=greedy).verdict is GateVerdict.NO_WORSE
    assert found.verdict is GateVerdict.UNDECIDED
    (candidate,) = found.candidates
    assert candidate.gate.unverified == (DOUBT,)
    assert (candidate.gate.trials_per_cell, candidate.gate.more_trials) == (None, None)
    assert f"unverified build in 1 of {1 + more} pairs of cells" in candidate.gate.reasons[-1]
    assert verdict_line(candidate).endswith("undecided whether the drop is at most 0.1: "
                                            "unverified build")  # fmt: skip
    assert "unverified build: shown is the build that ran last" in markdown(found, By.CELL)


def test_a_regression_is_one_all_the_same() -> None:
    """Whoever it was that failed so often: nothing is gained by calling it undecided."""
    found = compared("0" * 40, "1" * 40, DOUBT, "")
    assert found.verdict is GateVerdict.REGRESSION
    assert found.candidates[0].gate.unverified == (DOUBT,)


def test_what_is_undecided_by_itself_says_both() -> None:
    """Few trials and a guess: the verdict names the guess, the reasons both."""
    gate = compared("111", "111", "", DOUBT).candidates[0].gate
    assert gate.verdict is GateVerdict.UNDECIDED
    assert len(gate.reasons) == 2


def test_data_and_rows_say_which_side_is_unverified() -> None:
    """By pair of cells, and for the gate."""
    found = compared("111", "111", "", DOUBT)
    told = found.to_dict()["candidates"][0]
    assert told["gate"]["unverified"] == [DOUBT]
    assert told["cells"][0]["candidate_unverified"] is None
    assert told["cells"][0]["baseline_unverified"] == DOUBT
    assert found.rows()[0]["baseline_unverified"] == DOUBT
