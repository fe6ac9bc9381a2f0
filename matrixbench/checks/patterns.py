"""Regular expressions: Python's own language, in an engine that can be stopped."""

from __future__ import annotations

import re
import warnings
from functools import lru_cache

import regex

from matrixbench.checks.excerpt import one_line
from matrixbench.errors import CheckError

REGEX_TIMEOUT_S = 1.0
"""How long one search may take; beyond it the check says no."""

_SIGN = re.compile(
    r"(?P<kept>\\N\{[^}]*\}|\\.|\{(?!\})\d*,?\d*\})"
    r"|(?P<set>\[\^?\]?(?:\\.|[^\]\\])*\])"
    r"|\{",
    re.DOTALL,
)
"""An escape or a count; a set; or a brace that means itself."""


def compile_pattern(pattern: str, flags: int, where: str) -> regex.Pattern[str]:
    """Compile a pattern of `re` with `regex`, whose searches can be given a time limit.

    A pattern that backtracks without end would else hold up the run, and no signal would end it.

    Raises:
        CheckError: It is no regular expression.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # «possible nested set» is no mistake
            re.compile(pattern, flags)
            return regex.compile(as_regex(pattern), flags | regex.VERSION0)
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


def as_regex(pattern: str) -> str:
    """Return a pattern of `re` so that `regex` takes it for the same.

    To `re` a brace that is no count and a bracket within a set are characters like any other; to
    `regex` they may begin a fuzzy match (`a{e<=1}`) and a class (`[[:alpha:]]`).
    """
    return _SIGN.sub(_as_regex, pattern)


def _as_regex(found: re.Match[str]) -> str:
    text = found[0]
    if found["set"]:
        return "[" + re.sub(r"(\\.)|\[", lambda sign: sign[1] or r"\[", text[1:], flags=re.DOTALL)
    return text if found["kept"] else rf"\{text}"
