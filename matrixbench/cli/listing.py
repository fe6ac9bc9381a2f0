"""The command that lists suites of tests: `suites`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from matrixbench.cli.shared import AsJson, print_json

Reference = Annotated[
    str | None,
    typer.Argument(
        metavar="SUITE",
        help="As after `suite:` in an experiment: a shipped suite's name, a file, or "
        "package:path/in/it.yaml.",
        show_default=False,
    ),
]


def suites(suite: Reference = None, as_json: AsJson = False) -> None:
    """List the suites of tests that ship, or the tests of a suite.

    Of each test its tags are told, and what it probes.
    """
    from matrixbench.output import suites as shown  # noqa: PLC0415  deferred: --help stays fast
    from matrixbench.output.tables import console  # noqa: PLC0415  the same
    from matrixbench.spec.suites import (  # noqa: PLC0415
        list_suite,
        shipped_suites,
    )

    names = shipped_suites() if suite is None else (suite,)
    listed = [list_suite(name, base=Path.cwd(), environ=os.environ) for name in names]
    if as_json:
        told = [shown.suite_json(each) for each in listed]
        print_json(told if suite is None else told[0])
    elif suite is None:
        shown.print_suites(listed, console(sys.stdout))
    else:
        shown.print_suite(listed[0], console(sys.stdout))
