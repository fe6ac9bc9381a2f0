"""`status`: what is done, what remains, what could not be measured."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from matrixbench.execution.settings import settings_for
from matrixbench.gated import build_plan
from matrixbench.results.experiment import open_results
from matrixbench.results.status import status_of
from matrixbench.store.database import open_store
from matrixbench.store.rows import LaunchRecord
from tests.output.conftest import EXPERIMENT

if TYPE_CHECKING:
    from tests.cli.conftest import CommandLine
    from tests.conftest import Load, Write


def test_before_anything_ran(cli: CommandLine, write: Write) -> None:
    """Everything remains; no store is made, nothing is started."""
    write(EXPERIMENT)
    done = cli("status", "exp.yaml")
    assert done.returncode == 0, done.stderr
    assert "demo: 0 of 16 trials done, 16 remain" in done.stdout
    assert "nothing has been measured yet" in done.stdout
    assert not (cli.folder / ".matrixbench").exists()


def test_half_way(cli: CommandLine, write: Write) -> None:
    """What is done and what came of it is counted for each launch."""
    write(EXPERIMENT)
    cli("execute", "exp.yaml", "--where", "temperature=1")
    done = cli("status", "exp.yaml")
    assert "demo: 8 of 16 trials done, 8 remain" in done.stdout
    assert "3 passed, 5 failed" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 100
    told = json.loads(cli("status", "exp.yaml", "--json").stdout)
    assert (told["done"], told["remaining"]) == (8, 8)
    assert told["outcomes"] == {"passed": 3, "failed": 5}
    assert told["launches"][0]["outcomes"] == told["outcomes"]
    assert told["launches"][0]["given_up"] is None


def test_what_could_not_be_measured(cli: CommandLine, write: Write) -> None:
    """Errored trials are counted by kind with an example, and they remain to be done."""
    write(EXPERIMENT.replace("[Paris, London, Paris, Paris]", "[Paris, {error: errored}]"))
    assert cli("execute", "exp.yaml").returncode == 7
    said = cli("status", "exp.yaml").stdout
    assert "demo: 8 of 16 trials done, 8 remain" in said
    assert "8  server_error, for example: the script says errored" in said
    told = json.loads(cli("status", "exp.yaml", "--json").stdout)
    assert told["unmeasured"] == [
        {"kind": "server_error", "count": 8, "example": "the script says errored"}
    ]


def test_one_reply_to_several_seeds_is_flagged(cli: CommandLine, write: Write) -> None:
    """Cells that are not greedy and gave one reply only are named, with their trials."""
    replies = "{capital: [Paris], '*': [Paris, Rome]}"
    text = EXPERIMENT.replace("[Paris, London, Paris, Paris]", replies)
    write(text.replace("[null, 1]", "[0, 1]"))
    cli("execute", "exp.yaml")
    said = cli("status", "exp.yaml").stdout
    assert "one reply to several seeds: 1 cell (look with show --distinct)" in said
    assert "  4 trials, 1 distinct reply: temperature=1 · capital\n" in said
    part = cli("status", "exp.yaml", "--where", "test=capital and temperature=1").stdout
    assert "  4 trials, 1 distinct reply: temperature=1 · capital\n" in part
    (found,) = json.loads(cli("status", "exp.yaml", "--json").stdout)["one_reply"]
    assert (found["coordinates"]["test"], found["trials"]) == ("capital", 4)
    told = cli("show", "exp.yaml", "--where", "test=capital").stdout
    assert told.count("not greedy, yet the same") == 1
    filtered = cli("show", "exp.yaml", "--where", "test=capital", "--outcome", "passed").stdout
    assert "not greedy, yet the same" not in filtered


def test_a_launch_that_was_given_up_says_why(load: Load) -> None:
    """The error of its newest run is told; a later run without one clears it."""
    experiment = load(EXPERIMENT)
    settings = settings_for(experiment, {})
    (launch,) = build_plan(experiment, settings).matrix.launches
    record = LaunchRecord(
        experiment="demo",
        digest=launch.launch.digest,
        name=launch.launch.name,
        build=None,
        started_at=1.0,
        request_timeout_s=1.0,
    )
    told = []
    for error in ("it died", None):
        with open_store(settings.store, create=True) as store, store.writer() as writer:
            writer.end_launch(writer.start_launch(record), ended_at=2.0, error=error)
        with open_results(experiment, settings) as results:
            (status,) = status_of(results).launches
        told.append(status.given_up)
    assert told == ["it died", ""]
