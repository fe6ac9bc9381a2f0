"""`plan`: what a matrix costs, what is done, and what will run."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from matrixbench.cli.opening import OfFile
from matrixbench.cli.shared import AnyBuild, AsJson, Trials, print_json, put
from matrixbench.execution.prepare import nothing_in_file
from matrixbench.execution.trust import uses_of
from matrixbench.gated import build_plan
from matrixbench.output.plan import plan_json, print_builds, print_cells, print_plan
from matrixbench.output.text import console
from matrixbench.output.trust import explained, uses_json


def plan(
    *,
    source: OfFile,
    trials: Trials = None,
    cells: Annotated[bool, typer.Option("--cells", help="List the cells.")] = False,
    builds: Annotated[
        bool, typer.Option("--builds", help="List the builds that there are results of.")
    ] = False,
    explain: Annotated[
        bool,
        typer.Option("--explain", help="List what the file runs, loads, sets, asks and passes on."),
    ] = False,
    any_build: AnyBuild = False,
    as_json: AsJson = False,
) -> None:
    """Show the matrix: what it costs, what is done, what will run. Starts nothing."""
    experiment = source.load()
    settings = source.to_look(experiment)
    prepared = build_plan(
        experiment,
        settings,
        where=source.where or (),
        trials=trials,
        any_build=any_build,
        judged=True,
    )
    out = console(sys.stdout)
    uses = uses_of(experiment, settings) if explain else ()
    if as_json:
        told = {"uses": uses_json(uses, settings.trust)} if explain else {}
        print_json({**plan_json(prepared, cells=cells), **told})
    elif cells:
        print_cells(prepared, out)
    else:
        print_plan(prepared, out)
        if builds:
            print_builds(prepared, out)
    for line in explained(uses, settings.trust) if explain and not as_json else ():
        put(line)
    if not prepared.plan.cells:
        raise nothing_in_file(experiment, source.where or ())
