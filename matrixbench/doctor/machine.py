"""The machine by itself: software, store, disk, ports, GPUs."""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
import tempfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from matrixbench.backends.process import free_port
from matrixbench.backends.registry import ok, problem, warning
from matrixbench.errors import StoreError
from matrixbench.store.connection import create_file
from matrixbench.store.database import open_store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from matrixbench.backends.registry import Examined
    from matrixbench.execution.settings import Settings


def size(count_bytes: int) -> str:
    """Return a size as people say it: `40 kB`, `812 MB`, `4.7 GB` (powers of ten)."""
    for bound, unit in ((1e6, "kB"), (1e9, "MB")):
        if count_bytes < bound:
            return f"{count_bytes / (bound / 1000):.0f} {unit}"
    return f"{count_bytes / 1e9:.1f} GB"


LITTLE_BYTES = 2_000_000_000
"""Less free space than this is about to run short."""

TOO_LITTLE_BYTES = 100_000_000
GPU_TIMEOUT_S = 10.0
MOVE = "make it writable, or move the store with --store or $MATRIXBENCH_STORE"


def examine_machine(settings: Settings) -> Iterator[Examined]:
    """Yield what there is to say of the machine, whatever the experiment."""
    yield software()
    yield from graphics()
    yield ports()
    yield store_folder(settings.store)
    yield from store_file(settings.store)
    yield cache_folder(settings.cache)
    yield from disk_space(settings)


def software() -> Examined:
    """Return which Python and which matrixbench this is."""
    try:
        ours = version("matrixbench")
    except PackageNotFoundError:
        ours = "not installed (run from its source)"
    python = f"Python {sys.version.split()[0]} on {platform.platform(terse=True)}"
    return ok("software", f"matrixbench {ours}, {python}")


def graphics() -> Iterator[Examined]:
    """Yield the GPUs that NVIDIA's tool lists; without the tool there is nothing to say of them."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        yield ok("GPU", "no nvidia-smi: servers use another driver, or the processor")
        return
    query = "--query-gpu=name,memory.free,memory.total,driver_version"
    try:
        done = subprocess.run(
            [tool, query, "--format=csv,noheader"],
            capture_output=True,
            timeout=GPU_TIMEOUT_S,
            check=True,
        )
    except (OSError, subprocess.SubprocessError) as error:
        reason = type(error).__name__ if not isinstance(error, OSError) else error.strerror
        todo = "run nvidia-smi; servers that need the GPU will not start"
        yield warning("GPU", f"nvidia-smi fails ({reason})", todo)
        return
    lines = [line.strip() for line in done.stdout.decode(errors="replace").splitlines()]
    for line in filter(None, lines):
        name, free, total, driver = (line.split(", ") + ["?"] * 4)[:4]
        yield ok("GPU", f"{name}, {free} of {total} free, driver {driver}")
    if not any(lines):
        yield warning("GPU", "nvidia-smi lists none", "is one passed on to this container?")


def ports() -> Examined:
    """Return whether a port of the loopback interface can be had."""
    try:
        return ok("ports", f"127.0.0.1:{free_port()} can be bound, and so any free one")
    except OSError as error:
        todo = "managed servers need a free port on 127.0.0.1: is the loopback interface up?"
        return problem("ports", f"127.0.0.1 cannot be bound: {error.strerror}", todo)


def store_folder(store: Path) -> Examined:
    """Return whether a store can be written where the experiment's is: by making one there."""
    folder = nearest_folder(store.parent)
    try:
        with tempfile.TemporaryDirectory(prefix=".matrixbench-doctor-", dir=folder) as place:
            create_file(Path(place) / "trial.db")
            with open_store(Path(place) / "trial.db", create=False):
                pass
    except StoreError as error:
        return problem("store", f"{store}: {error.message}", error.hint or MOVE)
    except OSError as error:
        return problem("store", f"{folder} cannot be written: {error.strerror}", MOVE)
    return ok("store", f"{store} can be written, with its write-ahead log")


def store_file(store: Path) -> Iterator[Examined]:
    """Yield whether the store that is there can be read."""
    if not store.exists():
        return
    try:
        with open_store(store, create=False):
            yield ok("store", f"{store} is there and can be read ({size(store.stat().st_size)})")
    except StoreError as error:
        yield problem("store", f"{error.where or store}: {error.message}", error.hint)


def cache_folder(cache: Path) -> Examined:
    """Return whether models and digests can be kept."""
    folder = nearest_folder(cache)
    try:
        with tempfile.TemporaryFile(dir=folder):
            return ok("cache", f"{cache} can be written")
    except OSError as error:
        todo = "make it writable, or set $MATRIXBENCH_CACHE to a folder that is"
        return problem("cache", f"{folder} cannot be written: {error.strerror}", todo)


def disk_space(settings: Settings) -> Iterator[Examined]:
    """Yield how much room there is for the store and for models, each disk once."""
    seen: set[int] = set()
    for what, path in (("store", settings.store.parent), ("cache", settings.cache)):
        folder = nearest_folder(path)
        device = folder.stat().st_dev
        if device in seen:
            continue
        seen.add(device)
        free = shutil.disk_usage(folder).free
        found = f"{size(free)} free at {folder} ({what})"
        if free < TOO_LITTLE_BYTES:
            yield problem("disk", found, "free some space")
        elif free < LITTLE_BYTES:
            yield warning("disk", found, "a model may not fit: free some space")
        else:
            yield ok("disk", found)


def nearest_folder(path: Path) -> Path:
    """Return a folder, or the nearest one above it that is there."""
    return next(folder for folder in (path, *path.absolute().parents) if folder.is_dir())
