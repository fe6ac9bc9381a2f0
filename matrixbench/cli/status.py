"""`status`: what is done, what remains, and what could not be measured."""

from __future__ import annotations

import sys

from matrixbench.cli.opening import OfFile
from matrixbench.cli.shared import AsJson, print_json, say
from matrixbench.output.status import print_status, status_json
from matrixbench.output.text import console
from matrixbench.results.experiment import open_results
from matrixbench.results.status import status_of


def status(*, source: OfFile, as_json: AsJson = False) -> None:
    """Show what is done, what remains, and what could not be measured. Starts nothing."""
    experiment = source.load()
    settings = source.to_look(experiment)
    with open_results(
        experiment, settings, where=source.where or (), unmeasured=True, say=say
    ) as results:
        assert results.prepared is not None  # noqa: S101  results of a file have their plan
        found = status_of(results)
        if as_json:
            print_json(status_json(results.prepared, found))
        else:
            print_status(results.prepared, found, console(sys.stdout))
