"""A command that runs in the tests' own process does what its own process would do."""

from __future__ import annotations

import os
import re
import signal
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.cli.conftest import CommandLine
    from tests.conftest import Write

EXPERIMENT = """
name: demo
trials: 2
canary: false
backends: {fake: {kind: scripted, replies: [Paris, London]}}
tests:
  - name: capital
    messages: [{role: user, content: "The capital of France?"}]
    expect: [{python: own:judged}]
"""
CHECK = """
import os, sys

def judged(reply):
    print("told by the check")
    os.write(2, b"told past Python\\n")
    return "Paris" in reply.content
"""


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("plan", "exp.yaml", "--json"), 0),
        (("plan", "exp.yaml", "--where", "test=nothing"), 3),
        (("plan", "exp.yaml", "--wrong"), 2),
        (("validate", "exp.yaml"), 0),
        (("execute", "exp.yaml", "--fresh", "--json"), 0),
        (("status", "exp.yaml"), 0),
        ((), 2),
    ],
)
def test_it_says_the_same_and_ends_the_same(
    cli: CommandLine, write: Write, words: tuple[str, ...], code: int
) -> None:
    """Exit code, standard output and standard error, down to what a check prints."""
    write(EXPERIMENT)
    write(CHECK, "own.py")
    here, apart = replace(cli, apart=False)(*words), cli.process(*words)
    assert (here.returncode, apart.returncode) == (code, code), here.stderr
    assert steady(here.stderr) == steady(apart.stderr)
    assert steady(here.stdout) == steady(apart.stdout)
    assert ("told past Python" in here.stderr) is (words[:1] == ("execute",))


def steady(text: str) -> list[str]:
    """Return the lines with what they tell of time left out."""
    timeless = re.sub(r"(ready after|done in) [\d.]+ s", r"\1 a while", text)
    return [line for line in timeless.splitlines() if '"seconds":' not in line]


def test_it_leaves_nothing(cli: CommandLine, write: Write) -> None:
    """Folder, environment, streams, arguments, handlers, import path and modules are as before."""

    def state() -> list[object]:
        return [
            Path.cwd(),
            dict(os.environ),
            [sys.stdin, sys.stdout, sys.stderr, list(sys.argv), list(sys.path)],
            [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)],
            threading.active_count(),
            sorted(file.name for file in Path("/dev/fd").iterdir()),
            [name for name in sys.modules if name.startswith("_matrixbench_own_")],
        ]

    write(EXPERIMENT)
    write(CHECK, "own.py")
    assert replace(cli, apart=False)("execute", "exp.yaml").returncode == 0  # imports what it needs
    before = state()
    assert replace(cli, apart=False)("execute", "exp.yaml", "--fresh").returncode == 0
    assert state() == before
