"""How large squares are, what fits into them, and how labels are cut and broken."""

from __future__ import annotations

import json
from dataclasses import dataclass
from math import ceil
from textwrap import wrap
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

EM = 0.58
"""Mean width of a letter, in font sizes."""
_BOLD_EM = 0.62
LABEL_SIZE = 11
_MAX_TEXT_SQUARES = 3_000
"""More squares than this carry no text: nobody reads it, and it takes seconds to draw."""
_MAX_TEXT_ACROSS = 100
_MAX_TEXT_DOWN = 150
_PAGE = 1200
"""What a chart's squares should take from side to side, in points, if they can."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """The labels of each side, in order; one empty label where a side has no axis."""

    x: tuple[str, ...]
    y: tuple[str, ...]
    row: tuple[str, ...]
    column: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Sizes in points.

    Args:
        width: Of one square.
        height: Of one square.
        text: Font size of the value; 0 where squares carry no text.
        small: Font size of the lines below it.
        detail: Whether there is room for the interval's ends in figures.
        angle: Of the labels below the squares, in degrees.
        label: Font size of the labels beside the squares.
        facet_width: Of one facet.
        facet_height: Of one facet.
        spacing: Between facets.
    """

    width: int
    height: int
    text: int
    small: int
    detail: bool
    angle: int
    label: int
    facet_width: int
    facet_height: int
    spacing: int


def lay_out(labels: Labels, longest_text: int, longest_count: int) -> Layout:
    """Return the layout for some labels.

    Args:
        labels: Of the sides.
        longest_text: Letters of the longest value; they must fit into a square.
        longest_count: Letters of the longest count; the same.
    """
    across = len(labels.x) * len(labels.column)
    down = len(labels.y) * len(labels.row)
    dense = across * down > _MAX_TEXT_SQUARES or across > _MAX_TEXT_ACROSS or down > _MAX_TEXT_DOWN
    if dense:
        width, height = _within(_PAGE // across, 8, 24), _within(_PAGE // down, 8, 20)
    else:
        width, height = _within(_PAGE // across, 34, 84), _within(1000 // down, 28, 56)
        width = max(width, ceil(longest_count * 8 * EM) + 4, _bold(longest_text, 10))
    width = max(width, _for_facets(labels))
    longest = max(len(text) for text in labels.x)
    needed = ceil(longest * LABEL_SIZE * EM) + 8
    if needed * across <= _PAGE and needed <= 150:  # noqa: PLR2004  wider ones look like bars
        width = max(width, needed)
    flat = needed <= width
    text, small, detail = _font_sizes(width, height, longest_text) if not dense else (0, 0, False)
    return Layout(
        width=width,
        height=height,
        text=text,
        small=small,
        detail=detail,
        angle=0 if flat else -45 if width >= 24 else -90,  # noqa: PLR2004  no room to lean
        label=min(LABEL_SIZE, width if not flat else LABEL_SIZE, height),
        facet_width=width * len(labels.x),
        facet_height=height * len(labels.y),
        spacing=16 if across * down <= _MAX_TEXT_SQUARES else 10,
    )


def _font_sizes(width: int, height: int, longest_text: int) -> tuple[int, int, bool]:
    detail = width >= 64 and height >= 44  # noqa: PLR2004  looked at
    if detail and width >= _bold(longest_text, 15):
        return 15, 10, True
    if width >= 44 and height >= 32 and width >= _bold(longest_text, 12):  # noqa: PLR2004  the same
        return 12, 10 if detail else 9, detail
    return 10, 10 if detail else 8, detail


def _bold(letters: int, size: int) -> int:
    """Return how wide a square must be for bold letters."""
    return ceil(letters * size * _BOLD_EM) + 4


def _for_facets(labels: Labels) -> int:
    """Return how wide squares must be for the headers above the facets to be read."""
    longest = max(len(text) for text in labels.column)
    header = min(110, ceil(longest * LABEL_SIZE * EM / 2))
    return ceil(header / len(labels.x))


def _within(value: int, low: int, high: int) -> int:
    return min(max(value, low), high)


def shorten(text: str, limit: int) -> str:
    """Return a text of at most `limit` letters: what is too much goes from the middle.

    Names of one family often differ at the end only (a quantisation, a date).
    """
    if len(text) <= limit:
        return text
    tail = (limit - 1) // 2
    return f"{text[: limit - 1 - tail]}…{text[len(text) - tail :]}"


def broken(text: str, letters: int, lines: int) -> list[str]:
    """Return a text in at most `lines` lines of at most `letters` (or 6) letters each."""
    letters = max(letters, 6)
    parts = text.split(" · ")
    found = _packed(parts, letters)
    if len(found) > lines:
        room = letters * max(1, lines // len(parts))
        found = _packed([shorten(part, room) for part in parts], letters)
    if len(found) > lines:
        found[lines - 1 :] = [shorten(" · ".join(found[lines - 1 :]), letters)]
    return found or [""]


def _packed(parts: Sequence[str], letters: int) -> list[str]:
    lines: list[str] = []
    for part in parts:
        if lines and len(lines[-1]) + 3 + len(part) <= letters:
            lines[-1] += f" · {part}"
        else:
            lines += wrap(part, letters)
    return lines


def label_expression(labels: Sequence[str], shown: Sequence[str | list[str]]) -> str:
    """Return the Vega expression that turns an axis's values into what is written there."""
    table = json.dumps(dict(zip(labels, shown, strict=True)))
    return f"{table}[datum.value]"
