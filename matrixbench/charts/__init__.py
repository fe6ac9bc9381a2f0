"""Heatmaps: a cell frame and a chart's description in, an Altair chart or a file out.

Altair is imported when the first chart is drawn: it costs half a second that `plan` should not pay.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from matrixbench.charts.sides import Sides, resolve_sides
from matrixbench.errors import UsageError

if TYPE_CHECKING:
    from pandas import DataFrame

    from matrixbench.charts.heatmap import Drawing
    from matrixbench.comparison.values import Comparison
    from matrixbench.spec.experiment import Chart

__all__ = ["SUFFIXES", "Sides", "check_suffix", "draw", "resolve_sides", "save"]

SUFFIXES = (".png", ".svg", ".pdf", ".html", ".json")
"""What `save` can write; `.json` is Vega-Lite."""


def draw(
    shown: DataFrame | Comparison, chart: Chart | None = None, *, title: str | None = None
) -> Drawing:
    """Return a heatmap of the cells in a frame (`cell_frame`), or of a comparison's differences.

    It is an Altair chart, which notebooks display. It holds its own data, whatever the number of
    squares, and knows of no file.

    Args:
        shown: What is drawn.
        chart: Which axis stands where, and what the colour means (of a comparison: the difference).
            Default: test across, temperature down, facets for what else varies; success ratios.
        title: The title where the chart has none. Default: the experiment's name, or what is
            compared with what.

    Raises:
        UsageError: The chart's sides do not fit (`resolve_sides`), or a frame cannot show its
            metric.
    """
    _demand_docstrings()
    from matrixbench.comparison.values import Comparison  # noqa: PLC0415  only to draw
    from matrixbench.spec.experiment import Chart, Metric  # noqa: PLC0415  the same

    if isinstance(shown, Comparison):
        from matrixbench.charts.difference import difference_map  # noqa: PLC0415  heavy: altair

        return difference_map(shown, chart, title=title)
    if chart is not None and chart.metric is Metric.DIFFERENCE:
        raise UsageError("a table has no differences", hint="draw what `compare` returns")
    from matrixbench.charts.heatmap import heatmap  # noqa: PLC0415  heavy: altair

    name = shown.attrs.get("experiment", "") if title is None else title
    return heatmap(shown, chart or Chart(), title=name)


def save(drawing: Drawing, path: str | Path) -> None:
    """Write a heatmap to a file whose suffix says the format: one of `SUFFIXES`.

    PNG has two pixels for each point of the page, fewer where a side would pass 8,192. HTML holds
    everything it needs and loads nothing; its tooltips show what the squares have no room for.

    Raises:
        UsageError: Another suffix, or the file cannot be written.
    """
    path = Path(path)
    check_suffix(path)
    _demand_docstrings()
    from matrixbench.charts.files import write  # noqa: PLC0415  heavy: altair, vl-convert

    write(drawing, path)


def check_suffix(path: Path) -> None:
    """Raise if `save` cannot write a file of this name; costs nothing, so ask before the work.

    Raises:
        UsageError: The suffix is none of `SUFFIXES`.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(
            f"«{path.suffix}» is no format that charts are written in",
            where=str(path),
            hint=f"end the file's name in one of {', '.join(SUFFIXES)}",
        )


def _demand_docstrings() -> None:
    """Raise where Python drops docstrings: Altair is built from its own.

    Raises:
        UsageError: Python runs with `-OO`.
    """
    if sys.flags.optimize > 1:
        raise UsageError(
            "nothing can be drawn where Python drops docstrings (-OO)",
            where="PYTHONOPTIMIZE",
            hint="run chart with PYTHONOPTIMIZE=1, or without it",
        )
