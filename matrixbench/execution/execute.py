"""A run of what an experiment lacks: begun, its launches visited, and brought to an end."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from matrixbench.errors import UsageError
from matrixbench.execution.events import Compared, Rejudged, RunStarted, Unverified
from matrixbench.execution.interruption import breakable
from matrixbench.execution.judging import judged_by, rejudge
from matrixbench.execution.launches import Visits, to_run
from matrixbench.execution.preflight import check_options
from matrixbench.execution.prepare import nothing_in_file, prepare
from matrixbench.execution.servers import Servers
from matrixbench.execution.settings import Counts, Mode
from matrixbench.plan.matrix import is_greedy
from matrixbench.records import Kind
from matrixbench.store.database import open_store, refuse_what_is_no_store
from matrixbench.store.experiments import (
    ExperimentRecord,
    RecordedCell,
    RecordedLaunch,
    record_experiment,
)
from matrixbench.store.locks import ExperimentLock

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterator

    from matrixbench.execution.events import Listener
    from matrixbench.execution.judging import Rejudgement
    from matrixbench.execution.prepare import Prepared
    from matrixbench.execution.settings import RunRequest, RunSummary
    from matrixbench.plan.cells import RequestPoint
    from matrixbench.spec.axes import Coordinates
    from matrixbench.spec.load import TestCase
    from matrixbench.store.database import Store

Shared = TypeVar("Shared")


@dataclass(slots=True, kw_only=True, eq=False)
class Run:
    """A run whose store is open and locked, and whose plan is made; see `begun`.

    Args:
        counts: What it has come to so far; is told of every event.
        before: Number of the newest trial that was there.
    """

    request: RunRequest
    mode: Mode
    store: Store
    prepared: Prepared
    counts: Counts
    stop: asyncio.Event
    before: int
    _generation: int | None = None

    def plan(self, rounds: range, *, fresh: bool) -> Prepared:
        """Return the plan of some rounds alone, with what is stored by now."""
        return prepare(self.request, self.store, fresh=fresh, rounds=rounds)

    async def visit(self, prepared: Prepared, *, backwards: bool = False) -> None:
        """Visit the launches of a plan.

        Raises:
            ServerError: No server could be used, so that nothing was measured.
            ModelError: The same, for want of a model.
            StoreError: Trials cannot be stored; what was stored is intact.
        """
        visits = Visits(
            prepared=prepared,
            store=self.store,
            servers=Servers(self.request.settings),
            generation=self.generation,
            counts=self.counts,
            stop=self.stop,
        )
        await visits.run(backwards=backwards)
        if self.counts.failure and not self.counts.ran and not self.stop.is_set():
            raise self.counts.failure

    def generation(self) -> int:
        """Return the generation that new trials belong to; a fresh start opens it when asked."""
        if self._generation is None:
            self._generation = self._opened_generation()
        return self._generation

    def _opened_generation(self) -> int:
        if self.mode is not Mode.FRESH:
            return self.store.generation()
        plan = self.prepared.plan
        cells = {cell.id for launch in plan.launches for cell in launch.cells}
        return self.store.start_fresh(plan.experiment, cells if self.request.where else None)

    def summary(self) -> RunSummary:
        """Return what the run has come to, once what waits for other cells' replies is judged."""
        prepared = self.prepared
        summary = self.counts.summary(
            self.request, prepared.plan.remaining, interrupted=self.stop.is_set()
        )
        if not prepared.of_cells.compares:
            if len(judged_by(prepared.plan, prepared.of_cells)) > 1:
                with breakable():
                    _rejudge(prepared, self.store)
            return summary
        # Replies of earlier runs too, where what they are compared with is new.
        with breakable():
            again = _rejudge(prepare(self.request, self.store), self.store)
        if not again.replies:
            return summary
        waiting = again.of_kind(Kind.NO_REFERENCE)
        self.counts.tell(Compared(replies=again.replies, waiting=waiting))
        own = [judged for trial, judged in again.judgements.items() if trial > self.before]
        return summary.settled(own)


