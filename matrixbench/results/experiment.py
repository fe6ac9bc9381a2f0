"""The results of an experiment, found by its file or by its name in the store."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from matrixbench.errors import UsageError
from matrixbench.plan.builds import RecordedBuilds, build_labels
from matrixbench.plan.cells import ANY_LOAD, Loads, PresentBuild, load_in, url_of
from matrixbench.plan.launches import launches
from matrixbench.plan.matrix import is_greedy
from matrixbench.plan.selector import nothing_selected, parse_where
from matrixbench.results.tables import AXES_ATTR, cell_frame, trial_frame
from matrixbench.results.tally import CellStatus, IntervalKind, Square
from matrixbench.run.judging import rejudge
from matrixbench.run.prepare import nothing_in_file, prepare
from matrixbench.run.settings import RunRequest
from matrixbench.run.stopping import ignoring
from matrixbench.spec.axes import axes_that, label, values_of_axis
from matrixbench.store.experiments import experiment_names, read_experiment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from pandas import DataFrame

    from matrixbench.plan.builds import HeldBuild
    from matrixbench.plan.cells import Cell, NotApplicable, Origin
    from matrixbench.plan.planner import LaunchPlan
    from matrixbench.records import Build
    from matrixbench.results.tables import Outcomes
    from matrixbench.run.prepare import Prepared
    from matrixbench.run.settings import Settings
    from matrixbench.run.stopping import LaunchKey
    from matrixbench.spec.axes import Coordinates
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
        imported: Whether another tool measured it.
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
    imported: bool = False

    @property
    def key(self) -> LaunchKey:
        """Its launch, under the build that it is shown for."""
        return self.launch_digest, self.square.build


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
        origins: Name and digest of each launch of the experiment, selected or not → where its
            server comes from; None where that was not looked at.
        loads: The loads of its launches.
    """

    experiment: str
    cells: tuple[ResultCell, ...]
    axes: Mapping[str, Sequence[Any]]
    trials: int | None = None
    not_applicable: Sequence[NotApplicable] = ()
    prepared: Prepared | None = None
    origins: Mapping[tuple[str, str], Origin | None] = field(default_factory=dict)
    loads: Loads = ANY_LOAD

    def rows(self, store: Store) -> Iterator[tuple[ResultCell, TrialRow]]:
        """Yield the newest attempt of each trial with its cell, oldest first.

        A trial that several cells share (two backends of one build) comes once for each.
        """
        for layer in _layers(self.cells):
            cells = layer.by_build()
            for row in layer.rows(self, store):
                for cell in cells.get((row.cell, row.build), ()):
                    yield cell, row

    def frame(
        self,
        store: Store,
        *,
        outcomes: Outcomes | None = None,
        interval: IntervalKind = IntervalKind.WILSON,
    ) -> DataFrame:
        """Return one row a cell, as `frame.cell_frame` says; keep in `outcomes` what passed."""
        frame, two_replies = self._frame(store, {}, outcomes, interval)
        ignored = ignoring(store, two_replies)
        return self._frame(store, ignored, None, interval)[0] if ignored else frame

    def _frame(
        self,
        store: Store,
        ignored: Mapping[LaunchKey, str],
        outcomes: Outcomes | None,
        interval: IntervalKind,
    ) -> tuple[DataFrame, Mapping[LaunchKey, bool]]:
        """Return the frame, and of which launches some cell has two different replies.

        Args:
            store: The store.
            ignored: The launches that ignore seeds, and what shows it.
            outcomes: Keeps what passed.
            interval: Which interval cells have.
        """
        frames = []
        aside = self.not_applicable
        two_replies: dict[LaunchKey, bool] = {}
        for layer in _layers(self.cells):
            squares = [
                replace(cell.square, seeds_ignored=ignored.get(cell.key, ""))
                for cell in layer.cells
            ]
            rows = layer.rows(self, store)
            if outcomes is not None:
                rows = outcomes.watched(rows, squares)
            found = cell_frame(squares, aside, rows, axes=self.axes, interval=interval)
            frames.append(found)
            for cell, distinct in zip(layer.cells, found["distinct"], strict=False):
                two_replies[cell.key] = two_replies.get(cell.key, False) or distinct > 1
            aside = ()
        frames = frames or [cell_frame((), aside, (), axes=self.axes)]
        return _joined(frames), two_replies

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
    """Cells, each cell id judged by one set of checks and asked from one first seed on.

    Tests that differ in their checks alone share their trials, and so do not fit in one layer.
    """

    cells: list[ResultCell] = field(default_factory=list)
    checks: dict[str, str] = field(default_factory=dict)
    first_seeds: dict[str, int] = field(default_factory=dict)

    def takes(self, cell: ResultCell) -> bool:
        cell_id = cell.square.cell
        if self.first_seeds.get(cell_id, cell.first_seed) != cell.first_seed:
            return False
        if self.checks.setdefault(cell_id, cell.checks) != cell.checks:
            return False
        self.first_seeds[cell_id] = cell.first_seed
        return True

    def by_build(self) -> dict[tuple[str, str | None], list[ResultCell]]:
        found: dict[tuple[str, str | None], list[ResultCell]] = {}
        for cell in self.cells:
            found.setdefault((cell.square.cell, cell.square.build), []).append(cell)
        return found

    def rows(self, results: Results, store: Store) -> Iterator[TrialRow]:
        planned = results.trials or max(cell.square.planned for cell in self.cells)
        return store.trials(
            results.experiment,
            first_seed=self.first_seeds,
            trials=planned,
            checks={cell: checks for cell, checks in self.checks.items() if checks},
            loads=results.loads,
        )


