"""The store of an experiment that has been run, open for reading."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from matrixbench.errors import NothingSelectedError
from matrixbench.store.database import open_store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from matrixbench.execution.settings import Settings
    from matrixbench.spec.load import Experiment
    from matrixbench.store.database import Store


@contextmanager
def opened(experiment: Experiment, settings: Settings) -> Iterator[Store]:
    """Yield the store of an experiment that has been run.

    Raises:
        NothingSelectedError: There is none yet.
        StoreError: It cannot be read.
    """
    if not settings.store.exists():
        raise nothing_measured(experiment, settings)
    with open_store(settings.store, create=False) as store:
        yield store


def nothing_measured(experiment: Experiment, settings: Settings) -> NothingSelectedError:
    """Return the error that there is nothing to look at, and the command that changes that."""
    return NothingSelectedError(
        f"nothing has been measured of {experiment.file.name} yet",
        where=str(settings.store),
        hint=f"first run: matrixbench execute {experiment.path.name}",
    )
