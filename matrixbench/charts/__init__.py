"""Heatmaps: a cell frame and a chart's description in, an Altair chart or a file out.

Altair is imported when the first chart is drawn: it costs half a second that `plan` should not pay.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from matrixbench.charts.sides import Sides, resolve_sides
from matrixbench.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from pandas import DataFrame

    from matrixbench.charts.heatmap import Drawing
    from matrixbench.spec.charts import Chart

__all__ = ["SUFFIXES", "Sides", "check_suffix", "draw", "resolve_sides", "save"]

SUFFIXES = (".png", ".svg", ".pdf", ".html", ".json")
"""What `save` can write; `.json` is Vega-Lite."""


def draw(frame: DataFrame, chart: Chart, *, title: str) -> Drawing:
    """Return a heatmap of the cells in a frame (`matrixbench.frame.cell_frame`).

    It holds its own data, whatever the number of squares, and knows of no file. `title` is used
    where the chart has none of its own.

    Raises:
        UsageError: The chart's sides do not fit the frame (`resolve_sides`).
    """
    from matrixbench.charts.heatmap import heatmap  # noqa: PLC0415  heavy: altair

    return heatmap(frame, chart, title=title)


def save(drawing: Drawing, path: Path) -> None:
    """Write a heatmap to a file whose suffix says the format: one of `SUFFIXES`.

    PNG has two pixels for each point of the page, fewer where a side would pass 8,192. HTML holds
    everything it needs and loads nothing; its tooltips show what the squares have no room for.

    Raises:
        UsageError: Another suffix, or the file cannot be written.
    """
    check_suffix(path)
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
