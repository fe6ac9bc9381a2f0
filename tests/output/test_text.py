"""What is printed for people."""

from __future__ import annotations

from io import StringIO
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from matrixbench.output.text import Column, console, print_table, prose, shared_parts, wrapped
from matrixbench.plan.matrix import build_matrix

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pytest

    from tests.conftest import Load

WORDS = st.text("abcdefgh-=東", min_size=1, max_size=14)
NAMES = st.lists(WORDS, min_size=1, max_size=4).map(" · ".join)
FIGURES = st.from_regex(r"[0-9]{1,9}(\.[0-9]{2})?", fullmatch=True)
TABLES = st.integers(1, 5).flatmap(
    lambda rows: st.tuples(
        st.lists(NAMES, min_size=rows, max_size=rows),
        st.lists(st.lists(FIGURES, min_size=rows, max_size=rows), min_size=1, max_size=9),
    )
)


def test_no_terminal_obeys_what_a_file_says() -> None:
    """Control characters of a value are printed as escapes, in lines and in tables."""
    out = StringIO()
    printer = console(out)
    printer.print(Text("one \x1b[31mred\x9b2J\ttwo"), soft_wrap=True)
    table = Table("value")
    table.add_row(Text("a\x1b]0;title\x07"))
    printer.print(table)
    text = out.getvalue()
    assert "one \\x1b[31mred\\x9b2J" in text
    assert "a\\x1b]0;title" in text
    assert all(sign.isprintable() or sign == "\n" for sign in text)


def test_what_is_printable_is_printed_as_it_is() -> None:
    """Letters of all scripts, lines and colours stay."""
    out = StringIO()
    console(out).print(Text("größer 大 🙂\nnext"), style="bold")
    assert out.getvalue() == "größer 大 🙂\nnext\n"


def test_a_launch_is_named_without_control_characters(load: Load) -> None:
    """Its name stands in lines, in the live view and in a log file's name."""
    matrix = build_matrix(
        load(
            """
            name: x
            backends:
              s: {kind: llama-server, options: {override-kv: ["a\\e[2Jb", c]}}
            models: {m: {gguf: m.gguf}}
            tests: [{name: t, messages: [{role: user, content: hi}], expect: []}]
            """
        )
    )
    assert [group.launch.name for group in matrix.launches] == [
        "s · m · native · override-kv=a\\x1b[2Jb",
        "s · m · native · override-kv=c",
    ]


def drawn(
    names: Sequence[str], figures: Sequence[Sequence[str]], width: int
) -> tuple[str, list[Column]]:
    """Return a table of a width as text, and the columns that it left out; the first stays."""
    out = StringIO()
    printer = console(out)
    printer.width = width
    columns = [Column(f"c{place}", texts, drop=place) for place, texts in enumerate(figures)]
    left_out = print_table("name", names, columns, printer)
    return out.getvalue(), left_out


@given(TABLES, st.integers(20, 200))
def test_a_table_loses_no_figure_and_breaks_no_word(
    table: tuple[list[str], list[list[str]]], width: int
) -> None:
    """It is as wide as the terminal at most; what has no room is left out whole, and told."""
    names, figures = table
    text, left_out = drawn(names, figures, width)
    words = text.split()
    for place, texts in enumerate(figures):
        shown = f"c{place}" in words
        assert shown is (f"c{place}" not in {column.name for column in left_out})
        if shown:
            assert all(words.count(figure) >= texts.count(figure) for figure in texts)
    assert {word for name in names for word in name.split(" · ")} <= set(words)
    lines = [line for line in text.splitlines() if not line.startswith("all rows: ")]
    fits = max(map(cell_len, lines)) <= width
    assert fits or len(left_out) == len(figures) - 1


@given(NAMES, st.integers(4, 60))
def test_a_wrapped_name_is_the_same_name(name: str, width: int) -> None:
    """Its lines begin with no separator, and fit where their words do."""
    lines = wrapped(name, width)
    assert " ".join(lines) == name
    assert not [line for line in lines if line.startswith("·")]
    assert all(cell_len(line) <= width or line.count(" ") <= 1 for line in lines)


def test_what_all_rows_share_is_told_once() -> None:
    """Each row keeps a name of its own, and one row shares nothing."""
    names = ["cpp · small · native", "cpp · small · chatml"]
    assert shared_parts(names) == ("cpp · small", ["native", "chatml"])
    assert shared_parts(["cpp · small", "cpp · small · fa=on"]) == (
        "cpp",
        ["small", "small · fa=on"],
    )
    assert shared_parts(["cpp · small"]) == ("", ["cpp · small"])
    text, _ = drawn(names, [["1", "2"]], 80)
    assert text == "all rows: cpp · small\n\nname    c0\nnative   1\nchatml   2\n"


def test_names_that_are_wider_than_the_terminal_stand_above_their_figures() -> None:
    """Nothing of either is lost."""
    text, left_out = drawn(["a" * 30, "b" * 30], [["1", "2"], ["3", "4"]], 20)
    assert [column.name for column in left_out] == ["c1"]
    assert text.splitlines() == ["name", "c0", "a" * 30, " 1", "b" * 30, " 2"]


def test_a_console_is_as_wide_as_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """100 columns where there is no terminal; `COLUMNS` says otherwise."""
    monkeypatch.delenv("COLUMNS", raising=False)
    assert console(StringIO()).width == 100
    monkeypatch.setenv("COLUMNS", "80")
    assert console(StringIO()).width == 80
    monkeypatch.setenv("COLUMNS", "wide")
    assert console(StringIO()).width == 100


def test_prose_is_narrower_than_a_wide_terminal() -> None:
    """Lines of more than 100 columns are hard to read; a line break in it is a blank."""
    out = StringIO()
    printer = console(out)
    printer.width = 200
    prose("word " * 60 + "\nend", printer, lead="first")
    lines = out.getvalue().splitlines()
    assert lines[0].startswith("first: word")
    assert lines[-1].endswith("word end")
    assert max(map(len, lines)) <= 100
