"""A server's key in a file that only this user reads, for as long as the server needs it.

A run that is killed leaves its file behind. Each one is locked while its run lives, so that the
next run can tell what was left from what is in use.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

SUFFIX = ".key"


@contextlib.contextmanager
def key_file(folder: Path, name: str, key: str | None) -> Iterator[Path]:
    """Keep a key in a file of a folder; without a key there is no file."""
    if key is None:
        yield Path()
        return
    handle, made = tempfile.mkstemp(prefix=f"{name}-", suffix=SUFFIX, dir=folder)
    path = Path(made)
    try:
        with os.fdopen(handle, "w", encoding="ascii") as file:
            with contextlib.suppress(OSError):  # a file system without locks
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            file.write(f"{key}\n")
            file.flush()
            yield path
    finally:
        path.unlink(missing_ok=True)


def remove_left_over(logs: Path) -> None:
    """Remove the keys of runs that were killed: files that nobody has locked.

    Args:
        logs: A folder with a folder an experiment, and in each of them one a run.
    """
    for path in logs.glob(f"*/*/*{SUFFIX}"):
        with contextlib.suppress(OSError):
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()
            finally:
                os.close(descriptor)
