"""Conversations in the store: turns come back, and the row holds the figures of all of them."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from matrixbench.records import ChatReply, Outcome, Timing, ToolCall, Turn
from matrixbench.store.connection import APPLICATION_ID
from matrixbench.store.database import open_store
from matrixbench.store.encoding import whole_conversation
from matrixbench.store.migrations import MIGRATIONS
from matrixbench.store.reading import replies
from matrixbench.store.turns import Turns
from matrixbench.store.writer import WriteGroup
from tests.store.conftest import maker

if TYPE_CHECKING:
    from pathlib import Path

    from matrixbench.records import JsonObject
    from matrixbench.store.database import Store
    from tests.store.conftest import Make

CALL: JsonObject = {"id": "x", "function": {"name": "f", "arguments": '{"a": 1}'}}
RESULT: JsonObject = {"role": "tool", "tool_call_id": "x", "name": "f", "content": "21 \ud83d"}
QUESTION: JsonObject = {"role": "user", "content": "And tomorrow?"}


def reply(seconds: float, tokens: int | None, **more: Any) -> ChatReply:
    """Return a reply that took so long and has so many tokens, ten of them a second."""
    timing = Timing(
        latency_s=seconds,
        time_to_first_token_s=seconds / 10,
        prompt_tokens_per_s=100 * seconds,
        completion_tokens_per_s=10.0,
    )
    said = ChatReply(
        message={"role": "assistant", "content": "ok"},
        content="ok",
        finish_reason="stop",
        prompt_tokens=int(100 * seconds),
        completion_tokens=tokens,
        timing=timing,
        fingerprint="b1",
    )
    return replace(said, **more)


CALLING = reply(
    1,
    5,
    message={"role": "assistant", "content": None, "tool_calls": [CALL]},
    content=None,
    tool_calls=(ToolCall(name="f", arguments='{"a": 1}', id="x"),),
    reasoning="hm",
    finish_reason="tool_calls",
)
CONVERSATION = reply(
    3,
    30,
    earlier=(Turn(reply=CALLING, then=(RESULT,)), Turn(reply=reply(2, 10), then=(QUESTION,))),
    turn_limit=True,
)


def turns(store: Store) -> int:
    """Return how many rows the table of turns has."""
    with closing(sqlite3.connect(store.path)) as connection:
        (count,) = connection.execute("SELECT count(*) FROM turn").fetchone()
        return int(count)


def test_a_conversation_comes_back_turn_by_turn(store: Store, make: Make, launch: int) -> None:
    """Each reply has its own figures, and is followed by what was said to it."""
    make.stored(store, [make.trial(launch, reply=CONVERSATION)])
    (row,) = store.trials("exp", first_seed=1)
    transcript = store.transcript(row.id)
    assert transcript.reply == CONVERSATION
    assert transcript.earlier == CONVERSATION.earlier
    ((_, _, stale),) = store.stale({"c1": "other checks"})
    assert stale == CONVERSATION
    assert turns(store) == 3


def test_the_row_holds_the_figures_of_the_whole(store: Store, make: Make, launch: int) -> None:
    """Seconds and completion tokens are summed; the last prompt holds everything."""
    make.stored(store, [make.trial(launch, reply=CONVERSATION)])
    (row,) = store.trials("exp", first_seed=1)
    assert (row.latency_s, row.completion_tokens, row.prompt_tokens) == (6, 45, 300)
    assert row.completion_tokens_per_s == pytest.approx(10)
    assert (row.time_to_first_token_s, row.prompt_tokens_per_s) == (0.1, 100)
    assert store.durations() == {"c1": 6}
    assert row.turns == 3


def test_a_store_from_before_conversations_keeps_its_trials(tmp_path: Path, make: Make) -> None:
    """Opened, it gets the table, and each of its replies is one turn."""
    path = tmp_path / "old" / "results.db"
    path.parent.mkdir()
    values = {
        "build": ("b", "k", "s", "m", "d", "v", "{}"),
        "launch": ("e", "d", "n", 1, 0.0, 1.0, None, "[]", "{}", "{}", "{}", None, 0, None, None),
        "trial": ("c1", 1, 1, 0, 0, 1, 0, "r", 1.0, *(None,) * 3, 0, 0.5, *(None,) * 7, "d"),
        "reply": (json.dumps(make.reply("ok").message), None),
        "verdict": (0, "k", "passed", None, "", None, "[]"),
    }
    with closing(sqlite3.connect(path)) as connection:
        for statement in (part for migration in MIGRATIONS[:2] for part in migration):
            connection.execute(statement)
        for table, row in values.items():
            places = ", ".join("?" * (len(row) + 1))
            connection.execute(f"INSERT INTO {table} VALUES ({places})", (1, *row))  # noqa: S608
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute("PRAGMA user_version = 2")
        connection.commit()
    with open_store(path, create=False) as old:
        (trial,) = old.trials("exp", first_seed=1)
        assert (trial.turns, trial.latency_s) == (1, 0.5)
        transcript = old.transcript(trial.id)
        assert transcript.reply == make.reply("ok")
        assert transcript.earlier == ()


def test_replies_are_told_apart_by_all_of_their_turns(
    store: Store, make: Make, launch: int
) -> None:
    """Two conversations that end alike are distinct; one request's digest is as it was."""
    other = replace(CONVERSATION, earlier=CONVERSATION.earlier[1:])
    again = replace(CONVERSATION, prompt_tokens=1)
    alone = replace(CONVERSATION, earlier=(), turn_limit=False)
    replies = [CONVERSATION, again, other, alone, make.reply("ok")]
    make.stored(
        store,
        [make.trial(launch, seed=i, reply=said) for i, said in enumerate(replies, 1)],
    )
    digests = [row.reply_digest for row in store.trials("exp", first_seed=1)]
    assert digests[0] == digests[1]
    assert len({digests[0], digests[2], digests[3]}) == 3
    assert digests[3] == digests[4]


