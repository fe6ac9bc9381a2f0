"""From an experiment and its store to picture files."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from matrixbench.comparison.pairs import compare_results
from matrixbench.errors import NothingSelectedError, UsageError
from matrixbench.results.experiment import results_by_name, results_of
from matrixbench.results.frames import cell_frame, chosen_interval
from matrixbench.run.judging import opened
from matrixbench.spec.axes import BUILD, label
from matrixbench.spec.experiment import Chart, Metric
from matrixbench.spec.problems import metric_hint
from matrixbench.spec.wording import choose
from matrixbench.store.database import open_store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from pandas import DataFrame

    from matrixbench.charts.heatmap import Drawing
    from matrixbench.results.experiment import Results
    from matrixbench.run.settings import Settings
    from matrixbench.spec.load import Experiment
    from matrixbench.store.database import Store

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

    def over(self, chart: Chart) -> Chart:
        """Return the chart with what is wished.

        Raises:
            UsageError: There is no such metric or interval, or a difference lacks its baseline.
        """
        if self.metric is not None and self.metric not in {known.value for known in Metric}:
            raise UsageError(
                f"there is no metric «{self.metric}»",
                where="--metric",
                hint=metric_hint(self.metric),
            )
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
    experiment: Experiment,
    settings: Settings,
    *,
    output: Path | None = None,
    name: str | None = None,
    wish: Wish | None = None,
    where: Sequence[str] = (),
    say: Callable[[str], None],
) -> Iterator[Path]:
    """Draw the charts of an experiment and yield the files as they are written.

    Args:
        experiment: The experiment.
        settings: Where the store is.
        output: The file; with several charts each one's name is put into it. Default: a PNG
            beside the experiment's file.
        name: Only the chart of this name.
        wish: What the colour means, over the file's.
        where: Selector expressions; all must hold.
        say: Is told what a user should know.

    Raises:
        UsageError: An unknown chart, metric, axis or kind of file, or a file that cannot be
            written.
        NothingSelectedError: No cell is selected, or none has been measured.
        StoreError: The store cannot be read.
    """
    from matrixbench.charts import draw, save  # noqa: PLC0415  heavy: altair

    charts = _charts(experiment, name, wish or Wish())
    frames: dict[bool, DataFrame] = {}
    for chart_name, written in charts.items():
        title = _title(experiment, chart_name)
        chart = _selected(written, title, where)
        path = _path(experiment, output, chart_name, alone=len(charts) == 1)
        if chart.metric is Metric.DIFFERENCE:
            with opened(experiment, settings) as store:
                results = results_of(experiment, settings, store, where=where, say=say)
                save(_difference(results, store, chart, title), path)
        else:
            split = _names_build(chart)
            if split not in frames:
                frames[split] = cell_frame(
                    experiment, settings, where=where, say=say, by_build=split
                )
            save(draw(frames[split], chart, title=title), path)
        yield path


def draw_by_name(
    name: str,
    store: Path,
    *,
    output: Path | None = None,
    wish: Wish | None = None,
    where: Sequence[str] = (),
) -> Path:
    """Draw what a store knows of an experiment, imported results included; return the file.

    Args:
        name: The experiment's name in the store.
        store: The store.
        output: The file. Default: a PNG of that name in this folder.
        wish: What the colour means.
        where: Selector expressions; all must hold.

    Raises:
        UsageError: An unknown experiment, metric, axis or kind of file, or a file that cannot be
            written.
        NothingSelectedError: No cell is selected, or none has been measured.
        StoreError: The store cannot be read.
    """
    from matrixbench.charts import draw, save  # noqa: PLC0415  heavy: altair

    chart = _selected((wish or Wish()).over(Chart()), name, where)
    path = output or Path(f"{name.replace('/', '-')}.{DEFAULT_CHART}.png")
    with open_store(store, create=False) as opened:
        results = results_by_name(opened, name, where=where)
        if chart.metric is Metric.DIFFERENCE:
            save(_difference(results, opened, chart, name), path)
            return path
        frame = results.frame(opened)
    if not frame["trials"].any() and not frame["errored"].any():
        raise NothingSelectedError(f"nothing has been measured of {name} yet", where=str(store))
    save(draw(frame, chart, title=name), path)
    return path


def _difference(results: Results, store: Store, chart: Chart, title: str) -> Drawing:
    from matrixbench.charts.difference import difference_map  # noqa: PLC0415  heavy: altair

    ((axis, value),) = (chart.baseline or {}).items()
    found = compare_results(results, store, baseline=f"{axis}={label(value)}", remember=False)
    return difference_map(found, chart, title=title)


def _names_build(chart: Chart) -> bool:
    sides = (chart.x, chart.y, chart.row, chart.column)
    return any(BUILD in ([side] if isinstance(side, str) else side or ()) for side in sides)


def _charts(experiment: Experiment, name: str | None, wish: Wish) -> Mapping[str, Chart]:
    charts = dict(experiment.file.charts) or {DEFAULT_CHART: Chart()}
    if name is not None and name not in charts:
        raise UsageError(
            f"the experiment has no chart «{name}»",
            where=str(experiment.path),
            hint=choose(name, list(charts), what="its charts"),
        )
    if name is not None:
        charts = {name: charts[name]}
    return {key: wish.over(chart) for key, chart in charts.items()}


def _title(experiment: Experiment, chart: str) -> str:
    name = experiment.file.name
    return name if chart == DEFAULT_CHART else f"{name}: {chart}"


def _selected(chart: Chart, title: str, where: Sequence[str]) -> Chart:
    """Return the chart with a title that says what of the experiment was selected."""
    if not where:
        return chart
    told = f"{chart.title or title} ({' and '.join(where)})"
    return chart.model_copy(update={"title": told})


def _path(experiment: Experiment, output: Path | None, chart: str, *, alone: bool) -> Path:
    chart = re.sub(r"[^\w.=-]+", "-", chart)[:_LONGEST_NAME]  # no folder, no name too long
    if output is None:
        stem = experiment.path.with_suffix("")
        return stem.with_name(f"{stem.name}.{chart}.png")
    return output if alone else output.with_name(f"{output.stem}.{chart}{output.suffix}")
