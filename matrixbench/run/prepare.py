"""Reading what is there and planning against it: nothing is started, nothing goes online."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING, Any

from matrixbench.checks.judge import Checks, checks_of
from matrixbench.plan.builds import RecordedBuilds, held_builds
from matrixbench.plan.cells import ANY_LOAD, NOTHING, load_notes
from matrixbench.plan.launches import launches
from matrixbench.plan.matrix import (
    Matrix,
    build_matrix,
    experiment_loads,
    is_greedy,
    known_axes,
    known_handles,
    written_values,
)
from matrixbench.plan.planner import (
    History,
    Plan,
    TrialBudget,
    cache_notes,
    looking_first,
    plan_matrix,
    wanted_of,
)
from matrixbench.plan.seeds import Held, Seeds, chosen_progress, first_seeds, seed_notes, seeds_of
from matrixbench.plan.selector import nothing_selected, parse_where
from matrixbench.run.conversation import Conversation
from matrixbench.run.inspection import NOT_APPLICABLE, set_aside
from matrixbench.run.judging import ChecksByCell, comparable, compared_with
from matrixbench.run.preflight import inspect
from matrixbench.run.servers import Servers
from matrixbench.run.settings import settings_for
from matrixbench.store.database import open_store_if_there
from matrixbench.store.outcomes import Judges

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from matrixbench.errors import NothingSelectedError
    from matrixbench.plan.builds import HeldBuild
    from matrixbench.plan.cells import Cell, Loads, PresentBuild
    from matrixbench.plan.planner import LaunchPlan
    from matrixbench.run.settings import Settings
    from matrixbench.spec.load import Experiment
    from matrixbench.store.database import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What of an experiment the store is asked about.

    Args:
        experiment: The experiment.
        wanted: How many trials a cell should have.
        loads: The loads of its launches.
        judges: What judges the trials of which cell, where cells may stop early.
        any_build: Whether trials of any build count as done.
    """

    experiment: Experiment
    wanted: TrialBudget
    loads: Loads
    judges: Judges | None
    any_build: bool

    def held(self, store: Store) -> Held:
        """Return what the store holds of trials that were asked by the old and the present rule."""
        file = self.experiment.file
        own = frozenset(first_seeds(file.seed, self.experiment.tests).values())
        old, present = (
            store.progress(
                file.name,
                first_seed=first,
                trials=self.wanted.trials,
                request_timeout_s=file.timeouts.request_s,
                judges=self.judges,
                loads=self.loads,
            )
            for first in (file.seed, own)
        )
        return Held(old=old, own=present)

    def history(self, store: Store, seeds: Seeds, matrix: Matrix, held: Held) -> History:
        """Return what is known of some cells, each asked from its own first seed on."""
        return History(
            progress=chosen_progress(seeds, selected(matrix), held),
            builds=store.builds(),
            runs=store.launch_runs(),
            durations=store.durations(loads=self.loads),
            any_build=self.any_build,
        )


def selected(matrix: Matrix) -> Iterator[Cell]:
    """Yield the selected cells."""
    return (cell for group in matrix.launches for cell in group.cells)


def starting_over(question: Question, store: Store | None, whole: Matrix) -> Seeds:
    """Return the seeds of a fresh start: cells that start over have no trial that binds them.

    Those that do not may: where a part of a test's cells starts over, it pairs with the rest.
    """
    experiment = question.experiment
    seed, tests = experiment.file.seed, experiment.tests
    if store is None or not whole.unselected:
        return seeds_of(seed, tests)
    return seeds_of(seed, tests, whole.unselected, question.held(store))


def going_on(question: Question, store: Store | None, whole: Matrix) -> tuple[Seeds, Held | None]:
    """Return the seeds of what goes on from what the store holds, and what that is."""
    experiment = question.experiment
    held = None if store is None else question.held(store)
    every = chain(selected(whole), whole.unselected)
    return seeds_of(experiment.file.seed, experiment.tests, every, held), held


NOTES_SHOWN = 20
"""What is wrong with a file, or doubtful, as far as a plan notes it one by one."""


