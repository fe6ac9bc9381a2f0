"""`try`: one trial of a test, for whoever is writing it."""

from __future__ import annotations

import asyncio
import sys
from contextlib import aclosing
from typing import TYPE_CHECKING, Annotated

import typer

from matrixbench.checks.judge import checks_of
from matrixbench.cli.opening import load, settings_of
from matrixbench.cli.shared import AsJson, File, InterruptedByUser, Where, print_json, say
from matrixbench.cli.signals import stopping
from matrixbench.cli.trust import Trusting, to_run
from matrixbench.errors import ExitCode, UsageError
from matrixbench.execution.events import LaunchReady, LaunchStarting
from matrixbench.execution.inspection import unless_stopped
from matrixbench.execution.try_ import (
    choose_cells,
    choose_test,
    judged,
    marks_of_all,
    read_reply,
    try_cells,
)
from matrixbench.output.progress import LogProgress
from matrixbench.output.text import console
from matrixbench.output.try_ import choice_lines, counts_line, print_tried, tried_json
from matrixbench.spec.experiment import MAX_SEED

if TYPE_CHECKING:
    from collections.abc import Callable

    from matrixbench.execution.events import Event
    from matrixbench.execution.settings import Settings
    from matrixbench.execution.try_ import Choice, Tried
    from matrixbench.spec.load import Experiment


def try_(
    file: File,
    *,
    test: Annotated[
        list[str] | None,
        typer.Option(
            "--test",
            metavar="NAME",
            help="The test to try, or a glob: one trial of each test that it matches. Repeatable.",
        ),
    ] = None,
    where: Where = None,
    seed: Annotated[
        int | None,
        typer.Option(
            "--seed", min=0, max=MAX_SEED, help="The seed to ask for. Default: the file's."
        ),
    ] = None,
    reply: Annotated[
        str | None,
        typer.Option(
            "--reply",
            metavar="FILE",
            help="Judge this saved reply (- for standard input); no server is started.",
        ),
    ] = None,
    trust: Trusting = False,
    as_json: AsJson = False,
) -> None:
    """Send one trial of a test and show it whole. Stores nothing.

    Shows the rendered prompt, the raw output, the reply and what each check says.
    """
    experiment = load(file)
    settings = settings_of(experiment, None)
    settings = to_run(experiment, settings, trust=trust, judging=reply is not None)
    show = _unseen if as_json else _shown
    if reply is None:
        choice = choose_cells(experiment, test or (), where or ())
        tried = _sent(settings, experiment, choice, seed, show)
    else:
        if seed is not None:
            raise UsageError("--seed is sent to a server, and --reply sends nothing")
        chosen = choose_test(experiment, test or (), where or ())
        marks = marks_of_all(experiment, where or ())
        tried = [judged(chosen, read_reply(reply), checks_of(chosen).taking_apart(marks))]
        show(tried[0])
    if as_json:
        print_json(tried_json(experiment.file.name, tried))
    elif len(tried) > 1:
        say(counts_line(tried))
    if not all(one.measured for one in tried):
        raise typer.Exit(ExitCode.PARTIAL)


def _sent(
    settings: Settings,
    experiment: Experiment,
    choice: Choice,
    seed: int | None,
    show: Callable[[Tried], None],
) -> list[Tried]:
    """Send the trials, showing each once it is there."""
    for line in choice_lines(choice):
        say(line)
    tried: list[Tried] = []

    async def sending() -> bool:
        async with aclosing(
            try_cells(experiment, settings, choice.cells, seed, watch.tell)
        ) as trials:
            async for one in trials:
                watch.done()
                tried.append(one)
                show(one)
                watch.waiting("for the next one, or until the server is gone")
        return True

    async def supervised() -> bool | None:
        with stopping() as stop:
            return await unless_stopped(sending(), stop)

    watch = _Watch()
    try:
        if asyncio.run(supervised()) is None:
            raise InterruptedByUser
    finally:
        watch.done()
    return tried


class _Watch:
    """Says which server is started, that it is ready, and on a terminal what is waited for."""

    def __init__(self) -> None:
        out = console(sys.stderr)
        self._log = LogProgress(out)
        self._status = out.status("") if out.is_terminal else None

    def tell(self, event: Event) -> None:
        """Say what an event says."""
        if isinstance(event, LaunchStarting):
            say(f"{event.name}: starting")
            self.waiting("until it is ready")
        self._log(event)
        if isinstance(event, LaunchReady):
            self.waiting("for the reply")

    def waiting(self, what: str) -> None:
        """Show on a terminal that something is waited for."""
        if self._status is not None:
            self._status.update(f"waiting {what}")
            self._status.start()

    def done(self) -> None:
        """Leave the terminal to others."""
        if self._status is not None:
            self._status.stop()


def _shown(tried: Tried) -> None:
    print_tried(tried, console(sys.stdout))


def _unseen(_: Tried) -> None:
    """Leave it to the JSON at the end."""
