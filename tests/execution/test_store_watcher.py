"""Two experiments that share a store, and cells, and run at the same time."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from matrixbench.execution.events import LaunchSkipped, LaunchStarting, RunStarted
from matrixbench.execution.settings import settings_for
from matrixbench.gated import execute
from matrixbench.spec.load import load_experiment

if TYPE_CHECKING:
    from pathlib import Path

    from matrixbench.execution.events import Event
    from matrixbench.spec.load import Experiment
    from tests.conftest import Write

FILE = """
name: {name}
trials: 3
backends:
  first: {{kind: scripted, replies: [a, b]}}
  second: {{kind: scripted, replies: [c, d]}}
sampling: {{temperature: 1}}
tests: [{{name: t, messages: [{{role: user, content: hi}}], expect: [{{content: a}}]}}]
"""


@pytest.fixture
def both(write: Write) -> tuple[Experiment, Experiment]:
    """Return two experiments of the same cells, which share a store."""
    one, other = (write(FILE.format(name=name), f"{name}.yaml") for name in ("one", "other"))
    return load_experiment(one, environ={}), load_experiment(other, environ={})


def run_beside(experiment: Experiment) -> None:
    """Run an experiment to its end, in a thread and a loop of its own."""

    def run() -> None:
        asyncio.run(execute(experiment, settings_for(experiment, {}), mode="resume"))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()


def seeds(folder: Path) -> Counter[tuple[str, int]]:
    """Return how often each trial of a cell was run."""
    connection = sqlite3.connect(folder / ".matrixbench" / "results.db")
    try:
        return Counter(connection.execute("SELECT cell, seed FROM trial").fetchall())
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("moment", "skipped"), [(RunStarted, ["first", "second"]), (LaunchStarting, ["second"])]
)
async def test_what_another_experiment_has_done_meanwhile_is_not_repeated(
    both: tuple[Experiment, Experiment], tmp_path: Path, moment: type[Event], skipped: list[str]
) -> None:
    """Neither where no server was started yet, nor where one was just being started."""
    one, other = both
    told: list[Event] = []

    def listener(event: Event) -> None:
        if isinstance(event, moment) and not any(isinstance(old, moment) for old in told):
            run_beside(other)
        told.append(event)

    summary = await execute(one, settings_for(one, {}), mode="resume", listener=listener)
    assert (summary.ran, summary.remaining) == (0, 0)
    assert [event for event in told if isinstance(event, LaunchSkipped)] == [
        LaunchSkipped(name=f"{name} · default · native", trials=3) for name in skipped
    ]
    assert len(found := seeds(tmp_path)) == 6
    assert set(found.values()) == {1}


async def test_a_fresh_run_counts_nobody_elses_trials(
    both: tuple[Experiment, Experiment], tmp_path: Path
) -> None:
    """Who starts over wants trials of this run."""
    one, other = both

    def listener(event: Event) -> None:
        if isinstance(event, RunStarted):
            run_beside(other)

    summary = await execute(one, settings_for(one, {}), mode="fresh", listener=listener)
    assert summary.ran == 6
    assert set(seeds(tmp_path).values()) == {2}


async def test_a_run_leaves_no_reply_unjudged(write: Write) -> None:
    """Tests that differ in their checks alone share trials; both have judged them afterwards."""
    text = FILE.format(name="one").replace("expect: [{content: a}]}]", "expect: [{content: a}]}")
    again = (
        text.splitlines()[-1]
        .replace("tests: [{name: t", "{name: u")
        .replace("content: a", "content: b")
    )
    path = write(f"{text.rstrip()},\n  {again}]\n")
    experiment = load_experiment(path, environ={})
    told: list[Event] = []
    settings = settings_for(experiment, {})
    summary = await execute(experiment, settings, mode="resume", listener=told.append)
    assert summary.ran == 6
    told.clear()
    await execute(experiment, settings, mode="resume", listener=told.append)
    assert [type(event) for event in told] == [RunStarted]
