"""Rounds that are run until a gate is decided: which rounds, and what comes of several visits."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from matrixbench.execution.events import LaunchFailed, TrialDone, TrialsStored
from matrixbench.execution.settings import Counts, RunRequest, settings_for
from matrixbench.gated import visits
from matrixbench.records import Kind, Outcome

if TYPE_CHECKING:
    from matrixbench.execution.events import Event
    from tests.conftest import Load

EXPERIMENT = """
name: demo
backends: {fake: {kind: scripted, replies: [Paris]}}
tests: [{name: t, messages: [{role: user, content: hi}], expect: []}]
"""


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


def test_what_several_visits_measured_is_one_summary(load: Load) -> None:
    """Counts go on, of each kind of error the newest reason is kept, and alike reasons are one."""
    told: list[Event] = []
    counts = Counts(tell=told.append)
    for visit in (1, 2):
        counts(TrialDone(launch="new", outcome=Outcome.PASSED))
        for outcome, kind, reason in (
            (Outcome.ERRORED, Kind.NO_CONNECTION, f"reason {visit}"),
            (Outcome.REJECTED, Kind.UNPARSED_OUTPUT, f"{visit} tokens"),
        ):
            counts(TrialDone(launch="new", outcome=outcome, kind=kind, reason=reason))
        counts.note_stored(3)
    counts(LaunchFailed(name="new", message="it died\nthe log's tail", hint=""))
    experiment = load(EXPERIMENT)
    request = RunRequest(experiment=experiment, settings=settings_for(experiment))
    found = counts.summary(request, 10, interrupted=False)
    assert (found.ran, found.remaining) == (6, 4)
    assert found.outcomes == {Outcome.PASSED: 2, Outcome.ERRORED: 2, Outcome.REJECTED: 2}
    assert found.errors == {"no_connection": (2, "reason 2")}
    assert [(one.kind, one.trials) for one in found.rejections] == [("unparsed_output", 2)]
    assert found.failed_launches == {"new": "it died"}
    assert [event.stored for event in told if isinstance(event, TrialsStored)] == [3, 6]
