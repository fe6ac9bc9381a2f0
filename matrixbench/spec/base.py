"""What all parts of the file share: strictness, unions told apart by shape, grids."""

from __future__ import annotations

from itertools import product
from math import isfinite
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

from matrixbench.identity import canonical_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

TAG = "\0"
"""Begins the tags of unions, so that pydantic's way to an error tells them from the file's keys,
which hold no NUL."""


class Part(BaseModel):
    """A part of the experiment file: unknown keys are errors, types are not guessed."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True
    )


def shape(value: object) -> str:
    """Return the tag for a value's shape, by which a union's member is chosen.

    A plain union would report one mistake once for each of its members.
    """
    match value:
        case bool():
            return SWITCH
        case int() | float():
            return NUMBER
        case str():
            return TEXT
        case list() | tuple():
            return LIST
        case dict() | BaseModel():
            return MAPPING
        case _:
            return f"{TAG}other"


TEXT = f"{TAG}text"
LIST = f"{TAG}list"
MAPPING = f"{TAG}mapping"
SWITCH = f"{TAG}true or false"
NUMBER = f"{TAG}a number"

BY_SHAPE = Discriminator(shape)

Texts: TypeAlias = Annotated[
    Annotated[str, Tag(TEXT)] | Annotated[list[str], Tag(LIST)],
    BY_SHAPE,
]
"""A text, or a list of texts."""

Number: TypeAlias = Annotated[
    Annotated[float, Field(allow_inf_nan=False), Tag(NUMBER)] | Annotated[str, Tag(TEXT)],
    BY_SHAPE,
]
"""A number, or a text that is one once its parameters are filled in: those stay texts."""


def number_of(value: float | str) -> float | None:
    """Return the number that a `Number` stands for, or None for a text that is none."""
    if not isinstance(value, str):
        return value
    try:
        number = float(value)
    except ValueError:
        return None
    return number if isfinite(number) else None


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


def axis_values(entry: Any) -> tuple[Any, ...]:
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


def grid_size(grids: Grids) -> int:
    """Return how many points a grid has at most, without making them."""
    several = tuple(grids) if isinstance(grids, (list, tuple)) else (grids,)
    total = 0
    for grid in several or ({},):
        size = 1
        for entry in grid.values():
            size *= len(axis_values(entry))
        total += size
    return total
