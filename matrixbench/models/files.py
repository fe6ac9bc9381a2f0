"""What is known of a model's files, and how far a fetch has got."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
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
