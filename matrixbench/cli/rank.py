"""`rank`: what does best over all tests."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from matrixbench.cli.opening import OfFileOrStore, attempts_of
from matrixbench.cli.shared import AsJson, Attempts, print_json
from matrixbench.output.rank import Fresh, print_ranking, ranking_json
from matrixbench.output.text import console
from matrixbench.results.totals import BY_ATTR, total_frame


def rank(
    *,
    by: Annotated[
        str | None,
        typer.Option(
            "--by",
            metavar="AXIS,…",
            help="What a row is, for example model,chat_template. Default: the axes of servers, "
            "models and templates that vary.",
        ),
    ] = None,
    k: Attempts = None,
    common: Annotated[
        bool, typer.Option("--common", help="Count only what every row has measured.")
    ] = False,
    source: OfFileOrStore,
    as_json: AsJson = False,
) -> None:
    """Say what does best over all tests, each test weighing the same.

    A row is one combination of the values of some axes: one model, or one model with one template.
    """
    ks = () if k is None else attempts_of(k)
    with source.results() as results:
        asked = [axis.strip() for axis in by.split(",")] if by else []
        totals = total_frame(results, asked, ks=ks, common=common)
        offset = source.seed_offset + results.seeds_taken
    axes = totals.attrs[BY_ATTR]
    fresh = Fresh(target=source.target, seed_offset=offset)
    if as_json:
        print_json(ranking_json(results.experiment, axes, totals, fresh))
    else:
        out = console(sys.stdout)
        print_ranking(results.experiment, axes, totals, out, ks=ks, fresh=fresh)
