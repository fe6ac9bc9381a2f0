"""Opens files so that what somebody put in their place does no harm.

`open_input` reads files of users: a pipe or a device, which may never end, is no file. `open_own`
opens what this program keeps (logs, locks) and follows no link. `replaced` writes an output as a
whole: whoever looks sees the old file or the new one, and a full disk leaves the old one.
"""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

PRIVATE = 0o600
"""The mode of what may hold replies, keys or prompts: nobody else reads it."""

_KINDS = {
    stat.S_IFIFO: "a pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}


def open_input(path: Path) -> BinaryIO:
    """Open a regular file for reading; links are followed, and nothing is waited for.

    Raises:
        OSError: It cannot be opened, or is no regular file; `strerror` says which.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    kind = stat.S_IFMT(os.fstat(descriptor).st_mode)
    if kind == stat.S_IFREG:
        return os.fdopen(descriptor, "rb")
    os.close(descriptor)
    if kind == stat.S_IFDIR:
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    raise OSError(errno.EINVAL, f"it is {_KINDS.get(kind, 'something else')}, no file", str(path))


def open_own(path: Path, flags: int, mode: int = PRIVATE) -> int:
    """Open a file of our own and return its descriptor; a link in its place is refused.

    Args:
        path: The file.
        flags: As `os.open` has them, but for those that are always there.
        mode: Of a file that is made.

    Raises:
        OSError: It cannot be opened, or is a link, or a pipe that nobody reads.
    """
    try:
        descriptor = os.open(
            path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC, mode
        )
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise OSError(errno.ELOOP, "a link stands in its place", str(path)) from None
        raise
    os.set_blocking(descriptor, True)
    return descriptor


def write_own(path: Path, text: str) -> None:
    """Write a text to a file of our own that only this user reads.

    Raises:
        OSError: It cannot be written, or a link stands in its place.
    """
    descriptor = open_own(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)


@contextmanager
def replaced(path: Path, mode: int | None = None) -> Iterator[BinaryIO]:
    """Write a file as a whole: into a new one beside it, which takes its place at the end.

    A link in its place is replaced, not followed; a device or a pipe is written to. A file that is
    there keeps its permissions, unless a `mode` is given.

    Raises:
        OSError: It cannot be written; then what was there is as it was.
    """
    there = _mode_of(path)
    if there is not None and stat.S_IFMT(there) in _KINDS:
        with path.open("wb") as file:
            yield file
        return
    if there is not None and stat.S_ISDIR(there):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    handle, name = tempfile.mkstemp(prefix=f".{path.name[:40]}.", suffix=".part", dir=path.parent)
    draft = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            usual = stat.S_IMODE(there) if there else 0o666 & ~_umask()
            os.fchmod(file.fileno(), usual if mode is None else mode)
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def write_whole(path: Path, content: bytes, mode: int | None = None) -> None:
    """Write a file as `replaced` does.

    Raises:
        OSError: It cannot be written; then what was there is as it was.
    """
    with replaced(path, mode) as file:
        file.write(content)


def _mode_of(path: Path) -> int | None:
    try:
        return path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None


def _umask() -> int:
    """Return the mask for new files, which can only be read by setting it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
