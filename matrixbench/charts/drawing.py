"""From an experiment's results to picture files."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from matrixbench.comparison.pairs import compare_results
from matrixbench.errors import UsageError
from matrixbench.results.tables import cell_frame, chosen_interval
from matrixbench.spec.axes import BUILD, label
from matrixbench.spec.experiment import Chart, Metric
from matrixbench.spec.problems import metric_hint
from matrixbench.spec.wording import choose

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pandas import DataFrame

    from matrixbench.charts.heatmap import Drawing
    from matrixbench.results.experiment import Results

_LONGEST_NAME = 80

DEFAULT_CHART = "heatmap"
"""The name of the chart that is drawn where the file has none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What the colour should mean, over what a chart says; None leaves the chart as it is.

    Args:
        metric: The metric's name.
        baseline: `AXIS=VALUE`, for the metric `difference`.
        k: Attempts, for `pass_at_k` and `pass_hat_k`.
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
        """Return the chart with what is wished.

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
    wish: Wish | None = None,
) -> Iterator[Path]:
    """Draw the charts of an experiment and yield the files as they are written.

    Of what only the store knows there is one chart, the default.

    Args:
        results: The experiment's results.
        output: The file; with several charts each one's name is put into it. Default: a PNG
            beside the experiment's file; without a file one of its name in this folder.
        name: Only the chart of this name.
        wish: What the colour means, over the file's.

    Raises:
        UsageError: An unknown chart, metric, axis or kind of file, or a file that cannot be
            written.
        NothingSelectedError: Nothing has been measured.
        StoreError: The store cannot be read.
    """
    from matrixbench.charts import draw, save  # noqa: PLC0415  heavy: altair

    charts = _charts(results, name, wish or Wish())
    frames: dict[bool, DataFrame] = {}
    for chart_name, written in charts.items():
        title = _title(results, chart_name)
        chart = _selected(written, title, results.where)
        path = _path(results, output, chart_name, alone=len(charts) == 1)
        if chart.metric is Metric.DIFFERENCE:
            save(_difference(results, chart, title), path)
        else:
            split = _names_build(chart)
            if split not in frames:
                frames[split] = cell_frame(results, by_build=split)
            save(draw(frames[split], chart, title=title), path)
        yield path


def _difference(results: Results, chart: Chart, title: str) -> Drawing:
    from matrixbench.charts.difference import difference_map  # noqa: PLC0415  heavy: altair

    ((axis, value),) = (chart.baseline or {}).items()
    found = compare_results(results, baseline=f"{axis}={label(value)}", remember=False)
    return difference_map(found, chart, title=title)


def _names_build(chart: Chart) -> bool:
    sides = (chart.x, chart.y, chart.row, chart.column)
    return any(BUILD in ([side] if isinstance(side, str) else side or ()) for side in sides)


def _charts(results: Results, name: str | None, wish: Wish) -> Mapping[str, Chart]:
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
    return {key: wish.over(chart) for key, chart in charts.items()}


def _title(results: Results, chart: str) -> str:
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
