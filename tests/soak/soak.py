"""Kill matrixbench, or its server, at random moments, and continue; in the end nothing is missing.

    python tests/soak/soak.py --runs 200                # SIGKILL to matrixbench
    python tests/soak/soak.py --runs 200 --kill server  # SIGKILL to its server

Each run continues the same experiment against the fake server. The victim is killed when a random
number of the run's trials are stored; every third matrixbench dies earlier, some time after its
start, wherever it then is. A run gets its share of the trials: a server's death does not end it.
After each: every trial that was reported stored is in the store, once; the store is whole; no
server process is left. At the end the experiment is finished and every trial is there once.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sqlite3
import stat
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
RUNNER = Path(__file__).with_name("runner.py")
EXPERIMENT = """
name: soak
trials: {trials}
timeouts: {{request_s: 20, start_s: 60}}
backends:
  fake: {{kind: llama-server, binary: ./llama-server, slots: 4, env: {{FAKE_MODE: "delay:0.02"}}}}
models: {{m: {{gguf: model.gguf}}}}
sampling: {{temperature: [0.5, 1]}}
tests:
  - {{name: a, messages: [{{role: user, content: a}}], expect: [{{content: {{matches: .}}}}]}}
  - {{name: b, messages: [{{role: user, content: b}}], expect: [{{content: {{matches: .}}}}]}}
"""

STARTING_S = 2.0
"""How long starting takes at most on a machine that is not busy: a random moment in it."""


@dataclass(frozen=True)
class Moment:
    """When to kill: so many seconds after the run's start, or once so many trials are stored."""

    after_s: float | None = None
    stored: int = 0


@dataclass
class Soak:
    """One experiment under fire.

    Args:
        folder: Where everything is.
        trials: Trials per cell, of four cells.
        victim: `matrixbench` or `server`.
        runs: How many runs there will be.
    """

    folder: Path
    trials: int
    victim: str
    runs: int
    figures: dict[str, int] = field(default_factory=dict)

    def prepare(self) -> None:
        """Write the experiment, a model's stand-in and the server."""
        (self.folder / "exp.yaml").write_text(EXPERIMENT.format(trials=self.trials))
        (self.folder / "model.gguf").write_bytes(b"GGUF" + bytes(64))
        script = self.folder / "llama-server"
        script.write_text(
            f'#!/bin/sh\nexec "{sys.executable}" "{ROOT}/tests/fake_server.py" "$@"\n'
        )
        script.chmod(script.stat().st_mode | stat.S_IXUSR)

    def start(self, trials: int) -> subprocess.Popen[str]:
        """Continue the experiment, up to some trials per cell, in a process of its own."""
        environ = {**os.environ, "PYTHONPATH": str(ROOT), "MATRIXBENCH_CACHE": str(self.folder)}
        command = [sys.executable, str(RUNNER), str(self.folder / "exp.yaml"), str(trials)]
        return subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, text=True)

    def one_run(self, moment: Moment) -> None:
        """Continue, kill the victim at a moment, and look at what is left."""
        before = self.stored()
        reported = 0
        share = self.share(self.figures.get("runs", 0))
        with self.start(share if self.victim == "server" else self.trials) as running:
            clock = threading.Timer(moment.after_s or 0.0, self._kill, args=(running,))
            if moment.after_s is not None:
                clock.start()
            assert running.stdout is not None
            killed = moment.after_s is not None
            for line in running.stdout:
                if line.startswith("stored "):
                    reported = int(line.split()[1])
                if not killed and reported > moment.stored:
                    self._kill(running)
                    killed = True
            running.wait()
            clock.cancel()
        self.wait_until_gone()
        now = self.stored()
        assert now >= before + reported, f"{before} + {reported} reported, {now} stored"
        self.figures["runs"] = self.figures.get("runs", 0) + 1

    def share(self, run: int) -> int:
        """Return how many trials a cell is to have after a run of a number, from 0."""
        return max(1, self.trials * (run + 1) // self.runs)

    def moment(self, run: int, chance: random.Random) -> Moment:
        """Return when to kill in a run: while at least some of its trials are still to come."""
        if self.victim == "matrixbench" and run % 3 == 0:
            return Moment(after_s=chance.uniform(0.05, STARTING_S))
        of_run = 4 * (self.share(run) - (self.share(run - 1) if run else 0))
        return Moment(stored=chance.randrange(max(1, of_run // 2)))

    def _kill(self, running: subprocess.Popen[str]) -> None:
        pids = [running.pid]
        if self.victim == "server":
            pids = self.processes("fake_server.py")
        hit = sum([kill(pid) for pid in pids if running.poll() is None])
        self.figures["kills"] = self.figures.get("kills", 0) + (hit > 0)

    def processes(self, text: str = "") -> list[int]:
        """Return the processes whose command line mentions the folder, zombies left out."""
        listed = subprocess.run(
            ["/bin/ps", "-ww", "-eo", "pid,stat,args"], capture_output=True, text=True, check=True
        )
        rows = [line.split(None, 2) for line in listed.stdout.splitlines()[1:]]
        return [
            int(pid)
            for pid, state, args in rows
            if str(self.folder) in args
            and text in args
            and not state.startswith("Z")
            and int(pid) != os.getpid()
            and "soak.py" not in args
        ]

    def wait_until_gone(self, bound_s: float = 30.0) -> None:
        """Wait until no process of the run is left.

        Raises:
            AssertionError: One stays.
        """
        give_up = time.monotonic() + bound_s
        while left := self.processes():
            assert time.monotonic() < give_up, f"processes left: {left}"

    def stored(self) -> int:
        """Return how many trials count; each must be there once, and the store whole."""
        path = self.folder / ".matrixbench" / "results.db"
        if not path.exists():
            return 0
        connection = sqlite3.connect(path)
        try:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            (count, keys) = connection.execute(
                "SELECT count(*), count(DISTINCT cell || '/' || build || '/' || seed) FROM trial "
                "WHERE outcome IS NOT 'errored'"
            ).fetchone()
        finally:
            connection.close()
        assert count == keys, f"{count} trials, {keys} keys"
        return int(count)

    def finish(self) -> None:
        """Run to the end without a kill, and find every trial there once."""
        with self.start(self.trials) as running:
            running.communicate()
        assert running.returncode == 0
        self.wait_until_gone()
        assert self.stored() == 4 * self.trials


def kill(pid: int) -> bool:
    """Send SIGKILL to a process; return whether it was still there."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def soak(folder: Path, *, runs: int, trials: int, victim: str, seed: int) -> dict[str, int]:
    """Run the soak and return its figures.

    Raises:
        AssertionError: A trial is lost or doubled, the store is damaged, or a process stays.
    """
    chance = random.Random(seed)
    fire = Soak(folder, trials, victim, runs)
    fire.prepare()
    for run in range(runs):
        fire.one_run(fire.moment(run, chance))
    before_end = fire.stored()
    fire.finish()
    return {**fire.figures, "stored_under_fire": before_end, "stored": fire.stored()}


def main() -> None:
    """Read the command line, run, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--trials", type=int, default=4000, help="per cell, of four cells")
    parser.add_argument("--kill", choices=("matrixbench", "server"), default="matrixbench")
    parser.add_argument("--seed", type=int, default=1)
    words = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        began = time.monotonic()
        figures = soak(
            Path(name), runs=words.runs, trials=words.trials, victim=words.kill, seed=words.seed
        )
        print(f"kill {words.kill}: {figures}, {time.monotonic() - began:.0f} s")  # noqa: T201


if __name__ == "__main__":
    main()
