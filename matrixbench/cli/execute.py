"""`execute`: what is missing, run and stored."""

from __future__ import annotations

import asyncio
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from matrixbench.cli.opening import OfFile, OfFileOrStore, settings_of
from matrixbench.cli.report import Against, say_left_out
from matrixbench.cli.shared import AnyBuild, AsJson, Trials, print_json, say
from matrixbench.cli.signals import stopping
from matrixbench.cli.trust import to_run
from matrixbench.errors import UsageError
from matrixbench.execution.settings import Mode
from matrixbench.gated import execute as run
from matrixbench.output.execute import print_summary, summary_json
from matrixbench.output.progress import progress_for
from matrixbench.output.report.making import write_report
from matrixbench.output.text import console

if TYPE_CHECKING:
    from matrixbench.execution.settings import RunSummary
    from matrixbench.spec.load import Experiment

WARNINGS_SHOWN = 20
"""What is hardly meant, as far as a run says it before it begins; `validate` says all of it."""


def execute(
    *,
    source: OfFile,
    resume: Annotated[
        bool, typer.Option("--resume", help="Keep what is done and run the rest.")
    ] = False,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Start over; what is stored stays as history.")
    ] = False,
    trials: Trials = None,
    any_build: AnyBuild = False,
    report: Annotated[
        Path | None,
        typer.Option(
            "--report", metavar="PATH", help="Write the report of it as well, as `report` does."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Start the servers, run what is missing, and store each trial."""
    mode = _mode(resume=resume, fresh=fresh)
    experiment = source.load()
    _warn(experiment)
    settings = to_run(experiment, settings_of(experiment, source.store), trust=source.trust)

    async def supervised() -> RunSummary:
        with stopping() as stop, progress_for(console(sys.stderr)) as progress:
            return await run(
                experiment,
                settings,
                mode=mode,
                where=source.where or (),
                trials=trials,
                any_build=any_build,
                listener=progress,
                interrupted=stop,
            )

    summary = asyncio.run(supervised())
    if as_json:
        print_json(summary_json(summary))
    else:
        print_summary(summary, console(sys.stdout))
        if summary.rejections:
            say(f"to look at them: {_showing(source)}")
    if report is not None and summary.store is not None:
        _write_report(source, report)
    if summary.interrupted and summary.remaining:
        say(f"to go on: {_continuing(source, trials, any_build=any_build)}")
    raise typer.Exit(summary.exit_code)


def _write_report(source: OfFile, output: Path) -> None:
    of_file = OfFileOrStore(
        target=str(source.file),
        where=source.where,
        seed_offset=source.seed_offset,
        store=source.store,
    )
    with of_file.results(again=True) as results:
        left_out = write_report([Against().source(of_file.target, results)], output)
    say(f"report: {output}")
    say_left_out(left_out)


def _mode(*, resume: bool, fresh: bool) -> Mode:
    if resume and fresh:
        raise UsageError("--resume and --fresh exclude each other")
    if resume:
        return Mode.RESUME
    return Mode.FRESH if fresh else Mode.NEW


def _warn(experiment: Experiment) -> None:
    for warning in experiment.warnings[:WARNINGS_SHOWN]:
        say(f"warning: {warning.line}")
    if len(experiment.warnings) > WARNINGS_SHOWN:
        say(f"warning: and {len(experiment.warnings) - WARNINGS_SHOWN:,} more: see validate")


def _continuing(source: OfFile, trials: int | None, *, any_build: bool) -> str:
    """Return the command that runs what is left."""
    words = ["matrixbench", "execute", str(source.file), "--resume", *_chosen(source)]
    if trials is not None:
        words += ["--trials", str(trials)]
    if any_build:
        words.append("--any-build")
    return shlex.join(words)


def _showing(source: OfFile) -> str:
    """Return the command that opens the rejected trials, each distinct answer once."""
    words = ["matrixbench", "show", str(source.file), *_chosen(source)]
    return shlex.join([*words, "--outcome", "rejected", "--distinct"])


def _chosen(source: OfFile) -> list[str]:
    words = [word for expression in source.where or () for word in ("--where", expression)]
    if source.seed_offset:
        words += ["--seed-offset", str(source.seed_offset)]
    return words if source.store is None else [*words, "--store", str(source.store)]