@contextmanager
def begun(request: RunRequest, mode: Mode, tell: Listener, stop: asyncio.Event) -> Iterator[Run]:
    """Yield a run of which nothing was sent yet, with its experiment locked.

    Raises:
        UsageError: Results exist and `mode` is `new`, or a selector is wrong.
        NothingSelectedError: The selection leaves no cell.
        SpecError: A server lacks an option or a chat template that the file names.
        StoreError: The store cannot be used.
    """
    experiment, path = request.experiment, request.settings.store
    refuse_what_is_no_store(path)
    with (
        ExperimentLock(path, experiment.file.name),
        open_store(path, create=True) as store,
    ):
        with breakable():
            prepared = prepare(request, store, fresh=mode is Mode.FRESH)
            plan = prepared.plan
            _refuse(prepared, mode, request)
            remaining = [one.launch for one in plan.launches if one.remaining]
            check_options(experiment, remaining, Servers(request.settings))
            again = _rejudge(prepared, store)
        if again.replies:
            tell(Rejudged(replies=again.replies, changed=again.changed))
        todo = to_run(prepared, store)
        _tell_unverified(prepared, {one.launch.name for one in todo}, tell)
        record_cells(store, prepared, whole=not request.where)
        tell(
            RunStarted(
                experiment=plan.experiment,
                trials=plan.remaining,
                done=plan.done,
                launches=len(todo),
                adaptive=plan.least < plan.trials,
            )
        )
        yield Run(
            request=request,
            mode=mode,
            store=store,
            prepared=prepared,
            counts=Counts(tell=tell),
            stop=stop,
            before=store.newest(),
        )


def _refuse(prepared: Prepared, mode: Mode, request: RunRequest) -> None:
    plan = prepared.plan
    if not plan.cells:
        raise nothing_in_file(request.experiment, request.where)
    if mode is Mode.NEW and plan.done:
        rest = "nothing is left to run until the file asks for more"
        if plan.remaining:
            rest = f"--resume runs the other {plan.remaining:,}"
        doubt = f", {plan.unverified:,} of them unverified" if plan.unverified else ""
        raise UsageError(
            f"{plan.done:,} of {plan.trials:,} selected trials are done{doubt}",
            where=str(request.settings.store),
            hint=f"{rest}; --fresh starts over, and the old ones stay in the store",
        )


def _rejudge(prepared: Prepared, store: Store) -> Rejudgement:
    return rejudge(store, prepared.plan, prepared.of_cells, prepared.loads)


def _tell_unverified(prepared: Prepared, asked: set[str], tell: Listener) -> None:
    """Say where «done» rests on a guess: a binary that is not there must not pass in silence.

    Servers that are asked all the same say for themselves what they are.
    """
    for plan in prepared.plan.launches:
        if plan.unverified and plan.launch.name not in asked:
            guessed = not prepared.history.any_build
            name, trials, note = plan.launch.name, plan.unverified, plan.doubt
            tell(Unverified(name=name, trials=trials, note=note, guessed=guessed))


def record_cells(store: Store, prepared: Prepared, *, whole: bool) -> None:
    """Write down the selected cells of an experiment, so that its name is enough to find them.

    Args:
        whole: Nothing was left out by a selector: cells that the file has no more are dropped
            from the record (their trials stay).

    Raises:
        StoreError: The store cannot be written.
    """
    points: _Places[RequestPoint] = _Places(lambda point: point.coordinates)
    tests: _Places[TestCase] = _Places(lambda test: test.coordinates)
    cells = list(_cells(prepared, points, tests))
    record = ExperimentRecord(
        name=prepared.experiment.file.name,
        launches=[
            RecordedLaunch(
                name=plan.launch.name,
                digest=plan.launch.digest,
                coordinates=plan.launch.coordinates,
                build=plan.build.build.id if plan.build.build and plan.build.read else None,
                origin=plan.build.origin,
            )
            for plan in prepared.plan.launches
        ],
        requests=points.coordinates,
        tests=tests.coordinates,
        cells=cells,
    )
    record_experiment(store.path, record, whole=whole)


class _Places(Generic[Shared]):
    """Objects that many cells share, each with its place in a list of coordinates."""

    def __init__(self, read: Callable[[Shared], Coordinates]) -> None:
        self.coordinates: list[Coordinates] = []
        self._read = read
        self._places: dict[Shared, int] = {}

    def place(self, shared: Shared) -> int:
        place = self._places.get(shared)
        if place is None:
            place = self._places[shared] = len(self.coordinates)
            self.coordinates.append(self._read(shared))
        return place


def _cells(
    prepared: Prepared, points: _Places[RequestPoint], tests: _Places[TestCase]
) -> Iterator[RecordedCell]:
    greedy: dict[int, bool] = {}
    for number, launch in enumerate(prepared.plan.launches):
        for cell in launch.cells:
            place = points.place(cell.point)
            until = prepared.wanted.until_of(cell)
            of_cell = prepared.of_cells.of(cell)
            if place not in greedy:
                greedy[place] = is_greedy(cell.point.fields)
            yield RecordedCell(
                number,
                place,
                tests.place(cell.test),
                cell.id,
                prepared.seeds.first(cell),
                prepared.wanted.of(cell),
                greedy[place],
                None if until is None else until.half_width,
                1 if until is None else until.least,
                "" if of_cell.checks.compares else of_cell.digest,
            )
