"""Rounds that are run until a gate is decided: which rounds, and what comes of several visits."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from matrixbench.records import Outcome
from matrixbench.run.execute import summed, visits
from matrixbench.run.settings import Rejection, RunSummary


@given(first=st.integers(0, 500), most=st.integers(1, 500))
def test_visits_cover_every_round_once_and_grow(first: int, most: int) -> None:
    """No round is run twice, and no visit is more than half as long again as all before."""
    found = list(visits(first, most))
    assert [number for rounds in found for number in rounds] == list(range(most))
    assert found[0].stop == min(max(first, 1), most)
    ends = [rounds.stop for rounds in found]
    assert all(later <= max(1.5 * sooner, sooner + 1) for sooner, later in pairwise(ends))


def test_200_rounds_take_eight_visits_at_most_from_where_a_gate_can_be_decided() -> None:
    """The starts of servers stay few."""
    assert [rounds.stop for rounds in visits(15, 200)] == [15, 22, 33, 49, 73, 109, 163, 200]


def test_what_several_visits_measured_is_one_summary() -> None:
    """Counts add up, and of each kind of error the newest reason is kept."""

    def part(ran: int, failed: dict[str, str]) -> RunSummary:
        return RunSummary(
            experiment="demo",
            store=Path("results.db"),
            ran=ran,
            outcomes={Outcome.PASSED: ran - 1, Outcome.ERRORED: 1},
            remaining=5,
            failed_launches=failed,
            errors={"no_connection": (1, f"reason {ran}")},
            rejections=(Rejection(kind="unparsed_output", reason="broken", trials=ran),),
            seconds=1.5,
        )

    found = summed([part(10, {}), part(20, {"new": "it died"})])
    assert (found.ran, found.outcomes) == (30, {Outcome.PASSED: 28, Outcome.ERRORED: 2})
    assert found.errors == {"no_connection": (2, "reason 20")}
    assert [(one.kind, one.trials) for one in found.rejections] == [("unparsed_output", 30)]
    assert found.failed_launches == {"new": "it died"}
    assert found.seconds == pytest.approx(3)
