"""A streamed chat and its tool calls, put together again as they come. Pure."""

from __future__ import annotations

import codecs
import json
import re
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from matrixbench.records import JsonObject


class Arrivals:
    """The moments at which something of a reply was there to be read.

    What is measured is what a reader has: tokens that came in one read from the network came at
    once and are one arrival, so a server or a proxy that holds tokens back shows as few and long
    gaps, not as many of 0. A reply that came in one read has no gap.
    """

    def __init__(self) -> None:
        self.pieces = 0
        self.first_s: float | None = None
        self.last_s: float | None = None
        self._gaps: list[float] = []

    def note(self, at_s: float) -> None:
        """Take in that an event with a token came, so long after the request was sent."""
        self.pieces += 1
        if self.last_s is None:
            self.first_s = at_s
        elif at_s > self.last_s:
            self._gaps.append(at_s - self.last_s)
        self.last_s = at_s

    @property
    def gap_p50_s(self) -> float | None:
        """The median gap between one arrival and the next; None where there is none."""
        return float(median(self._gaps)) if self._gaps else None

    @property
    def gap_max_s(self) -> float | None:
        """The longest gap; None where there is none."""
        return max(self._gaps, default=None)


DONE = "[DONE]"
"""The data of the event with which OpenAI's streams end."""

ERROR = "error"
"""What an event that tells of an error is called."""

_LINE_END = re.compile(rb"\r\n|\n|\r")
_FIRST_WORDS = (b"data:", b"event:", b"id:", b"retry:", b"error:", b":")


class MalformedError(ValueError):
    """A body that no chat server should send; its text says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Event:
    """One event: its name (empty for most), its data, and when its last line of data came."""

    name: str
    data: str
    at_s: float


class Lines:
    """Lines out of pieces that are cut anywhere; every byte is looked at once."""

    def __init__(self) -> None:
        self._pending: list[bytes] = []
        self._after_cr = False

    def feed(self, piece: bytes) -> list[bytes]:
        """Return the lines that a piece completes, without their ends."""
        if self._after_cr and piece.startswith(b"\n"):
            piece = piece[1:]  # the second half of a CRLF
            self._after_cr = False
        if not piece:
            return []
        self._after_cr = piece.endswith(b"\r")
        first, *others = _LINE_END.split(piece)
        self._pending.append(first)
        if not others:
            return []
        lines = [b"".join(self._pending), *others[:-1]]
        self._pending = [others[-1]]
        return lines

    def rest(self) -> bytes:
        """Return what no line end followed."""
        rest = b"".join(self._pending)
        self._pending = []
        return rest


class EventStream:
    """Events out of pieces that are cut anywhere.

    Args:
        mask: Takes secrets out of a line. A line is whole here, wherever the network cut it.
    """

    def __init__(self, mask: Callable[[bytes], bytes] | None = None) -> None:
        self._mask = mask
        self._lines = Lines()
        self._begun = False
        self._name = ""
        self._data: list[str] = []
        self._at_s = 0.0

    def feed(self, piece: bytes, at_s: float) -> Iterator[Event]:
        """Yield the events that a piece completes, which came at a time."""
        for line in self._lines.feed(piece):
            yield from self._line(line, at_s)

    def close(self, at_s: float) -> Iterator[Event]:
        """Yield what is left when nothing more comes: not every server ends its last event."""
        if rest := self._lines.rest():
            yield from self._line(rest, at_s)
        yield from self._dispatched()

    def _line(self, line: bytes, at_s: float) -> Iterator[Event]:
        if not self._begun:
            self._begun = True
            line = line.removeprefix(codecs.BOM_UTF8)
        if self._mask is not None:
            line = self._mask(line)
        text = line.decode(errors="replace")
        if not text:
            yield from self._dispatched()
            return
        if text.startswith("{"):  # no field is called so: JSON between comments that keep alive
            name, value = "data", text
        else:
            name, _, value = text.partition(":")
            value = value.removeprefix(" ")
        match name:
            case "event":
                self._name = value.strip()
            case "data":
                yield from self._begin_anew()
                self._data.append(value)
                self._at_s = at_s
            case "error":  # llama.cpp before it sent errors as data
                yield from self._dispatched()
                yield Event(ERROR, value, at_s)
            case _:
                pass

    def _begin_anew(self) -> Iterator[Event]:
        """Yield the event so far where it is whole, and only its blank line is missing.

        By the standard the next line of data would belong to it, but JSON that is whole is spoilt
        by whatever follows.
        """
        if self._data and (self._data == [DONE] or _is_json("\n".join(self._data))):
            yield from self._dispatched()

    def _dispatched(self) -> Iterator[Event]:
        name, data = self._name, self._data
        self._name, self._data = "", []
        if data:
            yield Event(name, "\n".join(data), self._at_s)


def looks_like_events(begin: bytes, content_type: str = "") -> bool | None:
    """Return whether a body is a stream of events by how it begins; None where that is too little.

    The body outranks the header: JSON under `text/event-stream` is JSON, and events are events
    under any type.
    """
    begin = begin.removeprefix(codecs.BOM_UTF8).lstrip()
    if begin.startswith(_FIRST_WORDS):
        return True
    if any(word.startswith(begin) for word in (codecs.BOM_UTF8, *_FIRST_WORDS)):
        return None
    return "event-stream" in content_type and not begin.startswith((b"{", b"["))


def read_json(text: str) -> Any:
    """Return what a text of JSON holds.

    Raises:
        MalformedError: It is none, or is nested too deeply.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise MalformedError("an event that is nested too deeply") from None
    except ValueError:
        raise MalformedError("an event that is not JSON") from None


