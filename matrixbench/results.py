"""The results of an experiment, found by its file or by its name in the store."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from matrixbench.errors import UsageError
from matrixbench.execution.planning import nothing_in_file, prepare
from matrixbench.execution.rejudge import rejudge
from matrixbench.frame import Square, cell_frame, trial_frame
from matrixbench.plan.axes import axis_values
from matrixbench.plan.requests import is_greedy
from matrixbench.plan.selector import parse_where
from matrixbench.plan.unselected import nothing_selected
from matrixbench.store.experiments import experiment_names, read_experiment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from pandas import DataFrame

    from matrixbench.execution.planning import Prepared
    from matrixbench.execution.settings import Settings
    from matrixbench.plan.builds import HeldBuild
    from matrixbench.plan.cells import Cell, Coordinates, NotApplicable
    from matrixbench.plan.planner import LaunchPlan
    from matrixbench.spec.load import Experiment
    from matrixbench.store.database import Store
    from matrixbench.store.experiments import ExperimentRecord, RecordedCell, RecordedLaunch
    from matrixbench.store.rows import TrialRow


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ResultCell:
    """A cell, and the one build that its results are shown for.

    Args:
        square: The cell as tables and charts need it.
        launch: The name of its launch.
        launch_digest: The launch's digest.
        first_seed: The seed of trial 0.
        checks: Digest of its present checks; empty where they are not known: then the newest
            judgement counts.
        cell: The cell of the plan; None where only the store knows it.
    """

    square: Square
    launch: str
    launch_digest: str
    first_seed: int
    checks: str = ""
    cell: Cell | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Results:
    """The selected cells of an experiment, and how to read their trials.

    Args:
        experiment: The experiment's name.
        cells: In the file's order.
        axes: Axis → its values, in the file's order.
        trials: How many trials of a cell count at most; None: as many as each cell has planned.
        not_applicable: Points that cannot be measured as asked; none where only the store knows
            the experiment.
        prepared: The plan; None where only the store knows the experiment.
    """

    experiment: str
    cells: tuple[ResultCell, ...]
    axes: Mapping[str, Sequence[Any]]
    trials: int | None = None
    not_applicable: Sequence[NotApplicable] = ()
    prepared: Prepared | None = None

    def rows(self, store: Store) -> Iterator[tuple[ResultCell, TrialRow]]:
        """Yield the newest attempt of each trial with its cell, oldest first.

        A trial that several cells share (two backends of one build) comes once for each.
        """
        for layer in _layers(self.cells):
            cells = layer.by_build()
            for row in layer.rows(self, store):
                for cell in cells.get((row.cell, row.build), ()):
                    yield cell, row

    def frame(self, store: Store) -> DataFrame:
        """Return one row a cell, as `frame.cell_frame` says."""
        frames = []
        aside = self.not_applicable
        for layer in _layers(self.cells):
            squares = [cell.square for cell in layer.cells]
            frames.append(cell_frame(squares, aside, layer.rows(self, store), axes=self.axes))
            aside = ()
        return _joined(frames or [cell_frame((), aside, (), axes=self.axes)])

    def trials_frame(self, store: Store) -> DataFrame:
        """Return one row a trial, as `frame.trial_frame` says."""
        layers = _layers(self.cells)
        frames = [
            trial_frame([cell.square for cell in layer.cells], layer.rows(self, store))
            for layer in layers
        ]
        return _joined([frame for frame in frames if len(frame)] or [trial_frame((), ())])


@dataclass(slots=True, eq=False)
class _Layer:
    """Cells of one first seed, each cell id judged by one set of checks.

    Tests that differ in their checks alone share their trials, and so do not fit in one layer.
    """

    first_seed: int
    cells: list[ResultCell] = field(default_factory=list)
    checks: dict[str, str] = field(default_factory=dict)

    def takes(self, cell: ResultCell) -> bool:
        same_seed = cell.first_seed == self.first_seed
        return same_seed and self.checks.setdefault(cell.square.cell, cell.checks) == cell.checks

    def by_build(self) -> dict[tuple[str, str | None], list[ResultCell]]:
        found: dict[tuple[str, str | None], list[ResultCell]] = {}
        for cell in self.cells:
            found.setdefault((cell.square.cell, cell.square.build), []).append(cell)
        return found

    def rows(self, results: Results, store: Store) -> Iterator[TrialRow]:
        planned = results.trials or max(cell.square.planned for cell in self.cells)
        return store.trials(
            results.experiment,
            first_seed=self.first_seed,
            trials=planned,
            cells=self.checks,
            checks={cell: checks for cell, checks in self.checks.items() if checks},
        )


def _layers(cells: Sequence[ResultCell]) -> list[_Layer]:
    layers: list[_Layer] = []
    for cell in cells:
        for layer in layers:
            if layer.takes(cell):
                break
        else:
            layer = _Layer(cell.first_seed)
            layer.takes(cell)
            layers.append(layer)
        layer.cells.append(cell)
    return layers


def _joined(frames: list[DataFrame]) -> DataFrame:
    if len(frames) == 1:
        return frames[0]
    import pandas as pd  # noqa: PLC0415  heavy

    joined = pd.concat(frames, ignore_index=True)
    joined.attrs = frames[0].attrs
    return joined


def results_of(
    experiment: Experiment,
    settings: Settings,
    store: Store | None,
    *,
    where: str | Sequence[str] = (),
    say: Callable[[str], None] = lambda _: None,
    by_build: bool = False,
) -> Results:
    """Return the results of an experiment's file, under the builds that are there now or were last.

    Stored replies whose checks have changed are judged again first.

    Args:
        experiment: The experiment.
        settings: Where the store is.
        store: The store; None where nothing was ever run.
        where: Selector expressions; all must hold.
        say: Is told how many replies were judged again.
        by_build: Whether a cell comes once for each build that it has trials under, the one that
            it is shown for otherwise first.

    Raises:
        UsageError: A selector is wrong.
        NothingSelectedError: No cell is selected.
        StoreError: The store cannot be read.
    """
    prepared = prepare(experiment, settings, store=store, where=where)
    if not prepared.plan.cells and not prepared.plan.not_applicable:
        raise nothing_in_file(experiment, where)
    if store is not None:
        again = rejudge(store, prepared.plan, prepared.of_cells)
        if again.replies:
            replies = f"{again.replies:,} stored replies judged by the present checks"
            say(f"{replies}, {again.changed:,} changed")
    return Results(
        experiment=prepared.plan.experiment,
        cells=tuple(_planned_cells(prepared, say, by_build=by_build)),
        axes=prepared.matrix.axes,
        trials=prepared.wanted.trials,
        not_applicable=prepared.plan.not_applicable,
        prepared=prepared,
    )


def _shown_builds(
    plan: LaunchPlan, held: Sequence[HeldBuild], say: Callable[[str], None]
) -> Sequence[str]:
    """Return the builds that a launch may be shown under, the one that is shown first.

    That is the present one; as long as it has not run at all, the one that ran last, and `say` is
    told: a map of the old build is worth more than an empty one, but never mixed with the new.
    """
    present = plan.build.build
    if held and present is not None and not held[0].present:
        say(
            f"{plan.launch.name}: the present build {present.id[:8]} has not run; shown is "
            f"{held[0].id[:8]}, which ran last"
        )
    if held:
        return [build.id for build in held]
    return [] if present is None else [present.id]


def _planned_cells(
    prepared: Prepared, say: Callable[[str], None], *, by_build: bool
) -> Iterator[ResultCell]:
    progress = prepared.history.progress
    for plan, held in prepared.builds():
        shown = _shown_builds(plan, held, say)
        for cell in plan.cells:
            yield _planned_cell(cell, plan, prepared, shown[0] if shown else None)
            for build in shown[1:] if by_build else ():
                if cell.id in progress.get(build, {}):
                    yield _planned_cell(cell, plan, prepared, build)


def _planned_cell(
    cell: Cell, plan: LaunchPlan, prepared: Prepared, build: str | None
) -> ResultCell:
    return ResultCell(
        square=Square(
            cell=cell.id,
            coordinates=cell.coordinates(),
            build=build,
            planned=prepared.wanted.of(cell),
            greedy=is_greedy(cell.point.fields),
            until=prepared.wanted.until_of(cell),
        ),
        launch=plan.launch.name,
        launch_digest=plan.launch.digest,
        first_seed=prepared.experiment.file.seed,
        checks=prepared.of_cells.of(cell).digest,
        cell=cell,
    )


def results_by_name(store: Store, name: str, *, where: str | Sequence[str] = ()) -> Results:
    """Return the results of an experiment that the store knows by name, imported ones included.

    A cell is shown for the build that was there and by the checks that it had when it ran last;
    where these are not known, the newest verdicts count.

    Raises:
        UsageError: The store knows no such experiment, or a selector is wrong.
        NothingSelectedError: No cell is selected.
        StoreError: The store cannot be read.
    """
    record = read_experiment(store.path, name)
    if record is None:
        raise _unknown(store, name)
    selected = parse_where(where, axis_values(_coordinates(record, record.cells)))
    builds = _builds(store, record)
    kept: list[RecordedCell] = []
    cells: list[ResultCell] = []
    for cell in record.cells:
        coordinates = record.coordinates(cell)
        if selected(coordinates):
            kept.append(cell)
            cells.append(_recorded_cell(cell, coordinates, record, builds[cell.launch]))
    if not cells:
        values = axis_values(_coordinates(record, record.cells))
        raise nothing_selected(selected, values, where=f"{name} in {store.path}")
    axes = axis_values(_coordinates(record, kept))
    return Results(experiment=name, cells=tuple(cells), axes=axes)


def _recorded_cell(
    cell: RecordedCell, coordinates: Coordinates, record: ExperimentRecord, build: str | None
) -> ResultCell:
    launch = record.launches[cell.launch]
    return ResultCell(
        square=Square(
            cell=cell.cell,
            coordinates=coordinates,
            build=build,
            planned=cell.planned,
            greedy=cell.greedy,
            until=cell.until,
        ),
        launch=launch.name,
        launch_digest=launch.digest,
        first_seed=cell.first_seed,
        checks=cell.checks,
    )


def _coordinates(record: ExperimentRecord, cells: Sequence[RecordedCell]) -> Iterator[Coordinates]:
    """Yield the coordinates that occur in some cells, each once, the server's first."""
    for place in dict.fromkeys(cell.launch for cell in cells):
        yield record.launches[place].coordinates
    for place in sorted({cell.request for cell in cells}):
        yield record.requests[place]
    for place in sorted({cell.test for cell in cells}):
        yield record.tests[place]


def _unknown(store: Store, name: str) -> UsageError:
    known = experiment_names(store.path)
    return UsageError(
        f"there is neither a file nor an experiment in the store called «{name}»",
        where=str(store.path),
        hint=f"the store knows {', '.join(known)}"
        if known
        else "the store knows no experiment by name yet: give the experiment's file",
    )


def _builds(store: Store, record: ExperimentRecord) -> list[str | None]:
    """Return the build of each launch: the one that was there, else the one that ran last."""
    ran = {
        (launch.record.name, launch.record.digest): launch.record.build.id
        for launch in store.launches(record.name)
        if launch.record.build is not None
    }

    def build_of(launch: RecordedLaunch) -> str | None:
        found = launch.build or ran.get((launch.name, launch.digest))
        if found is not None:
            return found
        last = store.last_build(launch.digest)
        return None if last is None else last.id

    return [build_of(launch) for launch in record.launches]
