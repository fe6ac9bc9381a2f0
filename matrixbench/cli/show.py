"""`show`: replies and why they failed, one trial whole, or what ran."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Annotated

import typer

from matrixbench.cli.opening import OfFileOrStore
from matrixbench.cli.shared import AsJson, print_json
from matrixbench.errors import UsageError
from matrixbench.output.show import (
    launches_json,
    print_launches,
    print_replies,
    print_trial,
    replies_json,
    trial_json,
)
from matrixbench.output.text import console
from matrixbench.records import Outcome
from matrixbench.results.replies import ReplyFilter, shown_cells, shown_launches, shown_trial


@dataclass(frozen=True, slots=True, kw_only=True)
class WhichReplies:
    """Which of the cells' replies are shown."""

    outcome: Annotated[
        list[str] | None,
        typer.Option(
            "--outcome",
            metavar="OUTCOME",
            help="Only passed, failed, rejected or errored trials. Repeatable.",
        ),
    ] = None
    distinct: Annotated[
        bool, typer.Option("--distinct", help="Equal replies once, with their count.")
    ] = False
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="Replies of each cell, at most.")
    ] = None

    def filter(self) -> ReplyFilter:
        """Return the same as the results know it.

        Raises:
            UsageError: There is no such outcome.
        """
        known = {outcome.value for outcome in Outcome}
        for name in self.outcome or ():
            if name not in known:
                raise UsageError(
                    f"there is no outcome «{name}»", hint=f"outcomes are {', '.join(Outcome)}"
                )
        outcomes = tuple(map(Outcome, self.outcome or ()))
        return ReplyFilter(outcomes=outcomes, distinct=self.distinct, limit=self.limit)


def show(
    *,
    source: OfFileOrStore,
    which: WhichReplies,
    trial: Annotated[
        int | None,
        typer.Option(
            "--trial", min=0, metavar="I", help="Trial I of the one selected cell, whole."
        ),
    ] = None,
    launch: Annotated[
        bool, typer.Option("--launch", help="What ran: builds, command lines, hosts.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show replies and why they failed, one trial whole, or what ran."""
    wanted, out = which.filter(), console(sys.stdout)
    if launch and trial is not None:
        raise UsageError("--launch and --trial exclude each other")
    with source.results() as results:
        name = results.experiment
        if launch:
            launches = shown_launches(results)
            print_json(launches_json(name, launches)) if as_json else print_launches(launches, out)
        elif trial is not None:
            whole = shown_trial(results, trial)
            print_json(trial_json(name, whole)) if as_json else print_trial(whole, out)
        else:
            cells = shown_cells(results, wanted)
            print_json(replies_json(name, cells)) if as_json else print_replies(cells, out)
