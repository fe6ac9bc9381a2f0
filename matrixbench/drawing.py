"""From an experiment and its store to picture files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matrixbench.errors import NothingSelectedError, UsageError
from matrixbench.execution.planning import prepare
from matrixbench.execution.rejudge import judged_by, rejudge
from matrixbench.frame import Square, cell_frame
from matrixbench.plan.requests import is_greedy
from matrixbench.spec.charts import Chart, Metric
from matrixbench.store.database import open_store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from pandas import DataFrame

    from matrixbench.execution.planning import Prepared
    from matrixbench.execution.settings import Settings
    from matrixbench.spec.load import Experiment
    from matrixbench.store.database import Store

DEFAULT_CHART = "heatmap"
"""The name of the chart that is drawn where the file has none."""


def draw_files(
    experiment: Experiment,
    settings: Settings,
    *,
    output: Path | None = None,
    name: str | None = None,
    metric: str | None = None,
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
        metric: What the colour means, over the file's.
        where: Selector expressions; all must hold.
        say: Is told what a user should know.

    Raises:
        UsageError: An unknown chart, metric, axis or kind of file, or a file that cannot be
            written.
        NothingSelectedError: No cell is selected, or none has been measured.
        StoreError: The store cannot be read.
    """
    from matrixbench.charts import draw, save  # noqa: PLC0415  heavy: altair

    charts = _charts(experiment, name, metric)
    frame = measured_frame(experiment, settings, where, say)
    for chart_name, chart in charts.items():
        title = chart.title or _title(experiment, chart_name)
        path = _path(experiment, output, chart_name, alone=len(charts) == 1)
        save(draw(frame, chart, title=title), path)
        yield path


def measured_frame(
    experiment: Experiment,
    settings: Settings,
    where: Sequence[str] = (),
    say: Callable[[str], None] = lambda _: None,
) -> DataFrame:
    """Return one row a cell of an experiment, under the builds that are there now or were last.

    Replies whose checks have changed are judged again first.

    Raises:
        NothingSelectedError: No cell is selected, or none has been measured.
        StoreError: The store cannot be read.
    """
    if not settings.store.exists():
        raise _nothing_measured(experiment, settings)
    with open_store(settings.store, create=False) as store:
        prepared = prepare(experiment, settings, store=store, where=where)
        if not prepared.plan.cells and not prepared.plan.not_applicable:
            raise NothingSelectedError("no cell is selected", where=str(experiment.path))
        replies, changed = rejudge(store, prepared.plan, prepared.checks)
        if replies:
            say(f"{replies:,} stored replies judged by the present checks, {changed:,} changed")
        frame = _frame(prepared, store)
    if not frame["trials"].any() and not frame["errored"].any():
        raise _nothing_measured(experiment, settings)
    return frame


def _nothing_measured(experiment: Experiment, settings: Settings) -> NothingSelectedError:
    return NothingSelectedError(
        f"nothing has been measured of {experiment.file.name} yet",
        where=str(settings.store),
        hint=f"first run: matrixbench execute {experiment.path.name}",
    )


def _frame(prepared: Prepared, store: Store) -> DataFrame:
    layers = judged_by(prepared.plan, prepared.checks)
    frames = []
    for layer in layers:
        squares = [
            square for square, checks in _squares(prepared) if layer.get(square.cell) is checks
        ]
        rows = store.trials(
            prepared.plan.experiment,
            first_seed=prepared.experiment.file.seed,
            trials=prepared.wanted.trials,
            checks={cell: checks.digest for cell, checks in layer.items()},
        )
        aside = prepared.plan.not_applicable if layer is layers[0] else ()
        frames.append(cell_frame(squares, aside, rows, axes=prepared.matrix.axes))
    if not frames:
        return cell_frame((), prepared.plan.not_applicable, (), axes=prepared.matrix.axes)
    return _joined(frames)


def _joined(frames: list[DataFrame]) -> DataFrame:
    if len(frames) == 1:
        return frames[0]
    import pandas as pd  # noqa: PLC0415  heavy

    joined = pd.concat(frames, ignore_index=True)
    joined.attrs = frames[0].attrs
    return joined


def _squares(prepared: Prepared) -> Iterator[tuple[Square, object]]:
    for launch in prepared.plan.launches:
        build = launch.build.build
        for cell in launch.cells:
            square = Square(
                cell=cell.id,
                coordinates=cell.coordinates(),
                build=None if build is None else build.id,
                planned=prepared.wanted.of(cell),
                greedy=is_greedy(cell.point.fields),
            )
            yield square, prepared.checks[id(cell.test)]


def _charts(experiment: Experiment, name: str | None, metric: str | None) -> Mapping[str, Chart]:
    charts = dict(experiment.file.charts) or {DEFAULT_CHART: Chart()}
    if name is not None and name not in charts:
        raise UsageError(
            f"the experiment has no chart «{name}»",
            where=str(experiment.path),
            hint=f"its charts are {', '.join(charts)}",
        )
    if name is not None:
        charts = {name: charts[name]}
    if metric is None:
        return charts
    if metric not in {known.value for known in Metric}:
        raise UsageError(
            f"there is no metric «{metric}»", hint=f"metrics are {', '.join(sorted(Metric))}"
        )
    return {
        key: chart.model_copy(update={"metric": Metric(metric)}) for key, chart in charts.items()
    }


def _title(experiment: Experiment, chart: str) -> str:
    name = experiment.file.name
    return name if chart == DEFAULT_CHART else f"{name}: {chart}"


def _path(experiment: Experiment, output: Path | None, chart: str, *, alone: bool) -> Path:
    if output is None:
        stem = experiment.path.with_suffix("")
        return stem.with_name(f"{stem.name}.{chart}.png")
    return output if alone else output.with_name(f"{output.stem}.{chart}{output.suffix}")
