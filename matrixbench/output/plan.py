"""What commands print for machines: plain data for JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from matrixbench.comparison.data import power_json
from matrixbench.comparison.power import power_of_plan

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matrixbench.comparison.power import Power
    from matrixbench.plan.builds import HeldBuild
    from matrixbench.plan.planner import LaunchPlan
    from matrixbench.records import JsonObject
    from matrixbench.run.prepare import Prepared
    from matrixbench.run.settings import RunSummary


def plan_json(prepared: Prepared, *, cells: bool) -> JsonObject:
    """Return a plan as data.

    `cells`, `trials`, `done` and `remaining` are counts; where trials are `adaptive`, `trials` and
    `remaining` are so at most, `least` is how many trials the cells will have at least, and
    `stopped` how many cells have enough already. `launches`, `not_applicable` and `notes` are
    lists; a launch's `builds` are those that the store holds trials of it under, the present one
    first, then the newest; `estimate_s` is in seconds, null where nothing tells. With `cells`,
    `cell_list` lists every cell, with the seed of its trial 0. `old_seeds` counts cells that ask
    for seeds by the old rule, in which tests share theirs; of one cell it says so. `unverified`
    counts trials of the done ones that may be another build's; `verified` is false where they are,
    or where no build is known yet.
    """
    plan = prepared.plan
    listed: dict[str, Any] = {}
    if cells:
        listed["cell_list"] = [
            {
                "cell": cell.id,
                "done": done,
                "verified": verified,
                "trials": wanted,
                "first_seed": prepared.seeds.first(cell),
                "old_seeds": prepared.seeds.is_old(cell),
                "coordinates": cell.coordinates(),
            }
            for cell, done, wanted, verified in prepared.cells()
        ]
    return {
        "experiment": plan.experiment,
        "cells": plan.cells,
        "trials": plan.trials,
        "adaptive": plan.adaptive,
        "least": plan.least,
        "stopped": plan.stopped,
        "notes": list(plan.notes),
        "done": plan.done,
        "unverified": plan.unverified,
        "old_seeds": plan.old_seeds,
        "remaining": plan.remaining,
        "verified": plan.verified,
        "server_starts": plan.server_starts,
        "estimate_s": plan.estimate_s,
        "detectable_drop": _power(power_of_plan(plan, prepared.wanted, prepared.history)),
        "launches": [_launch_json(launch, held) for launch, held in prepared.builds()],
        "not_applicable": [
            {"coordinates": point.coordinates, "reason": point.reason, "hint": point.hint}
            for point in plan.not_applicable
        ],
        **listed,
    }


def _power(power: Power | None) -> JsonObject | None:
    """Return the drops that a comparison shows in 80 % of runs, between 0 and 1; null where none.

    They are those of fixed numbers of trials; where trials are `adaptive`, it shows less.
    """
    if power is None:
        return None
    return {
        **power_json(power.sides),
        "trials_per_cell": power.trials,
        "tests": power.tests,
        "mean": power.mean,
        "one_cell": power.cell,
        "max_drop": power.max_drop,
        "trials_per_cell_for_max_drop": power.trials_for_max_drop,
        "adaptive": power.adaptive,
    }


def _launch_json(launch: LaunchPlan, held: Sequence[HeldBuild]) -> JsonObject:
    build = launch.build.build
    return {
        "name": launch.launch.name,
        "coordinates": launch.launch.coordinates,
        "kind": launch.launch.spec.kind,
        "load": launch.launch.load.key,
        "build": None if build is None else build.id,
        "builds": [
            {
                "build": known.id,
                "version": known.build.version,
                "trials": known.trials,
                "present": known.present,
            }
            for known in held
        ],
        "verified": launch.build.verified,
        "note": launch.doubt or launch.build.note,
        "cells": len(launch.cells),
        "trials": launch.wanted,
        "least": launch.least,
        "stopped": launch.stopped,
        "done": launch.done,
        "unverified": launch.unverified,
        "remaining": launch.remaining,
        "why": {str(why): count for why, count in launch.why.items()},
        "shared_with": launch.shared_with or None,
        "estimate_s": launch.estimate_s,
    }


def summary_json(summary: RunSummary) -> JsonObject:
    """Return a run's summary as data.

    `stopped` counts cells that had enough trials before they had all, `spared` the trials that were
    not sent for that; `decided` is what the gate that ends the run says, null as long as it is
    undecided and where there is none, `undecided` why the run ended all the same; `rejections`
    lists why trials were rejected, the most frequent first; `seconds` is the run's length.
    """
    return {
        "experiment": summary.experiment,
        "store": None if summary.store is None else str(summary.store),
        "ran": summary.ran,
        "outcomes": {str(outcome): count for outcome, count in summary.outcomes.items()},
        "remaining": summary.remaining,
        "stopped": summary.stopped,
        "spared": summary.spared,
        "decided": summary.decided or None,
        "undecided": summary.undecided or None,
        "failed_launches": dict(summary.failed_launches),
        "errors": {
            kind: {"trials": count, "reason": reason}
            for kind, (count, reason) in summary.errors.items()
        },
        "rejections": [
            {"kind": one.kind, "reason": one.reason, "trials": one.trials}
            for one in summary.rejections
        ],
        "interrupted": summary.interrupted,
        "seconds": round(summary.seconds, 3),
    }
