"""`chart`: the heatmaps."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from matrixbench.charts.files import ChartOptions, draw_files
from matrixbench.cli.opening import OfFileOrStore
from matrixbench.cli.shared import IntervalName, put
from matrixbench.errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class Colour:
    """What the colour means, over what the file says."""

    metric: Annotated[
        str | None,
        typer.Option(
            "--metric",
            help="What the colour means, over the file's: success_ratio, difference, pass_at_k, "
            "latency_p50_s, completion_tokens_per_s, … (docs/charts.md lists all).",
        ),
    ] = None
    baseline: Annotated[
        str | None,
        typer.Option(
            "--baseline",
            metavar="AXIS=VALUE",
            help="Draw the difference to this baseline, for example backend=baseline.",
        ),
    ] = None
    k: Annotated[
        int | None, typer.Option("--k", min=1, help="Attempts for pass_at_k and pass_hat_k.")
    ] = None
    interval: IntervalName = None


def chart(
    *,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="PATH",
            help=".png, .svg, .pdf, .html or .json. Default: a .png beside the file.",
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Option("--chart", help="Only the chart of this name.")
    ] = None,
    colour: Colour,
    source: OfFileOrStore,
) -> None:
    """Draw the heatmaps: every square says how sure it is."""
    options = ChartOptions(
        metric=colour.metric, baseline=colour.baseline, k=colour.k, interval=colour.interval
    )
    options.check()
    if name is not None and not source.is_file:
        raise UsageError("--chart names a chart of a file", where=source.target)
    with source.results() as results:
        for path in draw_files(results, output=output, name=name, options=options):
            put(str(path))
