"""The launches of a run, one after another: servers come and go, and their trials are stored."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from time import monotonic, time
from typing import TYPE_CHECKING

from matrixbench.checks.workers import beside
from matrixbench.errors import ModelError, ServerError
from matrixbench.execution.events import (
    Fetching,
    Interrupted,
    LaunchFailed,
    LaunchFinished,
    LaunchNoticed,
    LaunchReady,
    LaunchSkipped,
    LaunchStarting,
    TrialsSpared,
    WarmingUp,
)
from matrixbench.execution.inspection import (
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
from matrixbench.execution.prepare import history_of
from matrixbench.execution.trials import Batch, BatchRun, interleave, rounded_context
from matrixbench.plan.cells import NOTHING
from matrixbench.plan.planner import CellWork, launch_work
from matrixbench.records import Outcome
from matrixbench.store.experiments import LOAD, load_note

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence

    from matrixbench.backends.registry import Session
    from matrixbench.execution.events import Listener
    from matrixbench.execution.inspection import Noticed
    from matrixbench.execution.prepare import Prepared
    from matrixbench.execution.servers import Servers
    from matrixbench.execution.settings import Counts
    from matrixbench.execution.trials import Sink, Task
    from matrixbench.identity import Json
    from matrixbench.plan.cells import Cell, CellProgress, Launch
    from matrixbench.plan.planner import LaunchPlan
    from matrixbench.records import Build, JsonObject, Refusal, Trial
    from matrixbench.spec.load import Experiment
    from matrixbench.stats.sequential import Precision
    from matrixbench.store.database import Store
    from matrixbench.store.outcomes import Judges
    from matrixbench.store.writer import Writer


@asynccontextmanager
async def serving(
    servers: Servers, launch: Launch, experiment: Experiment, tell: Listener
) -> AsyncIterator[Session]:
    """Have a launch's model and its server at hand, for as long as the context is open.

    Raises:
        ModelError: The model cannot be had.
        ServerError: The server cannot be started.
    """
    order = await servers.order(launch, experiment, lambda seen: tell(Fetching.seen(seen)))
    async with servers.open(order) as session:
        yield session


def tell_ready(
    launch: Launch, session: Session, tell: Listener, *, trials: int, seconds: float
) -> None:
    """Say that a launch's server answers after so many seconds, and what is odd about it."""
    info = session.info
    tell(
        LaunchReady(
            name=launch.name,
            trials=trials,
            build=info.build.id,
            concurrency=info.concurrency,
            log=info.log,
            seconds=seconds,
        )
    )
    for remark in info.noticed:
        tell(LaunchNoticed(name=launch.name, message=remark.message, hint=remark.hint))


class StoreWatcher:
    """What the store knows, read anew where others have added to it.

    Args:
        counts: Is told how much is needless since others have done it.
    """

    def __init__(self, prepared: Prepared, store: Store, counts: Counts) -> None:
        self.history = prepared.history
        self._prepared = prepared
        self._store = store
        self._counts = counts
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
        """Return what is left to do of some cells; what others have done of it is counted."""
        wanted, planned = self._prepared.wanted, self._prepared.history
        work = list(launch_work(cells, build, wanted=wanted, history=self.history))
        if self.history is not planned:
            before = launch_work(cells, build, wanted=wanted, history=planned)
            self._counts.needless += max(0, _trials(before) - _trials(work))
        return work

    def left_nothing(self, launch: LaunchPlan) -> bool:
        """Return whether others have done all that a launch was to do, so that no server is needed.

        Where the build is known only once the server runs, it has to be started to be asked.
        """
        build = launch.build.build
        if build is None or not launch.build.read or self.history is self._prepared.history:
            return False
        wanted = self._prepared.wanted
        if any(launch_work(launch.own, build, wanted=wanted, history=self.history)):
            return False
        self.work(launch.own, build)  # counts what others have done
        return True


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


@dataclass(slots=True, eq=False)
class _CellCounts:
    """What is known of a cell: passes and trials by each set of checks, and what is not sent."""

    cell: Cell
    unsent: int
    passes: list[int]
    n: list[int]
    enough: bool = False
    passed_over: bool = False


