"""GGUF files on this machine: their magic, their size by their own header, and split models."""

from __future__ import annotations

import mmap
import re
import struct
from typing import TYPE_CHECKING

from matrixbench.errors import ModelError
from matrixbench.models.workers import ModelFiles
from matrixbench.safe_files import open_input

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

MAGIC = b"GGUF"
"""The first four bytes of every GGUF file: ggml's docs/gguf.md."""

HEADER_BYTES = 24
"""The least that a GGUF file holds: magic, version, tensor count, metadata count."""

LFS_POINTER = b"version https://git-lfs"

SPLIT = re.compile(r"(?P<prefix>.+)-(?P<index>\d{5})-of-(?P<count>\d{5})\.gguf", re.IGNORECASE)
"""How llama.cpp's gguf-split names the parts: counted from 1."""


def split_names(name: str) -> tuple[str, ...]:
    """Return the names of all parts of a split model by the name of any, in order.

    A name that is not a part's is returned alone.
    """
    match = SPLIT.fullmatch(name)
    if match is None or not 1 <= int(match["index"]) <= int(match["count"]):
        return (name,)
    prefix, count = match["prefix"], int(match["count"])
    return tuple(f"{prefix}-{part:05}-of-{count:05}.gguf" for part in range(1, count + 1))


def split_paths(path: Path) -> tuple[Path, ...]:
    """Return the paths of all parts of a model by the path of any, whether they exist or not."""
    return tuple(path.with_name(name) for name in split_names(path.name))


def locate_gguf(path: Path) -> ModelFiles | None:
    """Return the model at a path, or None if it, or one of its parts, is not there."""
    paths = split_paths(path)
    if not all(part.is_file() for part in paths):
        return None
    return ModelFiles(paths=paths, origin=str(paths[0]))


def require_gguf(path: Path) -> ModelFiles:
    """Return the model at a path.

    Raises:
        ModelError: It is not there, or one of its parts is not; the message names which.
    """
    found = locate_gguf(path)
    if found is not None:
        return found
    if path.is_dir():
        raise ModelError(
            "this is a folder, not a GGUF file", where=str(path), hint="name the file inside it"
        )
    missing = [part.name for part in split_paths(path) if not part.is_file()]
    if missing == [path.name]:
        raise ModelError(
            "there is no such file", where=str(path), hint="check the model's `gguf:` path"
        )
    raise ModelError(
        f"parts of this split model are missing: {', '.join(missing)}",
        where=str(path),
        hint="put all parts into one folder",
    )


def check_magic(paths: Sequence[Path]) -> None:
    """Look at the first bytes of each file.

    Raises:
        ModelError: One of them is no GGUF file, is cut off in its header, or cannot be read.
    """
    for path in paths:
        try:
            with open_input(path) as file:
                head = file.read(HEADER_BYTES)
        except OSError as error:
            raise ModelError(f"cannot be read: {error.strerror}", where=str(path)) from error
        if head.startswith(LFS_POINTER):
            raise ModelError(
                "this is a Git LFS pointer, not the model",
                where=str(path),
                hint="run `git lfs pull` where it was cloned",
            )
        if head.startswith(MAGIC) and len(head) < HEADER_BYTES:
            raise ModelError(
                f"this is not a GGUF file any more: it ends after {len(head)} bytes",
                where=str(path),
                hint="fetch it again: the download did not come to its end",
            )
        if not head.startswith(MAGIC):
            begins = f"it begins with {head[:4]!r}" if head else "it is empty"
            raise ModelError(
                f"this is not a GGUF file: {begins}",
                where=str(path),
                hint="is it of another format, or a page that says why there is no file?",
            )


_VERSIONS = frozenset({2, 3})
_ALIGNMENT_KEY = b"general.alignment"
_ALIGNMENT = 32
_MOST_DIMENSIONS = 8
"""ggml has four; more mean that this is no header."""

_FIXED: Mapping[int, int] = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
"""Type of a metadata value → its bytes, for numbers and booleans."""

_UINT32, _STRING, _ARRAY = 4, 8, 9

_BLOCKS: Mapping[int, tuple[int, int]] = {
    0: (1, 4), 1: (1, 2), 30: (1, 2), 28: (1, 8),  # F32, F16, BF16, F64
    24: (1, 1), 25: (1, 2), 26: (1, 4), 27: (1, 8),  # I8 … I64
    2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34), 9: (32, 36),  # Qn_0, Qn_1
    10: (256, 84), 11: (256, 110), 12: (256, 144), 13: (256, 176),  # Q2_K … Q5_K
    14: (256, 210), 15: (256, 292),  # Q6_K, Q8_K
    16: (256, 66), 17: (256, 74), 18: (256, 98), 19: (256, 50),  # IQ2_XXS … IQ1_S
    20: (32, 18), 21: (256, 110), 22: (256, 82), 23: (256, 136),  # IQ4_NL … IQ4_XS
    29: (256, 56), 34: (256, 54), 35: (256, 66),  # IQ1_M, TQ1_0, TQ2_0
    39: (32, 17), 40: (64, 36), 41: (128, 18),  # MXFP4, NVFP4, Q1_0
}  # fmt: skip
"""Type of a tensor → weights in a block, bytes of a block."""


