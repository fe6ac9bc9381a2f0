"""A comparison as a heatmap of differences; imports Altair, so import this only to draw."""

from __future__ import annotations

from textwrap import wrap
from typing import TYPE_CHECKING, Any, TypeAlias

import altair as alt

from matrixbench.charts.layers import layers
from matrixbench.charts.layout import EM, LABEL_SIZE, Labels, broken, label_expression, lay_out
from matrixbench.charts.palette import DARK_INK, QUIET, SUCCESS
from matrixbench.charts.ramp import Ramp
from matrixbench.charts.sides import Keys, Sides, joined, resolve_sides, show, side_title
from matrixbench.charts.squares import BY_REQUEST, EMPTY, GREEDY, MEASURED, Squares
from matrixbench.comparison.values import Basis
from matrixbench.spec.charts import Chart

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pandas import DataFrame

    from matrixbench.charts.heatmap import Drawing
    from matrixbench.charts.layout import Layout
    from matrixbench.comparison.values import CellResult, Comparison

RAMP = Ramp(
    title="difference (points)",
    colours=SUCCESS,
    low=-1,
    high=1,
    label="format(datum.value * 100, '+.0f')",
)
"""Dark red where the candidate lost everything, pale yellow where nothing changed, green where it
won everything."""

_OUT = "stands out"
_SIDES = ("row", "column", "y", "x")
_Row: TypeAlias = "dict[str, Any]"


def difference_map(comparison: Comparison) -> Drawing:
    """Return a heatmap of a comparison: one square a pair of cells, candidate less baseline.

    A framed square is shown to differ by itself (Holm over all cells, or, where there is no chance
    in it, by equality).
    """
    cells = [cell for candidate in comparison.candidates for cell in candidate.cells]
    frame = _frame(cells)
    sides = resolve_sides(frame, Chart())
    shown = _squares(cells, frame, sides)
    layout = lay_out(shown.labels, max(len(row.get("count", "")) for row in shown.rows))
    stacked = layers(shown, layout, sides)
    # The frames lie below the layer that answers the pointer, which is the last.
    stacked[-1:-1] = _frames(stacked[-1], shown, layout)
    facet = alt.layer(
        *stacked,
        data={"values": list(shown.rows)},
        width=layout.facet_width,
        height=layout.facet_height,
    )
    named = _title(comparison, sides, layout, shown)
    if sides.row or sides.column:
        return _styled(_faceted(facet, sides, shown, layout), named)
    return _styled(facet, named)


def _frame(cells: Sequence[CellResult]) -> DataFrame:
    import pandas as pd  # noqa: PLC0415  heavy

    axes = dict.fromkeys(axis for cell in cells for axis in cell.pair.coordinates)
    table: dict[str, list[object]] = {
        axis: [cell.pair.coordinates.get(axis) for cell in cells] for axis in axes
    }
    table["cell"] = [str(place) for place in range(len(cells))]
    table["build"] = [None] * len(cells)
    return pd.DataFrame({name: pd.Series(values, dtype=object) for name, values in table.items()})


def _squares(cells: Sequence[CellResult], frame: DataFrame, sides: Sides) -> Squares:
    keys = Keys(frame)
    placed = {side: _placed(keys, frame, getattr(sides, side)) for side in _SIDES}
    rows: dict[tuple[int, ...], _Row] = {}
    for place, cell in enumerate(cells):
        at = tuple(placed[side][1][place] for side in _SIDES)
        row: _Row = {side: placed[side][0][at[n]] for n, side in enumerate(_SIDES)}
        row["row rank"], row["column rank"] = at[:2]
        rows[at] = row | _content(cell)
    return Squares(
        rows=tuple(rows[at] for at in sorted(rows)),
        labels=Labels(**{side: placed[side][0] for side in _SIDES}),
        ramp=RAMP,
    )


def _placed(
    keys: Keys, frame: DataFrame, axes: tuple[str, ...]
) -> tuple[tuple[str, ...], list[int]]:
    """Return a side's labels in order, and the place of each row among them."""
    if not axes:
        return ("",), [0] * len(frame)
    orders = [keys.ranks(axis) for axis in axes]
    points = keys.points(axes)
    values = dict(zip(points, zip(*(frame[axis] for axis in axes), strict=True), strict=True))
    ordered = sorted(
        values, key=lambda point: tuple(o[text] for o, text in zip(orders, point, strict=True))
    )
    rank = {point: place for place, point in enumerate(ordered)}
    labels = tuple(joined(axes, values[point]) for point in ordered)
    return labels, [rank[point] for point in points]


