"""From the rows of a cell frame to the squares of a picture: sizes, texts, tooltips."""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import count, product
from math import ceil, isnan, nan
from textwrap import wrap
from typing import TYPE_CHECKING, Any, TypeAlias

from matrixbench.charts.metrics import (
    DARK_INK,
    WITH_INTERVAL,
    Ramp,
    interval_of,
    number,
    percent,
    ramp_of,
    seconds,
    style_of,
    value_of,
    with_interval,
)
from matrixbench.charts.sides import ABSENT, Keys, joined, show
from matrixbench.errors import UsageError
from matrixbench.results.tables import LEANS, axes_of
from matrixbench.results.tally import CellStatus, IntervalKind, one_draw
from matrixbench.safe_text import for_picture
from matrixbench.spec.axes import label, varying_axes
from matrixbench.spec.experiment import Metric

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from pandas import DataFrame

    from matrixbench.charts.sides import Sides
    from matrixbench.spec.experiment import Chart

EM = 0.58
"""Mean width of a letter, in font sizes."""
_BOLD_EM = 0.62
LABEL_SIZE = 11
_MAX_TEXT_SQUARES = 3_000
"""More squares than this carry no text: nobody reads it, and it takes seconds to draw."""
MAX_SQUARES = 10_000
"""More squares than this are no picture: it takes minutes and gigabytes, and nobody can read it."""
_MAX_TEXT_ACROSS = 100
_MAX_TEXT_DOWN = 150
_PAGE = 1200
"""What a chart's squares should take from side to side, in points, if they can."""


def demand_room(count: int, points: Callable[[], Iterable[Mapping[str, Any]]]) -> None:
    """Refuse to draw more squares than a picture has room for.

    Args:
        count: How many squares there are.
        points: Returns their coordinates, for the hint.

    Raises:
        UsageError: They are too many.
    """
    if count <= MAX_SQUARES:
        return
    several = list(points())
    axes = [
        f"{axis} ({len({label(point.get(axis)) for point in several}):,} values)"
        for axis in varying_axes(several)
    ]
    raise UsageError(
        f"{count:,} squares are too many for a picture, which holds {MAX_SQUARES:,}",
        hint=f"narrow them with --where; they differ in {', '.join(axes)}. "
        "`matrixbench export` writes all of them as a table",
    )


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
        text: Font size of the value; 0 where squares carry no text.
        small: Font size of the lines below it.
        detail: Whether there is room for the interval's ends in figures.
        angle: Of the labels below the squares, in degrees.
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
    if needed * across <= _PAGE and needed <= 150:
        width = max(width, needed)
    flat = needed <= width
    text, small, detail = _font_sizes(width, height, longest_text) if not dense else (0, 0, False)
    return Layout(
        width=width,
        height=height,
        text=text,
        small=small,
        detail=detail,
        angle=0 if flat else -45 if width >= 24 else -90,
        label=min(LABEL_SIZE, width if not flat else LABEL_SIZE, height),
        facet_width=width * len(labels.x),
        facet_height=height * len(labels.y),
        spacing=16 if across * down <= _MAX_TEXT_SQUARES else 10,
    )


def _font_sizes(width: int, height: int, longest_text: int) -> tuple[int, int, bool]:
    detail = width >= 64 and height >= 44
    if detail and width >= _bold(longest_text, 15):
        return 15, 10, True
    if width >= 44 and height >= 32 and width >= _bold(longest_text, 12):
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


MEASURED = "measured"
NO_VALUE = "no value"
EMPTY = "not yet measured"
NOT_APPLICABLE = "not applicable"
NOTHING = "nothing"
OUT = "stands out"
"""Field of a square that is framed."""
GREEDY = "greedy sampling"
BY_REQUEST = "decided by the request"
UNVERIFIED = "unverified: may be another build's"
STOPPED = "stopped early, known well enough"
ONE_REPLY = "one reply to several seeds"
ONE_DRAW = "seeds ignored: one draw"
REASONING = "reasoning left in the content"
_MARKS = {
    "errored": "errored",
    "stopped": "stopped",
    "reasoning": "reasoning_in_content",
    "unverified": "unverified",
}
"""Field of a square that is marked → the column that says so."""

