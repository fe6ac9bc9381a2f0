"""The charts of a report: Vega that is drawn in the page, and whose squares open cells."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from matrixbench.charts import draw
from matrixbench.charts.files import charts_of, names_build, title_of
from matrixbench.comparison.pairs import compare_results
from matrixbench.results.tables import frame_of
from matrixbench.spec.axes import label
from matrixbench.spec.experiment import Metric

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pandas import DataFrame

    from matrixbench.results.experiment import Results
    from matrixbench.spec.experiment import Chart


class Drawn(NamedTuple):
    """A chart of a report.

    `squares` has the cells behind each square, by their places in the report: one, none where the
    square opens nothing, and of a difference candidate and baseline.
    """

    name: str
    title: str
    vega: dict[str, Any]
    squares: list[list[int]]


def drawings(
    results: Results,
    table: DataFrame,
    place_of: Callable[[str, str | None, object], list[int]],
    *,
    split: bool,
) -> Iterator[Drawn]:
    """Yield all charts of an experiment's file.

    Args:
        results: The results.
        table: One row for each cell of the report.
        place_of: Gives the place in the report of a cell's id, build and test.
        split: Whether the report's table has each cell once for each build.
    """
    for name, chart in charts_of(results).items():
        title = chart.title or title_of(results, name)
        if chart.metric is Metric.DIFFERENCE:
            yield _difference(results, name, chart, place_of)
        elif names_build(chart) is split:
            squares = [[place] for place in range(len(table))]
            yield Drawn(name, title, _vega(draw(table, chart, title=title)), squares)
        else:
            squares = [
                place_of(cell.id, cell.build, cell.coordinates.get("test"))
                for cell in results.tallies
            ]
            squares += [[] for _ in results.not_applicable]
            drawing = draw(frame_of(results), chart, title=title)
            yield Drawn(name, title, _vega(drawing), squares)


def _difference(
    results: Results,
    name: str,
    chart: Chart,
    place_of: Callable[[str, str | None, object], list[int]],
) -> Drawn:
    ((axis, value),) = (chart.baseline or {}).items()
    found = compare_results(results, baseline=f"{axis}={label(value)}", remember=False)
    pairs = [cell.pair for candidate in found.candidates for cell in candidate.cells]
    squares = [
        [place for side in pair.sides for place in place_of(side.cell, side.build, pair.test)]
        for pair in pairs
    ]
    title = chart.title or title_of(results, name)
    return Drawn(name, title, _vega(draw(found, chart, title=title)), squares)


def _vega(drawing: Any) -> dict[str, Any]:
    """Return a Vega-Lite chart as Vega, which a browser draws sooner."""
    import altair as alt
    import vl_convert

    spec = drawing.to_dict()
    # What a square says is in the report's own data.
    rows = {
        name: [{field: row[field] for field in row if field != "tooltip"} for row in values]
        for name, values in spec.get("datasets", {}).items()
    }
    version = "_".join(alt.SCHEMA_VERSION.removeprefix("v").split(".")[:2])
    vega: dict[str, Any] = vl_convert.vegalite_to_vega(
        {**spec, "datasets": rows} if rows else spec, vl_version=version
    )
    return vega
