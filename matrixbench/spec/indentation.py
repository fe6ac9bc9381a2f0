"""Which two lines of a YAML text disagree about their indentation.

A parser says where it gave up, in its own words; a person wants to see the line that is indented by
3 and the one that is indented by 4.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_KEY = re.compile(r"(?:\"[^\"]*\"|'[^']*'|[^\s#\[\]{},&*!|>'\"%@`-][^#]*?|-[^\s#][^#]*?):(?=\s|$)")
"""A mapping's key at the beginning of a row, up to its colon."""

_BLOCK = re.compile(r"[|>][+-]?\d?[+-]?\s*(#.*)?$")
_BRACKETS = {"[": 1, "{": 1, "]": -1, "}": -1}
_QUOTED = re.compile(r"\"(?:\\.|[^\"\\])*\"|'(?:''|[^'])*'")
_COMMENT = re.compile(r"(^|\s)#.*$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Disagreement:
    """Two lines, and what is wrong between them."""

    message: str
    hint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """A line's content at one level; `- name: t` is an item, and a key two columns further."""

    line: int
    indent: int
    text: str
    item: bool = False

    @property
    def complete(self) -> bool:
        """Whether it has its value already, so that nothing may stand below and deeper."""
        key = _KEY.match(self.text)
        rest = self.text[key.end() :] if key else self.text
        return bool(_COMMENT.sub("", rest).strip()) and not self.item


@dataclass(slots=True)
class _Levels:
    """The levels that are open: of each the column, and the row that stood there last."""

    open: list[_Row] = field(default_factory=list)

    def put(self, row: _Row) -> None:
        while self.open and self.open[-1].indent > row.indent:
            self.open.pop()
        if self.open and self.open[-1].indent == row.indent and self.open[-1].item == row.item:
            self.open.pop()
        self.open.append(row)


def disagreement(text: str, line: int) -> Disagreement | None:
    """Return which two lines disagree where a parser gave up at a line; None if none do.

    Args:
        text: The whole text.
        line: The line, from 1.
    """
    levels = _Levels()
    for rows in _rows(text.split("\n")):
        if rows[0].line >= line:
            return _against(levels.open, rows[0])
        wrong = _against(levels.open, rows[0])
        if wrong is not None:
            return wrong
        for row in rows:
            levels.put(row)
    return None


def _against(levels: Sequence[_Row], row: _Row) -> Disagreement | None:
    """Return what is wrong with a row below the levels that are open."""
    last = levels[-1] if levels else None
    if last is None or (row.indent > last.indent and not last.complete):
        return None
    if row.indent > last.indent:
        wrong = _between(row, last)
        message = f"{wrong.message}, and line {last.line} has its value already"
        return Disagreement(message=message, hint=wrong.hint)
    at_level = [level for level in levels if level.indent == row.indent]
    if not at_level:
        deeper = next(level for level in levels if level.indent > row.indent)
        return _between(row, deeper)
    item_level = at_level[-1]
    if row.item and not any(level.item for level in at_level) and item_level.complete:
        message = f"line {row.line} begins with «-», and line {item_level.line} with a key"
        return Disagreement(message=message, hint="a list stands under a key that has no value yet")
    if item_level.item and not row.item and not any(not level.item for level in at_level):
        inner = next((level for level in levels if level.indent > row.indent), item_level)
        return _between(row, inner)
    return None


def _between(row: _Row, other: _Row) -> Disagreement:
    return Disagreement(
        message=f"line {row.line} is indented by {row.indent}, line {other.line} by {other.indent}",
        hint=f"what belongs together begins in one column: indent line {row.line} "
        f"by {other.indent}",
    )


def _rows(lines: Sequence[str]) -> Iterator[list[_Row]]:
    """Yield each line's rows; those inside of brackets, quotes and block texts are passed over."""
    depth, block = 0, -1
    for number, line in enumerate(lines, 1):
        bare = line.strip()
        if not bare or bare.startswith("#"):
            continue
        indent = len(line) - len(line.lstrip(" "))
        if depth == 0 and block >= 0 and indent > block:
            continue
        block = -1
        inside = depth > 0
        depth = max(0, depth + _opened(line))
        if inside or bare in {"---", "..."}:
            continue
        yield list(_of_line(number, indent, line))
        if depth == 0 and _BLOCK.search(_QUOTED.sub("", line)):
            block = indent


def _of_line(number: int, indent: int, line: str) -> Iterator[_Row]:
    rest = line[indent:]
    while rest.startswith("- ") or rest == "-":
        yield _Row(line=number, indent=indent, text=rest, item=True)
        further = len(rest) - len(rest[1:].lstrip(" "))
        indent, rest = indent + further, rest[further:]
    if rest:
        yield _Row(line=number, indent=indent, text=rest)


def _opened(line: str) -> int:
    """Return how many brackets a line opens more than it closes."""
    bare = _COMMENT.sub("", _QUOTED.sub("", line))
    return sum(_BRACKETS.get(sign, 0) for sign in bare)
