"""From the rows of a cell frame to the squares of a picture: texts, positions, tooltips."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from math import isnan
from typing import TYPE_CHECKING, Any, TypeAlias

from matrixbench.charts.layout import Labels
from matrixbench.charts.palette import DARK_INK
from matrixbench.charts.ramp import Ramp, ramp_of
from matrixbench.charts.sides import ABSENT, Keys, joined, show
from matrixbench.frame import CellStatus, axes_of
from matrixbench.spec.charts import Metric

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pandas import DataFrame

    from matrixbench.charts.sides import Sides

MEASURED = "measured"
NO_VALUE = "no value"
EMPTY = "not yet measured"
NOT_APPLICABLE = "not applicable"
NOTHING = "nothing"
GREEDY = "greedy sampling"
BY_REQUEST = "decided by the request"

Row: TypeAlias = dict[str, Any]
"""One square as Vega-Lite gets it; a field that has nothing to say is missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Squares:
    """All that a picture shows.

    Args:
        rows: One for each square, top left first.
        labels: The labels of the sides.
        ramp: The colours.
    """

    rows: tuple[Row, ...]
    labels: Labels
    ramp: Ramp

    def any(self, field: str, *values: object) -> bool:
        """Return whether some square has a field, or one of some values in it."""
        return any(field in row and (not values or row[field] in values) for row in self.rows)


def squares(frame: DataFrame, sides: Sides, metric: Metric) -> Squares:
    """Return the squares of a frame on some sides."""
    keys = Keys(frame)
    ramp = ramp_of(frame, metric)
    placed = {
        side: _placed(frame, keys, getattr(sides, side)) for side in ("x", "y", "row", "column")
    }
    axes = list(dict.fromkeys([*sides.used, *axes_of(frame)]))
    rows: dict[tuple[int, ...], Row] = {}
    for place, record in enumerate(frame.to_dict("records")):
        at = tuple(placed[side].ranks[place] for side in ("row", "column", "y", "x"))
        row: Row = {side: placed[side].labels[placed[side].ranks[place]] for side in placed}
        row["row rank"], row["column rank"] = at[:2]
        cell = {str(name): value for name, value in record.items()}
        row |= _content(cell, metric, ramp)
        row["tooltip"] = {axis: show(axis, cell[axis]) for axis in axes} | _told(cell)
        rows[at] = row
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
    labels = [joined(axes, found[point]) if axes else "" for point in ordered]
    if len(set(labels)) < len(labels):  # Two points read alike: say it all.
        labels = [
            " · ".join(f"{axis}={text}" for axis, text in zip(axes, point, strict=True))
            for point in ordered
        ]
    place = {point: rank for rank, point in enumerate(ordered)}
    return _Placed(tuple(labels), tuple(place[point] for point in points))


def _content(cell: Mapping[str, Any], metric: Metric, ramp: Ramp) -> Row:
    """Return what one square says, whichever sides it stands on."""
    if cell["status"] == CellStatus.NOT_APPLICABLE:
        return {"status": NOT_APPLICABLE}
    row: Row = {"status": _state(cell, metric), "ink": DARK_INK}
    if cell["trials"]:
        row["count"] = _count(cell)
    if cell["errored"]:
        row["errored"] = 1
    if cell["greedy"] or cell["by_request"]:
        row["single"] = GREEDY if cell["greedy"] else BY_REQUEST
        if cell["trials"] and metric is Metric.SUCCESS_RATIO:
            row["ends"] = "greedy" if cell["greedy"] else "by request"
    if row["status"] == NO_VALUE:
        row["text"] = ABSENT
    if row["status"] == MEASURED:
        value = float(cell[metric.value])
        row |= {"value": value, "text": _text(cell, metric), "ink": ramp.ink(value)}
        if metric is Metric.SUCCESS_RATIO and _known(cell["low"]):
            low, high = float(cell["low"]), float(cell["high"])
            row |= {"low": round(low, 4), "high": round(high, 4)}
            row["ends"] = f"{low * 100:.0f}–{high * 100:.0f}"
    return row


def _state(cell: Mapping[str, Any], metric: Metric) -> str:
    if not cell["trials"]:
        return EMPTY
    return MEASURED if _known(cell[metric.value]) else NO_VALUE


def _count(cell: Mapping[str, Any]) -> str:
    partial = cell["status"] == CellStatus.PARTIAL
    return f"n={cell['trials']}/{cell['planned']}" if partial else f"n={cell['trials']}"


def _text(cell: Mapping[str, Any], metric: Metric) -> str:
    if metric is Metric.SUCCESS_RATIO:
        return percent(cell["passed"], cell["trials"])
    value = float(cell[metric.value])
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"  # noqa: PLR2004  three digits


def percent(part: int, whole: int) -> str:
    """Return a share in whole percent: 100 % only if it is all, 0 % only if it is nothing."""
    rounded = round(100 * part / whole)
    if rounded == 100 and part < whole:  # noqa: PLR2004  per cent
        return ">99%"
    return "<1%" if rounded == 0 < part else f"{rounded}%"


def _told(cell: Mapping[str, Any]) -> Row:
    """Return what the tooltip says of a cell after its axes: title → text, in order."""
    if cell["status"] == CellStatus.NOT_APPLICABLE:
        told = {NOT_APPLICABLE: cell["reason"], "way out": cell["hint"]}
        return {title: text for title, text in told.items() if text}
    counts = [(name, cell[name]) for name in ("passed", "failed", "rejected", "errored")]
    told = {}
    if cell["trials"]:
        told["success ratio"] = f"{cell['success_ratio']:.3f}"
        told["Wilson 95 % interval"] = _interval(cell)
    told["trials that count"] = f"{cell['trials']} of {cell['planned']} planned"
    told["outcomes"] = ", ".join(f"{count} {name}" for name, count in counts if count) or "none yet"
    if cell["top_count"]:
        # A model can write half a surrogate pair, which no file can hold.
        said = str(cell["top_reason"] or "").encode("utf-8", "replace").decode()
        reason = f": {said}" if said else ""
        told["most frequent failure"] = f"{cell['top_count']} × {cell['top_kind']}{reason}"
    if cell["distinct"]:
        told["distinct replies"] = f"{cell['distinct']} in {cell['trials']} trials"
    if _known(cell["latency_p50_s"]):
        told["latency"] = (
            f"median {cell['latency_p50_s']:.3g} s, 90th percentile {cell['latency_p90_s']:.3g} s"
        )
    if _known(cell["completion_tokens_per_s"]):
        told["completion"] = f"{cell['completion_tokens_per_s']:.3g} tokens/s"
    if cell["build"]:
        told["build"] = cell["build"]
    return told


def _interval(cell: Mapping[str, Any]) -> str:
    if _known(cell["low"]):
        return f"{cell['low']:.3f} to {cell['high']:.3f}"
    return f"none: {GREEDY if cell['greedy'] else BY_REQUEST}"


def _known(value: object) -> bool:
    return isinstance(value, (int, float)) and not isnan(value)
