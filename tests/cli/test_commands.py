"""Commands, their output and their exit codes, on the scripted backend."""

from __future__ import annotations

import json
import shlex
import sqlite3
import subprocess
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.cli.conftest import CommandLine
    from tests.conftest import Write

EXPERIMENT = """
name: demo
trials: 4
backends: {fake: {kind: scripted, replies: [Paris, London]}}
sampling: {temperature: [null, 0, 1]}
tests:
  - name: capital
    messages: [{role: user, content: "The capital of France?"}]
    expect: [{content: {contains: Paris}}]
  - name: not-a-capital
    messages: [{role: user, content: "A city?"}]
    expect: [{content: {contains: Berlin}}]
"""


def test_plan_counts_and_starts_nothing(cli: CommandLine, write: Write) -> None:
    """The table fits 100 columns, and planning leaves no store behind."""
    write(EXPERIMENT)
    done = cli("plan", "exp.yaml")
    assert done.returncode == 0
    assert "demo: 6 cells in 1 launch; 20 trials: 0 done, 20 to run" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 100
    assert not (cli.folder / ".matrixbench").exists()


def test_plan_speaks_json(cli: CommandLine, write: Write) -> None:
    """A machine gets the same counts, and the cells where it asks for them."""
    write(EXPERIMENT)
    told = json.loads(cli("plan", "exp.yaml", "--json", "--cells").stdout)
    assert {key: told[key] for key in ("experiment", "cells", "trials", "done", "remaining")} == {
        "experiment": "demo",
        "cells": 6,
        "trials": 20,
        "done": 0,
        "remaining": 20,
    }
    assert [launch["why"] for launch in told["launches"]] == [{"new": 20}]
    assert told["not_applicable"] == []
    assert len(told["cell_list"]) == 6


def test_plan_lists_cells(cli: CommandLine, write: Write) -> None:
    """--cells prints one line a cell, with what is done and its coordinates."""
    write(EXPERIMENT)
    lines = cli("plan", "exp.yaml", "--cells").stdout.splitlines()
    assert len(lines) == 6
    assert all("0/" in line and "temperature=" in line for line in lines)


def test_execute_then_resume_then_top_up(cli: CommandLine, write: Write) -> None:
    """A finished run has nothing left; more trials top up and repeat nothing."""
    write(EXPERIMENT)
    first = cli("execute", "exp.yaml", "--json")
    assert first.returncode == 0
    summary = json.loads(first.stdout)
    assert summary["outcomes"] == {"passed": 5, "failed": 15}
    again = cli("execute", "exp.yaml", "--resume", "--json")
    assert (again.returncode, json.loads(again.stdout)["ran"]) == (0, 0)
    more = cli("execute", "exp.yaml", "--resume", "--trials", "6", "--json")
    assert json.loads(more.stdout)["ran"] == 4 * 2
    with sqlite3.connect(cli.folder / ".matrixbench" / "results.db") as store:
        (trials, keys) = store.execute(
            "SELECT count(*), count(DISTINCT cell || seed) FROM trial"
        ).fetchone()
    store.close()
    assert trials == keys == 28


def test_results_are_not_mixed_by_accident(cli: CommandLine, write: Write) -> None:
    """Without --resume or --fresh a run stops where trials are done, and says how many."""
    write(EXPERIMENT)
    cli("execute", "exp.yaml", "--where", "test=capital")
    stopped = cli("execute", "exp.yaml")
    assert stopped.returncode == 2
    assert "10 of 20 selected trials are done" in stopped.stderr
    assert "--resume" in stopped.stderr
    assert "--fresh" in stopped.stderr
    other = cli("execute", "exp.yaml", "--where", "test=not-a-capital", "--json")
    assert json.loads(other.stdout)["ran"] == 10


def test_fresh_starts_over_and_keeps_the_old(cli: CommandLine, write: Write) -> None:
    """A fresh start runs everything again; resuming continues the newest generation."""
    write(EXPERIMENT)
    cli("execute", "exp.yaml")
    fresh = cli("execute", "exp.yaml", "--fresh", "--where", "test=capital", "--json")
    assert json.loads(fresh.stdout)["ran"] == 10
    plan = json.loads(cli("plan", "exp.yaml", "--json").stdout)
    assert (plan["done"], plan["remaining"]) == (20, 0)
    with sqlite3.connect(cli.folder / ".matrixbench" / "results.db") as store:
        (stored,) = store.execute("SELECT count(*) FROM trial").fetchone()
    store.close()
    assert stored == 30


