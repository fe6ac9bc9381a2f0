"""How values are shown in a reason."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from matrixbench.checks.verdicts import one_line, shorten, shown

ANY_TEXT = st.text(st.characters(exclude_categories=()))


def test_a_long_text_keeps_its_beginning_and_its_end() -> None:
    """What was left out is marked by one sign."""
    assert shorten("abcdefghijkl", 9) == "abcde…jkl"


def test_a_text_that_fits_is_left_alone() -> None:
    """Nothing is marked where nothing was left out."""
    assert shorten("abc", 3) == "abc"


def test_what_a_terminal_would_obey_is_escaped() -> None:
    """Colours, line breaks and direction overrides are shown, not done."""
    assert one_line("a\x1b[31m\n\u202eb") == "a\\x1b[31m\\n\\u202eb"


@given(ANY_TEXT, st.integers(6, 200))
def test_every_line_can_be_printed_and_stored(text: str, limit: int) -> None:
    """Whatever a model writes, the line is short, printable and valid UTF-8."""
    for line in (one_line(text, limit), shown(text, limit), shown({"x": text}, limit)):
        assert len(line) <= limit
        assert line.isprintable()
        assert line.encode().decode() == line
