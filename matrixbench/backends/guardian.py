"""Stands between matrixbench and a server, so that the server ends whenever matrixbench does.

Run by path, with the standard library only, so that it starts in a few milliseconds. It reads one
JSON line from standard input (`argv`, `env`, `grace_s`), starts the server as the leader of a
session of its own, and writes what happens to standard output: `started PID` or `refused REASON`,
`exited CODE` (negative: the signal's number), and `empty` once no process of the server is left.
The server's own output goes to the guardian's standard error, which is the log file.

The end of standard input means «stop»: matrixbench closes it, and so does the kernel when
matrixbench is gone, SIGKILL included. Then the server's group gets SIGTERM, after the grace
SIGKILL, until it is empty. On Linux the guardian is also the subreaper of everything that the
server forks, so that workers that left the group are found too, and the server asks the kernel for
SIGKILL should the guardian itself be killed.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
POLL_S = 0.02
LAST_RESORT_S = 10.0
"""How long a group may take to vanish after SIGKILL; a process in an uninterruptible wait may."""

STDIN = 0
STDOUT = 1
STDERR = 2


def main() -> int:
    """Run one server from its start until nothing of it is left."""
    order = json.loads(_read_line())
    wake = _watch_signals()
    linux = sys.platform == "linux"
    libc = ctypes.CDLL(None, use_errno=True) if linux else None
    if libc is not None:
        libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    guardian = os.getpid()

    def prepare() -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        if libc is not None:
            libc.prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
            if os.getppid() != guardian:
                os._exit(1)

    try:
        server = subprocess.Popen(
            order["argv"],
            env=order["env"],
            stdin=subprocess.DEVNULL,
            stdout=STDERR,
            start_new_session=True,
            preexec_fn=prepare,  # noqa: PLW1509  there is only this one thread
        )
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        _tell(f"refused {error}")
        return 1
    _tell(f"started {server.pid}")
    group = Group(server.pid)
    while group.returncode is None and not _stop_asked(wake):
        group.reap()
    group.end(float(order["grace_s"]), wake)
    _tell("empty" if group.is_empty else "left")
    return 0


class Group:
    """The server and all that it forked."""

    def __init__(self, leader: int) -> None:
        self.leader = leader
        self.returncode: int | None = None
        self.childless = False

    def reap(self) -> None:
        """Collect every child that ended; tell of the leader's end at once."""
        try:
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return
                if pid == self.leader:
                    self.returncode = os.waitstatus_to_exitcode(status)
                    _tell(f"exited {self.returncode}")
        except ChildProcessError:
            self.childless = True

    @property
    def is_empty(self) -> bool:
        """Whether no process was left at the last `reap`, in the group or outside.

        A subreaper without children has no descendants at all; elsewhere than on Linux this says
        only that the leader is gone, and the group is asked.
        """
        if not self.childless:
            return False
        try:
            os.killpg(self.leader, 0)
        except OSError:  # no such group; EPERM: macOS says so of zombies
            return True
        return False

    def send(self, number: int) -> None:
        """Send a signal to the group, and on Linux to those who left it."""
        with contextlib.suppress(OSError):
            os.killpg(self.leader, number)
        for pid in _children():
            if pid != self.leader:
                with contextlib.suppress(OSError):
                    os.kill(pid, number)

    def end(self, grace_s: float, wake: int) -> None:
        """Ask the group to end, then make it end; return when it is empty or cannot be ended."""
        self.reap()
        if not self.is_empty:
            self.send(signal.SIGTERM)
            self._await_empty(grace_s, wake)
        deadline = time.monotonic() + LAST_RESORT_S
        while not self.is_empty and time.monotonic() < deadline:
            self.send(signal.SIGKILL)
            self._await_empty(POLL_S, wake)

    def _await_empty(self, seconds: float, wake: int) -> None:
        deadline = time.monotonic() + seconds
        while True:
            self.reap()
            if self.is_empty or time.monotonic() >= deadline:
                return
            select.select([wake], [], [], POLL_S)
            _drain(wake)


def _children() -> list[int]:
    """Return the guardian's children, where `/proc` tells: orphans that left the group too."""
    own = str(os.getpid())
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = stat.read_bytes().rpartition(b")")[2].split()
            if fields[1].decode() == own:
                found.append(int(stat.parent.name))
    return found


def _watch_signals() -> int:
    """Turn signals into bytes of a pipe; return its reading end.

    Ctrl-C of a terminal is matrixbench's to handle, so SIGINT is ignored.
    """
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda _number, _frame: None)
    return reading


def _stop_asked(wake: int) -> bool:
    """Wait for something to happen; return whether it means «stop»."""
    ready, _, _ = select.select([STDIN, wake], [], [])
    if STDIN in ready and not os.read(STDIN, 4096):
        return True
    return wake in ready and bool({signal.SIGTERM, signal.SIGHUP} & _drain(wake))


def _drain(wake: int) -> set[int]:
    """Return the numbers of the signals that came since the last time."""
    try:
        return set(os.read(wake, 4096))
    except BlockingIOError:
        return set()


def _read_line() -> bytes:
    """Return the first line of standard input, unbuffered, so that its end is still to be seen."""
    pieces = bytearray()
    while not pieces.endswith(b"\n"):
        piece = os.read(STDIN, 1 << 16)
        if not piece:
            sys.exit(1)
        pieces += piece
    return bytes(pieces)


def _tell(line: str) -> None:
    """Write one line; there may be nobody left to read it."""
    with contextlib.suppress(OSError):
        os.write(STDOUT, f"{line}\n".encode())


if __name__ == "__main__":
    sys.exit(main())
