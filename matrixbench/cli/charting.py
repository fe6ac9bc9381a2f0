"""The command that draws: `chart`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from matrixbench.cli.finding import Target, is_file, refuse_offset, store_path
from matrixbench.cli.shared import (
    IntervalName,
    SeedOffset,
    StorePath,
    Where,
    load,
    put,
    say,
    settings_of,
)
from matrixbench.errors import UsageError


def chart(  # noqa: PLR0913, PLR0917  each is an option of the command
    target: Target,
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
    metric: Annotated[
        str | None,
        typer.Option(
            "--metric",
            help="What the colour means, over the file's: success_ratio, difference, pass_at_k, "
            "latency_p50_s, completion_tokens_per_s, … (docs/charts.md lists all).",
        ),
    ] = None,
    baseline: Annotated[
        str | None,
        typer.Option(
            "--baseline",
            metavar="AXIS=VALUE",
            help="Draw the difference to this baseline, for example backend=baseline.",
        ),
    ] = None,
    k: Annotated[
        int | None, typer.Option("--k", min=1, help="Attempts for pass_at_k and pass_hat_k.")
    ] = None,
    interval: IntervalName = None,
    where: Where = None,
    seed_offset: SeedOffset = 0,
    store: StorePath = None,
) -> None:
    """Draw the heatmaps: every square says how sure it is."""
    from matrixbench.charts import drawing  # noqa: PLC0415  deferred: --help stays fast

    wish = drawing.Wish(metric=metric, baseline=baseline, k=k, interval=interval)
    if not is_file(target):
        if name is not None:
            raise UsageError("--chart names a chart of a file", where=target)
        refuse_offset(target, seed_offset)
        path = drawing.draw_by_name(
            target, store_path(store), output=output, wish=wish, where=where or ()
        )
        put(str(path))
        return
    experiment = load(Path(target), seed_offset)
    for path in drawing.draw_files(
        experiment,
        settings_of(experiment, store),
        output=output,
        name=name,
        wish=wish,
        where=where or (),
        say=say,
    ):
        put(str(path))
