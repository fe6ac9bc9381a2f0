"""The command for whoever writes a test: `try`."""

from __future__ import annotations

import asyncio
import sys
from contextlib import aclosing
from typing import TYPE_CHECKING, Annotated

import typer

from matrixbench.cli.shared import (
    AsJson,
    File,
    InterruptedByUser,
    Where,
    load,
    print_json,
    say,
    settings_of,
)
from matrixbench.cli.signals import stopping
from matrixbench.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from matrixbench.run.events import Event
    from matrixbench.run.try_ import Choice, Tried
    from matrixbench.spec.load import Experiment, TestCase

MAX_SEED = 2**32 - 2
"""As `spec.experiment.MAX_SEED`, which is imported late: `--help` stays fast."""

Tests = Annotated[
    list[str] | None,
    typer.Option(
        "--test",
        metavar="NAME",
        help="The test to try, or a glob: one trial of each test that it matches. Repeatable.",
    ),
]
Seed = Annotated[
    int | None,
    typer.Option("--seed", min=0, max=MAX_SEED, help="The seed to ask for. Default: the file's."),
]
Reply = Annotated[
    str | None,
    typer.Option(
        "--reply",
        metavar="FILE",
        help="Judge this saved reply (- for standard input); no server is started.",
    ),
]


def try_test(
    file: File,
    *,
    test: Tests = None,
    where: Where = None,
    seed: Seed = None,
    reply: Reply = None,
    as_json: AsJson = False,
) -> None:
    """Send one trial of a test and show it whole. Stores nothing.

    Shows the rendered prompt, the raw output, the reply and what each check says.
    """
    from matrixbench.run import try_ as choosing  # noqa: PLC0415  --help stays fast

    experiment = load(file)
    show = _shown if not as_json else _unseen
    if reply is None:
        choice = choosing.choose_cells(experiment, test or (), where or ())
        tried = _sent(experiment, choice, seed, show)
    else:
        if seed is not None:
            raise UsageError("--seed is sent to a server, and --reply sends nothing")
        chosen = choosing.choose_test(experiment, test or (), where or ())
        marks = choosing.marks_of_all(experiment, where or ())
        tried = [_saved(chosen, reply, marks, show)]
    if as_json:
        _print_json(experiment, tried)
    elif len(tried) > 1:
        say(_counts(tried))
    if not all(one.measured for one in tried):
        raise typer.Exit(ExitCode.PARTIAL)


def _sent(
    experiment: Experiment, choice: Choice, seed: int | None, show: Callable[[Tried], None]
) -> list[Tried]:
    """Send the trials, showing each once it is there."""
    from matrixbench.output.try_ import choice_lines  # noqa: PLC0415  the same
    from matrixbench.run.inspection import unless_stopped  # noqa: PLC0415  deferred
    from matrixbench.run.try_ import manner_of, try_cells  # noqa: PLC0415  the same

    for line in choice_lines(choice):
        say(line)
    tried: list[Tried] = []

    async def sending() -> bool:
        manner, settings = manner_of(experiment, seed), settings_of(experiment, None)
        async with aclosing(
            try_cells(experiment, settings, choice.cells, manner, watch.tell)
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


def _saved(
    test: TestCase, reply: str, marks: tuple[str, ...], show: Callable[[Tried], None]
) -> Tried:
    """Judge a saved reply by the checks of a test."""
    from matrixbench.checks.judge import checks_of  # noqa: PLC0415  --help stays fast
    from matrixbench.run.try_ import (  # noqa: PLC0415
        judged,
        read_reply,
    )

    tried = judged(test, read_reply(reply), checks_of(test).taking_apart(marks))
    show(tried)
    return tried


class _Watch:
    """Says which server is started, that it is ready, and on a terminal what is waited for."""

    def __init__(self) -> None:
        from matrixbench.output.progress import LogProgress  # noqa: PLC0415  --help stays fast
        from matrixbench.output.tables import console  # noqa: PLC0415  the same

        out = console(sys.stderr)
        self._log = LogProgress(out)
        self._status = out.status("") if out.is_terminal else None

    def tell(self, event: Event) -> None:
        """Say what an event says."""
        from matrixbench.run.events import LaunchReady, LaunchStarting  # noqa: PLC0415  same

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
    from matrixbench.output.tables import console  # noqa: PLC0415  the same
    from matrixbench.output.try_ import print_tried  # noqa: PLC0415  --help stays fast

    print_tried(tried, console(sys.stdout))


def _unseen(_: Tried) -> None:
    """Leave it to the JSON at the end."""


def _print_json(experiment: Experiment, tried: Sequence[Tried]) -> None:
    from matrixbench.output.try_ import tried_json  # noqa: PLC0415  --help stays fast

    print_json(tried_json(experiment.file.name, tried))


def _counts(tried: Sequence[Tried]) -> str:
    from matrixbench.output.try_ import counts_line  # noqa: PLC0415  --help stays fast

    return counts_line(tried)
