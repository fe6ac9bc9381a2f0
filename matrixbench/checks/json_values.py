"""JSON that a model wrote: read and compared without a limit to its depth."""

from __future__ import annotations

import json
import re
from typing import Any, TypeAlias

Parsed: TypeAlias = Any
"""Any JSON value."""

_SPACE = re.compile(r"[ \t\n\r]*")


def read_json(text: str, *, constants: bool) -> Parsed:
    """Return the JSON value that a text is, with nothing but white space around it.

    Args:
        constants: Whether `NaN`, `Infinity` and `-Infinity`, which JSON lacks, are let through.

    Raises:
        ValueError: It is none.
    """
    decoder = _LENIENT if constants else _STRICT
    try:
        return decoder.decode(text)
    except RecursionError:
        return _DeepReader(text, decoder).read()


def _refuse_constant(name: str) -> Parsed:
    raise ValueError(f"{name} is not JSON")


def _whole(digits: str) -> int:
    try:
        return int(digits)
    except ValueError:  # Python's own words are advice for programmers
        raise ValueError(f"a whole number of {len(digits):,} digits is too long") from None


_LENIENT = json.JSONDecoder(parse_int=_whole)
_STRICT = json.JSONDecoder(parse_int=_whole, parse_constant=_refuse_constant)


class _DeepReader:
    """Reads JSON with a stack of its own; only what is nested deeply is read by it."""

    def __init__(self, text: str, decoder: json.JSONDecoder) -> None:
        self._text = text
        self._decoder = decoder
        self._at = 0
        self._root: list[Parsed] = []
        self._holders: list[list[Parsed] | dict[str, Parsed]] = [self._root]
        self._key = ""

    def read(self) -> Parsed:
        """Return the value."""
        while self._value_then_more():
            pass
        if self._next():
            raise self._error("extra data")
        return self._root[0]

    def _value_then_more(self) -> bool:
        """Read one value up to the next one's beginning; return whether there is one."""
        sign = self._next()
        value: Parsed
        if sign in {"[", "{"}:
            self._at += 1
            value = [] if sign == "[" else {}
        else:
            value, self._at = self._decoder.raw_decode(self._text, self._at)
        holder = self._holders[-1]
        if isinstance(holder, dict):
            holder[self._key] = value
        else:
            holder.append(value)
        if sign in {"[", "{"}:
            self._holders.append(value)
            if self._next() != ("]" if sign == "[" else "}"):
                self._begin_entry()
                return True
        return self._is_more()

    def _is_more(self) -> bool:
        """Close what ends here; return whether an open list or object goes on."""
        while len(self._holders) > 1:
            sign = self._next()
            self._at += 1
            if sign == ("}" if isinstance(self._holders[-1], dict) else "]"):
                self._holders.pop()
            elif sign == ",":
                self._begin_entry()
                return True
            else:
                raise self._error("a comma or an end is missing")
        return False

    def _begin_entry(self) -> None:
        """Read the key of an object's entry; an item of a list has none."""
        if not isinstance(self._holders[-1], dict):
            return
        if self._next() != '"':
            raise self._error("a name in quotes is missing")
        self._key, self._at = self._decoder.raw_decode(self._text, self._at)
        if self._next() != ":":
            raise self._error("a colon is missing")
        self._at += 1

    def _next(self) -> str:
        """Pass over white space and return the sign behind it; empty at the end."""
        if (space := _SPACE.match(self._text, self._at)) is not None:
            self._at = space.end()
        return self._text[self._at : self._at + 1]

    def _error(self, what: str) -> ValueError:
        return json.JSONDecodeError(what, self._text, self._at)


Value: TypeAlias = Any
"""Any JSON value."""


def json_equal(left: Value, right: Value) -> bool:
    """Return whether two JSON values are equal: 1 is 1.0, but true is not 1."""
    pairs = [(left, right)]
    while pairs:
        one, other = pairs.pop()
        match one, other:
            case dict(), dict():
                if one.keys() != other.keys():
                    return False
                pairs += [(item, other[key]) for key, item in one.items()]
            case list() | tuple(), list() | tuple():
                if len(one) != len(other):
                    return False
                pairs += zip(one, other, strict=True)
            case _:
                if not _same_scalar(one, other):
                    return False
    return True


def _same_scalar(left: Value, right: Value) -> bool:
    if isinstance(left, bool) or isinstance(right, bool) or left is None or right is None:
        return left is right
    return bool(left == right)


def has_equal_items(items: list[Value]) -> bool:
    """Return whether two items of a list are equal, in a time that grows with their size only."""
    forms = _Forms()
    known = [forms.of(item) for item in items]
    return len(set(known)) < len(known)


class _Forms:
    """Numbers that stand for values: equal values have one, others another."""

    def __init__(self) -> None:
        self._numbers: dict[object, int] = {}

    def of(self, value: Value) -> int:
        """Return a value's number. Parts come before what they are part of, without recursion."""
        done: list[int] = []
        waiting: list[tuple[Value, bool]] = [(value, False)]
        while waiting:
            one, parts_done = waiting.pop()
            parts = _parts(one)
            if parts and not parts_done:
                waiting.append((one, True))
                waiting += [(part, False) for part in parts]
                continue
            numbers = [done.pop() for _ in parts]  # the last part was done first: in order again
            done.append(self._number(one, numbers))
        return done[0]

    def _number(self, value: Value, parts: list[int]) -> int:
        form: object
        match value:
            case dict():
                form = dict, frozenset(zip(value, parts, strict=True))
            case list():
                form = list, tuple(parts)
            case bool() | None | str():
                form = type(value), value
            case _:
                form = float, value
        return self._numbers.setdefault(form, len(self._numbers))


def _parts(value: Value) -> list[Value]:
    match value:
        case dict():
            return list(value.values())
        case list():
            return value
        case _:
            return []
