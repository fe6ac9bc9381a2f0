"""`export`: results for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from matrixbench.cli.opening import OfFileOrStore, attempts_of
from matrixbench.cli.shared import Attempts, IntervalName, put, put_data
from matrixbench.output.export import exported, format_for, write_export
from matrixbench.results.tables import chosen_interval
from matrixbench.results.tally import IntervalKind


def export(
    *,
    trials: Annotated[bool, typer.Option("--trials", help="One row a trial, not a cell.")] = False,
    form: Annotated[
        str | None,
        typer.Option(
            "--format", metavar="FORMAT", help="jsonl, csv or tool-bench. Default: by the suffix."
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="PATH", help="Default: standard output."),
    ] = None,
    k: Attempts = None,
    interval: IntervalName = None,
    source: OfFileOrStore,
) -> None:
    """Write results for other programs: a row a cell, or a trial."""
    chosen = format_for(form, output)
    kind = chosen_interval(interval or IntervalKind.WILSON)
    ks = attempts_of(k)
    with source.results() as results:
        lines = exported(results, chosen, trials=trials, ks=ks, interval=kind)
        if output is None:
            for line in lines:
                if not put_data(line, nl=False):
                    break
        else:
            write_export(lines, output)
            put(str(output))
