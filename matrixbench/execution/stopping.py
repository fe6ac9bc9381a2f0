"""Which cells of a launch need no more trials, told while the trials come in.

A confidence sequence holds at all times at once, over the trials of a cell in the order of their
indices. A cell's trials are sent in that order and none is left out, so that those it has in the
end are the first so many, whatever made it that many: trials that are in flight when a cell has
enough are measured and count, and a cell goes on where they leave it with too little.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from matrixbench.execution.events import TrialsSpared
from matrixbench.execution.schedule import interleave
from matrixbench.plan.cells import NOTHING
from matrixbench.plan.planner import CellWork
from matrixbench.records import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from matrixbench.execution.batch import Sink
    from matrixbench.execution.events import Listener
    from matrixbench.execution.schedule import Task
    from matrixbench.plan.cells import Cell, CellProgress
    from matrixbench.records import JsonObject, Trial
    from matrixbench.stats.sequential import Precision
    from matrixbench.store.outcomes import Judges


@dataclass(slots=True, eq=False)
class _Counts:
    """What is known of a cell: passes and trials by each set of checks, and what is not sent."""

    cell: Cell
    unsent: int
    passes: list[int]
    n: list[int]
    enough: bool = False
    passed_over: bool = False


@dataclass(slots=True, kw_only=True, eq=False)
class Stopping:
    """The cells of a launch whose trials are adaptive; a sink that counts what passes through.

    Args:
        until: When a cell has enough trials.
        judges: The checks that judge a cell's trials; cells without any never stop early.
        launch: The launch's name.
        sink: Where the trials go.
        tell: Is told whenever trials become needless, or needful again.
    """

    until: Precision
    judges: Judges
    launch: str
    sink: Sink
    tell: Listener
    _counts: dict[str, _Counts] = field(default_factory=dict)

    def begin(self, work: Sequence[CellWork], known: Mapping[str, CellProgress]) -> None:
        """Take over the cells that have trials to run, with what is known of them."""
        for item in work:
            if digests := self.judges.cells.get(item.cell.id):
                judged = known.get(item.cell.id, NOTHING).judged
                self._counts[item.cell.id] = _Counts(
                    cell=item.cell,
                    unsent=item.todo,
                    passes=[one.passes for one in judged] or [0] * len(digests),
                    n=[one.n for one in judged] or [0] * len(digests),
                )

    def tasks(self, work: Sequence[CellWork], seed: int) -> Iterator[Task]:
        """Yield the trials in rounds, as `interleave` does, those of cells with enough left out.

        A cell that was passed over once is so until the end: `rest` has what it lacks then.
        """
        for task in interleave(work, seed):
            counts = self._counts.get(task.cell.id)
            if counts is None:
                yield task
            elif counts.enough or counts.passed_over:
                counts.passed_over = True
            else:
                counts.unsent &= ~(1 << task.trial)
                yield task

    def rest(self) -> list[CellWork]:
        """Return the cells that were passed over, and lack something after all."""
        found = [one for one in self._counts.values() if one.passed_over and not one.enough]
        for counts in found:
            counts.passed_over = False
        return [CellWork(counts.cell, counts.unsent) for counts in found]

    async def put(self, trial: Trial, body: JsonObject | None = None) -> None:
        """Count a trial, and hand it on."""
        if counts := self._counts.get(trial.key.cell):
            self._count(counts, trial)
        await self.sink.put(trial, body)

    def _count(self, counts: _Counts, trial: Trial) -> None:
        for place, digest in enumerate(self.judges.cells[trial.key.cell]):
            outcome = trial.judgement.outcome
            if trial.reply is not None and digest != trial.checks:
                outcome = self.judges.judge(digest, trial.reply)
            counts.n[place] += outcome is not Outcome.ERRORED
            counts.passes[place] += outcome is Outcome.PASSED
        before, counts.enough = counts.enough, self._reached(counts)
        if change := counts.enough - before:
            spared = change * counts.unsent.bit_count()
            self.tell(TrialsSpared(launch=self.launch, cells=change, trials=spared))

    def _reached(self, counts: _Counts) -> bool:
        # A cell that has all its trials did not stop: nothing is left to be spared.
        return counts.unsent > 0 and all(map(self.until.reached, counts.passes, counts.n))
