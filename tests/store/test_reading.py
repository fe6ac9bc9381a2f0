"""What was stored comes back as it was, with the judgement that counts."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from matrixbench.errors import StoreError
from matrixbench.records import ChatReply, Judgement, Kind, Outcome, Timing, ToolCall, Verdict
from matrixbench.store.encoding import (
    MEASURED_COLUMNS,
    judgement_values,
    reply_from,
    reply_values,
    trial_values,
    verdicts_from,
)

if TYPE_CHECKING:
    from matrixbench.records import JsonObject
    from matrixbench.store.database import Store
    from tests.store.conftest import Make


def test_a_trial_comes_back_whole(store: Store, make: Make, launch: int) -> None:
    """Every measurement of a trial with a reply is in its row, and its texts in its transcript."""
    call = {"id": "x", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
    reply = ChatReply(
        message={"role": "assistant", "content": None, "tool_calls": [call]},
        reasoning=None,
        tool_calls=(ToolCall(name="f", arguments='{"a": 1}', id="x"),),
        finish_reason="tool_calls",
        prompt_tokens=12,
        completion_tokens=34,
        timing=Timing(
            latency_s=1.25,
            time_to_first_token_s=0.1,
            prompt_tokens_per_s=200.0,
            completion_tokens_per_s=30.0,
        ),
        fingerprint="b9626",
    )
    verdicts = (
        Verdict(check="tool_call", passed=True, score=1.0),
        Verdict(check="args", passed=False, kind=Kind.BAD_ARGUMENTS, reason="a: 1", score=0.5),
    )
    judgement = Judgement(
        outcome=Outcome.FAILED, kind=Kind.BAD_ARGUMENTS, reason="a: 1", verdicts=verdicts
    )
    trial = make.trial(launch, seed=7, reply=reply, judgement=judgement, order=5)
    make.stored(store, [trial])
    (row,) = store.trials("exp", first_seed=5)
    assert (row.cell, row.build, row.seed, row.trial) == ("c1", make.build.id, 7, 2)
    assert (row.generation, row.launch, row.order) == (0, launch, 5)
    assert (row.request, row.started_at) == (trial.request, trial.started_at)
    assert (row.outcome, row.kind, row.reason) == (Outcome.FAILED, Kind.BAD_ARGUMENTS, "a: 1")
    assert (row.checks, row.score, row.by_request, row.imported) == ("k1", 0.75, False, False)
    assert (row.latency_s, row.time_to_first_token_s) == (1.25, 0.1)
    assert (row.prompt_tokens_per_s, row.completion_tokens_per_s) == (200.0, 30.0)
    assert (row.prompt_tokens, row.completion_tokens) == (12, 34)
    assert (row.finish_reason, row.fingerprint) == ("tool_calls", "b9626")
    transcript = store.transcript(row.id)
    assert transcript.body == make.body
    assert transcript.reply == reply
    assert transcript.verdicts == verdicts
    assert transcript.trial == replace(row, trial=6)


def test_a_refusal_has_its_own_outcome(store: Store, make: Make, launch: int) -> None:
    """Without a reply, outcome, kind and reason are the refusal's, and nothing was judged."""
    make.stored(store, [make.trial(launch, refusal=make.rejected(by_request=True))])
    (row,) = store.trials("exp", first_seed=1)
    assert (row.outcome, row.kind, row.reason) == (Outcome.REJECTED, Kind.TEMPLATE_ERROR, "no")
    assert (row.by_request, row.checks, row.reply_digest) == (True, "", None)
    assert row.latency_s == pytest.approx(0.1)
    transcript = store.transcript(row.id)
    assert transcript.reply is None
    assert transcript.verdicts == ()


