"""The commands that look after a store: `store check`, `compact`, `merge`, `prune`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from matrixbench.cli.opening import store_here
from matrixbench.cli.shared import AsJson, print_json, put, say
from matrixbench.errors import StoreError
from matrixbench.spec.wording import counted
from matrixbench.store.upkeep import Part, check, compact, merge, prune, size_of, weigh

if TYPE_CHECKING:
    from matrixbench.store.upkeep import Weight

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Look after a store: merge, prune, compact and check it.",
)

Location = Annotated[
    Path | None,
    typer.Option(
        "--store",
        metavar="PATH",
        help="The results database. Default: $MATRIXBENCH_STORE, else .matrixbench/results.db.",
    ),
]


@app.command("check")
def check_store(store: Location = None, as_json: AsJson = False) -> None:
    """Look at every page and every row of a store, and say what it holds.

    A damaged store ends with exit code 5.
    """
    path = store_here(store)
    found = check(path)
    if as_json:
        print_json(
            {
                "store": str(path),
                "damage": list(found.damage),
                "experiments": list(found.experiments),
                "trials": found.trials,
                "replies": found.replies,
                "launches": found.launches,
                "builds": found.builds,
                "bytes": found.bytes,
                "free_bytes": found.free,
            }
        )
    else:
        put(
            f"{path}: {_size(found.bytes)}, {counted(found.trials, 'trial')}, "
            f"{counted(found.replies, 'reply')}, "
            f"{counted(found.launches, 'launch run')}, {counted(found.builds, 'build')}"
        )
        put(f"experiments: {', '.join(found.experiments) or 'none'}")
        if found.free:
            put(f"{_size(found.free)} are empty: `matrixbench store compact` gives them back")
        if not found.damage:
            put("every page, index and row is as it should be")
    if found.damage:
        raise StoreError(
            "the store is damaged: " + "; ".join(found.damage),
            where=str(path),
            hint="Restore a copy, or rescue its rows with `sqlite3 FILE .recover`; nothing was "
            "changed.",
        )


@app.command("compact")
def compact_store(store: Location = None) -> None:
    """Write the file anew, without the space that pruning left empty."""
    path = store_here(store)
    before, after = compact(path)
    put(f"{path}: {_size(before)} → {_size(after)}")


@app.command("merge")
def merge_stores(
    other: Annotated[
        Path, typer.Argument(metavar="OTHER", help="The other store.", show_default=False)
    ],
    store: Location = None,
    as_json: AsJson = False,
) -> None:
    """Write what another store holds into this one, nothing twice; the other one stays as it is."""
    path = store_here(store)
    merged = merge(path, other)
    if as_json:
        print_json(
            {
                "store": str(path),
                "trials": merged.trials,
                "known": merged.known,
                "superseded": merged.superseded,
                "launches": merged.launches,
                "experiments": merged.experiments,
            }
        )
        return
    put(
        f"{counted(merged.trials, 'new trial')} of {counted(merged.launches, 'new launch run')}, "
        f"{counted(merged.experiments, 'new experiment')}"
    )
    if merged.known:
        put(f"{counted(merged.known, 'trial')} were here already")
    if merged.superseded:
        put(
            f"{counted(merged.superseded, 'trial')} are kept as history: this store has a later "
            "attempt at them"
        )


@app.command("prune")
def prune_store(
    experiment: Annotated[
        list[str] | None,
        typer.Option("--experiment", metavar="NAME", help="What this one measured. Repeatable."),
    ] = None,
    generation: Annotated[
        list[int] | None,
        typer.Option(
            "--generation",
            metavar="N",
            min=0,
            help="What was measured between two fresh starts: 0 is before the first. Repeatable.",
        ),
    ] = None,
    replies: Annotated[
        bool,
        typer.Option(
            "--replies", help="Only the texts of replies; verdicts, times and counts stay."
        ),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do it, without asking.")] = False,
    store: Location = None,
) -> None:
    """Take experiments, generations or replies out of a store, after showing what goes.

    Nothing goes without a yes: on a terminal it is asked for, elsewhere --yes gives it.
    """
    path = store_here(store)
    part = Part(experiments=experiment or (), generations=generation or (), replies=replies)
    weight = weigh(path, part)
    put(f"{path}, {_size(size_of(path))}: {_named(weight, part)}")
    if weight.shared:
        put(f"{counted(weight.shared, 'trial')} stay: they count for other experiments, too")
    if not weight.trials and not part.experiments:
        return
    if not (yes or (sys.stdin.isatty() and typer.confirm("take it out?", err=True))):
        say("nothing was taken out; add --yes to do it")
        return
    prune(path, part)
    put("taken out; `matrixbench store compact` makes the file smaller")


def _named(weight: Weight, part: Part) -> str:
    texts = f"the texts of {counted(weight.replies, 'reply')} ({_size(weight.bytes)})"
    return texts if part.replies else f"{counted(weight.trials, 'trial')}, with {texts}"


def _size(number: float) -> str:
    for unit in ("bytes", "KiB", "MiB"):
        if number < 1024:  # noqa: PLR2004  the step between the units
            return f"{number:.0f} {unit}" if unit == "bytes" else f"{number:.1f} {unit}"
        number /= 1024
    return f"{number:.1f} GiB"
