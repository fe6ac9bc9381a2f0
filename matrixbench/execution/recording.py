"""Telling the store which cells an experiment has, before the first of them runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

from matrixbench.plan.axes import coordinates_of_test
from matrixbench.plan.requests import is_greedy
from matrixbench.store.experiments import (
    ExperimentRecord,
    RecordedCell,
    RecordedLaunch,
    record_experiment,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from matrixbench.execution.planning import Prepared
    from matrixbench.plan.cells import Coordinates, RequestPoint
    from matrixbench.spec.load import TestCase
    from matrixbench.store.database import Store

Shared = TypeVar("Shared")


def record_cells(store: Store, prepared: Prepared, *, whole: bool) -> None:
    """Write down the selected cells of an experiment, so that its name is enough to find them.

    Args:
        store: The store.
        prepared: The plan.
        whole: Nothing was left out by a selector: cells that the file has no more are dropped
            from the record (their trials stay).

    Raises:
        StoreError: The store cannot be written.
    """
    points: _Places[RequestPoint] = _Places(lambda point: point.coordinates)
    tests = _Places(coordinates_of_test)
    cells = list(_cells(prepared, points, tests))
    record = ExperimentRecord(
        name=prepared.experiment.file.name,
        launches=[
            RecordedLaunch(
                name=plan.launch.name,
                digest=plan.launch.digest,
                coordinates=plan.launch.coordinates,
                build=plan.build.build.id if plan.build.build and plan.build.read else None,
                origin=plan.build.origin,
            )
            for plan in prepared.plan.launches
        ],
        requests=points.coordinates,
        tests=tests.coordinates,
        cells=cells,
    )
    record_experiment(store.path, record, whole=whole)


class _Places(Generic[Shared]):
    """Objects that many cells share, each with its place in a list of coordinates."""

    def __init__(self, read: Callable[[Shared], Coordinates]) -> None:
        self.coordinates: list[Coordinates] = []
        self._read = read
        self._places: dict[int, int] = {}

    def place(self, shared: Shared) -> int:
        place = self._places.get(id(shared))
        if place is None:
            place = self._places[id(shared)] = len(self.coordinates)
            self.coordinates.append(self._read(shared))
        return place


def _cells(
    prepared: Prepared, points: _Places[RequestPoint], tests: _Places[TestCase]
) -> Iterator[RecordedCell]:
    greedy: dict[int, bool] = {}
    for number, launch in enumerate(prepared.plan.launches):
        for cell in launch.cells:
            place = points.place(cell.point)
            until = prepared.wanted.until_of(cell)
            of_cell = prepared.of_cells.of(cell)
            if place not in greedy:
                greedy[place] = is_greedy(cell.point.fields)
            yield RecordedCell(
                number,
                place,
                tests.place(cell.test),
                cell.id,
                prepared.seeds.first(cell),
                prepared.wanted.of(cell),
                greedy[place],
                None if until is None else until.half_width,
                1 if until is None else until.least,
                "" if of_cell.checks.compares else of_cell.digest,
            )
