"""Planning and running, also until the file's gate is decided, with and without an event loop."""

from __future__ import annotations

import asyncio
from asyncio import CancelledError
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from queue import SimpleQueue
from threading import Lock
from typing import TYPE_CHECKING

from matrixbench.comparison.pairs import PREVIOUS, compare_results
from matrixbench.comparison.values import Basis, GateVerdict
from matrixbench.errors import StoreError, UsageError
from matrixbench.execution.events import GateDecided, RoundsStarted
from matrixbench.execution.execute import begun
from matrixbench.execution.preflight import inspect
from matrixbench.execution.prepare import prepare
from matrixbench.execution.servers import Servers
from matrixbench.execution.settings import Mode, RunRequest, mode_of, settings_for
from matrixbench.results.experiment import results_of
from matrixbench.spec.axes import BUILD
from matrixbench.store.database import open_store, open_store_if_there

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from matrixbench.comparison.data import Comparison
    from matrixbench.comparison.values import CandidateResult
    from matrixbench.execution.events import Event, Listener
    from matrixbench.execution.execute import Run
    from matrixbench.execution.prepare import Prepared
    from matrixbench.execution.settings import RunSummary, Settings
    from matrixbench.plan.planner import LaunchPlan, UntilGate
    from matrixbench.spec.load import Experiment
    from matrixbench.store.database import Store

NOTES_SHOWN = 20
"""So many things that are wrong with a file, or doubtful, are noted by a plan one by one."""


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
    request = RunRequest(
        experiment=experiment,
        settings=settings or settings_for(experiment),
        where=where,
        trials=trials,
        any_build=any_build,
    )
    tell, stop = listener or _silent, interrupted or asyncio.Event()
    with begun(request, mode_of(mode), tell, stop) as run:
        rule = run.prepared.wanted.gate
        if rule is not None:
            return await _until_decided(run, StoredGate(request=request, rule=rule))
        await run.visit(run.prepared)
        return run.summary()


def _silent(_: Event) -> None:
    pass


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
    request = RunRequest(
        experiment=experiment,
        settings=settings or settings_for(experiment),
        where=where,
        trials=trials,
        any_build=any_build,
    )
    with open_store_if_there(request.settings.store) or nullcontext() as store:
        prepared = prepare(request, store, judged=judged)
    plan = prepared.plan
    for closed in dict.fromkeys(checks.closed for checks in prepared.prompts.checks.values()):
        if closed:
            request.settings.trust.leave(f"checks were not loaded: {closed}")
    found = inspect(experiment, [one.launch for one in plan.launches], Servers(request.settings))
    told = (*found.problems, *experiment.warnings, *found.warnings)
    notes = [problem.line for problem in told[:NOTES_SHOWN]]
    if len(told) > NOTES_SHOWN:
        notes.append(f"and {len(told) - NOTES_SHOWN:,} more: matrixbench validate lists them")
    prepared = replace(prepared, plan=replace(plan, notes=(*plan.notes, *notes)))
    rule = prepared.wanted.gate
    if rule is None or not plan.done:
        return prepared
    gate = StoredGate(request=request, rule=rule)
    try:
        with open_store(request.settings.store, create=False) as store:
            # A plan shows no verdict but one that ends the trials: only that is a look.
            verdict = gate.verdict(store, remember=False) and gate.verdict(store)
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


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredGate:
    """The gate of a file, asked of what is stored.

    Args:
        request: What is run. Where its selector leaves one side alone, all cells are compared.
        rule: What the file says of the gate.
    """

    request: RunRequest
    rule: UntilGate

    def verdict(self, store: Store, *, remember: bool = True) -> str:
        """Return its verdict once every candidate has one; empty before.

        Args:
            store: The store.
            remember: Whether the store keeps that these trials were looked at.

        Raises:
            UsageError: There is nothing to compare: no two cells differ only in the axis.
            StoreError: The store cannot be read.
        """
        return _verdict(self.compared(store, remember=remember))

    def compared(self, store: Store, *, remember: bool = True) -> Comparison | None:
        """Return the comparison; None where the first build of all has none to compare with."""
        try:
            return self._among(store, self.request.where, remember=remember)
        except UsageError:
            try:
                return self._among(store, (), remember=remember)
            except UsageError as error:
                if self.rule.baseline == f"{BUILD}={PREVIOUS}":
                    return None  # it is measured for the sake of the next
                raise UsageError(
                    error.message,
                    where=f"trials.until.gate.baseline {self.rule.baseline}",
                    hint=error.hint,
                ) from error

    def _among(self, store: Store, where: str | Sequence[str], *, remember: bool) -> Comparison:
        request = self.request
        results = results_of(request.experiment, request.settings, store, where=where)
        return compare_results(
            results,
            baseline=self.rule.baseline,
            max_drop=self.rule.max_drop,
            unmeasured=True,
            remember=remember,
        )


