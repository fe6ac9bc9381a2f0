"""What tests of results share: the command line in an empty folder, and an experiment."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.cli.conftest import CommandLine
    from tests.conftest import Write

EXPERIMENT = """
name: demo
trials: 4
backends: {fake: {kind: scripted, replies: [Paris, London, Paris, Paris]}}
sampling: {temperature: [null, 1]}
tests:
  - name: capital
    messages: [{role: user, content: "The capital of France?"}]
    expect: [{content: {contains: Paris}}]
  - name: city
    messages: [{role: user, content: "A city?"}]
    expect: [{content: {contains: Berlin}}]
"""


@pytest.fixture
def demo(cli: CommandLine, write: Write) -> CommandLine:
    """Return the command line in a folder in which the experiment has been run."""
    write(EXPERIMENT)
    assert cli("execute", "exp.yaml").returncode == 0
    return cli
