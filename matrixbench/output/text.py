"""How lines, tables, names and numbers are written for people.

A table loses no figure: it takes the width that there is, names above what all its rows share,
breaks names between words, and says which columns it left out.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.console import Console, RenderHook
from rich.segment import Segment
from rich.text import Text

from matrixbench.safe_text import for_line, for_terminal
from matrixbench.spec.axes import TEST, Level, label, level_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from typing import Any, TextIO

    from rich.console import ConsoleOptions, ConsoleRenderable, RenderResult

    from matrixbench.spec.axes import Coordinates

WIDTH = 100
"""Columns where there is no terminal that says how many it has, and of prose at most."""

ROWS = 30
"""Rows that a table of results shows; the ones that matter most come first."""

TESTS_ACROSS = 4
"""With fewer tests an interval for «such tests» is too wide to say anything."""

ABSENT = "–"
"""Stands where there is no number."""

_SMALLEST_P = 0.0001
_APART = 2
_WORD = re.compile(r"\s*\S+(?: ·)?")
"""What stays on one line, with the blanks before it: a separator ends a line and begins none."""


def console(file: TextIO) -> Console:
    """Return a console that writes to a file: as wide as the terminal is, else 100 columns.

    `COLUMNS` says otherwise.
    """
    made = _Console(file=file, highlight=False, soft_wrap=False)
    columns = os.environ.get("COLUMNS", "")
    if columns.isdecimal() and int(columns):
        made.width = int(columns)
    elif not made.is_terminal:
        made.width = WIDTH
    made.push_render_hook(_Harmless())
    return made


class _Console(Console):
    """A console whose reader may go away (`| head`): that changes no exit code, as a gate's."""

    def on_broken_pipe(self) -> None:
        """Print nowhere from now on; rich itself would leave the process with exit code 1."""
        self.quiet = True
        os.dup2(os.open(os.devnull, os.O_WRONLY), self.file.fileno())


class _Harmless(RenderHook):
    """Writes control characters of whatever is printed as escapes: a terminal obeys only us."""

    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        """Return what prints the same without them."""
        return [_Shown(renderable) for renderable in renderables]


@dataclass(frozen=True, slots=True)
class _Shown:
    meant: ConsoleRenderable

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for segment in console.render(self.meant, options):
            lines = map(for_terminal, segment.text.split("\n"))
            yield segment if segment.control else Segment("\n".join(lines), segment.style)


def whole(line: str | Text, out: Console, style: str = "") -> None:
    """Print a line that is not wrapped, so that it can be copied; it stays one line."""
    text = line if isinstance(line, Text) else Text(for_line(line))
    if style:
        text.stylize(style)
    out.print(text, soft_wrap=True)


def prose(
    text: str, out: Console, style: str = "", *, indent: int = 0, first: str = "", lead: str = ""
) -> None:
    """Print text wrapped at words, at most 100 columns wide; a line break in it is a blank.

    Args:
        text: The text.
        out: Where to.
        style: Its style.
        indent: How many blanks each line begins with.
        first: What the first line has instead of them.
        lead: What it begins with, in bold, and a colon.
    """
    told = for_line(" ".join(f"{lead}: {text}".split() if lead else text.split()))
    for number, line in enumerate(wrapped(told, min(out.width, WIDTH) - indent)):
        start = " " * indent if number or not first else first
        made = Text(f"{start}{line}", style)
        if lead and not number:
            made.stylize("bold", len(start), len(start) + len(for_line(lead)))
        whole(made, out)