def _content(cell: CellResult) -> _Row:
    row: _Row = {"status": EMPTY, "ink": DARK_INK, "tooltip": _told(cell)}
    if cell.difference is None:
        return row
    value = cell.difference.estimate
    up, down = cell.trials
    row |= {
        "status": MEASURED,
        "value": value,
        "text": f"{value * 100:+.0f}".replace("-", "−"),
        "count": f"n={up}" if up == down else f"n={up}/{down}",
        "ink": RAMP.ink(value),
    }
    if cell.stands_out or cell.same is False:
        row[_OUT] = 1
    if cell.p is None:
        row["ends"] = "same" if cell.same_replies else "outcome" if cell.same else "changed"
        if cell.basis is not Basis.SHARED:
            row["single"] = GREEDY if cell.basis is Basis.GREEDY else BY_REQUEST
        return row
    low, high = cell.difference.interval.low, cell.difference.interval.high
    row["ends"] = f"{low * 100:+.0f} {high * 100:+.0f}".replace("-", "−")
    # The bar's line runs from −1 at the left edge to 1 at the right.
    return row | {"low": round((low + 1) / 2, 4), "high": round((high + 1) / 2, 4)}


def _told(cell: CellResult) -> _Row:
    told = {axis: show(axis, value) for axis, value in cell.pair.coordinates.items()}
    told["compared"] = str(cell.basis)
    if cell.difference is not None:
        told["difference"] = f"{cell.difference.estimate:+.3f}"
        told["trials"] = f"{cell.trials[0]} against {cell.trials[1]}"
    if cell.difference is not None and cell.p is not None:
        interval = cell.difference.interval
        told["95 % interval"] = f"{interval.low:+.3f} to {interval.high:+.3f}"
        told["p"] = f"{cell.p:.3g} ({cell.test}), {cell.p_holm:.3g} after Holm"
        if cell.visible_drop is not None:
            told["smallest drop that so many can show"] = f"{cell.visible_drop:.2f}"
    if cell.pairs is not None:
        found = "unknown" if cell.phi is None else f"{cell.phi:.2f}"
        told["pairs"] = f"{cell.pairs.worse} worse, {cell.pairs.better} better; phi {found}"
    return told


def _frames(over: alt.Chart, shown: Squares, layout: Layout) -> list[alt.Chart]:
    if not shown.any(_OUT):
        return []
    framed = over.copy()
    framed.name = alt.Undefined
    framed = framed.transform_filter(f"isValid(datum['{_OUT}'])")
    width = 2 if layout.text else 1
    return [
        framed.mark_rect(
            filled=False,
            stroke=DARK_INK,
            strokeWidth=width,
            width=layout.width - width - 1,
            height=layout.height - width - 1,
            aria=False,
        )
    ]


def _faceted(drawing: Drawing, sides: Sides, shown: Squares, layout: Layout) -> Drawing:
    facets: dict[str, Any] = {}
    labels = {"row": (sides.row, shown.labels.row), "column": (sides.column, shown.labels.column)}
    letters = {"row": 24, "column": int(layout.facet_width / (LABEL_SIZE * EM))}
    for side, (axes, texts) in labels.items():
        if axes:
            header = alt.Header(
                title=side_title(axes),
                labelAngle=0,
                labelAlign="left" if side == "row" else alt.Undefined,
                labelExpr=label_expression(texts, [broken(t, letters[side], 4) for t in texts]),
            )
            channel = alt.Row if side == "row" else alt.Column
            order = alt.EncodingSortField(f"{side} rank", op="min")
            facets[side] = channel(f"{side}:N", sort=order, header=header)
    faceted: Drawing = drawing.facet(**facets, spacing=layout.spacing)
    return faceted


def _title(comparison: Comparison, sides: Sides, layout: Layout, shown: Squares) -> alt.TitleParams:
    letters = int(max(layout.facet_width * len(shown.labels.column), 480) / 5.5)
    names = ", ".join(candidate.name for candidate in comparison.candidates)
    explained = "success ratio of the candidate less the baseline's, in points of 100"
    if shown.any("low"):
        explained += "; bar: 95 % interval, −100 at the left edge, +100 at the right"
    if shown.any(_OUT):
        explained += "; framed: shown to differ by itself (Holm, 5 %)"
    fixed = " · ".join(f"{axis} {text}" for axis, text in sides.fixed)
    named = f"{comparison.experiment}: {names} against {comparison.baseline}"
    return alt.TitleParams(
        text=wrap(named, int(letters * 0.7)),
        subtitle=[*wrap(fixed, letters, max_lines=3), *wrap(explained, letters)],
    )


def _styled(drawing: Drawing, title: alt.TitleParams) -> Drawing:
    quiet: dict[str, Any] = {"titleColor": QUIET, "titleFontWeight": "normal"}
    styled: Drawing = (
        drawing.properties(title=title, padding=12)
        .configure_view(stroke=None)
        .configure_title(anchor="start", fontSize=16, subtitleColor=QUIET, offset=14)
        .configure_axis(grid=False, domain=False, ticks=False, labelPadding=5, **quiet)
        .configure_header(labelFontSize=LABEL_SIZE, labelPadding=6, **quiet)
        .configure_legend(labelLimit=240, **quiet)
        .configure_scale(bandPaddingInner=0, bandPaddingOuter=0)
    )
    return styled
