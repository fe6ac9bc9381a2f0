"""What really runs, by content: programs, shared objects, packages, models, devices."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import platform
import re
import shlex
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from matrixbench.errors import ServerError
from matrixbench.identity import STOPPED, canonical_json, digest, file_sha256
from matrixbench.plan.launches import file_details, with_contents
from matrixbench.records import Build

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from matrixbench.identity import Json
    from matrixbench.records import JsonObject

P = ParamSpec("P")
T = TypeVar("T")

CACHE_VERSION = 1
BLOB_NAME = re.compile(r"[0-9a-f]{64}$")


async def hashing(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Return what work returns that hashes files, done in a thread; cancellation ends the thread.

    A thread cannot be ended, and the program would wait for it: 50 seconds for 30 GB.
    """
    stopped = Event()

    def until_stopped() -> T:
        STOPPED.set(stopped)  # in the thread's own context
        return work(*args, **kwargs)

    try:
        return await asyncio.to_thread(until_stopped)
    finally:
        stopped.set()


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


_PYTHON = re.compile(r"python[\d.]*$")
_PROGRAM = "program"
_SCRIPTS = (".py", ".sh", ".bash", ".js", ".mjs", ".cjs", ".ts", ".rb", ".pl", ".lua")
_SETTINGS = (".json", ".yaml", ".yml", ".toml", ".ini", ".cfg", ".conf", ".jinja", ".gguf")
_READ_ONLY = frozenset({*_SCRIPTS, *_SETTINGS})
"""What ends the names of files that a server reads."""