def _is_json(text: str) -> bool:
    try:
        read_json(text)
    except MalformedError:
        return False
    return True


_NO_JSON = object()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Piece:
    """A piece of a call: what it says of which call it belongs to, and what it adds.

    `value` is arguments that came as something else than text; then `text` is empty.
    """

    id: str | None
    index: int | None
    name: str
    text: str = ""
    value: Any = None

    @property
    def has_arguments(self) -> bool:
        return bool(self.text) or self.value is not None

    @property
    def arguments(self) -> Any:
        """What its arguments hold, taken for whole; also where they were encoded twice."""
        found = _read(self.text) if self.value is None else self.value
        return _read(found) if isinstance(found, str) else found


@dataclass(slots=True, kw_only=True, eq=False)
class _Call:
    id: str | None = None
    index: int | None = None
    name: str = ""
    texts: list[str] = field(default_factory=list)
    is_value: bool = False

    @property
    def text(self) -> str:
        if len(self.texts) > 1:
            self.texts = ["".join(self.texts)]
        return self.texts[0] if self.texts else ""

    @property
    def whole(self) -> Any:
        """The arguments so far where they are a whole object, else `_NO_JSON`.

        Nothing is read unless the last piece ends like an object, so that reading stays linear.
        """
        if not (self.texts and self.texts[-1].rstrip().endswith("}")):
            return _NO_JSON
        found = _read(self.text)
        return found if isinstance(found, dict) else _NO_JSON

    def repeats(self, piece: _Piece) -> bool:
        """Return whether a piece says all of the call's arguments once more."""
        if piece.value is None and not piece.text.lstrip().startswith(("{", '"')):
            return False
        whole = self.whole
        return whole is not _NO_JSON and bool(whole == piece.arguments)

    def grows_to(self, piece: _Piece) -> bool:
        """Return whether a piece of a call that is whole is no other call's whole arguments."""
        arguments = piece.arguments
        if not isinstance(arguments, dict):
            return True
        return self.is_value and bool(self.whole.items() <= arguments.items())


class StreamedCalls:
    """The calls of one reply, in the order in which they began."""

    def __init__(self) -> None:
        self._calls: list[_Call] = []
        self._by_id: dict[str, list[_Call]] = {}
        self._by_index: dict[int, _Call] = {}
        self._named_now: set[int] = set()

    def __bool__(self) -> bool:
        """Return whether any call has begun."""
        return bool(self._calls)

    def add(self, parts: object) -> bool:
        """Take in what one event holds of the calls; return whether it holds anything of one.

        Raises:
            MalformedError: It is no list of pieces, or cannot be put together with what came.
        """
        pieces = [_piece(part) for part in (parts if isinstance(parts, list) else [parts])]
        if self._is_summary(pieces):
            return False
        self._named_now.clear()
        for piece in pieces:
            if not (piece.id or piece.name or piece.has_arguments):
                continue
            call = self._target(piece)
            if call is None:
                call = _Call()
                self._calls.append(call)
            self._extend(call, piece)
        return bool(pieces)

    def whole(self) -> list[JsonObject]:
        """Return the calls as a reply that was not streamed has them.

        Raises:
            MalformedError: A call never got a name.
        """
        if any(not call.name for call in self._calls):
            raise MalformedError("a streamed tool call without a name")
        return [
            {
                **({} if call.id is None else {"id": call.id}),
                "type": "function",
                "function": {"name": call.name, "arguments": call.text},
            }
            for call in self._calls
        ]

    def _is_summary(self, pieces: list[_Piece]) -> bool:
        """Return whether an event says every call so far once more, whole."""
        return len(pieces) == len(self._calls) > 0 and all(
            piece.name in {"", call.name}
            and piece.id in {None, call.id}
            and piece.index in {None, call.index}
            and call.repeats(piece)
            for piece, call in zip(pieces, self._calls, strict=True)
        )

    def _target(self, piece: _Piece) -> _Call | None:
        """Return the call that a piece belongs to; None where it begins a new one."""
        if not self._calls:
            return None
        same = self._by_id.get(piece.id or "")
        found = self._near(piece) if same is None else _of_one_id(same, piece)
        return found if found is not None and self._goes_on(found, piece) else None

    def _near(self, piece: _Piece) -> _Call | None:
        """Return the call that a piece without an id, or with a new one, may go on with."""
        last = self._calls[-1]
        near = last if piece.index is None else self._by_index.get(piece.index)
        if piece.id is None:
            return last if near is None and not piece.name else near
        if near is None:
            return None
        if near.id is None:  # its id may come late
            return near if piece.name in {"", near.name} else None
        # Some servers make up an id for every piece: a call begins with its name.
        return near if piece.has_arguments and not piece.name else None

    def _goes_on(self, call: _Call, piece: _Piece) -> bool:
        """Return whether a piece may be of a call that its id or index points to."""
        if not piece.name or not call.name:
            return True
        same, whole = piece.id is not None and piece.id == call.id, call.whole is not _NO_JSON
        if id(call) in self._named_now and (whole or not same):
            return False  # two names in one event are two calls
        if not call.texts:
            return True  # the name once more, or its next piece
        if piece.name != call.name or not whole:
            return piece.name == call.name
        if not piece.has_arguments:
            return same  # a last piece that is empty, or the head of the next call
        return call.repeats(piece) or (same and call.grows_to(piece))

    def _extend(self, call: _Call, piece: _Piece) -> None:
        if call.id is None and piece.id is not None:
            call.id = piece.id
            self._by_id.setdefault(piece.id, []).append(call)
        if call.index is None and piece.index is not None:
            call.index = piece.index
        if call.index is not None:
            self._by_index[call.index] = call
        if piece.name:
            call.name = _name(call.name, piece.name)
            self._named_now.add(id(call))
        if piece.has_arguments and not call.repeats(piece):
            _extend_arguments(call, piece)