def heading(text: str, out: Console, style: str = "bold") -> None:
    """Print what a part begins with, a blank line before it."""
    out.print()
    whole(text, out, style)


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table.

    Args:
        name: What stands above it.
        texts: What stands in it, one for each row.
        drop: Columns with a higher number are left out first; those with 0 never are.
        prose: Whether it is text that may be wrapped; figures are not.
    """

    name: str
    texts: Sequence[str]
    drop: int = 0
    prose: bool = False

    @property
    def widest(self) -> int:
        """The width in which nothing of it is wrapped."""
        return max(map(cell_len, (self.name, *self.texts)))

    @property
    def least(self) -> int:
        """The width in which no word of it is broken."""
        if not self.prose:
            return self.widest
        words = (word for text in (self.name, *self.texts) for word in _WORD.findall(text))
        return max((cell_len(word.lstrip()) for word in words), default=0)

    def lines(self, text: str, width: int) -> list[str]:
        """Return a text of it in lines that fill the width."""
        if self.prose:
            return [_filled(line, width) for line in wrapped(text, width)]
        return [" " * (width - cell_len(text)) + text]


def print_table(
    head: str,
    names: Sequence[str],
    columns: Sequence[Column],
    out: Console,
    *,
    bold: Collection[int] = (),
    every: str = "all rows",
) -> list[Column]:
    """Print a table whose rows have names, and return the columns that found no room.

    Args:
        head: What stands above the names.
        names: The rows' names.
        columns: The other columns.
        out: Where to.
        bold: Which rows stand out.
        every: What shares the parts that all names share.
    """
    shared, rest = shared_parts([for_line(name) for name in names])
    if shared:
        whole(f"{every}: {shared}", out)
        out.print()
    first = Column(head, rest, prose=True)
    others = [replace(one, texts=list(map(for_line, one.texts))) for one in columns]
    kept, left_out = _fitting([first, *others], out.width)
    # Names that are longer than the terminal is wide stand above their figures.
    stacked = sum(one.least + _APART for one in kept) - _APART > out.width
    if stacked:
        kept = kept[1:]
    widths = _widths(kept, out.width)
    for row in range(-1, len(names)):
        style = "bold" if row in {-1, *bold} else ""
        if stacked:
            whole(head if row < 0 else rest[row], out, style)
        texts = [one.name if row < 0 else one.texts[row] for one in kept]
        _print_row(kept, texts, widths, out, style)
    return [columns[others.index(one)] for one in left_out]


def _print_row(
    columns: Sequence[Column],
    texts: Sequence[str],
    widths: Sequence[int],
    out: Console,
    style: str,
) -> None:
    lines = [
        column.lines(text, width)
        for column, text, width in zip(columns, texts, widths, strict=True)
    ]
    for number in range(max(map(len, lines))):
        parts = [
            each[number] if number < len(each) else " " * width
            for each, width in zip(lines, widths, strict=True)
        ]
        whole((" " * _APART).join(parts).rstrip(), out, style)


def left_out_line(columns: Sequence[Column], out: Console) -> None:
    """Say which columns a table had no room for."""
    if columns:
        names = ", ".join(column.name for column in columns)
        prose(f"no room for {names}: --json has all, or a wider terminal", out, "dim")


def _fitting(columns: list[Column], width: int) -> tuple[list[Column], list[Column]]:
    """Return the columns that fit beside each other, and those that are left out for that."""
    kept, left_out = list(columns), []
    while sum(one.least + _APART for one in kept) - _APART > width:
        last = max(kept, key=lambda one: one.drop)
        if not last.drop:
            break
        kept.remove(last)
        left_out.append(last)
    return kept, sorted(left_out, key=columns.index)


def _widths(columns: Sequence[Column], width: int) -> list[int]:
    """Return how wide columns are: those of text share what the figures leave."""
    widths = [one.widest for one in columns]
    while sum(widths) + _APART * (len(widths) - 1) > width:
        spare = [have - one.least for have, one in zip(widths, columns, strict=True)]
        if not any(spare):
            break
        widest = max((have, place) for place, have in enumerate(widths) if spare[place])[1]
        widths[widest] -= 1
    return widths


def _filled(text: str, width: int) -> str:
    return text + " " * (width - cell_len(text))


def wrapped(text: str, width: int) -> list[str]:
    """Return a text of one line in lines of a width, no word of it broken, all blanks kept."""
    lines = [""]
    for word in _WORD.findall(text):
        if lines[-1] and cell_len(lines[-1] + word) > width:
            lines.append(word.lstrip())
        else:
            lines[-1] += word
    return lines


def shared_parts(names: Sequence[str]) -> tuple[str, list[str]]:
    """Return the parts that all of several names share, and the names without them."""
    parts = [name.split(" · ") for name in names]
    if len(parts) < 2:  # noqa: PLR2004  one name shares nothing
        return "", list(names)
    shared = [part for part in parts[0] if all(part in others for others in parts[1:])]
    if any(set(shared) >= set(own) for own in parts):
        shared = shared[:-1]  # each row keeps a name
    rest = [" · ".join(part for part in own if part not in shared) for own in parts]
    return " · ".join(shared), rest


def telling_axes(axes: Iterable[str]) -> list[str]:
    """Return axes without those that others tell: a test's name tells its parameters."""
    named = list(axes)
    return [axis for axis in named if axis == TEST or level_of(axis) is not Level.TEST] or named


def coordinates_text(coordinates: Coordinates) -> str:
    """Return all of a cell's coordinates on one line."""
    return "  ".join(for_line(f"{axis}={label(value)}") for axis, value in coordinates.items())


def counts_text(counts: Mapping[Any, int]) -> str:
    """Return how many there are of what: `3 passed, 1 failed`."""
    return ", ".join(f"{count:,} {name}" for name, count in counts.items() if count)


def duration(seconds: float) -> str:
    """Return a span of time as people say it: `8 s`, `12 min`, `3 h 20 min`, `2 d 4 h`."""
    whole_s = round(seconds)
    if whole_s < 90:  # noqa: PLR2004  up to here seconds say more
        return f"{whole_s} s"
    minutes = round(seconds / 60)
    if minutes < 90:  # noqa: PLR2004  up to here minutes say more
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:  # noqa: PLR2004  up to here hours say more
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h" if hours else f"{days} d"


def p_value(p: float | None) -> str:
    """Return a p-value with four digits: `.0078`, `<.0001`; a dash where there is none."""
    if p is None:
        return ABSENT
    return "<.0001" if p < _SMALLEST_P else f"{p:.4f}".removeprefix("0")


def signed(value: float, digits: int = 3) -> str:
    """Return a number with its sign."""
    return f"{value:+.{digits}f}".replace("-", "−")


def number(value: float | None) -> str:
    """Return a number of two digits; a dash where there is none."""
    return ABSENT if value is None else f"{value:.2f}".replace("-", "−")
