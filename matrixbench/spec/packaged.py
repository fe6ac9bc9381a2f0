"""Suites inside installed Python packages: `my_evals:suites/agents.yaml`.

Finding a package runs none of its code: its folder, or its place in a zip file, is asked of the
import system, and the file is read from there.
"""

from __future__ import annotations

import pkgutil
import re
import sys
from dataclasses import dataclass
from importlib import resources
from importlib.util import find_spec, module_from_spec
from itertools import islice
from typing import TYPE_CHECKING

from matrixbench.errors import Problem, SpecError
from matrixbench.spec.source import MAX_BYTES, decode, parse_document, reason
from matrixbench.spec.wording import choose, nearest, quoted

if TYPE_CHECKING:
    from collections.abc import Iterator
    from importlib.resources.abc import Traversable

    from matrixbench.spec.nodes import Document

SUFFIXES = (".yaml", ".yml", ".json")
"""What the name of a suite's file ends with."""

# One letter before a colon is a drive (`C:\evals`), and a path has a slash before any colon of its.
_REFERENCE = re.compile(r"(?P<package>[A-Za-z_][\w.-]+):(?P<path>.*)", re.DOTALL)
_FILES_LISTED = 200
_DEPTH_LISTED = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class PackagedFile:
    """A file in an installed package.

    Args:
        package: The package's import name; dots lead into its folders.
        path: The file's path in the package, with slashes.
    """

    package: str
    path: str

    def __str__(self) -> str:
        return f"{self.package}:{self.path}"


def packaged_file(reference: str) -> PackagedFile | None:
    """Return the file in a package that a reference names; None where it names something else."""
    found = _REFERENCE.fullmatch(reference)
    return PackagedFile(package=found["package"], path=found["path"]) if found else None


def read_packaged(file: PackagedFile) -> Document:
    """Return what a YAML file in an installed package says.

    Raises:
        SpecError: There is no such package or file, the path leads out of the package, or the file
            is not YAML.
    """
    parts = _parts(file)
    content = _content(_folder(file), parts, file)
    return parse_document(decode(content, name=str(file)), name=str(file))


def _parts(file: PackagedFile) -> list[str]:
    """Return the folders and the file's name on the way from the top package to the file."""
    if file.path.startswith("//"):
        raise _refused(file, "cannot be read: suites are not fetched", "save it, and name the file")
    if "\\" in file.path:
        raise _refused(file, "has a backslash in its path", "write / between folders")
    parts = [*file.package.split(".")[1:], *file.path.split("/")]
    if ".." in parts or file.path.startswith("/"):
        raise _refused(file, "leads out of its package", "write a path inside of it")
    if not file.path.endswith(SUFFIXES):
        raise _refused(file, f"does not end with {', '.join(SUFFIXES)}", "name the file of a suite")
    return [part for part in parts if part not in {"", "."}]


def _folder(file: PackagedFile) -> Traversable:
    """Return the top package's folder, without importing it."""
    top = file.package.partition(".")[0]
    try:
        spec = find_spec(top)
    except ValueError:  # what runs as a program, such as `__main__`, has no spec
        spec = None
    if spec is None:
        what = f"cannot be read: no Python package called {quoted(top)} is installed"
        raise _refused(file, what, _how_to_install(top))
    if spec.submodule_search_locations is None:
        raise _refused(file, f"cannot be read: {quoted(top)} is a single module, without files")
    return resources.files(module_from_spec(spec))


def _how_to_install(package: str) -> str:
    near = nearest(package, {module.name for module in pkgutil.iter_modules() if module.ispkg})
    meant = f"perhaps you meant «{near}»; " if near else ""
    install = f"install it for this Python: {sys.executable} -m pip install {package}"
    return f"{meant}{install}; a file whose name holds a colon is written ./{package}:…"


def _content(folder: Traversable, parts: list[str], file: PackagedFile) -> bytes:
    found = folder
    for part in parts:  # a namespace package's folder takes one step at a time before Python 3.12
        found = found.joinpath(part)
    if not found.is_file():
        begun = "".join(f"{part}/" for part in file.package.split(".")[1:])
        there = sorted(islice(_suites_in(folder), _FILES_LISTED))
        choices = [path.removeprefix(begun) for path in there if path.startswith(begun)]
        hint = choose(file.path, choices, what="its YAML files")
        raise _refused(file, "cannot be read: the package has no such file", hint)
    try:
        with found.open("rb") as opened:
            return opened.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        why = reason(error)
        raise _refused(file, f"cannot be read: {why}") from None


def _suites_in(folder: Traversable, way: str = "", depth: int = 0) -> Iterator[str]:
    """Yield the paths of what may be suites in a package."""
    for entry in folder.iterdir():
        if entry.is_file() and entry.name.endswith(SUFFIXES):
            yield f"{way}{entry.name}"
        elif entry.is_dir() and depth < _DEPTH_LISTED:
            yield from _suites_in(entry, f"{way}{entry.name}/", depth + 1)


def _refused(file: PackagedFile, message: str, hint: str = "") -> SpecError:
    return SpecError([Problem(message=message, where=str(file), hint=hint)])
