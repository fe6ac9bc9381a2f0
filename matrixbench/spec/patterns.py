"""Regular expressions of Python's `re` that end: searched by `regex`, which can be given a time."""

from __future__ import annotations

import re
import warnings
from typing import TYPE_CHECKING

import regex

if TYPE_CHECKING:
    from collections.abc import Mapping

MOST_PARTS = 500_000
"""How large a pattern may be once its counts are written out, as `regex` does: some 150 MB."""

REGEX_TIMEOUT_S = 1.0
"""How long one search may take; beyond it a check says no."""

_SIGN = re.compile(
    r"(?P<kept>\\N\{[^}]*\}|\\.|\{(?!\})\d*,?\d*\})"
    r"|(?P<set>\[\^?\]?(?:\\.|[^\]\\])*\])"
    r"|\{",
    re.DOTALL,
)
"""An escape or a count; a set; or a brace that means itself."""

_WORD, _SPACE = r"\p{L}\p{N}_", r"\s\x1c-\x1f"
"""What `re` takes for a sign of a word (`str.isalnum`), and for a blank (`str.isspace`). To `regex`
`²` is none, so that it finds `5\\b` in `0.5²`, and a combining accent is one."""

_NO_WORD = (
    r"\p{M}\p{S}\p{Z}\p{C}\p{Pd}\p{Ps}\p{Pe}\p{Pi}\p{Pf}\p{Po}"
    r"\u203f\u2040\u2054\ufe33\ufe34\ufe4d-\ufe4f\uff3f"
)
"""All others, for a set, which cannot hold a negated one; the last join words, as `_` does."""

_BEFORE, _AFTER = f"(?<=[{_WORD}])", f"(?=[{_WORD}])"
_NOT_BEFORE, _NOT_AFTER = f"(?<![{_WORD}])", f"(?![{_WORD}])"
_CLASSES = {
    r"\w": f"[{_WORD}]",
    r"\W": f"[^{_WORD}]",
    r"\s": f"[{_SPACE}]",
    r"\S": f"[^{_SPACE}]",
    r"\b": f"(?:{_BEFORE}{_NOT_AFTER}|{_NOT_BEFORE}{_AFTER})",
    r"\B": f"(?:{_BEFORE}{_AFTER}|{_NOT_BEFORE}{_NOT_AFTER})",
}
_CLASSES_IN_SETS = {r"\w": _WORD, r"\W": _NO_WORD, r"\s": _SPACE}


class PatternError(ValueError):
    """It is no regular expression, or too large; says why."""


def compiled(pattern: str, flags: int = 0) -> regex.Pattern[str]:
    """Return a pattern of `re`, ready to be searched with a time limit.

    Raises:
        PatternError: It is none, or grows too large.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # «possible nested set» is no mistake
            ascii_only = bool(re.compile(pattern, flags).flags & re.ASCII)
            if (parts := _written_out(pattern)) > MOST_PARTS:
                raise PatternError(
                    f"its counts make {_large(parts)} parts of it, more than {MOST_PARTS:,}"
                )
            meant = as_regex(pattern, ascii_only=ascii_only)
            return regex.compile(meant, flags | regex.VERSION0)
    except (re.error, regex.error, ValueError, OverflowError, RecursionError) as error:
        raise PatternError(str(error)) from error


_PART = re.compile(
    r"(?P<open>\((?!\?\#))|(?P<close>\))|\{(?P<least>\d*)(?:,\d*)?\}"
    r"|\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\(\?\#[^)]*\)|.",
    re.DOTALL,
)
"""A bracket that opens or closes a group; a count; or anything else that is one part."""


def _written_out(pattern: str) -> int:
    """Return of how many parts a pattern consists once each is written as often as it must be."""
    outer: list[tuple[int, int]] = []
    parts, last = 0, 0
    for found in _PART.finditer(pattern):
        if found["open"]:
            outer.append((parts, last))
            parts, last = 0, 0
        elif found["close"] and outer:
            group = parts + 1
            parts = outer.pop()[0] + group
            last = group
        elif found["least"] is not None:
            times = int(found["least"] or 0)
            parts += last * (times - 1) if times > 1 else 0
            last *= max(times, 1)
        else:
            parts, last = parts + 1, 1
    return parts


def _large(number: int) -> str:
    return f"{number:,}" if number < 10**12 else "over 10¹²"


def as_regex(pattern: str, *, ascii_only: bool = False) -> str:
    """Return a pattern of `re` so that `regex` takes it for the same.

    To `re` a brace that is no count and a bracket within a set are characters like any other; to
    `regex` they may begin a fuzzy match (`a{e<=1}`) and a class (`[[:alpha:]]`). The two differ
    in what a sign of a word and a blank is, too.

    Args:
        ascii_only: Whether it is one of ASCII (`(?a)`), where both agree on words.
    """
    return _SIGN.sub(lambda found: _as_regex(found, ascii_only=ascii_only), pattern)


def _as_regex(found: re.Match[str], *, ascii_only: bool) -> str:
    text = found[0]
    outside: Mapping[str, str] = {} if ascii_only else _CLASSES
    inside: Mapping[str, str] = {} if ascii_only else _CLASSES_IN_SETS
    if found["set"]:

        def sign(one: re.Match[str]) -> str:
            return inside.get(one[1], one[1]) if one[1] else r"\["

        return "[" + re.sub(r"(\\.)|\[", sign, text[1:], flags=re.DOTALL)
    if found["kept"]:
        return outside.get(text, text)
    return rf"\{text}"
