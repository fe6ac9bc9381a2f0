"""What commands share: their options, bundles of these, and how results are said."""

from __future__ import annotations

import inspect
import json
import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, get_type_hints

import typer

from matrixbench.errors import StoreError
from matrixbench.safe_text import for_json, for_terminal

if TYPE_CHECKING:
    from collections.abc import Callable

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


Target = Annotated[
    str,
    typer.Argument(
        metavar="FILE|NAME",
        help="The experiment file, or the name of an experiment in the store.",
        show_default=False,
    ),
]


def spread(command: Callable[..., None]) -> Callable[..., None]:
    """Return a command as typer reads it, each field of its dataclasses an option of its own.

    Options that belong together stay one parameter for whoever writes a command.
    """
    flat: list[inspect.Parameter] = []
    bundles: dict[str, type[Any]] = {}
    hints = get_type_hints(command, include_extras=True)
    for parameter in inspect.signature(command).parameters.values():
        hint = hints[parameter.name]
        if not (isinstance(hint, type) and is_dataclass(hint)):
            flat.append(parameter.replace(annotation=hint, kind=parameter.KEYWORD_ONLY))
            continue
        bundles[parameter.name] = hint
        inner = get_type_hints(hint, include_extras=True)
        flat += [
            inspect.Parameter(
                field.name,
                parameter.KEYWORD_ONLY,
                default=parameter.empty if field.default is MISSING else field.default,
                annotation=inner[field.name],
            )
            for field in fields(hint)
        ]

    def spread_out(**options: Any) -> None:
        for name, bundle in bundles.items():
            options[name] = bundle(
                **{field.name: options.pop(field.name) for field in fields(bundle)}
            )
        command(**options)

    spread_out.__doc__ = command.__doc__
    spread_out.__annotations__ = {each.name: each.annotation for each in flat}
    spread_out.__signature__ = inspect.Signature(flat)  # type: ignore[attr-defined]
    return spread_out


class InterruptedByUser(BaseException):
    """Ctrl-C outside a run; not a KeyboardInterrupt, which typer would turn into exit code 1."""


_AT_A_TIME = 64 * 1024


def print_json(value: object) -> None:
    """Print a result for a machine; on a terminal, too, what a model wrote stays text.

    An iterator in it is a list that is written as its items come, so that it may be larger than
    memory. It stands in another one, or in a dict that holds one.
    """
    waiting: list[str] = []
    letters = 0
    for part in json_parts(value):
        waiting.append(part)
        letters += len(part)
        if letters >= _AT_A_TIME:
            if not put_data(for_json("".join(waiting)), nl=False):
                return
            waiting.clear()
            letters = 0
    put_data(for_json("".join(waiting)))


def json_parts(value: object, margin: str = "\n") -> Iterator[str]:
    """Yield the JSON of a value as `json.dumps` with an indent of 2 writes it, bit by bit."""
    inner = f"{margin}  "
    if isinstance(value, Iterator):
        before = f"[{inner}"
        for item in value:
            yield before
            yield from json_parts(item, inner)
            before = f",{inner}"
        yield "[]" if before[0] == "[" else f"{margin}]"
    elif isinstance(value, dict) and any(isinstance(item, Iterator) for item in value.values()):
        before = f"{{{inner}"
        for key, item in value.items():
            yield f"{before}{json.dumps(key, ensure_ascii=False)}: "
            yield from json_parts(item, inner)
            before = f",{inner}"
        yield f"{margin}}}"
    else:
        text = json.dumps(value, ensure_ascii=False, indent=2, default=_damaged)
        yield text.replace("\n", margin)  # no text in JSON has a line break of its own


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
