"""The matrix: every launch, request and test of an experiment, less what is left out."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import product
from typing import TYPE_CHECKING, Any

from matrixbench.errors import Problem, SpecError
from matrixbench.identity import canonical_json, combine, digest
from matrixbench.plan.cells import (
    Cell,
    Launch,
    Loads,
    NotApplicable,
    RequestPoint,
    load_of,
    loads_of,
)
from matrixbench.plan.launches import PossibleLaunch, launches
from matrixbench.plan.selector import Patterns, narrow
from matrixbench.spec.axes import (
    REQUEST,
    TEST,
    Level,
    axis_of,
    given_values,
    handles,
    level_of,
    values_of_axis,
)
from matrixbench.spec.backends import Backend, Obstacle
from matrixbench.spec.base import grid_points, grid_size
from matrixbench.spec.rules import STREAM

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from matrixbench.plan.selector import Selector
    from matrixbench.records import JsonObject
    from matrixbench.spec.axes import Coordinates
    from matrixbench.spec.base import Point
    from matrixbench.spec.experiment import ExperimentFile
    from matrixbench.spec.load import Experiment, TestCase


def points(file: ExperimentFile, named: Mapping[str, Any] | None = None) -> tuple[Point, ...]:
    """Return every choice of sampling and request fields, as axis → value.

    Args:
        named: An `include` entry; the choices are narrowed to it, and fields that it names get its
            values even where the grids lack them.
    """
    chosen = tuple(
        {**sampling, **{f"{REQUEST}{name}": value for name, value in request.items()}}
        for sampling, request in product(grid_points(file.sampling), grid_points(file.request))
    )
    if not named:
        return chosen
    return narrow(
        chosen, ((axis, value) for axis, value in named.items() if level_of(axis) is Level.REQUEST)
    )


class Requests:
    """Turns points into what is sent to a given test, each combination once.

    A field that a test sets itself wins over the axis of that name: the axis collapses for this
    test, and the coordinate shows the value that is sent.
    """

    def __init__(self, file: ExperimentFile, chosen: Sequence[Point]) -> None:
        self._max_tokens = file.max_tokens
        self._chosen = chosen
        self._made: dict[str, list[tuple[str, RequestPoint]]] = {}

    def for_test(self, test: TestCase) -> list[tuple[str, RequestPoint]]:
        """Return (digest of the fields that are sent, point) for each distinct request."""
        key = digest(test.request)
        if key not in self._made:
            self._made[key] = list(self._distinct(test.request))
        return self._made[key]

    def _distinct(self, own: JsonObject) -> Iterable[tuple[str, RequestPoint]]:
        seen: set[str] = set()
        for point in self._chosen:
            fields = self._fields(point, own)
            fields_digest = digest(fields)
            if fields_digest in seen:
                continue
            seen.add(fields_digest)
            coordinates = {
                axis: own.get(axis.removeprefix(REQUEST), value) for axis, value in point.items()
            }
            yield fields_digest, RequestPoint(coordinates=coordinates, fields=fields)

    def _fields(self, point: Point, own: JsonObject) -> JsonObject:
        asked = {axis.removeprefix(REQUEST): value for axis, value in point.items()}
        fields = {"max_tokens": self._max_tokens, **asked, **own}
        if fields.get(STREAM) is False:  # what every request was before it could be said
            del fields[STREAM]
        return {name: value for name, value in fields.items() if value is not None}


def is_greedy(fields: JsonObject) -> bool:
    """Return whether a request's sampling leaves no choice: temperature 0, or top_k 1."""
    return fields.get("temperature") == 0 or fields.get("top_k") == 1


def known_handles(experiment: Experiment) -> dict[str, frozenset[str]]:
    """Return the suites and the tags that tests of an experiment may be named by."""
    named: dict[str, set[str]] = {axis: set() for axis in handles()}
    for axis, value in given_values({}, experiment.tests):
        if axis in named:
            named[axis].add(value)
    return {axis: frozenset(values) for axis, values in named.items()}


def axis_sizes(experiment: Experiment) -> dict[str, int]:
    """Return axis → number of values as the file writes them, without making the matrix."""
    return {axis: len(values) for axis, values in written_values(experiment).items()}


def written_values(experiment: Experiment) -> dict[str, tuple[Any, ...]]:
    """Return axis → its values as the file writes them, without making the matrix."""
    data = experiment.file.model_dump(exclude={"tests"})
    given = given_values(data, experiment.tests)
    return values_of_axis({axis: value} for axis, value in given if axis_of(axis).is_coordinate)


