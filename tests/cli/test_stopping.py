"""Adaptive trials from the command line: cells stop early, and stay so."""

from __future__ import annotations

import json
import sqlite3
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import CommandLine
    from tests.conftest import Write

EXPERIMENT = """
name: demo
trials: {min: 5, max: 40, until: {half_width: 0.1}}
backends:
  fake:
    kind: scripted
    concurrency: 1
    replies: {sure: [Paris], coin: [Paris, London]}
sampling: {temperature: [0, 1]}
tests:
  - name: sure
    messages: [{role: user, content: "The capital of France?"}]
    expect: [{content: {contains: Paris}}]
  - name: coin
    messages: [{role: user, content: "A city?"}]
    expect: [{content: {contains: Paris}}]
"""
GREEDY, SURE, COIN = 2 * 2, 29, 40


def run(cli: CommandLine, *words: str) -> dict[str, Any]:
    """Execute what is missing and return the summary."""
    done = cli("execute", "exp.yaml", "--resume", "--json", *words)
    assert done.returncode == 0, done.stderr
    summary: dict[str, Any] = json.loads(done.stdout)
    return summary


def cells(cli: CommandLine, experiment: str = "exp.yaml") -> dict[str, dict[str, Any]]:
    """Return the exported rows of the cells that are not greedy, by test."""
    lines = cli("export", experiment).stdout.splitlines()
    rows = [json.loads(line) for line in lines]
    return {row["test"]: row for row in rows if not row["greedy"]}


def stored(folder: Path) -> int:
    """Return how many trials the store holds."""
    path = folder / ".matrixbench" / "results.db"
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as store:
        (count,) = store.execute("SELECT count(*) FROM trial").fetchone()
    store.close()
    return int(count)


def test_a_sure_cell_stops_and_a_coin_goes_to_max(cli: CommandLine, write: Write) -> None:
    """29 of 29 are enough for 0.1 a side; half and half is not within 40; greedy ones have two."""
    write(EXPERIMENT)
    plan = cli("plan", "exp.yaml").stdout
    assert "4 cells in 1 launch; 62…84 trials: 0 done, at most 84 to run" in plan
    done = cli("execute", "exp.yaml")
    assert done.returncode == 0, done.stderr
    assert "demo: at most 84 trials to run" in done.stderr
    assert "1 cell stopped early: 11 trials of at most 84 not needed" in done.stdout
    rows = cells(cli)
    assert (rows["sure"]["trials"], rows["coin"]["trials"]) == (SURE, COIN)
    assert (rows["sure"]["stopped"], rows["coin"]["stopped"]) == (True, False)
    assert {row["interval"] for row in rows.values()} == {"sequential"}
    assert rows["sure"]["status"] == "measured"
    assert rows["sure"]["low"] == pytest.approx((0.05 / 30) ** (1 / 29))
    assert stored(cli.folder) == GREEDY + SURE + COIN


def test_a_stopped_cell_is_done(cli: CommandLine, write: Write) -> None:
    """Resuming runs nothing; the plan says how many cells stopped, and what there is in all."""
    write(EXPERIMENT)
    run(cli)
    assert run(cli)["ran"] == 0
    plan = json.loads(cli("plan", "exp.yaml", "--json", "--cells").stdout)
    told = {key: plan[key] for key in ("trials", "least", "done", "remaining", "stopped")}
    all_there = GREEDY + SURE + COIN
    assert told == {
        "trials": all_there,
        "least": all_there,
        "done": all_there,
        "remaining": 0,
        "stopped": 1,
    }
    assert sorted(cell["done"] for cell in plan["cell_list"]) == [2, 2, SURE, COIN]
    assert "73 trials: 73 done, 0 to run; 1 cell stopped early" in cli("plan", "exp.yaml").stdout
    status = cli("status", "exp.yaml").stdout
    assert "73 of 73 trials done, 0 remain; 1 cell stopped early" in status


def test_loosening_deletes_nothing_and_tightening_tops_up(cli: CommandLine, write: Write) -> None:
    """What is there stays and counts; more is run only where it is not enough."""
    write(EXPERIMENT)
    run(cli)
    write(EXPERIMENT.replace("half_width: 0.1", "half_width: 0.3"))
    assert run(cli)["ran"] == 0
    assert [row["trials"] for row in cells(cli).values()] == [SURE, COIN]
    write(EXPERIMENT.replace("half_width: 0.1", "half_width: 0.09"))
    assert run(cli)["ran"] == cells(cli)["sure"]["trials"] - SURE == 4
    write(EXPERIMENT.replace("max: 40", "max: 50"))
    assert run(cli)["ran"] == 10
    assert cells(cli)["coin"]["trials"] == 50
    write(EXPERIMENT.replace("{min: 5, max: 40, until: {half_width: 0.1}}", "50"))
    assert run(cli)["ran"] == 50 - 33
    assert {row["interval"] for row in cells(cli).values()} == {"wilson"}


