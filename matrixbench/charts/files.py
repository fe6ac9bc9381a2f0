"""Charts as files: which ones an experiment has, how they are called, and what is written."""

from __future__ import annotations

import html
import json
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matrixbench.charts.difference import difference_map
from matrixbench.charts.heatmap import heatmap
from matrixbench.charts.layers import TOOLTIPS
from matrixbench.charts.squares import demand_room
from matrixbench.comparison.pairs import compare_results
from matrixbench.errors import UsageError
from matrixbench.results.tables import cell_frame, chosen_interval
from matrixbench.safe_files import write_whole
from matrixbench.spec.axes import BUILD, label
from matrixbench.spec.experiment import Chart, Metric
from matrixbench.spec.problems import metric_hint
from matrixbench.spec.wording import choose

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pandas import DataFrame

    from matrixbench.charts.heatmap import Drawing
    from matrixbench.results.experiment import Results

DEFAULT_CHART = "heatmap"
"""The name of the chart that is drawn where the file has none."""

SUFFIXES = (".png", ".svg", ".pdf", ".html", ".json")
"""What `save` can write; `.json` is Vega-Lite."""

MAX_PIXELS = 8192
"""The longest side of a PNG."""

CRISP = 2.0
"""Pixels for each point of the page."""

_LONGEST_NAME = 80
_SVG_SIZE = re.compile(r'<svg[^>]*?\swidth="([\d.]+)"[^>]*?\sheight="([\d.]+)"')


@dataclass(frozen=True, slots=True, kw_only=True)
class ChartOptions:
    """What the colour should mean, over what a chart says; None leaves the chart as it is.

    Args:
        baseline: `AXIS=VALUE`, for the metric `difference`.
        interval: Which interval squares have: a `ChosenInterval`.
    """

    metric: str | None = None
    baseline: str | None = None
    k: int | None = None
    interval: str | None = None

    def check(self) -> None:
        """Refuse what there is not, before any work.

        Raises:
            UsageError: There is no such metric or interval.
        """
        if self.metric is not None and self.metric not in {known.value for known in Metric}:
            raise UsageError(
                f"there is no metric «{self.metric}»",
                where="--metric",
                hint=metric_hint(self.metric),
            )
        if self.interval is not None:
            chosen_interval(self.interval)

    def over(self, chart: Chart) -> Chart:
        """Return the chart with these options.

        Raises:
            UsageError: As for `check`; or a difference lacks its baseline.
        """
        self.check()
        metric = chart.metric if self.metric is None else Metric(self.metric)
        if self.baseline is not None and self.metric is None:
            metric = Metric.DIFFERENCE
        baseline = chart.baseline
        if self.baseline is not None:
            axis, _, value = self.baseline.partition("=")
            baseline = {axis.strip(): value.strip()}
        if metric is Metric.DIFFERENCE and baseline is None:
            raise UsageError(
                "a difference needs a baseline",
                where="--metric difference",
                hint="for example --baseline backend=baseline",
            )
        interval = chart.interval if self.interval is None else chosen_interval(self.interval)
        changes = {
            "metric": metric,
            "baseline": baseline,
            "k": self.k or chart.k,
            "interval": interval,
        }
        return chart.model_copy(update=changes)


def draw_files(
    results: Results,
    *,
    output: Path | None = None,
    name: str | None = None,
    options: ChartOptions | None = None,
) -> Iterator[Path]:
    """Draw the charts of an experiment and yield the files as they are written.

    Of what only the store knows there is one chart, the default.

    Args:
        output: The file; with several charts each one's name is put into it. Default: a PNG
            beside the experiment's file; without a file one of its name in this folder.
        options: What the colour means, over the file's.

    Raises:
        UsageError: An unknown chart, metric, axis or kind of file, a file that cannot be written,
            or more squares than a picture has room for.
        NothingSelectedError: Nothing has been measured.
        StoreError: The store cannot be read.
    """
    charts = charts_of(results, name, options)
    frames: dict[bool, DataFrame] = {}
    for chart_name, written in charts.items():
        title = title_of(results, chart_name)
        chart = _selected(written, title, results.where)
        path = _path(results, output, chart_name, alone=len(charts) == 1)
        if chart.metric is Metric.DIFFERENCE:
            save(_difference(results, chart, title), path)
        else:
            split = names_build(chart)
            if not split:  # before the table is made, which takes long where they are many
                _demand_room(results)
            if split not in frames:
                frames[split] = cell_frame(results, by_build=split)
            save(heatmap(frames[split], chart, title=title), path)
        yield path


def _demand_room(results: Results) -> None:
    points = [cell.coordinates for cell in results.cells]
    points += [point.coordinates for point in results.not_applicable]
    demand_room(len(points), lambda: points)


def _difference(results: Results, chart: Chart, title: str) -> Drawing:
    ((axis, value),) = (chart.baseline or {}).items()
    found = compare_results(results, baseline=f"{axis}={label(value)}", remember=False)
    return difference_map(found, chart, title=title)


def names_build(chart: Chart) -> bool:
    """Return whether a chart tells builds apart."""
    sides = (chart.x, chart.y, chart.row, chart.column)
    return any(BUILD in ([side] if isinstance(side, str) else side or ()) for side in sides)


