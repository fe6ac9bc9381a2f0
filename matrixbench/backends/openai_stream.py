"""A streamed chat, put together again as it comes. Pure.

What servers make of OpenAI's stream is wide, and what a reader of the plain API would have lost is
not to be found again here: pieces are joined, repeats are left out, and what does not fit together
is malformed. docs/decisions has the rules.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from matrixbench.backends.arrivals import Arrivals
from matrixbench.backends.event_stream import (
    DONE,
    ERROR,
    EventStream,
    MalformedError,
    looks_like_events,
    read_json,
)
from matrixbench.backends.streamed_calls import StreamedCalls, index_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from matrixbench.backends.event_stream import Event
    from matrixbench.records import JsonObject

__all__ = ["MalformedError", "Stream", "whole_reply"]

REASONING = ("reasoning_content", "reasoning", "thinking")
"""What servers call a reply's reasoning, the most frequent name first."""

_TEXTS = frozenset({"content", *REASONING, "refusal"})
"""Fields of a message that come in pieces."""

_PART_TEXTS = ("text", "thinking", "reasoning")
"""What a part of a content calls its text."""

_PINGS = frozenset({"ping", "heartbeat", "keepalive", "keep-alive"})
"""Events that only keep the connection alive, by their name or their whole data."""


class Stream:
    """The body of one answer, as far as it has come.

    Whether it is a stream at all is told by how it begins; of anything else nothing is kept.
    Feeding never raises: what is wrong is told by `whole`.

    Args:
        content_type: The header's value in lower case.
        mask: Takes secrets out of a line of the stream.
    """

    def __init__(
        self, content_type: str = "", mask: Callable[[bytes], bytes] | None = None
    ) -> None:
        self.arrivals = Arrivals()
        self.ended = False
        self._content_type = content_type
        self._begin = b""
        self._holds_events: bool | None = None
        self._events = EventStream(mask)
        self._reply = _Reply()
        self._fault: MalformedError | None = None

    @property
    def holds_events(self) -> bool:
        """Whether the body is a stream of events; known once it is closed."""
        return self._holds_events is True

    @property
    def complete(self) -> bool:
        """Whether the reply has come to its end, also where the body has not."""
        return self.ended or self._reply.finished

    def feed(self, piece: bytes, at_s: float = 0.0) -> None:
        """Take in the next piece of the body, which came so long after the request was sent."""
        if self._holds_events is None:
            # Some servers send blanks while nobody knows yet what the answer will be.
            self._begin = piece = (self._begin + piece).lstrip()
            self._holds_events = looks_like_events(piece, self._content_type)
        if self._holds_events:
            self._take(self._events.feed(piece, at_s))

    def close(self, at_s: float = 0.0) -> None:
        """Take in that nothing more comes."""
        if self._holds_events is None:
            self._holds_events = "event-stream" in self._content_type
        if self._holds_events:
            self._take(self._events.close(at_s))

    def whole(self) -> JsonObject:
        """Return the reply in the shape of one that was not streamed, or the error that came.

        Raises:
            MalformedError: An event has another shape, the pieces do not fit together, there was
                no reply, or the stream ended before it did.
        """
        if self._reply.error is not None:
            return self._reply.error
        if self._fault is not None:
            raise self._fault
        return self._reply.whole(ended=self.ended)

    def _take(self, events: Iterable[Event]) -> None:
        for event in events:
            try:
                self._add(event)
            except RecursionError:
                self._fault = self._fault or MalformedError("an event that is nested too deeply")
            except MalformedError as error:
                self._fault = self._fault or error

    def _add(self, event: Event) -> None:
        if self.ended:  # nobody who reads a stream looks beyond its end
            return
        text = event.data.strip()
        if text.strip('"') == DONE:
            self.ended = True
        elif event.name == ERROR:
            self._reply.error = self._reply.error or _error_of(text)
        elif not text or not _PINGS.isdisjoint({event.name.lower(), text.lower()}):
            pass
        elif self._reply.add(read_json(text)):
            self.arrivals.note(event.at_s)


def whole_reply(body: bytes) -> JsonObject:
    """Return a streamed reply in the shape of one that was not streamed, or its error.

    Raises:
        MalformedError: `Stream.whole` says when.
    """
    stream = Stream("text/event-stream")
    stream.feed(body)
    stream.close()
    return stream.whole()


def _error_of(text: str) -> JsonObject:
    """Return the data of an event that is called an error as a body that holds it."""
    try:
        data = read_json(text)
    except MalformedError:
        data = text
    if isinstance(data, dict) and data.get("error"):
        return data
    return {"error": data or "an error without a word"}