def test_a_changed_check_judges_stored_replies_again(cli: CommandLine, write: Write) -> None:
    """No trial runs again; the verdicts change, and the command says how many."""
    write(EXPERIMENT)
    cli("execute", "exp.yaml")
    write(EXPERIMENT.replace("contains: Berlin", "contains: London"))
    drawn = cli("chart", "exp.yaml", "-o", "map.json")
    assert "10 stored replies judged by the present checks, 5 changed" in drawn.stderr
    resumed = cli("execute", "exp.yaml", "--resume", "--json")
    assert json.loads(resumed.stdout)["ran"] == 0
    write(EXPERIMENT)
    back = cli("chart", "exp.yaml", "-o", "map.json")
    assert "changed" not in back.stderr


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf", "html", "json"])
def test_charts_are_written_by_suffix(cli: CommandLine, write: Write, suffix: str) -> None:
    """Every kind of file is written, and its path printed."""
    write(EXPERIMENT)
    cli("execute", "exp.yaml")
    drawn = cli("chart", "exp.yaml", "-o", f"map.{suffix}")
    assert drawn.returncode == 0, drawn.stderr
    assert drawn.stdout.strip() == f"map.{suffix}"
    assert (cli.folder / f"map.{suffix}").stat().st_size > 1000


def test_several_charts_have_names(cli: CommandLine, write: Write) -> None:
    """Each chart of the file is written under its name; one can be chosen."""
    write(EXPERIMENT + "charts: {a: {x: test}, b: {x: temperature, y: test}}\n")
    cli("execute", "exp.yaml")
    assert cli("chart", "exp.yaml", "-o", "m.svg").stdout.split() == ["m.a.svg", "m.b.svg"]
    assert cli("chart", "exp.yaml", "-o", "m.svg", "--chart", "b").stdout.split() == ["m.svg"]
    assert cli("chart", "exp.yaml", "--chart", "c").returncode == 2
    beside = cli("chart", "exp.yaml", "--chart", "a").stdout.strip()
    assert beside == str(cli.folder / "exp.a.png")


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("execute", "exp.yaml", "--where", "test=nothing"), 3, "no cell is selected"),
        (("plan", "exp.yaml", "--where", "test=nothing"), 3, "no cell is selected"),
        (("execute", "exp.yaml", "--where", "tast=capital"), 2, "perhaps you meant «test»"),
        (("execute", "exp.yaml", "--resume", "--fresh"), 2, "exclude each other"),
        (("execute", "exp.yaml", "--trials", "0"), 2, "--trials"),
        (("chart", "exp.yaml"), 3, "first run: matrixbench execute exp.yaml"),
        (("chart", "exp.yaml", "--metric", "beauty"), 2, "there is no metric"),
        (("plan", "missing.yaml"), 2, "missing.yaml"),
        pytest.param(("plan",), 2, "FILE", marks=pytest.mark.process),
        (("plann", "exp.yaml"), 2, "plann"),
    ],
)
def test_mistakes_have_their_exit_code(
    cli: CommandLine, write: Write, words: tuple[str, ...], code: int, message: str
) -> None:
    """A user's mistake is said in a line or two, without a traceback."""
    write(EXPERIMENT)
    done = cli(*words)
    assert done.returncode == code
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_every_problem_of_a_file_is_reported_at_once(cli: CommandLine, write: Write) -> None:
    """Each problem has its place; nothing is run."""
    write(
        EXPERIMENT.replace("trials: 4", "trails: 4")
        .replace("temperature:", "temprature:")
        .replace("contains: Berlin", "contain: Berlin")
    )
    for command in ("plan", "execute", "chart", "validate"):
        done = cli(command, "exp.yaml")
        assert done.returncode == 2
        assert "«trials»" in done.stderr
        assert "«temperature»" in done.stderr
        assert "«contains»" in done.stderr
        assert "exp.yaml:3:1" in done.stderr


@pytest.mark.parametrize("content", [b"", b"\x00\x01\x02binary", b"- a\n- b\n", b"x" * 50_000_000])
def test_what_is_no_experiment_gets_one_line(cli: CommandLine, content: bytes) -> None:
    """An empty, a binary and a huge file, and a list, are refused in a line each."""
    (cli.folder / "exp.yaml").write_bytes(content)
    done = cli("plan", "exp.yaml")
    assert done.returncode == 2
    assert done.stderr.startswith("error: exp.yaml")
    assert len(done.stderr.splitlines()) <= 2


def test_a_folder_is_no_experiment(cli: CommandLine) -> None:
    """A directory is refused in a line."""
    (cli.folder / "exp.yaml").mkdir()
    done = cli("plan", "exp.yaml")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("content", [b"not a database", b""])
