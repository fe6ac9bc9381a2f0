"""Ctrl-C where no request is in flight: it ends the command where it stands."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import CommandLine
    from tests.conftest import Write

EXPERIMENT = """
name: demo
trials: 3
backends: {fake: {kind: scripted, replies: [Paris]}}
sampling: {temperature: [1]}
tests:
  - name: city
    messages: [{role: user, content: "A city?"}]
    expect: [{python: "own:fine", timeout_s: 600}]
"""
FINE = "def fine(reply): return True\n"
ENDLESS = """
from pathlib import Path

def fine(reply):
    with Path(__file__).with_name("judging").open("w") as judging:
        judging.write("x")
    while True:
        pass
"""


@pytest.fixture
def judging(tmp_path: Path) -> Path:
    """Return a pipe from which can be read once the endless check is at work."""
    os.mkfifo(tmp_path / "judging")
    return tmp_path / "judging"


@pytest.mark.parametrize(
    ("command", "number"),
    [
        (("execute", "--resume"), signal.SIGINT),
        (("execute", "--resume"), signal.SIGTERM),
        (("status",), signal.SIGINT),
        (("show",), signal.SIGINT),
    ],
)
def test_one_signal_ends_judging_again(
    cli: CommandLine, write: Write, judging: Path, command: tuple[str, ...], number: int
) -> None:
    """Whatever is left to judge; nothing is lost, and the next run judges it."""
    write(EXPERIMENT)
    write(FINE, "own.py")
    assert cli("execute", "exp.yaml").returncode == 0
    write(ENDLESS, "own.py")
    running = cli.start(command[0], "exp.yaml", *command[1:])
    with running:
        assert judging.read_text() == "x"
        running.send_signal(number)
        out, errors = running.communicate()
    assert (running.returncode, out) == (130, ""), errors
    assert errors.endswith("interrupted\n")
    assert "Traceback" not in errors
    write(FINE + "\n", "own.py")
    done = cli("execute", "exp.yaml", "--resume")
    assert (done.returncode, "3 stored replies" in done.stderr) == (0, True), done.stderr


def test_a_signal_while_modules_are_imported_ends_without_a_traceback(tmp_path: Path) -> None:
    """The handler is there before what takes its time is imported."""
    os.mkfifo(tmp_path / "importing")
    (tmp_path / "typer.py").write_text(
        "import time\nfrom pathlib import Path\n"
        "Path(__file__).with_name('importing').write_text('x')\n"
        "time.sleep(3600)\n",
        encoding="utf-8",
    )
    with subprocess.Popen(
        [sys.executable, "-m", "matrixbench", "--help"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert (tmp_path / "importing").read_text() == "x"
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate()
    assert (process.returncode, errors) == (130, "interrupted\n")


@pytest.mark.parametrize("command", ["execute", "status", "plan", "export"])
def test_a_store_that_is_a_pipe_is_refused(cli: CommandLine, write: Write, command: str) -> None:
    """Reading it would wait for somebody who writes."""
    write(EXPERIMENT)
    write(FINE, "own.py")
    os.mkfifo(cli.folder / "pipe.db")
    done = cli(command, "exp.yaml", "--store", "pipe.db")
    assert done.returncode == 5, done.stderr
    assert "pipe.db: the store cannot be read" in done.stderr
