"""`plan`: what a matrix costs, what is done, and what will run."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from matrixbench.cli.opening import OfFile, settings_of
from matrixbench.cli.shared import AnyBuild, AsJson, Trials, print_json
from matrixbench.execution.prepare import nothing_in_file
from matrixbench.gated import build_plan
from matrixbench.output.plan import plan_json, print_builds, print_cells, print_plan
from matrixbench.output.text import console


def plan(
    *,
    source: OfFile,
    trials: Trials = None,
    cells: Annotated[bool, typer.Option("--cells", help="List the cells.")] = False,
    builds: Annotated[
        bool, typer.Option("--builds", help="List the builds that there are results of.")
    ] = False,
    any_build: AnyBuild = False,
    as_json: AsJson = False,
) -> None:
    """Show the matrix: what it costs, what is done, what will run. Starts nothing."""
    experiment = source.load()
    prepared = build_plan(
        experiment,
        settings_of(experiment, source.store),
        where=source.where or (),
        trials=trials,
        any_build=any_build,
        judged=True,
    )
    out = console(sys.stdout)
    if as_json:
        print_json(plan_json(prepared, cells=cells))
    elif cells:
        print_cells(prepared, out)
    else:
        print_plan(prepared, out)
        if builds:
            print_builds(prepared, out)
    if not prepared.plan.cells:
        raise nothing_in_file(experiment, source.where or ())
