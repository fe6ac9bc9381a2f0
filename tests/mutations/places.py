"""Where a spot is in a package: its text in a function, wherever that function now stands."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.mutations.spots import Spot


class SpotError(Exception):
    """The table and the package disagree: a text is gone, or it occurs more than once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A file, and where in its text a spot's begins."""

    path: Path
    start: int


def place_of(spot: Spot, package: Path) -> Place:
    """Return the one place of a spot in a package.

    Raises:
        SpotError: There is none, or there are several.
    """
    found = [
        place
        for path in sorted(package.rglob("*.py"))
        if spot.text in (source := path.read_text(encoding="utf-8"))
        for place in _places_in(spot, path, source)
    ]
    if len(found) != 1:
        where = ", ".join(str(place.path.relative_to(package)) for place in found) or "nowhere"
        raise SpotError(f"{spot.within}: {spot.text!r} is to be found once, and is {where}")
    return found[0]


def change(spot: Spot, package: Path) -> Path:
    """Write a spot's fault into a package; return the file that was changed.

    Raises:
        SpotError: As `place_of` says.
        SyntaxError: What it becomes is no Python.
    """
    place = place_of(spot, package)
    source = place.path.read_text(encoding="utf-8")
    changed = source[: place.start] + spot.becomes + source[place.start + len(spot.text) :]
    compile(changed, str(place.path), "exec")
    # A new file: the tree's own may be linked to this one, and stays as it is.
    place.path.unlink()
    place.path.write_text(changed, encoding="utf-8")
    return place.path


def _places_in(spot: Spot, path: Path, source: str) -> Iterator[Place]:
    lines = source.splitlines(keepends=True)
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line))
    for first, last in _spans(ast.parse(source), spot.within):
        at = source.find(spot.text, starts[first - 1], starts[last])
        while at >= 0:
            yield Place(path=path, start=at)
            at = source.find(spot.text, at + 1, starts[last])


def _spans(tree: ast.AST, within: str, outer: str = "") -> Iterator[tuple[int, int]]:
    """Yield the first and the last line of what has a qualified name."""
    for node in ast.iter_child_nodes(tree):
        names = _names(node)
        if within in {f"{outer}{name}" for name in names}:
            assert isinstance(node, ast.stmt)
            yield node.lineno, node.end_lineno or node.lineno
        elif names:
            yield from _spans(node, within, f"{outer}{names[0]}.")


def _names(node: ast.AST) -> list[str]:
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            return [node.name]
        case ast.Assign():
            return [target.id for target in node.targets if isinstance(target, ast.Name)]
        case ast.AnnAssign(target=ast.Name(id=name)):
            return [name]
        case _:
            return []
