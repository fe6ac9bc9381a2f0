"""How values of axes are written for people, and how they match what a file or a user names."""

from __future__ import annotations

from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Any

from matrixbench.identity import canonical_json
from matrixbench.spec.grid import is_file_mark

_BARE = frozenset({"backend", "binary", "model", "chat_template", "test", "build"})
"""Axes whose values speak for themselves."""


class Several(tuple[str, ...]):
    """What a test has several of at once, its tags: it is matched where one of them is."""

    __slots__ = ()


def label(value: object) -> str:
    """Return an axis value as people read it: text bare, null as `null`, the rest as JSON."""
    match value:
        case str():
            return value
        case None | bool() | int() | float():
            return _scalar(value)
        case {"file": str(text)} if is_file_mark(value):
            return text
        case _:
            return canonical_json(value)  # type: ignore[arg-type]  # values come from YAML


def beside(axis: str, text: str) -> str:
    """Return a value's text as it stands beside others: behind its axis' name where it needs it.

    `native` speaks for itself, 0.7 does not: `temperature=0.7`.
    """
    return text if axis in _BARE else f"{axis.split('.', 1)[-1]}={text}"


@lru_cache(maxsize=4096, typed=True)
def _scalar(value: float | None) -> str:
    """Return a number, a boolean or null as JSON; a matrix asks for few of them very often."""
    return canonical_json(value)


def same(left: object, right: object) -> bool:
    """Return whether two axis values are the same value: 1 is 1.0, but `true` is not 1."""
    if isinstance(left, bool) is not isinstance(right, bool):
        return False
    return bool(left == right)


def is_glob(pattern: object) -> bool:
    """Return whether a named value is a glob."""
    return isinstance(pattern, str) and any(char in pattern for char in "*?[")


def matches(pattern: Any, value: object) -> bool:  # noqa: ANN401  YAML data
    """Return whether a value is what an `exclude` entry or a user names.

    A list means any of its items; `{value: X}` means X itself, also where X is a list; text may be
    a glob and is compared with the value's label. Of several values at once, one must match.
    """
    if isinstance(value, Several):
        return any(matches(pattern, item) for item in value)
    match pattern:
        case {"value": literal} if len(pattern) == 1:
            return same(literal, value)
        case list() | tuple():
            return any(matches(item, value) for item in pattern)
        case str():
            text = label(value)
            return pattern == text or (is_glob(pattern) and fnmatchcase(text, pattern))
        case _:
            return same(pattern, value)
