"""Which work a signal may break off where it stands, for nothing is in flight meanwhile."""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_BREAKABLE: ContextVar[bool] = ContextVar("_BREAKABLE", default=False)


@contextmanager
def breakable() -> Iterator[None]:
    """Let a signal end what is done here at once: it holds up the event loop, and may take long.

    What it raises passes through: files are closed, locks are given back, and what was to be
    written in one go is not written.
    """
    token = _BREAKABLE.set(True)
    try:
        yield
    finally:
        _BREAKABLE.reset(token)


def is_breakable() -> bool:
    """Return whether what runs here may be broken off; for handlers of signals."""
    return _BREAKABLE.get()