def known_axes(experiment: Experiment) -> frozenset[str]:
    """Return the names of all axes that cells of an experiment may have, `suite` and `tag`."""
    named = {axis for entry in experiment.file.include for axis in entry}
    return frozenset(axis_sizes(experiment)) | named | {*handles()}


_EXCLUDED_PER_KEPT = 50
"""A matrix is refused also where it hides this many excluded cells behind each one it may keep."""


@dataclass(slots=True, kw_only=True, eq=False)
class LaunchCells:
    """A launch and its cells; `twins` says that cells may share an id.

    Tests that send the same and differ in their checks alone share their cells' ids, and thereby
    their trials: one reply is judged by each.
    """

    launch: Launch
    twins: bool = False
    cells: list[Cell] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Matrix:
    """All cells, grouped by launch, and those that do not apply.

    Args:
        launches: In the file's order; only those that have cells.
        not_applicable: Points that cannot be measured as asked.
        axes: Axis → its distinct values in order of appearance, over cells that apply or not.
        unselected: The cells that a selector left out.
    """

    launches: tuple[LaunchCells, ...]
    not_applicable: tuple[NotApplicable, ...]
    axes: Mapping[str, tuple[Any, ...]]
    unselected: tuple[Cell, ...] = ()

    @property
    def cells(self) -> int:
        """How many cells apply."""
        return sum(len(group.cells) for group in self.launches)


def build_matrix(experiment: Experiment, where: Selector | None = None) -> Matrix:
    """Return the matrix of an experiment, or of the part of it that a selector chooses.

    Raises:
        SpecError: The matrix is larger than the file's `limits: {cells: N}`.
    """
    builder = _Builder(experiment)
    builder.add_grids()
    for entry in experiment.file.include:
        builder.add_included(entry)
    return builder.matrix(where)


def experiment_loads(experiment: Experiment) -> Loads:
    """Return the loads of an experiment's launches, selected or not."""
    file = experiment.file
    backends = file.backends.values()
    keys = {load_of(backend, faithful=file.faithful).key for backend in backends}
    if len(keys) == 1:  # nearly always; there may be very many launches
        return Loads(keys=frozenset(keys))
    every = [launches(experiment), *(launches(experiment, entry) for entry in file.include)]
    return loads_of(possible.launch for some in every for possible in some)


