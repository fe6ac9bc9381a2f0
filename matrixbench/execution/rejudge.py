"""Verdicts are derived: replies that are stored are judged again when their checks change."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matrixbench.checks.judge import Checks
    from matrixbench.plan.planner import Plan
    from matrixbench.store.database import Store


def rejudge(store: Store, plan: Plan, checks: Mapping[int, Checks]) -> tuple[int, int]:
    """Judge every stored reply that the present checks have not seen.

    Returns:
        How many replies were judged, and how many verdicts differ from the one before.
    """
    replies = changed = 0
    for layer in judged_by(plan, checks):
        stale = store.stale({cell: of_cell.digest for cell, of_cell in layer.items()})
        judgements = [
            (trial, layer[cell].digest, layer[cell].judge(reply)) for trial, cell, reply in stale
        ]
        replies += len(judgements)
        changed += store.add_judgements(judgements)
    return replies, changed


def judged_by(plan: Plan, checks: Mapping[int, Checks]) -> list[dict[str, Checks]]:
    """Return cell id → checks, in as many layers as cells that send the same have checks.

    Tests that differ in their checks alone share their trials; each layer holds a cell id once.
    """
    layers: list[dict[str, Checks]] = []
    for launch in plan.launches:
        for cell in launch.cells:
            own = checks[id(cell.test)]
            for layer in layers:
                if layer.setdefault(cell.id, own) is own:
                    break
            else:
                layers.append({cell.id: own})
    return layers
