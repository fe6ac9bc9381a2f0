"""`export`: results for other programs, and for pull requests."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from matrixbench.cli.opening import OfFileOrStore, attempts_of
from matrixbench.cli.report import Against
from matrixbench.cli.shared import Attempts, IntervalName, put, put_data
from matrixbench.comparison.pairs import compare_results
from matrixbench.errors import UsageError
from matrixbench.output.compare import By
from matrixbench.output.export import (
    GATES,
    ExportFormat,
    exported,
    format_for,
    write_export,
)
from matrixbench.output.pull_request import draw_beside, for_pull_request, junit
from matrixbench.results.tables import chosen_interval
from matrixbench.results.tally import IntervalKind

if TYPE_CHECKING:
    from collections.abc import Iterable

    from matrixbench.results.experiment import Results


def export(
    *,
    trials: Annotated[bool, typer.Option("--trials", help="One row a trial, not a cell.")] = False,
    replies: Annotated[
        bool,
        typer.Option("--replies", help="One row a trial, with all that was sent, said and judged."),
    ] = False,
    form: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="FORMAT",
            help="jsonl, csv or tool-bench; junit (.xml) is the gate's verdict, markdown (.md) the "
            "answer for a pull request, with a picture beside it. Default: by the suffix.",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="PATH", help="Default: standard output."),
    ] = None,
    k: Attempts = None,
    interval: IntervalName = None,
    against: Against,
    source: OfFileOrStore,
) -> None:
    """Write results for other programs: a row a cell, or a trial.

    For pull requests it writes the gate's verdict.
    """
    chosen = format_for(form, output)
    kind = chosen_interval(interval or IntervalKind.WILSON)
    ks = attempts_of(k)
    if chosen not in GATES and (against.baseline or against.max_drop is not None):
        raise UsageError(
            "rows are compared with nothing",
            where="--baseline, --max-drop",
            hint="they go with the formats junit and markdown",
        )
    with source.results() as results:
        lines: Iterable[str] = (
            _of_gate(results, chosen, against, output)
            if chosen in GATES
            else exported(results, chosen, trials=trials, replies=replies, ks=ks, interval=kind)
        )
        if output is None:
            for line in lines:
                if not put_data(line, nl=False):
                    break
        else:
            write_export(lines, output)
            put(str(output))


def _of_gate(
    results: Results, form: ExportFormat, against: Against, output: Path | None
) -> Iterable[str]:
    baseline, max_drop = against.over(results)
    found = None
    if baseline is not None:
        found = compare_results(results, baseline=baseline, max_drop=max_drop, unmeasured=True)
    if form is ExportFormat.JUNIT:
        if found is None:
            raise UsageError(
                "what is to be compared with what?",
                where="--baseline",
                hint="write --baseline AXIS=VALUE, for example --baseline backend=baseline",
            )
        return [junit(found)]
    picture = None if output is None else output.with_suffix(".png")
    if picture is not None:
        draw_beside(results, found, picture)
    name = None if picture is None else picture.name
    return [for_pull_request(results, found, by=By.TEST, picture=name)]
