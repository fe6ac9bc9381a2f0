"""`doctor`: what this machine has of what an experiment needs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from matrixbench.backends.registry import Severity
from matrixbench.cli.opening import load, settings_of
from matrixbench.cli.shared import AsJson, StorePath, print_json, put
from matrixbench.cli.trust import Trusting, to_look
from matrixbench.doctor.examination import examine, findings_json, lines_of
from matrixbench.errors import ExitCode
from matrixbench.execution.settings import settings_in


def doctor(
    file: Annotated[
        Path | None,
        typer.Argument(metavar="FILE", help="The experiment file.", show_default=False),
    ] = None,
    store: StorePath = None,
    trust: Trusting = False,
    as_json: AsJson = False,
) -> None:
    """Look at what this machine has of what an experiment needs. Exit 0 without a problem, else 4.

    Starts no server, fetches nothing, and asks only servers on this machine.
    """
    experiment = None if file is None else load(file)
    if experiment is None:  # as an experiment in this folder would keep things
        settings = settings_in(Path.cwd(), os.environ, store=store)
    else:
        settings = settings_of(experiment, store)
        settings = to_look(experiment, settings, trust=trust, asking=True)
    findings = []
    for finding in examine(experiment, settings):
        findings.append(finding)
        for line in () if as_json else lines_of(finding):
            put(line)
    if as_json:
        print_json(findings_json(findings))
    if any(finding.level is Severity.PROBLEM for finding in findings):
        raise typer.Exit(ExitCode.NO_SERVER)
