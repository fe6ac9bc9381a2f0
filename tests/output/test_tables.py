"""What is printed for people."""

from __future__ import annotations

from io import StringIO
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from matrixbench.output.tables import console
from matrixbench.plan.matrix import build_matrix

if TYPE_CHECKING:
    from tests.conftest import Load


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
