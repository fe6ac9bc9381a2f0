"""`compare --look`, and what the store remembers of looks."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from tests.cli.conftest import CommandLine

if TYPE_CHECKING:
    from pathlib import Path

EXPERIMENT = """
name: demo
trials: TRIALS
sampling: {temperature: 1}
backends:
  old: {kind: scripted, replies: [Paris]}
  new: {kind: scripted, replies: [Paris, Paris!]}
tests:
  - name: capital-{{ n }}
    parameters: {n: [1, 2, 3, 4, 5]}
    messages: [{role: user, content: "{{ n }}: The capital of France?"}]
    expect: [{content: {contains: Paris}}]
"""
AGAINST = ("compare", "exp.yaml", "--baseline", "backend=old", "--gate")


@pytest.fixture
def cli(tmp_path: Path) -> CommandLine:
    """Return the command line in a folder of its own."""
    return CommandLine(folder=tmp_path)


def run(cli: CommandLine, trials: int) -> None:
    """Run the experiment with so many trials a cell."""
    text = EXPERIMENT.replace("TRIALS", str(trials))
    (cli.folder / "exp.yaml").write_text(text, encoding="utf-8")
    assert cli("execute", "exp.yaml", "--resume").returncode == 0


def gate(cli: CommandLine, *more: str) -> tuple[int, dict[str, Any]]:
    """Return exit code and gate as JSON."""
    done = cli(*AGAINST, "--json", *more)
    (candidate,) = json.loads(done.stdout)["candidates"]
    return done.returncode, candidate["gate"]


def kept(cli: CommandLine) -> list[tuple[int, str]]:
    """Return the trials and the verdicts of the looks that the store knows."""
    with closing(sqlite3.connect(cli.folder / ".matrixbench" / "results.db")) as connection:
        return list(connection.execute("SELECT trials, verdict FROM look ORDER BY id"))


def test_trials_added_after_a_look_are_seen_by_bets(cli: CommandLine) -> None:
    """Undecided at 5; at 7 one look would pass, but there was one; at 10 bets pass it."""
    run(cli, 5)
    assert gate(cli)[0] == 9
    assert gate(cli)[0] == 9
    assert kept(cli) == [(5, "undecided")]
    run(cli, 7)
    code, told = gate(cli)
    assert (code, told["look"], told["once"]) == (9, "any", None)
    assert told["looked"]["trials"] == 5
    assert gate(cli, "--look", "once")[0] == 0
    told_in_words = " ".join(cli(*AGAINST).stdout.split())
    assert (
        "a look at 5 trials per cell (undecided), and trials changed in number since"
        in told_in_words
    )
    assert "fresh seeds (--seed-offset) give a fresh look" in told_in_words
    run(cli, 10)
    code, told = gate(cli)
    assert (code, told["look"], told["anytime"]["decided_after"]) == (0, "any", 10)


def test_bets_take_no_look(cli: CommandLine) -> None:
    """Whoever looked by `--look any` still has the one look at the planned number."""
    run(cli, 5)
    assert gate(cli, "--look", "any")[0] == 9
    run(cli, 7)
    assert gate(cli, "--look", "any")[0] == 9
    assert kept(cli) == []
    code, told = gate(cli)
    assert (code, told["look"], told["once"]) == (0, "once", "no worse")
    assert kept(cli) == [(7, "no worse")]


def test_a_store_that_cannot_be_written_is_compared(cli: CommandLine) -> None:
    """The verdict is the same, and the report says that the look is not remembered."""
    run(cli, 7)
    locks = cli.folder / ".matrixbench" / "locks"
    shutil.rmtree(locks)
    locks.write_text("no folder", encoding="utf-8")
    done = cli(*AGAINST)
    assert done.returncode == 0
    assert "this look is not remembered" in " ".join(done.stdout.split())
    assert kept(cli) == []


def test_another_word_is_refused(cli: CommandLine) -> None:
    """`--look twice` is no way of looking: exit 2."""
    run(cli, 5)
    assert cli(*AGAINST, "--look", "twice").returncode == 2
