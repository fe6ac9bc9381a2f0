"""Supervised server processes: what starts, what is seen of it, and that nothing is left."""

from __future__ import annotations

import asyncio
import os
import select
import shlex
import signal
import socket
import subprocess
import sys
from pathlib import Path
from textwrap import dedent
from typing import TYPE_CHECKING

import pytest

import matrixbench
from matrixbench.backends.process import (
    ServerCommand,
    ServerProcess,
    free_port,
    log_tail,
    running,
    server_environment,
)
from matrixbench.errors import ServerError

if TYPE_CHECKING:
    from collections.abc import Iterator

PROJECT = Path(matrixbench.__file__).parents[1]
LONG_S = 30.0
"""A bound for what should take milliseconds, so that a failure fails instead of hanging."""

SERVER = """
    import os, signal, sys
    ready, traits = sys.argv[1], sys.argv[2:]
    if "stubborn" in traits:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if "worker" in traits and os.fork() == 0:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if "runaway" in traits:
            os.setsid()
        open(ready + ".worker", "w").close()
        signal.alarm(60)
        while True:
            signal.pause()
    if "worker" in traits:
        while not os.path.exists(ready + ".worker"):
            pass
    open(ready, "w").close()
    signal.alarm(60)
    while True:
        signal.pause()
"""

SUPERVISOR = """
    import asyncio, os, sys
    from pathlib import Path
    from matrixbench.backends.process import ServerCommand, running

    async def main():
        log, ready, *argv = sys.argv[1:]
        command = ServerCommand(
            name="server", argv=tuple(argv), env=dict(os.environ), log=Path(log), grace_s=0.3
        )
        async def up():
            return Path(ready).exists()
        async with running(command) as process:
            await process.ready(up, 30)
            print(process.pid, os.getpgid(process.pid), flush=True)
            await process.wait()

    asyncio.run(main())
"""


class Scene:
    """A server whose whole family holds a FIFO open: its end says that all of them are gone."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ready_file = folder / "ready"
        self.program = folder / "server.py"
        self.program.write_text(dedent(SERVER), encoding="utf-8")
        self.log = folder / "family"
        os.mkfifo(self.log)
        self._end = os.open(self.log, os.O_RDONLY | os.O_NONBLOCK)

    def close(self) -> None:
        """Let go of the FIFO."""
        os.close(self._end)

    def command(self, *traits: str) -> ServerCommand:
        """Return a command for a server with traits: stubborn, worker, runaway."""
        return ServerCommand(
            name="server",
            argv=(sys.executable, str(self.program), str(self.ready_file), *traits),
            env=dict(os.environ),
            log=self.log,
            grace_s=0.3,
        )

    async def up(self) -> bool:
        """Say whether the server is ready."""
        return self.ready_file.exists()

    def is_empty(self, within_s: float = 0.0) -> bool:
        """Return whether nobody holds the FIFO: guardian, server and workers are gone."""
        while select.select([self._end], [], [], within_s)[0]:
            if not os.read(self._end, 4096):
                return True
        return False

    def supervise(self, *traits: str) -> subprocess.Popen[str]:
        """Start another Python that supervises the server; return when the server is ready."""
        script = self.folder / "supervisor.py"
        script.write_text(dedent(SUPERVISOR), encoding="utf-8")
        other = subprocess.Popen(
            [sys.executable, script, self.log, self.ready_file, *self.command(*traits).argv],
            env=os.environ | {"PYTHONPATH": str(PROJECT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )
        assert other.stdout is not None
        assert other.stdout.readline()
        return other


@pytest.fixture
def family(tmp_path: Path) -> Iterator[Scene]:
    """Return a scene in an empty folder."""
    scene = Scene(tmp_path)
    yield scene
    scene.close()


def shell(tmp_path: Path, script: str, **env: str) -> ServerCommand:
    """Return a command that runs a shell script."""
    return ServerCommand(
        name="server",
        argv=("/bin/sh", "-c", script),
        env=os.environ | env,
        log=tmp_path / "server.log",
        grace_s=0.3,
    )


async def never() -> bool:
    """Say that a server is not ready."""
    return False


def test_environment_drops_what_would_set_flags() -> None:
    """Variables that llama-server takes as flags, keys or kernels do not reach it."""
    base = {
        "LLAMA_ARG_CTX_SIZE": "1",
        "LLAMA_API_KEY": "secret",
        "LLAMA_SERVER_BIN_PATH": "/x",
        "GGML_CUDA_FORCE_MMQ": "1",
        "HF_TOKEN": "secret",
        "PATH": "/bin",
        "CUDA_VISIBLE_DEVICES": "1",
    }
    assert server_environment(base, {}) == {"PATH": "/bin", "CUDA_VISIBLE_DEVICES": "1"}


def test_environment_of_the_file_wins() -> None:
    """What the backend's `env` says is passed on, whatever its name."""
    given = server_environment({"A": "1"}, {"A": "2", "GGML_METAL_PATH_RESOURCES": "x"})
    assert given == {"A": "2", "GGML_METAL_PATH_RESOURCES": "x"}


def test_log_tail(tmp_path: Path) -> None:
    """The tail is the last lines of a log, and empty where there is none."""
    log = tmp_path / "log"
    assert log_tail(log) == ""
    log.write_bytes(b"".join(b"line %d\n" % n for n in range(5000)) + b"\xff")
    assert log_tail(log, 3).splitlines() == ["line 4998", "line 4999", "�"]


