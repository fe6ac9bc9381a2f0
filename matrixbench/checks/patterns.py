"""Regular expressions: Python's own language, in an engine that can be stopped."""

from __future__ import annotations

import re
import warnings
from functools import lru_cache
from typing import TYPE_CHECKING

import regex

from matrixbench.checks.excerpt import one_line
from matrixbench.errors import CheckError

if TYPE_CHECKING:
    from collections.abc import Mapping

REGEX_TIMEOUT_S = 1.0
"""How long one search may take; beyond it the check says no."""

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


def compile_pattern(pattern: str, flags: int, where: str) -> regex.Pattern[str]:
    """Compile a pattern of `re` with `regex`, whose searches can be given a time limit.

    A pattern that backtracks without end would else hold up the run, and no signal would end it.

    Raises:
        CheckError: It is no regular expression.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # «possible nested set» is no mistake
            ascii_only = bool(re.compile(pattern, flags).flags & re.ASCII)
            meant = as_regex(pattern, ascii_only=ascii_only)
            return regex.compile(meant, flags | regex.VERSION0)
    except (re.error, regex.error, ValueError, OverflowError, RecursionError) as error:
        raise CheckError(
            f"{one_line(pattern)} is no regular expression: {error}",
            where=where.lstrip("."),
            hint="Patterns are those of Python's re module.",
        ) from error


def found_in(pattern: str, text: str) -> bool:
    """Return whether a pattern is found in a text.

    Raises:
        TimeoutError: It takes too long to say.
    """
    return _compiled(pattern).search(text, timeout=REGEX_TIMEOUT_S) is not None


@lru_cache(maxsize=256)
def _compiled(pattern: str) -> regex.Pattern[str]:
    return compile_pattern(pattern, 0, "")


def as_regex(pattern: str, *, ascii_only: bool = False) -> str:
    """Return a pattern of `re` so that `regex` takes it for the same.

    To `re` a brace that is no count and a bracket within a set are characters like any other; to
    `regex` they may begin a fuzzy match (`a{e<=1}`) and a class (`[[:alpha:]]`). The two differ
    in what a sign of a word and a blank is, too.

    Args:
        pattern: The pattern.
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
