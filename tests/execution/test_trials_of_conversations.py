"""Conversations in a batch: one trial each, whatever happens at which turn."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from matrixbench.records import ChatReply, ChatRequest, Kind, Outcome, Refusal, Timing, ToolCall
from tests.execution.test_trials import LOST, Scripted, run, said

if TYPE_CHECKING:
    from tests.conftest import Load

EXPERIMENT = """
name: demo
backends: {fake: {kind: scripted, replies: [a]}}
sampling: {temperature: [0.1, 0.2]}
tests:
  - name: hi
    messages: [{role: user, content: hi}]
    tools: [{type: function, function: {name: f}, returns: [{content: r}]}]
    turns: [more]
    max_turns: 4
    expect: [{content: good}]
"""
CALL = ChatReply(
    message={}, tool_calls=(ToolCall(name="f", arguments="{}"),), timing=Timing(latency_s=0.1)
)


def well(request: ChatRequest, _: int = 1) -> ChatReply:
    """Call the tool, then answer twice."""
    return (CALL, said("first"), said("good"))[request.turn]


async def test_a_conversation_is_one_trial(load: Load) -> None:
    """Its requests share the trial's seed, and its turns are kept with the reply."""
    ran = await run(load, Scripted(well), text=EXPERIMENT)
    assert ran.outcomes[Outcome.PASSED] == len(ran.trials) == 4
    assert len(ran.session.asked) == 12
    for trial in ran.trials:
        assert trial.reply is not None
        assert [turn.then[0]["role"] for turn in trial.reply.earlier] == ["tool", "user"]
        seeds = {request.seed for request in ran.session.asked if request.trial == trial.trial}
        assert seeds == {trial.key.seed}
    assert len({trial.request for trial in ran.trials}) == 2


async def test_a_death_in_the_middle_runs_the_whole_trial_again(load: Load) -> None:
    """Nothing of a conversation outlives its server."""
    ran = await run(
        load,
        Scripted(
            lambda request, times: (
                LOST if (request.turn, request.trial, times) == (2, 0, 1) else well(request)
            )
        ),
        text=EXPERIMENT,
    )
    assert ran.outcomes[Outcome.PASSED] == 4
    assert len({trial.key for trial in ran.trials}) == 4
    begun = [request for request in ran.session.asked if not request.turn and not request.trial]
    assert len(begun) == 4


async def test_a_later_turn_that_kills_the_server_keeps_the_turns_before(load: Load) -> None:
    """The model's own words did it, so no trial stands for the cell."""
    ran = await run(
        load,
        Scripted(lambda request, _: LOST if request.turn == 1 else well(request)),
        text=EXPERIMENT,
        todo=0b111,
    )
    refusals = [trial.refusal for trial in ran.trials if trial.refusal]
    assert len(refusals) == 6
    assert {(refusal.kind, refusal.by_request, len(refusal.earlier)) for refusal in refusals} == {
        (Kind.KILLS_SERVER, False, 1)
    }


@pytest.mark.parametrize(("turn", "trials"), [(0, 2), (2, 4)])
async def test_an_overflow_stands_for_the_cell_only_at_the_first_turn(
    load: Load, turn: int, trials: int
) -> None:
    """Later the next seed may say less."""
    long = Refusal(
        outcome=Outcome.REJECTED, kind=Kind.CONTEXT_OVERFLOW, reason="long", by_request=True
    )
    ran = await run(
        load,
        Scripted(lambda asked, _: long if asked.turn == turn else well(asked), concurrency=1),
        text=EXPERIMENT,
    )
    assert ran.outcomes[Outcome.REJECTED] == len(ran.trials) == trials
    assert {len(trial.refusal.earlier) for trial in ran.trials if trial.refusal} == {turn}


async def test_a_model_that_never_stops_calling_is_stopped(load: Load) -> None:
    """The checks decide on its last reply, and the kind says why."""
    ran = await run(load, Scripted(lambda *_: CALL), text=EXPERIMENT)
    assert {trial.judgement.kind for trial in ran.trials} == {Kind.TURN_LIMIT}
    assert len(ran.session.asked) == 4 * 4
