"""Continues an experiment and says how many trials of this run are on the disk by now."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import matrixbench
from matrixbench.execution.events import Event, TrialsStored


def listener(event: Event) -> None:
    """Print what is promised to be stored."""
    if isinstance(event, TrialsStored):
        print(f"stored {event.stored}", flush=True)  # noqa: T201


def main(path: Path, trials: int) -> int:
    """Run what is missing of so many trials a cell; return the exit code of the command."""
    experiment = matrixbench.load_experiment(path, environ=os.environ)
    settings = matrixbench.settings_for(experiment, os.environ)
    summary = asyncio.run(
        matrixbench.execute(
            experiment, settings, mode=matrixbench.Mode.RESUME, trials=trials, listener=listener
        )
    )
    return int(summary.exit_code)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2])))
