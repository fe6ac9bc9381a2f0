"""Server-sent events of a streamed chat, put together again. Pure."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from matrixbench.records import JsonObject


class MalformedError(ValueError):
    """A body that no chat server should send; its text says what is wrong with it."""


def carries_token(stream: bytes) -> bool:
    """Return whether the part of a stream that has come holds something of the reply itself."""
    try:
        return any(
            bool(value)
            for event in _events(stream[: stream.rfind(b"\n") + 1])
            for choice in event.get("choices") or ()
            for name, value in (choice.get("delta") or {}).items()
            if name != "role"
        )
    except (ValueError, AttributeError, TypeError, RecursionError):
        return False  # whoever reads the whole stream says what is wrong with it


def _events(stream: bytes) -> Iterator[JsonObject]:
    """Yield a stream's events; comments (pings) and the closing `[DONE]` are left out."""
    for line in stream.splitlines():
        name, _, rest = line.partition(b":")
        text = rest.strip()
        if name == b"data" and text and text != b"[DONE]":
            yield json.loads(text)
        elif name == b"error":  # llama.cpp before it sent errors as data
            yield {"error": json.loads(text)}


def whole_reply(stream: bytes) -> JsonObject:
    """Return a streamed reply in the shape of one that was not streamed, or its error.

    Raises:
        ValueError: An event is not JSON.
        MalformedError: An event has another shape, or the stream ended before the reply did.
    """
    try:
        return _whole(stream)
    except (AttributeError, LookupError, TypeError):
        raise MalformedError("an event that is no part of a chat") from None


def _whole(stream: bytes) -> JsonObject:
    whole: JsonObject = {}
    message: JsonObject = {"role": "assistant"}
    finish_reason = None
    for event in _events(stream):
        if event.get("error"):
            return event
        whole |= {name: value for name, value in event.items() if value is not None}
        for choice in event.get("choices") or ():
            if choice.get("index", 0) == 0:
                _add(message, choice.get("delta") or {})
                finish_reason = choice.get("finish_reason") or finish_reason
    if finish_reason is None and b"[DONE]" not in stream[-64:]:
        raise MalformedError("the stream ended before the reply did")
    return whole | {"choices": [{"message": message, "finish_reason": finish_reason}]}


def _add(message: JsonObject, delta: JsonObject) -> None:
    for name, value in delta.items():
        if name == "tool_calls":
            for part in value or ():
                _add_call(message.setdefault("tool_calls", []), part)
        elif name != "role" and isinstance(value, str):
            message[name] = (message.get(name) or "") + value
        else:
            message.setdefault(name, value)


def _add_call(calls: list[JsonObject], part: JsonObject) -> None:
    index = part.get("index", max(len(calls) - 1, 0))
    if index >= len(calls):
        calls.append({"type": "function", "function": {"name": "", "arguments": ""}})
        index = len(calls) - 1
    call, function = calls[index], part.get("function") or {}
    if part.get("id"):
        call["id"] = part["id"]
    call["function"]["name"] += function.get("name") or ""
    call["function"]["arguments"] += function.get("arguments") or ""
