"""The command that looks at this machine: `doctor`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from matrixbench.cli.shared import AsJson, StorePath, load, print_json, put, settings_of
from matrixbench.errors import ExitCode

if TYPE_CHECKING:
    from matrixbench.run.settings import Settings

MaybeFile = Annotated[
    Path | None,
    typer.Argument(metavar="FILE", help="The experiment file.", show_default=False),
]


def doctor(file: MaybeFile = None, store: StorePath = None, as_json: AsJson = False) -> None:
    """Look at what this machine has of what an experiment needs. Exit 0 without a problem, else 4.

    Starts no server, fetches nothing, and asks only servers on this machine.
    """
    from matrixbench.doctor.examination import examine, findings_json, lines_of  # noqa: PLC0415
    from matrixbench.doctor.findings import Severity  # noqa: PLC0415  the same

    experiment = None if file is None else load(file)
    settings = _here(store) if experiment is None else settings_of(experiment, store)
    findings = []
    for finding in examine(experiment, settings):
        findings.append(finding)
        for line in () if as_json else lines_of(finding):
            put(line)
    if as_json:
        print_json(findings_json(findings))
    if any(finding.level is Severity.PROBLEM for finding in findings):
        raise typer.Exit(ExitCode.NO_SERVER)


def _here(store: Path | None) -> Settings:
    """Return where an experiment in this folder would keep things."""
    from matrixbench.run.settings import settings_in  # noqa: PLC0415  as above

    return settings_in(Path.cwd(), os.environ, store=store)