def _layers(cells: Sequence[ResultCell]) -> list[_Layer]:
    layers: list[_Layer] = []
    for cell in cells:
        for layer in layers:
            if layer.takes(cell):
                break
        else:
            layer = _Layer()
            layer.takes(cell)
            layers.append(layer)
        layer.cells.append(cell)
    return layers


def _joined(frames: list[DataFrame]) -> DataFrame:
    if len(frames) == 1:
        return frames[0]
    import pandas as pd

    joined = pd.concat(frames, ignore_index=True)
    joined.attrs = frames[0].attrs
    return joined


def with_luck(cells: Iterable[ResultCell]) -> tuple[ResultCell, ...]:
    """Return cells, with the seed of trial 0 told where cells of several tests have it in common.

    What another tool measured has numbers of repeats for seeds, which nobody sent.
    """
    found = tuple(cells)
    tests: dict[int, set[str]] = {}
    for cell in found:
        if not cell.imported:
            tests.setdefault(cell.first_seed, set()).add(label(cell.square.coordinates.get("test")))
    shared = {seed for seed, of_seed in tests.items() if len(of_seed) > 1}
    if not shared:
        return found
    return tuple(
        replace(cell, square=replace(cell.square, luck=cell.first_seed))
        if cell.first_seed in shared and not cell.imported
        else cell
        for cell in found
    )


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

    Stored replies whose checks have changed are judged again first, and what comes of it is not
    kept: looking writes nothing. `execute` keeps it.

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
    prepared = prepare(RunRequest(experiment=experiment, settings=settings, where=where), store)
    if not prepared.plan.cells and not prepared.plan.not_applicable:
        raise nothing_in_file(experiment, where)
    if store is not None:
        again = rejudge(store, prepared.plan, prepared.of_cells, prepared.loads, keep=False)
        if again.replies:
            replies = f"{again.replies:,} stored replies judged by the present checks"
            say(f"{replies}, {again.changed:,} changed")
    return Results(
        experiment=prepared.plan.experiment,
        cells=with_luck(_planned_cells(prepared, say, by_build=by_build)),
        axes=prepared.matrix.axes,
        trials=prepared.wanted.trials,
        not_applicable=prepared.plan.not_applicable,
        prepared=prepared,
        origins=_origins(prepared),
        loads=prepared.loads,
    )


def _origins(prepared: Prepared) -> dict[tuple[str, str], Origin | None]:
    every = (possible.launch for possible in launches(prepared.experiment))
    known = {
        (plan.launch.name, plan.launch.digest): plan.build.origin for plan in prepared.plan.launches
    }
    return {(launch.name, launch.digest): None for launch in every} | known


def _shown_builds(
    plan: LaunchPlan, held: Sequence[HeldBuild], say: Callable[[str], None]
) -> tuple[Sequence[str], str]:
    """Return the builds that a launch may be shown under, and why the first is unverified.

    The first is the present one; as long as it has not run at all, the one that ran last, and `say`
    is told: a map of the old build is worth more than an empty one, but never mixed with the new,
    and never without saying so.
    """
    present = plan.build.build
    if not held:
        return ([] if present is None else [present.id]), ""
    doubt = _doubt(plan, held[0])
    if doubt:
        say(f"{plan.launch.name}: {doubt}")
    return [build.id for build in held], doubt