def charts_of(
    results: Results, name: str | None = None, options: ChartOptions | None = None
) -> Mapping[str, Chart]:
    """Return the charts of an experiment's file, else the default one, by their names.

    Raises:
        UsageError: There is none of the name, or no such metric or interval.
    """
    experiment = None if results.prepared is None else results.prepared.experiment
    charts = {} if experiment is None else dict(experiment.file.charts)
    charts = charts or {DEFAULT_CHART: Chart()}
    if name is not None and name not in charts:
        raise UsageError(
            f"the experiment has no chart «{name}»",
            where=results.experiment if experiment is None else str(experiment.path),
            hint=choose(name, list(charts), what="its charts"),
        )
    if name is not None:
        charts = {name: charts[name]}
    return {key: (options or ChartOptions()).over(chart) for key, chart in charts.items()}


def title_of(results: Results, chart: str) -> str:
    """Return what a chart is called that has no title of its own."""
    name = results.experiment
    return name if chart == DEFAULT_CHART else f"{name}: {chart}"


def _selected(chart: Chart, title: str, where: Sequence[str]) -> Chart:
    """Return the chart with a title that says what of the experiment was selected."""
    if not where:
        return chart
    told = f"{chart.title or title} ({' and '.join(where)})"
    return chart.model_copy(update={"title": told})


def _path(results: Results, output: Path | None, chart: str, *, alone: bool) -> Path:
    chart = re.sub(r"[^\w.=-]+", "-", chart)[:_LONGEST_NAME]  # no folder, no name too long
    if output is not None:
        return output if alone else output.with_name(f"{output.stem}.{chart}{output.suffix}")
    if results.prepared is None:
        return Path(f"{results.experiment.replace('/', '-')}.{chart}.png")
    stem = results.prepared.experiment.path.with_suffix("")
    return stem.with_name(f"{stem.name}.{chart}.png")


def save(drawing: Drawing, path: str | Path) -> None:
    """Write a heatmap to a file whose suffix says the format: one of `SUFFIXES`.

    PNG has two pixels for each point of the page, fewer where a side would pass 8,192. HTML holds
    everything it needs and loads nothing; its tooltips show what the squares have no room for.

    Raises:
        UsageError: Another suffix, or the file cannot be written.
    """
    path = Path(path)
    check_suffix(path)
    content = _content(drawing.to_dict(), path.suffix.lower())
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, content)
    except OSError as error:
        raise UsageError(
            f"the chart cannot be written: {error.strerror}",
            where=str(path),
            hint="choose another place with -o",
        ) from error


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


def _content(spec: dict[str, Any], suffix: str) -> bytes:
    match suffix:
        case ".json":
            return (json.dumps(spec, indent=2, ensure_ascii=False) + "\n").encode()
        case ".html":
            return _page(spec).encode()
        case ".svg":
            return _svg(spec).encode()
        case ".pdf":
            import vl_convert as vlc

            return bytes(vlc.svg_to_pdf(_svg(spec)))
        case _:
            return _png(_svg(spec))


def _svg(spec: dict[str, Any]) -> str:
    import altair as alt
    import vl_convert as vlc

    version = "_".join(alt.SCHEMA_VERSION.removeprefix("v").split(".")[:2])
    return str(vlc.vegalite_to_svg(_still(spec), vl_version=version))


def _still(spec: dict[str, Any]) -> dict[str, Any]:
    """Return the description of a picture without tooltips, which is faster to draw."""
    mute = {
        name: [{field: row[field] for field in row if field != "tooltip"} for row in rows]
        for name, rows in spec.get("datasets", {}).items()
    }
    still = {**spec, "datasets": mute}
    if "spec" in spec:
        return {**still, "spec": {**spec["spec"], "layer": _without_tooltips(spec["spec"])}}
    return {**still, "layer": _without_tooltips(spec)}


def _without_tooltips(facet: dict[str, Any]) -> list[dict[str, Any]]:
    return [layer for layer in facet["layer"] if layer.get("name") != TOOLTIPS]


def _png(svg: str) -> bytes:
    import vl_convert as vlc

    size = _SVG_SIZE.search(svg)
    longest = max(float(side) for side in size.groups()) if size else 0.0
    scale = min(CRISP, MAX_PIXELS / longest) if longest else CRISP
    return bytes(vlc.svg_to_png(svg, scale=scale))


def _page(spec: dict[str, Any]) -> str:
    """Return a page that holds the scripts and the data, and loads nothing."""
    title = " ".join(spec["title"]["text"])
    # What a model wrote stands in the data: no `</script>` may end the element early.
    data = json.dumps(spec).replace("<", "\\u003c")
    return _PAGE.format(title=html.escape(title), data=data, script=_script())


@cache
def _script() -> str:
    """Return the scripts of every page: bundling them takes a second, and they are the same."""
    import vl_convert as vlc

    return str(vlc.javascript_bundle(_SHOW)).replace("</script", "<\\/script")


_SHOW = """
const spec = JSON.parse(document.getElementById("spec").textContent);
vegaEmbed("#chart", spec, {mode: "vega-lite", actions: {editor: false}});
"""

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ margin: 0; font-family: sans-serif; background: white; }}
p {{ margin: 12px; font-size: 12px; color: #555; }}
#vg-tooltip-element table tr td.value {{ max-width: 36em; white-space: normal; }}
</style>
</head>
<body>
<div id="chart"></div>
<p>What stands behind a square: <code>matrixbench report</code> makes a page in which each one opens
onto its replies.</p>
<script type="application/json" id="spec">{data}</script>
<script type="module">{script}</script>
</body>
</html>
"""