_TOLD_ONLY_WHERE_SHOWN = {
    Metric.SUCCESS_RATIO_WITHOUT_REJECTED,
    Metric.PASS_AT_K,
    Metric.PASS_HAT_K,
    Metric.SCORE,
}
"""Metrics that a tooltip names only where they are the colour."""

_LEANING = {Metric.PASS_AT_K, Metric.PASS_HAT_K}
"""Metrics whose bias under adaptive trials no interval tells."""

INTERVALS: Mapping[str, str] = {
    IntervalKind.WILSON: "Wilson",
    IntervalKind.JEFFREYS: "Jeffreys",
    IntervalKind.EXACT: "exact, Clopper and Pearson",
    IntervalKind.SEQUENTIAL: "confidence sequence, holds although cells stop early",
}
"""What a kind of interval is called."""

Row: TypeAlias = dict[str, Any]
"""One square as Vega-Lite gets it; a field that has nothing to say is missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Squares:
    """All that a picture shows.

    Args:
        rows: One for each square, top left first.
        labels: The labels of the sides.
    """

    rows: tuple[Row, ...]
    labels: Labels
    ramp: Ramp

    def any(self, field: str, *values: object) -> bool:
        """Return whether some square has a field, or one of some values in it."""
        return any(field in row and (not values or row[field] in values) for row in self.rows)


def squares(frame: DataFrame, sides: Sides, chart: Chart) -> Squares:
    """Return the squares of a cell frame on some sides."""
    style = style_of(chart)
    cells = [
        with_interval({str(name): value for name, value in record.items()}, chart)
        for record in frame.to_dict("records")
    ]
    values = [
        nan if cell["status"] == CellStatus.NOT_APPLICABLE else value_of(cell, chart)
        for cell in cells
    ]
    ramp = ramp_of(values, style)
    axes = list(dict.fromkeys([*sides.used, *axes_of(frame)]))
    contents = [
        {
            **_content(cell, value, chart, ramp),
            "tooltip": {axis: show(axis, cell[axis]) for axis in axes} | _told(cell, value, chart),
        }
        for cell, value in zip(cells, values, strict=True)
    ]
    return arranged(frame, sides, contents, ramp)


def arranged(frame: DataFrame, sides: Sides, contents: Sequence[Row], ramp: Ramp) -> Squares:
    """Return squares in their places, top left first.

    Args:
        frame: Has a row for each square, and a column for each axis.
        contents: What each square says, in the frame's order.
    """
    keys = Keys(frame)
    placed = {
        side: _placed(frame, keys, getattr(sides, side)) for side in ("x", "y", "row", "column")
    }
    rows: dict[tuple[int, ...], Row] = {}
    for place, content in enumerate(contents):
        at = tuple(placed[side].ranks[place] for side in ("row", "column", "y", "x"))
        row: Row = {side: placed[side].labels[placed[side].ranks[place]] for side in placed}
        row["row rank"], row["column rank"] = at[:2]
        row["place"] = place  # by which a report knows whose square it is
        rows[at] = row | content
    labels = Labels(**{side: placed[side].labels for side in placed})
    return Squares(rows=tuple(_without_gaps(rows, labels)), labels=labels, ramp=ramp)


def _without_gaps(rows: Mapping[tuple[int, ...], Row], labels: Labels) -> list[Row]:
    """Return the squares in order, with one that draws nothing in each facet that has none.

    Vega packs the facets that have data: without these a facet would stand under the headings of
    another one.
    """
    filled = {at[:2] for at in rows}
    gaps: dict[tuple[int, ...], Row] = {
        (row, column, 0, 0): {
            "x": labels.x[0],
            "y": labels.y[0],
            "row": labels.row[row],
            "column": labels.column[column],
            "row rank": row,
            "column rank": column,
            "status": NOTHING,
        }
        for row, column in product(range(len(labels.row)), range(len(labels.column)))
        if (row, column) not in filled
    }
    everything: dict[tuple[int, ...], Row] = {**rows, **gaps}
    return [everything[at] for at in sorted(everything)]


@dataclass(frozen=True, slots=True)
class _Placed:
    labels: tuple[str, ...]
    ranks: tuple[int, ...]


def _placed(frame: DataFrame, keys: Keys, axes: Sequence[str]) -> _Placed:
    """Return a side's labels in order, and the place of each row among them."""
    orders = [keys.ranks(axis) for axis in axes]
    points = keys.points(axes)
    values = list(zip(*(frame[axis] for axis in axes), strict=True)) if axes else [()] * len(frame)
    found = dict(zip(points, values, strict=True))
    ordered = sorted(
        found,
        key=lambda point: tuple(order[text] for order, text in zip(orders, point, strict=True)),
    )
    labels = [for_picture(joined(axes, found[point])) if axes else "" for point in ordered]
    if len(set(labels)) < len(labels):  # Two points read alike: say it all.
        labels = [
            for_picture(
                " · ".join(f"{axis}={text}" for axis, text in zip(axes, point, strict=True))
            )
            for point in ordered
        ]
    place = {point: rank for rank, point in enumerate(ordered)}
    return _Placed(_apart(labels), tuple(place[point] for point in points))


