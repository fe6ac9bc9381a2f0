"""What commands share: their common options, and the steps that all of them begin with."""

from __future__ import annotations

import json
import os
import sys
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from matrixbench.execution.settings import Settings
    from matrixbench.spec.load import Experiment

File = Annotated[
    Path, typer.Argument(metavar="FILE", help="The experiment file.", show_default=False)
]
Where = Annotated[
    list[str] | None,
    typer.Option(
        "--where",
        metavar="EXPR",
        help="Only these cells, for example 'temperature<=1 and test=~weather'. Repeatable.",
    ),
]
StorePath = Annotated[
    Path | None,
    typer.Option(
        "--store",
        metavar="PATH",
        help="The results database. Default: $MATRIXBENCH_STORE, else .matrixbench/results.db "
        "beside the file.",
    ),
]
Trials = Annotated[
    int | None,
    typer.Option("--trials", min=1, max=100_000, help="Trials per cell, over the file's."),
]
AnyBuild = Annotated[
    bool,
    typer.Option(
        "--any-build",
        help="Count what any build of server and model has done, not the present one's.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for a machine.")]


class Interrupted(BaseException):
    """Ctrl-C outside a run; not a KeyboardInterrupt, which typer would turn into exit code 1."""


def load(file: Path) -> Experiment:
    """Return the experiment of a file, seen in this process's environment."""
    from matrixbench.spec.load import load_experiment  # noqa: PLC0415  deferred: --help stays fast

    return load_experiment(file, environ=os.environ)


def settings_of(experiment: Experiment, store: Path | None) -> Settings:
    """Return where an experiment keeps things; `store` is the command's option."""
    from matrixbench.execution.settings import settings_for  # noqa: PLC0415  the same

    return settings_for(experiment, os.environ, store=store)


def print_json(value: object) -> None:
    """Print a result for a machine."""
    typer.echo(json.dumps(value, ensure_ascii=False, indent=2))


def say(line: str) -> None:
    """Print a line for people, beside the results; where nobody can read it, nothing is lost."""
    with suppress(OSError, ValueError):
        typer.echo(line, err=True)


@contextmanager
def printing() -> Iterator[None]:
    """Let the reader of standard output go away (`| head`): what was done stays done."""
    try:
        yield
        sys.stdout.flush()
    except (BrokenPipeError, SystemExit):
        # rich leaves the process when its pipe breaks; the interpreter would complain at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
