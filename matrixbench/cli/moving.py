"""Commands that move results out and in: `export`, `import`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from matrixbench.cli.finding import Target, open_results, store_path
from matrixbench.cli.shared import (
    Attempts,
    IntervalName,
    SeedOffset,
    StorePath,
    Where,
    attempts_of,
    put,
    put_data,
    say,
)
from matrixbench.errors import UsageError

if TYPE_CHECKING:
    from matrixbench.importers.tool_bench import ToolBenchFile

_BAD_SHOWN = 20
_FORMATS = ("tool-bench",)


def export(  # noqa: PLR0913, PLR0917  each is an option
    target: Target,
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
    where: Where = None,
    seed_offset: SeedOffset = 0,
    store: StorePath = None,
) -> None:
    """Write results for other programs: a row a cell, or a trial."""
    from matrixbench.output import export as exporting  # noqa: PLC0415  deferred: --help stays fast
    from matrixbench.results.frames import chosen_interval  # noqa: PLC0415  the same
    from matrixbench.results.tally import IntervalKind  # noqa: PLC0415  the same

    chosen = exporting.format_for(form, output)
    kind = chosen_interval(interval or IntervalKind.WILSON)
    ks = attempts_of(k)
    with open_results(target, where, store, seed_offset) as (results, opened):
        lines = exporting.exported(results, opened, chosen, trials=trials, ks=ks, interval=kind)
        if output is None:
            for line in lines:
                if not put_data(line, nl=False):
                    break
        else:
            exporting.write_export(lines, output)
            put(str(output))


def import_results(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="The results file.", show_default=False)
    ],
    form: Annotated[
        str,
        typer.Option("--format", metavar="FORMAT", help="tool-bench: what tool_bench.py wrote."),
    ] = "tool-bench",
    name: Annotated[
        str | None,
        typer.Option("--name", help="The experiment's name in the store. Default: the file's."),
    ] = None,
    store: StorePath = None,
) -> None:
    """Read another tool's results into the store, beside new ones."""
    from matrixbench.importers.tool_bench import (  # noqa: PLC0415
        import_tool_bench,
        read_tool_bench,
    )
    from matrixbench.store.database import open_store  # noqa: PLC0415  deferred

    if form not in _FORMATS:
        raise UsageError(f"there is no format «{form}»", hint=f"formats are {', '.join(_FORMATS)}")
    read = read_tool_bench(file)
    with open_store(store_path(store), create=True) as opened:
        done = import_tool_bench(read, opened, name or file.stem)
    _tell(read)
    known = f", {done.known:,} were there already" if done.known else ""
    put(f"{done.experiment}: {done.trials:,} trials of {done.cells:,} cells imported{known}")


def _tell(read: ToolBenchFile) -> None:
    """Say which lines were not imported, and why."""
    from matrixbench.output.tables import counted  # noqa: PLC0415  deferred: --help stays fast

    for bad in read.bad[:_BAD_SHOWN]:
        say(f"{read.path}:{bad.number}: not imported: {bad.problem}")
    if read.bad:
        say(f"warning: {counted(len(read.bad), 'line')} not imported")