class _Reply:
    """A reply that is being put together."""

    def __init__(self) -> None:
        self.error: JsonObject | None = None
        self._fields: JsonObject = {}
        self._choices: dict[int, _Choice] = {}

    @property
    def finished(self) -> bool:
        """Whether the choice that counts has said why it ended."""
        return bool(self._choices) and self._chosen().finish_reason is not None

    def add(self, event: object) -> bool:
        """Take in an event; return whether it holds anything of what the model wrote.

        Raises:
            MalformedError: It is no part of a chat.
        """
        if not isinstance(event, dict):
            raise MalformedError("an event that is no part of a chat")
        if event.get("error") or event.get("object") == "error":
            self.error = self.error or event
            return False
        if event.get("type") == "error":
            self.error = self.error or {"error": event}
            return False
        choices = event.get("choices")
        self._fields |= {
            name: value for name, value in event.items() if value is not None and value != ""
        }
        if not isinstance(choices, list | dict | None):
            raise MalformedError("the choices of an event are no list")
        several = [choices] if isinstance(choices, dict) and choices else choices or ()
        found = False
        for choice in several:
            found |= self._add_choice(choice)
        return found

    def whole(self, *, ended: bool) -> JsonObject:
        """Return the reply.

        Raises:
            MalformedError: There is none, or it is not whole.
        """
        if not self._choices:
            raise MalformedError(
                "a stream without a reply" if ended else "the stream ended before a reply began"
            )
        choice = self._chosen()
        if choice.finish_reason is None and not ended:
            raise MalformedError("the stream ended before the reply did")
        finish = {"finish_reason": choice.finish_reason}
        if isinstance(told := self._fields.get("__verbose"), dict) and not told.get("content"):
            # llama.cpp has sent the raw output piece by piece, and leaves it empty here.
            self._fields["__verbose"] = {**told, "content": None}
        return self._fields | {"choices": [{"index": 0, "message": choice.message(), **finish}]}

    def _chosen(self) -> _Choice:
        """Return the first choice: a trial is one reply, and others were not asked for."""
        return self._choices[0 if 0 in self._choices else min(self._choices)]

    def _add_choice(self, told: object) -> bool:
        if not isinstance(told, dict):
            raise MalformedError("a choice that is no object")
        if told.get("error"):  # OpenRouter tells of a provider's failure so
            self.error = self.error or {"error": told["error"]}
            return False
        choice = self._choices.setdefault(index_of(told.get("index")) or 0, _Choice())
        return choice.add(told)


class _Choice:
    """The message of one choice, and why it ended."""

    def __init__(self) -> None:
        self.finish_reason: str | None = None
        self._texts: dict[str, _Text] = {}
        self._others: JsonObject = {}
        self._calls = StreamedCalls()
        self._legacy_call = StreamedCalls()

    def add(self, told: JsonObject) -> bool:
        """Take in an event's choice; return whether it holds anything that the model wrote.

        Raises:
            MalformedError: It has another shape, or does not fit together with what came.
        """
        reason = told.get("finish_reason")
        if isinstance(reason, str) and reason:
            self.finish_reason = reason
        found = False
        for name in ("delta", "message"):
            if (fields := told.get(name)) is None:
                continue
            if not isinstance(fields, dict):
                raise MalformedError(f"a {name} that is no object")
            for field, value in fields.items():
                if value is not None:
                    found |= self._add_field(field, value, whole=name == "message")
        if isinstance(text := told.get("text"), str):  # a completion's shape
            found |= self._append("content", text, whole=False)
        return found

    def message(self) -> JsonObject:
        """Return the message as a reply that was not streamed has it.

        Raises:
            MalformedError: A call never got a name.
        """
        texts = {name: text.whole() for name, text in self._texts.items()}
        calls = {"tool_calls": self._calls.whole()} if self._calls else {}
        if self._legacy_call:
            calls["function_call"] = self._legacy_call.whole()[-1]["function"]
        content = texts.pop("content", None)
        if not content and calls:
            content = None
        return {"role": "assistant", **self._others, "content": content, **texts, **calls}

    def _add_field(self, name: str, value: Any, *, whole: bool) -> bool:  # noqa: ANN401  JSON
        if name == "tool_calls":
            return self._calls.add(value)
        if name == "function_call":  # what calls were before they could be several
            return self._legacy_call.add({"index": 0, "function": value})
        if name in _TEXTS:
            return self._add_text(name, value, whole=whole)
        kept = self._others.get(name)
        if isinstance(kept, list) and isinstance(value, list) and not whole:
            kept += value
        elif name != "role":
            self._others[name] = list(value) if isinstance(value, list) else value
        return False

    def _add_text(self, name: str, value: Any, *, whole: bool) -> bool:  # noqa: ANN401  JSON
        if name != "content":
            if isinstance(value, str):
                return self._append(name, value, whole=whole)
            self._others[name] = value  # an object of its own, which nobody shows
            return bool(value)
        found = False
        for field, text in content_texts(value):
            found |= self._append(field, text, whole=whole)
        return found

    def _append(self, name: str, text: str, *, whole: bool) -> bool:
        return self._texts.setdefault(name, _Text()).add(text, whole=whole)


class _Text:
    """A text that comes in pieces."""

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._length = 0

    def add(self, text: str, *, whole: bool) -> bool:
        """Add a piece; return whether it is any. A whole message says again what was said."""
        if whole and 0 < self._length <= len(text) and text.startswith(self.whole()):
            text = text[self._length :]
        if text:
            self._pieces.append(text)
            self._length += len(text)
        return bool(text)

    def whole(self) -> str:
        """Return all of it."""
        self._pieces = ["".join(self._pieces)]
        return self._pieces[0]


def content_texts(value: object) -> list[tuple[str, str]]:
    """Return the texts of a content, each with the field that it belongs to.

    Raises:
        MalformedError: It is neither text nor parts.
    """
    if isinstance(value, str):
        return [("content", value)]
    parts = [value] if isinstance(value, dict) else value
    if not isinstance(parts, list):
        raise MalformedError("content is neither text nor null nor a list of parts")
    texts: list[tuple[str, str]] = []
    for part in parts:
        if isinstance(part, str):
            texts.append(("content", part))
        elif isinstance(part, dict):
            kind = str(part.get("type"))
            field = REASONING[0] if kind in {"thinking", "reasoning"} else "content"
            inner = next((part[key] for key in _PART_TEXTS if key in part), "")
            found = content_texts(inner) if isinstance(inner, str | list) else []
            texts += [(field, text) for _, text in found]
    return texts
