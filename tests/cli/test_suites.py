"""`matrixbench suites`: what ships, and what the tests of a suite probe."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.cli.conftest import ROOT, CommandLine

if TYPE_CHECKING:
    from tests.conftest import Write

MINE = """\
name: capitals
description: Does the model know its geography? It needs no tools.
tests:
  - name: capital-of-{{ country }}
    description: A fact that every model has read.
    tags: [facts, "{{ country }}"]
    parameters: {country: [France, Japan]}
    messages: [{role: user, content: "The capital of {{ country }}?"}]
    expect: []
"""


def test_shipped_suites_are_listed(cli: CommandLine) -> None:
    """Each has its name, its number of tests, its tags and the first sentence about it."""
    done = cli("suites")
    assert (done.returncode, done.stderr) == (0, "")
    line = next(line for line in done.stdout.splitlines() if line.startswith("tool-calling"))
    assert line.split()[:6] == ["tool-calling", "3", "call,", "result", "Does", "the"]
    assert "MIT licence" not in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 100


@pytest.mark.parametrize("reference", ["mine.yaml", "${EVALS}/mine.yaml"])
def test_the_tests_of_a_suite_are_listed(
    cli: CommandLine, write: Write, reference: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file serves as well, its parameters filled in, and a machine gets the same."""
    write(MINE, "mine.yaml")
    monkeypatch.setenv("EVALS", str(cli.folder))
    shown = cli("suites", reference).stdout.splitlines()
    assert shown[0] == "capitals: Does the model know its geography? It needs no tools."
    assert shown[3].startswith("capital-of-France")
    told = json.loads(cli("suites", reference, "--json").stdout)
    assert (told["suite"], told["name"]) == (reference, "capitals")
    assert told["tags"] == ["facts", "France", "Japan"]
    assert told["tests"][1] == {
        "test": "capital-of-Japan",
        "description": "A fact that every model has read.",
        "tags": ["facts", "Japan"],
        "parameters": {"country": "Japan"},
    }
    every = json.loads(cli("suites", "--json").stdout)
    assert "tool-calling" in [suite["suite"] for suite in every]


def test_a_suite_that_is_wrong_or_missing_is_a_mistake_of_usage(
    cli: CommandLine, write: Write
) -> None:
    """Every problem is told at once, with its place where it has one."""
    write(MINE.replace("description: A", "discription: A").replace("expect", "expct"), "mine.yaml")
    done = cli("suites", "mine.yaml")
    assert done.returncode == 2
    assert "mine.yaml:5:5: unknown key «discription» in tests[0]" in done.stderr
    assert "mine.yaml:9:5: unknown key «expct» in tests[0]" in done.stderr
    assert "2 problems" in done.stderr
    done = cli("suites", "tool-caling")
    assert done.returncode == 2
    assert done.stderr.startswith("error: no suite called «tool-caling» ships with matrixbench\n")
    assert "perhaps you meant «tool-calling»" in done.stderr


def test_a_package_can_bring_its_suite_and_its_own_checks(cli: CommandLine, write: Write) -> None:
    """What a suite in a package names under `python:` is imported from the package."""
    write("", "site/my_evals/__init__.py")
    write("def polite(reply):\n    return 'please' in reply.content\n", "site/my_evals/checks.py")
    write(
        """
        name: manners
        tests:
          - name: asks-{{ how }}
            parameters: {how: [nicely, curtly]}
            messages: [{role: user, content: "Ask me for the salt, {{ how }}."}]
            expect: [{python: "my_evals.checks:polite"}]
        """,
        "site/my_evals/suites/manners.yaml",
    )
    write(
        """
        name: demo
        trials: 1
        backends:
          fake: {kind: scripted, replies: {asks-nicely: [Salt please], asks-curtly: [Salt]}}
        tests: [{suite: "my_evals:suites/manners.yaml"}]
        """
    )
    path = os.pathsep.join((str(ROOT), str(cli.folder / "site")))
    done = replace(cli, env={"PYTHONPATH": path})("execute", "exp.yaml")
    assert (done.returncode, "1 passed" in done.stdout) == (0, True), done.stderr
    assert "1 failed" in done.stdout
