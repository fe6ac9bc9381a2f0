"""The command line. Commands are lists of named steps; this package is the only one that exits."""

from __future__ import annotations

import errno
import os
import signal
import sys
import traceback
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from matrixbench.cli import (
    charting,
    comparing,
    doctoring,
    listing,
    looking,
    moving,
    ranking,
    running,
    trying,
)
from matrixbench.cli.shared import InterruptedByUser, say
from matrixbench.errors import ExitCode, MatrixbenchError
from matrixbench.safe_text import ESCAPES

NAME = "matrixbench"

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

app = typer.Typer(
    name=NAME,
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
    from importlib.metadata import (  # noqa: PLC0415  deferred: --help stays fast
        PackageNotFoundError,
        version,
    )

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


for name, command in (
    ("plan", running.plan),
    ("execute", running.execute),
    ("chart", charting.chart),
    ("try", trying.try_test),
    ("status", looking.status),
    ("show", looking.show),
    ("rank", ranking.rank),
    ("compare", comparing.compare),
    ("export", moving.export),
    ("import", moving.import_results),
    ("validate", running.validate),
    ("suites", listing.suites),
    ("doctor", doctoring.doctor),
    ("schema", running.schema),
):
    app.command(name)(command)


def main() -> NoReturn:
    """Run the command line; no traceback ever reaches a user for their own mistake."""
    signal.signal(signal.SIGINT, _interrupt)
    _open_streams()
    try:
        app(prog_name=NAME)  # not «python -m matrixbench»: completion scripts go by it
    except MatrixbenchError as error:
        say(f"error: {error}")
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
