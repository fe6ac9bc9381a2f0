"""Grids: a mapping whose lists are axes, or a list of such mappings, which means their union."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

from pydantic import Tag

from matrixbench.identity import canonical_json
from matrixbench.spec.base import BY_SHAPE, LIST, MAPPING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Grid: TypeAlias = dict[str, Any]
"""Field → a value, a list of values (an axis), or `{value: X}` (a list that is one value)."""

GridOrGrids: TypeAlias = Annotated[
    Annotated[Grid, Tag(MAPPING)] | Annotated[list[Grid], Tag(LIST)], BY_SHAPE
]
"""What the file may say where a grid may stand: a grid, or a list of grids (their union)."""

Grids: TypeAlias = "Mapping[Any, Any] | Sequence[Mapping[Any, Any]]"
"""A grid, or several grids that mean their union."""

Point: TypeAlias = dict[str, Any]
"""Field → value: one choice from every axis of a grid."""


FILE = "file"
"""The key that marks a path among the values of `options`: `{file: PATH}`."""


def is_file_mark(value: object) -> bool:
    """Return whether a value is `{file: …}`, which names a file instead of being one."""
    return isinstance(value, dict) and value.keys() == {FILE}


def axis_values(entry: Any) -> tuple[Any, ...]:  # noqa: ANN401  YAML data
    """Return the values that a grid's entry stands for: `{value: X}` and scalars stand for one."""
    match entry:
        case {"value": value} if len(entry) == 1:
            return (value,)
        case list() | tuple():
            return tuple(entry)
        case _:
            return (entry,)


def grid_points(grids: Grids) -> tuple[Point, ...]:
    """Return every point of a grid or of a union of grids, in the file's order, each once.

    The last field varies fastest, like `itertools.product`. No grid at all is one empty point.
    """
    several = tuple(grids) if isinstance(grids, (list, tuple)) else (grids,)
    seen: dict[str, Point] = {}
    for grid in several or ({},):
        for values in product(*(axis_values(entry) for entry in grid.values())):
            point = dict(zip(grid, values, strict=True))
            seen.setdefault(canonical_json(point), point)
    return tuple(seen.values())
