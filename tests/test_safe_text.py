"""Text that is safe for where it goes, and stays what it says."""

from __future__ import annotations

import csv
import io
import json
import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from matrixbench.safe_text import (
    ESCAPES,
    all_for_picture,
    for_csv,
    for_json,
    for_line,
    for_markdown,
    for_picture,
    for_terminal,
    visible,
)

ANY_TEXT = st.text(st.characters(codec=None), max_size=40)
EVERY_SIGN = "".join(map(chr, range(0x110000)))
JOINERS = "\u200c\u200d"


def unsafe(text: str, kept: str = "") -> list[str]:
    """Return the signs in a text that something may obey, and those that are none."""
    return [
        sign
        for sign in text
        if sign not in kept
        and (
            unicodedata.category(sign) in {"Cc", "Cs", "Zl", "Zp"}
            or unicodedata.bidirectional(sign)
            in {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
            or ord(sign) & 0xFFFE == 0xFFFE
        )
    ]


def test_no_sign_of_all_gets_through() -> None:
    """Of every character there is, none that a terminal, XML or a line reader obeys is left."""
    assert not unsafe(for_terminal(EVERY_SIGN), kept="\n\t")
    assert not unsafe(visible(EVERY_SIGN), kept="\n\t")
    assert not unsafe(for_csv(EVERY_SIGN), kept="\n\t")
    for safe in (for_line, for_picture, for_markdown):
        assert not unsafe(safe(EVERY_SIGN))
    assert not unsafe(for_json(json.dumps(EVERY_SIGN, ensure_ascii=False)))


def test_letters_of_all_languages_stay() -> None:
    """Only what cannot be shown is escaped: no accent, emoji or blank is."""
    text = "Überraschung · 東京 · नमस्ते · می\u200cخواهم · 👩\u200d🔬 · 1\u00a0000 «x»"
    assert for_terminal(text) == for_line(text) == for_picture(text) == for_csv(text) == text
    assert for_terminal("\x1b[31m\u202e\ufffe") == "\\x1b[31m\\u202e\\ufffe"


@given(ANY_TEXT)
def test_json_stays_the_same_json(text: str) -> None:
    """What a program reads is what was written, half surrogates included, and lines stay whole."""
    written = for_json(json.dumps({text: [text]}, ensure_ascii=False))
    assert json.loads(written) == {text: [text]}
    assert len(written.splitlines()) == 1
    assert written.encode()


@given(ANY_TEXT)
def test_a_cell_is_no_formula_and_one_cell(text: str) -> None:
    """A spreadsheet reads one cell, and computes nothing in it."""
    line = io.StringIO()
    csv.writer(line).writerow([for_csv(text), "end"])
    rows = list(csv.reader(io.StringIO(line.getvalue(), newline="")))
    assert rows == [[for_csv(text), "end"]]
    assert not for_csv(text).lstrip(" \u00a0").startswith(("=", "+", "-", "@", "\t", "\r"))


def test_formulas_get_an_apostrophe() -> None:
    """So does what spreadsheets take for one after blanks, or in full width."""
    for text in ("=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", " =1", "\uff1d1", "\n=1"):
        assert for_csv(text).startswith("'")
    assert for_csv("a=1") == "a=1"


@given(ANY_TEXT)
def test_any_stream_takes_any_text(text: str) -> None:
    """An encoding without the signs gets JSON's escapes, which stay JSON in JSON."""
    written = json.dumps([text], ensure_ascii=False)
    for encoding in ("ascii", "latin-1", "utf-8"):
        assert json.loads(written.encode(encoding, ESCAPES).decode(encoding)) == [text]


@given(st.recursive(ANY_TEXT, lambda parts: st.lists(parts) | st.dictionaries(ANY_TEXT, parts)))
def test_all_of_a_pictures_data_is_safe(data: object) -> None:
    """However deep a text lies, and also where it is a key."""
    assert not unsafe(json.dumps(all_for_picture(data), ensure_ascii=False))
