"""What a run says of trials that waited for another cell's replies."""

from __future__ import annotations

from matrixbench.errors import ExitCode
from matrixbench.execution.settings import RunSummary
from matrixbench.records import Judgement, Kind, Outcome

WAITED = RunSummary(
    experiment="x",
    store=None,
    ran=5,
    outcomes={Outcome.PASSED: 1, Outcome.ERRORED: 4},
    remaining=0,
    errors={"no_reference": (3, "old"), "server_crashed": (1, "it died")},
)
PASSED = Judgement(outcome=Outcome.PASSED)
FAILED = Judgement(outcome=Outcome.FAILED, kind=Kind.UNLIKE_REFERENCE, reason="unlike")
WAITING = Judgement(outcome=Outcome.ERRORED, kind=Kind.NO_REFERENCE, reason="none")


def test_what_came_of_comparisons_takes_the_place_of_waiting() -> None:
    """Every trial has one outcome, and what could not be measured otherwise stays."""
    settled = WAITED.settled([PASSED, FAILED, WAITING])
    assert settled.outcomes == {Outcome.PASSED: 2, Outcome.FAILED: 1, Outcome.ERRORED: 2}
    assert settled.errors == {"server_crashed": (1, "it died"), "no_reference": (1, "none")}
    assert sum(settled.outcomes.values()) == settled.ran


def test_a_run_whose_comparisons_are_all_made_is_done() -> None:
    """Nothing is left that could not be measured."""
    waited = RunSummary(
        experiment="x",
        store=None,
        ran=2,
        outcomes={Outcome.ERRORED: 2},
        remaining=0,
        errors={"no_reference": (2, "none")},
    )
    assert waited.exit_code is ExitCode.PARTIAL
    settled = waited.settled([PASSED, FAILED])
    assert (settled.exit_code, settled.errors) == (ExitCode.DONE, {})
    assert waited.settled([]).outcomes == waited.outcomes