def test_a_number_on_the_command_line_is_fixed(cli: CommandLine, write: Write) -> None:
    """--trials overrides the file's range as it overrides a number."""
    write(EXPERIMENT)
    assert run(cli, "--trials", "35")["ran"] == GREEDY + 35 + 35
    assert run(cli)["ran"] == 5
    assert cells(cli)["sure"]["trials"] == 35


def test_a_changed_check_changes_who_has_stopped(cli: CommandLine, write: Write) -> None:
    """Who has enough is derived from the stored replies by today's checks; plan writes nothing."""
    either = EXPERIMENT.replace("{contains: Paris}", "{matches: '^(Paris|London)$'}")
    write(either)
    run(cli)
    assert [row["stopped"] for row in cells(cli).values()] == [True, True]
    write(EXPERIMENT)
    before = (cli.folder / ".matrixbench" / "results.db").read_bytes()
    plan = json.loads(cli("plan", "exp.yaml", "--json").stdout)
    assert (plan["stopped"], plan["remaining"]) == (1, COIN - SURE)
    assert (cli.folder / ".matrixbench" / "results.db").read_bytes() == before
    assert run(cli)["ran"] == COIN - SURE
    assert [row["stopped"] for row in cells(cli).values()] == [True, False]
    write(either)
    assert run(cli)["ran"] == 0


def test_a_killed_run_goes_on_where_it_was(cli: CommandLine, write: Write) -> None:
    """After SIGKILL nothing that is there runs again, and a cell that has stopped stays so."""
    write(EXPERIMENT.replace("concurrency: 1", "concurrency: 1\n    delay_s: 0.01"))
    running = cli.start("execute", "exp.yaml")
    while running.poll() is None:
        with suppress(sqlite3.OperationalError):  # until the store is there
            if stored(cli.folder) > GREEDY + 2 * SURE:
                running.kill()
    running.communicate()
    before = stored(cli.folder)
    assert before + run(cli)["ran"] == stored(cli.folder) == GREEDY + SURE + COIN
    assert cells(cli)["sure"]["trials"] == SURE


def test_errored_trials_are_not_counted_and_run_again(cli: CommandLine, write: Write) -> None:
    """What was not measured is no evidence: the cell needs 29 that were."""
    script = "[" + ", ".join(["{error: errored}"] * 3 + ["Paris"] * 37) + "]"
    write(EXPERIMENT.replace("sure: [Paris]", f"sure: {script}"))
    done = cli("execute", "exp.yaml", "--where", "test=sure and temperature=1", "--json")
    assert done.returncode == 7
    assert json.loads(done.stdout)["outcomes"] == {"errored": 3, "passed": 29}
    plan = json.loads(cli("plan", "exp.yaml", "--where", "test=sure", "--json").stdout)
    assert plan["stopped"] == 1


def test_the_store_knows_it_without_the_file(cli: CommandLine, write: Write) -> None:
    """By its name alone the experiment is shown with the same intervals and marks."""
    write(EXPERIMENT)
    run(cli)
    by_file = cells(cli)
    (cli.folder / "exp.yaml").unlink()
    by_name = cells(cli, "demo")
    for test, row in by_name.items():
        for column in ("planned", "stopped", "trials", "low", "high", "interval", "status"):
            assert row[column] == by_file[test][column]


def test_a_max_that_nothing_can_reach_is_noted(cli: CommandLine, write: Write) -> None:
    """A max that nothing can reach is noted, and every cell gets all its trials."""
    write(EXPERIMENT.replace("max: 40", "max: 20"))
    plan = cli("plan", "exp.yaml").stdout
    assert "note: no cell can stop early: a half-width of 0.1 takes 29 trials" in plan
    assert "44 trials: 0 done, 44 to run" in plan
    summary = run(cli)
    assert (summary["ran"], summary["stopped"], summary["spared"]) == (44, 0, 0)


def test_compare_says_that_trials_are_adaptive(cli: CommandLine, write: Write) -> None:
    """Cells that stopped early are compared by what holds all the same, and the report says so."""
    script = "replies: {sure: [Paris], coin: [Paris, London]}"
    other = (
        "  other:\n    kind: scripted\n    concurrency: 1\n    replies: {coin: [Paris], '*': [x]}\n"
    )
    write(EXPERIMENT.replace(f"    {script}\n", f"    {script}\n{other}"))
    run(cli)
    words = ("compare", "exp.yaml", "--baseline", "backend=fake")
    assert "trials are adaptive: test and interval are those that hold" in cli(*words).stdout
    told = json.loads(cli(*words, "--json").stdout)["candidates"][0]
    assert told["overall"]["adaptive"]
    tests = {cell["coordinates"]["test"]: cell["test"] for cell in told["cells"] if cell["test"]}
    assert set(tests) == {"sure", "coin"}
    assert all(test.startswith("sequential") for test in tests.values())