_SHEBANG_BYTES = 512
_PACKAGES = (
    "lib/python3*/site-packages",
    "lib/python3*/dist-packages",
    "lib/python3/dist-packages",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A program that can be started.

    Args:
        path: Its executable, as it was found: of a virtual environment's Python the link.
        sha256: The digest of the executable and the shared objects beside it.
        digest: What stands for all of its code: `sha256`, Python packages, files that it is given.
        packages: How many Python packages count; 0 for a program that is none of Python's.
        files: How many files of the command line count.
    """

    path: Path
    sha256: str
    digest: str
    packages: int = 0
    files: int = 0


def find_program(name: str, env: Mapping[str, str]) -> Path:
    """Return the executable of a name or a path.

    Raises:
        ServerError: It is not there, or cannot be executed.
    """
    found = shutil.which(name, path=env.get("PATH", os.defpath))
    if found is not None:
        return Path(found).absolute()
    path = Path(name)
    if "/" not in name:
        raise ServerError(
            f"no program «{name}» was found on PATH",
            hint="install it, or write its path as the first element of argv",
        )
    what = "cannot be executed" if path.exists() else "there is no such program"
    raise ServerError(what, where=name, hint="the first element of argv names the server's program")


def identify(
    arguments: Sequence[str], path: Path, hashes: FileHashes, *, apart: Collection[Path] = ()
) -> Program:
    """Return what a command line runs.

    A Python program is a few lines that import the rest, so that its own digest never changes: the
    names and versions of the packages that are installed with its interpreter count as well.
    Arguments that name a file (a script, a configuration) count by the file's content.

    Args:
        arguments: The command line without what changes from start to start, and without the
            model, which counts by itself.
        path: Its executable.
        apart: Files that do not count here, since the build tells of them by themselves.

    Raises:
        ServerError: A file cannot be read.
    """
    try:
        first, *rest = server_files(path)
        sha256 = hashes.sha256(first)
        shared = sorted({hashes.sha256(file) for file in rest})
        packages = _packages(path)
        named = (file for file in _named_files(arguments[1:]) if file not in apart)
        files = [hashes.sha256(file) for file in named]
    except OSError as error:
        raise ServerError(f"cannot be read: {error}", where=str(path)) from error
    parts: dict[str, Json] = {"program": sha256, "shared": shared}
    parts |= {"packages": packages, "files": files}
    return Program(
        path=path,
        sha256=sha256,
        digest=digest(parts),
        packages=len(packages),
        files=len(files),
    )


NAMED_BY = ("version", "build_info")
"""Of what a server reports, what names its software; the rest depends on machine and settings."""


def program_build(
    kind: str,
    program: Program,
    said: JsonObject,
    *,
    model: str = "",
    device: str = "",
    contents: Mapping[str, str] | None = None,
) -> Build:
    """Return the build of a server whose program is known by content.

    Args:
        said: What the running server reports of itself; nothing before it runs.
        model: The digest of the model's file; empty where the server has the model by itself.
        device: What it computes on.
        contents: The digests of the files that the launch's options name.
    """
    names = {name: said[name] for name in NAMED_BY if name in said}
    code = with_contents(program.digest, contents or {})
    identity = {
        "kind": kind,
        "server": canonical_json({_PROGRAM: code, **names}),
        "model": model,
        "device": device,
    }
    return Build(
        id=digest(identity),
        **identity,
        version=str(said.get("version") or said.get("build_info") or ""),
        details={
            "executable": program.path.name,
            "sha256": program.sha256,
            "python_packages": program.packages,
            "files": program.files,
            **file_details(program.digest, contents or {}),
        },
    )


def _named_files(arguments: Sequence[str]) -> list[Path]:
    """Return the files that arguments name by an absolute path, alone or as `--flag=PATH`.

    By a path from the present folder, where servers run, only scripts and configurations are meant:
    other words may be names of files by chance, or of what the server writes.
    """
    named = (Path(text.partition("=")[2] if text.startswith("-") else text) for text in arguments)
    return [
        path
        for path in named
        if (path.is_absolute() or path.suffix in _READ_ONLY) and path.is_file()
    ]


def _packages(path: Path) -> list[str]:
    """Return `name-version` of what is installed with the Python that runs a program, sorted."""
    interpreter = path if _PYTHON.fullmatch(path.name) else _interpreter(path)
    if interpreter is None:
        return []
    prefix = interpreter.parent.parent
    found = {
        info.name.removesuffix(".dist-info")
        for pattern in _PACKAGES
        for info in prefix.glob(f"{pattern}/*.dist-info")
    }
    return sorted(found)


def _interpreter(script: Path) -> Path | None:
    """Return the Python that a script's first line names, or None where it names none."""
    with script.open("rb") as file:
        first = file.read(_SHEBANG_BYTES).partition(b"\n")[0]
    if not first.startswith(b"#!"):
        return None
    words = shlex.split(first[2:].decode(errors="replace"))
    pythons = [word for word in words if _PYTHON.fullmatch(Path(word).name)]
    if not pythons:
        return None
    found = shutil.which(pythons[0])
    return None if found is None else Path(found)


SHARED_PREFIXES = frozenset({"/", "/usr", "/usr/local", "/opt/homebrew", "/opt/local"})
MANY_LIBRARIES = 64
"""A `lib` folder with more shared objects than this belongs to more programs than one."""

OWN_NAMES = re.compile(r"lib(llama|ggml|mtmd)[\w.+-]*$")
SHARED_OBJECT = re.compile(r"\.(so(\.\d+)*|dylib|dll)$")
SPLIT_NAME = re.compile(r"(?P<stem>.*-)(?P<part>\d{5})-of-(?P<parts>\d{5})\.gguf$")
DEVICE_TIMEOUT_S = 20.0


def model_files(first: Path) -> tuple[Path, ...]:
    """Return all files of a model, given its first: split ones are called `…-00001-of-00003`."""
    match = SPLIT_NAME.match(first.name)
    if match is None:
        return (first,)
    parts = int(match["parts"])
    return tuple(
        first.with_name(f"{match['stem']}{part:05d}-of-{parts:05d}.gguf")
        for part in range(1, parts + 1)
    )


def server_files(executable: Path) -> tuple[Path, ...]:
    """Return the executable and the shared objects that it may load from its own tree, each once.

    Which ones it loads is known only when it runs (`libggml-cpu-*.so` is chosen by the processor),
    so all are taken that lie beside it or in the `lib` folders next to its own. One too many costs
    at most a measurement that is done again; one too few would mix two builds. In a folder that
    many programs share, only llama.cpp's own names are taken: there, any update of anything would
    otherwise be a new build.
    """
    real = executable.resolve(strict=True)
    found = {real}
    for folder in (real.parent, *_library_folders(real.parent.parent)):
        objects = [path for path in folder.glob("*") if SHARED_OBJECT.search(path.name)]
        shared = _is_shared(folder) or len(objects) > MANY_LIBRARIES
        found |= {
            path.resolve()
            for path in objects
            if path.is_file() and (not shared or OWN_NAMES.match(path.name))
        }
    return (real, *sorted(found - {real}))


def _library_folders(prefix: Path) -> list[Path]:
    patterns = ("lib", "lib64", "lib/*-linux-gnu", "lib*/llama.cpp", "lib*/ggml")
    deeper = ("lib/*-linux-gnu/ggml", "lib/*-linux-gnu/llama.cpp")
    return sorted({path for name in (*patterns, *deeper) for path in prefix.glob(name)})


def _is_shared(folder: Path) -> bool:
    prefixes = [folder, *folder.parents][:4]
    return (
        any(
            str(prefix) in SHARED_PREFIXES - {"/"} or (prefix / "conda-meta").is_dir()
            for prefix in prefixes
        )
        or str(folder.parent) in SHARED_PREFIXES
    )


def device_name() -> str:
    """Return what this machine computes on: the processor's name, and those of its GPUs."""
    gpus = _first_lines("nvidia-smi", "--query-gpu=name", "--format=csv,noheader")
    counted = [f"{gpus.count(name)} × {name}" for name in sorted(set(gpus))]
    return " + ".join([_processor(), *counted])


def gpus() -> list[dict[str, str]]:
    """Return name, driver and memory of each GPU that nvidia-smi tells of; none without it."""
    asked = "--query-gpu=name,driver_version,memory.total"
    lines = _first_lines("nvidia-smi", asked, "--format=csv,noheader")
    names = ("name", "driver", "memory")
    return [dict(zip(names, map(str.strip, line.split(",")), strict=False)) for line in lines]


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(":")
            if name.strip() in {"model name", "Model"}:
                return value.strip()
    said = _first_lines("sysctl", "-n", "machdep.cpu.brand_string")
    return said[0] if said else platform.processor() or platform.machine()


def _first_lines(*argv: str) -> list[str]:
    """Return the lines that a program prints; none where it is missing or fails."""
    try:
        done = subprocess.run(argv, capture_output=True, timeout=DEVICE_TIMEOUT_S, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    return [line.strip() for line in done.stdout.decode(errors="replace").splitlines() if line]
