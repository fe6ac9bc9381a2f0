"""An experiment's results: opened by its file or by its name, with the store that holds them."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from matrixbench.errors import NothingSelectedError, UsageError
from matrixbench.execution.canary import ignoring
from matrixbench.execution.judging import rejudge
from matrixbench.execution.prepare import nothing_in_file, prepare
from matrixbench.execution.settings import RunRequest, settings_for
from matrixbench.plan.builds import RecordedBuilds
from matrixbench.plan.cells import ANY_LOAD, Loads, PresentBuild, load_in, url_of
from matrixbench.plan.launches import launches
from matrixbench.plan.matrix import is_greedy
from matrixbench.plan.selector import nothing_selected, parse_where
from matrixbench.results.tally import ResultCell, Tally
from matrixbench.spec.axes import label, values_of_axis
from matrixbench.store.database import open_store, open_store_if_there
from matrixbench.store.experiments import experiment_names, read_experiment

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    from matrixbench.execution.canary import LaunchKey
    from matrixbench.execution.prepare import Prepared
    from matrixbench.execution.settings import Settings
    from matrixbench.plan.builds import HeldBuild
    from matrixbench.plan.cells import Cell, NotApplicable, Origin
    from matrixbench.plan.planner import LaunchPlan
    from matrixbench.spec.axes import Coordinates
    from matrixbench.spec.load import Experiment
    from matrixbench.store.database import Store
    from matrixbench.store.experiments import ExperimentRecord, RecordedCell, RecordedLaunch
    from matrixbench.store.rows import TrialRow


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Results:
    """The selected cells of an experiment, and the store that holds their trials.

    A context manager that closes the store; made by `open_results` and `open_recorded`. What it
    says of trials is read once, and does not change while it is open.

    Args:
        cells: In the file's order.
        axes: Axis → its values, in the file's order.
        where: The selector expressions by which they were chosen.
        store: The store; None where nothing was ever run.
        place: Where the store is, or would be.
        trials: How many trials of a cell count at most; None: as many as each cell has planned.
        not_applicable: Points that cannot be measured as asked; none where only the store knows
            the experiment.
        prepared: The plan; None where only the store knows the experiment.
        origins: Name and digest of each launch of the experiment, selected or not → where its
            server comes from; None where that was not looked at.
        split: Whether a cell comes once for each build that it has trials under.
    """

    experiment: str
    cells: tuple[ResultCell, ...]
    axes: Mapping[str, Sequence[Any]]
    store: Store | None
    place: Path
    where: tuple[str, ...] = ()
    trials: int | None = None
    not_applicable: Sequence[NotApplicable] = ()
    prepared: Prepared | None = None
    origins: Mapping[tuple[str, str], Origin | None] = field(default_factory=dict)
    loads: Loads = ANY_LOAD
    split: bool = False

    def __repr__(self) -> str:
        """Say what it is of: all of it would fill a notebook."""
        return f"<results of {self.experiment}: {len(self.cells):,} cells>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the store; what was stumbled over in a damaged one is told as the damage.

        Raises:
            StoreError: As `Store` says.
        """
        if self.store is not None:
            self.store.__exit__(kind, error, trace)

    def rows(self) -> Iterator[tuple[ResultCell, TrialRow]]:
        """Yield the newest attempt of each trial with its cell, oldest first.

        A trial that several cells share (two backends of one build) comes once for each.
        """
        for layer in _layers(self.cells):
            cells = layer.by_build()
            for row in layer.rows(self):
                for cell in cells.get((row.cell, row.build), ()):
                    yield cell, row

    @cached_property
    def tallies(self) -> Mapping[ResultCell, Tally]:
        """What came of each cell's trials; cells that share their trials have one tally."""
        found: dict[ResultCell, Tally] = {}
        for layer in _layers(self.cells):
            tallies = {build: Tally() for build in layer.by_build()}
            for row in layer.rows(self):
                if (tally := tallies.get((row.cell, row.build))) is not None:
                    tally.add(row)
            found |= {cell: tallies[cell.id, cell.build] for cell in layer.cells}
        return {cell: found[cell] for cell in self.cells}

    @cached_property
    def seeds_ignored(self) -> Mapping[LaunchKey, str]:
        """The launches that are shown to ignore seeds, each with what shows it."""
        return {} if self.store is None else self.ignoring_seeds(self.tallies)

    def ignoring_seeds(self, tallies: Mapping[ResultCell, Tally]) -> Mapping[LaunchKey, str]:
        """Return what `seeds_ignored` says of the launches of some cells.

        Two replies that their trials gave spare reading all of the store's.
        """
        two_replies: dict[LaunchKey, bool] = {}
        for cell, tally in tallies.items():
            two_replies[cell.key] = two_replies.get(cell.key, False) or tally.distinct > 1
        return ignoring(self.opened_store, two_replies)

    @cached_property
    def given_up(self) -> Mapping[tuple[str, str], str]:
        """Name and digest of the launches whose newest run was given up, each with the reason."""
        runs = [] if self.store is None else self.store.launches(self.experiment)
        newest = {(run.record.name, run.record.digest): run.error for run in runs}
        return {launch: error for launch, error in newest.items() if error is not None}

    @property
    def opened_store(self) -> Store:
        """The store where something was ever run.

        Raises:
            NothingSelectedError: Nothing was.
        """
        if self.store is None:
            raise self._nothing_measured()
        return self.store

    def demand_trials(self) -> None:
        """Raise where there is nothing to look at.

        Raises:
            NothingSelectedError: None of the cells has a trial, with or without a verdict.
        """
        if not any(tally.outcomes for tally in self.tallies.values()):
            raise self._nothing_measured()

    def _nothing_measured(self) -> NothingSelectedError:
        file = None if self.prepared is None else self.prepared.experiment.path.name
        return _nothing_measured(self.experiment, self.place, file)

    @property
    def seeds_taken(self) -> int:
        """How many seeds a cell has at most, planned or asked: one beyond these is fresh."""
        counted = (tally.measured.bit_length() for tally in self.tallies.values())
        return max(0, *counted, *(cell.planned for cell in self.cells))

    def by_build(self) -> Results:
        """Return them with each cell once for each build that it has trials under.

        The one that it is shown for otherwise comes first.
        """
        if self.prepared is None:
            return self
        left = {(cell.id, cell.checks) for cell in self.cells if cell.unjudged}
        cells = with_luck(_planned_cells(self.prepared, lambda _: None, left, by_build=True))
        return replace(self, cells=cells, split=True)


