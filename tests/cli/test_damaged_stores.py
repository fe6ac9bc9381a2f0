"""Damage that SQLite does not see."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from matrixbench.store import reading
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
    "UPDATE reply SET message = '[]'": "reply.message holds JSON of another shape",
    "UPDATE verdict SET verdicts = '[{}]'": "verdict.verdicts holds what cannot be read",
    "UPDATE verdict SET verdicts = '[1]'": "verdict.verdicts holds what cannot be read",
    "UPDATE reply SET reading = '[null, null, [[1]]]'": "reply.reading holds what cannot be read",
    "UPDATE launch SET origin = '{}'": "launch.origin holds what cannot be read",
    "DELETE FROM verdict": "2 trials have neither an outcome nor a verdict",
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


def test_a_fault_of_our_own_is_not_the_store_s(
    cli: CommandLine, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever stumbles over a store that is whole has a bug: exit 1, and not a word of damage."""
    write(EXPERIMENT)
    assert cli("execute", "exp.yaml").returncode == 0

    def stumble(*_: object) -> None:
        raise TypeError("ours")

    monkeypatch.setattr(reading, "kind_from", stumble)
    done = cli("show", "exp.yaml", "--outcome", "failed")
    assert done.returncode == 1
    assert "TypeError: ours" in done.stderr
    assert "the store is damaged" not in done.stderr
