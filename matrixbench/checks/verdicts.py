"""What every check hands back, and short, safe views of what a model wrote."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TypeAlias

from matrixbench.records import ChatReply, Kind, Verdict

REASON_CHARS = 120
"""How long a reason may be."""

EXPECTED_CHARS = 44
"""How much of a reason is given to what was expected."""

FOUND_CHARS = 44
"""How much of a reason is given to what was found."""


def shorten(text: str, limit: int) -> str:
    """Return a text of at most `limit` characters: its beginning and its end, `…` between them."""
    if len(text) <= limit:
        return text
    tail = limit // 3
    return f"{text[: limit - tail - 1]}…{text[-tail:]}"


def one_line(text: str, limit: int = REASON_CHARS) -> str:
    """Return a text shortened, with every character that is not printable written as an escape.

    What is returned holds no line break, no terminal control, no direction override and no lone
    surrogate, so it can be printed and stored; the escapes count towards the limit.
    """
    short = shorten(text, limit)
    if short.isprintable():
        return short
    return shorten("".join(_visible(character) for character in short), limit)


def _visible(character: str) -> str:
    return character if character.isprintable() else character.encode("unicode_escape").decode()


def shown(value: Any, limit: int = FOUND_CHARS) -> str:
    """Return a JSON value as one short line of JSON text."""
    if isinstance(value, str) and len(value) > limit:
        # Only the ends are seen: the middle of a long reply is not worth escaping.
        value = f"{value[:limit]}{value[-limit:]}" if len(value) > 2 * limit else value
    return one_line(_json(value, limit), limit)


def as_text(value: object) -> str:
    """Return a text as it is, and what should have been one as JSON."""
    return value if isinstance(value, str) else shown(value)


class NotJsonError(TypeError):
    """A reply holds what no server can send: the fault is in this program, and not the model's."""


def _refuse(value: object) -> str:
    raise NotJsonError(f"a reply holds an object of type {type(value).__name__}")


def _json(value: Any, limit: int) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, default=_refuse)
    except RecursionError:  # nested deeply: its end is not worth the way there
        pieces = json.JSONEncoder(ensure_ascii=False, default=_refuse).iterencode(value)
        beginning = ""
        for piece in pieces:
            beginning += piece
            if len(beginning) > limit:
                break
        return f"{beginning}…"


Rule: TypeAlias = Callable[[ChatReply], Verdict]
"""A compiled check that looks at the reply alone: a pure function from it to a verdict."""

Reference: TypeAlias = Callable[[str], ChatReply]
"""Returns the reply that a `same_as` with these axes (as canonical JSON) compares with; raises
`UnjudgeableError` where there is none."""

Judging: TypeAlias = Callable[[ChatReply, Reference], Verdict]
"""Any compiled check: a pure function from a reply, and those it may be compared with."""


class UnjudgeableError(Exception):
    """A check cannot say yes or no of a reply: its trial is `errored`, and counts for neither."""

    def __init__(self, kind: Kind, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind
        self.reason = reason


class FaultError(Exception):
    """A shipped check stumbled over a reply: that is a no, also where it stands under a `not`.

    A model must not leave the count by what it writes, and what nobody could look at is no proof of
    the opposite.
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
