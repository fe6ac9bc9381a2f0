"""A program that uses a store, for the tests to run and to kill.

    python -m tests.store.store_program write PATH CELL COUNT [MAX_FILE_BYTES]
    python -m tests.store.store_program create PATH
    python -m tests.store.store_program hold PATH EXPERIMENT

`write` prints a line `CELL SEED` for each trial that the store reported as stored.
"""

from __future__ import annotations

import resource
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from matrixbench.errors import StoreError
from matrixbench.store.database import open_store
from matrixbench.store.locks import ExperimentLock
from tests.store.conftest import maker

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matrixbench.records import Trial


def tell(trials: Sequence[Trial]) -> None:
    """Print which trials were reported as stored, in one piece."""
    lines = [f"{trial.key.cell} {trial.key.seed}\n" for trial in trials]
    sys.stdout.write("".join(lines))
    sys.stdout.flush()


def write(path: Path, cell: str, count: int, most: int | None) -> None:
    """Store trials with seeds from 1 on."""
    if most is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    make = maker()
    with open_store(path, create=True) as store, store.writer(tell) as writer:
        launch = writer.start_launch(make.launch())
        for seed in range(1, count + 1):
            writer.offer(make.trial(launch, cell, seed), make.body)


def hold(path: Path, experiment: str) -> None:
    """Keep an experiment's lock until the input ends."""
    with ExperimentLock(path, experiment, command=["matrixbench", "execute"]):
        sys.stdout.write("held\n")
        sys.stdout.flush()
        sys.stdin.read()


def main(what: str, where: str, *rest: str) -> None:
    """Do what the command line says; end with the exit code of an error of the store."""
    path = Path(where)
    try:
        match what:
            case "write":
                write(path, rest[0], int(rest[1]), int(rest[2]) if rest[2:] else None)
            case "create":
                sys.stdout.write("now\n")
                sys.stdout.flush()
                open_store(path, create=True).close()
            case _:
                hold(path, rest[0])
    except StoreError as error:
        sys.stderr.write(str(error))
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main(*sys.argv[1:])
