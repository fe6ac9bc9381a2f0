"""The loop over launches: servers come and go, and their trials are run and stored."""

from __future__ import annotations

import asyncio
from collections import Counter
from time import monotonic, time
from typing import TYPE_CHECKING, Generic, TypeVar

from matrixbench.errors import MatrixbenchError, ModelError, ServerError
from matrixbench.plan.matrix import coordinates_of_test, is_greedy
from matrixbench.plan.planner import launch_work
from matrixbench.records import Outcome
from matrixbench.run.events import (
    Fetching,
    Interrupted,
    LaunchFailed,
    LaunchFinished,
    LaunchNoticed,
    LaunchReady,
    LaunchSkipped,
    LaunchStarting,
    RunStarted,
    TrialDone,
    TrialsSpared,
    TrialsStored,
    WarmingUp,
)
from matrixbench.run.inspection import (
    PROMPTS,
    WARM_UP,
    InspectionTarget,
    distinct_prompts,
    distinct_tests,
    look,
    split_off_tools,
    unless_stopped,
    warm_up,
)
from matrixbench.run.prepare import history_of
from matrixbench.run.servers import Servers
from matrixbench.run.settings import Rejections, RunSummary
from matrixbench.run.stopping import Stopping
from matrixbench.run.trials import Batch, BatchRun, Prompts, interleave, rounded_context
from matrixbench.spec.backends import ScriptedBackend
from matrixbench.spec.test_rules import context_of
from matrixbench.store.experiments import (
    LOAD,
    ExperimentRecord,
    RecordedCell,
    RecordedLaunch,
    load_note,
    record_experiment,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from matrixbench.backends.protocol import Session
    from matrixbench.identity import Json
    from matrixbench.models.workers import FetchProgress
    from matrixbench.plan.cells import Cell, Coordinates, RequestPoint
    from matrixbench.plan.planner import CellWork, LaunchPlan
    from matrixbench.records import Build, Refusal, Trial
    from matrixbench.run.events import Event, Listener
    from matrixbench.run.inspection import Noticed
    from matrixbench.run.prepare import Prepared
    from matrixbench.spec.load import TestCase
    from matrixbench.store.database import Store
    from matrixbench.store.writer import Writer

Shared = TypeVar("Shared")


def record_cells(store: Store, prepared: Prepared, *, whole: bool) -> None:
    """Write down the selected cells of an experiment, so that its name is enough to find them.

    Args:
        store: The store.
        prepared: The plan.
        whole: Nothing was left out by a selector: cells that the file has no more are dropped
            from the record (their trials stay).

    Raises:
        StoreError: The store cannot be written.
    """
    points: _Places[RequestPoint] = _Places(lambda point: point.coordinates)
    tests = _Places(coordinates_of_test)
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
        self._places: dict[int, int] = {}

    def place(self, shared: Shared) -> int:
        place = self._places.get(id(shared))
        if place is None:
            place = self._places[id(shared)] = len(self.coordinates)
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


class StoreWatcher:
    """What the store knows, read anew where others have added to it.

    Args:
        prepared: The plan and what it was made from.
        store: The open store.
    """

    def __init__(self, prepared: Prepared, store: Store) -> None:
        self.history = prepared.history
        self.elsewhere = 0
        self._prepared = prepared
        self._store = store
        self._newest = prepared.newest

    def catch_up(self) -> None:
        """Take in what others have stored; without their trials it costs one look at the store.

        A fresh start counts nobody's trials but its own.
        """
        prepared, newest = self._prepared, self._store.newest()
        name = prepared.experiment.file.name
        if self.history.fresh:
            return
        if self._store.others_stored(name, after=self._newest):
            self.history = history_of(self._store, prepared)
        self._newest = newest  # so that no trial, one's own among them, is looked at twice

    def work(self, cells: Sequence[Cell], build: Build) -> list[CellWork]:
        """Return what is left to do of some cells; `elsewhere` counts what no longer is."""
        wanted, planned = self._prepared.wanted, self._prepared.history
        work = list(launch_work(cells, build, wanted=wanted, history=self.history))
        if self.history is not planned:
            before = launch_work(cells, build, wanted=wanted, history=planned)
            self.elsewhere += max(0, _trials(before) - _trials(work))
        return work

    def left_nothing(self, launch: LaunchPlan) -> bool:
        """Return whether others have done all that a launch was to do, so that no server is needed.

        Where the build is known only once the server runs, it has to be started to be asked.
        """
        build = launch.build.build
        if build is None or not launch.build.read or self.history is self._prepared.history:
            return False
        before = self.elsewhere
        if not self.work(launch.own, build):
            return True
        self.elsewhere = before
        return False


def _trials(work: Iterable[CellWork]) -> int:
    return sum(item.todo.bit_count() for item in work)


def to_run(prepared: Prepared, store: Store) -> list[LaunchPlan]:
    """Return the launches that have trials to run, or whose server has to be asked if they have.

    That is so where it runs already, and where what is done rests on a guess, unless something is
    missing without which it cannot start. One that could not be started the last time is tried
    all the same: what is wrong with it must not pass in silence.
    """
    failed = store.failed_starts(prepared.experiment.file.name)

    def unsure(launch: LaunchPlan) -> bool:
        build, known = launch.build, (launch.launch.name, launch.launch.digest)
        if not launch.own:
            return False
        if getattr(launch.launch.spec, "url", None) is not None:
            return True
        there = build.origin is not None and not build.origin.missing
        guessed = there and not prepared.history.any_build
        return not build.verified and (guessed or known in failed)

    return [launch for launch in prepared.plan.launches if launch.remaining or unsure(launch)]


def _raise_if(stopped: Refusal | None) -> None:
    if stopped is not None:
        raise ServerError(stopped.reason)


def _trials_of(work: Sequence[CellWork]) -> int:
    return sum(item.todo.bit_count() for item in work)


class Launches:
    """The launches of one run, one after another.

    Args:
        prepared: The plan and what it was made from.
        store: The open store.
        generation: Gives the generation that new trials belong to, a fresh one opened if need be;
            asked once the first server answers, so that a start that fails hides no old trial.
        tell: Is told of every event.
        stop: Is set to stop in an orderly way.
    """

    def __init__(
        self,
        prepared: Prepared,
        store: Store,
        generation: Callable[[], int],
        tell: Listener,
        stop: asyncio.Event,
    ) -> None:
        self._prepared = prepared
        self._store = store
        self._generation = generation
        self._tell = tell
        self._stop = stop
        self._workshop = Servers(prepared.settings)
        self._prompts = Prompts(prepared.checks, prepared.conversations)
        self._outcomes: Counter[Outcome] = Counter()
        self._failed: dict[str, str] = {}
        self._unmeasured: dict[str, tuple[int, str]] = {}
        self._rejections = Rejections()
        self._errors: list[MatrixbenchError] = []
        self._answering = False
        self._stored = 0
        self._dropped = 0
        self._stopped = 0
        self._spared = 0
        self._meanwhile = StoreWatcher(prepared, store)
        self._sent: dict[tuple[str, str], set[str]] = {}

    async def run(self, *, backwards: bool = False, must_measure: bool = True) -> RunSummary:
        """Run every launch that has something left to do.

        Args:
            backwards: Whether the last launch comes first.
            must_measure: Whether it is an error if nothing was measured.

        Raises:
            ServerError: No server could be used, so that nothing was measured.
            ModelError: The same, for want of a model.
            StoreError: Trials cannot be stored; what was stored is intact.
        """
        began = monotonic()
        plan = self._prepared.plan
        todo = to_run(self._prepared, self._store)
        if backwards:
            todo.reverse()
        self._tell(
            RunStarted(
                experiment=plan.experiment,
                trials=plan.remaining,
                done=plan.done,
                launches=len(todo),
                adaptive=plan.least < plan.trials,
            )
        )
        loop = asyncio.get_running_loop()

        def on_stored(trials: Sequence[Trial]) -> None:
            loop.call_soon_threadsafe(self._note_stored, len(trials))

        with self._store.writer(on_stored=on_stored) as writer:
            for index, launch in enumerate(todo, 1):
                if self._stop.is_set():
                    break
                self._meanwhile.catch_up()
                if self._meanwhile.left_nothing(launch):
                    name, trials = launch.launch.name, launch.remaining
                    self._tell(LaunchSkipped(name=name, trials=trials))
                    continue
                self._tell(
                    LaunchStarting(
                        name=launch.launch.name,
                        index=index,
                        count=len(todo),
                        trials=launch.remaining,
                    )
                )
                await self._one_launch(launch, writer)
        summary = self.summary(monotonic() - began)
        if must_measure and self._errors and not summary.ran and not summary.interrupted:
            raise self._errors[0]
        return summary

    def _note_stored(self, trials: int) -> None:
        self._stored += trials
        self._tell(TrialsStored(stored=self._stored))

    def summary(self, seconds: float) -> RunSummary:
        """Return what was measured by now, in so many seconds."""
        ran = sum(self._outcomes.values())
        settled = self._dropped + self._spared + self._meanwhile.elsewhere
        return RunSummary(
            experiment=self._prepared.plan.experiment,
            store=self._prepared.settings.store,
            ran=ran,
            outcomes=dict(self._outcomes),
            remaining=max(0, self._prepared.plan.remaining - ran - settled),
            stopped=self._stopped,
            spared=self._spared,
            failed_launches=self._failed,
            errors=self._unmeasured,
            rejections=self._rejections.most_frequent(),
            interrupted=self._stop.is_set(),
            seconds=seconds,
        )

    async def _one_launch(self, launch: LaunchPlan, writer: Writer) -> None:
        """Run a launch; give it up where its server cannot be used, stop it where asked to."""
        name = launch.launch.name
        began = monotonic()
        self._answering = False
        running = asyncio.create_task(self._serve(launch, writer))
        watch = asyncio.create_task(self._cancel_start(running))
        try:
            await running
            if not self._stop.is_set():
                self._tell(LaunchFinished(name=name, seconds=monotonic() - began))
        except (ServerError, ModelError) as error:
            self._errors.append(error)
            self._failed[name] = error.message.partition("\n")[0]
            self._tell(LaunchFailed(name=name, message=error.message, hint=error.hint))
            if not self._answering:
                await asyncio.to_thread(self._note_failure, launch, writer, error.message)
        except asyncio.CancelledError:
            if not self._stop.is_set():
                raise
        finally:
            watch.cancel()
            if not running.done():
                running.cancel()
                await asyncio.wait([running])

    def _note_failure(self, launch: LaunchPlan, writer: Writer, message: str) -> None:
        """Keep that a launch never answered, and why; one that did has a record already."""
        record = self._workshop.record(launch.launch, None, self._prepared.experiment)
        writer.end_launch(writer.start_launch(record), ended_at=time(), error=message)

    async def _cancel_start(self, running: asyncio.Task[None]) -> None:
        """On an interruption, end a launch that does not answer yet; else its batch ends itself."""
        await self._stop.wait()
        self._tell(Interrupted())
        if not self._answering:
            running.cancel()

    async def _serve(self, launch: LaunchPlan, writer: Writer) -> None:
        began = monotonic()
        order = await self._workshop.order(launch.launch, self._prepared.experiment, self._fetching)
        async with self._workshop.open(order) as session:
            self._answering = True
            await self._batch(launch, session, writer, monotonic() - began)

    def _fetching(self, progress: FetchProgress) -> None:
        self._tell(Fetching.seen(progress))

    async def _batch(
        self, launch: LaunchPlan, session: Session, writer: Writer, seconds: float
    ) -> None:
        prepared, info = self._prepared, session.info
        sent = self._sent.setdefault((launch.launch.digest, info.build.id), set())
        cells = [cell for cell in launch.own if cell.id not in sent]
        sent.update(cell.id for cell in cells)
        asked, toolless = split_off_tools(cells, info.effective)
        self._meanwhile.catch_up()
        work, dropped = (self._meanwhile.work(some, info.build) for some in (asked, toolless))
        trials = _trials_of(work)
        self._dropped += _trials_of(dropped)
        self._tell(
            LaunchReady(
                name=launch.launch.name,
                trials=trials,
                build=info.build.id,
                concurrency=info.concurrency,
                log=info.log,
                seconds=seconds,
            )
        )
        for remark in info.noticed:
            self._tell(
                LaunchNoticed(name=launch.launch.name, message=remark.message, hint=remark.hint)
            )
        known = launch.build
        confirmed = known.verified and known.build is not None and known.build.id == info.build.id
        if not trials and not dropped and confirmed:
            return
        if rounded := rounded_context(launch.launch.spec, info):
            self._tell(LaunchNoticed(name=launch.launch.name, message=rounded, hint=""))
        # Also without a trial: from now on the store knows whose build that is.
        number = await asyncio.to_thread(
            writer.start_launch,
            self._workshop.record(launch.launch, info, prepared.experiment),
        )
        error: str | None = None
        try:
            if trials or dropped:
                await self._look(session, self._subject(launch, work, dropped), number, writer)
            if trials:
                load = load_note(launch.launch.load, info.concurrency)
                await asyncio.to_thread(writer.note, number, LOAD, load)
                await self._warm_up(session, work, number, writer)
                await self._run(session, self._trials(launch, number, info.build), work, writer)
        except ServerError as failure:
            error = failure.message
            raise
        finally:
            await asyncio.to_thread(writer.end_launch, number, ended_at=time(), error=error)

    async def _warm_up(
        self, session: Session, work: Sequence[CellWork], number: int, writer: Writer
    ) -> None:
        """Have the server compute each prompt first, where the file asks for it."""
        file, launch = self._prepared.experiment.file, work[0].cell.launch
        if not file.warm_up or file.faithful or isinstance(launch.spec, ScriptedBackend):
            return
        prompts = distinct_prompts(work, self._prompts)
        self._tell(WarmingUp(name=launch.name, prompts=len(prompts)))
        warming = warm_up(session, prompts, file.timeouts.request_s)
        if (found := await unless_stopped(warming, self._stop)) is not None:
            await asyncio.to_thread(writer.note, number, WARM_UP, found)

    async def _run(
        self, session: Session, batch: Batch, work: list[CellWork], writer: Writer
    ) -> None:
        """Send the trials of a launch; where they are adaptive, until each cell has enough."""
        stopping = self._stopping(batch, work, session.info.build, writer)
        order_seed = self._prepared.experiment.file.seed
        known = self._meanwhile.history.under(session.info.build)
        run = BatchRun(
            session,
            batch,
            self._prompts,
            stopping or writer,
            self._count,
            answered=frozenset(cell for cell, progress in known.items() if progress.kept),
        )
        if stopping is None:
            tasks = interleave(work, order_seed)
            _raise_if(await run.run(tasks, self._stop, count=_trials_of(work)))
            return
        while work and not self._stop.is_set():
            tasks = stopping.tasks(work, order_seed)
            _raise_if(await run.run(tasks, self._stop, count=_trials_of(work)))
            work = stopping.rest()

    def _stopping(
        self, batch: Batch, work: Sequence[CellWork], build: Build, writer: Writer
    ) -> Stopping | None:
        until, judges = self._prepared.wanted.until, self._prepared.judges
        if until is None or judges is None:
            return None
        stopping = Stopping(
            until=until, judges=judges, launch=batch.name, sink=writer, tell=self._count
        )
        stopping.begin(work, self._meanwhile.history.under(build))
        return stopping

    def _trials(self, launch: LaunchPlan, number: int, build: Build) -> Batch:
        file = self._prepared.experiment.file
        return Batch(
            name=launch.launch.name,
            launch=number,
            build=build.id,
            generation=self._generation(),
            first_seed=self._prepared.seeds.first,
            timeout_s=file.timeouts.request_s,
            context=context_of(launch.launch.spec),
        )

    def _subject(
        self, launch: LaunchPlan, work: Sequence[CellWork], dropped: Sequence[CellWork]
    ) -> InspectionTarget:
        file = self._prepared.experiment.file
        return InspectionTarget(
            launch=launch.launch,
            tests=distinct_tests(item.cell for item in work),
            dropped=distinct_tests(item.cell for item in dropped),
            canary=file.canary,
            timeout_s=file.timeouts.request_s,
        )

    async def _look(
        self, session: Session, subject: InspectionTarget, number: int, writer: Writer
    ) -> None:
        """Look at what the server does before its trials; keep it, and tell what matters."""
        digest, build = subject.launch.digest, session.info.build.id
        earlier = [
            note
            for note in self._store.noted(PROMPTS)
            if (note.launch_digest, note.build) == (digest, build)
        ]

        async def found(name: str, value: Json, noticed: Sequence[Noticed]) -> None:
            await asyncio.to_thread(writer.note, number, name, value)
            for message, hint in noticed:
                self._tell(LaunchNoticed(name=subject.launch.name, message=message, hint=hint))

        await unless_stopped(look(session, subject, earlier, found), self._stop)

    def _count(self, event: Event) -> None:
        if isinstance(event, TrialsSpared):
            self._stopped += event.cells
            self._spared += event.trials
        elif isinstance(event, TrialDone):
            self._outcomes[event.outcome] += 1
            if event.outcome is Outcome.ERRORED:
                kind = str(event.kind or "unknown")
                count, _ = self._unmeasured.get(kind, (0, ""))
                self._unmeasured[kind] = (count + 1, event.reason)
            elif event.outcome is Outcome.REJECTED:
                self._rejections.add(str(event.kind or "unknown"), event.reason)
        self._tell(event)
