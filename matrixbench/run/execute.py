"""Executing an experiment: what is there is looked at, the rest is run."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import TYPE_CHECKING, Protocol

from matrixbench.errors import UsageError
from matrixbench.records import Kind
from matrixbench.run.events import (
    Compared,
    GateDecided,
    Rejudged,
    RoundsStarted,
    RunStarted,
    TrialsStored,
    Unverified,
)
from matrixbench.run.judging import judged_by, rejudge
from matrixbench.run.launches import Launches, record_cells, to_run
from matrixbench.run.preflight import check_options
from matrixbench.run.prepare import nothing_in_file, prepare
from matrixbench.run.servers import Servers
from matrixbench.run.settings import Mode, mode_of, settings_for
from matrixbench.store.database import open_store, refuse_what_is_no_store
from matrixbench.store.locks import ExperimentLock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from matrixbench.plan.planner import UntilGate
    from matrixbench.records import Outcome
    from matrixbench.run.events import Event, Listener
    from matrixbench.run.prepare import Prepared
    from matrixbench.run.settings import Rejection, RunSummary, Settings
    from matrixbench.spec.load import Experiment
    from matrixbench.store.database import Store

_FURTHER = 1.5
"""How many times as many rounds there are after a further visit."""


class Gate(Protocol):
    """What decides that there are enough trials."""

    @property
    def first_look(self) -> int:
        """After how many rounds it can be decided at all."""

    def decided(self, store: Store) -> str:
        """Return what it says by now, in a word; empty as long as it is undecided."""


@dataclass(slots=True, kw_only=True, eq=False)
class Visits:
    """The visits of one run.

    Args:
        prepared: The plan of all trials.
        prepare: Gives the plan of some rounds, a fresh start or not.
        store: The open store.
        generation: Gives the generation that new trials belong to.
        tell: Is told of every event.
        stop: Is set to stop in an orderly way.
    """

    prepared: Prepared
    prepare: Callable[[range, bool], Prepared]
    store: Store
    generation: Callable[[], int]
    tell: Listener
    stop: asyncio.Event

    async def run(self, gate: Gate) -> RunSummary:
        """Run rounds until the gate is decided, or none is left.

        A launch that is given up ends the run after its visit: more rounds of the others decide
        nothing.

        Raises:
            ServerError: No server could be used, so that nothing was measured.
            ModelError: The same, for want of a model.
            StoreError: Trials cannot be stored; what was stored is intact.
        """
        plan, most = self.prepared.plan, self.prepared.wanted.trials
        self.tell(
            RunStarted(
                experiment=plan.experiment,
                trials=plan.remaining,
                done=plan.done,
                launches=len(plan.launches),
                adaptive=True,
            )
        )
        fresh = self.prepared.history.fresh
        # A gate that has nothing to compare says so before anything runs, at a fresh start too.
        before = gate.decided(self.store)
        verdict = "" if fresh else before
        done, left = 0, plan.remaining
        parts: list[RunSummary] = []
        for number, rounds in enumerate(visits(gate.first_look, most)):
            if verdict or self.stop.is_set():
                break
            visited = self.prepare(rounds, fresh and not parts)
            done = rounds.stop
            if not visited.plan.remaining and done < most:
                continue
            if visited.plan.remaining:
                self.tell(RoundsStarted(rounds=rounds.stop, most=most))
            launches = Launches(
                visited, self.store, self.generation, self._telling(parts), self.stop
            )
            part = await launches.run(backwards=number % 2 == 1, must_measure=not parts)
            parts.append(part)
            left -= visited.plan.remaining - part.remaining
            if part.failed_launches or part.interrupted:
                break
            verdict = gate.decided(self.store)
        if verdict:
            self.tell(GateDecided(verdict=verdict, rounds=done, most=most, trials=max(0, left)))
        summary = self._summary(parts, verdict, max(0, left))
        return replace(summary, undecided=_undecided(summary, most) if not verdict else "")

    def _telling(self, parts: Sequence[RunSummary]) -> Listener:
        """Return a listener that makes one run of the visits."""
        stored = sum(part.ran for part in parts)

        def tell(event: Event) -> None:
            if isinstance(event, TrialsStored):
                event = replace(event, stored=stored + event.stored)
            if not isinstance(event, RunStarted):
                self.tell(event)

        return tell

    def _summary(self, parts: Sequence[RunSummary], verdict: str, left: int) -> RunSummary:
        nothing = Launches(self.prepared, self.store, self.generation, self.tell, self.stop)
        summary = summed(parts) if parts else nothing.summary(0.0)
        cells = self.prepared.plan.cells if verdict and left else 0
        return replace(
            summary,
            remaining=0 if verdict else left,
            spared=left if verdict else 0,
            stopped=cells,
            decided=verdict,
        )


def _undecided(summary: RunSummary, most: int) -> str:
    """Return why a run ended though its gate is undecided, and what to do; empty if interrupted."""
    if summary.interrupted:
        return ""
    if summary.failed_launches:
        return (
            "more rounds of the others decide nothing as long as a launch is given up: mend it, or "
            "leave it out with --where"
        )
    return f"after all {most:,} rounds: raise max in the file, or look closer with compare --gate"


def visits(first: int, most: int) -> Iterator[range]:
    """Yield the rounds of each visit, from 0: the first `first`, then half as many again."""
    start, end = 0, min(max(first, 1), most)
    while start < most:
        yield range(start, end)
        start, end = end, min(most, max(end + 1, int(end * _FURTHER)))


def summed(parts: Sequence[RunSummary]) -> RunSummary:
    """Return what several runs of one experiment measured together; at least one."""
    outcomes: Counter[Outcome] = Counter()
    failed: dict[str, str] = {}
    errors: dict[str, tuple[int, str]] = {}
    rejections: dict[tuple[str, str], Rejection] = {}
    for part in parts:
        outcomes.update(part.outcomes)
        failed.update(part.failed_launches)
        for kind, (count, reason) in part.errors.items():
            errors[kind] = (errors.get(kind, (0, ""))[0] + count, reason)
        for one in part.rejections:
            key = (one.kind, one.reason)
            known = rejections.get(key, replace(one, trials=0))
            rejections[key] = replace(one, trials=known.trials + one.trials)
    return replace(
        parts[-1],
        ran=sum(part.ran for part in parts),
        outcomes=dict(outcomes),
        failed_launches=failed,
        errors=errors,
        rejections=tuple(sorted(rejections.values(), key=lambda one: -one.trials)),
        interrupted=any(part.interrupted for part in parts),
        seconds=sum(part.seconds for part in parts),
    )


async def execute(  # noqa: PLR0913  one more than the public one takes
    experiment: Experiment,
    settings: Settings | None = None,
    *,
    mode: Mode | str = Mode.NEW,
    where: str | Sequence[str] = (),
    trials: int | None = None,
    any_build: bool = False,
    listener: Listener | None = None,
    interrupted: asyncio.Event | None = None,
    gate: Callable[[UntilGate], Gate] | None = None,
) -> RunSummary:
    """Run what an experiment still lacks, and store each trial as it happens.

    Args:
        experiment: The experiment.
        settings: Where the store is; default: `settings_for(experiment)`.
        mode: What to do with trials that are there: `new` refuses, `resume` runs the rest,
            `fresh` starts a new generation.
        where: Selector expressions; all must hold.
        trials: Trials per cell, over the file's.
        any_build: Whether trials of any build count as done, not only those of the present one.
        listener: Is told of every event, in the event loop's thread.
        interrupted: Set it to stop the run in an orderly way.
        gate: Gives the gate where a file's trials go on until one is decided; without it they go
            on to the last.

    Raises:
        UsageError: Results exist and `mode` is `new`, there is no such mode, or a selector is
            wrong.
        NothingSelectedError: The selection leaves no cell.
        SpecError: A server lacks an option or a chat template that the file names.
        ServerError: No server could be used.
        StoreError: The store cannot be used; what was stored is intact.
    """
    settings, mode = settings or settings_for(experiment), mode_of(mode)
    tell = listener or _silent
    stop = interrupted or asyncio.Event()
    with ExitStack() as stack:
        refuse_what_is_no_store(settings.store)
        stack.enter_context(ExperimentLock(settings.store, experiment.file.name))
        store = stack.enter_context(open_store(settings.store, create=True))
        prepared = prepare(
            experiment,
            settings,
            store=store,
            where=where,
            trials=trials,
            fresh=mode is Mode.FRESH,
            any_build=any_build,
        )
        _refuse(prepared, mode, where)
        check_options(
            experiment,
            [plan.launch for plan in prepared.plan.launches if plan.remaining],
            Servers(settings),
        )
        _judge_again(prepared, store, tell)
        _tell_unverified(prepared, store, tell)
        record_cells(store, prepared, whole=not where)
        generation = cache(partial(_generation, prepared, store, mode, where))
        before = store.newest()
        rule = prepared.wanted.gate
        if gate is None or rule is None:
            summary = await Launches(prepared, store, generation, tell, stop).run()
        else:
            visits = Visits(
                prepared=prepared,
                prepare=lambda rounds, fresh: prepare(
                    experiment,
                    settings,
                    store=store,
                    where=where,
                    trials=trials,
                    fresh=fresh,
                    any_build=any_build,
                    rounds=rounds,
                ),
                store=store,
                generation=generation,
                tell=tell,
                stop=stop,
            )
            summary = await visits.run(gate(rule))
        if not prepared.of_cells.compares:
            if len(judged_by(prepared.plan, prepared.of_cells)) > 1:
                rejudge(store, prepared.plan, prepared.of_cells, prepared.loads)
            return summary
        again = prepare(
            experiment, settings, store=store, where=where, trials=trials, any_build=any_build
        )
        return _compare(again, store, summary, before, tell)


def _silent(_: Event) -> None:
    pass


def _refuse(prepared: Prepared, mode: Mode, where: str | Sequence[str]) -> None:
    plan = prepared.plan
    if not plan.cells:
        raise nothing_in_file(prepared.experiment, where)
    if mode is Mode.NEW and plan.done:
        rest = "nothing is left to run until the file asks for more"
        if plan.remaining:
            rest = f"--resume runs the other {plan.remaining:,}"
        doubt = f", {plan.unverified:,} of them unverified" if plan.unverified else ""
        raise UsageError(
            f"{plan.done:,} of {plan.trials:,} selected trials are done{doubt}",
            where=str(prepared.settings.store),
            hint=f"{rest}; --fresh starts over, and the old ones stay in the store",
        )


def _generation(prepared: Prepared, store: Store, mode: Mode, where: str | Sequence[str]) -> int:
    name = prepared.experiment.file.name
    if mode is not Mode.FRESH:
        return store.generation()
    cells = {cell.id for launch in prepared.plan.launches for cell in launch.cells}
    return store.start_fresh(name, cells if where else None)


def _tell_unverified(prepared: Prepared, store: Store, tell: Listener) -> None:
    """Say where «done» rests on a guess: a binary that is not there must not pass in silence.

    Servers that are asked all the same say for themselves what they are.
    """
    asked = {plan.launch.name for plan in to_run(prepared, store)}
    for plan in prepared.plan.launches:
        if plan.unverified and plan.launch.name not in asked:
            guessed = not prepared.history.any_build
            name, trials, note = plan.launch.name, plan.unverified, plan.doubt
            tell(Unverified(name=name, trials=trials, note=note, guessed=guessed))


def _judge_again(prepared: Prepared, store: Store, tell: Listener) -> None:
    again = rejudge(store, prepared.plan, prepared.of_cells, prepared.loads)
    if again.replies:
        tell(Rejudged(replies=again.replies, changed=again.changed))


def _compare(
    prepared: Prepared, store: Store, summary: RunSummary, before: int, tell: Listener
) -> RunSummary:
    """Compare replies with those of other cells, now that they are there.

    Replies of earlier runs are compared again where what they are compared with is new. The
    summary that is returned has what came of this run's, those of numbers above `before`.
    """
    again = rejudge(store, prepared.plan, prepared.of_cells, prepared.loads)
    if not again.replies:
        return summary
    tell(Compared(replies=again.replies, waiting=again.of_kind(Kind.NO_REFERENCE)))
    own = [judgement for trial, judgement in again.judgements.items() if trial > before]
    return summary.settled(own)