_MOST_JUDGED = 200_000
"""Trials whose verdicts are read for what a comparison will show: a second or two."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Prepared:
    """A plan, and all that it was made from.

    Args:
        experiment: The experiment.
        settings: Where things are kept.
        matrix: Its selected cells.
        wanted: How many trials a cell should have.
        history: What the store knew.
        newest: Number of the newest trial that it knew of.
        checks: `id()` of a test → its compiled checks.
        of_cells: What judges the stored replies of each cell.
        conversations: `id()` of a test → its compiled script, where it has one.
        judges: Which of them judge the trials of which cell, where cells may stop early.
        loads: The loads of the experiment's launches.
        plan: What will run and why.
    """

    experiment: Experiment
    settings: Settings
    matrix: Matrix
    wanted: TrialBudget
    history: History
    newest: int
    checks: dict[int, Checks]
    of_cells: ChecksByCell
    conversations: dict[int, Conversation]
    judges: Judges | None
    seeds: Seeds
    plan: Plan
    loads: Loads = ANY_LOAD

    def __repr__(self) -> str:
        """Say what the plan comes to: all of it would fill a notebook."""
        plan = self.plan
        return (
            f"<plan of {plan.experiment}: {plan.cells:,} cells, {len(plan.launches):,} launches, "
            f"{plan.trials:,} trials: {plan.done:,} done, {plan.remaining:,} to run>"
        )

    def builds(self) -> Iterator[tuple[LaunchPlan, list[HeldBuild]]]:
        """Yield each launch with the builds that the store holds trials of it under."""
        every = (possible.launch for possible in launches(self.experiment))
        name = self.experiment.file.name
        return held_builds(name, self.plan.launches, every, self.history)

    def cells(self) -> Iterator[tuple[Cell, int, int, bool]]:
        """Yield each cell with its trials that are done, and those that are wanted at most.

        With them comes whether the done ones are those of the present build for sure.
        """
        for launch in self.plan.launches:
            known = self.history.under(launch.build.build)
            verified = launch.build.verified and not launch.unverified
            for cell in launch.cells:
                need = self.wanted.need(cell, known.get(cell.id, NOTHING))
                yield cell, need.most - need.todo.bit_count(), need.most, verified


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
    with open_store_if_there(settings.store) or nullcontext() as store:
        prepared = prepare(
            experiment,
            settings,
            store=store,
            where=where,
            trials=trials,
            any_build=any_build,
            judged=judged,
        )
    plan = prepared.plan
    found = inspect(experiment, [one.launch for one in plan.launches], Servers(settings))
    told = (*found.problems, *experiment.warnings, *found.warnings)
    notes = [problem.line for problem in told[:NOTES_SHOWN]]
    if len(told) > NOTES_SHOWN:
        notes.append(f"and {len(told) - NOTES_SHOWN:,} more: matrixbench validate lists them")
    return replace(prepared, plan=replace(plan, notes=(*plan.notes, *notes)))


def prepare(  # noqa: PLR0913  what a plan can be of
    experiment: Experiment,
    settings: Settings,
    *,
    store: Store | None,
    where: str | Sequence[str] = (),
    trials: int | None = None,
    fresh: bool = False,
    any_build: bool = False,
    rounds: range | None = None,
    judged: bool = False,
) -> Prepared:
    """Return the plan of an experiment against an open store; of some rounds alone if given."""
    file = experiment.file
    handles = known_handles(experiment)
    matrix = build_matrix(experiment, parse_where(where, known_axes(experiment), handles=handles))
    whole, workshop = matrix, Servers(settings)
    builds = present_builds(experiment, matrix, workshop, store)
    if store is not None:
        matrix = set_aside(matrix, builds, store.noted(NOT_APPLICABLE))
    wanted = looking_first(wanted_of(file, trials), matrix)
    if rounds is not None:
        wanted = replace(wanted, trials=rounds.stop, first=rounds.start)
    checks = {id(test): checks_of(test) for test in experiment.tests}
    loads = experiment_loads(experiment)
    matrix, of_cells = _comparing(experiment, matrix, checks, builds, (workshop, store))
    judges = None if wanted.until is None else judges_of(matrix, checks)
    history, newest = History(fresh=fresh), 0 if store is None else store.newest()
    cells = sum(len(one.cells) for one in matrix.launches)
    asked = judges
    if judged and wanted.trials * cells <= _MOST_JUDGED:
        asked = judges or judges_of(matrix, checks)
    question = Question(
        experiment=experiment, wanted=wanted, loads=loads, judges=asked, any_build=any_build
    )
    if fresh:
        seeds = starting_over(question, store, whole)
    else:
        seeds, held = going_on(question, store, whole)
        if store is not None and held is not None:
            history = question.history(store, seeds, matrix, held)
    of_cells.read(store, experiment, selected(matrix), seeds)
    plan = plan_matrix(file.name, matrix, wanted=wanted, history=history, builds=builds)
    old = seeds.old_cells(selected(matrix))
    notes = (
        *load_notes(loads),
        *cache_notes(file, matrix),
        *seed_notes(old, plan.cells, offset=experiment.seed_offset, trials=wanted.trials),
    )
    plan = replace(plan, notes=(*plan.notes, *notes), old_seeds=old)
    return Prepared(
        experiment=experiment,
        settings=settings,
        matrix=matrix,
        wanted=wanted,
        history=history,
        newest=newest,
        conversations=_conversations(experiment),
        checks=checks,
        of_cells=of_cells,
        judges=judges,
        seeds=seeds,
        plan=plan,
        loads=loads,
    )


def nothing_in_file(experiment: Experiment, where: str | Sequence[str]) -> NothingSelectedError:
    """Return the error for a selection of an experiment that leaves no cell, with the reason."""
    selector = parse_where(where, known_axes(experiment), handles=known_handles(experiment))
    values: dict[str, Iterable[Any]] = {**written_values(experiment), **known_handles(experiment)}
    return nothing_selected(
        selector,
        values,
        where=str(experiment.path),
        hint="look at exclude and backends; matrixbench plan FILE says what does not apply",
    )


def _conversations(experiment: Experiment) -> dict[int, Conversation]:
    return {
        id(test): Conversation(test.script, where=test.name)
        for test in experiment.tests
        if test.script is not None
    }


def _comparing(
    experiment: Experiment,
    matrix: Matrix,
    checks: Mapping[int, Checks],
    builds: Mapping[str, PresentBuild],
    sources: tuple[Servers, Store | None],
) -> tuple[Matrix, ChecksByCell]:
    """Return the cells that can be judged, and what judges each.

    The cells that others are compared with may be left out by `--where`.
    """
    if not any(own.compares for own in checks.values()):
        return matrix, ChecksByCell(checks, {})
    workshop, store = sources
    whole = build_matrix(experiment)
    missing = [group for group in whole.launches if group.launch.name not in builds]
    rest = Matrix(launches=tuple(missing), not_applicable=(), axes=whole.axes)
    compared = compared_with(
        [cell for group in matrix.launches for cell in group.cells],
        [cell for group in whole.launches for cell in group.cells],
        checks,
        {**present_builds(experiment, rest, workshop, store), **builds},
    )
    return comparable(matrix, compared), ChecksByCell(checks, compared)


def history_of(store: Store, prepared: Prepared) -> History:
    """Return what the store knows by now, for a plan that was made before."""
    question = Question(
        experiment=prepared.experiment,
        wanted=prepared.wanted,
        loads=prepared.loads,
        judges=prepared.judges,
        any_build=prepared.history.any_build,
    )
    return question.history(store, prepared.seeds, prepared.matrix, question.held(store))


def judges_of(matrix: Matrix, checks: Mapping[int, Checks]) -> Judges:
    """Return which checks judge the trials of which cell, where it may stop early.

    Greedy cells have nothing to stop for, and those that are compared with other cells' replies
    know nothing before those are there.
    """
    by_digest: dict[str, Checks] = {}
    cells: dict[str, tuple[str, ...]] = {}
    comparing: set[str] = set()
    for group in matrix.launches:
        apart = {
            test: of_test.taking_apart(group.launch.reasoning_marks)
            for test, of_test in checks.items()
        }
        by_digest |= {of_test.digest: of_test for of_test in apart.values()}
        own = {test: (of_test.digest,) for test, of_test in apart.items()}
        for cell in group.cells:
            if is_greedy(cell.point.fields):
                continue
            if checks[id(cell.test)].compares:
                comparing.add(cell.id)
                continue
            mine = own[id(cell.test)]
            known = cells.setdefault(cell.id, mine)
            if mine[0] not in known:
                cells[cell.id] = known + mine
    for cell_id in comparing & cells.keys():
        del cells[cell_id]
    return Judges(cells=cells, judge=lambda digest, reply: by_digest[digest].judge(reply).outcome)


def present_builds(
    experiment: Experiment, matrix: Matrix, workshop: Servers, store: Store | None
) -> Mapping[str, PresentBuild]:
    """Return launch name → the build that is there now, else one that was recorded or is guessed.

    Which runs are another launch's is known by all launches of the file, selected or not.
    """
    every = (possible.launch for possible in launches(experiment))
    recorded = RecordedBuilds(
        experiment.file.name,
        every,
        () if store is None else store.launch_runs(),
        {} if store is None else store.builds(),
    )
    return {
        group.launch.name: recorded.present(group.launch, workshop.present_build(group.launch))
        for group in matrix.launches
    }