@dataclass(slots=True, kw_only=True, eq=False)
class Stopping:
    """The cells of a launch whose trials are adaptive; a sink that counts what passes through.

    Args:
        until: When a cell has enough trials.
        judges: The checks that judge a cell's trials; cells without any never stop early.
        tell: Is told whenever trials become needless, or needful again.
    """

    until: Precision
    judges: Judges
    launch: str
    sink: Sink
    tell: Listener
    _counts: dict[str, _CellCounts] = field(default_factory=dict)

    def begin(self, work: Sequence[CellWork], known: Mapping[str, CellProgress]) -> None:
        """Take over the cells that have trials to run, with what is known of them."""
        for item in work:
            if digests := self.judges.cells.get(item.cell.id):
                judged = known.get(item.cell.id, NOTHING).judged
                self._counts[item.cell.id] = _CellCounts(
                    cell=item.cell,
                    unsent=item.todo,
                    passes=[one.passes for one in judged] or [0] * len(digests),
                    n=[one.n for one in judged] or [0] * len(digests),
                )

    def tasks(self, work: Sequence[CellWork], seed: int) -> Iterator[Task]:
        """Yield the trials in rounds, as `interleave` does, those of cells with enough left out.

        A cell that was passed over once is so until the end: `rest` has what it lacks then.
        """
        for task in interleave(work, seed):
            counts = self._counts.get(task.cell.id)
            if counts is None:
                yield task
            elif counts.enough or counts.passed_over:
                counts.passed_over = True
            else:
                counts.unsent &= ~(1 << task.trial)
                yield task

    def rest(self) -> list[CellWork]:
        """Return the cells that were passed over, and lack something after all."""
        found = [one for one in self._counts.values() if one.passed_over and not one.enough]
        for counts in found:
            counts.passed_over = False
        return [CellWork(counts.cell, counts.unsent) for counts in found]

    async def put(self, trial: Trial, body: JsonObject | None = None) -> None:
        """Count a trial, and hand it on."""
        if counts := self._counts.get(trial.key.cell):
            await self._count(counts, trial)
        await self.sink.put(trial, body)

    async def _count(self, counts: _CellCounts, trial: Trial) -> None:
        for place, digest in enumerate(self.judges.cells[trial.key.cell]):
            outcome = trial.judgement.outcome
            if trial.reply is not None and digest != trial.checks:
                outcome = await beside(self.judges.judge, digest, trial.reply)
            counts.n[place] += outcome is not Outcome.ERRORED
            counts.passes[place] += outcome is Outcome.PASSED
        before, counts.enough = counts.enough, self._reached(counts)
        if change := counts.enough - before:
            spared = change * counts.unsent.bit_count()
            self.tell(TrialsSpared(launch=self.launch, cells=change, trials=spared))

    def _reached(self, counts: _CellCounts) -> bool:
        # A cell that has all its trials did not stop: nothing is left to be spared.
        return counts.unsent > 0 and all(map(self.until.reached, counts.passes, counts.n))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Visits:
    """The visits to the launches of one plan, one after another.

    Args:
        generation: Gives the generation that new trials belong to, a fresh one opened if need be;
            asked once the first server answers, so that a start that fails hides no old trial.
    """

    prepared: Prepared
    store: Store
    servers: Servers
    generation: Callable[[], int]
    counts: Counts
    stop: asyncio.Event
    sent: dict[tuple[str, str], set[str]] = field(default_factory=dict)
    """Digest and build of a launch → cells that a launch like it was asked for already."""

    async def run(self, *, backwards: bool = False) -> None:
        """Visit every launch that has something left to do, the last one first if asked to.

        Raises:
            StoreError: Trials cannot be stored; what was stored is intact.
        """
        watcher = StoreWatcher(self.prepared, self.store, self.counts)
        todo = to_run(self.prepared, self.store)
        if backwards:
            todo.reverse()
        loop = asyncio.get_running_loop()

        def on_stored(trials: Sequence[Trial]) -> None:
            loop.call_soon_threadsafe(self.counts.note_stored, len(trials))

        with self.store.writer(on_stored=on_stored) as writer:
            for index, plan in enumerate(todo, 1):
                if self.stop.is_set():
                    break
                name, trials = plan.launch.name, plan.remaining
                watcher.catch_up()
                if watcher.left_nothing(plan):
                    self.counts(LaunchSkipped(name=name, trials=trials))
                    continue
                self.counts(LaunchStarting(name=name, index=index, count=len(todo), trials=trials))
                await _Visit(visits=self, plan=plan, watcher=watcher, writer=writer).run()


