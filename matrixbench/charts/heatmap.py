"""A table of cells as a heatmap in Altair, which is imported to draw, and then only."""

from __future__ import annotations

import sys
from textwrap import wrap
from typing import TYPE_CHECKING, Any, TypeAlias

from matrixbench.charts.layers import layers
from matrixbench.charts.metrics import QUIET, percent
from matrixbench.charts.sides import resolve_sides, side_title
from matrixbench.charts.squares import (
    EM,
    INTERVALS,
    LABEL_SIZE,
    Layout,
    Squares,
    broken,
    demand_room,
    label_expression,
    lay_out,
    squares,
)
from matrixbench.errors import UsageError
from matrixbench.results.tables import LEANS, axes_of
from matrixbench.results.tally import IntervalKind
from matrixbench.safe_text import all_for_picture, for_picture
from matrixbench.spec.experiment import OF_ONE_LOAD, PROMPT_TIMES
from matrixbench.spec.wording import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    import altair as alt
    from pandas import DataFrame

    from matrixbench.charts.sides import Sides
    from matrixbench.spec.experiment import Chart

Drawing: TypeAlias = "alt.LayerChart | alt.FacetChart"

_ROW_HEADER_LETTERS = 24
_SUBTITLE_SIZE = 11


def heatmap(frame: DataFrame, chart: Chart, *, title: str) -> Drawing:
    """Return the heatmap of a table of cells.

    Raises:
        UsageError: The chart's sides do not fit, or the squares are too many.
    """
    demand_room(len(frame), lambda: _points(frame))
    sides = resolve_sides(frame, chart)
    shown = squares(frame, sides, chart)
    explained = [f"{shown.ramp.style.title}, n trials"]
    if shown.any("low"):
        kinds = " or ".join(INTERVALS[kind] for kind in IntervalKind if shown.any("interval", kind))
        explained.append(f"bar: 95 % interval ({kinds}), 0 at the left edge, 1 at the right")
    if any("/" in row.get("count", "") for row in shown.rows):
        explained.append("n=4/10: 4 of 10 trials so far")
    if shown.any("leans"):
        explained.append(f"{LEANS}: adaptive trials, the value leans outward a little")
    explained += _of_times(frame, chart)
    return picture(shown, sides, title=chart.title or title, explained=explained)


def _points(frame: DataFrame) -> list[dict[str, Any]]:
    axes = axes_of(frame)
    rows = frame[axes].itertuples(index=False)
    return [dict(zip(axes, row, strict=True)) for row in rows]


def _of_times(frame: DataFrame, chart: Chart) -> list[str]:
    """Return what times and rates should be read with."""
    found: list[str] = []
    shares = frame["cached_share"].dropna()
    if chart.metric in PROMPT_TIMES and len(shares):
        ends = dict.fromkeys(percent(float(share), 1) for share in (shares.min(), shares.max()))
        found.append(f"{' to '.join(ends)} of a square's prompt tokens from the cache")
    other = int(frame["speed_reason"].notna().sum())
    if chart.metric in OF_ONE_LOAD and other:
        dashed = counted(other, "square")
        found.append(f"{dashed} with a dash: measured under another load")
    return found


def picture(shown: Squares, sides: Sides, *, title: str, explained: Sequence[str]) -> Drawing:
    """Return squares as a picture."""
    if sys.flags.optimize > 1:  # Altair is built from its own docstrings.
        raise UsageError(
            "nothing can be drawn where Python drops docstrings (-OO)",
            where="PYTHONOPTIMIZE",
            hint="run chart with PYTHONOPTIMIZE=1, or without it",
        )
    import altair as alt

    layout = lay_out(shown.labels, _longest(shown, "text"), _longest(shown, "count"))
    facet = alt.layer(
        *layers(shown, layout, sides),
        # As a plain dict, for which Altair has no row limit and no check row by row.
        data={"values": all_for_picture(shown.rows)},
        width=layout.facet_width,
        height=layout.facet_height,
    )
    named = _title(title, explained, sides, layout.facet_width * len(shown.labels.column))
    if sides.row or sides.column:
        return _styled(_faceted(facet, sides, shown, layout), named)
    return _styled(facet, named)


def _longest(shown: Squares, field: str) -> int:
    return max((len(row[field]) for row in shown.rows if field in row), default=0)


def _faceted(drawing: Drawing, sides: Sides, shown: Squares, layout: Layout) -> alt.FacetChart:
    import altair as alt

    facets: dict[str, Any] = {}
    if sides.row:
        lines = max(1, (layout.facet_height + layout.spacing) // (LABEL_SIZE + 2))
        facets["row"] = alt.Row(
            "row:N",
            sort=alt.EncodingSortField("row rank", op="min"),
            header=alt.Header(
                title=side_title(sides.row),
                labelAngle=0,
                labelAlign="left",
                labelExpr=_expression(shown.labels.row, _ROW_HEADER_LETTERS, lines),
            ),
        )
    if sides.column:
        letters = int(layout.facet_width / (LABEL_SIZE * EM))
        facets["column"] = alt.Column(
            "column:N",
            sort=alt.EncodingSortField("column rank", op="min"),
            header=alt.Header(
                title=side_title(sides.column),
                labelExpr=_expression(shown.labels.column, letters, 4),
            ),
        )
    faceted: alt.FacetChart = drawing.facet(**facets, spacing=layout.spacing)
    return faceted


def _expression(labels: Sequence[str], letters: int, lines: int) -> str:
    return label_expression(labels, [broken(text, letters, lines) for text in labels])


def _title(title: str, explained: Sequence[str], sides: Sides, across: int) -> alt.TitleParams:
    import altair as alt

    letters = int(max(across, 480) / (_SUBTITLE_SIZE * 0.5))
    fixed = for_picture(" · ".join(f"{axis} {text}" for axis, text in sides.fixed))
    title, told = for_picture(title), for_picture("; ".join(explained))
    lines = [*wrap(fixed, letters, max_lines=3), *wrap(told, letters)]
    return alt.TitleParams(text=wrap(title, int(letters * 0.7)) or [""], subtitle=lines)


def _styled(drawing: Drawing, title: alt.TitleParams) -> Drawing:
    styled: Drawing = (
        drawing.properties(title=title, padding=12)
        .configure_view(stroke=None)
        .configure_title(
            anchor="start",
            fontSize=16,
            subtitleFontSize=_SUBTITLE_SIZE,
            subtitleColor=QUIET,
            subtitlePadding=6,
            offset=14,
        )
        .configure_axis(
            grid=False,
            domain=False,
            ticks=False,
            titleColor=QUIET,
            titleFontWeight="normal",
            labelPadding=5,
        )
        .configure_header(
            titleColor=QUIET,
            titleFontWeight="normal",
            labelFontSize=LABEL_SIZE,
            labelPadding=6,
            titlePadding=0,
        )
        .configure_legend(titleColor=QUIET, titleFontWeight="normal", labelLimit=240)
        .configure_scale(bandPaddingInner=0, bandPaddingOuter=0)
    )
    return styled
