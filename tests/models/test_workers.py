"""Children and threads that can be broken off."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from matrixbench.models.workers import in_thread, run_child

if TYPE_CHECKING:
    from pathlib import Path

STUBBORN = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
held = open(sys.argv[1], "w")
os.fork()
print("ignores", flush=True)
while True:
    time.sleep(1)
"""


def python(code: str) -> list[str]:
    """Return the command that runs some Python."""
    return [sys.executable, "-c", code]


async def test_lines_and_code() -> None:
    """Lines of both streams are passed on as they come, then the exit status."""
    lines: list[str] = []
    code = "import sys; print('one'); sys.stdout.flush(); print('two', file=sys.stderr); exit(3)"
    ended = await run_child(python(code), environ=os.environ, on_line=lines.append)
    assert lines == ["one", "two"]
    assert ended.tail == ("one", "two")
    assert ended.code == 3


async def test_answers() -> None:
    """What a line is answered with reaches the child's input."""
    lines: list[str] = []

    def answer(line: str) -> str | None:
        lines.append(line)
        return "yes" if line == "well?" else None

    await run_child(
        python("print('well?', flush=True); print(input())"), environ={}, on_line=answer
    )
    assert lines == ["well?", "yes"]


async def test_environment_is_the_one_given() -> None:
    """The child sees the environment that it is given and no more."""
    lines: list[str] = []
    code = "import os; print(os.environ.get('MINE'), os.environ.get('HOME'))"
    await run_child(python(code), environ={"MINE": "1"}, on_line=lines.append)
    assert lines == ["1 None"]


async def test_error_of_the_listener_stops_the_child() -> None:
    """What the listener raises is passed on after the child is gone."""

    def refuse(line: str) -> None:
        raise ValueError(line)

    with pytest.raises(ValueError, match="go on"):
        await run_child(
            python("import time; print('go on', flush=True); time.sleep(600)"),
            environ={},
            on_line=refuse,
        )


async def test_missing_program(tmp_path: Path) -> None:
    """A program that is not there is the system's own error."""
    with pytest.raises(FileNotFoundError):
        await run_child([str(tmp_path / "none")], environ={}, on_line=lambda _: None)


async def test_stubborn_group_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A child that ignores the polite signal is killed with all that it started."""
    monkeypatch.setattr("matrixbench.models.workers.STOP_TIMEOUT_S", 0.1)
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    heard: asyncio.Queue[str] = asyncio.Queue()
    command = [*python(STUBBORN), str(fifo)]
    task = asyncio.create_task(run_child(command, environ={}, on_line=heard.put_nowait))
    reading = asyncio.create_task(asyncio.to_thread(fifo.read_bytes))
    assert [await heard.get(), await heard.get()] == ["ignores", "ignores"]
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    # A fifo ends when the last process that holds it has.
    assert await reading == b""


async def test_thread_result() -> None:
    """A thread's result is passed on."""
    assert await in_thread(lambda stop: not stop.is_set())


async def test_thread_error() -> None:
    """A thread's error is passed on."""

    def work(_: threading.Event) -> None:
        raise OSError(28, "full")

    with pytest.raises(OSError, match="full"):
        await in_thread(work)


@pytest.mark.parametrize("error", [None, OSError("late")])
async def test_cancelled_thread_has_ended(error: OSError | None) -> None:
    """Cancellation asks the thread to stop and comes back when it has, whatever it raised."""
    begun, ended = threading.Event(), threading.Event()

    def work(stop: threading.Event) -> None:
        begun.set()
        stop.wait()
        ended.set()
        if error is not None:
            raise error

    task = asyncio.create_task(in_thread(work))
    await asyncio.to_thread(begun.wait)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended.is_set()
