"""Planning and running until a gate is decided, with and without an event loop."""

from __future__ import annotations

import asyncio
from asyncio import CancelledError
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from queue import SimpleQueue
from threading import Lock
from typing import TYPE_CHECKING

from matrixbench.comparison.pairs import BUILD, PREVIOUS, compare_results
from matrixbench.comparison.values import GateVerdict
from matrixbench.errors import StoreError, UsageError
from matrixbench.results.experiment import results_of
from matrixbench.run import execute as executing
from matrixbench.run import prepare as planning
from matrixbench.run.judging import opened
from matrixbench.run.settings import Mode, settings_for

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from matrixbench.comparison.values import Comparison
    from matrixbench.plan.planner import LaunchPlan, UntilGate
    from matrixbench.run.events import Event, Listener
    from matrixbench.run.prepare import Prepared
    from matrixbench.run.settings import RunSummary, Settings
    from matrixbench.spec.load import Experiment
    from matrixbench.store.database import Store

_KEY = "trials.until.gate.baseline"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredGate:
    """The gate of a file, asked of what is stored.

    Args:
        experiment: The experiment.
        settings: Where its store is.
        where: Selector expressions; all must hold. Where they leave one side alone, all cells
            are compared.
        rule: What the file says of the gate.
    """

    experiment: Experiment
    settings: Settings
    where: str | Sequence[str]
    rule: UntilGate

    @property
    def first_look(self) -> int:
        """After how many rounds it can be decided at all."""
        return self.rule.least

    def decided(self, store: Store, *, remember: bool = True) -> str:
        """Return its verdict once every candidate has one; empty before.

        Args:
            store: The store.
            remember: Whether the store keeps that these trials were looked at.

        Raises:
            UsageError: There is nothing to compare: no two cells differ only in the axis.
            StoreError: The store cannot be read.
        """
        comparison = self._compared(store, remember=remember)
        if comparison is None:
            return ""
        verdicts = {candidate.gate.verdict for candidate in comparison.candidates}
        return "" if GateVerdict.UNDECIDED in verdicts else comparison.verdict.value

    def _compared(self, store: Store, *, remember: bool) -> Comparison | None:
        try:
            return self._among(store, self.where, remember=remember)
        except UsageError:
            try:
                return self._among(store, (), remember=remember)
            except UsageError as error:
                if self.rule.baseline == f"{BUILD}={PREVIOUS}":
                    return None  # the first build of all is measured for the sake of the next
                raise UsageError(
                    error.message,
                    where=f"{_KEY} {self.rule.baseline}",
                    hint=error.hint,
                ) from error

    def _among(self, store: Store, where: str | Sequence[str], *, remember: bool) -> Comparison:
        results = results_of(self.experiment, self.settings, store, where=where)
        return compare_results(
            results,
            store,
            baseline=self.rule.baseline,
            max_drop=self.rule.max_drop,
            unmeasured=True,
            remember=remember,
        )


async def execute(
    experiment: Experiment,
    settings: Settings | None = None,
    *,
    mode: Mode | str = Mode.NEW,
    where: str | Sequence[str] = (),
    trials: int | None = None,
    any_build: bool = False,
    listener: Listener | None = None,
    interrupted: asyncio.Event | None = None,
) -> RunSummary:
    """Run what an experiment still lacks, and store each trial as it happens.

    Where the file's trials go on until a gate is decided, the run ends once it is.

    Args:
        experiment: The experiment.
        settings: Where the store is; default: `settings_for(experiment)`.
        mode: What to do with trials that are there: `new` refuses, `resume` runs the rest,
            `fresh` starts a new generation.
        where: Selector expressions; all must hold.
        trials: Trials per cell, over the file's; so many are run whatever a gate says.
        any_build: Whether trials of any build count as done, not only those of the present one.
        listener: Is told of every event, in the event loop's thread.
        interrupted: Set it to stop the run in an orderly way.

    Raises:
        UsageError: Results exist and `mode` is `new`, there is no such mode, or a selector is
            wrong.
        NothingSelectedError: The selection leaves no cell.
        SpecError: A server lacks an option or a chat template that the file names.
        ServerError: No server could be used.
        StoreError: The store cannot be used; what was stored is intact.
    """
    settings = settings or settings_for(experiment)
    return await executing.execute(
        experiment,
        settings,
        mode=mode,
        where=where,
        trials=trials,
        any_build=any_build,
        listener=listener,
        interrupted=interrupted,
        gate=lambda rule: StoredGate(
            experiment=experiment, settings=settings, where=where, rule=rule
        ),
    )


