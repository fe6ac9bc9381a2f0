"""A chat that Ollama streams, a JSON object a line, put together again as it comes. Pure."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from matrixbench.backends.arrivals import Arrivals
from matrixbench.backends.event_stream import Lines, MalformedError, read_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from matrixbench.records import JsonObject

_TEXTS = ("content", "thinking")

REPEATS = 30
"""Ollama gives up a reply in which one token comes more often than this in a row."""


class OllamaStream:
    """The body of one answer of `/api/chat`, as far as it has come.

    Feeding never raises: what is wrong is told by `whole`.

    Args:
        mask: Takes secrets out of a line.
    """

    holds_events = True

    def __init__(self, mask: Callable[[bytes], bytes] | None = None) -> None:
        self.arrivals = Arrivals()
        self.ended = False
        self._mask = mask
        self._lines = Lines()
        self._fields: JsonObject = {}
        self._others: JsonObject = {}
        self._texts: dict[str, list[str]] = {}
        self._calls: list[Any] = []
        self._last: deque[str] = deque(maxlen=REPEATS)
        self._error: JsonObject | None = None
        self._fault: MalformedError | None = None

    @property
    def complete(self) -> bool:
        """Whether the reply has come to its end, also where the body has not."""
        return self.ended

    def feed(self, piece: bytes, at_s: float = 0.0) -> None:
        """Take in the next piece of the body, which came so long after the request was sent."""
        for line in self._lines.feed(piece):
            self._take(line, at_s)

    def close(self, at_s: float = 0.0) -> None:
        """Take in that nothing more comes."""
        self._take(self._lines.rest(), at_s)

    def whole(self) -> JsonObject:
        """Return the reply in the shape of one that was not streamed, or the error that came.

        A reply in which one token repeats is cut off without a word, as without a stream: it is
        not `done`.

        Raises:
            MalformedError: A line has another shape, or the stream ended before the reply did.
        """
        if self._error is not None:
            return self._error
        if self._fault is not None:
            raise self._fault
        repeats = len(self._last) == REPEATS and len(set(self._last)) == 1
        if not self.ended and not repeats:
            raise MalformedError("the stream ended before the reply did")
        texts = {name: "".join(pieces) for name, pieces in self._texts.items()}
        calls = {"tool_calls": self._calls} if self._calls else {}
        message = {"role": "assistant", **self._others, "content": "", **texts, **calls}
        return {**self._fields, "message": message, "done": self.ended}

    def _take(self, line: bytes, at_s: float) -> None:
        if not line.strip():
            return
        if self._mask is not None:
            line = self._mask(line)
        try:
            self._add(read_json(line.decode(errors="replace")), at_s)
        except MalformedError as error:
            self._fault = self._fault or error

    def _add(self, told: object, at_s: float) -> None:
        message = told.get("message", {}) if isinstance(told, dict) else None
        if not isinstance(told, dict) or not isinstance(message, dict):
            raise MalformedError("a line that is no part of a chat")
        if told.get("error"):
            self._error = self._error or told
            return
        self._fields |= {name: value for name, value in told.items() if name != "message"}
        self.ended = self.ended or told.get("done") is True
        calls = message.get("tool_calls") or ()
        if not isinstance(calls, list | tuple):
            raise MalformedError("the tool calls of a line are no list")
        self._calls += calls
        found = bool(calls)
        for name, value in message.items():
            if name in _TEXTS and isinstance(value, str):
                self._texts.setdefault(name, []).append(value)
                found |= bool(value)
            elif name not in {*_TEXTS, "tool_calls"}:
                self._others[name] = value
        if found:
            self._last.append("".join(str(message.get(name) or "") for name in _TEXTS).strip())
            self.arrivals.note(at_s)


def whole_chat(body: bytes) -> JsonObject:
    """Return a streamed reply in the shape of one that was not streamed, or its error.

    Raises:
        MalformedError: `OllamaStream.whole` says when.
    """
    stream = OllamaStream()
    stream.feed(body)
    stream.close()
    return stream.whole()
