"""`suites`: the suites of tests that ship, or the tests of one."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from matrixbench.cli.shared import AsJson, print_json
from matrixbench.output.suites import print_suite, print_suites, suite_json
from matrixbench.output.text import console
from matrixbench.spec.suites import list_suite, shipped_suites


def suites(
    suite: Annotated[
        str | None,
        typer.Argument(
            metavar="SUITE",
            help="As after `suite:` in an experiment: a shipped suite's name, a file, or "
            "package:path/in/it.yaml.",
            show_default=False,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the suites of tests that ship, or the tests of a suite.

    Of each test its tags are told, and what it probes.
    """
    names = shipped_suites() if suite is None else (suite,)
    listed = [list_suite(name, base=Path.cwd(), environ=os.environ) for name in names]
    if as_json:
        told = [suite_json(each) for each in listed]
        print_json(told if suite is None else told[0])
    elif suite is None:
        print_suites(listed, console(sys.stdout))
    else:
        print_suite(listed[0], console(sys.stdout))
