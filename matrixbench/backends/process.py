"""A supervised server process: it never outlives its context, nor matrixbench."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shlex
import signal
import socket
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from matrixbench.errors import ServerError
from matrixbench.safe_files import open_own

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

GUARDIAN = Path(__file__).with_name("guardian.py")
TAIL_LINES = 20
TAIL_BYTES = 16_384
FIRST_PAUSE_S = 0.01
LONGEST_PAUSE_S = 0.25
MARGIN_S = 15.0
"""What the guardian may take beyond the grace; it gives up a group after 10 s of SIGKILLs."""

HIDDEN_PREFIXES = ("LLAMA_", "GGML_")
HIDDEN_NAMES = frozenset({"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"})

LONGEST_BYTES = 64 << 20
"""Some 10,000 requests of a llama-server that tells most, 60,000 of one that tells the usual."""

KEPT_BYTES = 1 << 20
"""Of the beginning, and of the end."""

Probe: TypeAlias = "Callable[[], Awaitable[bool]]"
"""Says whether the server answers already; raises ServerError when it never will."""


def server_environment(base: Mapping[str, str], extra: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a server: `base` without what would change its settings, `extra`.

    llama-server takes every flag from `LLAMA_ARG_*` and its key from `LLAMA_API_KEY`, and
    `GGML_*` chooses kernels and libraries: left in, they would be settings that neither the file
    nor the cell's identity shows. Who needs one says so in the backend's `env`. Hub tokens go
    because a server gets its model as a file.
    """
    kept = {
        name: value
        for name, value in base.items()
        if not name.startswith(HIDDEN_PREFIXES) and name not in HIDDEN_NAMES
    }
    return {**kept, **extra}


def free_port(host: str = "127.0.0.1") -> int:
    """Return a port that was free a moment ago; whoever starts a server on it may lose the race."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def log_tail(log: Path, lines: int = TAIL_LINES) -> str:
    """Return the last lines of a log file; empty where there is none."""
    with contextlib.suppress(OSError), log.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL_BYTES))
        return "\n".join(file.read().decode(errors="replace").splitlines()[-lines:])
    return ""


def shorten_log(log: Path, longest: int = LONGEST_BYTES, kept: int = KEPT_BYTES) -> bool:
    """Take the middle out of a log that has grown too long; return whether it had.

    Its server goes on writing at its end, since it was opened for appending. Lines that it writes
    in the moment between are lost.
    """
    with contextlib.suppress(OSError), os.fdopen(open_own(log, os.O_RDWR), "r+b") as file:
        size = file.seek(0, 2)
        if size <= longest:
            return False
        file.seek(kept)
        head = kept + len(file.readline())
        file.seek(size - kept)
        file.readline()
        tail = file.read()
        file.truncate(head)
        with os.fdopen(open_own(log, os.O_WRONLY | os.O_APPEND), "ab") as end:
            end.write(f"[matrixbench took {size - head - len(tail)} bytes out here]\n".encode())
            end.write(tail)
        return True
    return False


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerCommand:
    """How a server is started. No secret may be among the arguments: they are shown.

    Args:
        name: What messages call it.
        env: Its whole environment.
        log: The file to which its output is appended.
        grace_s: How long it may take from SIGTERM until it is gone.
    """

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str] = field(repr=False)
    log: Path
    grace_s: float = 5.0

    def failure(self, what: str) -> ServerError:
        """Return an error that shows the command line and the log's tail."""
        tail = log_tail(self.log) or "(no output)"
        return ServerError(
            f"{self.name}: {what}",
            hint=f"command: {shlex.join(self.argv)}\n  log: {self.log}\n"
            + "\n".join(f"    {line}" for line in tail.splitlines()),
        )


