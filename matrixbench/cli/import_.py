"""`import`: another tool's results, read into the store."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from matrixbench.cli.opening import store_here
from matrixbench.cli.shared import StorePath, put, say
from matrixbench.errors import UsageError
from matrixbench.importers.tool_bench import import_tool_bench, read_tool_bench
from matrixbench.spec.wording import counted
from matrixbench.store.database import open_store

if TYPE_CHECKING:
    from matrixbench.importers.tool_bench import ToolBenchFile

_BAD_SHOWN = 20
_FORMATS = ("tool-bench",)


def import_(
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
    if form not in _FORMATS:
        raise UsageError(f"there is no format «{form}»", hint=f"formats are {', '.join(_FORMATS)}")
    read = read_tool_bench(file)
    with open_store(store_here(store), create=True) as opened:
        done = import_tool_bench(read, opened, name or file.stem)
    _tell(read)
    known = f", {done.known:,} were there already" if done.known else ""
    put(f"{done.experiment}: {done.trials:,} trials of {done.cells:,} cells imported{known}")


def _tell(read: ToolBenchFile) -> None:
    """Say which lines were not imported, and why."""
    for bad in read.bad[:_BAD_SHOWN]:
        say(f"{read.path}:{bad.number}: not imported: {bad.problem}")
    if read.bad:
        say(f"warning: {counted(len(read.bad), 'line')} not imported")
