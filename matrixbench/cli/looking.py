"""Commands that look into results: `show`, `status`."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from typing import TYPE_CHECKING, Annotated

import typer

from matrixbench.cli.finding import Target, open_results
from matrixbench.cli.shared import (
    AsJson,
    File,
    SeedOffset,
    StorePath,
    Where,
    load,
    print_json,
    say,
    settings_of,
)
from matrixbench.errors import UsageError

if TYPE_CHECKING:
    from matrixbench.results.experiment import Results
    from matrixbench.results.replies import Wish
    from matrixbench.store.database import Store

Outcomes = Annotated[
    list[str] | None,
    typer.Option(
        "--outcome",
        metavar="OUTCOME",
        help="Only passed, failed, rejected or errored trials. Repeatable.",
    ),
]
Limit = Annotated[int | None, typer.Option("--limit", min=1, help="Replies of each cell, at most.")]
OneTrial = Annotated[
    int | None,
    typer.Option("--trial", min=0, metavar="I", help="Trial I of the one selected cell, whole."),
]


def show(  # noqa: PLR0913, PLR0917  each is an option of the command
    target: Target,
    where: Where = None,
    outcome: Outcomes = None,
    distinct: Annotated[
        bool, typer.Option("--distinct", help="Equal replies once, with their count.")
    ] = False,
    limit: Limit = None,
    trial: OneTrial = None,
    launch: Annotated[
        bool, typer.Option("--launch", help="What ran: builds, command lines, hosts.")
    ] = False,
    seed_offset: SeedOffset = 0,
    store: StorePath = None,
    as_json: AsJson = False,
) -> None:
    """Show replies and why they failed, one trial whole, or what ran."""
    wish = _wish(outcome or [], limit, distinct=distinct)
    if launch and trial is not None:
        raise UsageError("--launch and --trial exclude each other")
    with open_results(target, where, store, seed_offset) as (results, opened):
        if launch:
            _show_launches(results, opened, as_json=as_json)
        elif trial is not None:
            _show_trial(results, opened, trial, as_json=as_json)
        else:
            _show_replies(results, opened, wish, as_json=as_json)


def status(
    file: File,
    where: Where = None,
    seed_offset: SeedOffset = 0,
    store: StorePath = None,
    as_json: AsJson = False,
) -> None:
    """Show what is done, what remains, and what could not be measured. Starts nothing."""
    from matrixbench.output import show as data  # noqa: PLC0415  the same
    from matrixbench.output import show as printing  # noqa: PLC0415
    from matrixbench.output.tables import console  # noqa: PLC0415  the same
    from matrixbench.results.experiment import results_of  # noqa: PLC0415  deferred: --help stays fast
    from matrixbench.results.status import status_of  # noqa: PLC0415  the same
    from matrixbench.store.database import open_store_if_there  # noqa: PLC0415  the same

    experiment = load(file, seed_offset)
    settings = settings_of(experiment, store)
    with open_store_if_there(settings.store) or nullcontext() as opened:
        results = results_of(experiment, settings, opened, where=where or (), say=say)
        assert results.prepared is not None  # noqa: S101  results of a file have their plan
        found = status_of(results, results.prepared.plan, opened)
        if as_json:
            print_json(data.status_json(results.prepared, found))
        else:
            printing.print_status(found, console(sys.stdout))


def _wish(outcomes: list[str], limit: int | None, *, distinct: bool) -> Wish:
    from matrixbench.records import Outcome  # noqa: PLC0415  deferred: --help stays fast
    from matrixbench.results.replies import Wish  # noqa: PLC0415  the same

    known = {outcome.value for outcome in Outcome}
    for name in outcomes:
        if name not in known:
            raise UsageError(
                f"there is no outcome «{name}»", hint=f"outcomes are {', '.join(Outcome)}"
            )
    return Wish(outcomes=tuple(map(Outcome, outcomes)), distinct=distinct, limit=limit)


def _show_replies(results: Results, store: Store, wish: Wish, *, as_json: bool) -> None:
    from matrixbench.output import show as data  # noqa: PLC0415
    from matrixbench.output import show as printing  # noqa: PLC0415
    from matrixbench.output.tables import console  # noqa: PLC0415  the same
    from matrixbench.results import replies  # noqa: PLC0415  the same

    shown = replies.shown_cells(results, store, wish)
    if as_json:
        print_json(data.replies_json(results.experiment, shown))
    else:
        printing.print_replies(shown, console(sys.stdout))


def _show_trial(results: Results, store: Store, trial: int, *, as_json: bool) -> None:
    from matrixbench.output import show as data  # noqa: PLC0415
    from matrixbench.output import show as printing  # noqa: PLC0415
    from matrixbench.output.tables import console  # noqa: PLC0415  the same
    from matrixbench.results import replies  # noqa: PLC0415  the same

    shown = replies.shown_trial(results, store, trial)
    if as_json:
        print_json(data.trial_json(results.experiment, shown))
    else:
        printing.print_trial(shown, console(sys.stdout))


def _show_launches(results: Results, store: Store, *, as_json: bool) -> None:
    from matrixbench.output import show as data  # noqa: PLC0415
    from matrixbench.output import show as printing  # noqa: PLC0415
    from matrixbench.output.tables import console  # noqa: PLC0415  the same
    from matrixbench.results import replies as provenance  # noqa: PLC0415  the same

    shown = provenance.shown_launches(results, store)
    if as_json:
        print_json(data.launches_json(results.experiment, shown))
    else:
        printing.print_launches(shown, console(sys.stdout))
