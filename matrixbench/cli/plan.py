"""`plan`: what a matrix costs, what is done, and what will run."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from matrixbench.cli.opening import OfFile, settings_of
from matrixbench.cli.shared import AnyBuild, AsJson, Trials, print_json
from matrixbench.comparison.power import power_of_plan
from matrixbench.gated import build_plan
from matrixbench.output.plan import plan_json
from matrixbench.output.tables import (
    console,
    print_aside,
    print_builds,
    print_cells,
    print_plan,
)
from matrixbench.run.prepare import nothing_in_file


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
        print_cells(prepared.cells(), out)
    else:
        print_plan(prepared.plan, out)
        power = power_of_plan(prepared.plan, prepared.wanted, prepared.history)
        if power is not None:
            print_aside(power.line, out)
        if builds:
            print_builds(prepared.builds(), out)
    if not prepared.plan.cells:
        raise nothing_in_file(experiment, source.where or ())
