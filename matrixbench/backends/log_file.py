"""A server's log, kept from growing without end: its beginning and its end say what matters."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from matrixbench.safe_files import open_own

if TYPE_CHECKING:
    from pathlib import Path

LONGEST_BYTES = 64 << 20
"""Some 10,000 requests of a llama-server that tells most, 60,000 of one that tells the usual."""

KEPT_BYTES = 1 << 20
"""Of the beginning, and of the end."""


def shorten(log: Path, longest: int = LONGEST_BYTES, kept: int = KEPT_BYTES) -> bool:
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
