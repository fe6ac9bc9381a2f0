"""Packs a report's records: lines of JSON in blocks, each gzip in base64.

An index of integers says in which block each record is.
"""

from __future__ import annotations

import json
import zlib
from base64 import b64encode
from dataclasses import dataclass, field
from typing import Any

_PACKED_BYTES = 192 * 1024
"""A block is full at 256 KB of base64: quick to unpack, and large enough to be packed well."""

_PLAIN_BYTES = 4 * 1024 * 1024
"""What packs very well fills a block too: a page holds the whole text of one at a time."""

_GZIP = 31


@dataclass(slots=True)
class Pack:
    """Records, numbered from 0 in the order in which they were added."""

    blocks: list[bytes] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)
    records: int = 0
    size: int = 0
    _open: list[bytes] = field(default_factory=list)
    _plain: int = 0
    _packed: int = 0
    _packer: Any = None

    def add(self, record: Any) -> int:
        """Return the number of a record, which is packed."""
        line = json_bytes(record) + b"\n"
        if self._packer is None:
            self._packer = zlib.compressobj(6, zlib.DEFLATED, _GZIP)
            self.starts.append(self.records)
        self._take(self._packer.compress(line))
        self._plain += len(line)
        self.records += 1
        if self._packed >= _PACKED_BYTES or self._plain >= _PLAIN_BYTES:
            self.close()
        return self.records - 1

    def close(self) -> None:
        """End the present block; what follows stands in the next one."""
        if self._packer is None:
            return
        self._take(self._packer.flush())
        block = b64encode(b"".join(self._open))
        self.blocks.append(block)
        self.size += len(block)
        self._open, self._plain, self._packed, self._packer = [], 0, 0, None

    @property
    def so_far(self) -> int:
        """How many bytes of the page the records take, as far as they are packed."""
        return self.size + self._packed * 4 // 3

    def index(self) -> list[int]:
        """Return the number of each block's first record, and at the end how many there are."""
        return [*self.starts, self.records]

    def _take(self, packed: bytes) -> None:
        self._open.append(packed)
        self._packed += len(packed)


def json_bytes(value: Any) -> bytes:
    """Return JSON as bytes, also of a text that is no Unicode: half a sign becomes its escape."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.encode("utf-8", "backslashreplace")
