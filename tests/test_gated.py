"""`run`: a run from code that cannot await."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

import matrixbench
from matrixbench.errors import UsageError
from matrixbench.execution.events import RunStarted, TrialDone
from matrixbench.gated import build_plan

if TYPE_CHECKING:
    from pathlib import Path

    from matrixbench.execution.events import Event
    from tests.conftest import Load, Write

EXPERIMENT = """
name: demo
trials: 6
backends: {fake: {kind: scripted, replies: [Paris], delay_s: 0}}
sampling: {temperature: 1}
tests: [{name: t, messages: [{role: user, content: hi}], expect: [{content: Paris}]}]
"""
INTERRUPTED = """
import matrixbench as mb
def say(event):
    print(type(event).__name__, flush=True)
summary = mb.run(mb.load_experiment("exp.yaml"), listener=say)
print("interrupted", summary.interrupted, summary.ran == summary.outcomes.get("passed", 0))
"""


async def test_it_works_inside_an_event_loop(load: Load) -> None:
    """A notebook runs one; the listener is called in the thread that waits."""
    told: list[Event] = []
    experiment = load(EXPERIMENT)
    summary = matrixbench.run(experiment, listener=told.append)
    assert (summary.ran, summary.remaining) == (6, 0)
    assert isinstance(told[0], RunStarted)
    assert sum(isinstance(event, TrialDone) for event in told) == 6


def test_arguments_and_errors_are_those_of_execute(load: Load) -> None:
    """A mode by its name, a selector by itself; errors arrive as they are."""
    experiment = load(EXPERIMENT)
    assert matrixbench.run(experiment, where="temperature=1", trials=2).ran == 2
    with pytest.raises(UsageError, match="2 of 6 selected trials are done"):
        matrixbench.run(experiment)
    with pytest.raises(UsageError, match="there is no mode «again»") as caught:
        matrixbench.run(experiment, mode="again")
    assert caught.value.hint == "modes: new, resume, fresh"
    assert matrixbench.run(experiment, mode="resume").ran == 4


def test_a_listener_that_fails_stops_the_run(load: Load) -> None:
    """Nothing goes on that nobody can see."""

    def fail(event: Event) -> None:
        if isinstance(event, TrialDone):
            raise RuntimeError("no screen")  # noqa: TRY004  any error

    experiment = load(EXPERIMENT.replace("trials: 6", "trials: 5000"))
    with pytest.raises(RuntimeError, match="no screen"):
        matrixbench.run(experiment, listener=fail)
    assert build_plan(experiment).plan.remaining > 0


def test_an_interruption_returns_what_was_measured(write: Write, tmp_path: Path) -> None:
    """Ctrl-C ends the run in an orderly way, and the summary says so."""
    write(EXPERIMENT.replace("trials: 6", "trials: 100000").replace("delay_s: 0", "delay_s: 0.01"))
    running = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED], cwd=tmp_path, stdout=subprocess.PIPE, text=True
    )
    assert running.stdout is not None
    assert any("TrialDone" in line for line in running.stdout)
    os.kill(running.pid, signal.SIGINT)
    rest, _ = running.communicate(timeout=60)
    assert running.returncode == 0
    assert rest.splitlines()[-1] == "interrupted True True"


def test_a_second_interruption_ends_it_at_once(write: Write, tmp_path: Path) -> None:
    """It does not wait for replies that are on their way."""
    write(EXPERIMENT.replace("delay_s: 0", "delay_s: 3600"))
    running = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert running.stdout is not None
    assert any("LaunchReady" in line for line in running.stdout)
    os.kill(running.pid, signal.SIGINT)
    assert any("Interrupted" in line for line in running.stdout)
    os.kill(running.pid, signal.SIGINT)
    rest, _ = running.communicate(timeout=60)
    assert rest.splitlines()[-1] == "interrupted True True"