def test_a_store_that_is_not_ours_is_left_alone(
    cli: CommandLine, write: Write, content: bytes
) -> None:
    """Exit 5, and not a byte is changed."""
    write(EXPERIMENT)
    store = cli.folder / "other.db"
    store.write_bytes(content)
    for command in ("plan", "execute", "chart"):
        done = cli(command, "exp.yaml", "--store", "other.db")
        assert done.returncode == 5, done.stderr
    assert store.read_bytes() == content


def test_the_schema_is_printed(cli: CommandLine) -> None:
    """`schema` gives what editors complete from."""
    assert json.loads(cli("schema").stdout)["type"] == "object"


def test_validate_says_that_a_file_is_fine(cli: CommandLine, write: Write) -> None:
    """A good file gets one line and exit 0."""
    write(EXPERIMENT)
    done = cli("validate", "exp.yaml")
    assert (done.returncode, done.stdout) == (0, "exp.yaml: fine (2 tests)\n")


SLOW = EXPERIMENT.replace("replies: [Paris, London]", "replies: [Paris, London], delay_s: 0.01")


@pytest.mark.parametrize("streams", ["2>&-", "2>/dev/full", ">&-", "2>&1 | head -1"])
def test_a_run_does_not_depend_on_being_watched(
    cli: CommandLine, write: Write, streams: str
) -> None:
    """A closed pipe, a closed stream and a full log disk end the view, not the measurement."""
    write(SLOW)
    words = shlex.join(cli.command("execute", "exp.yaml"))
    subprocess.run(
        ["/bin/sh", "-c", f"{words} {streams}"],
        cwd=cli.folder,
        env=cli.environment,
        capture_output=True,
        check=False,
    )
    plan = json.loads(cli("plan", "exp.yaml", "--json").stdout)
    assert (plan["done"], plan["remaining"]) == (20, 0)


@pytest.mark.parametrize(
    ("command", "code"),
    [
        pytest.param("plan exp.yaml", 0, marks=pytest.mark.process),
        ("plan exp.yaml", 0),
        ("plan exp.yaml --cells", 0),
        ("execute exp.yaml --resume", 0),
        ("export exp.yaml --trials", 0),
        ("suites", 0),
        ("schema", 0),
        ("doctor exp.yaml", 0),
        ("status exp.yaml", 0),
        ("show exp.yaml", 0),
        ("show exp.yaml --json", 0),
        ("rank exp.yaml", 0),
        ("compare exp.yaml --baseline temperature=1 --gate", 9),
        pytest.param(
            "compare exp.yaml --baseline temperature=1 --gate", 9, marks=pytest.mark.process
        ),
    ],
)
def test_a_reader_that_goes_away_changes_no_exit_code(
    cli: CommandLine, write: Write, command: str, code: int
) -> None:
    """What `| true` closes at once ends the output, and a gate still says what it found."""
    write(EXPERIMENT)
    cli("execute", "exp.yaml")
    done = cli.unread(*shlex.split(command))
    assert (done.returncode, "Traceback" in done.stderr) == (code, False), done.stderr


def test_what_could_not_be_measured_says_why(cli: CommandLine, write: Write) -> None:
    """The summary names the kind and a reason, for people and for machines; exit 7."""
    write(EXPERIMENT.replace("[Paris, London]", "[Paris, {error: errored}]"))
    done = cli("execute", "exp.yaml")
    assert done.returncode == 7
    assert "not measured: 10 trials, server_error, such as:" in done.stdout


def test_a_chart_with_a_slash_in_its_name_is_one_file(cli: CommandLine, write: Write) -> None:
    """The name becomes part of a file's name, not of its folder."""
    write(EXPERIMENT + "charts: {a/b: {}}\n")
    cli("execute", "exp.yaml")
    assert cli("chart", "exp.yaml").stdout.strip() == str(cli.folder / "exp.a-b.png")


def test_a_charts_title_says_what_was_selected(cli: CommandLine, write: Write) -> None:
    """A picture of a part is not taken for the whole."""
    write(EXPERIMENT)
    cli("execute", "exp.yaml")
    cli("chart", "exp.yaml", "--where", "test=capital", "--where", "temperature=1", "-o", "a.json")
    assert '"demo (test=capital and temperature=1)"' in (cli.folder / "a.json").read_text()
    cli("chart", "demo", "--where", "test=capital", "-o", "b.json")
    assert '"demo (test=capital)"' in (cli.folder / "b.json").read_text()
    cli("chart", "exp.yaml", "-o", "c.json")
    assert "(test=" not in (cli.folder / "c.json").read_text()