def _doubt(plan: LaunchPlan, shown: HeldBuild) -> str:
    """Return why a build's results may not be those of what a launch has now; empty if they are."""
    now = plan.build
    if shown.present:
        return "" if now.verified else f"shown is the build that ran last (unverified): {now.note}"
    last = f"shown is {shown.id[:8]}, which ran last (unverified)"
    if now.origin is not None and now.origin.url and not now.origin.could_be(shown.build):
        return f"the server at {now.origin.url} has not run; {last}, at {url_of(shown.build)}"
    if now.build is not None:
        return f"the present build {now.build.id[:8]} has not run; {last}"
    return f"{last}: {now.note}"


def _planned_cells(
    prepared: Prepared, say: Callable[[str], None], *, by_build: bool
) -> Iterator[ResultCell]:
    progress = prepared.history.progress
    for plan, held in prepared.builds():
        shown, doubt = _shown_builds(plan, held, say)
        if by_build and held and not held[0].present:
            doubt = ""  # it stands under its own label, and claims to be nothing else
        for cell in plan.cells:
            yield _planned_cell(cell, plan, prepared, (shown[0] if shown else None, doubt))
            for build in shown[1:] if by_build else ():
                if cell.id in progress.get(build, {}):
                    yield _planned_cell(cell, plan, prepared, (build, ""))


def _planned_cell(
    cell: Cell, plan: LaunchPlan, prepared: Prepared, shown: tuple[str | None, str]
) -> ResultCell:
    build, doubt = shown
    return ResultCell(
        square=Square(
            cell=cell.id,
            coordinates=cell.coordinates(),
            build=build,
            unverified=doubt or prepared.of_cells.of(cell).unverified,
            planned=prepared.wanted.of(cell),
            greedy=is_greedy(cell.point.fields),
            until=prepared.wanted.until_of(cell),
            launch=plan.launch.name,
            load=plan.launch.load.key,
        ),
        launch=plan.launch.name,
        launch_digest=plan.launch.digest,
        first_seed=prepared.seeds.first(cell),
        checks=prepared.of_cells.of(cell).digest,
        cell=cell,
    )


def results_by_name(store: Store, name: str, *, where: str | Sequence[str] = ()) -> Results:
    """Return the results of an experiment that the store knows by name, imported ones included.

    A cell is shown for the build that was there and by the checks that it had when it ran last;
    where these are not known, the newest verdicts count. Nothing but the store is looked at, so
    that a build is unverified only where the store does not tell whose it is.

    Raises:
        UsageError: The store knows no such experiment, or a selector is wrong.
        NothingSelectedError: No cell is selected.
        StoreError: The store cannot be read.
    """
    record = read_experiment(store.path, name)
    if record is None:
        raise _unknown(store, name)
    selected = parse_where(where, values_of_axis(_coordinates(record, record.cells)))
    builds = _builds(store, record)
    keys = _keys(store, record)
    kept: list[RecordedCell] = []
    cells: list[ResultCell] = []
    for cell in record.cells:
        coordinates = record.coordinates(cell)
        if selected(coordinates):
            kept.append(cell)
            shown, load = builds[cell.launch], keys[cell.launch]
            cells.append(_recorded_cell(cell, coordinates, record, shown, load))
    if not cells:
        values = values_of_axis(_coordinates(record, record.cells))
        raise nothing_selected(selected, values, where=f"{name} in {store.path}")
    axes = values_of_axis(_coordinates(record, kept))
    return Results(
        experiment=name,
        cells=with_luck(cells),
        axes=axes,
        origins={(launch.name, launch.digest): launch.origin for launch in record.launches},
        loads=_recorded_loads(record, keys),
    )


def _keys(store: Store, record: ExperimentRecord) -> list[str | None]:
    """Return the load of each launch: what its cells carry, else what it ran under last."""
    newest = store.newest_loads()
    carried = {cell.launch: load_in(cell.cell) for cell in record.cells}
    return [
        carried.get(place) or newest.get((launch.name, launch.digest))
        for place, launch in enumerate(record.launches)
    ]


def _recorded_loads(record: ExperimentRecord, keys: Sequence[str | None]) -> Loads:
    apart: dict[str, dict[str, str]] = {}
    of: dict[str, set[str]] = {}
    for launch, key in zip(record.launches, keys, strict=True):
        if key:
            of.setdefault(launch.digest, set()).add(key)
    for place in dict.fromkeys(cell.launch for cell in record.cells if load_in(cell.cell)):
        launch, key = record.launches[place], keys[place]
        apart.setdefault(launch.digest, {})[launch.name] = key or ""
    return Loads(of={digest: frozenset(known) for digest, known in of.items()}, apart=apart)


