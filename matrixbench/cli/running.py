"""Commands that plan and run: `plan`, `execute`, `validate`, `schema`."""

from __future__ import annotations

import asyncio
import shlex
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from matrixbench.cli.shared import (
    AnyBuild,
    AsJson,
    File,
    SeedOffset,
    StorePath,
    Trials,
    Where,
    load,
    print_json,
    put,
    put_data,
    say,
    settings_of,
)
from matrixbench.cli.signals import stopping
from matrixbench.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from matrixbench.run.settings import Mode, RunSummary, Settings
    from matrixbench.spec.load import Experiment

WARNINGS_SHOWN = 20
"""What is hardly meant, as far as a run says it before it begins; `validate` says all of it."""


def plan(  # noqa: PLR0913, PLR0917  each is an option of the command
    file: File,
    where: Where = None,
    trials: Trials = None,
    cells: Annotated[bool, typer.Option("--cells", help="List the cells.")] = False,
    builds: Annotated[
        bool, typer.Option("--builds", help="List the builds that there are results of.")
    ] = False,
    any_build: AnyBuild = False,
    seed_offset: SeedOffset = 0,
    store: StorePath = None,
    as_json: AsJson = False,
) -> None:
    """Show the matrix: what it costs, what is done, what will run. Starts nothing."""
    from matrixbench.comparison.power import power_of_plan  # noqa: PLC0415  the same
    from matrixbench.gated import build_plan  # noqa: PLC0415  the same
    from matrixbench.output import plan as machine_output  # noqa: PLC0415  deferred: --help stays fast
    from matrixbench.output import tables  # noqa: PLC0415
    from matrixbench.run.prepare import nothing_in_file  # noqa: PLC0415  the same

    experiment = load(file, seed_offset)
    prepared = build_plan(
        experiment,
        settings_of(experiment, store),
        where=where or (),
        trials=trials,
        any_build=any_build,
        judged=True,
    )
    out = tables.console(sys.stdout)
    if as_json:
        print_json(machine_output.plan_json(prepared, cells=cells))
    elif cells:
        tables.print_cells(prepared.cells(), out)
    else:
        tables.print_plan(prepared.plan, out)
        power = power_of_plan(prepared.plan, prepared.wanted, prepared.history)
        if power is not None:
            tables.print_aside(power.line, out)
        if builds:
            tables.print_builds(prepared.builds(), out)
    if not prepared.plan.cells:
        raise nothing_in_file(experiment, where or ())


def execute(  # noqa: PLR0913, PLR0917  each is an option of the command
    file: File,
    resume: Annotated[
        bool, typer.Option("--resume", help="Keep what is done and run the rest.")
    ] = False,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Start over; what is stored stays as history.")
    ] = False,
    where: Where = None,
    trials: Trials = None,
    any_build: AnyBuild = False,
    seed_offset: SeedOffset = 0,
    store: StorePath = None,
    as_json: AsJson = False,
) -> None:
    """Start the servers, run what is missing, and store each trial."""
    from matrixbench.output import plan as machine_output  # noqa: PLC0415  deferred: --help stays fast
    from matrixbench.output import tables  # noqa: PLC0415

    asked = _Asked(
        mode=_mode(resume=resume, fresh=fresh),
        where=where or [],
        trials=trials,
        any_build=any_build,
        seed_offset=seed_offset,
    )
    experiment = load(file, seed_offset)
    for warning in experiment.warnings[:WARNINGS_SHOWN]:
        say(f"warning: {warning.line}")
    if len(experiment.warnings) > WARNINGS_SHOWN:
        say(f"warning: and {len(experiment.warnings) - WARNINGS_SHOWN:,} more: see validate")
    summary = _run(experiment, settings_of(experiment, store), asked)
    if as_json:
        print_json(machine_output.summary_json(summary))
    else:
        tables.print_summary(summary, tables.console(sys.stdout))
    if summary.rejections and not as_json:
        say(f"to look at them: {asked.showing(file, store)}")
    if summary.interrupted and summary.remaining:
        say(f"to go on: {asked.continuing(file, store)}")
    raise typer.Exit(summary.exit_code)


def validate(file: File) -> None:
    """Check an experiment file: every problem, each with its place.

    Looks for the files that it names too, and asks each llama-server which options it knows.
    """
    from matrixbench.output.tables import counted  # noqa: PLC0415  the same
    from matrixbench.run.preflight import inspect, launches_of  # noqa: PLC0415  deferred
    from matrixbench.run.servers import Servers  # noqa: PLC0415  the same

    experiment = load(file)
    workshop = Servers(settings_of(experiment, None))
    found = inspect(experiment, launches_of(experiment), workshop)
    warnings = (*experiment.warnings, *found.warnings)
    for warning in warnings:
        put(f"warning: {warning}")
    found.refuse()
    told = [counted(len(experiment.tests), "test")]
    if warnings:
        told.append(counted(len(warnings), "warning"))
    put(f"{file}: fine ({', '.join(told)})")


def schema() -> None:
    """Print the JSON Schema of experiment files, for editors."""
    from matrixbench.spec.schema import experiment_schema, schema_text  # noqa: PLC0415

    put_data(schema_text(experiment_schema()), nl=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """What a user asked `execute` for."""

    mode: Mode
    where: list[str]
    trials: int | None
    any_build: bool
    seed_offset: int = 0

    def continuing(self, file: Path, store: Path | None) -> str:
        """Return the command that runs what is left."""
        words = ["matrixbench", "execute", str(file), "--resume", *self._chosen(store)]
        if self.trials is not None:
            words += ["--trials", str(self.trials)]
        if self.any_build:
            words.append("--any-build")
        return shlex.join(words)

    def showing(self, file: Path, store: Path | None) -> str:
        """Return the command that opens the rejected trials, each distinct answer once."""
        words = ["matrixbench", "show", str(file), *self._chosen(store)]
        return shlex.join([*words, "--outcome", "rejected", "--distinct"])

    def _chosen(self, store: Path | None) -> list[str]:
        words = [word for expression in self.where for word in ("--where", expression)]
        if self.seed_offset:
            words += ["--seed-offset", str(self.seed_offset)]
        return words if store is None else [*words, "--store", str(store)]


def _mode(*, resume: bool, fresh: bool) -> Mode:
    from matrixbench.run.settings import Mode  # noqa: PLC0415  deferred: --help stays fast

    if resume and fresh:
        raise UsageError("--resume and --fresh exclude each other")
    if resume:
        return Mode.RESUME
    return Mode.FRESH if fresh else Mode.NEW


def _run(experiment: Experiment, settings: Settings, asked: _Asked) -> RunSummary:
    from matrixbench.gated import execute as run  # noqa: PLC0415  the same
    from matrixbench.output.progress import progress_for  # noqa: PLC0415  the same
    from matrixbench.output.tables import console  # noqa: PLC0415  the same

    async def supervised() -> RunSummary:
        with stopping() as stop, progress_for(console(sys.stderr)) as progress:
            return await run(
                experiment,
                settings,
                mode=asked.mode,
                where=asked.where,
                trials=asked.trials,
                any_build=asked.any_build,
                listener=progress,
                interrupted=stop,
            )

    return asyncio.run(supervised())