async def test_a_server_starts_and_stops(family: Scene) -> None:
    """A server leads a session of its own, and after the context nothing of it is left."""
    async with running(family.command()) as process:
        await process.ready(family.up, LONG_S)
        assert process.how_it_ended() == "it runs"
        assert os.getsid(process.pid) == process.pid
        assert not family.is_empty()
    assert not process.alive
    assert process.returncode == -signal.SIGTERM
    assert family.is_empty()


@pytest.mark.parametrize("traits", [("stubborn",), ("worker",), ("stubborn", "worker")])
async def test_what_ignores_sigterm_is_killed(family: Scene, traits: tuple[str, ...]) -> None:
    """A server or a worker of its that ignores SIGTERM is gone after the context all the same."""
    async with running(family.command(*traits)) as process:
        await process.ready(family.up, LONG_S)
    assert family.is_empty()


async def test_a_worker_goes_with_its_dead_leader(family: Scene) -> None:
    """When a server crashes, the workers that it leaves behind are ended without being asked."""
    async with running(family.command("worker")) as process:
        await process.ready(family.up, LONG_S)
        os.kill(process.pid, signal.SIGKILL)
        assert await process.wait() == -signal.SIGKILL
        assert process.how_it_ended() == "killed by SIGKILL"
        assert await asyncio.to_thread(family.is_empty, LONG_S)


async def test_death_at_start_shows_command_and_log(tmp_path: Path) -> None:
    """A server that dies at start is reported with its command line, its code and its log."""
    command = shell(tmp_path, "seq 100; echo roof on fire; exit 3", GREETING="hush")
    with pytest.raises(ServerError) as caught:
        async with running(command) as process:
            await process.ready(never, LONG_S)
    text = str(caught.value)
    assert "died at start: exit code 3" in text
    assert shlex.join(command.argv) in text
    assert "roof on fire" in text
    assert " 99\n" in text
    assert " 50\n" not in text
    assert "hush" not in text


async def test_a_server_that_never_gets_ready(tmp_path: Path) -> None:
    """A server that is not ready in time is reported with its log, and ended."""
    with pytest.raises(ServerError, match=r"not ready after 0\.1 s"):
        async with running(shell(tmp_path, "echo loading; exec sleep 60")) as process:
            await process.ready(never, 0.1)
    assert not process.alive


async def test_what_cannot_be_executed_is_named(tmp_path: Path) -> None:
    """A command that cannot be executed is reported with the system's reason."""
    command = ServerCommand(
        name="server", argv=(str(tmp_path / "gone"),), env={}, log=tmp_path / "log"
    )
    with pytest.raises(ServerError, match=r"cannot be started: .*No such file"):
        await ServerProcess.start(command)


async def test_cancellation_while_waiting_leaves_nothing(family: Scene) -> None:
    """A cancellation in the middle of a start ends the server before it goes on."""
    started = asyncio.Event()

    async def probe() -> bool:
        if await family.up():
            started.set()
        return False

    async def run() -> None:
        async with running(family.command("stubborn", "worker")) as process:
            await process.ready(probe, LONG_S)

    task = asyncio.create_task(run())
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert family.is_empty()


async def test_cancellation_while_starting_leaves_nothing(family: Scene) -> None:
    """A cancellation before the server's first sign of life leaves no process that nobody knows."""
    task = asyncio.create_task(ServerProcess.start(family.command("stubborn", "worker")))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await asyncio.to_thread(family.is_empty, LONG_S)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("traits", [(), ("stubborn", "worker")])
def test_nothing_outlives_the_supervising_program(
    family: Scene, number: signal.Signals, traits: tuple[str, ...]
) -> None:
    """Whatever ends the supervising program, SIGKILL included: server, worker, guardian go too."""
    with family.supervise(*traits) as other:
        os.killpg(other.pid, number)
        other.wait(LONG_S)
    assert family.is_empty(LONG_S)


async def test_a_killed_guardian_takes_the_server_along(family: Scene) -> None:
    """When the guardian itself is killed, the group is ended from the supervising program."""
    async with running(family.command("stubborn", "worker")) as process:
        await process.ready(family.up, LONG_S)
        os.kill(process.guardian_pid, signal.SIGKILL)
        await process.wait()
        assert not process.alive
    assert family.is_empty()


if sys.platform == "linux":

    async def test_a_worker_that_left_the_group_is_found(family: Scene) -> None:
        """On Linux a worker in a session of its own is ended too."""
        async with running(family.command("worker", "runaway")) as process:
            await process.ready(family.up, LONG_S)
        assert family.is_empty()

    def test_server_goes_when_program_and_guardian_are_killed(family: Scene) -> None:
        """On Linux the server goes even if the program and its guardian are killed together."""
        with family.supervise("stubborn") as other:
            guardian = children_of(other.pid)
            for pid in (*guardian, other.pid):
                os.kill(pid, signal.SIGSTOP)
            for pid in (*guardian, other.pid):
                os.kill(pid, signal.SIGKILL)
            other.wait(LONG_S)
        assert family.is_empty(LONG_S)

    def children_of(parent: int) -> list[int]:
        """Return the children of a process, of which it has one, its guardian."""
        found = []
        for stat in Path("/proc").glob("[0-9]*/stat"):
            fields = stat.read_bytes().rpartition(b")")[2].split() if stat.exists() else []
            if fields and int(fields[1]) == parent:
                found.append(int(stat.parent.name))
        assert len(found) == 1
        return found


def test_free_ports_can_be_bound() -> None:
    """A free port is one that a server can listen on."""
    port = free_port()
    with socket.create_server(("127.0.0.1", port)) as listening:
        assert listening.getsockname()[1] == port
