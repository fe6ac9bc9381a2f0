"""`validate`: every problem of an experiment file."""

from __future__ import annotations

from matrixbench.cli.opening import load, settings_of
from matrixbench.cli.shared import File, put
from matrixbench.cli.trust import Trusting, to_look
from matrixbench.execution.preflight import inspect, launches_of
from matrixbench.execution.servers import Servers
from matrixbench.spec.wording import counted


def validate(file: File, trust: Trusting = False) -> None:
    """Check an experiment file: every problem, each with its place.

    Looks for the files that it names too, and asks each llama-server which options it knows,
    where it is trusted.
    """
    experiment = load(file)
    servers = Servers(to_look(experiment, settings_of(experiment, None), trust=trust))
    found = inspect(experiment, launches_of(experiment), servers)
    warnings = (*experiment.warnings, *found.warnings)
    for warning in warnings:
        put(f"warning: {warning}")
    found.refuse()
    told = [counted(len(experiment.tests), "test")]
    if warnings:
        told.append(counted(len(warnings), "warning"))
    put(f"{file}: fine ({', '.join(told)})")
