"""`exclude` and `include` entries: which axes they name, at which level, and what they match."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from matrixbench.plan.values import is_glob, matches, same
from matrixbench.spec.references import HANDLES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from matrixbench.plan.cells import Coordinates
    from matrixbench.spec.grid import Point


class Level(StrEnum):
    """The part of a cell that an axis belongs to."""

    LAUNCH = "launch"
    REQUEST = "request"
    TEST = "test"


def level_of(axis: str) -> Level:
    """Return the level of an axis by its name."""
    if axis in {"backend", "binary", "model", "chat_template"}:
        return Level.LAUNCH
    if axis.startswith(("options.", "model.")):
        return Level.LAUNCH
    if axis in {"test", *HANDLES} or axis.startswith("parameters."):
        return Level.TEST
    return Level.REQUEST


@dataclass(frozen=True, slots=True, kw_only=True)
class Patterns:
    """A list of entries, matched level by level with one bit for each entry.

    A cell matches an entry when all of its levels do, so `launch & request & test` is not zero:
    a million cells cost a million `&`, not a million comparisons of dictionaries.
    """

    entries: tuple[Mapping[str, Any], ...]

    def mask(self, level: Level, coordinates: Coordinates) -> int:
        """Return a mask of the entries whose axes of this level match."""
        found = 0
        for index, entry in enumerate(self.entries):
            if all(
                matches(pattern, coordinates.get(axis))
                for axis, pattern in entry.items()
                if level_of(axis) is level
            ):
                found |= 1 << index
        return found


def named_values(pattern: Any) -> tuple[Any, ...]:  # noqa: ANN401  YAML data
    """Return the single values that an entry names for an axis; globs stay globs."""
    match pattern:
        case {"value": literal} if len(pattern) == 1:
            return (literal,)
        case list() | tuple():
            return tuple(pattern)
        case _:
            return (pattern,)


def narrow(points: Sequence[Point], named: Iterable[tuple[str, Any]]) -> tuple[Point, ...]:
    """Return a grid's points narrowed to what an `include` entry names.

    A value that some points have keeps those points, linked axes and all. A value that no point
    has is put into every point: `include` may name values that the grids lack.
    """
    found = tuple(points)
    for axis, pattern in named:
        narrowed: list[Point] = []
        for value in named_values(pattern):
            kept = [point for point in found if axis in point and matches(value, point[axis])]
            if not kept and not is_glob(value):
                kept = [{**point, axis: value} for point in found]
            narrowed.extend(point for point in kept if not _holds(narrowed, point))
        found = tuple(narrowed)
    return found


def _holds(points: Sequence[Point], point: Point) -> bool:
    return any(
        other.keys() == point.keys() and all(same(other[key], point[key]) for key in point)
        for other in points
    )
