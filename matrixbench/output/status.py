"""What `status` prints: what is done, what remains, and what could not be measured."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

from matrixbench.output.plan import at_most, between, plan_json, print_unverified, unverified
from matrixbench.output.text import (
    Column,
    counts_text,
    heading,
    left_out_line,
    print_table,
    prose,
    telling_axes,
)
from matrixbench.records import Outcome
from matrixbench.safe_text import visible
from matrixbench.spec.axes import cell_name, varying_axes
from matrixbench.spec.wording import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from matrixbench.execution.prepare import Prepared
    from matrixbench.records import JsonObject
    from matrixbench.results.status import LaunchStatus, Status

_CELLS = 6
"""So many cells are named; there may be thousands."""

_REASON = 92


def print_status(prepared: Prepared, status: Status, out: Console) -> None:
    """Print what is done, what remains, and what could not be measured."""
    plan = status.plan
    stopped = f"; {counted(plan.stopped, 'cell')} stopped early" if plan.stopped else ""
    noun = "trial" if plan.trials == 1 else "trials"
    prose(
        f"{plan.done:,} of {between(plan)} {noun} done{unverified(plan)}, "
        f"{at_most(plan)}{plan.remaining:,} remain{stopped}",
        out,
        lead=plan.experiment,
    )
    prose(counts_text(status.outcomes) or "nothing has been measured yet", out)
    if status.launches:
        out.print()
        _print_launches(status.launches, out)
    print_unverified(plan, out)
    if status.unmeasured:
        heading("not measured", out)
    for found in status.unmeasured:
        example = visible(found.example)[:_REASON]
        first = f"  {found.count:>7,}  "
        prose(f"{found.kind}, for example: {example}", out, indent=len(first), first=first)
    if again := status.asked_again.trials:
        heading(f"asked more than once: {counted(again, 'trial')}", out)
    for kind, times in status.asked_again.kinds.items():
        prose(f"{times:>7,}  {'times' if times > 1 else 'time'} after {kind}", out, indent=2)
    if status.one_reply:
        _print_one_reply(prepared, status, out)
    single = [(one, one.seeds_ignored) for one in status.launches]
    _print_told("seeds ignored: all trials of a cell are one draw", single, out)
    _print_told("given up", [(one, visible(one.given_up)) for one in status.launches], out)
    if plan.not_applicable:
        out.print()
        prose(f"not applicable: {counted(len(plan.not_applicable), 'cell')} (see plan)", out)


def _print_launches(launches: Sequence[LaunchStatus], out: Console) -> None:
    plans = [launch.plan for launch in launches]
    columns = [
        Column("trials", [between(plan) for plan in plans], drop=2),
        Column("done", [f"{plan.done:,}{'*' if plan.unverified else ''}" for plan in plans]),
        Column(
            "remain",
            [f"{at_most(plan, '≤ ')}{plan.remaining:,}" for plan in plans],
            drop=1,
        ),
        *(
            Column(
                str(outcome),
                [f"{launch.outcomes.get(outcome, 0):,}" for launch in launches],
            )
            for outcome in Outcome
        ),
    ]
    names = [plan.launch.name for plan in plans]
    left_out_line(print_table("launch", names, columns, out, every="all launches"), out)


def _print_told(title: str, told: Sequence[tuple[LaunchStatus, str]], out: Console) -> None:
    """Say something of the launches of which there is something to say."""
    lines = [f"{launch.plan.launch.name}: {text}" for launch, text in told if text]
    if lines:
        heading(title, out)
    for line in lines:
        prose(line, out, indent=2)


def _print_one_reply(prepared: Prepared, status: Status, out: Console) -> None:
    """Say which cells may have been measured once, though their trials are many."""
    found = status.one_reply
    cells = counted(len(found), "cell")
    heading(f"one reply to several seeds: {cells} (look with show --distinct)", out)
    groups = (group.cells for group in prepared.matrix.launches)
    every = chain(chain.from_iterable(groups), prepared.matrix.unselected)
    axes = telling_axes(varying_axes(one.coordinates() for one in every))
    for cell, trials in found[:_CELLS]:
        name = cell_name(cell.coordinates, axes)
        prose(f"{counted(trials, 'trial')}, 1 distinct reply: {name}", out, indent=2)
    if len(found) > _CELLS:
        prose(f"and {len(found) - _CELLS:,} more (--json lists all)", out, indent=2)


def status_json(prepared: Prepared, status: Status) -> JsonObject:
    """Return how far an experiment is: what `plan --json` says, and what came out so far."""
    told = plan_json(prepared, cells=False)
    launches: list[JsonObject] = told["launches"]
    return {
        **told,
        "outcomes": {str(outcome): count for outcome, count in status.outcomes.items()},
        "unmeasured": [
            {"kind": found.kind, "count": found.count, "example": found.example}
            for found in status.unmeasured
        ],
        "asked_again": {
            "trials": status.asked_again.trials,
            "kinds": dict(status.asked_again.kinds),
        },
        "one_reply": [
            {"cell": cell.id, "coordinates": cell.coordinates, "trials": trials}
            for cell, trials in status.one_reply
        ],
        "launches": [
            {
                **launch,
                "outcomes": {str(outcome): count for outcome, count in became.outcomes.items()},
                "given_up": became.given_up or None,
                "seeds_ignored": became.seeds_ignored or None,
            }
            for launch, became in zip(launches, status.launches, strict=True)
        ],
    }
