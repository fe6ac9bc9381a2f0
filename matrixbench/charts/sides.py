"""Which axis stands on which side of a heatmap, and in which order its values come."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING

from matrixbench.errors import UsageError
from matrixbench.results.tables import AXES_ATTR, axes_of
from matrixbench.safe_text import for_picture
from matrixbench.spec.axes import BUILD, Side, axis_of, cell_name, label, only_charted, varies

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pandas import DataFrame

    from matrixbench.spec.experiment import Chart

NOT_SET = "default"
"""What a field that is left out is called: the server's default holds."""

ABSENT = "–"
"""What a property is called that a cell does not have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sides:
    """The axes on each side of a heatmap, outermost first, and the axes that do not vary.

    Args:
        x: From left to right.
        y: From top to bottom.
        row: One row of facets for each value.
        column: One column of facets for each value.
        fixed: Axes with one value and that value's text; a subtitle names them.
    """

    x: tuple[str, ...]
    y: tuple[str, ...]
    row: tuple[str, ...] = ()
    column: tuple[str, ...] = ()
    fixed: tuple[tuple[str, str], ...] = ()

    @property
    def used(self) -> tuple[str, ...]:
        """The axes of all sides."""
        return (*self.x, *self.y, *self.row, *self.column)


def resolve_sides(frame: DataFrame, chart: Chart) -> Sides:
    """Return the sides of a chart: those it names, and good defaults for the others.

    An axis that varies beyond what the sides' axes already decide is never left out: what the
    chart does not name is added to a side, so that no square can mix cells. `build` is added
    where a cell is there for several builds.

    Raises:
        UsageError: The chart names an axis that is not there, or one axis twice; or several cells
            fall on one square whatever is added.
    """
    named = _named(chart, axes_of(frame))
    keys = Keys(frame)
    varying = [axis for axis in axes_of(frame) if keys.varies(axis)]
    free = [axis for axis in varying if axis not in {a for side in named.values() for a in side}]
    sides = _Choice(keys, named, free)
    sides.choose()
    if BUILD not in sides.used and _cells_of_several_builds(keys, sides.used):
        sides.add(Side.COLUMN, BUILD)
    _demand_one_cell_a_square(keys, sides.used)
    x, y, row, column = map(sides.axes, Side)
    used = {*x, *y, *row, *column}
    fixed = [
        (axis, show(axis, frame[axis].iloc[0]))
        for axis in axes_of(frame)
        if axis not in used and axis not in varying
    ]
    return Sides(x=x, y=y, row=row, column=column, fixed=tuple(fixed))


def show(axis: str, value: object) -> str:
    """Return a value as it stands beside the squares."""
    if (text := label(value)) != "null":
        return text
    return NOT_SET if axis_of(axis).server_decides else ABSENT


def joined(axes: Sequence[str], values: Sequence[object]) -> str:
    """Return the one label that the values of several axes share."""
    if len(axes) == 1:
        return show(axes[0], values[0])
    texts = {axis: show(axis, value) for axis, value in zip(axes, values, strict=True)}
    return cell_name({axis: text for axis, text in texts.items() if text != ABSENT})


def side_title(axes: Sequence[str]) -> str:
    """Return what a side is called in a picture."""
    return for_picture(" · ".join(axes))


class Keys:
    """The axes' values as texts, looked at once, and the order in which they come."""

    def __init__(self, frame: DataFrame) -> None:
        self._frame = frame
        self._file: Mapping[str, list[str]] = frame.attrs.get(AXES_ATTR, {})
        self._keys: dict[str, list[str]] = {}

    def __len__(self) -> int:
        return len(self._frame)

    def of(self, axis: str) -> list[str]:
        """Return the axis's value in each row, as text."""
        if axis not in self._keys:
            self._keys[axis] = [label(value) for value in self._frame[axis]]
        return self._keys[axis]

    def varies(self, axis: str) -> bool:
        """Return whether the axis has more than one value."""
        return varies(self.of(axis))

    def size(self, axis: str) -> int:
        """Return how many values the axis has."""
        return len(set(self.of(axis)))

    def points(self, axes: Iterable[str]) -> list[tuple[str, ...]]:
        """Return, for each row, its values of some axes."""
        columns = [self.of(axis) for axis in axes]
        return list(zip(*columns, strict=True)) if columns else [()] * len(self)

    def decided(self, axis: str, by: Iterable[str]) -> bool:
        """Return whether some axes leave an axis no choice: equal there means equal here."""
        seen: dict[tuple[str, ...], str] = {}
        points = zip(self.points(by), self.of(axis), strict=True)
        return all(seen.setdefault(point, value) == value for point, value in points)

    def ranks(self, axis: str) -> dict[str, int]:
        """Return the place of each value: numbers by size after null, names as in the file."""
        values = {label(value): value for value in self._frame[axis]}
        numbers = [
            (float(value), text)
            for text, value in values.items()
            if isinstance(value, (int, float)) and not isinstance(value, bool) and text != "null"
        ]
        if len(numbers) == len(values) - ("null" in values):
            order = [*(["null"] if "null" in values else []), *(t for _, t in sorted(numbers))]
        else:
            filed = {text: None for text in self._file.get(axis, ()) if text in values}
            order = list(dict.fromkeys([*filed, *values]))
        return {text: place for place, text in enumerate(order)}


