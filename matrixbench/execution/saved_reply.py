"""A reply from a file, in whichever shape it was saved: to be judged without a server."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from math import nan
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matrixbench.backends.ollama_chat import understand
from matrixbench.backends.openai_reply import BROKEN, Answer, classify
from matrixbench.errors import UsageError
from matrixbench.records import ChatReply, Refusal, Turn
from matrixbench.safe_files import open_input

if TYPE_CHECKING:
    from matrixbench.records import JsonObject

STDIN = "-"
MAX_BYTES = 32 * 1024 * 1024
"""A larger file is no reply."""

SHAPES = (
    "a whole answer of a chat API (with `choices`), an assistant's message (with `role`), "
    "what `show --trial` or `try` print with --json, or, in a .txt file, the text alone"
)
_OK = 200


def read_reply(name: str) -> ChatReply | Refusal:
    """Return the reply that a file holds; `-` is standard input.

    A `.txt` file is the reply's text (less its last line break) and a `.json` file a reply in JSON;
    any other is in JSON where it has one of the known shapes, and else the text. An answer that
    holds an error is judged as one. The reply's latency is not a number: nobody measured it.

    Raises:
        UsageError: The file cannot be read, or is in no known shape.
    """
    where = "standard input" if name == STDIN else name
    text = _read(name, where)
    suffix = Path(name).suffix.lower()
    data = None if suffix == ".txt" else _json(text)
    answer = _answer(data)
    if answer is None and suffix != ".json":
        answer = _heard({"role": "assistant", "content": text.removesuffix("\n")})
    if isinstance(answer, Refusal) and answer.reason.startswith(BROKEN):
        raise _no_reply(answer.reason.removeprefix(BROKEN), where)
    if answer is None:
        found = "not JSON" if data is None else "JSON of another shape"
        raise _no_reply(found, where)
    return answer


def _no_reply(found: str, where: str) -> UsageError:
    return UsageError(f"this is no reply: {found}", where=where, hint=f"it may hold {SHAPES}")


def _read(name: str, where: str) -> str:
    try:
        if name == STDIN:
            content = sys.stdin.buffer.read(MAX_BYTES + 1)
        else:
            with open_input(Path(name)) as file:
                content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise _no_reply(f"more than {MAX_BYTES >> 20} MB", where)
        return content.decode()
    except UnicodeDecodeError:
        raise _no_reply("not text in UTF-8", where) from None
    except OSError as error:
        raise UsageError(
            f"the reply cannot be read: {error.strerror}",
            where=where,
            hint="--reply names a file, or is - for standard input",
        ) from error


def _json(text: str) -> Any:  # noqa: ANN401  JSON from outside
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _answer(data: Any) -> ChatReply | Refusal | None:  # noqa: ANN401  JSON from outside
    """Return the reply that JSON holds; None where it is in no known shape."""
    match data:
        case {"choices": [_, *_]} | {"error": str() | dict()}:
            return classify(_received(data))
        case {"message": {"role": "assistant"}, "model": str()}:
            return understand(_received(data))
        case {"role": "assistant"}:
            return _heard(data)
        case {"content": _, "tool_calls": [*calls], "reasoning": _}:
            return _conversation(data, calls)
        case {"trials": [dict() as one]}:
            return _answer(one)
        case _:
            return None


def _conversation(data: JsonObject, calls: list[Any]) -> ChatReply | Refusal | None:
    """Return a reply as `show` prints it, with the turns of a conversation before it."""
    last = _shown(data, calls)
    earlier: list[Turn] = []
    for turn in data.get("earlier") or ():
        before = _answer(turn) if isinstance(turn, dict) else None
        then = turn.get("then") if isinstance(turn, dict) else None
        if not isinstance(before, ChatReply) or not isinstance(then, list):
            return None
        earlier.append(Turn(reply=before, then=tuple(then)))
    if not isinstance(last, ChatReply):
        return last
    return replace(last, earlier=tuple(earlier), turn_limit=data.get("turn_limit") is True)


def _shown(data: JsonObject, calls: list[Any]) -> ChatReply | Refusal:
    """Return a reply as `show` prints it, with its calls not wrapped."""
    message = {
        "role": "assistant",
        "content": data["content"],
        "reasoning_content": data["reasoning"],
        "tool_calls": [
            {"id": call.get("id"), "function": call} if isinstance(call, dict) else call
            for call in calls
        ],
    }
    return _heard(message, finish_reason=data.get("finish_reason"))


def _heard(message: JsonObject, finish_reason: str | None = None) -> ChatReply | Refusal:
    return classify(_received({"choices": [{"message": message, "finish_reason": finish_reason}]}))


def _received(data: object) -> Answer:
    return Answer(status=_OK, content_type="", body=json.dumps(data).encode(), latency_s=nan)
