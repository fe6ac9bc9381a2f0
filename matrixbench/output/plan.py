"""What `plan` prints: what a matrix costs, what is done, and why the rest will run."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from matrixbench.comparison.data import power_json
from matrixbench.comparison.power import power_of_plan
from matrixbench.output.text import (
    Column,
    coordinates_text,
    duration,
    heading,
    print_table,
    prose,
    whole,
)
from matrixbench.plan.builds import version_name
from matrixbench.plan.planner import Plan
from matrixbench.spec.wording import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from matrixbench.comparison.power import Power
    from matrixbench.execution.prepare import Prepared
    from matrixbench.plan.builds import HeldBuild
    from matrixbench.plan.cells import NotApplicable
    from matrixbench.plan.planner import LaunchPlan
    from matrixbench.records import JsonObject

_REASONS_SHOWN = 8


def print_plan(prepared: Prepared, out: Console) -> None:
    """Print what an experiment will cost, what is done, and why the rest will run."""
    plan = prepared.plan
    prose(_headline(plan), out, lead=plan.experiment)
    if plan.launches:
        out.print()
        _print_launches(plan.launches, out)
    for note in plan.notes:
        out.print()
        prose(f"note: {note}", out, "yellow")
    print_unverified(plan, out)
    _print_not_applicable(plan.not_applicable, out)
    power = power_of_plan(plan, prepared.wanted, prepared.history)
    if power is not None:
        out.print()
        prose(power.line, out, "dim")


def _headline(plan: Plan) -> str:
    noun = "trial" if plan.trials == 1 else "trials"
    done = f"{plan.done:,} done{unverified(plan)}"
    parts = [
        f"{counted(plan.cells, 'cell')} in {counted(len(plan.launches), 'launch')}",
        f"{between(plan)} {noun}: {done}, {at_most(plan)}{plan.remaining:,} to run",
    ]
    if plan.stopped:
        parts.append(f"{counted(plan.stopped, 'cell')} stopped early")
    if plan.server_starts:
        parts.append(counted(plan.server_starts, "server start"))
    if plan.remaining:
        seconds = plan.estimate_s
        parts.append("time unknown" if seconds is None else f"about {duration(seconds)}")
    return "; ".join(parts)


def _print_launches(launches: Sequence[LaunchPlan], out: Console) -> None:
    names = [launch.launch.name for launch in launches]
    columns = [
        Column("cells", [f"{len(launch.cells):,}" for launch in launches]),
        Column("trials", [between(launch) for launch in launches]),
        Column("done", [f"{launch.done:,}" for launch in launches]),
        Column(
            "remain",
            [f"{at_most(launch, '≤ ')}{launch.remaining:,}" for launch in launches],
        ),
        Column("why", list(map(_why, launches)), prose=True),
    ]
    print_table("launch", names, columns, out, every="all launches")


def _why(launch: LaunchPlan) -> str:
    reasons = ", ".join(f"{count:,} {why}" for why, count in launch.why.items())
    if len(launch.why) == 1:
        reasons = str(next(iter(launch.why)))
    parts = [reasons]
    if launch.stopped:
        parts.append(f"{counted(launch.stopped, 'cell')} stopped early")
    if launch.shared_with:
        shared = len(launch.cells) - len(launch.own)
        parts.append(f"{counted(shared, 'cell')} shared with {launch.shared_with}")
    return f"{'; '.join(filter(None, parts))}{unverified(launch)}".strip()


def between(plan: Plan | LaunchPlan) -> str:
    """Return how many trials there will be in all: `300`, or `174…300` where cells may stop."""
    most = _most(plan)
    return f"{most:,}" if plan.least == most else f"{plan.least:,}…{most:,}"


def at_most(plan: Plan | LaunchPlan, words: str = "at most ") -> str:
    """Return words that belong before what remains where cells may stop, else nothing."""
    return words if plan.least < _most(plan) else ""


def _most(plan: Plan | LaunchPlan) -> int:
    return plan.trials if isinstance(plan, Plan) else plan.wanted


def unverified(plan: Plan | LaunchPlan) -> str:
    """Return words that belong behind what is done where it may be another build's."""
    if not plan.unverified:
        return ""
    return " (unverified)" if plan.unverified == plan.done else f" ({plan.unverified:,} unverified)"


def print_unverified(plan: Plan, out: Console) -> None:
    """Print why trials may be another build's, where some may."""
    notes = Counter(launch.doubt for launch in plan.launches if launch.unverified)
    if notes:
        out.print()
        prose("unverified: trials that may be another build's are counted, for", out, "yellow")
    for note, count in notes.items():
        prose(f"{counted(count, 'launch')}: {note}", out, indent=2)


def _print_not_applicable(points: Sequence[NotApplicable], out: Console) -> None:
    if not points:
        return
    reasons = Counter((point.reason, point.hint) for point in points)
    heading(f"not applicable: {counted(len(points), 'cell')}", out)
    for (reason, hint), count in reasons.most_common(_REASONS_SHOWN):
        prose(reason, out, indent=11, first=f"  {count:>7,}  ")
        prose(hint, out, "dim", indent=11)
    if len(reasons) > _REASONS_SHOWN:
        more = len(reasons) - _REASONS_SHOWN
        prose(f"and {more} more reasons (--json lists all)", out, indent=11)


def print_builds(prepared: Prepared, out: Console) -> None:
    """Print under which builds the store holds trials of each launch, the present one first."""
    held = [(plan, known) for plan, builds in prepared.builds() for known in builds]
    out.print()
    if not held:
        whole("the store holds no trials of these launches", out)
        return
    columns = [
        Column("build", [known.id[:8] for _, known in held]),
        Column(
            "version",
            [version_name(known.build) or "unknown" for _, known in held],
            prose=True,
        ),
        Column("trials", [f"{known.trials:,}" for _, known in held]),
        Column("", [_now(plan, known) for plan, known in held], prose=True),
    ]
    names = [plan.launch.name for plan, _ in held]
    print_table("launch", names, columns, out, every="all launches")


def _now(plan: LaunchPlan, known: HeldBuild) -> str:
    if not known.present:
        return ""
    return "present" if plan.build.verified else "ran last (unverified)"


def print_cells(prepared: Prepared, out: Console) -> None:
    """Print one line a cell: its id, trials done of trials wanted, and its coordinates."""
    for cell, done, wanted, verified in prepared.cells():
        doubt = "  (unverified)" if done and not verified else ""
        told = f"{done:>4}/{wanted:<4}  {coordinates_text(cell.coordinates())}{doubt}"
        whole(f"{cell.id}  {told}", out)


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