def _recorded_cell(
    cell: RecordedCell,
    coordinates: Coordinates,
    record: ExperimentRecord,
    shown: tuple[str | None, str],
    load: str | None,
) -> ResultCell:
    launch, (build, doubt) = record.launches[cell.launch], shown
    return ResultCell(
        square=Square(
            cell=cell.cell,
            coordinates=coordinates,
            build=build,
            unverified=doubt,
            planned=cell.planned,
            greedy=cell.greedy,
            until=cell.until,
            launch=launch.name,
            load=load,
        ),
        launch=launch.name,
        launch_digest=launch.digest,
        first_seed=cell.first_seed,
        checks=cell.checks,
        imported=launch.imported,
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


def _builds(store: Store, record: ExperimentRecord) -> list[tuple[str | None, str]]:
    """Return the build of each launch, and why it is unverified: the one that was there, else ran.

    The record of an older version does not say where servers came from. There a launch's own runs
    tell; one without any is shown what others of its digest ran, which may be another server's.
    """
    runs = store.launch_runs()
    recorded = RecordedBuilds(record.name, record.launches, runs, store.builds())

    def build_of(launch: RecordedLaunch) -> tuple[str | None, str]:
        if launch.build is not None:
            return launch.build, ""
        fitting = [run for run in runs if run.digest == launch.digest]
        names = (record.name, launch.name)
        own = [run.build for run in fitting if (run.experiment, run.name) == names]
        if launch.origin is None:
            if own:
                return own[0], ""
            return _guessed(next((run.build for run in fitting), None), _OF_ANOTHER)
        nothing = PresentBuild(build=None, verified=False, origin=launch.origin)
        found = recorded.present(launch, nothing)
        if found.build is not None and found.verified:
            return found.build.id, ""
        guess = next(iter(own), None) if found.build is None else found.build.id
        return _guessed(guess, launch.origin.missing or _NOT_SINCE)

    return [build_of(launch) for launch in record.launches]


_OF_ANOTHER = "the store does not tell whose server it was"
_NOT_SINCE = "what the experiment's file named last has not run"


def _guessed(build: str | None, why: str) -> tuple[str | None, str]:
    if build is None:
        return None, ""
    return build, f"shown is {build[:8]}, which ran last (unverified): {why}"


def split_by_build(frame: DataFrame, results: Results, builds: Mapping[str, Build]) -> DataFrame:
    """Return a cell frame whose column `build` holds labels, present builds first, then newest.

    A cell that is not applicable is so under every build: it comes once for each build of its
    backend.

    Args:
        frame: One row for each cell and build.
        results: What it was made from, `by_build`.
        builds: Build id → build, oldest first.
    """
    shown = frame[frame["build"].notna()]
    pairs = list(zip(shown["cell"], shown["build"], strict=True))
    labels = build_labels(pairs, builds)
    split = frame.copy()
    split["build"] = [labels.get(build) for build in frame["build"]]
    split = _not_applicable_everywhere(split)
    present = [] if results.prepared is None else results.prepared.plan.launches
    ids = [plan.build.build.id for plan in present if plan.build.build is not None]
    ordered = [
        labels[build] for build in (*ids, *reversed(list(builds)), *labels) if build in labels
    ]
    split.attrs = {
        AXES_ATTR: {**frame.attrs.get(AXES_ATTR, {}), "build": list(dict.fromkeys(ordered))}
    }
    return split


def _not_applicable_everywhere(frame: DataFrame) -> DataFrame:
    aside = frame["status"] == CellStatus.NOT_APPLICABLE.value
    axes = axes_that(lambda axis: axis.sets_build and axis.name in frame.columns)
    if not aside.any() or not axes:
        return frame
    servers = list(zip(*(frame[axis] for axis in axes), strict=True))
    known: dict[tuple[object, ...], dict[str, None]] = {}
    for server, build in zip(servers, frame["build"], strict=True):
        if isinstance(build, str):  # pandas may have made NaN of None
            known.setdefault(server, {})[build] = None
    split = frame.copy()
    split["build"] = [
        list(known.get(server, [None])) if apart else [build]
        for server, build, apart in zip(servers, frame["build"], aside, strict=True)
    ]
    return split.explode("build", ignore_index=True)
