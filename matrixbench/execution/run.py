"""Executing an experiment: the loop over launches, and what comes out."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from enum import StrEnum
from time import monotonic, time
from typing import TYPE_CHECKING

from matrixbench.errors import (
    ExitCode,
    MatrixbenchError,
    ModelError,
    NothingSelectedError,
    ServerError,
    UsageError,
)
from matrixbench.execution.batch import Batch, BatchRun, Prompts
from matrixbench.execution.events import (
    Fetching,
    Interrupted,
    LaunchFailed,
    LaunchFinished,
    LaunchReady,
    LaunchStarting,
    Rejudged,
    RunStarted,
    TrialDone,
    TrialsStored,
)
from matrixbench.execution.planning import prepare
from matrixbench.execution.rejudge import rejudge
from matrixbench.execution.schedule import interleave
from matrixbench.execution.workshop import Workshop
from matrixbench.plan.planner import launch_work
from matrixbench.records import Outcome
from matrixbench.store.database import open_store
from matrixbench.store.locks import ExperimentLock

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from matrixbench.backends.protocol import Session
    from matrixbench.execution.events import Event, Listener
    from matrixbench.execution.planning import Prepared
    from matrixbench.execution.settings import Settings
    from matrixbench.models.files import FetchProgress
    from matrixbench.plan.planner import LaunchPlan
    from matrixbench.records import Refusal, Trial
    from matrixbench.spec.load import Experiment
    from matrixbench.store.database import Store
    from matrixbench.store.writer import Writer


class Mode(StrEnum):
    """What a run does with trials that are already there."""

    NEW = "new"
    RESUME = "resume"
    FRESH = "fresh"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSummary:
    """What a run measured.

    Args:
        experiment: The experiment's name.
        store: The store's file.
        ran: Trials that this run stored.
        outcomes: Outcome → how many of them.
        remaining: Trials that still have to run.
        failed_launches: Launch → why it was given up.
        interrupted: Whether the user stopped it.
        seconds: How long it took.
    """

    experiment: str
    store: Path | None
    ran: int
    outcomes: Mapping[Outcome, int]
    remaining: int
    failed_launches: Mapping[str, str] = field(default_factory=dict)
    interrupted: bool = False
    seconds: float = 0.0

    @property
    def exit_code(self) -> ExitCode:
        """What the process should tell the shell."""
        if self.interrupted:
            return ExitCode.INTERRUPTED
        errored = self.outcomes.get(Outcome.ERRORED, 0)
        if self.failed_launches and self.ran == errored:
            return ExitCode.NO_SERVER
        return ExitCode.PARTIAL if self.failed_launches or errored else ExitCode.DONE


async def execute(
    experiment: Experiment,
    settings: Settings,
    *,
    mode: Mode = Mode.NEW,
    where: Sequence[str] = (),
    trials: int | None = None,
    listener: Listener | None = None,
    interrupted: asyncio.Event | None = None,
) -> RunSummary:
    """Run what an experiment still lacks, and store each trial as it happens.

    Args:
        experiment: The experiment.
        settings: Where the store is.
        mode: What to do with trials that are there: `NEW` refuses, `RESUME` runs the rest,
            `FRESH` starts a new generation.
        where: Selector expressions; all must hold.
        trials: Trials per cell, over the file's.
        listener: Is told of every event, in the event loop's thread.
        interrupted: Set it to stop the run in an orderly way.

    Raises:
        UsageError: Results exist and `mode` is `NEW`, or a selector is wrong.
        NothingSelectedError: The selection leaves no cell.
        ServerError: No server could be used.
        StoreError: The store cannot be used; what was stored is intact.
    """
    tell = listener or _silent
    stop = interrupted or asyncio.Event()
    with ExitStack() as stack:
        stack.enter_context(ExperimentLock(settings.store, experiment.file.name))
        store = stack.enter_context(open_store(settings.store, create=True))
        prepared = prepare(
            experiment,
            settings,
            store=store,
            where=where,
            trials=trials,
            fresh=mode is Mode.FRESH,
        )
        _refuse(prepared, mode)
        generation = _generation(prepared, store, mode, where)
        _judge_again(prepared, store, tell)
        run = _Run(prepared, store, generation, tell, stop)
        return await run.all_launches()


def _silent(_: Event) -> None:
    pass


def _refuse(prepared: Prepared, mode: Mode) -> None:
    plan = prepared.plan
    if not plan.cells:
        raise NothingSelectedError(
            "no cell is selected",
            where=str(prepared.experiment.path),
            hint="matrixbench plan FILE shows the cells and what does not apply",
        )
    if mode is Mode.NEW and plan.done:
        raise UsageError(
            f"{plan.done:,} of {plan.trials:,} selected trials are done",
            where=str(prepared.settings.store),
            hint=f"--resume runs the other {plan.remaining:,}; --fresh starts over, "
            "and the old ones stay in the store",
        )


def _generation(prepared: Prepared, store: Store, mode: Mode, where: Sequence[str]) -> int:
    name = prepared.experiment.file.name
    if mode is not Mode.FRESH:
        return store.generation()
    cells = {cell.id for launch in prepared.plan.launches for cell in launch.cells}
    return store.start_fresh(name, cells if where else None)


def _judge_again(prepared: Prepared, store: Store, tell: Listener) -> None:
    replies, changed = rejudge(store, prepared.plan, prepared.checks)
    if replies:
        tell(Rejudged(replies=replies, changed=changed))


def _raise_if(stopped: Refusal | None) -> None:
    if stopped is not None:
        raise ServerError(stopped.reason)


class _Run:
    """The launches of one run, one after another."""

    def __init__(
        self,
        prepared: Prepared,
        store: Store,
        generation: int,
        tell: Listener,
        stop: asyncio.Event,
    ) -> None:
        self._prepared = prepared
        self._store = store
        self._generation = generation
        self._tell = tell
        self._stop = stop
        self._workshop = Workshop(prepared.settings)
        self._prompts = Prompts(prepared.checks)
        self._outcomes: Counter[Outcome] = Counter()
        self._failed: dict[str, str] = {}
        self._errors: list[MatrixbenchError] = []
        self._answering = False
        self._stored = 0
        self._sent: dict[tuple[str, str], set[str]] = {}

    async def all_launches(self) -> RunSummary:
        began = monotonic()
        plan = self._prepared.plan
        todo = [launch for launch in plan.launches if launch.remaining or self._unsure(launch)]
        self._tell(
            RunStarted(
                experiment=plan.experiment,
                trials=plan.remaining,
                done=plan.done,
                launches=len(todo),
            )
        )
        loop = asyncio.get_running_loop()

        def on_stored(trials: Sequence[Trial]) -> None:
            loop.call_soon_threadsafe(self._note_stored, len(trials))

        with self._store.writer(on_stored=on_stored) as writer:
            for index, launch in enumerate(todo, 1):
                if self._stop.is_set():
                    break
                self._tell(
                    LaunchStarting(
                        name=launch.launch.name,
                        index=index,
                        count=len(todo),
                        trials=launch.remaining,
                    )
                )
                await self._one_launch(launch, writer)
        summary = self._summary(monotonic() - began)
        if self._errors and not summary.ran and not summary.interrupted:
            raise self._errors[0]
        return summary

    @staticmethod
    def _unsure(launch: LaunchPlan) -> bool:
        """Whether only asking the server can tell if anything remains."""
        return launch.launch.spec.kind == "endpoint" and bool(launch.own)

    def _note_stored(self, trials: int) -> None:
        self._stored += trials
        self._tell(TrialsStored(stored=self._stored))

    def _summary(self, seconds: float) -> RunSummary:
        ran = sum(self._outcomes.values())
        return RunSummary(
            experiment=self._prepared.plan.experiment,
            store=self._prepared.settings.store,
            ran=ran,
            outcomes=dict(self._outcomes),
            remaining=max(0, self._prepared.plan.remaining - ran),
            failed_launches=self._failed,
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
        except asyncio.CancelledError:
            if not self._stop.is_set():
                raise
        finally:
            watch.cancel()
            if not running.done():
                running.cancel()
                await asyncio.wait([running])

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
        self._tell(
            Fetching(
                what=progress.what,
                done_bytes=progress.done_bytes,
                total_bytes=progress.total_bytes,
            )
        )

    async def _batch(
        self, launch: LaunchPlan, session: Session, writer: Writer, seconds: float
    ) -> None:
        prepared, info = self._prepared, session.info
        sent = self._sent.setdefault((launch.launch.digest, info.build.id), set())
        cells = [cell for cell in launch.own if cell.id not in sent]
        sent.update(cell.id for cell in cells)
        work = list(
            launch_work(cells, info.build, wanted=prepared.wanted, history=prepared.history)
        )
        trials = sum(item.todo.bit_count() for item in work)
        seed = prepared.experiment.file.seed
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
        if not trials:
            return
        number = await asyncio.to_thread(
            writer.start_launch,
            self._workshop.record(launch.launch, info, prepared.experiment),
        )
        batch = Batch(
            name=launch.launch.name,
            launch=number,
            build=info.build.id,
            generation=self._generation,
            first_seed=seed,
            timeout_s=prepared.experiment.file.timeouts.request_s,
        )
        run = BatchRun(session, batch, self._prompts, writer, self._count)
        error: str | None = None
        try:
            stopped = await run.run(interleave(work, seed), self._stop)
            _raise_if(stopped)
        except ServerError as failure:
            error = failure.message
            raise
        finally:
            await asyncio.to_thread(writer.end_launch, number, ended_at=time(), error=error)

    def _count(self, event: Event) -> None:
        if isinstance(event, TrialDone):
            self._outcomes[event.outcome] += 1
        self._tell(event)