def _verdict(comparison: Comparison | None) -> str:
    if comparison is None or any(map(_is_undecided, comparison.candidates)):
        return ""
    return comparison.verdict.value


def _is_undecided(candidate: CandidateResult) -> bool:
    return candidate.gate.verdict is GateVerdict.UNDECIDED


_WITHOUT_CHANCE = {Basis.ONE_DRAW, Basis.GREEDY, Basis.BY_REQUEST, Basis.SHARED}
"""What more rounds tell nothing new of."""


def _adds_nothing(comparison: Comparison | None) -> bool:
    """Return whether more rounds decide nothing: each trial repeats one draw of chance."""
    undecided = [] if comparison is None else filter(_is_undecided, comparison.candidates)
    bases = [{cell.basis for cell in candidate.cells} for candidate in undecided]
    return bool(bases) and all(
        Basis.ONE_DRAW in found and found <= _WITHOUT_CHANCE for found in bases
    )


async def _until_decided(run: Run, gate: StoredGate) -> RunSummary:
    """Run rounds until the gate is decided, or none is left.

    A launch that is given up ends the run after its visit: more rounds of the others decide
    nothing.
    """
    most, fresh = run.prepared.wanted.trials, run.prepared.history.fresh
    # A gate that has nothing to compare says so before anything runs, at a fresh start too.
    said = gate.compared(run.store)
    said = None if fresh else said
    done = visited = 0
    for number, rounds in enumerate(visits(gate.rule.least, most)):
        if _verdict(said) or _adds_nothing(said) or run.stop.is_set():
            break
        prepared = run.plan(rounds, fresh=fresh and not visited)
        done = rounds.stop
        if not prepared.plan.remaining and done < most:
            continue
        if prepared.plan.remaining:
            run.counts(RoundsStarted(rounds=done, most=most))
        await run.visit(prepared, backwards=number % 2 == 1)
        visited += 1
        if run.counts.failed or run.stop.is_set():
            break
        said = gate.compared(run.store)
    verdict, left = _verdict(said), run.counts.left_of(run.prepared.plan.remaining)
    if not verdict:
        return replace(run.summary(), undecided=_undecided(run, said, most))
    run.counts(GateDecided(verdict=verdict, rounds=done, most=most, trials=left))
    stopped = run.prepared.plan.cells if left else 0
    return replace(run.summary(), remaining=0, spared=left, stopped=stopped, decided=verdict)


def _undecided(run: Run, said: Comparison | None, most: int) -> str:
    """Return why a run ended though its gate is undecided, and what to do; empty if interrupted."""
    if run.stop.is_set():
        return ""
    if run.counts.failed:
        return (
            "more rounds of the others decide nothing as long as a launch is given up: mend it, or "
            "leave it out with --where"
        )
    if _adds_nothing(said):
        return (
            "servers ignore seeds, so that all trials of a cell are one draw and more rounds add "
            "nothing: have them take each request's seed and run again with --fresh"
        )
    return f"after all {most:,} rounds: raise max in the file, or look closer with compare --gate"


_FURTHER = 1.5
"""How many times as many rounds there are after a further visit."""


def visits(first: int, most: int) -> Iterator[range]:
    """Yield the rounds of each visit, from 0: the first `first`, then half as many again."""
    start, end = 0, min(max(first, 1), most)
    while start < most:
        yield range(start, end)
        start, end = end, min(most, max(end + 1, int(end * _FURTHER)))


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
