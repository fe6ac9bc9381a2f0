"""GGUF files on this machine: their magic, and models that are split over several of them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from matrixbench.errors import ModelError
from matrixbench.models.files import ModelFiles
from matrixbench.safe_files import open_input

if TYPE_CHECKING:
    from collections.abc import Sequence
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
