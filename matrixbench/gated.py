"""Planning and running until a gate is decided.

Where a file's trials go on until a comparison is decided, that comparison has to be made between
rounds: by the very function that `compare` uses, from the store.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from matrixbench.comparison.values import Verdict
from matrixbench.errors import StoreError, UsageError
from matrixbench.execution import planning, run
from matrixbench.execution.settings import settings_for
from matrixbench.execution.stored import opened
from matrixbench.execution.summary import Mode
from matrixbench.pairing import compare_results
from matrixbench.pairing.by_build import BUILD, PREVIOUS
from matrixbench.results import results_of

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Sequence

    from matrixbench.comparison.values import Comparison
    from matrixbench.execution.events import Listener
    from matrixbench.execution.planning import Prepared
    from matrixbench.execution.settings import Settings
    from matrixbench.execution.summary import RunSummary
    from matrixbench.plan.planner import LaunchPlan
    from matrixbench.plan.wanted import UntilGate
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
        return "" if Verdict.UNDECIDED in verdicts else comparison.verdict.value

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
    return await run.execute(
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
