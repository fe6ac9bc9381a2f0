"""Executing an experiment: what is there is looked at, the rest is run."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from functools import cache, partial
from typing import TYPE_CHECKING

from matrixbench.errors import UsageError
from matrixbench.execution.events import Compared, Rejudged, Unverified
from matrixbench.execution.launching import Launches, to_run
from matrixbench.execution.planning import nothing_in_file, prepare
from matrixbench.execution.preflight import check_options
from matrixbench.execution.recording import record_cells
from matrixbench.execution.rejudge import judged_by, rejudge
from matrixbench.execution.settings import settings_for
from matrixbench.execution.summary import Mode, mode_of
from matrixbench.execution.visits import Visits
from matrixbench.execution.workshop import Workshop
from matrixbench.records import Kind
from matrixbench.store.database import open_store, refuse_what_is_no_store
from matrixbench.store.locks import ExperimentLock

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from matrixbench.execution.events import Event, Listener
    from matrixbench.execution.planning import Prepared
    from matrixbench.execution.settings import Settings
    from matrixbench.execution.summary import RunSummary
    from matrixbench.execution.visits import Gate
    from matrixbench.plan.wanted import UntilGate
    from matrixbench.spec.load import Experiment
    from matrixbench.store.database import Store


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
            Workshop(settings),
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
