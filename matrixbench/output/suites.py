"""Suites of tests, as people and machines read them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from matrixbench.output.text import Column, print_table, prose, whole

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from matrixbench.records import JsonObject
    from matrixbench.spec.suites import ListedSuite


def print_suites(suites: Sequence[ListedSuite], out: Console) -> None:
    """Print one row a suite: its name, how many tests it has, their tags, and what it probes."""
    columns = [
        Column("tests", [f"{len(suite.cases):,}" for suite in suites]),
        Column("tags", [", ".join(suite.tags) for suite in suites], prose=True),
        Column(
            "what it probes",
            [_first_sentence(suite.description) for suite in suites],
            prose=True,
        ),
    ]
    print_table("suite", [suite.reference for suite in suites], columns, out)


def print_suite(suite: ListedSuite, out: Console) -> None:
    """Print a suite and one row for each of its tests."""
    if suite.description:
        prose(suite.description, out, lead=suite.name)
    else:
        whole(suite.name, out, "bold")
    out.print()
    tests = [case.test for case in suite.cases]
    columns = [
        Column("tags", [", ".join(test.tags) for test in tests], prose=True),
        Column("what it probes", [test.description for test in tests], prose=True),
    ]
    print_table("test", [test.name for test in tests], columns, out)


def _first_sentence(text: str) -> str:
    found = re.match(r".*?[.?!](?=\s|$)", text, re.DOTALL)
    return found.group() if found else text


def suite_json(suite: ListedSuite) -> JsonObject:
    """Return a suite for a machine."""
    return {
        "suite": suite.reference,
        "name": suite.name,
        "description": suite.description,
        "tags": list(suite.tags),
        "tests": [
            {
                "test": case.test.name,
                "description": case.test.description,
                "tags": list(case.test.tags),
                "parameters": case.parameters,
            }
            for case in suite.cases
        ],
    }
