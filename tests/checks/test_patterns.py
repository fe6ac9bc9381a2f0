"""Regular expressions are those of Python's `re`, whichever engine runs them."""

from __future__ import annotations

import re
import sys
import warnings
from unicodedata import category

import pytest
from hypothesis import given
from hypothesis import strategies as st

from matrixbench.checks.matchers import compile_pattern
from matrixbench.errors import CheckError

PIECES = ("a", "e", "[", "]", "[[", "[:alpha:]", "^", "{", "}", "{e}", "{e<=1}", "{1,2}", "{2}")
MORE_PIECES = (
    "{,1}",
    "{}",
    "\\[",
    "\\{",
    "\\N{DIGIT ONE}",
    "(?:",
    ")",
    "|",
    "-",
    "<",
    "=",
    "1",
    ":",
)


def spans(search: object) -> tuple[int, int] | None:
    """Return where a search found something."""
    return search.span() if search is not None else None  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("(?:foo){e<=1}", "fo"),
        ("a{e}", "a{e}"),
        ("[[:alpha:]]", "z"),
        ("[[:alpha:]]", "a]"),
        ("[]{]{e}", "]{e}"),
        (r"\N{DIGIT ONE}{2}", "11"),
        ("x{}", "x{}"),
        ("[^]a]", "]b"),
    ],
)
def test_signs_that_only_the_engine_knows_are_characters(pattern: str, text: str) -> None:
    """A brace that is no count and a bracket in a set mean themselves, as in `re`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        expected = re.search(pattern, text)
    assert spans(compile_pattern(pattern, 0, "").search(text)) == spans(expected)


@given(
    st.lists(st.sampled_from(PIECES + MORE_PIECES), min_size=1, max_size=6).map("".join),
    st.text("ae[]{}:1<=-lph", max_size=8),
)
def test_any_pattern_finds_what_re_finds(pattern: str, text: str) -> None:
    """Both engines agree on whether and where a pattern is found."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        try:
            expected = re.search(pattern, text)
        except (re.error, ValueError):
            with pytest.raises(CheckError):
                compile_pattern(pattern, 0, "")
            return
        assert spans(compile_pattern(pattern, 0, "").search(text)) == spans(expected)


def test_flags_that_exclude_each_other_are_told() -> None:
    """`re` has another error for them than for everything else."""
    with pytest.raises(CheckError, match="is no regular expression: ASCII and UNICODE"):
        compile_pattern("(?a)(?u)x", 0, "")


SIGNS = "".join(
    sign for sign in map(chr, range(sys.maxunicode + 1)) if category(sign) not in {"Cn", "Cs"}
)
"""Every character that this Python knows."""


@pytest.mark.parametrize(
    "pattern",
    [r"\w", r"\W", r"\s", r"\S", r"\d", r"\D", r"[\w]", r"[\W]", r"[^\w]", r"[\s.]", r"(?a)\w"],
)
def test_classes_hold_the_characters_that_they_hold_in_re(pattern: str) -> None:
    """All of Unicode: a superscript two is a sign of a word, a combining accent is none."""
    ours = [found.start() for found in compile_pattern(pattern, 0, "").finditer(SIGNS)]
    assert ours == [found.start() for found in re.finditer(pattern, SIGNS)]


@pytest.mark.parametrize("text", ["0.5²", "0.5½", "0.5٣", "0.5_", "0.5 ", "0.5", "0.5é", "0.5́"])
@pytest.mark.parametrize("pattern", [r"\b0\.5(?:\b|6\b|56)", r"5\B", r"(?a)5\b"])
def test_words_end_where_they_end_in_re(pattern: str, text: str) -> None:
    """So the verdict of `calc-result` is llama.cpp's, whatever stands behind the number."""
    ours = compile_pattern(pattern, 0, "").search(text)
    assert spans(ours) == spans(re.search(pattern, text))


@pytest.mark.parametrize(
    "pattern",
    ["((((a{99}){99}){99}){99})", r"(?:[(]{9999}\(){9999}", "(a{9999,}){9999}", "a{9999999}"],
)
def test_a_pattern_that_grows_too_large_is_refused(pattern: str) -> None:
    """Before its counts are written out, which took gigabytes."""
    with pytest.raises(CheckError, match="more than 500,000"):
        compile_pattern(pattern, 0, "")


@pytest.mark.parametrize("pattern", ["a{99999}", "(?:ab){50000}", "((a{0,99}){0,99}){0,99}"])
def test_a_pattern_of_many_parts_is_no_mistake(pattern: str) -> None:
    """What need not be there does not count."""
    assert compile_pattern(pattern, 0, "").search("") is None or "0" in pattern
