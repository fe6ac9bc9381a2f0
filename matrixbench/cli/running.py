"""Commands that plan and run: `plan`, `execute`, `validate`, `schema`."""

from __future__ import annotations

import asyncio
import shlex
import signal
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from matrixbench.cli.shared import (
    AsJson,
    File,
    Interrupted,
    StorePath,
    Trials,
    Where,
    load,
    print_json,
    say,
    settings_of,
)
from matrixbench.errors import NothingSelectedError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from matrixbench.execution.run import Mode, RunSummary
    from matrixbench.execution.settings import Settings
    from matrixbench.spec.load import Experiment


def plan(
    file: File,
    where: Where = None,
    trials: Trials = None,
    cells: Annotated[bool, typer.Option("--cells", help="List the cells.")] = False,
    store: StorePath = None,
    as_json: AsJson = False,
) -> None:
    """Show the matrix: what it costs, what is done, what will run and why. Starts nothing."""
    from matrixbench import machine_output, tables  # noqa: PLC0415  deferred: --help stays fast
    from matrixbench.execution.planning import build_plan  # noqa: PLC0415  the same

    experiment = load(file)
    prepared = build_plan(
        experiment, settings_of(experiment, store), where=where or (), trials=trials
    )
    out = tables.console(sys.stdout)
    if as_json:
        print_json(machine_output.plan_json(prepared, cells=cells))
    elif cells:
        tables.print_cells(prepared.cells(), out)
    else:
        tables.print_plan(prepared.plan, out)
    if not prepared.plan.cells:
        raise NothingSelectedError(
            "no cell is selected", where=str(file), hint="look at --where, exclude and backends"
        )


def execute(
    file: File,
    resume: Annotated[
        bool, typer.Option("--resume", help="Keep what is done and run the rest.")
    ] = False,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Start over; what is stored stays as history.")
    ] = False,
    where: Where = None,
    trials: Trials = None,
    store: StorePath = None,
    as_json: AsJson = False,
) -> None:
    """Start the servers, run what is missing, and store each trial as it happens."""
    from matrixbench import machine_output, tables  # noqa: PLC0415  deferred: --help stays fast

    mode = _mode(resume=resume, fresh=fresh)
    experiment = load(file)
    summary = _run(experiment, settings_of(experiment, store), mode, where or [], trials)
    if as_json:
        print_json(machine_output.summary_json(summary))
    else:
        tables.print_summary(summary, tables.console(sys.stdout))
    if summary.interrupted and summary.remaining:
        say(f"to go on: {_command_line(file, where, store, trials)}")
    raise typer.Exit(summary.exit_code)


def validate(file: File) -> None:
    """Check an experiment file: every problem at once, each with its place."""
    experiment = load(file)
    typer.echo(f"{file}: fine ({len(experiment.tests)} tests)")


def schema() -> None:
    """Print the JSON Schema of experiment files, for editors."""
    from matrixbench.spec.schema import (  # noqa: PLC0415  deferred: --help stays fast
        experiment_schema,
        schema_text,
    )

    typer.echo(schema_text(experiment_schema()), nl=False)


def _mode(*, resume: bool, fresh: bool) -> Mode:
    from matrixbench.execution.run import Mode  # noqa: PLC0415  deferred: --help stays fast

    if resume and fresh:
        raise UsageError("--resume and --fresh exclude each other")
    if resume:
        return Mode.RESUME
    return Mode.FRESH if fresh else Mode.NEW


def _run(
    experiment: Experiment,
    settings: Settings,
    mode: Mode,
    where: list[str],
    trials: int | None,
) -> RunSummary:
    from matrixbench.execution.run import execute as run  # noqa: PLC0415  the same
    from matrixbench.progress import progress_for  # noqa: PLC0415  the same
    from matrixbench.tables import console  # noqa: PLC0415  the same

    async def supervised() -> RunSummary:
        with _stopping() as stop, progress_for(console(sys.stderr)) as progress:
            return await run(
                experiment,
                settings,
                mode=mode,
                where=where,
                trials=trials,
                listener=progress,
                interrupted=stop,
            )

    return asyncio.run(supervised())


@contextmanager
def _stopping() -> Iterator[asyncio.Event]:
    """Yield an event that the first Ctrl-C or SIGTERM sets; the second one ends the run at once.

    «At once» cancels everything, which still stops the servers, without waiting for replies.
    """
    loop = asyncio.get_running_loop()
    running = asyncio.current_task()
    stop = asyncio.Event()

    def on_signal() -> None:
        if stop.is_set() and running is not None:
            running.cancel()
        stop.set()

    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    for number in signals:
        loop.add_signal_handler(number, on_signal)
    try:
        yield stop
    except asyncio.CancelledError:
        raise Interrupted from None
    finally:
        for number in signals:
            loop.remove_signal_handler(number)


def _command_line(
    file: Path, where: list[str] | None, store: Path | None, trials: int | None
) -> str:
    words = ["matrixbench", "execute", str(file), "--resume"]
    for expression in where or []:
        words += ["--where", expression]
    if store is not None:
        words += ["--store", str(store)]
    if trials is not None:
        words += ["--trials", str(trials)]
    return shlex.join(words)
