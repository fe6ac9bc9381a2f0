"""Replies from the file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from matrixbench.backends.registry import LaunchRequest, ModelSource
from matrixbench.backends.scripted import SCRIPTED_BUILD, ScriptedBackend, ScriptedSession
from matrixbench.records import ChatReply, ChatRequest, Kind, Outcome, Refusal, ToolCall
from matrixbench.spec.models import Template

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager


def order(replies: object, *, faithful: bool = False, **more: object) -> LaunchRequest:
    """Return an order for a script."""
    return LaunchRequest(
        name="script",
        backend=ScriptedBackend.model_validate({"kind": "scripted", "replies": replies, **more}),
        model=ModelSource(name="m"),
        template=Template(name="native"),
        faithful=faithful,
        folder=Path(),
    )


def opened(asked: LaunchRequest) -> AbstractAsyncContextManager[ScriptedSession]:
    """Return the context in which a script answers."""
    backend: ScriptedBackend = asked.backend
    return backend.open(asked)


async def ask(replies: object, trial: int = 0, test: str = "t") -> ChatReply | Refusal:
    """Ask a script once."""
    request = ChatRequest(body={}, seed=trial + 1, trial=trial, test=test, timeout_s=1.0)
    async with opened(order(replies)) as session:
        return await session.ask(request)


async def test_replies_are_taken_in_turn_by_trial() -> None:
    """Trial i gets reply i modulo their number, whatever was asked before."""
    replies = [await ask(["a", "b", "c"], trial) for trial in (4, 0, 2)]
    assert [reply.content for reply in replies if isinstance(reply, ChatReply)] == ["b", "a", "c"]


async def test_a_list_in_the_list_is_a_conversation() -> None:
    """Its replies are taken turn by turn, and the last one repeats."""
    session_of = order([["a", {"content": "b"}], "c"])
    async with opened(session_of) as session:

        async def text(trial: int, turn: int) -> str | None:
            request = ChatRequest(body={}, seed=1, trial=trial, test="t", timeout_s=1, turn=turn)
            reply = await session.ask(request)
            assert isinstance(reply, ChatReply)
            return reply.content

        assert [await text(0, turn) for turn in range(3)] == ["a", "b", "b"]
        assert [await text(1, turn) for turn in range(2)] == ["c", "c"]


async def test_a_test_s_own_name_goes_before_the_first_glob() -> None:
    """Globs count in the file's order."""
    script = {"*": ["any"], "capital-*": ["glob"], "capital-of-France": ["own"]}
    assert await content(script, "capital-of-France") == "own"
    assert await content(script, "capital-of-Japan") == "any"
    assert await content({"capital-*": ["glob"], "*": ["any"]}, "capital-of-Japan") == "glob"


async def content(script: object, test: str) -> str | None:
    """Return the text that a script has for a test."""
    reply = await ask(script, test=test)
    assert isinstance(reply, ChatReply)
    return reply.content


@pytest.mark.parametrize("script", [{"other": ["a"]}, {"t": []}, []])
async def test_a_test_without_a_reply_measured_nothing(script: object) -> None:
    """The refusal names the test."""
    refusal = await ask(script)
    assert isinstance(refusal, Refusal)
    assert (refusal.outcome, refusal.kind) == (Outcome.ERRORED, Kind.NOT_FOUND)
    assert "'t'" in refusal.reason


async def test_calls_get_ids_and_json_arguments() -> None:
    """A mapping becomes compact JSON, text stays, and the message has the wire's shape."""
    calls = [
        {"name": "f", "arguments": {"city": "Paris"}},
        {"name": "g", "arguments": "{oops", "id": "mine"},
        {"name": "h"},
    ]
    reply = await ask([{"tool_calls": calls}])
    assert isinstance(reply, ChatReply)
    assert reply.tool_calls == (
        ToolCall(name="f", arguments='{"city":"Paris"}', id="call_0"),
        ToolCall(name="g", arguments="{oops", id="mine"),
        ToolCall(name="h", arguments="{}", id="call_2"),
    )
    assert reply.finish_reason == "tool_calls"
    assert reply.message["tool_calls"][1] == {
        "id": "mine",
        "type": "function",
        "function": {"name": "g", "arguments": "{oops"},
    }


async def test_words_count_as_tokens() -> None:
    """Text and arguments are counted at white space."""
    reply = await ask([{"content": "one two", "tool_calls": [{"name": "f", "arguments": "a b c"}]}])
    assert isinstance(reply, ChatReply)
    assert reply.completion_tokens == 5
    assert reply.timing.latency_s >= 0


async def test_the_finish_reason_may_be_said() -> None:
    """Without calls it is `stop`, unless the file says another."""
    cut, whole = await ask([{"content": "a", "finish_reason": "length"}]), await ask(["a"])
    assert isinstance(cut, ChatReply)
    assert isinstance(whole, ChatReply)
    assert (cut.finish_reason, whole.finish_reason) == ("length", "stop")


@pytest.mark.parametrize(
    ("error", "outcome", "kind"),
    [
        ("rejected", Outcome.REJECTED, Kind.UNPARSED_OUTPUT),
        ("errored", Outcome.ERRORED, Kind.SERVER_ERROR),
    ],
)
async def test_a_script_can_refuse(error: str, outcome: Outcome, kind: Kind) -> None:
    """Both outcomes without a reply can be tried."""
    refusal = await ask([{"error": error}])
    assert isinstance(refusal, Refusal)
    assert (refusal.outcome, refusal.kind) == (outcome, kind)


async def test_a_delay_is_part_of_the_latency() -> None:
    """The reply takes at least as long as the file says."""
    request = ChatRequest(body={}, seed=1, trial=0, test="t", timeout_s=1.0)
    async with opened(order(["a"], delay_s=0.02)) as session:
        reply = await session.ask(request)
    assert isinstance(reply, ChatReply)
    assert reply.timing.latency_s >= 0.02


async def test_every_script_has_one_build() -> None:
    """Its id is pinned: stores hold it."""
    async with opened(order(["a"])) as session:
        assert session.info.build == SCRIPTED_BUILD
        assert not await session.ensure_alive()
    assert SCRIPTED_BUILD.id == "ea4e850a404ab1fff944c6dc"


@pytest.mark.parametrize(
    ("more", "faithful", "concurrency"),
    [({}, False, 4), ({"concurrency": 7}, False, 7), ({"concurrency": 7}, True, 1)],
)
async def test_the_file_says_how_many_requests_at_a_time(
    more: dict[str, object], *, faithful: bool, concurrency: int
) -> None:
    """Four where it does not, one where it is to be faithful."""
    async with opened(order(["a"], faithful=faithful, **more)) as session:
        assert session.info.concurrency == concurrency
