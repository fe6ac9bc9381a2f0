"""An experiment's results by its file, or by its name in the store."""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from matrixbench.cli.shared import load, say, settings_of
from matrixbench.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from matrixbench.results.experiment import Results
    from matrixbench.store.database import Store

Target = Annotated[
    str,
    typer.Argument(
        metavar="FILE|NAME",
        help="The experiment file, or the name of an experiment in the store.",
        show_default=False,
    ),
]

_SUFFIXES = {".yaml", ".yml"}


def is_file(target: str) -> bool:
    """Return whether an argument means a file and not a name in the store."""
    path = Path(target)
    return path.is_file() or path.suffix in _SUFFIXES or len(path.parts) > 1


def store_path(store: Path | None) -> Path:
    """Return the store where no experiment file says which: the default is in this folder."""
    from matrixbench.run.settings import STORE_VARIABLE  # noqa: PLC0415  --help stays fast

    named = os.environ.get(STORE_VARIABLE)
    if store is None:
        store = Path(named).expanduser() if named else Path(".matrixbench") / "results.db"
    return store.absolute()


def refuse_offset(name: str, seed_offset: int) -> None:
    """Refuse a seed offset for a name in the store.

    Raises:
        UsageError: There is one.
    """
    if seed_offset:
        raise UsageError(
            "--seed-offset needs the experiment's file",
            where=name,
            hint="by its name an experiment is shown with the seeds that it ran with last",
        )


@contextmanager
def open_results(
    target: str, where: Sequence[str] | None, store: Path | None, seed_offset: int = 0
) -> Iterator[tuple[Results, Store]]:
    """Open the store of an experiment and yield its selected results.

    Raises:
        SpecError: The file is wrong.
        UsageError: There is no such experiment, a selector is wrong, or a name in the store was
            given a seed offset.
        NothingSelectedError: No cell is selected, or there is no store yet.
        StoreError: The store cannot be read.
    """
    from matrixbench.results.experiment import results_by_name, results_of  # noqa: PLC0415  --help stays fast
    from matrixbench.run.judging import opened  # noqa: PLC0415  the same
    from matrixbench.store.database import open_store  # noqa: PLC0415  the same

    if not is_file(target):
        refuse_offset(target, seed_offset)
        with open_store(store_path(store), create=False) as found:
            yield results_by_name(found, target, where=where or ()), found
        return
    experiment = load(Path(target), seed_offset)
    settings = settings_of(experiment, store)
    with opened(experiment, settings) as found:
        yield results_of(experiment, settings, found, where=where or (), say=say), found
