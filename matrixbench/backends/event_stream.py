"""Bytes of a stream → its events, as they come over the network. Pure.

Server-sent events as the HTML standard has them (section 9.2.6), and what servers make of them:
events without a blank line between them, a last one that none ends, errors in a field of their own.
"""

from __future__ import annotations

import codecs
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

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


def read_json(text: str) -> Any:  # noqa: ANN401  JSON from outside
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
