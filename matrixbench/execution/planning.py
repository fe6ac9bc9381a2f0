"""Reading what is there and planning against it: nothing is started, nothing goes online."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from matrixbench.backends.program import same_program
from matrixbench.checks.judge import Checks, compile_checks
from matrixbench.execution.workshop import Workshop
from matrixbench.plan.axes import known_axes
from matrixbench.plan.cells import PresentBuild
from matrixbench.plan.matrix import build_matrix
from matrixbench.plan.planner import History, Plan, Wanted, launch_work, plan_matrix
from matrixbench.plan.selector import parse_where
from matrixbench.store.database import open_store

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from matrixbench.execution.settings import Settings
    from matrixbench.plan.cells import Cell
    from matrixbench.plan.matrix import Matrix
    from matrixbench.spec.load import Experiment
    from matrixbench.store.database import Store


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prepared:
    """A plan, and all that it was made from.

    Args:
        experiment: The experiment.
        settings: Where things are kept.
        matrix: Its selected cells.
        wanted: How many trials a cell should have.
        history: What the store knew.
        checks: `id()` of a test → its compiled checks.
        plan: What will run and why.
    """

    experiment: Experiment
    settings: Settings
    matrix: Matrix
    wanted: Wanted
    history: History
    checks: dict[int, Checks]
    plan: Plan

    def cells(self) -> Iterator[tuple[Cell, int, int]]:
        """Yield each cell with its trials that are done, and those that are wanted."""
        for launch in self.plan.launches:
            todo = {
                work.cell.id: work.todo.bit_count()
                for work in launch_work(
                    launch.cells, launch.build.build, wanted=self.wanted, history=self.history
                )
            }
            for cell in launch.cells:
                wanted = self.wanted.of(cell)
                yield cell, wanted - todo.get(cell.id, 0), wanted


def build_plan(
    experiment: Experiment,
    settings: Settings,
    *,
    where: Sequence[str] = (),
    trials: int | None = None,
    any_build: bool = False,
) -> Prepared:
    """Return the plan of an experiment against its store, if there is one.

    With `any_build` a trial counts under whatever build it ran.

    Raises:
        UsageError: A selector is wrong.
        SpecError: The matrix is too large.
        StoreError: The store is there and cannot be read.
    """
    there = settings.store.exists()
    with open_store(settings.store, create=False) if there else nullcontext() as store:
        return prepare(
            experiment, settings, store=store, where=where, trials=trials, any_build=any_build
        )


def prepare(
    experiment: Experiment,
    settings: Settings,
    *,
    store: Store | None,
    where: Sequence[str] = (),
    trials: int | None = None,
    fresh: bool = False,
    any_build: bool = False,
) -> Prepared:
    """Return the plan of an experiment against an open store."""
    file = experiment.file
    matrix = build_matrix(experiment, parse_where(where, known_axes(experiment)))
    wanted = Wanted(trials=trials or file.trials, greedy=file.greedy_trials)
    history = History(fresh=fresh)
    if store is not None and not fresh:
        history = History(
            progress=store.progress(
                file.name,
                first_seed=file.seed,
                trials=wanted.trials,
                request_timeout_s=file.timeouts.request_s,
            ),
            builds=store.builds(),
            durations=store.durations(),
            any_build=any_build,
        )
    plan = plan_matrix(
        file.name,
        matrix,
        wanted=wanted,
        history=history,
        builds=present_builds(matrix, Workshop(settings), store),
    )
    return Prepared(
        experiment=experiment,
        settings=settings,
        matrix=matrix,
        wanted=wanted,
        history=history,
        checks={id(test): compile_checks(test.expect) for test in experiment.tests},
        plan=plan,
    )


def present_builds(
    matrix: Matrix, workshop: Workshop, store: Store | None
) -> Mapping[str, PresentBuild]:
    """Return launch name → the build that is there now, else the one that ran last."""
    found: dict[str, PresentBuild] = {}
    for group in matrix.launches:
        present = workshop.present_build(group.launch)
        if not present.verified and store is not None:
            last = store.last_build(group.launch.digest)
            # Of a command line's program all but its own words are known: a changed one is no
            # guess.
            if present.build is None or (last is not None and same_program(present.build, last)):
                present = PresentBuild(build=last, verified=False, note=present.note)
        if store is not None:
            present = replace(present, last=store.last_build(group.launch.digest))
        found[group.launch.name] = present
    return found