def _of_one_id(same: list[_Call], piece: _Piece) -> _Call | None:
    """Return which of the calls under a piece's id it belongs to: two indices are two calls."""
    if piece.index is None:
        return same[-1]
    at_index = [call for call in same if call.index in {piece.index, None}]
    if at_index:
        return at_index[-1]
    return None if piece.name else same[-1]


def _piece(part: object) -> _Piece:
    function = part.get("function") if isinstance(part, dict) else None
    if not isinstance(part, dict) or not isinstance(function, dict | None):
        raise MalformedError("a piece of a tool call that is no object")
    if function is None and not part.keys().isdisjoint({"name", "arguments"}):
        raise MalformedError("a piece of a tool call without a function")
    told = function or {}
    name, arguments = told.get("name"), told.get("arguments")
    if not isinstance(name, str | None):
        raise MalformedError("a streamed tool call whose name is no text")
    return _Piece(
        id=_id(part.get("id")),
        index=index_of(part.get("index")),
        name=name or "",
        text=arguments if isinstance(arguments, str) else "",
        value=None if isinstance(arguments, str) else arguments,
    )


def _id(value: object) -> str | None:
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    return value if isinstance(value, str) and value else None


def index_of(value: object) -> int | None:
    """Return an index as servers write it, as a number or its text; None where it is none."""
    match value:
        case bool():
            return None
        case int():
            return value
        case float():
            return int(value) if value.is_integer() else None
        case str():
            return int(value) if value.isascii() and value.isdigit() and len(value) < 10 else None  # noqa: PLR2004  an index
        case _:
            return None


def _name(known: str, piece: str) -> str:
    """Return a name with a piece of it; the same again, or all so far, is no further piece."""
    return piece if piece.startswith(known) else known + piece


def _extend_arguments(call: _Call, piece: _Piece) -> None:
    if piece.value is None and not call.is_value:
        call.texts.append(piece.text)
        return
    if piece.value is None or (call.texts and not call.is_value and call.text.strip() != "{}"):
        raise MalformedError("arguments of a tool call as an object and as text, which differ")
    call.texts = [json.dumps(piece.value, separators=(",", ":"), ensure_ascii=False)]
    call.is_value = True


def _read(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return _NO_JSON


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
            for key, value in fields.items():
                if value is not None:
                    found |= self._add_field(key, value, whole=name == "message")
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

    def _add_field(self, name: str, value: Any, *, whole: bool) -> bool:
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

    def _add_text(self, name: str, value: Any, *, whole: bool) -> bool:
        if name != "content":
            if isinstance(value, str):
                return self._append(name, value, whole=whole)
            self._others[name] = value  # an object of its own, which nobody shows
            return bool(value)
        found = False
        for place, text in content_texts(value):
            found |= self._append(place, text, whole=whole)
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
            place = REASONING[0] if kind in {"thinking", "reasoning"} else "content"
            inner = next((part[key] for key in _PART_TEXTS if key in part), "")
            found = content_texts(inner) if isinstance(inner, str | list) else []
            texts += [(place, text) for _, text in found]
    return texts
