"""The command line: which commands there are, and how each of them ends.

A command's module is imported when it is run or asked for its help, and not before: the table has
what the overview says of it. This package is the only one that exits.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
import traceback
from importlib import import_module
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from matrixbench.cli.shared import InterruptedByUser, say, spread
from matrixbench.errors import ExitCode, MatrixbenchError
from matrixbench.safe_text import ESCAPES

NAME = "matrixbench"

COMMANDS = {  # in the order in which one meets them
    "plan": ("plan:plan", "Show the matrix: what it costs, what is done, what will run."),
    "execute": (
        "execute:execute",
        "Start the servers, run what is missing, and store each trial.",
    ),
    "chart": ("chart:chart", "Draw the heatmaps: every square says how sure it is."),
    "try": ("try_:try_", "Send one trial of a test and show it whole."),
    "status": (
        "status:status",
        "Show what is done, what remains, and what could not be measured.",
    ),
    "show": ("show:show", "Show replies and why they failed, one trial whole, or what ran."),
    "rank": ("rank:rank", "Say what does best over all tests, each test weighing the same."),
    "compare": ("compare:compare", "Say what differs from a baseline, and whether it got worse."),
    "report": ("report:report", "Write one page from the map to the transcript."),
    "watch": ("watch:watch", "Serve the report of a run that goes on, to this machine alone."),
    "export": ("export:export", "Write results for other programs: a row a cell, or a trial."),
    "import": ("import_:import_", "Read another tool's results into the store, beside new ones."),
    "validate": (
        "validate:validate",
        "Check an experiment file: every problem, each with its place.",
    ),
    "suites": ("suites:suites", "List the suites of tests that ship, or the tests of a suite."),
    "doctor": (
        "doctor:doctor",
        "Look at what this machine has of what an experiment needs.",
    ),
    "store": ("store:app", "Look after a store: merge, prune, compact and check it."),
    "schema": ("schema:schema", "Print the JSON Schema of experiment files, for editors."),
}
"""What a command is called → where its function is, and what the overview says of it."""

_SURROUNDINGS = {
    errno.ENOSPC: "the disk that the output goes to is full",
    errno.EDQUOT: "the quota of the disk that the output goes to is used up",
    errno.EFBIG: "the output is larger than a file may be here",
    errno.EIO: "the disk or the terminal refused to read or write",
    errno.EMFILE: "too many files are open for one process\n  raise the limit: ulimit -n 256",
    errno.ENFILE: "too many files are open on this machine",
    errno.ENOMEM: "there is not enough memory",
}
"""What any command may meet that is nobody's mistake in the file or in the options."""


class _Commands(TyperGroup):
    """Commands of which only the one that is named is imported; the others are names with lines."""

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        name, known, rest = super().resolve_command(ctx, args)
        return name, known if name is None else _command(name), rest


def _command(name: str) -> Any:
    """Return a command for typer; this imports its module and what that needs."""
    module, _, function = COMMANDS[name][0].partition(":")
    command = getattr(import_module(f"{__name__}.{module}"), function)
    if isinstance(command, typer.Typer):
        return typer.main.get_command(command)
    alone = typer.Typer(rich_markup_mode=None, add_completion=False)
    alone.command(name)(spread(command))
    return typer.main.get_command(alone)


app = typer.Typer(
    name=NAME,
    cls=_Commands,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Decide which server build, model, chat template, sampling and cache settings to run.",
    epilog=(
        "Exit codes: 0 done; 1 our bug; 2 the file or the options are wrong; 3 nothing selected; "
        "4 no server could be used; 5 the store; 6 a check could not be loaded; 7 finished, some "
        "trials errored or launches given up; 8 the gate found a regression; 9 the gate is "
        "undecided; 130 interrupted."
    ),
)


def _print_version(asked: bool) -> None:
    if not asked:
        return
    from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415  --help is fast

    try:
        typer.echo(f"matrixbench {version('matrixbench')}")
    except PackageNotFoundError:
        typer.echo("matrixbench, run from its source")
    raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """Take what stands before a command."""


def _named_only() -> None:
    """Stand for a command in the overview and in completions; `_Commands` puts it in its place."""


for command_name, (_, line) in COMMANDS.items():
    app.command(command_name, help=line)(_named_only)


def main() -> NoReturn:
    """Run the command line; no traceback ever reaches a user for their own mistake."""
    signal.signal(signal.SIGINT, _interrupt)
    _open_streams()
    try:
        app(prog_name=NAME)  # not «python -m matrixbench»: completion scripts go by it
    except MatrixbenchError as error:
        first, *others = error.messages
        for message in (f"error: {first}", *others):
            say(message)
        sys.exit(error.exit_code)
    except InterruptedByUser:
        say("interrupted")
        sys.exit(ExitCode.INTERRUPTED)
    except OSError as error:
        if error.errno not in _SURROUNDINGS:
            raise
        say(f"error: {_SURROUNDINGS[error.errno]}")
        sys.exit(ExitCode.STORE)
    except Exception:  # noqa: BLE001  the last boundary: whatever arrives here is our bug
        traceback.print_exc()
        say("this is a bug in matrixbench, not in your file: please report it with the lines above")
        sys.exit(ExitCode.BUG)
    sys.exit(ExitCode.DONE)


def _open_streams() -> None:
    """Give what was closed (`2>&-`) somewhere to go: a run does not depend on being watched.

    What a stream's encoding cannot say is escaped, so that an ASCII terminal gets its output too.
    """
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115  to the end
        elif isinstance(stream := getattr(sys, name), TextIOWrapper):
            stream.reconfigure(errors=ESCAPES)


def _interrupt(_signal: int, _frame: object) -> NoReturn:
    raise InterruptedByUser
