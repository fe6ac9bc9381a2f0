"""What every check hands back, and how a yes and a no are said."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from matrixbench.checks.excerpt import one_line
from matrixbench.records import ChatReply, Kind, Verdict

Rule: TypeAlias = Callable[[ChatReply], Verdict]
"""A compiled check: a pure function from a reply to a verdict."""


def yes(check: str) -> Verdict:
    """Return the verdict of a check that passed; rules make it once and hand it out again."""
    return Verdict(check=check, passed=True)


def no(check: str, kind: Kind, reason: str) -> Verdict:
    """Return the verdict of a check that failed; the reason is made one short line."""
    return Verdict(check=check, passed=False, kind=kind, reason=one_line(reason))
