"""The request level: sampling × request fields, and what a test's own fields make of them."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any

from matrixbench.identity import digest
from matrixbench.plan.cells import RequestPoint
from matrixbench.plan.patterns import Level, level_of, narrow
from matrixbench.spec.grid import axis_values, grid_points
from matrixbench.spec.rules import STREAM

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from matrixbench.records import JsonObject
    from matrixbench.spec.experiment import ExperimentFile
    from matrixbench.spec.grid import Grids, Point
    from matrixbench.spec.load import TestCase


def points(file: ExperimentFile, named: Mapping[str, Any] | None = None) -> tuple[Point, ...]:
    """Return every choice of sampling and request fields, as axis → value.

    Args:
        file: The experiment file.
        named: An `include` entry; the choices are narrowed to it, and fields that it names get its
            values even where the grids lack them.
    """
    chosen = tuple(
        {**sampling, **{f"request.{name}": value for name, value in request.items()}}
        for sampling, request in product(grid_points(file.sampling), grid_points(file.request))
    )
    if not named:
        return chosen
    return narrow(
        chosen, ((axis, value) for axis, value in named.items() if level_of(axis) is Level.REQUEST)
    )


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


class Requests:
    """Turns points into what is sent to a given test, each combination once.

    A field that a test sets itself wins over the axis of that name: the axis collapses for this
    test, and the coordinate shows the value that is sent.
    """

    def __init__(self, file: ExperimentFile) -> None:
        self._max_tokens = file.max_tokens
        self._made: dict[tuple[int, str], list[tuple[str, RequestPoint]]] = {}
        # An id() stays one only while its object lives.
        self._alive: list[Sequence[Point]] = []

    def for_test(self, chosen: Sequence[Point], test: TestCase) -> list[tuple[str, RequestPoint]]:
        """Return (digest of the fields that are sent, point) for each distinct request."""
        key = (id(chosen), digest(test.request))
        if key not in self._made:
            self._alive.append(chosen)
            self._made[key] = list(self._distinct(chosen, test.request))
        return self._made[key]

    def _distinct(
        self, chosen: Iterable[Point], own: JsonObject
    ) -> Iterable[tuple[str, RequestPoint]]:
        seen: set[str] = set()
        for point in chosen:
            fields = self._fields(point, own)
            fields_digest = digest(fields)
            if fields_digest in seen:
                continue
            seen.add(fields_digest)
            coordinates = {
                axis: own.get(axis.removeprefix("request."), value) for axis, value in point.items()
            }
            yield fields_digest, RequestPoint(coordinates=coordinates, fields=fields)

    def _fields(self, point: Point, own: JsonObject) -> JsonObject:
        asked = {axis.removeprefix("request."): value for axis, value in point.items()}
        fields = {"max_tokens": self._max_tokens, **asked, **own}
        if fields.get(STREAM) is False:  # what every request was before it could be said
            del fields[STREAM]
        return {name: value for name, value in fields.items() if value is not None}


def is_greedy(fields: JsonObject) -> bool:
    """Return whether a request's sampling leaves no choice: temperature 0, or top_k 1."""
    return fields.get("temperature") == 0 or fields.get("top_k") == 1