def test_equal_replies_have_one_digest(store: Store, make: Make, launch: int) -> None:
    """Content and tool calls make a reply what it is; ids of calls and timings do not."""

    def said(content: str | None, call: str) -> ChatReply:
        calls = (ToolCall(name="f", arguments="{}", id=call),)
        return make.reply(content, tool_calls=calls, timing=Timing(latency_s=len(call)))

    replies = [said("a", "1"), said("a", "22"), said("b", "1"), said(None, "1")]
    make.stored(store, [make.trial(launch, seed=1 + i, reply=one) for i, one in enumerate(replies)])
    digests = [row.reply_digest for row in store.trials("exp", first_seed=1)]
    assert digests[0] == digests[1]
    assert len(set(digests)) == 3


def test_half_a_surrogate_pair_is_stored(store: Store, make: Make, launch: int) -> None:
    """Text that UTF-8 cannot say, as models do write, neither stops the writer nor gets lost."""
    make.stored(
        store,
        [
            make.trial(launch, seed=1, reply=make.reply("half \ud83d and \0")),
            make.trial(launch, seed=2, refusal=replace(make.errored(), reason="said \ud83d")),
        ],
    )
    first, second = store.trials("exp", first_seed=1)
    reply = store.transcript(first.id).reply
    assert reply is not None
    assert reply.content == "half \ud83d and \0"
    assert second.reason == "said ?"


def test_cells_and_seeds_are_selected(store: Store, make: Make, launch: int) -> None:
    """Only the cells and the seeds that are asked for are read, oldest first."""
    make.stored(
        store, [make.trial(launch, cell, seed) for seed in (1, 2, 3) for cell in ("c1", "c2")]
    )
    rows = list(store.trials("exp", first_seed=2, trials=1, cells={"c2"}))
    assert [(row.cell, row.seed, row.trial) for row in rows] == [("c2", 2, 0)]
    assert [row.seed for row in store.trials("exp", first_seed=0)] == [1, 1, 2, 2, 3, 3]


def test_seeds_may_be_far_apart(store: Store, make: Make, launch: int) -> None:
    """The largest seed that a server takes costs no more than the smallest."""
    make.stored(store, [make.trial(launch, seed=seed) for seed in (0, 2**32 - 2)])
    assert [row.seed for row in store.trials("exp", first_seed=0)] == [0, 2**32 - 2]


def test_builds_and_launches_are_remembered(store: Store, make: Make) -> None:
    """A launch's last build, its record, its notes and its end come back."""
    newer = replace(make.build, id="n" * 24, version="b9652", details={"libs": ["a", "b"]})
    record = make.launch(
        build=newer,
        order_seed=42,
        command=("llama-server", "-m", "x"),
        effective={"n_ctx": 2048},
        host={"cpu": "x"},
        versions={"matrixbench": "0.1.0"},
        log="launch.log",
        imported=True,
    )
    with store.writer() as writer:
        writer.start_launch(make.launch())
        number = writer.start_launch(record)
        writer.start_launch(make.launch(build=None))
        writer.note(number, "canary", {"seeds_differ": False})
        writer.note(number, "canary", {"seeds_differ": True})
        writer.end_launch(number, ended_at=5.5, error="it kept dying")
    assert list(store.builds()) == [make.build.id, newer.id]
    runs = [(run.name, run.digest, run.build) for run in store.launch_runs()]
    assert runs == [(record.name, "d1", newer.id), (record.name, "d1", make.build.id)]
    assert store.failed_starts("exp") == set()
    first, second, third = store.launches("exp")
    assert (first.record, first.ended_at, first.error, first.notes) == (
        make.launch(),
        None,
        None,
        {},
    )
    assert (second.id, second.record) == (number, record)
    assert (second.ended_at, second.error) == (5.5, "it kept dying")
    assert second.notes == {"canary": {"seeds_differ": True}}
    assert third.record.build is None
    assert store.launches("other") == []
    assert store.launches() == [first, second, third]