class ServerProcess:
    """A server that runs under its guardian. Made by `start`, ended by `stop`, always."""

    def __init__(self, command: ServerCommand, guardian: asyncio.subprocess.Process) -> None:
        self.command = command
        self.pid = 0
        self.returncode: int | None = None
        self._guardian = guardian
        self._emptied = False
        self._ended = asyncio.Event()
        self._watch: asyncio.Task[None] | None = None

    @classmethod
    async def start(cls, command: ServerCommand) -> ServerProcess:
        """Start a server; it may not be ready yet.

        Raises:
            ServerError: It cannot be executed.
        """
        # Spawned in a task that a cancellation cannot reach: between the fork and the assignment
        # there would be a process that nobody knows.
        spawning = asyncio.ensure_future(cls._spawn(command))
        try:
            return await asyncio.shield(spawning)
        except asyncio.CancelledError:
            with contextlib.suppress(ServerError):
                await (await spawning).stop()
            raise

    @classmethod
    async def _spawn(cls, command: ServerCommand) -> ServerProcess:
        with os.fdopen(open_own(command.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND), "ab") as log:
            guardian = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", str(GUARDIAN)),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )
        process = cls(command, guardian)
        order = {"argv": command.argv, "env": dict(command.env), "grace_s": command.grace_s}
        if guardian.stdin is not None:
            guardian.stdin.write(json.dumps(order).encode() + b"\n")
        first = await process._line()
        if first[0] != "started":
            await process._guardian_gone()
            reason = first[1] or "the guardian ended at once"
            raise command.failure(f"cannot be started: {reason}")
        process.pid = int(first[1])
        process._watch = asyncio.create_task(process._follow())
        return process

    @property
    def guardian_pid(self) -> int:
        """The process that owns the server's group."""
        return self._guardian.pid

    @property
    def alive(self) -> bool:
        """Whether the server runs, as far as is known."""
        return not self._ended.is_set()

    async def wait(self) -> int | None:
        """Wait until the server has ended; return its code, negative for a signal.

        None means that its guardian was killed, so that nobody saw the code.
        """
        await self._ended.wait()
        return self.returncode

    async def ready(self, probe: Probe, timeout_s: float) -> None:
        """Wait until the probe says yes.

        Raises:
            ServerError: The server died, or the time is over; with the log's tail.
        """
        death = asyncio.ensure_future(self._ended.wait())
        probing = asyncio.ensure_future(self._until(probe))
        try:
            await asyncio.wait(
                {death, probing}, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED
            )
            if probing.done():
                probing.result()
            elif death.done():
                raise self.command.failure(f"died at start: {self.how_it_ended()}")
            else:
                raise self.command.failure(f"not ready after {timeout_s:g} s")
        finally:
            for task in (death, probing):
                task.cancel()
            await asyncio.gather(death, probing, return_exceptions=True)

    @staticmethod
    async def _until(probe: Probe) -> None:
        pause = FIRST_PAUSE_S
        while not await probe():
            await asyncio.sleep(pause)
            pause = min(LONGEST_PAUSE_S, pause * 1.5)

    def how_it_ended(self) -> str:
        """Return how the server ended, in words."""
        match self.returncode:
            case None:
                return "it was killed with its guardian" if self._ended.is_set() else "it runs"
            case code if code < 0:
                return f"killed by {signal_name(-code)}"
            case code:
                return f"exit code {code}"

    async def stop(self) -> None:
        """End the server and all that it forked, politely first; return when nothing is left.

        A cancellation meanwhile is held back until then.
        """
        stopping = asyncio.ensure_future(self._stop())
        cancelled = False
        while not stopping.done():
            try:
                await asyncio.shield(stopping)
            except asyncio.CancelledError:
                cancelled = True
        stopping.result()
        if cancelled:
            raise asyncio.CancelledError

    async def _stop(self) -> None:
        if self._guardian.stdin is not None:
            self._guardian.stdin.close()
        if self._watch is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self.command.grace_s + MARGIN_S):
                    await asyncio.shield(self._watch)
        if self._guardian.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._guardian.kill()
        if self._watch is not None:
            await self._watch
        await self._guardian_gone()

    async def _follow(self) -> None:
        """Take down what the guardian tells, until it ends."""
        while True:
            word, value = await self._line()
            match word:
                case "exited":
                    self.returncode = int(value)
                    self._ended.set()
                case "empty":
                    self._emptied = True
                case "":
                    break
        await self._guardian.wait()
        if not self._emptied:
            await self._empty_group()
        self._ended.set()

    async def _line(self) -> tuple[str, str]:
        if self._guardian.stdout is None:
            return "", ""
        word, _, value = (await self._guardian.stdout.readline()).decode().strip().partition(" ")
        return word, value

    async def _empty_group(self) -> None:
        """Kill the group from here: its guardian was killed, and cannot."""
        deadline = time.monotonic() + MARGIN_S
        while time.monotonic() < deadline:
            try:
                os.killpg(self.pid, signal.SIGKILL)
            except OSError:
                return
            await asyncio.sleep(FIRST_PAUSE_S)

    async def _guardian_gone(self) -> None:
        await self._guardian.wait()
        if self._guardian.stdin is not None:
            self._guardian.stdin.close()
            with contextlib.suppress(OSError):
                await self._guardian.stdin.wait_closed()


def signal_name(number: int) -> str:
    """Return `SIGKILL` for 9, and so on."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


@contextlib.asynccontextmanager
async def running(command: ServerCommand) -> AsyncIterator[ServerProcess]:
    """Run a server for as long as the context is open; nothing of it is left afterwards.

    Raises:
        ServerError: It cannot be executed.
    """
    process = await ServerProcess.start(command)
    try:
        yield process
    finally:
        await process.stop()