def _apart(labels: Sequence[str]) -> tuple[str, ...]:
    """Return labels that all differ: where an escape reads like a text, numbers tell them apart."""
    if len(set(labels)) == len(labels):
        return tuple(labels)
    taken: set[str] = set()
    apart: list[str] = []
    for text in labels:
        numbered = (f"{text} ({number})" for number in count(2))
        found = text
        while found in taken or (found != text and found in labels):
            found = next(numbered)
        taken.add(found)
        apart.append(found)
    return tuple(apart)


def _content(cell: Mapping[str, Any], value: float, chart: Chart, ramp: Ramp) -> Row:
    """Return what one square says, whichever sides it stands on."""
    if cell["status"] == CellStatus.NOT_APPLICABLE:
        return {"status": NOT_APPLICABLE}
    state = EMPTY if not cell["trials"] else NO_VALUE if isnan(value) else MEASURED
    row: Row = {"status": state, "ink": DARK_INK}
    if cell["trials"]:
        row["count"] = _count(cell)
    row |= {mark: 1 for mark, column in _MARKS.items() if cell[column]}
    if single := _single(cell):
        row["single"] = single
    if single in {GREEDY, BY_REQUEST} and cell["trials"] and chart.metric in WITH_INTERVAL:
        row["ends"] = "greedy" if cell["greedy"] else "by request"
    if state == NO_VALUE:
        row["text"] = ABSENT
    if state == MEASURED:
        leans = _leans(cell, chart)
        row |= {"value": value, "text": leans + style_of(chart).unit.text(value)}
        row |= {"ink": ramp.ink(value)} | ({"leans": 1} if leans else {})
        if (ends := interval_of(cell, chart)) is not None:
            row |= {"low": round(ends[0], 4), "high": round(ends[1], 4)}
            row["interval"] = cell["interval"]
            row["ends"] = f"{ends[0] * 100:.0f}–{ends[1] * 100:.0f}"
    return row


def _single(cell: Mapping[str, Any]) -> str:
    """Return why the trials of a cell may be, or are, worth one; empty where each is its own."""
    if cell["greedy"] or cell["by_request"]:
        return GREEDY if cell["greedy"] else BY_REQUEST
    if one_draw(cell):
        return ONE_DRAW
    return ONE_REPLY if cell["one_reply"] else ""


def _leans(cell: Mapping[str, Any], chart: Chart) -> str:
    """Return the sign of a value that leans since the number of trials was adaptive, or nothing."""
    return LEANS if cell["adaptive"] and chart.metric in _LEANING else ""


def _count(cell: Mapping[str, Any]) -> str:
    partial = cell["status"] == CellStatus.PARTIAL
    return f"n={cell['trials']}/{cell['planned']}" if partial else f"n={cell['trials']}"


