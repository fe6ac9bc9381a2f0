"""Short, safe, one-line views of what a model wrote, for the reasons of verdicts."""

from __future__ import annotations

import json
from typing import Any

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


def shown(value: Any, limit: int = FOUND_CHARS) -> str:  # noqa: ANN401  any JSON value
    """Return a JSON value as one short line of JSON text."""
    if isinstance(value, str) and len(value) > limit:
        # Only the ends are seen: the middle of a long reply is not worth escaping.
        value = f"{value[:limit]}{value[-limit:]}" if len(value) > 2 * limit else value
    return one_line(_json(value, limit), limit)


def as_text(value: object) -> str:
    """Return a text as it is, and what should have been one as JSON."""
    return value if isinstance(value, str) else shown(value)


def _json(value: Any, limit: int) -> str:  # noqa: ANN401  any JSON value
    try:
        return json.dumps(value, ensure_ascii=False, default=str)
    except RecursionError:  # nested deeply: its end is not worth the way there
        pieces = json.JSONEncoder(ensure_ascii=False, default=str).iterencode(value)
        beginning = ""
        for piece in pieces:
            beginning += piece
            if len(beginning) > limit:
                break
        return f"{beginning}…"
