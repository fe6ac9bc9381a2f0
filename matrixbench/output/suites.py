"""Suites of tests, as people and machines read them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from rich.text import Text

from matrixbench.output.tables import bare_table

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import Console
    from rich.table import Table

    from matrixbench.records import JsonObject
    from matrixbench.spec.suites import ListedSuite


def print_suites(suites: Iterable[ListedSuite], out: Console) -> None:
    """Print one row a suite: its name, how many tests it has, their tags, and what it probes."""
    table = _table("suite")
    table.add_column("tests", justify="right", no_wrap=True)
    table.add_column("tags", max_width=36)
    table.add_column("what it probes")
    for suite in suites:
        tags = ", ".join(suite.tags)
        table.add_row(
            Text(suite.reference),
            f"{len(suite.cases):,}",
            Text(tags),
            Text(_first_sentence(suite.description)),
        )
    out.print(table)


def print_suite(suite: ListedSuite, out: Console) -> None:
    """Print a suite and one row for each of its tests."""
    out.print(
        Text.assemble((suite.name, "bold"), ": " if suite.description else "", suite.description)
    )
    out.print()
    table = _table("test")
    table.add_column("tags", max_width=22)
    table.add_column("what it probes")
    for case in suite.cases:
        test = case.test
        table.add_row(Text(test.name), Text(", ".join(test.tags)), Text(test.description))
    out.print(table)


def _first_sentence(text: str) -> str:
    found = re.match(r".*?[.?!](?=\s|$)", text, re.DOTALL)
    return found.group() if found else text


def _table(first: str) -> Table:
    table = bare_table()
    table.add_column(first, overflow="fold")
    return table


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
