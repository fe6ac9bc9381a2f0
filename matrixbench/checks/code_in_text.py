"""Where code stands in a text that a model wrote: what stands there is quoted, not meant."""

from __future__ import annotations

import re
from bisect import bisect_right
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

FENCED = re.compile(
    r"^[ \t]*(?P<fence>`{3,}|~{3,})[^`\n]*\n(?P<body>.*?)(?:^[ \t]*(?P=fence)[`~]*[ \t\r]*$|\Z)",
    re.MULTILINE | re.DOTALL,
)
"""A fenced code block as in CommonMark: it is closed by a fence at least as long, or by the end."""

_SPAN = re.compile(r"(?<!`)(`{1,3})(?!`)[^`\n]+(?<!`)\1(?!`)")
_QUOTES = {'"': '"', "'": "'", "«": "»", "“": "”", "‘": "’", "„": "“"}


class Code:
    """The parts of a text that are code, or that stand in quotes."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._spans = sorted(_spans(text))
        self._begins = [begin for begin, _ in self._spans]

    def quotes(self, begin: int, end: int) -> bool:
        """Return whether a part of the text is in code, or has quotation marks right around it."""
        place = bisect_right(self._begins, begin) - 1
        if place >= 0 and end <= self._spans[place][1]:
            return True
        before, after = self._text[begin - 1 : begin], self._text[end : end + 1]
        return bool(after) and _QUOTES.get(before) == after


def _spans(text: str) -> Iterator[tuple[int, int]]:
    if "`" not in text and "~~~" not in text:
        return
    at = 0
    for block in FENCED.finditer(text):
        yield from _spans_of_lines(text, at, block.start())
        yield block.span()
        at = block.end()
    yield from _spans_of_lines(text, at, len(text))


def _spans_of_lines(text: str, begin: int, end: int) -> Iterator[tuple[int, int]]:
    for span in _SPAN.finditer(text, begin, end):
        yield span.span()
