"""The command that sums up over tests: `rank`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from matrixbench.cli.finding import Target, open_results
from matrixbench.cli.shared import (
    AsJson,
    Attempts,
    SeedOffset,
    StorePath,
    Where,
    attempts_of,
    print_json,
)
from matrixbench.errors import NothingSelectedError

By = Annotated[
    str | None,
    typer.Option(
        "--by",
        metavar="AXIS,…",
        help="What a row is, for example model,chat_template. Default: the axes of servers, models "
        "and templates that vary.",
    ),
]


def rank(
    target: Target,
    *,
    by: By = None,
    k: Attempts = None,
    common: Annotated[
        bool, typer.Option("--common", help="Count only what every row has measured.")
    ] = False,
    where: Where = None,
    seed_offset: SeedOffset = 0,
    store: StorePath = None,
    as_json: AsJson = False,
) -> None:
    """Say what does best over all tests, each test weighing the same.

    A row is one combination of the values of some axes: one model, or one model with one template.
    """
    from matrixbench.output import rank as ranking  # noqa: PLC0415  deferred: --help stays fast
    from matrixbench.output.tables import console  # noqa: PLC0415  the same
    from matrixbench.results.tables import Outcomes  # noqa: PLC0415
    from matrixbench.results.totals import ranked_axes, total_frame  # noqa: PLC0415  the same

    ks = () if k is None else attempts_of(k)
    with open_results(target, where, store, seed_offset) as (results, opened):
        outcomes = Outcomes()
        frame = results.frame(opened, outcomes=outcomes)
    if not frame["trials"].any() and not frame["errored"].any():
        raise NothingSelectedError(f"nothing has been measured of {results.experiment} yet")
    axes = [axis.strip() for axis in by.split(",")] if by else ranked_axes(frame)
    totals = total_frame(frame, axes, ks=ks, common=common, outcomes=outcomes)
    planned = max(outcomes.most, int(frame["planned"].max()))
    fresh = ranking.Fresh(target=target, seed_offset=seed_offset + planned)
    if as_json:
        print_json(ranking.ranking_json(results.experiment, axes, totals, fresh))
    else:
        out = console(sys.stdout)
        ranking.print_ranking(results.experiment, axes, totals, out, ks=ks, fresh=fresh)
