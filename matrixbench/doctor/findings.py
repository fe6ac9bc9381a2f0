"""What an examination comes to."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARNING = "warning"
    """Something is missing that may not be needed, or is about to run short."""
    PROBLEM = "problem"
    """A run would stop here, or lose a launch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at.

    Args:
        level: How bad it is.
        what: What was looked at.
        found: What is there.
        todo: What to do next; empty where there is nothing to be done.
    """

    level: Level
    what: str
    found: str
    todo: str = ""


def ok(what: str, found: str) -> Finding:
    """Return that something is as it should be."""
    return Finding(level=Level.OK, what=what, found=found)


def warning(what: str, found: str, todo: str) -> Finding:
    """Return that something may be missed."""
    return Finding(level=Level.WARNING, what=what, found=found, todo=todo)


def problem(what: str, found: str, todo: str) -> Finding:
    """Return that a run would stop at something."""
    return Finding(level=Level.PROBLEM, what=what, found=found, todo=todo)


def size(count_bytes: int) -> str:
    """Return a size as people say it: `40 kB`, `812 MB`, `4.7 GB` (powers of ten)."""
    for bound, unit in ((1e6, "kB"), (1e9, "MB")):
        if count_bytes < bound:
            return f"{count_bytes / (bound / 1000):.0f} {unit}"
    return f"{count_bytes / 1e9:.1f} GB"