def test_a_refusal_keeps_the_turns_before_it(store: Store, make: Make, launch: int) -> None:
    """It took as long as all of its requests did."""
    refusal = replace(make.rejected(by_request=False), earlier=CONVERSATION.earlier)
    make.stored(store, [make.trial(launch, refusal=refusal)])
    (row,) = store.trials("exp", first_seed=1)
    assert row.outcome is Outcome.REJECTED
    assert row.latency_s == pytest.approx(3.1)
    assert row.turns == 3
    transcript = store.transcript(row.id)
    assert transcript.reply is None
    assert transcript.earlier == CONVERSATION.earlier


def test_one_request_has_no_turns(store: Store, make: Make, launch: int) -> None:
    """It costs nothing more; one that was cut off at once says so."""
    refused = make.trial(launch, seed=2, refusal=make.timeout())
    make.stored(store, [make.trial(launch), refused])
    assert turns(store) == 0
    make.stored(store, [make.trial(launch, seed=3, reply=reply(1, 1, turn_limit=True))])
    assert turns(store) == 1
    *_, row = store.trials("exp", first_seed=1)
    assert row.turns == 1
    assert store.transcript(row.id).reply == reply(1, 1, turn_limit=True)


figures = st.builds(
    reply, st.floats(0.001, 100), st.none() | st.integers(0, 1000), fingerprint=st.none()
)


@given(st.lists(figures, min_size=2, max_size=5))
def test_sums_are_of_all_or_missing(replies: list[ChatReply]) -> None:
    """A figure that one request lacks is not known of the whole."""
    *before, last = replies
    earlier = tuple(Turn(reply=one, then=(QUESTION,)) for one in before)
    whole = whole_conversation(replace(last, earlier=earlier))
    tokens = [one.completion_tokens for one in replies]
    known = [count for count in tokens if count is not None]
    assert whole.completion_tokens == (sum(known) if len(known) == len(tokens) else None)
    assert whole.timing.latency_s == pytest.approx(sum(one.timing.latency_s for one in replies))
    if whole.completion_tokens:
        assert whole.timing.completion_tokens_per_s == pytest.approx(10)
    assert whole.prompt_tokens == last.prompt_tokens


json_texts = st.text(max_size=6)
said = st.builds(
    lambda content, calls, seconds, tokens, reasoning: ChatReply(
        message={"role": "assistant", "content": content, "odd": reasoning},
        content=content,
        reasoning=reasoning,
        tool_calls=tuple(calls),
        completion_tokens=tokens,
        timing=Timing(latency_s=seconds),
    ),
    st.none() | json_texts,
    st.lists(st.builds(ToolCall, name=json_texts, arguments=json_texts, id=st.none() | json_texts)),
    st.floats(0, 1e6),
    st.none() | st.integers(0, 10**6),
    st.none() | json_texts,
)
then = st.lists(
    st.fixed_dictionaries(
        {"role": json_texts, "content": st.none() | json_texts | st.lists(json_texts)}
    ),
    max_size=3,
).map(tuple)
earlier_turns = st.lists(st.builds(Turn, reply=said, then=then), max_size=4).map(tuple)


@given(earlier_turns, said, st.booleans(), st.booleans())
def test_any_conversation_comes_back(
    earlier: tuple[Turn, ...], last: ChatReply, limit: bool, refused: bool
) -> None:
    """Whatever was said, with a reply at its end or with a refusal."""
    make = maker()
    reply = replace(last, earlier=earlier, turn_limit=limit)
    refusal = replace(make.timeout(), earlier=earlier) if refused else None
    trial = make.trial(1, refusal=refusal)
    trial = trial if refused else replace(trial, reply=reply)
    with closing(sqlite3.connect(":memory:")) as connection:
        for statement in (part for migration in MIGRATIONS for part in migration):
            connection.execute(statement)
        WriteGroup.of([(trial, 1)]).insert(connection)
        found = replies(connection, [1])
        assert Turns(connection, [1]).earlier(1) == earlier
        assert [whole for _, _, whole in found] == ([] if refused else [reply])