def _told(cell: Mapping[str, Any], value: float, chart: Chart) -> Row:
    """Return what the tooltip says of a cell after its axes: title → text, in order."""
    if cell["status"] == CellStatus.NOT_APPLICABLE:
        told = {NOT_APPLICABLE: cell["reason"], "way out": cell["hint"]}
        return {title: text for title, text in told.items() if text}
    counts = [(name, cell[name]) for name in ("passed", "failed", "rejected", "errored")]
    told = {}
    if cell["trials"]:
        told["success ratio"] = f"{cell['success_ratio']:.3f}"
        told["95 % interval"] = _interval(cell)
    if chart.metric in _TOLD_ONLY_WHERE_SHOWN and not isnan(value):
        told[style_of(chart).title] = f"{_leans(cell, chart)}{value:.3f}"
    told["trials that count"] = _trials(cell)
    told |= _one_draw(cell)
    told["outcomes"] = ", ".join(f"{count} {name}" for name, count in counts if count) or "none yet"
    if cell["top_count"]:
        said = str(cell["top_reason"] or "")
        reason = f": {said}" if said else ""
        told["most frequent failure"] = f"{cell['top_count']} × {cell['top_kind']}{reason}"
    if cell["distinct"]:
        flag = f" ({ONE_REPLY})" if cell["one_reply"] else ""
        told["distinct replies"] = f"{cell['distinct']} in {cell['trials']} trials{flag}"
    for title, name in (("reasoning left in content", "reasoning"), ("calls in content", "call")):
        if found := cell[f"{name}_in_content"]:
            told[title] = f"{found} of {cell['trials']} trials"
    told |= _speed(cell)
    if cell["build"]:
        told["build"] = cell["build"]
    if cell["unverified"]:
        told["unverified"] = cell["unverified"]
    return told


def _one_draw(cell: Mapping[str, Any]) -> Row:
    """Return what the tooltip says where a launch ignores seeds."""
    return (
        {"one draw": f"the launch ignores seeds: {cell['seeds_ignored']}"} if one_draw(cell) else {}
    )


def _speed(cell: Mapping[str, Any]) -> Row:
    """Return what the tooltip says of times, rates and lengths; nothing of what is not known."""
    told: Row = {}
    if cell["speed_reason"]:
        told["times and rates"] = f"none: {cell['speed_reason']}"
    for title, name in (("latency", "latency"), ("time to first token", "time_to_first_token")):
        if _known(cell[f"{name}_p50_s"]):
            middle, upper = (seconds(cell[f"{name}_{share}_s"]) for share in ("p50", "p90"))
            told[title] = f"median {middle}, 90th percentile {upper}"
    if _known(cell["token_gap_p50_s"]):
        middle, longest = (seconds(cell[f"token_gap_{share}_s"]) for share in ("p50", "max_p50"))
        told["time between tokens"] = f"median {middle}, median of the longest {longest}"
    if cell["concurrency_in_force"]:
        told["requests at a time"] = f"{cell['concurrency_in_force']}"
    for title, name in (("prompt", "prompt"), ("completion", "completion")):
        if _known(cell[f"{name}_tokens_per_s"]):
            told[title] = f"{number(cell[f'{name}_tokens_per_s'])} tokens/s"
    return told | _lengths(cell)


def _lengths(cell: Mapping[str, Any]) -> Row:
    """Return what the tooltip says of tokens; nothing of what is not known."""
    told: Row = {}
    if _known(cell["completion_tokens"]):
        told["completion tokens"] = number(cell["completion_tokens"])
    if _known(cell["computed_tokens"]):
        told["prompt tokens computed"] = number(cell["computed_tokens"])
    if _known(cell["cached_share"]):
        told["from the cache"] = f"{percent(cell['cached_share'], 1)} of the prompt tokens"
    if _known(cell["draft_accepted_share"]):
        told["drafts taken"] = f"{percent(cell['draft_accepted_share'], 1)} of the drafted tokens"
    return told


def _trials(cell: Mapping[str, Any]) -> str:
    if cell["stopped"]:
        return f"{cell['trials']} of at most {cell['planned']}: {STOPPED}"
    at_most = "at most " if cell["interval"] == IntervalKind.SEQUENTIAL else ""
    return f"{cell['trials']} of {at_most}{cell['planned']} planned"


def _interval(cell: Mapping[str, Any]) -> str:
    if _known(cell["low"]):
        return f"{cell['low']:.3f} to {cell['high']:.3f} ({INTERVALS[cell['interval']]})"
    return f"none: {GREEDY if cell['greedy'] else BY_REQUEST}"


def _known(value: object) -> bool:
    return isinstance(value, (int, float)) and not isnan(value)
