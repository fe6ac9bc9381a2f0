"""Saved replies, in every shape that they come in."""

from __future__ import annotations

import json
from math import isnan
from typing import TYPE_CHECKING, Any

import pytest

from matrixbench.errors import UsageError
from matrixbench.execution.try_ import read_reply
from matrixbench.records import ChatReply, Kind, Outcome, Refusal, ToolCall

if TYPE_CHECKING:
    from pathlib import Path

CALL = ToolCall(name="f", arguments='{"x":1}', id="1")
FUNCTION = {"name": "f", "arguments": '{"x":1}'}
MESSAGE = {
    "role": "assistant",
    "content": "hi",
    "reasoning_content": "hm",
    "tool_calls": [{"id": "1", "type": "function", "function": FUNCTION}],
}
SHOWN = {"content": "hi", "reasoning": "hm", "tool_calls": [FUNCTION | {"id": "1"}]}
OLLAMA = {
    "model": "m",
    "message": {
        "role": "assistant",
        "content": "hi",
        "thinking": "hm",
        "tool_calls": [{"id": "1", "function": {"name": "f", "arguments": {"x": 1}}}],
    },
    "done": True,
    "done_reason": "length",
}


def saved(folder: Path, content: Any, name: str = "reply.json") -> ChatReply:
    """Return the reply that a file with this JSON, or this text, stands for."""
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    reply = read_reply(str(path))
    assert isinstance(reply, ChatReply), reply
    return reply


@pytest.mark.parametrize(
    ("shape", "finish_reason"),
    [
        ({"choices": [{"message": MESSAGE, "finish_reason": "length"}]}, "length"),
        (MESSAGE, None),
        (SHOWN | {"finish_reason": "length", "verdicts": []}, "length"),
        ({"experiment": "e", "trials": [SHOWN]}, None),
        (OLLAMA, "length"),
    ],
    ids=["completion", "message", "show", "try", "ollama"],
)
def test_each_shape_is_the_same_reply(
    tmp_path: Path, shape: dict[str, Any], finish_reason: str | None
) -> None:
    """Text, reasoning, calls and why it ended; when it came, nobody knows."""
    for name in ("reply.json", "reply.out"):
        reply = saved(tmp_path, shape, name)
        assert (reply.content, reply.reasoning, reply.tool_calls) == ("hi", "hm", (CALL,))
        assert reply.finish_reason == finish_reason
        assert isnan(reply.timing.latency_s)


def test_a_conversation_has_its_turns(tmp_path: Path) -> None:
    """As `show` and `try` print them, so that checks of an earlier turn can be sharpened too."""
    then = [{"role": "tool", "content": "21"}]
    turn = SHOWN | {"finish_reason": "tool_calls", "then": then}
    reply = saved(tmp_path, SHOWN | {"earlier": [turn], "turn_limit": True})
    (earlier,) = reply.earlier
    assert (earlier.then, earlier.reply.tool_calls) == (tuple(then), (CALL,))
    assert (earlier.reply.finish_reason, reply.turn_limit) == ("tool_calls", True)


def test_any_other_text_is_the_content(tmp_path: Path) -> None:
    """Also JSON, which a test may have asked for; an editor's last line break is not part of it."""
    assert saved(tmp_path, "Paris\n\n", "reply.txt").content == "Paris\n"
    assert saved(tmp_path, '{"answer": 4}', "reply").content == '{"answer": 4}'
    assert saved(tmp_path, MESSAGE, "reply.txt").content == json.dumps(MESSAGE)
    assert saved(tmp_path, "", "reply.txt").content == ""


def test_a_saved_error_is_a_refusal(tmp_path: Path) -> None:
    """An answer in which the server rejects the model's output is judged as in a run."""
    path = tmp_path / "error.json"
    path.write_text('{"error": {"code": 500, "message": "Failed to parse input at pos 3"}}')
    refusal = read_reply(str(path))
    assert isinstance(refusal, Refusal)
    assert (refusal.outcome, refusal.kind) == (Outcome.REJECTED, Kind.UNPARSED_OUTPUT)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"[1]", "JSON of another shape"),
        (b"{", "not JSON"),
        (b"\xff\xfe", "not text in UTF-8"),
        (b'{"role": "assistant", "content": 3}', "content is neither text nor null"),
        (b'{"role": "assistant", "tool_calls": [3]}', "a tool call without a function"),
        (b'{"content": "", "reasoning": null, "tool_calls": [3]}', "a tool call without"),
        (b'{"choices": [3]}', "no choices with a message"),
        (
            b'{"content": "", "reasoning": null, "tool_calls": [], "earlier": [3]}',
            "JSON of another shape",
        ),
    ],
)
def test_what_is_no_reply_is_said(tmp_path: Path, content: bytes, found: str) -> None:
    """With what was found, and what a reply may look like."""
    path = tmp_path / "odd.json"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=found) as caught:
        read_reply(str(path))
    assert caught.value.where == str(path)
    assert "an assistant's message" in caught.value.hint or "UTF-8" in str(caught.value)
