"""Paths into JSON values, such as `a.b[0].c`: read, written and followed."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Sequence

Step: TypeAlias = str | int
"""A name in an object, or a place in a list."""

_STEP = re.compile(
    r"""
      (?P<dot>\.)?(?P<name>[^.\[\]'"\s$]+)
    | \[(?P<index>-?[0-9]{1,9})\]
    | \['(?P<single>[^']*)'\]
    | \["(?P<double>[^"]*)"\]
    """,
    re.VERBOSE,
)


class ValuePathError(ValueError):
    """A text that is no path, and why."""


class Nowhere:
    """What stands at a path that leads nowhere.

    Args:
        at: The part of the path that is there.
        step: The step that is not.
        found: What stands where the way ends.
    """

    __slots__ = ("at", "found", "step")

    def __init__(self, at: Sequence[Step], step: Step, found: Any) -> None:
        self.at = at
        self.step = step
        self.found = found


def parse_path(text: str) -> tuple[Step, ...]:
    """Return the steps of a path; none for the whole value.

    Raises:
        ValuePathError: The text is no path.
    """
    steps: list[Step] = []
    at = 1 if text.startswith("$") else 0
    if not text:
        raise ValuePathError("an empty path; the whole value is $")
    while at < len(text):
        found = _STEP.match(text, at)
        # A dot parts a name from what is before it: it must be there, and not at the beginning.
        if found is None or (found["name"] is not None and bool(found["dot"]) is (at == 0)):
            raise ValuePathError(f"no path from {text[at:][:20]!r} on")
        steps.append(_step(found))
        at = found.end()
    return tuple(steps)


def _step(found: re.Match[str]) -> Step:
    match found.lastgroup:
        case "index":
            return int(found["index"])
        case "name" | "single" | "double" as group:
            return found[group]
        case _:
            raise ValuePathError(f"no step: {found[0]!r}")


def write_path(steps: Sequence[Step]) -> str:
    """Return a path as text; what `parse_path` reads back."""
    text = ""
    for step in steps:
        if isinstance(step, int):
            text += f"[{step}]"
        elif (plain := _STEP.fullmatch(step)) and plain["name"] and not plain["dot"]:
            text += f".{step}" if text else step
        else:
            text += f'["{step}"]' if "'" in step else f"['{step}']"
    return text or "$"


def look_up(value: Any, steps: Sequence[Step]) -> Any | Nowhere:
    """Return what stands at a path of a JSON value, or `Nowhere`."""
    for place, step in enumerate(steps):
        match step, value:
            case str(), dict() if step in value:
                value = value[step]
            case int(), list() if -len(value) <= step < len(value):
                value = value[step]
            case _:
                return Nowhere(steps[:place], step, value)
    return value