class _Builder:
    """Collects cells launch by launch."""

    def __init__(self, experiment: Experiment) -> None:
        self._experiment = experiment
        self._limit = experiment.file.limits.cells
        self._seen = 0
        self._kept = 0
        self._groups: dict[str, LaunchCells] = {}
        self._not_applicable: dict[str, NotApplicable] = {}
        self._loads = experiment_loads(experiment)
        self._test_digests = {test: digest(_asked(test)) for test in experiment.tests}

    def add_grids(self) -> None:
        """Add every cell of the grids that no `exclude` entry matches."""
        file = self._experiment.file
        size = grid_size(file.sampling) * grid_size(file.request)
        if size > self._limit * _EXCLUDED_PER_KEPT:
            raise self._too_large(size)
        excluded = Patterns(entries=tuple(file.exclude))
        requests = Requests(file, points(file))
        for possible in launches(self._experiment):
            self._add(possible, requests, self._experiment.tests, excluded)

    def add_included(self, entry: Mapping[str, Any]) -> None:
        """Add the cells that an `include` entry names; `exclude` does not touch them."""
        requests = Requests(self._experiment.file, points(self._experiment.file, entry))
        pattern = Patterns(entries=(entry,))
        tests = [test for test in self._experiment.tests if pattern.mask(Level.TEST, test)]
        for possible in launches(self._experiment, entry):
            self._add(possible, requests, tests, Patterns(entries=()))

    def _add(
        self,
        possible: PossibleLaunch,
        requests: Requests,
        tests: Iterable[TestCase],
        excluded: Patterns,
    ) -> None:
        launch, obstacle = possible
        group, known = self._group(launch)
        launch = group.launch
        load = self._loads.mark(launch)
        of_launch = excluded.mask(Level.LAUNCH, launch)
        for test in tests:
            against_test = obstacle or _test_obstacle(launch.spec, test)
            test_digest = self._test_digests[test]
            mask = of_launch and of_launch & excluded.mask(Level.TEST, test)
            for fields_digest, point in requests.for_test(test):
                self._seen += 1
                if self._seen > self._limit * _EXCLUDED_PER_KEPT:
                    raise self._too_large(None)
                if mask and mask & excluded.mask(Level.REQUEST, point):
                    continue
                against = against_test or launch.spec.request_obstacle(
                    point.coordinates, point.fields
                )
                if against is not None:
                    self._set_aside(launch, point, test, against)
                    continue
                cell_id = combine(launch.digest, fields_digest, test_digest) + load
                if known is None or (cell_id, test.name) not in known:
                    group.cells.append(Cell(cell_id, launch, point, test))
                    self._kept += 1
                    if self._kept > self._limit:
                        raise self._too_large(None)

    def _group(self, launch: Launch) -> tuple[LaunchCells, set[tuple[str, str]] | None]:
        key = canonical_json(launch.coordinates)
        if key in self._groups:
            group = self._groups[key]
            return group, {(cell.id, cell.test.name) for cell in group.cells}
        twins = len(set(self._test_digests.values())) < len(self._test_digests)
        self._groups[key] = LaunchCells(launch=launch, twins=twins)
        return self._groups[key], None

    def _set_aside(
        self, launch: Launch, point: RequestPoint, test: TestCase, against: Obstacle
    ) -> None:
        coordinates = Cell("", launch, point, test).coordinates()
        self._not_applicable.setdefault(
            canonical_json(coordinates),
            NotApplicable(coordinates=coordinates, reason=against.reason, hint=against.hint),
        )

    def _too_large(self, size: int | None) -> SpecError:
        sizes = axis_sizes(self._experiment)
        listed = " × ".join(f"{axis} {count}" for axis, count in sizes.items() if count > 1)
        more = "" if size is None else f" ({size:,} choices of sampling and request alone)"
        return SpecError(
            [
                Problem(
                    message=f"the matrix has more than {self._limit:,} cells{more}: {listed}",
                    where=str(self._experiment.path),
                    hint="narrow an axis, exclude cells, or raise the limit: limits: {cells: N}",
                )
            ]
        )

    def matrix(self, where: Selector | None) -> Matrix:
        """Return what was collected, or the part of it that a selector chooses."""
        matrix = Matrix(
            launches=tuple(group for group in self._groups.values() if group.cells),
            not_applicable=tuple(self._not_applicable.values()),
            axes=values_of_axis(self._coordinates()),
        )
        return matrix if where is None or not where.text else self._selected(matrix, where)

    def _selected(self, matrix: Matrix, where: Selector) -> Matrix:
        groups: list[LaunchCells] = []
        unselected: list[Cell] = []
        for group in matrix.launches:
            cells: list[Cell] = []
            for cell in group.cells:
                chosen = where({**cell.coordinates(), **cell.test.handles})
                (cells if chosen else unselected).append(cell)
            if cells:
                groups.append(LaunchCells(launch=group.launch, twins=group.twins, cells=cells))
        handles = {test.name: test.handles for test in self._experiment.tests}
        return Matrix(
            launches=tuple(groups),
            not_applicable=tuple(
                point
                for point in matrix.not_applicable
                if where({**point.coordinates, **handles[point.coordinates[TEST]]})
            ),
            axes=matrix.axes,
            unselected=tuple(unselected),
        )

    def _coordinates(self) -> Iterator[Coordinates]:
        """Yield the coordinates of every launch, point and test that cells have, each once."""
        noted: set[RequestPoint | TestCase] = set()
        for group in self._groups.values():
            if group.cells:
                yield group.launch.coordinates
            for cell in group.cells:
                for part in (cell.point, cell.test):
                    if part not in noted:
                        noted.add(part)
                        yield part.coordinates
        for point in self._not_applicable.values():
            yield point.coordinates


def _asked(test: TestCase) -> JsonObject:
    """Return what of a test decides the answers beside its request fields."""
    script = {} if test.script is None else {"conversation": test.script.identity}
    return {"messages": test.messages, "tools": test.tools, **script}


def _test_obstacle(backend: Backend, test: TestCase) -> Obstacle | None:
    """Return why a test cannot be asked of a backend, or None."""
    said = (*test.messages, *(test.script.turns if test.script else ()))
    if (obstacle := backend.messages_obstacle(said)) is not None:
        return obstacle
    needed, given = test.needs.context, backend.context_given
    if needed is None or given is None or needed <= given:
        return None
    return Obstacle(
        f"test {test.name} needs a context of {needed} tokens, the backend gives {given}",
        f"raise the backend's context: to {needed} or more",
    )
