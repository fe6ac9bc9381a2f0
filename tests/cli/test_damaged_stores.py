"""Damage that SQLite does not see."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from matrixbench.store.connection import connect_reading, find_damage

if TYPE_CHECKING:
    from tests.cli.conftest import CommandLine
    from tests.conftest import Write

EXPERIMENT = """
name: demo
trials: 2
backends: {fake: {kind: scripted, replies: [Paris, London]}}
tests:
  - name: capital
    messages: [{role: user, content: "The capital of France?"}]
    expect: [{content: {contains: Paris}}]
"""

CHANGES = {
    "UPDATE trial SET latency_s = 'fast'": "trial.latency_s holds a value of another type",
    "UPDATE verdict SET outcome = 'maybe'": "verdict.outcome holds no outcome",
    "UPDATE reply SET message = substr(message, 1, 9)": "reply.message holds text that is no JSON",
    "UPDATE experiment_launch SET coordinates = x'00'": "experiment_launch.coordinates holds a "
    "value of another type",
    "DELETE FROM build": "names a row of build that is not there",
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_is_wrong_is_named(cli: CommandLine, write: Write, change: str) -> None:
    """The table, the column and what is wrong there; a whole store has nothing."""
    write(EXPERIMENT)
    assert cli("execute", "exp.yaml").returncode == 0
    path = cli.folder / ".matrixbench" / "results.db"
    with closing(connect_reading(path)) as connection:
        assert find_damage(connection) == ""
    with closing(sqlite3.connect(path)) as store:
        store.execute(change)
        store.commit()
    with closing(connect_reading(path)) as connection:
        assert CHANGES[change] in find_damage(connection)
    for words in (("show",), ("status",), ("rank",), ("export", "--trials"), ("plan",)):
        done = cli(words[0], "exp.yaml", *words[1:])
        assert done.returncode in {0, 3, 5}, done.stderr
        if done.returncode == 5:
            assert CHANGES[change] in done.stderr
