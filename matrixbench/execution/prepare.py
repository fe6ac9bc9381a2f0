"""Reading what is there and planning against it: nothing is started, nothing goes online."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any

from matrixbench.execution.inspection import NOT_APPLICABLE, set_aside
from matrixbench.execution.judging import ChecksByCell, comparable, compared_with, partners_of
from matrixbench.execution.servers import Servers
from matrixbench.execution.trials import Prompts
from matrixbench.plan.builds import RecordedBuilds, held_builds
from matrixbench.plan.cells import NOTHING, load_notes
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
from matrixbench.store.outcomes import Judges

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from matrixbench.checks.judge import Checks
    from matrixbench.errors import NothingSelectedError
    from matrixbench.execution.settings import RunRequest, Settings
    from matrixbench.plan.builds import HeldBuild
    from matrixbench.plan.cells import Cell, Loads, PresentBuild
    from matrixbench.plan.planner import LaunchPlan
    from matrixbench.plan.selector import Selector
    from matrixbench.spec.load import Experiment
    from matrixbench.store.database import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What of an experiment the store is asked about.

    Args:
        judges: What judges the trials of which cell, where cells may stop early.
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


_MOST_JUDGED = 200_000
"""Trials whose verdicts are read for what a comparison will show: a second or two."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Prepared:
    """A plan, and all that it was made from.

    Args:
        matrix: Its selected cells.
        newest: Number of the newest trial that it knew of.
        prompts: What each cell sends, and how its replies are judged.
        of_cells: What judges the stored replies of each cell.
        question: What the store was asked.
        seeds: From which seed on the trials of each cell ask.
    """

    experiment: Experiment
    settings: Settings
    matrix: Matrix
    history: History
    newest: int
    prompts: Prompts
    of_cells: ChecksByCell
    question: Question
    seeds: Seeds
    plan: Plan

    def __repr__(self) -> str:
        """Say what the plan comes to: all of it would fill a notebook."""
        plan = self.plan
        return (
            f"<plan of {plan.experiment}: {plan.cells:,} cells, {len(plan.launches):,} launches, "
            f"{plan.trials:,} trials: {plan.done:,} done, {plan.remaining:,} to run>"
        )

    @property
    def wanted(self) -> TrialBudget:
        """How many trials a cell should have."""
        return self.question.wanted

    @property
    def loads(self) -> Loads:
        """The loads of the experiment's launches."""
        return self.question.loads

    @property
    def judges(self) -> Judges | None:
        """What judges the trials of which cell, where cells may stop early."""
        return self.question.judges

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


def prepare(
    request: RunRequest,
    store: Store | None,
    *,
    fresh: bool = False,
    rounds: range | None = None,
    judged: bool = False,
) -> Prepared:
    """Return the plan of what is asked for, against an open store if there is one.

    Args:
        store: The store; None where nothing was ever run.
        fresh: Whether all of it starts over.
        rounds: The rounds that it is about; None for all.
        judged: Whether `history` is to tell which trials passed, where cells do not stop early
            too; of large experiments it does not, for reading that would take long.

    Raises:
        UsageError: A selector is wrong.
        SpecError: The matrix is too large.
        CheckError: A check cannot be loaded.
        StoreError: The store cannot be read.
    """
    experiment, servers = request.experiment, Servers(request.settings)
    file, prompts = experiment.file, Prompts(experiment.tests, request.settings.trust)
    whole = build_matrix(experiment, selector_of(experiment, request.where))
    builds = present_builds(experiment, whole, servers, store)
    matrix = whole
    if store is not None:
        matrix = set_aside(matrix, builds, store.noted(NOT_APPLICABLE))
    wanted = looking_first(wanted_of(file, request.trials), matrix)
    if rounds is not None:
        wanted = replace(wanted, trials=rounds.stop, first=rounds.start)
    matrix, of_cells = _comparing(experiment, matrix, prompts, builds, (servers, store))
    judges = None
    if wanted.until is not None or (judged and wanted.trials * matrix.cells <= _MOST_JUDGED):
        judges = judges_of(matrix, prompts)
    question = Question(
        experiment=experiment,
        wanted=wanted,
        loads=experiment_loads(experiment),
        judges=judges,
        any_build=request.any_build,
    )
    newest = 0 if store is None else store.newest()
    # Cells that start over have no trial that binds them. Those that do not may: where a part of
    # a test's cells starts over, it pairs with the rest.
    binding = whole.unselected if fresh else chain(selected(whole), whole.unselected)
    asked = store if whole.unselected or not fresh else None
    held = None if asked is None else question.held(asked)
    seeds = seeds_of(file.seed, experiment.tests, binding, held)
    history = History(fresh=fresh)
    if store is not None and held is not None and not fresh:
        history = question.history(store, seeds, matrix, held)
    of_cells.read(store, experiment, selected(matrix), seeds)
    plan = plan_matrix(file.name, matrix, wanted=wanted, history=history, builds=builds)
    old = seeds.old_cells(selected(matrix))
    notes = (
        *plan.notes,
        *load_notes(question.loads),
        *cache_notes(file, matrix),
        *seed_notes(old, plan.cells, offset=experiment.seed_offset, trials=wanted.trials),
    )
    return Prepared(
        experiment=experiment,
        settings=request.settings,
        matrix=matrix,
        history=history,
        newest=newest,
        prompts=prompts,
        of_cells=of_cells,
        question=question,
        seeds=seeds,
        plan=replace(plan, notes=notes, old_seeds=old),
    )


