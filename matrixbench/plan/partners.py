"""Which cell differs from another one only in what some axes name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from matrixbench.identity import canonical_json
from matrixbench.plan.applicability import Obstacle
from matrixbench.plan.values import label, same

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from matrixbench.plan.cells import Cell, Coordinates

_Axes: TypeAlias = tuple[str, ...]
_Key: TypeAlias = tuple[str, ...]


class Partners:
    """Finds a cell's partners among some cells; looking up one of them costs no search.

    Axes that only one of two cells has, such as the options of a backend of its own, do not keep
    them apart: they belong to what is compared.

    Args:
        cells: All cells that may be a partner.
    """

    def __init__(self, cells: Iterable[Cell]) -> None:
        self._groups: dict[_Axes, list[tuple[Cell, Coordinates]]] = {}
        for cell in cells:
            coordinates = cell.coordinates()
            self._groups.setdefault(tuple(coordinates), []).append((cell, coordinates))
        self._indexes: dict[tuple[_Axes, _Axes, str], dict[_Key, list[Cell]]] = {}

    def of(self, cell: Cell, named: Mapping[str, Any]) -> Cell | Obstacle:
        """Return the cell that has the named values and is else like another; or why there is none.

        Args:
            cell: The cell whose partner is looked for.
            named: Axis → the partner's value.
        """
        own = cell.coordinates()
        found: list[Cell] = []
        for axes in self._groups:
            if not named.keys() <= set(axes):
                continue
            common = tuple(axis for axis in axes if axis in own and axis not in named)
            index = self._index(axes, common, named)
            found += index.get(tuple(canonical_json(own[axis]) for axis in common), [])
        if len(found) == 1:
            return found[0]
        if not found:
            return Obstacle(
                f"no cell is like this one but for {_written(named)}",
                "include that cell, or exclude those that are compared with it",
            )
        axis, values = _apart(found)
        return Obstacle(
            f"several cells have {_written(named)}: they differ in {axis} ({values})",
            f"name which one is meant: {axis}",
        )

    def _index(
        self, axes: _Axes, common: _Axes, named: Mapping[str, Any]
    ) -> dict[_Key, list[Cell]]:
        key = (axes, common, canonical_json(dict(named)))
        if key not in self._indexes:
            index = self._indexes[key] = {}
            for cell, coordinates in self._groups[axes]:
                if all(same(value, coordinates[axis]) for axis, value in named.items()):
                    place = tuple(canonical_json(coordinates[axis]) for axis in common)
                    index.setdefault(place, []).append(cell)
        return self._indexes[key]


def _written(named: Mapping[str, Any]) -> str:
    return ", ".join(f"{axis}={label(value)}" for axis, value in named.items())


def _apart(cells: Sequence[Cell]) -> tuple[str, str]:
    """Return an axis in which cells differ, and its values."""
    first, *others = (cell.coordinates() for cell in cells)
    for other in others:
        for axis in first.keys() | other.keys():
            if first.get(axis) != other.get(axis):
                return axis, f"{label(first.get(axis))}, {label(other.get(axis))}"
    return "their place", "the same point twice"
