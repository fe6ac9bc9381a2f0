"""What a command line runs, by content: the program, its libraries or packages, its files."""

from __future__ import annotations

import os
import re
import shlex
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from matrixbench.backends.build import server_files
from matrixbench.errors import ServerError
from matrixbench.identity import canonical_json, digest

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from matrixbench.backends.file_hashes import FileHashes
    from matrixbench.identity import Json
    from matrixbench.records import JsonObject

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
        hashes: The memory of digests.
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


def build_text(program: str, names: JsonObject) -> str:
    """Return what a build says of its server: its program's digest, and its own words."""
    return canonical_json({_PROGRAM: program, **names})


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
