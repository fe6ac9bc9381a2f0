"""Digests of files and texts of programs, remembered between runs."""

from __future__ import annotations

import contextlib
import json
import re
import tempfile
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matrixbench.identity import file_sha256

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

CACHE_VERSION = 1
BLOB_NAME = re.compile(r"[0-9a-f]{64}$")


class FileHashes:
    """Digests of files, remembered by path, size, times of change and inode; and what programs say.

    The memory is a JSON file that any number of processes may share: it is replaced as a whole, and
    an entry that another process overwrites is computed again. A file that cannot be read or
    written only costs time.

    Args:
        cache: The memory's file; None keeps nothing beyond this object.
    """

    def __init__(self, cache: Path | None) -> None:
        self._cache = cache
        self._known = self._read()
        self._said: dict[str, str] = {}

    def sha256(self, path: Path) -> str:
        """Return the sha256 of a file's content, 64 hex digits.

        Raises:
            OSError: The file cannot be read.
        """
        real = path.resolve(strict=True)
        before = _fingerprint(real)
        kept = self._known["files"].get(str(real))
        if isinstance(kept, dict) and kept.get("stat") == before:
            return str(kept["sha256"])
        found = file_sha256(real)
        if _fingerprint(real) == before:
            self._remember("files", str(real), {"stat": before, "sha256": found})
        return found

    def text(self, key: str, produce: Callable[[], str]) -> str:
        """Return a text that belongs to some content for good, produced at most once."""
        kept = self._known["texts"].get(key)
        if isinstance(kept, str):
            return kept
        text = produce()
        self._remember("texts", key, text)
        return text

    def for_now(self, key: str, produce: Callable[[], str]) -> str:
        """Return a text that holds as long as this object lives, produced at most once."""
        if key not in self._said:
            self._said[key] = produce()
        return self._said[key]

    def model_sha256(self, paths: Sequence[Path]) -> str:
        """Return the digest of a model's content over all its files, in their order.

        Of a single file it is the file's own sha256; a blob of a Hugging Face cache carries it as
        its name.

        Raises:
            OSError: A file cannot be read.
        """
        each = [self._model_file(path) for path in paths]
        return each[0] if len(each) == 1 else sha256("\n".join(each).encode()).hexdigest()

    def _model_file(self, path: Path) -> str:
        real = path.resolve(strict=True)
        if real.parent.name == "blobs" and BLOB_NAME.match(real.name):
            return real.name
        return self.sha256(real)

    def _read(self) -> dict[str, dict[str, Any]]:
        data: Any = None
        if self._cache is not None:
            with contextlib.suppress(OSError, ValueError):
                data = json.loads(self._cache.read_bytes())
        if not isinstance(data, dict) or data.get("version") != CACHE_VERSION:
            data = {}
        parts = {name: data.get(name) for name in ("files", "texts")}
        return {name: part if isinstance(part, dict) else {} for name, part in parts.items()}

    def _remember(self, part: str, key: str, value: object) -> None:
        self._known[part][key] = value
        if self._cache is None:
            return
        others = self._read()
        for name, entries in self._known.items():
            entries.update({k: v for k, v in others[name].items() if k not in entries})
        with contextlib.suppress(OSError):
            self._cache.parent.mkdir(parents=True, exist_ok=True)
            _replace(self._cache, json.dumps({"version": CACHE_VERSION, **self._known}))


def _fingerprint(path: Path) -> list[int]:
    """Return what changes with a file. Anybody can set its time, but not when that was done.

    What an older version remembers has no such fourth number: then the file is read once more.
    """
    stat = path.stat()
    return [stat.st_size, stat.st_mtime_ns, stat.st_ino, stat.st_ctime_ns]


def _replace(path: Path, text: str) -> None:
    """Write a file as a whole: whoever reads it sees the old or the new one."""
    with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False, encoding="utf-8") as new:
        try:
            new.write(text)
            new.close()
            Path(new.name).replace(path)
        except OSError:
            Path(new.name).unlink(missing_ok=True)
            raise
