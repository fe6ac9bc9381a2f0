"""Locks between processes: who may write at this moment, and who executes an experiment.

Both are `flock` locks: the kernel lets go of them when their process dies, however it dies, so
none is ever left behind. Their files stay, empty or not, and mean nothing by themselves.
"""

from __future__ import annotations

import errno
import fcntl
import glob
import json
import os
import socket
import time
from contextlib import ExitStack, contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Self

from matrixbench.errors import StoreError
from matrixbench.identity import digest
from matrixbench.safe_files import open_own

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path
    from types import TracebackType

WRITE_TIMEOUT_S = 30.0
"""How long a writer waits for another process's transaction before it gives up."""

_POLL_S = 0.002

_TAKEN = {errno.EWOULDBLOCK, errno.EACCES}


def lock_folder(store: Path) -> Path:
    """Return the folder of a store's lock files, beside it."""
    return store.parent / "locks"


def _open(path: Path) -> int:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return open_own(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise StoreError(
            f"the store's lock file cannot be made: {error.strerror}",
            where=str(path),
            hint="Make the folder writable, or move the store with --store.",
        ) from error


def _try_lock(descriptor: int, path: Path) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _TAKEN:
            return False
        raise StoreError(
            f"the file system cannot lock files: {error.strerror}",
            where=str(path),
            hint="Move the store to a local disk with --store.",
        ) from error
    return True


class WriteLock:
    """Held around every write transaction and every checkpoint of one store, by one at a time.

    SQLite locks its own transactions; it is the checkpoints that need this: before 3.51.3 a
    checkpoint beside another connection's commit could damage the file (the «WAL-reset bug»).
    One object serves one thread; each connection that writes has its own.
    """

    def __init__(self, store: Path, *, timeout_s: float = WRITE_TIMEOUT_S) -> None:
        self._path = lock_folder(store) / f"{store.name}.write.lock"
        self._timeout_s = timeout_s
        self._descriptor: int | None = _open(self._path)

    def __enter__(self) -> Self:
        """Wait for the lock.

        Raises:
            StoreError: Another process keeps it for too long.
        """
        assert self._descriptor is not None, "the lock is closed"  # noqa: S101  a bug of ours
        give_up = time.monotonic() + self._timeout_s
        while not _try_lock(self._descriptor, self._path):
            if time.monotonic() > give_up:
                raise StoreError(
                    f"another process has been writing to the store for {self._timeout_s:g} s",
                    where=str(self._path),
                    hint="Is it stopped or stuck? End it, or wait, and try again.",
                )
            time.sleep(_POLL_S)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._descriptor is not None:
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def close(self) -> None:
        """Give back the file; the lock cannot be taken afterwards."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


class ExperimentLock:
    """Makes one process at a time the executor of an experiment on a store.

    A context manager. Its file says who holds it: pid, host, since when, command.

    Args:
        command: What the holder runs, for the message that another one gets.
    """

    def __init__(self, store: Path, experiment: str, *, command: Sequence[str] = ()) -> None:
        name = f"{store.name}.{digest(experiment)}.execute.lock"
        self.path = lock_folder(store) / name
        self._experiment = experiment
        self._command = list(command)
        self._descriptor: int | None = None

    def __enter__(self) -> Self:
        """Take the lock, or say who has it.

        Raises:
            StoreError: Another process executes this experiment on this store.
        """
        descriptor = _open(self.path)
        try:
            self._take(descriptor)
        except StoreError:
            os.close(descriptor)
            raise
        self._descriptor = descriptor
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._descriptor is not None:
            # Closing lets go; removing the file would let two processes lock two files.
            os.close(self._descriptor)
            self._descriptor = None

    @property
    def is_held(self) -> bool:
        """Whether a process executes the experiment at this moment."""
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            # Shared, so that two who ask do not take each other for the executor.
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError as error:
            return error.errno in _TAKEN
        finally:
            os.close(descriptor)
        return False

    def _take(self, descriptor: int) -> None:
        if not _try_lock(descriptor, self.path):
            raise _taken(descriptor, self.path, self._experiment)
        holder = {
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "started_at": time.time(),
            "command": self._command,
        }
        try:
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, json.dumps(holder).encode(), 0)
        except OSError as error:
            raise StoreError(
                f"the experiment's lock file cannot be written: {error.strerror}",
                where=str(self.path),
                hint="Free some space, or move the store with --store.",
            ) from error


@contextmanager
def nobody_executes(store: Path) -> Iterator[None]:
    """Keep experiments that ran on a store from being executed on it meanwhile.

    Raises:
        StoreError: One is being executed now.
    """
    with ExitStack() as held:
        for path in sorted(lock_folder(store).glob(f"{glob.escape(store.name)}.*.execute.lock")):
            descriptor = _open(path)
            held.callback(os.close, descriptor)
            if not _try_lock(descriptor, path):
                raise _taken(descriptor, path, "an experiment on this store")
        yield


def _taken(descriptor: int, path: Path, experiment: str) -> StoreError:
    """Say who executes an experiment, as far as the lock's holder has written it down."""
    try:
        holder = json.loads(os.pread(descriptor, 1 << 16, 0))
        since = datetime.fromtimestamp(holder["started_at"]).astimezone()
        who = f"process {holder['pid']} on {holder['host']} since {since:%Y-%m-%d %H:%M:%S}"
    except (OSError, ValueError, KeyError, TypeError):
        who = "another process"  # which has the lock, and is just writing its name
    return StoreError(
        f"{experiment} is being executed by {who}",
        where=str(path),
        hint="Wait for it or end it; or give this run a store of its own with --store.",
    )
