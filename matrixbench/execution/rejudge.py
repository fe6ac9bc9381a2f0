"""Verdicts are derived: replies that are stored are judged again when their checks change."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from matrixbench.plan.loads import ANY_LOAD

if TYPE_CHECKING:
    from matrixbench.execution.references import CellChecks, ChecksByCell
    from matrixbench.plan.loads import Loads
    from matrixbench.plan.planner import Plan
    from matrixbench.records import Judgement, Kind
    from matrixbench.store.database import Store


@dataclass(slots=True, kw_only=True)
class Rejudgement:
    """What came of judging again.

    Args:
        replies: How many replies were judged; by several sets of checks, once for each.
        changed: How many outcomes differ from the one before.
        judgements: Number of a trial → what was made of it at last.
    """

    replies: int = 0
    changed: int = 0
    judgements: dict[int, Judgement] = field(default_factory=dict)

    def of_kind(self, kind: Kind) -> int:
        """Return how many trials are of a kind now."""
        return sum(judgement.kind is kind for judgement in self.judgements.values())


def rejudge(
    store: Store,
    plan: Plan,
    checks: ChecksByCell,
    loads: Loads = ANY_LOAD,
    *,
    keep: bool = True,
) -> Rejudgement:
    """Judge every stored reply that the present checks have not seen, and keep what they say.

    Args:
        store: The store.
        plan: The cells.
        checks: What judges them.
        loads: The experiment's.
        keep: Whether it is written; else it counts for as long as the store is open.

    Raises:
        StoreError: The store cannot be read or written.
    """
    add = store.add_judgements if keep else store.judge_for_now
    done = Rejudgement()
    for layer in judged_by(plan, checks):
        stale = store.stale({cell: of_cell.digest for cell, of_cell in layer.items()}, loads)
        judgements = [
            (trial, layer[cell].digest, layer[cell].judge(trial, reply))
            for trial, cell, reply in stale
        ]
        done.replies += len(judgements)
        done.judgements |= {trial: judgement for trial, _, judgement in judgements}
        done.changed += add(judgements)
    return done


def judged_by(plan: Plan, checks: ChecksByCell) -> list[dict[str, CellChecks]]:
    """Return cell id → checks, in as many layers as cells that send the same have checks.

    Tests that differ in their checks alone share their trials; each layer holds a cell id once.
    Cells that are compared with others come last: two builds of one backend share a cell's id, and
    where nobody says which cell is meant, the newest verdict counts, which should be that of the
    comparison, not that of a cell that is compared with itself.
    """
    layers: list[dict[str, CellChecks]] = []
    every = [checks.of(cell) for launch in plan.launches for cell in launch.cells]
    cells = [cell.id for launch in plan.launches for cell in launch.cells]
    if checks.compares:
        order = sorted(range(len(every)), key=lambda place: every[place].compares_others)
        every, cells = [every[place] for place in order], [cells[place] for place in order]
    for cell, own in zip(cells, every, strict=True):
        for layer in layers:
            if layer.setdefault(cell, own).digest == own.digest:
                break
        else:
            layers.append({cell: own})
    return layers