@dataclass(slots=True, kw_only=True, eq=False)
class _Visit:
    """A visit to one launch: its server is started, looked at, asked for trials, and stopped."""

    visits: Visits
    plan: LaunchPlan
    watcher: StoreWatcher
    writer: Writer
    answering: bool = False

    async def run(self) -> None:
        """Go through with it; give it up where its server cannot be used, stop it if asked to."""
        name, counts, stop = self.plan.launch.name, self.visits.counts, self.visits.stop
        began = monotonic()
        running = asyncio.create_task(self._serve())
        watch = asyncio.create_task(self._cancel_start(running))
        try:
            await running
            if not stop.is_set():
                counts(LaunchFinished(name=name, seconds=monotonic() - began))
        except (ServerError, ModelError) as error:
            counts.failure = counts.failure or error
            counts(LaunchFailed(name=name, message=error.message, hint=error.hint))
            if not self.answering:
                await asyncio.to_thread(self._note_failure, error.message)
        except asyncio.CancelledError:
            if not stop.is_set():
                raise
        finally:
            watch.cancel()
            if not running.done():
                running.cancel()
                await asyncio.wait([running])

    def _note_failure(self, message: str) -> None:
        """Keep that a launch never answered, and why; one that did has a record already."""
        visits = self.visits
        record = visits.servers.record(self.plan.launch, None, visits.prepared.experiment)
        self.writer.end_launch(self.writer.start_launch(record), ended_at=time(), error=message)

    async def _cancel_start(self, running: asyncio.Task[None]) -> None:
        """On an interruption, end a launch that does not answer yet; else its batch ends itself."""
        await self.visits.stop.wait()
        self.visits.counts(Interrupted())
        if not self.answering:
            running.cancel()

    async def _serve(self) -> None:
        visits, began = self.visits, monotonic()
        experiment = visits.prepared.experiment
        async with serving(visits.servers, self.plan.launch, experiment, visits.counts) as session:
            self.answering = True
            await self._ask(session, seconds=monotonic() - began)

    async def _ask(self, session: Session, *, seconds: float) -> None:
        """Say what is left under the build that runs, and have it done."""
        launch, info, tell = self.plan.launch, session.info, self.visits.counts
        work, dropped = self._work(session)
        tell_ready(launch, session, tell, trials=_trials(work), seconds=seconds)
        known = self.plan.build
        confirmed = known.verified and known.build is not None and known.build.id == info.build.id
        if not work and not dropped and confirmed:
            return
        if rounded := rounded_context(launch.spec, info):
            tell(LaunchNoticed(name=launch.name, message=rounded, hint=""))
        # Also without a trial: from now on the store knows whose build that is.
        record = self.visits.servers.record(launch, info, self.visits.prepared.experiment)
        number = await asyncio.to_thread(self.writer.start_launch, record)
        error: str | None = None
        try:
            if work or dropped:
                await self._look(session, number, work, dropped)
            if work:
                await self._note(number, LOAD, load_note(launch.load, info.concurrency))
                await self._warm_up(session, number, work)
                await self._send(session, number, work)
        except ServerError as failure:
            error = failure.message
            raise
        finally:
            await asyncio.to_thread(self.writer.end_launch, number, ended_at=time(), error=error)

    def _work(self, session: Session) -> tuple[list[CellWork], list[CellWork]]:
        """Return what is to be sent, and what would be were its tools to reach the prompt."""
        visits, info = self.visits, session.info
        sent = visits.sent.setdefault((self.plan.launch.digest, info.build.id), set())
        cells = [cell for cell in self.plan.own if cell.id not in sent]
        sent.update(cell.id for cell in cells)
        self.watcher.catch_up()
        asked, toolless = split_off_tools(cells, info.effective)
        work, dropped = (self.watcher.work(some, info.build) for some in (asked, toolless))
        visits.counts.needless += _trials(dropped)
        return work, dropped

    async def _note(self, number: int, name: str, value: Json) -> None:
        await asyncio.to_thread(self.writer.note, number, name, value)

    async def _look(
        self,
        session: Session,
        number: int,
        work: Sequence[CellWork],
        dropped: Sequence[CellWork],
    ) -> None:
        """Look at what the server does before its trials; keep it, and tell what matters."""
        launch, file = self.plan.launch, self.visits.prepared.experiment.file
        target = InspectionTarget(
            launch=launch,
            tests=distinct_tests(item.cell for item in work),
            dropped=distinct_tests(item.cell for item in dropped),
            canary=file.canary,
            timeout_s=file.timeouts.request_s,
        )
        earlier = [
            note
            for note in self.visits.store.noted(PROMPTS)
            if (note.launch_digest, note.build) == (launch.digest, session.info.build.id)
        ]

        async def found(name: str, value: Json, noticed: Sequence[Noticed]) -> None:
            await self._note(number, name, value)
            for message, hint in noticed:
                self.visits.counts(LaunchNoticed(name=launch.name, message=message, hint=hint))

        await unless_stopped(look(session, target, earlier, found), self.visits.stop)

    async def _warm_up(self, session: Session, number: int, work: Sequence[CellWork]) -> None:
        """Have the server compute each prompt first, where the file asks for it."""
        prepared, launch = self.visits.prepared, self.plan.launch
        file = prepared.experiment.file
        if not file.warm_up or file.faithful or not launch.spec.has_model:
            return
        prompts = distinct_prompts(work, prepared.prompts)
        self.visits.counts(WarmingUp(name=launch.name, prompts=len(prompts)))
        warming = warm_up(session, prompts, file.timeouts.request_s)
        if (found := await unless_stopped(warming, self.visits.stop)) is not None:
            await self._note(number, WARM_UP, found)

    async def _send(self, session: Session, number: int, work: list[CellWork]) -> None:
        """Send the trials; where they are adaptive, until each cell has enough."""
        prepared, stop = self.visits.prepared, self.visits.stop
        file, build = prepared.experiment.file, session.info.build
        known = self.watcher.history.under(build)
        stopping = self._stopping(work, build)
        batch = Batch(
            name=self.plan.launch.name,
            launch=number,
            build=build.id,
            generation=self.visits.generation(),
            first_seed=prepared.seeds.first,
            timeout_s=file.timeouts.request_s,
            context=self.plan.launch.spec.context_given,
        )
        run = BatchRun(
            session,
            batch,
            prepared.prompts,
            stopping or self.writer,
            self.visits.counts,
            answered=frozenset(cell for cell, progress in known.items() if progress.kept),
        )
        if stopping is None:
            tasks = interleave(work, file.seed)
            _raise_if(await run.run(tasks, stop, count=_trials(work)))
            return
        while work and not stop.is_set():
            tasks = stopping.tasks(work, file.seed)
            _raise_if(await run.run(tasks, stop, count=_trials(work)))
            work = stopping.rest()

    def _stopping(self, work: Sequence[CellWork], build: Build) -> Stopping | None:
        prepared = self.visits.prepared
        until, judges = prepared.wanted.until, prepared.judges
        if until is None or judges is None:
            return None
        stopping = Stopping(
            until=until,
            judges=judges,
            launch=self.plan.launch.name,
            sink=self.writer,
            tell=self.visits.counts,
        )
        stopping.begin(work, self.watcher.history.under(build))
        return stopping


def _raise_if(stopped: Refusal | None) -> None:
    if stopped is not None:
        raise ServerError(stopped.reason)
