"""A comparison as a heatmap of differences."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from matrixbench.charts.heatmap import picture
from matrixbench.charts.metrics import DARK_INK, POINTS, ramp_of, style_of
from matrixbench.charts.sides import resolve_sides, show
from matrixbench.charts.squares import (
    BY_REQUEST,
    EMPTY,
    GREEDY,
    MEASURED,
    ONE_DRAW,
    OUT,
    arranged,
    demand_room,
)
from matrixbench.comparison.values import Basis
from matrixbench.spec.experiment import Chart, Metric

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pandas import DataFrame

    from matrixbench.charts.heatmap import Drawing
    from matrixbench.charts.metrics import Ramp
    from matrixbench.charts.squares import Row
    from matrixbench.comparison.data import Comparison
    from matrixbench.comparison.values import CandidateResult, CellResult

_ENDS = (0.25, 0.5, 1.0)
"""To where colours run on either side: the nearest one that holds every difference."""

NOT_SIGNIFICANT = "n.s."
"""Stands beside the number of trials where a difference is not shown."""


def difference_map(
    comparison: Comparison, chart: Chart | None = None, *, title: str | None = None
) -> Drawing:
    """Return a heatmap of a comparison: one square a pair of cells, candidate less baseline.

    A framed square is shown to differ by itself (Holm over the cells of all candidates, or, where
    there is no chance in it, by equality).

    Args:
        title: The title where the chart has none; default: what is compared with what.

    Raises:
        UsageError: The chart's sides do not fit, or the squares are too many.
    """
    chart = chart or Chart()
    cells = [cell for candidate in comparison.candidates for cell in candidate.cells]
    demand_room(len(cells), lambda: (cell.pair.coordinates for cell in cells))
    frame = _frame(cells)
    sides = resolve_sides(frame, chart)
    ramp = _ramp(cells)
    shown = arranged(frame, sides, [_content(cell, ramp) for cell in cells], ramp)
    names = ", ".join(candidate.name for candidate in comparison.candidates)
    against = f"{names} against {comparison.baseline}"
    explained = [f"success ratio of {against}: candidate less baseline, in points of 100"]
    if shown.any("low"):
        explained.append("bar: 95 % interval, −100 at the left edge, +100 at the right")
        explained.append(f"{NOT_SIGNIFICANT}: not shown to differ by itself (Holm, 5 %)")
    explained += [_verdict(candidate) for candidate in comparison.candidates]
    named = chart.title or title or f"{comparison.experiment}: {against}"
    return picture(shown, sides, title=named, explained=explained)


def _verdict(candidate: CandidateResult) -> str:
    """Return what the gate says of a candidate, and why."""
    gate = candidate.gate
    because = f" ({'; '.join(gate.reasons)})" if gate.reasons else ""
    return f"{candidate.name}: {gate.verdict} at a drop of {gate.max_drop:g}{because}"


def _ramp(cells: Sequence[CellResult]) -> Ramp:
    found = [abs(cell.difference.estimate) for cell in cells if cell.difference is not None]
    end = next(end for end in _ENDS if end >= max(found, default=0.0))
    return ramp_of((), replace(style_of(Chart(metric=Metric.DIFFERENCE)), ends=(-end, end)))


def _frame(cells: Sequence[CellResult]) -> DataFrame:
    import pandas as pd

    axes = dict.fromkeys(axis for cell in cells for axis in cell.pair.coordinates)
    table: dict[str, list[object]] = {
        axis: [cell.pair.coordinates.get(axis) for cell in cells] for axis in axes
    }
    table["cell"] = [str(place) for place in range(len(cells))]
    table["build"] = [None] * len(cells)
    return pd.DataFrame({name: pd.Series(values, dtype=object) for name, values in table.items()})


def _content(cell: CellResult, ramp: Ramp) -> Row:
    row: Row = {"status": EMPTY, "ink": DARK_INK, "tooltip": _told(cell)}
    if cell.difference is None:
        return row
    value = cell.difference.estimate
    up, down = cell.trials
    row |= {
        "status": MEASURED,
        "value": value,
        "text": POINTS.text(value),
        "count": f"n={up}" if up == down else f"n={up}/{down}",
        "ink": ramp.ink(value),
    }
    if cell.pair.unverified:
        row["unverified"] = 1
    if cell.stands_out or cell.same is False:
        row[OUT] = 1
    elif cell.p is not None:
        row["count"] += f" {NOT_SIGNIFICANT}"
    if not cell.has_interval:
        row["ends"] = "same" if cell.same_replies else "outcome" if cell.same else "changed"
        if cell.basis is not Basis.SHARED:
            row["single"] = GREEDY if cell.basis is Basis.GREEDY else BY_REQUEST
        return row
    if cell.basis is Basis.ONE_DRAW:
        row["single"] = ONE_DRAW
    low, high = cell.difference.interval.low, cell.difference.interval.high
    row["ends"] = f"{POINTS.text(low)} {POINTS.text(high)}"
    # The bar's line runs from −1 at the left edge to 1 at the right.
    return row | {"low": round((low + 1) / 2, 4), "high": round((high + 1) / 2, 4)}


def _told(cell: CellResult) -> Row:
    told = {axis: show(axis, value) for axis, value in cell.pair.coordinates.items()}
    told["compared"] = str(cell.basis)
    if cell.difference is not None:
        told["difference"] = f"{cell.difference.estimate:+.3f}"
        told["trials"] = f"{cell.trials[0]} against {cell.trials[1]}"
    if cell.difference is not None and cell.has_interval:
        interval = cell.difference.interval
        told["95 % interval"] = f"{interval.low:+.3f} to {interval.high:+.3f}"
    sides = (("candidate", cell.pair.candidate), ("baseline", cell.pair.baseline))
    for whose, side in sides:
        if cell.basis is Basis.ONE_DRAW and side.seeds_ignored:
            told[f"{whose} is one draw"] = f"its launch ignores seeds: {side.seeds_ignored}"
    if cell.p is not None:
        told["p"] = f"{cell.p:.3g} ({cell.test}), {cell.p_holm:.3g} after Holm"
        if cell.detectable_drop is not None:
            told["drop shown in 80 % of runs"] = f"{cell.detectable_drop:.2f}"
    for doubt in cell.pair.unverified:
        told["unverified"] = doubt
    if cell.pairs is not None:
        found = "unknown" if cell.phi is None else f"{cell.phi:.2f}"
        told["pairs"] = f"{cell.pairs.worse} worse, {cell.pairs.better} better; phi {found}"
    return told
