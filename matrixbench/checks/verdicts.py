"""What every check hands back, and how a yes and a no are said."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from matrixbench.checks.excerpt import one_line
from matrixbench.records import ChatReply, Kind, Verdict

Rule: TypeAlias = Callable[[ChatReply], Verdict]
"""A compiled check that looks at the reply alone: a pure function from it to a verdict."""

Reference: TypeAlias = Callable[[str], ChatReply]
"""Returns the reply that a `same_as` with these axes (as canonical JSON) compares with; raises
`UnjudgeableError` where there is none."""

Judging: TypeAlias = Callable[[ChatReply, Reference], Verdict]
"""Any compiled check: a pure function from a reply, and those it may be compared with."""


class UnjudgeableError(Exception):
    """A check cannot say yes or no of a reply: its trial is `errored`, and counts for neither.

    Args:
        kind: What is missing.
        reason: One line for people.
    """

    def __init__(self, kind: Kind, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind
        self.reason = reason


class FaultError(Exception):
    """A shipped check stumbled over a reply: that is a no, also where it stands under a `not`.

    A model must not leave the count by what it writes, and what nobody could look at is no proof of
    the opposite.

    Args:
        kind: The kind of the check's own no.
        reason: One line for people.
    """

    def __init__(self, kind: Kind, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind
        self.reason = one_line(reason)


def yes(check: str, score: float | None = None) -> Verdict:
    """Return the verdict of a check that passed; rules make it once and hand it out again."""
    return Verdict(check=check, passed=True, score=score)


def no(check: str, kind: Kind, reason: str, score: float | None = None) -> Verdict:
    """Return the verdict of a check that failed; the reason is made one short line."""
    return Verdict(check=check, passed=False, kind=kind, reason=one_line(reason), score=score)