@dataclass(slots=True, eq=False)
class _Layer:
    """Cells, each cell id judged by one set of checks and asked from one first seed on.

    Tests that differ in their checks alone share their trials, and so do not fit in one layer.
    """

    cells: list[ResultCell] = field(default_factory=list)
    checks: dict[str, str] = field(default_factory=dict)
    first_seeds: dict[str, int] = field(default_factory=dict)

    def takes(self, cell: ResultCell) -> bool:
        if self.first_seeds.get(cell.id, cell.first_seed) != cell.first_seed:
            return False
        if self.checks.setdefault(cell.id, cell.checks) != cell.checks:
            return False
        self.first_seeds[cell.id] = cell.first_seed
        return True

    def by_build(self) -> dict[tuple[str, str | None], list[ResultCell]]:
        found: dict[tuple[str, str | None], list[ResultCell]] = {}
        for cell in self.cells:
            found.setdefault((cell.id, cell.build), []).append(cell)
        return found

    def rows(self, results: Results) -> Iterator[TrialRow]:
        if results.store is None:
            return iter(())
        return results.store.trials(
            results.experiment,
            first_seed=self.first_seeds,
            trials=results.trials or max(cell.planned for cell in self.cells),
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


def _nothing_measured(name: str, store: Path, file: str | None) -> NothingSelectedError:
    """Return the error that there is nothing to look at, and the command that changes that."""
    return NothingSelectedError(
        f"nothing has been measured of {name} yet",
        where=str(store),
        hint="" if file is None else f"first run: matrixbench execute {file}",
    )


def with_luck(cells: Iterable[ResultCell]) -> tuple[ResultCell, ...]:
    """Return cells, with the seed of trial 0 told where cells of several tests have it in common.

    What another tool measured has numbers of repeats for seeds, which nobody sent.
    """
    found = tuple(cells)
    tests: dict[int, set[str]] = {}
    for cell in found:
        if not cell.imported:
            tests.setdefault(cell.first_seed, set()).add(label(cell.coordinates.get("test")))
    shared = {seed for seed, of_seed in tests.items() if len(of_seed) > 1}
    if not shared:
        return found
    return tuple(
        replace(cell, luck=cell.first_seed)
        if cell.first_seed in shared and not cell.imported
        else cell
        for cell in found
    )


def open_results(
    experiment: Experiment,
    settings: Settings | None = None,
    *,
    where: str | Sequence[str] = (),
    unmeasured: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> Results:
    """Open the results of an experiment, under the builds that are there now or were last.

    Stored replies whose checks have changed are judged again first, and what comes of it is not
    kept: looking writes nothing. `execute` keeps it.

    Args:
        settings: Where the store is; default: `settings_for(experiment)`.
        where: Selector expressions; all must hold.
        unmeasured: Whether an experiment of which nothing was ever run has results too: empty ones.
        say: Is told how many replies were judged again, and which builds are shown.

    Raises:
        UsageError: A selector is wrong.
        NothingSelectedError: No cell is selected, or nothing was ever run.
        StoreError: The store cannot be read.
    """
    settings = settings or settings_for(experiment)
    with ExitStack() as stack:
        store = open_store_if_there(settings.store)
        if store is not None:
            stack.enter_context(store)
        elif not unmeasured:
            name, file = experiment.file.name, experiment.path.name
            raise _nothing_measured(name, settings.store, file)
        results = results_of(experiment, settings, store, where=where, say=say)
        stack.pop_all()
    return results


def results_of(
    experiment: Experiment,
    settings: Settings,
    store: Store | None,
    *,
    where: str | Sequence[str] = (),
    say: Callable[[str], None] = lambda _: None,
) -> Results:
    """Return what `open_results` does, of a store that somebody else has opened and closes."""
    prepared = prepare(RunRequest(experiment=experiment, settings=settings, where=where), store)
    if not prepared.plan.cells and not prepared.plan.not_applicable:
        raise nothing_in_file(experiment, where)
    left: Collection[tuple[str, str]] = ()
    if store is not None:
        again = rejudge(store, prepared.plan, prepared.of_cells, prepared.loads, keep=False)
        if again.replies:
            replies = f"{again.replies:,} stored replies judged by the present checks"
            say(f"{replies}, {again.changed:,} changed")
        left = again.left
        if left:
            shown = f"{again.left.total():,} stored replies are shown as earlier checks judged them"
            settings.trust.leave(f"{shown}, for {'; '.join(again.closed)}")
    return Results(
        experiment=prepared.plan.experiment,
        cells=with_luck(_planned_cells(prepared, say, left, by_build=False)),
        axes=prepared.matrix.axes,
        store=store,
        place=settings.store,
        where=_expressions(where),
        trials=prepared.wanted.trials,
        not_applicable=prepared.plan.not_applicable,
        prepared=prepared,
        origins=_origins(prepared),
        loads=prepared.loads,
    )


def _expressions(where: str | Sequence[str]) -> tuple[str, ...]:
    return tuple(filter(None, (where,) if isinstance(where, str) else where))


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
    prepared: Prepared,
    say: Callable[[str], None],
    left: Collection[tuple[str, str]],
    *,
    by_build: bool,
) -> Iterator[ResultCell]:
    progress = prepared.history.progress
    for plan, held in prepared.builds():
        shown, doubt = _shown_builds(plan, held, say)
        if by_build and held and not held[0].present:
            doubt = ""  # it stands under its own label, and claims to be nothing else
        for cell in plan.cells:
            own = prepared.of_cells.of(cell)
            unjudged = own.checks.closed if (cell.id, own.digest) in left else ""
            found = _planned_cell(cell, plan, prepared, (shown[0] if shown else None, doubt))
            yield _as_judged(found, unjudged)
            for build in shown[1:] if by_build else ():
                if cell.id in progress.get(build, {}):
                    yield _as_judged(_planned_cell(cell, plan, prepared, (build, "")), unjudged)


def _as_judged(cell: ResultCell, unjudged: str) -> ResultCell:
    """Return a cell with why its replies are not judged by the present checks."""
    if not unjudged:
        return cell
    told = "; ".join(filter(None, (cell.unverified, f"judged by earlier checks: {unjudged}")))
    return replace(cell, unjudged=unjudged, unverified=told)


def _planned_cell(
    cell: Cell, plan: LaunchPlan, prepared: Prepared, shown: tuple[str | None, str]
) -> ResultCell:
    build, doubt = shown
    return ResultCell(
        id=cell.id,
        coordinates=cell.coordinates(),
        build=build,
        unverified=doubt or prepared.of_cells.of(cell).unverified,
        planned=prepared.wanted.of(cell),
        greedy=is_greedy(cell.point.fields),
        until=prepared.wanted.until_of(cell),
        launch=plan.launch.name,
        launch_digest=plan.launch.digest,
        load=plan.launch.load.key,
        first_seed=prepared.seeds.first(cell),
        checks=prepared.of_cells.of(cell).digest,
        of_plan=cell,
    )


def open_recorded(name: str, place: Path, *, where: str | Sequence[str] = ()) -> Results:
    """Open the results of an experiment that a store knows by name, imported ones included.

    A cell is shown for the build that was there and by the checks that it had when it ran last;
    where these are not known, the newest verdicts count. Nothing but the store is looked at, so
    that a build is unverified only where the store does not tell whose it is.

    Raises:
        UsageError: The store knows no such experiment, or a selector is wrong.
        NothingSelectedError: No cell is selected.
        StoreError: There is no store, or it cannot be read.
    """
    with ExitStack() as stack:
        store = stack.enter_context(open_store(place, create=False))
        results = _recorded(store, name, where)
        stack.pop_all()
    return results


def _recorded(store: Store, name: str, where: str | Sequence[str]) -> Results:
    record = read_experiment(store.path, name)
    if record is None:
        raise _unknown(store, name)
    values = values_of_axis(_coordinates(record, record.cells))
    selected = parse_where(where, values)
    kept = [cell for cell in record.cells if selected(record.coordinates(cell))]
    if not kept:
        raise nothing_selected(selected, values, where=f"{name} in {store.path}")
    builds, keys = _builds(store, record), _keys(store, record)
    return Results(
        experiment=name,
        cells=with_luck(
            _recorded_cell(cell, record, builds[cell.launch], keys[cell.launch]) for cell in kept
        ),
        axes=values_of_axis(_coordinates(record, kept)),
        store=store,
        place=store.path,
        where=_expressions(where),
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
    cell: RecordedCell, record: ExperimentRecord, shown: tuple[str | None, str], load: str | None
) -> ResultCell:
    launch, (build, doubt) = record.launches[cell.launch], shown
    return ResultCell(
        id=cell.cell,
        coordinates=record.coordinates(cell),
        build=build,
        unverified=doubt,
        planned=cell.planned,
        greedy=cell.greedy,
        until=cell.until,
        launch=launch.name,
        launch_digest=launch.digest,
        load=load,
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