def selector_of(experiment: Experiment, where: str | Sequence[str]) -> Selector:
    """Return what chooses among the cells of an experiment.

    Raises:
        UsageError: An expression is wrong.
    """
    return parse_where(where, known_axes(experiment), handles=known_handles(experiment))


def nothing_in_file(experiment: Experiment, where: str | Sequence[str]) -> NothingSelectedError:
    """Return the error for a selection of an experiment that leaves no cell, with the reason."""
    selector = selector_of(experiment, where)
    values: dict[str, Iterable[Any]] = {**written_values(experiment), **known_handles(experiment)}
    return nothing_selected(
        selector,
        values,
        where=str(experiment.path),
        hint="look at exclude and backends; matrixbench plan FILE says what does not apply",
    )


def _comparing(
    experiment: Experiment,
    matrix: Matrix,
    prompts: Prompts,
    builds: Mapping[str, PresentBuild],
    sources: tuple[Servers, Store | None],
) -> tuple[Matrix, ChecksByCell]:
    """Return the cells that can be judged, and what judges each.

    The cells that others are compared with may be left out by `--where`.
    """
    if not any(own.compares for own in prompts.checks.values()):
        return matrix, ChecksByCell(prompts, {})
    servers, store = sources
    whole = build_matrix(experiment)
    missing = [group for group in whole.launches if group.launch.name not in builds]
    rest = Matrix(launches=tuple(missing), not_applicable=(), axes=whole.axes)
    every = {**present_builds(experiment, rest, servers, store), **builds}
    partners = partners_of(selected(matrix), partial(selected, whole), prompts.checks)
    compared = compared_with(partners, prompts.checks, every)
    return comparable(matrix, compared), ChecksByCell(prompts, compared)


def history_of(store: Store, prepared: Prepared) -> History:
    """Return what the store knows by now, for a plan that was made before."""
    question = prepared.question
    return question.history(store, prepared.seeds, prepared.matrix, question.held(store))


def judges_of(matrix: Matrix, prompts: Prompts) -> Judges:
    """Return which checks judge the trials of which cell, where it may stop early.

    Greedy cells have nothing to stop for, and those that are compared with other cells' replies
    know nothing before those are there.
    """
    by_digest: dict[str, Checks] = {}
    cells: dict[str, tuple[str, ...]] = {}
    comparing: set[str] = set()
    for cell in selected(matrix):
        if is_greedy(cell.point.fields):
            continue
        checks = prompts.checks_of(cell)
        if checks.compares:
            comparing.add(cell.id)
            continue
        by_digest[checks.digest] = checks
        known = cells.setdefault(cell.id, (checks.digest,))
        if checks.digest not in known:
            cells[cell.id] = (*known, checks.digest)
    for cell_id in comparing & cells.keys():
        del cells[cell_id]
    return Judges(cells=cells, judge=lambda digest, reply: by_digest[digest].judge(reply).outcome)


def present_builds(
    experiment: Experiment, matrix: Matrix, servers: Servers, store: Store | None
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
        group.launch.name: recorded.present(group.launch, servers.present_build(group.launch))
        for group in matrix.launches
    }
