"""A command in this process, as a process of its own would run it, without starting Python anew.

What a process has of its own is given for as long as the command runs, and taken back: arguments,
folder, environment, the three streams (as file descriptors too, so that what is started inherits
them), the import path, handlers of signals, warnings, logging. What is left behind that a process
would not leave, a thread or a module, is an error or goes.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import importlib
import logging
import os
import signal
import sys
import tempfile
import threading
import traceback
import warnings
from contextlib import ExitStack, contextmanager
from pathlib import Path
from subprocess import CompletedProcess
from typing import TYPE_CHECKING, BinaryIO

from matrixbench.checks.workers import stop_worker
from matrixbench.cli import main

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
ENDING_S = 30
"""What a thread may take to end after a command did; a process would wait for it without limit."""

STOPPED_BY_A_BUG = 1
NOT_WRITTEN = 120
"""What the interpreter ends with that cannot write the rest of its output."""


def can_run_here() -> bool:
    """Return whether a command can run here: handlers of signals need the main thread."""
    if threading.current_thread() is not threading.main_thread():
        return False
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return True
    return False


def run_here(
    words: tuple[str, ...], *, folder: Path, environment: Mapping[str, str], read: bool = True
) -> CompletedProcess[str]:
    """Run a command to its end and return its exit code and what it printed.

    Args:
        words: Its arguments.
        folder: Where it runs.
        environment: All of its environment.
        read: Whether somebody reads what it prints; otherwise its output is a pipe that is closed
            at the other end.

    Raises:
        AssertionError: A thread of its own is left.
    """
    threads = set(threading.enumerate())
    with (
        tempfile.TemporaryFile() if read else _closed_pipe() as out,
        tempfile.TemporaryFile() as err,
    ):
        with (
            _environment(environment, folder),
            _modules(environment, folder),
            _handlers(),
            _streams(out, err),
        ):
            stop_worker()  # a process has a worker of its own, with its streams and environment
            code = contextvars.copy_context().run(_main, words)
            _wait_for_threads(threads)
            stop_worker()
            code = _flushed(code)
        printed = _text(out) if read else ""
        return CompletedProcess(["matrixbench", *words], code, printed, _text(err))


def _closed_pipe() -> BinaryIO:
    """Return the end to write to of a pipe that nobody reads any more."""
    reading, writing = os.pipe()
    os.close(reading)
    return os.fdopen(writing, "wb", buffering=0)


def _flushed(code: int) -> int:
    """Return the exit code after what the interpreter does last: it writes what is left."""
    try:
        sys.stdout.flush()
    except OSError as error:
        sys.stderr.write(f"{error}\n")
        return NOT_WRITTEN
    return code


def _main(words: tuple[str, ...]) -> int:
    """Run the program's entry; return the exit code that its process would have."""
    before, sys.argv = sys.argv, ["matrixbench", *words]
    try:
        main()
    except SystemExit as leaving:
        if leaving.code is None or isinstance(leaving.code, int):
            return (leaving.code or 0) & 0xFF
        sys.stderr.write(f"{leaving.code}\n")
        return STOPPED_BY_A_BUG
    except Exception:  # noqa: BLE001  the interpreter would print it and leave
        traceback.print_exc()
        return STOPPED_BY_A_BUG
    finally:
        sys.argv = before


@contextmanager
def _environment(environment: Mapping[str, str], folder: Path) -> Iterator[None]:
    """Be in a folder, with an environment."""
    before, there, environment = dict(os.environ), Path.cwd(), dict(environment)
    temporary, tempfile.tempdir = tempfile.tempdir, None  # found again, from $TMPDIR
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(there)
        os.environ.clear()
        os.environ.update(before)
        tempfile.tempdir = temporary


@contextmanager
def _modules(environment: Mapping[str, str], folder: Path) -> Iterator[None]:
    """Import from the folder and `PYTHONPATH` first; forget what came from there afterwards."""
    path, modules = list(sys.path), set(sys.modules)
    first = [str(folder), *filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))]
    sys.path[:0] = first
    importlib.invalidate_caches()
    known = [Path(entry) for entry in path if entry]
    try:
        yield
    finally:
        sys.path[:] = path
        for name in sys.modules.keys() - modules:
            file = getattr(sys.modules[name], "__file__", None)
            if name.startswith("_matrixbench_own_") or not _is_below(file, known):
                del sys.modules[name]


def _is_below(file: str | None, folders: list[Path]) -> bool:
    return file is None or any(Path(file).is_relative_to(folder) for folder in folders)


@contextmanager
def _handlers() -> Iterator[None]:
    """Give handlers of signals, filters of warnings and handlers of logs back."""
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    logs = logging.getLogger()
    with warnings.catch_warnings():
        listeners, logs.handlers = logs.handlers, []  # pytest's own: a process has none
        try:
            yield
        finally:
            logs.handlers = listeners
            for number, handler in handlers.items():
                signal.signal(number, handler)


@contextmanager
def _streams(out: BinaryIO, err: BinaryIO) -> Iterator[None]:
    """Have files as standard output and error, and nothing as standard input."""
    sys.stdout.flush()
    sys.stderr.flush()
    before = (sys.stdin, sys.stdout, sys.stderr)
    with ExitStack() as back, Path(os.devnull).open("rb") as nothing:
        for number, file in ((0, nothing), (1, out), (2, err)):
            kept = os.dup(number)
            back.callback(os.close, kept)
            back.callback(os.dup2, kept, number)
            os.dup2(file.fileno(), number)
        sys.stdin = os.fdopen(0, encoding="utf-8", closefd=False)
        sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
        sys.stderr = os.fdopen(
            2, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False
        )
        try:
            yield
        finally:
            for stream in (sys.stdin, sys.stdout, sys.stderr):
                with contextlib.suppress(OSError, ValueError):
                    stream.close()
            sys.stdin, sys.stdout, sys.stderr = before


def _wait_for_threads(before: set[threading.Thread]) -> None:
    """Wait for threads as the interpreter does when it ends."""
    for thread in set(threading.enumerate()) - before:
        if not thread.daemon:
            thread.join(ENDING_S)
            assert not thread.is_alive(), f"a thread is left: {thread.name}"


def _text(file: BinaryIO) -> str:
    file.seek(0)
    return file.read().decode().replace("\r\n", "\n").replace("\r", "\n")
