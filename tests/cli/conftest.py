"""The command line as users meet it, in an empty folder."""

from __future__ import annotations

import os
import shlex
import shutil
import stat
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.cli.in_process import can_run_here, run_here

if TYPE_CHECKING:
    from tests.conftest import Write

ROOT = Path(__file__).parents[2]
FAKE_SERVER = ROOT / "tests" / "fake_server.py"
ALL_APART = bool(os.environ.get("MATRIXBENCH_TEST_PROCESSES"))
"""Whether every command of the tests is a process."""


@dataclass(frozen=True, kw_only=True)
class CommandLine:
    """Runs matrixbench in a folder; its cache and its store stay in there.

    Args:
        folder: Where it runs.
        env: What its environment has beyond the tests' own.
        apart: Whether each command is a process; otherwise it runs in this one, much faster.
    """

    folder: Path
    env: dict[str, str] = field(default_factory=dict)
    apart: bool = ALL_APART

    def __call__(self, *words: str, timeout_s: float = 120) -> subprocess.CompletedProcess[str]:
        """Run a command to its end and return what it printed."""
        if not self.apart and can_run_here():
            return run_here(words, folder=self.folder, environment=self.environment)
        return self.process(*words, timeout_s=timeout_s)

    def unread(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end whose output nobody reads."""
        if not self.apart and can_run_here():
            return run_here(words, folder=self.folder, environment=self.environment, read=False)
        command = shlex.join(self.command(*words))
        return subprocess.run(
            ["/bin/bash", "-c", f"{command} | true; exit ${{PIPESTATUS[0]}}"],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )

    def process(self, *words: str, timeout_s: float = 120) -> subprocess.CompletedProcess[str]:
        """Run a command as a process, to its end, and return what it printed."""
        return subprocess.run(
            self.command(*words),
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Start a command; its standard error can be read line by line."""
        return subprocess.Popen(
            self.command(*words),
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    @staticmethod
    def command(*words: str) -> list[str]:
        """Return the argument list of a command."""
        return [sys.executable, "-m", "matrixbench", *words]

    @property
    def environment(self) -> dict[str, str]:
        """The tests' environment, with this tree first and a cache of its own."""
        return {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "MATRIXBENCH_CACHE": str(self.folder / "cache"),
            "MATRIXBENCH_TRUST": "1",
            **self.env,
        }


@pytest.fixture
def cli(tmp_path: Path, request: pytest.FixtureRequest) -> CommandLine:
    """Return the command line in an empty folder; of processes where the test is marked so."""
    apart = request.node.get_closest_marker("process") is not None
    return CommandLine(folder=tmp_path, apart=apart or ALL_APART)


@pytest.fixture
def fake_binary(tmp_path: Path, write: Write) -> Path:
    """Return an executable that is the fake server, beside a file that passes for a model."""
    script = tmp_path / "llama-server"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{FAKE_SERVER}" "$@"\n')
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    (tmp_path / "model.gguf").write_bytes(b"GGUF" + bytes(64))
    write("", "unused.yaml")
    return script


def left_behind(folder: Path) -> list[str]:
    """Return the command lines of processes that mention a folder, zombies left out."""
    ps = shutil.which("ps")
    assert ps is not None
    listed = subprocess.run(
        [ps, "-ww", "-eo", "pid,stat,args"], capture_output=True, text=True, check=True
    )
    return [
        line
        for line in listed.stdout.splitlines()
        if str(folder) in line and not line.split()[1].startswith("Z")
    ]
