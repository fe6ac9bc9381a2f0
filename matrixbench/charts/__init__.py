"""Heatmaps: results, tables or comparisons in, an Altair chart or a file out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matrixbench.charts.difference import difference_map
from matrixbench.charts.files import SUFFIXES, check_suffix, save
from matrixbench.charts.heatmap import heatmap
from matrixbench.comparison.data import Comparison
from matrixbench.errors import UsageError
from matrixbench.results.experiment import Results
from matrixbench.results.tables import NAME_ATTR, cell_frame
from matrixbench.spec.experiment import Chart, Metric

if TYPE_CHECKING:
    from pandas import DataFrame

    from matrixbench.charts.heatmap import Drawing

__all__ = ["SUFFIXES", "check_suffix", "draw", "save"]


def draw(
    shown: DataFrame | Results | Comparison,
    chart: Chart | None = None,
    *,
    title: str | None = None,
) -> Drawing:
    """Return a heatmap of cells, or of a comparison's differences.

    It is an Altair chart, which notebooks display. It holds its own data, of 10,000 squares at
    most, and knows of no file.

    Args:
        shown: What is drawn: open results, a `cell_frame`, or a comparison.
        chart: Which axis stands where, and what the colour means (of a comparison: the difference).
            Default: test across, temperature down, facets for what else varies; success ratios.
        title: The title where the chart has none. Default: the experiment's name, or what is
            compared with what.

    Raises:
        UsageError: The chart's sides do not fit, a table cannot show its metric, or the squares are
            too many.
        NothingSelectedError: Of the results nothing has been measured.
    """
    if isinstance(shown, Comparison):
        return difference_map(shown, chart, title=title)
    if chart is not None and chart.metric is Metric.DIFFERENCE:
        raise UsageError("a table has no differences", hint="draw what `compare` returns")
    frame = cell_frame(shown) if isinstance(shown, Results) else shown
    name = frame.attrs.get(NAME_ATTR, "") if title is None else title
    return heatmap(frame, chart or Chart(), title=name)
