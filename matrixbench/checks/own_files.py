"""Which files beside an experiment a check in Python would load, known without running any."""

from __future__ import annotations

import ast
import sys
from importlib.machinery import EXTENSION_SUFFIXES, SOURCE_SUFFIXES
from pathlib import Path
from typing import TYPE_CHECKING

from matrixbench.identity import digest, digest_bytes
from matrixbench.spec.trust import Use, UseKind

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_SUFFIXES = (*EXTENSION_SUFFIXES, *SOURCE_SUFFIXES)
"""In the order in which Python looks for them."""

_MOST_BYTES = 1_000_000
"""Of a larger source the imports are not looked at."""

_LATER = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
"""What stands in these is imported when they are called, if at all."""


def home_of(folder: Path | None, module: str) -> Path | None:
    """Return the folder whose file a module is: that of the experiment or suite; None elsewhere."""
    return folder if folder is not None and is_in(folder, module) else None


def is_in(folder: Path, module: str) -> bool:
    """Return whether a folder has a module."""
    place = folder.joinpath(*module.split("."))
    return place.with_name(f"{place.name}.py").is_file() or (place / "__init__.py").is_file()


def module_uses(module: str, folder: Path | None) -> tuple[Use, ...]:
    """Return the files that a check's module would run, each by its content.

    A module of an installed package is one that nobody has to trust. One that is found in the
    present folder alone, which `python -m` puts on the import path, is none of a package's.
    """
    home = home_of(folder, module)
    if home is None and any(Path(place).absolute() == Path.cwd() for place in sys.path):
        home = home_of(Path.cwd(), module)
    if home is None:
        return (Use(kind=UseKind.MODULE, name=module, free="on the import path"),)
    return tuple(
        Use(kind=UseKind.MODULE, name=str(path), content=digest_of(path), at_look=True)
        for path in files_before(home, module, later=True).values()
    )


def foreseen_source(folder: Path | None, module: str) -> str:
    """Return what would stand for a module by content if it were loaded; empty without a folder.

    It is another one where the module imports by other ways than `from . import …` at its top.
    """
    if folder is None:
        return ""
    found = files_before(folder, module, later=False)
    return digest([digest_of(path) for _, path in sorted(found.items())])


def files_before(folder: Path, module: str, *, later: bool) -> Mapping[str, Path]:
    """Return name → file of a module, of what it is in, and of what these import relatively.

    Args:
        folder: Where it is.
        module: Its name.
        later: Whether imports in functions count too.
    """
    found: dict[str, Path] = {}
    seen: set[str] = set()
    waiting = [module]
    while waiting:
        parts = waiting.pop().split(".")
        for name in (".".join(parts[:end]) for end in range(1, len(parts) + 1)):
            if name in seen:
                continue
            seen.add(name)
            if (path := _file_of(folder, name)) is not None:
                found[name] = path
                waiting += _imported(path, name, later=later)
    return found


def _file_of(folder: Path, name: str) -> Path | None:
    """Return the file that Python would load for a name; None for a folder without one."""
    place = folder.joinpath(*name.split("."))
    inits = (place / f"__init__{suffix}" for suffix in _SUFFIXES)
    files = (place.with_name(f"{place.name}{suffix}") for suffix in _SUFFIXES)
    return next((path for path in (*inits, *files) if path.is_file()), None)


def _imported(path: Path, name: str, *, later: bool) -> Iterator[str]:
    """Yield the modules that a file imports relatively, functions' names among them."""
    package = name.split(".") if path.stem == "__init__" else name.split(".")[:-1]
    try:
        if path.suffix != ".py" or path.stat().st_size > _MOST_BYTES:
            return
        tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return
    for node in _nodes(tree, later=later):
        if not isinstance(node, ast.ImportFrom) or not node.level or node.level > len(package) + 1:
            continue
        base = package[: len(package) - node.level + 1]
        base += node.module.split(".") if node.module else []
        if base:
            yield ".".join(base)
        yield from (".".join([*base, alias.name]) for alias in node.names if alias.name != "*")


def _nodes(tree: ast.AST, *, later: bool) -> Iterator[ast.AST]:
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, _LATER) and not later:
            continue
        yield node
        waiting += ast.iter_child_nodes(node)


def digest_of(path: Path | str) -> str:
    """Return the digest of a file; empty where it cannot be read."""
    try:
        return digest_bytes(Path(path).read_bytes())
    except OSError:
        return ""
