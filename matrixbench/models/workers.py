"""What is known of a fetch, and work elsewhere that can be broken off."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from asyncio.subprocess import PIPE, STDOUT
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias, TypeVar

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import Mapping, Sequence
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFiles:
    """A model that is on this machine.

    Args:
        paths: Its files, all of them there; the first is the one that a server is given.
        sha256: The digest of a single file where it is known without hashing (a pinned package
            file, a blob that the hub's cache names by its digest), else None; None for split files.
        part_sha256: The same for each of `paths`, in order; empty unless all are known.
        origin: Where it comes from, for people.
    """

    paths: tuple[Path, ...]
    sha256: str | None = None
    part_sha256: tuple[str, ...] = ()
    origin: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchProgress:
    """How far a fetch has got.

    Args:
        what: What is being done, for people: «downloading …», «unpacking …», «waiting for …».
        done_bytes: How much of it is done.
        total_bytes: How much there is; None while that is unknown.
    """

    what: str
    done_bytes: int = 0
    total_bytes: int | None = None


Report: TypeAlias = Callable[[FetchProgress], None]
"""Told about progress, always in the event loop's thread; it must not block."""


T = TypeVar("T")

STOP_TIMEOUT_S = 5.0
"""How long a child may take to clean up before it is killed."""

LINE_LIMIT_BYTES = 1 << 24
"""A repository's listing is one line."""

TAIL_LINES = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A child that came to its end by itself.

    Args:
        code: Its exit status; negative for a signal.
        tail: Its last lines, of both streams as they came.
    """

    code: int
    tail: tuple[str, ...]


async def run_child(
    command: Sequence[str],
    *,
    environ: Mapping[str, str],
    on_line: Callable[[str], str | None],
) -> Ended:
    """Run a command in a session of its own, to its end.

    Cancellation, and whatever `on_line` raises, stops it (SIGTERM, after a while SIGKILL, both to
    its whole process group) before it is passed on. If this process is killed, the child ends by
    itself as soon as it writes, for nobody reads.

    Args:
        command: The program and its arguments; no shell is involved.
        environ: Its whole environment.
        on_line: Given each line that it writes, without the line's end; what it returns is
            written to the child's input as one line.

    Raises:
        OSError: It cannot be started.
    """
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=PIPE,
        stdout=PIPE,
        stderr=STDOUT,
        env=dict(environ),
        start_new_session=True,
        limit=LINE_LIMIT_BYTES,
    )
    try:
        tail = await _listen(process, on_line)
        return Ended(code=await process.wait(), tail=tail)
    finally:
        await _stop(process)


async def _listen(process: Process, on_line: Callable[[str], str | None]) -> tuple[str, ...]:
    tail: deque[str] = deque(maxlen=TAIL_LINES)
    if process.stdout is None or process.stdin is None:
        return ()
    async for raw in process.stdout:
        line = raw.decode(errors="replace").rstrip("\r\n")
        tail.append(line)
        answer = on_line(line)
        if answer is not None:
            process.stdin.write(f"{answer}\n".encode())
    return tuple(tail)


async def _stop(process: Process) -> None:
    """End the child's group if it still runs; kill it at once when cancelled meanwhile."""
    if process.returncode is not None:
        return
    try:
        _signal_group(process, signal.SIGTERM)
        with suppress(TimeoutError):
            await asyncio.wait_for(process.communicate(), STOP_TIMEOUT_S)
    finally:
        _signal_group(process, signal.SIGKILL)
    await process.communicate()


def _signal_group(process: Process, number: int) -> None:
    # The leader may be gone already, and then its group too.
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


async def in_thread(work: Callable[[threading.Event], T]) -> T:
    """Run blocking work in a thread; cancellation sets its event and waits for its end.

    Args:
        work: Looks at the event between pieces and raises or returns soon after it is set.
    """
    stop = threading.Event()
    task = asyncio.get_running_loop().run_in_executor(None, work, stop)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        stop.set()
        await asyncio.wait([task])
        # Its error is of no interest now, and asyncio would complain that nobody looked.
        task.exception()
        raise
