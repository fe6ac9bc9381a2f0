"""What the store holds for an experiment, and from which seed on each of its cells asks."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

from matrixbench.plan.planner import History
from matrixbench.plan.seeds import Held, Seeds, chosen_progress, first_seeds, seeds_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from matrixbench.plan.cells import Cell
    from matrixbench.plan.loads import Loads
    from matrixbench.plan.matrix import Matrix
    from matrixbench.plan.wanted import Wanted
    from matrixbench.spec.load import Experiment
    from matrixbench.store.database import Store
    from matrixbench.store.outcomes import Judges


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
    wanted: Wanted
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
