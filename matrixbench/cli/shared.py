"""What commands share: their common options, and the steps that all of them begin with."""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from matrixbench.errors import StoreError, UsageError
from matrixbench.safe_text import for_json, for_terminal

if TYPE_CHECKING:
    from matrixbench.run.settings import Settings
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
SeedOffset = Annotated[
    int,
    typer.Option(
        "--seed-offset",
        metavar="N",
        min=0,
        help="As if the file's seed were N higher: fresh seeds for a second, independent look. "
        "Choose at least as many as there are trials.",
        show_default=False,
    ),
]
AnyBuild = Annotated[
    bool,
    typer.Option(
        "--any-build",
        help="Count what any build of server and model has done, not the present one's.",
    ),
]
Attempts = Annotated[
    str | None,
    typer.Option(
        "--k",
        metavar="K,…",
        help="Numbers of attempts for pass@k and pass^k, for example 1,5. Default: 5.",
    ),
]
IntervalName = Annotated[
    str | None,
    typer.Option(
        "--interval",
        metavar="NAME",
        help="Which 95 % interval a cell has: wilson (default), jeffreys or exact. Adaptive trials "
        "have their own.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for a machine.")]


MOST_ATTEMPTS = 100_000
"""As many as a cell can have."""


class InterruptedByUser(BaseException):
    """Ctrl-C outside a run; not a KeyboardInterrupt, which typer would turn into exit code 1."""


def load(file: Path, seed_offset: int = 0) -> Experiment:
    """Return the experiment of a file, seen in this process's environment, its seed so much higher.

    Raises:
        SpecError: The file is wrong.
        UsageError: Its seeds would be larger than the largest.
    """
    from matrixbench.spec.load import load_experiment  # noqa: PLC0415  deferred: --help stays fast

    experiment = load_experiment(file, environ=os.environ)
    return experiment.with_seed_offset(seed_offset) if seed_offset else experiment


def settings_of(experiment: Experiment, store: Path | None) -> Settings:
    """Return where an experiment keeps things; `store` is the command's option."""
    from matrixbench.run.settings import settings_for  # noqa: PLC0415  the same

    return settings_for(experiment, os.environ, store=store)


def attempts_of(text: str | None) -> tuple[int, ...]:
    """Return the numbers that `--k` names.

    Raises:
        UsageError: It names something else.
    """
    from matrixbench.results.tables import DEFAULT_K  # noqa: PLC0415  deferred: --help stays fast

    if text is None:
        return DEFAULT_K
    words = [word.strip() for word in text.split(",")]
    if not all(word.isdecimal() and 0 < int(word) <= MOST_ATTEMPTS for word in words):
        raise UsageError(
            f"«{text}» is no list of numbers of attempts",
            where="--k",
            hint=f"write numbers from 1 to {MOST_ATTEMPTS:,}, for example --k 1,5",
        )
    return tuple(dict.fromkeys(map(int, words)))


def print_json(value: object) -> None:
    """Print a result for a machine; on a terminal, too, what a model wrote stays text."""
    put_data(for_json(json.dumps(value, ensure_ascii=False, indent=2, default=_damaged)))


def _damaged(value: object) -> NoReturn:
    """Say where a value comes from that JSON has no word for: no store of ours holds bytes.

    Raises:
        StoreError: It is bytes.
        TypeError: It is something else, by a mistake of ours.
    """
    if isinstance(value, bytes):
        raise StoreError("the store is damaged: it holds bytes where a text or a number belongs")
    raise TypeError(f"{type(value).__name__} is no JSON")


def put(line: str) -> None:
    """Print a result for people."""
    put_data(for_terminal(line))


def put_data(text: str, *, nl: bool = True) -> bool:
    """Print a result that was made safe for its format; return whether anybody still reads.

    `| head` does not, and loses nothing.

    What comes later goes nowhere, and the command ends as it would have: a gate stays a gate.
    """
    try:
        typer.echo(text, nl=nl, file=sys.stdout)  # typer's own choice forgets its encoding
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return False
    return True


def say(line: str) -> None:
    """Print a line for people, beside the results; where nobody can read it, nothing is lost."""
    with suppress(OSError, ValueError):
        typer.echo(for_terminal(line), file=sys.stderr)