def build_plan(
    experiment: Experiment,
    settings: Settings | None = None,
    *,
    where: str | Sequence[str] = (),
    trials: int | None = None,
    any_build: bool = False,
    judged: bool = False,
) -> Prepared:
    """Return the plan of an experiment against its store, if there is one.

    Nothing is started, nothing goes online. `plan` of the result holds what will run and why.
    Where a gate ends the trials and is decided, nothing will.

    Args:
        experiment: The experiment.
        settings: Where the store is; default: `settings_for(experiment)`.
        where: Selector expressions; all must hold.
        trials: Trials per cell, over the file's.
        any_build: Whether trials of any build count as done, not only those of the present one.
        judged: Whether `history` is to tell which trials passed, where cells do not stop early
            too; of large experiments it does not, for reading that would take long.

    Raises:
        UsageError: A selector is wrong.
        SpecError: The matrix is too large.
        StoreError: The store is there and cannot be read.
    """
    settings = settings or settings_for(experiment)
    prepared = planning.build_plan(
        experiment, settings, where=where, trials=trials, any_build=any_build, judged=judged
    )
    rule = prepared.wanted.gate
    if rule is None or not prepared.plan.done:
        return prepared
    gate = StoredGate(experiment=experiment, settings=settings, where=where, rule=rule)
    try:
        with opened(experiment, settings) as store:
            # A plan shows no verdict but one that ends the trials: only that is a look.
            verdict = gate.decided(store, remember=False) and gate.decided(store)
    except StoreError:  # it cannot be written: replies would have to be judged again first
        return prepared
    return _ended(prepared, rule, verdict) if verdict else prepared


def _ended(prepared: Prepared, rule: UntilGate, verdict: str) -> Prepared:
    """Return a plan of which nothing runs any more."""
    plan = prepared.plan
    note = f"the gate against {rule.baseline} is decided: {verdict}; nothing more will run"
    ended = tuple(_as_it_is(launch) for launch in plan.launches)
    return replace(prepared, plan=replace(plan, launches=ended, notes=(note, *plan.notes)))


def _as_it_is(launch: LaunchPlan) -> LaunchPlan:
    if not launch.remaining:
        return launch
    return replace(
        launch,
        wanted=launch.done,
        least=launch.done,
        stopped=len(launch.own),
        why={},
        estimate_s=None,
    )


def run(
    experiment: Experiment,
    settings: Settings | None = None,
    *,
    mode: Mode | str = Mode.NEW,
    where: str | Sequence[str] = (),
    trials: int | None = None,
    any_build: bool = False,
    listener: Listener | None = None,
) -> RunSummary:
    """Run what an experiment still lacks, and return when it is done.

    It is `execute` with an event loop of its own in another thread, so that it works in a
    notebook's cells and in functions that they call. Arguments and errors are those of `execute`;
    the listener is called in the thread that calls this. A KeyboardInterrupt (Ctrl-C, or a
    notebook's stop button) ends the run in an orderly way: what was measured is stored, and the
    summary says `interrupted`. A second one does not wait for replies that are on their way.
    """
    events: SimpleQueue[Event | None] = SimpleQueue()
    stop = _Stop()

    async def running() -> RunSummary:
        return await execute(
            experiment,
            settings,
            mode=mode,
            where=where,
            trials=trials,
            any_build=any_build,
            listener=events.put,
            interrupted=stop.here(),
        )

    with ThreadPoolExecutor(1, thread_name_prefix="matrixbench") as thread:
        done = thread.submit(lambda: asyncio.run(running()))
        done.add_done_callback(lambda _: events.put(None))
        _tell_until_done(events, listener, stop)
        try:
            return done.result()
        except CancelledError:
            raise KeyboardInterrupt from None


class _Stop:
    """Lets one thread stop what runs in another's event loop, also before that began."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._asked = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ways: tuple[Callable[[], object], ...] = ()

    def here(self) -> asyncio.Event:
        """Return the event of the running loop that is set once somebody asks to stop.

        Who asks again cancels the task that calls this.
        """
        interrupted, task = asyncio.Event(), asyncio.current_task()
        with self._lock:
            self._loop = asyncio.get_running_loop()
            self._ways = (interrupted.set, *([task.cancel] if task else []))
            if self._asked:
                interrupted.set()
        return interrupted

    def ask(self) -> None:
        """Ask to stop, from any thread; the second time, at once."""
        with self._lock:
            self._asked += 1
            if self._loop is not None:
                way = self._ways[min(self._asked, len(self._ways)) - 1]
                with suppress(RuntimeError):  # its loop is closed: there is nothing to stop
                    self._loop.call_soon_threadsafe(way)


def _tell_until_done(
    events: SimpleQueue[Event | None], listener: Listener | None, stop: _Stop
) -> None:
    """Hand on a run's events until there are no more."""
    while True:
        try:
            if (event := events.get()) is None:
                return
            if listener is not None:
                listener(event)
        except KeyboardInterrupt:
            stop.ask()
        except BaseException:  # the listener's own fault: the run must not go on unseen
            stop.ask()
            raise