def test_durations_are_means_of_what_was_measured(store: Store, make: Make, launch: int) -> None:
    """Times to expect come from replies and rejections; what errored says nothing."""
    slow = make.reply(timing=Timing(latency_s=1.5))
    make.stored(
        store,
        [
            make.trial(launch, seed=1),
            make.trial(launch, seed=2, reply=slow),
            make.trial(launch, seed=3, refusal=replace(make.errored(), latency_s=99.0)),
            make.trial(launch, "c2", refusal=make.errored()),
        ],
    )
    assert store.durations() == {"c1": 1.0}
    assert store.durations(["d1"]) == {"c1": 1.0}
    assert store.durations(["d2"]) == {}


def test_a_trial_that_is_not_there(store: Store) -> None:
    """Asking for a trial by a wrong number is an error of the store, not a crash."""
    with pytest.raises(StoreError, match="no trial 7"):
        store.transcript(7)


def test_a_body_is_kept_once(store: Store, make: Make, launch: int) -> None:
    """However many trials send it, and whoever writes them, a request is stored once."""
    for seed in (1, 2):
        make.stored(store, [make.trial(launch, seed=seed)])
    with store.writer() as writer:
        writer.offer(make.trial(launch, seed=3))
        writer.offer(make.trial(launch, seed=4, request="unknown"))
    bodies = [store.transcript(row.id).body for row in store.trials("exp", first_seed=1)]
    assert bodies == [make.body, make.body, make.body, None]


TEXT = st.none() | st.text(st.characters(), max_size=5)
CALLS = st.lists(
    st.builds(ToolCall, name=st.text(max_size=3), arguments=st.text(max_size=5), id=TEXT),
    max_size=2,
)


@given(TEXT, TEXT, CALLS, st.sampled_from(["openai", "ollama", "odd"]))
def test_any_reply_survives_the_way_there_and_back(
    content: str | None, reasoning: str | None, calls: list[ToolCall], dialect: str
) -> None:
    """A reply is the same after its rows were written, however the server's message looked."""
    openai = [
        {"id": one.id, "function": {"name": one.name, "arguments": one.arguments}} for one in calls
    ]
    messages: dict[str, JsonObject] = {
        "openai": {"content": content, "reasoning_content": reasoning, "tool_calls": openai},
        "ollama": {"content": content or "", "thinking": reasoning, "tool_calls": [{"f": {}}]},
        "odd": {"content": [{"type": "text", "text": content}], "tool_calls": None},
    }
    reply = ChatReply(
        message=messages[dialect],
        content=content,
        reasoning=reasoning,
        tool_calls=tuple(calls),
        timing=Timing(latency_s=0.5),
    )
    text, reading = reply_values(reply)
    row = dict.fromkeys(MEASURED_COLUMNS) | {"latency_s": 0.5, "message": text, "reading": reading}
    assert reply_from(row) == reply
    assert dialect != "openai" or reading is None


VERDICTS = st.lists(
    st.builds(
        Verdict,
        check=st.text(max_size=4),
        passed=st.booleans(),
        kind=st.none() | st.sampled_from(Kind),
        reason=st.text(max_size=4),
        score=st.none() | st.floats(0, 1),
    ),
    max_size=3,
)


@given(VERDICTS)
def test_any_verdicts_survive_the_way_there_and_back(verdicts: list[Verdict]) -> None:
    """Verdicts are the same after they were written."""
    judgement = Judgement(outcome=Outcome.FAILED, verdicts=tuple(verdicts))
    *_, text = judgement_values(judgement, "k")
    assert verdicts_from(text) == tuple(verdicts)


def test_rows_hold_plain_values(make: Make) -> None:
    """Rows hold what SQLite takes as it is: enumerations would go through its slow way."""
    rows = [
        trial_values(make.trial(1, refusal=make.rejected(by_request=True)), 1),
        trial_values(make.trial(1), 1),
        judgement_values(Judgement(outcome=Outcome.FAILED, kind=Kind.TRUNCATED), "k"),
    ]
    kinds = {type(value) for row in rows for value in row}
    assert kinds <= {str, int, float, type(None)}
