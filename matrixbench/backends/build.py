"""What really runs, by content: the executable with its shared objects, the model, the device."""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import platform
import re
import subprocess
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from matrixbench.backends.embedded_flags import EMBEDDED_VERSION
from matrixbench.backends.executable import ServerHelp, embedded_help, parse_help
from matrixbench.backends.extras import install_line
from matrixbench.backends.file_hashes import FileHashes
from matrixbench.errors import ServerError
from matrixbench.identity import digest
from matrixbench.plan.option_files import file_details, with_contents
from matrixbench.records import Build

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from matrixbench.backends.executable import Executable
    from matrixbench.backends.protocol import ModelSource

__all__ = [
    "FileHashes",
    "Version",
    "device_name",
    "known_flags",
    "llama_server_build",
    "model_files",
    "parse_version",
    "server_files",
    "server_help",
    "server_sha256",
]

KIND = "llama-server"
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


def embedded_files() -> tuple[Path, ...]:
    """Return the shared objects of the wheel, found without importing it.

    Raises:
        ServerError: The wheel is not installed.
    """
    spec = importlib.util.find_spec("xllamacpp")
    folders = [Path(place) for place in (spec.submodule_search_locations or ())] if spec else []
    folders += [folder.with_name("xllamacpp.libs") for folder in folders]
    found = {
        path.resolve()
        for folder in folders
        for path in folder.rglob("*")
        if SHARED_OBJECT.search(path.name)
    }
    if not found:
        raise ServerError("the embedded server is not installed", hint=install_line())
    return tuple(sorted(found))


def server_sha256(executable: Executable, hashes: FileHashes) -> str:
    """Return the digest of a server's code: its executable first, the rest by content.

    Names and places are left out, so that a copy of a build is the same build.

    Raises:
        ServerError: A file cannot be read.
    """
    try:
        if executable.embedded:
            parts = [f"embedded {EMBEDDED_VERSION}", *_digests(embedded_files(), hashes)]
        else:
            first, *rest = server_files(executable.path)
            parts = [hashes.sha256(first), *_digests(rest, hashes)]
    except OSError as error:
        raise ServerError(f"cannot be read: {error}", where=str(executable.path)) from error
    return sha256("\n".join(parts).encode()).hexdigest()


def _digests(paths: Iterable[Path], hashes: FileHashes) -> list[str]:
    return sorted({hashes.sha256(path) for path in paths})


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """What `--version` says: the text after `version: `, and its parts where they mean something.

    llama.cpp writes build number 0 or 1 and commit `unknown` where it was built without git.
    """

    text: str = ""
    number: int | None = None
    commit: str | None = None
    compiler: str | None = None


_VERSION = re.compile(
    r"^version: (?P<text>(?P<name>[\w.+-]+)(?: \((?:build (?P<build>\d+), commit )?"
    r"(?P<commit>[\w-]+)\))?)",
    re.MULTILINE,
)
_COMPILER = re.compile(r"^built with (?P<compiler>.+)$", re.MULTILINE)


def parse_version(output: str) -> Version:
    """Read both layouts: `version: X.Y.Z (build N, commit HASH)`, and `version: N (HASH)`."""
    match = _VERSION.search(output)
    if match is None:
        return Version()
    digits = match["build"] or (match["name"] if match["name"].isdigit() else "")
    number = int(digits) if digits else 0
    commit = match["commit"]
    known = commit is not None and re.fullmatch(r"[0-9a-f]{6,40}", commit)
    compiler = _COMPILER.search(output)
    return Version(
        text=match["text"],
        number=number if number > 1 else None,
        commit=commit if known else None,
        compiler=compiler["compiler"].strip() if compiler else None,
    )


def server_version(executable: Executable, server: str, hashes: FileHashes) -> Version:
    """Return a server's version; an empty one where it does not say."""
    if executable.embedded:
        return Version(text=f"{importlib.metadata.version('xllamacpp')} (xllamacpp)")
    with contextlib.suppress(ServerError):
        return parse_version(
            hashes.text(f"--version {server}", lambda: executable.answer("--version"))
        )
    return Version()


def server_help(executable: Executable, hashes: FileHashes) -> ServerHelp:
    """Return what a server's `--help` says, asked once for each build.

    Raises:
        ServerError: It cannot be asked.
    """
    if executable.embedded:
        return embedded_help()
    key = f"--help {server_sha256(executable, hashes)}"
    return parse_help(hashes.text(key, lambda: executable.answer("--help")))


def known_flags(executable: Executable, hashes: FileHashes) -> frozenset[str]:
    """Return every spelling of every flag that a server knows, dashes included.

    Raises:
        ServerError: It cannot be asked.
    """
    return server_help(executable, hashes).known_flags


def llama_server_build(
    executable: Executable,
    model: ModelSource | None,
    hashes: FileHashes,
    contents: Mapping[str, str] | None = None,
) -> Build:
    """Return the build that a launch with this executable and model would have.

    No server is started and nothing is fetched.

    Args:
        executable: The server.
        model: The model; None where none is asked for.
        hashes: The memory of file hashes.
        contents: The digests of the files that the launch's options name.

    Raises:
        ServerError: A file of the server or of the model cannot be read.
    """
    program, contents = server_sha256(executable, hashes), contents or {}
    version = server_version(executable, program, hashes)
    device = hashes.for_now("device", device_name)
    weights = _model_digest(model, hashes)
    details = {
        "found_by": executable.found_by,
        "build_number": version.number,
        "commit": version.commit,
        "compiler": version.compiler,
        **file_details(program, contents),
    }
    server = with_contents(program, contents)
    identity = {"kind": KIND, "server": server, "model": weights, "device": device}
    return Build(
        id=digest(identity),
        **identity,
        version=version.text,
        details={name: value for name, value in details.items() if value is not None},
    )


def _model_digest(model: ModelSource | None, hashes: FileHashes) -> str:
    if model is None:
        return ""
    if model.sha256 is not None or model.path is None:
        return model.sha256 or ""
    try:
        return hashes.model_sha256(model_files(model.path))
    except OSError as error:
        raise ServerError(f"the model cannot be read: {error}", where=str(model.path)) from error


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