class _Choice:
    """Gives every axis that needs one a side."""

    def __init__(self, keys: Keys, named: Mapping[str, tuple[str, ...]], free: list[str]) -> None:
        self._keys = keys
        self._named = named
        self._free = sorted(free, key=lambda axis: not axis_of(axis).outer)
        self._sides: dict[str, list[str]] = {side: list(axes) for side, axes in named.items()}

    @property
    def used(self) -> list[str]:
        return [axis for axes in self._sides.values() for axis in axes]

    def axes(self, side: str) -> tuple[str, ...]:
        chosen = self._sides.get(side, ())
        if side in {"x", "y"}:
            return tuple(chosen)
        return tuple(axis for axis in chosen if self._keys.varies(axis))

    def choose(self) -> None:
        """Fill the sides that the chart does not name, then place what is left."""
        if Side.X not in self._sides:
            self._give(Side.X, self._leading(Side.X) or self._largest(but=(Side.Y, Side.ROW)))
        if Side.Y not in self._sides:
            self._give(Side.Y, self._leading(Side.Y) or self._largest())
        if Side.ROW not in self._sides:
            self._give(Side.ROW, self._leading(Side.ROW))
        while (axis := self._undecided()) is not None:
            self._give(self._home(axis), axis)

    def add(self, side: str, axis: str) -> None:
        """Put an axis on a side, inside what is there."""
        self._sides.setdefault(side, []).append(axis)

    def _give(self, side: str, axis: str | None) -> None:
        self._sides.setdefault(side, [])
        if axis is not None:
            self.add(side, axis)
            self._free.remove(axis)

    def _leading(self, side: Side) -> str | None:
        """Return the axis that a side is for, if it is free."""
        rows = {axis: axis_of(axis) for axis in self._free}
        return next((axis for axis, row in rows.items() if row.leads and row.side is side), None)

    def _largest(self, but: Sequence[Side] = ()) -> str | None:
        """Return the free axis with most values, of equals the first.

        One that leads one of the sides `but` is taken only if need be.
        """
        free = [axis for axis in self._free if not self._keys.decided(axis, self.used)]
        leading = {self._leading(side) for side in but}
        wanted = [axis for axis in free if axis not in leading] or free
        return max(wanted, key=self._keys.size, default=None)

    def _undecided(self) -> str | None:
        used = self.used
        return next((axis for axis in self._free if not self._keys.decided(axis, used)), None)

    def _home(self, axis: str) -> str:
        own = axis_of(axis).side
        if own not in self._named:
            return own
        rows_are_ours = Side.ROW not in self._named
        return Side.ROW if rows_are_ours and Side.COLUMN in self._named else Side.COLUMN


def _named(chart: Chart, axes: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Return the sides that the chart names.

    Raises:
        UsageError: An axis is unknown, or named twice.
    """
    sides: dict[str, tuple[str, ...]] = {}
    seen: dict[str, str] = {}
    known = (*axes, *only_charted())
    for side in Side:
        wanted: str | list[str] | None = getattr(chart, side)
        if wanted is None:
            continue
        sides[side] = (wanted,) if isinstance(wanted, str) else tuple(wanted)
        for axis in sides[side]:
            if axis not in known:
                near = get_close_matches(axis, known, 1)
                perhaps = f"perhaps you meant «{near[0]}»; " if near else ""
                raise UsageError(
                    f"the chart's {side} names «{axis}», which is no axis of this experiment",
                    hint=f"{perhaps}the axes are {', '.join(known)}",
                )
            if axis in seen:
                raise UsageError(
                    f"the chart names the axis «{axis}» twice: {seen[axis]} and {side}",
                    hint="name every axis once",
                )
            seen[axis] = side
    return sides


def _cells_of_several_builds(keys: Keys, used: list[str]) -> bool:
    """Return whether a cell meets itself on a square under another build."""
    builds: dict[tuple[str, ...], str] = {}
    cells = keys.points([*used, "cell"])
    return any(
        builds.setdefault(cell, build) != build
        for cell, build in zip(cells, keys.of("build"), strict=True)
    )


def _demand_one_cell_a_square(keys: Keys, used: list[str]) -> None:
    """Raise if two cells, or a cell of two builds, fall on one square."""
    seen: dict[tuple[str, ...], tuple[str, str]] = {}
    for point, cell, build in zip(
        keys.points(used), keys.of("cell"), keys.of("build"), strict=True
    ):
        first = seen.setdefault(point, (cell, build))
        if first != (cell, build):
            at = ", ".join(f"{axis} {text}" for axis, text in zip(used, point, strict=True))
            apart = "build" if first[0] == cell else "cell"
            raise UsageError(
                f"several {apart}s would share the square at {at or 'the only place'}",
                hint=(
                    "add build to a side of the chart"
                    if apart == "build"
                    else 'values of one axis that read alike (1 and "1") cannot stand side by side'
                ),
            )
