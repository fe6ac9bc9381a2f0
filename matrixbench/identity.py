"""What makes an id: JSON in one form, digests of it and of files; and how deep JSON may be."""

from __future__ import annotations

import json
import re
from contextvars import ContextVar
from hashlib import blake2b, sha256
from typing import TYPE_CHECKING, TypeAlias

from matrixbench.safe_files import open_input

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from threading import Event

IDENTITY_VERSION = 1

DIGEST_BYTES = 12
"""96 bits: among 10⁹ cells a collision has a chance of about 10⁻¹¹."""

Json: TypeAlias = "bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None"


def canonical_json(value: Json) -> str:
    """Return the one JSON text of a value: sorted keys, no spaces, `1.0` written as `1`.

    Raises:
        ValueError: The value holds a NaN or an infinity, which JSON cannot say.
    """
    return json.dumps(
        _plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )


def _plain(value: Json) -> Json:
    match value:
        case bool() | int() | str() | None:
            return value
        case float():
            return int(value) if value.is_integer() else value
        case list() | tuple():
            return [_plain(item) for item in value]
        case _:
            return {str(key): _plain(item) for key, item in value.items()}  # type: ignore[union-attr]


def digest(value: Json) -> str:
    """Return 24 hex digits that stand for a value by its content."""
    return digest_bytes(canonical_json(value).encode())


def digest_bytes(data: bytes) -> str:
    """Return 24 hex digits (BLAKE2b, 96 bits) that stand for some bytes."""
    return blake2b(data, digest_size=DIGEST_BYTES).hexdigest()


def combine(*digests: str) -> str:
    """Return the digest of a sequence of digests: order counts, and no JSON is written."""
    return digest_bytes("/".join(digests).encode())


STOPPED: ContextVar[Event | None] = ContextVar("STOPPED", default=None)
"""Set by whoever waited for a thread that hashes files, and does so no more."""


def file_sha256(path: Path) -> str:
    """Return the sha256 of a file's content, 64 hex digits, read in pieces.

    Raises:
        OSError: The file cannot be read, or is none: a pipe, a device; or `STOPPED` was set.
    """
    hasher = sha256()
    with open_input(path) as file:
        while piece := file.read(1 << 20):
            hasher.update(piece)
            if (stopped := STOPPED.get()) is not None and stopped.is_set():
                raise InterruptedError("nobody waits for this any more")
    return hasher.hexdigest()


DEEPEST = 128
"""How many lists and objects may stand within each other.

What is read has to be masked, judged, stored and shown as well. Each of those goes down level by
level, and Python ends a program that goes down a thousand. No chat server has a reason to send a
reply that comes near: what does is refused as a whole.
"""

_OUTSIDE_TEXTS = re.compile(rb'"(?:[^"\\]|\\.)*+"?|([\[{])|([\]}])', re.DOTALL)


def too_deep(body: bytes) -> bool:
    """Return whether JSON text, or a stream of it, is nested deeper than `DEEPEST`.

    Nearly always it is enough to count brackets; brackets within texts do not count.
    """
    if body.count(b"[") + body.count(b"{") <= DEEPEST:
        return False
    level = 0
    for found in _OUTSIDE_TEXTS.finditer(body):
        if found[1]:
            level += 1
            if level > DEEPEST:
                return True
        elif found[2]:
            level = max(0, level - 1)
    return False