class CutHeaderError(Exception):
    """The file ends inside of its header."""


class _NoHeaderError(Exception):
    """What stands there is no header of a known kind: nothing can be said of the size."""


def check_whole(paths: Sequence[Path]) -> None:
    """Compare the size of each GGUF file with what its header says.

    Files of other versions and with unknown types of tensors are taken to be whole as far as
    their header can be read.

    Raises:
        ModelError: One of them is cut off; with both sizes.
    """
    for path in paths:
        has = path.stat().st_size
        try:
            needs = declared_bytes(path)
        except CutHeaderError:
            what = f"the file is cut off inside of its header, which goes beyond its {has:,} bytes"
        else:
            if needs is None or has >= needs:
                continue
            what = f"the file is cut off: its header says {needs:,} bytes, there are {has:,}"
        raise ModelError(
            what, where=str(path), hint="fetch it again: the download did not come to its end"
        )


def declared_bytes(path: Path) -> int | None:
    """Return how many bytes a GGUF file must have at least; None where its header does not tell.

    Raises:
        CutHeaderError: The file ends inside of its header.
    """
    try:
        with open_input(path) as file:
            if file.read(4) != b"GGUF":
                return None
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                try:
                    return _Header(data).end()
                except (struct.error, IndexError, OverflowError):
                    raise CutHeaderError from None
    except (_NoHeaderError, OSError, ValueError):
        return None


class _Header:
    """Reads a header from its beginning on."""

    def __init__(self, data: mmap.mmap) -> None:
        self._data = data
        self._at = 4
        self._alignment = _ALIGNMENT

    def end(self) -> int:
        """Return where the last tensor's data ends.

        Raises:
            _NoHeaderError: This is no header of a known kind.
            IndexError: It goes on beyond the end of the file.
        """
        if self._number("<I") not in _VERSIONS:
            raise _NoHeaderError
        tensors, entries = self._number("<Q"), self._number("<Q")
        for _ in range(entries):
            self._entry()
        ends = [self._tensor() for _ in range(tensors)]
        start = -(-self._at // self._alignment) * self._alignment
        return max((start + end for end in ends), default=self._at)

    def _number(self, layout: str) -> int:
        value: int = struct.unpack_from(layout, self._data, self._at)[0]
        self._at += struct.calcsize(layout)
        return value

    def _skip(self, count: int) -> None:
        self._at += count
        if self._at > len(self._data):
            raise IndexError

    def _text(self) -> bytes:
        length = self._number("<Q")
        begin = self._at
        self._skip(length)
        return self._data[begin : self._at]

    def _entry(self) -> None:
        key, kind = self._text(), self._number("<I")
        if key == _ALIGNMENT_KEY and kind == _UINT32:
            self._alignment = max(1, self._number("<I"))
            return
        self._value(kind, depth=0)

    def _value(self, kind: int, *, depth: int) -> None:
        if kind in _FIXED:
            self._skip(_FIXED[kind])
        elif kind == _STRING:
            self._skip(self._number("<Q"))
        elif kind == _ARRAY and depth < _MOST_DIMENSIONS:
            inner, count = self._number("<I"), self._number("<Q")
            if inner in _FIXED:
                self._skip(_FIXED[inner] * count)
            elif inner == _STRING:
                self._skip_texts(count)
            else:
                for _ in range(count):
                    self._value(inner, depth=depth + 1)
        else:
            raise _NoHeaderError

    def _skip_texts(self, count: int) -> None:
        """Pass over texts, of which a vocabulary has some hundred thousand."""
        data, at, length = self._data, self._at, struct.Struct("<Q").unpack_from
        for _ in range(count):
            at += 8 + length(data, at)[0]
        self._at = at
        self._skip(0)

    def _tensor(self) -> int:
        """Return where a tensor's data ends, from the beginning of all data on."""
        self._text()
        dimensions = self._number("<I")
        if dimensions > _MOST_DIMENSIONS:
            raise _NoHeaderError
        weights = 1
        for _ in range(dimensions):
            weights *= self._number("<Q")
        kind, offset = self._number("<I"), self._number("<Q")
        block, size = _BLOCKS.get(kind, (0, 0))
        # Of an unknown type only the beginning is known.
        return offset + (-(-weights // block) * size if block else min(weights, 1))
