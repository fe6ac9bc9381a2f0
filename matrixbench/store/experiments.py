"""What an experiment's cells are called, and under which load they were measured."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from matrixbench.identity import digest, digest_bytes
from matrixbench.plan.cells import Load, Origin, mark_of
from matrixbench.spec.axes import name_as_now
from matrixbench.stats.sequential import Precision
from matrixbench.store.connection import connect_reading, one_transaction, translated
from matrixbench.store.encoding import json_text

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from matrixbench.plan.cells import Loads
    from matrixbench.spec.axes import Coordinates
    from matrixbench.store.encoding import Row

LOAD = "load"
"""The name of the note that holds a launch run's load. Versions before it noted none."""

_SAID = "/"
"""In a note, between the key of a load that leaves it to the server, and what the server said."""

_RUNS = """
    SELECT launch.id, digest, launch.name, note.value
    FROM launch LEFT JOIN note ON note.launch = launch.id AND note.name = ?
"""

_EVERY = "1"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunLoads:
    """What the loads of launch runs mean for an experiment.

    Args:
        keys: Launch run → the key of its load; those of which it is not known are missing.
        marks: Launch run → what stands behind the ids of its trials' cells.
        others: Runs under a load that the experiment has none of. For one that compares no loads
            their trials count as well, but those of its own load come first.
    """

    keys: Mapping[int, str] = field(default_factory=dict)
    marks: Mapping[int, str] = field(default_factory=dict)
    others: frozenset[int] = frozenset()

    def cell(self, plain: str, run: int) -> str:
        """Return what a cell is called in a launch run."""
        return plain + self.marks.get(run, "") if self.marks else plain

    def passes(self) -> tuple[str, ...]:
        """Return conditions on `trial`, each for one pass: the trials that matter less first."""
        if not self.others:
            return (_EVERY,)
        listed = ", ".join(map(str, sorted(self.others)))
        return f"trial.launch IN ({listed})", f"trial.launch NOT IN ({listed})"


def load_note(load: Load, at_a_time: int) -> str:
    """Return what a launch run notes of its load, under which so many requests are sent."""
    return load.key if load.concurrency is not None else f"{load.key}{_SAID}{at_a_time}"


UNKNOWN_LOADS = RunLoads()
"""Nothing of them is known, or asked about."""


def run_loads(connection: sqlite3.Connection, loads: Loads) -> RunLoads:
    """Return what the loads of all launch runs mean for an experiment.

    The trials of a run whose load is not known belong to the launch under whose name they ran;
    where the experiment has none of that name, to the first of those that their load tells apart.
    A run that left it to the server is also one of the load that came of it.
    """
    keys: dict[int, str] = {}
    marks: dict[int, str] = {}
    others: set[int] = set()
    for run, launch, name, noted in _known(connection):
        own = loads.of.get(launch, loads.keys)
        key = None if noted is None else _key_of(noted, own)
        if key is not None:
            keys[run] = key
        names = loads.apart.get(launch)
        if names is not None:
            marks[run] = mark_of(key or names.get(name) or next(iter(names.values())))
        elif key is not None and own and key not in own:
            others.add(run)
    return RunLoads(keys=keys, marks=marks, others=frozenset(others))


def newest_keys(connection: sqlite3.Connection) -> dict[tuple[str, str], str]:
    """Return name and digest of a launch → the key of the load that it ran under last."""
    return {
        (name, digest): _key_of(noted, frozenset())
        for _, digest, name, noted in _known(connection)
        if noted is not None
    }


def _key_of(noted: str, own: frozenset[str]) -> str:
    """Return the key of the load that a run noted; one that the experiment has, where it can be."""
    key, _, said = noted.partition(_SAID)
    came = Load(concurrency=int(said)).key if said.isdecimal() else key
    return came if key not in own and came in own else key


def _known(connection: sqlite3.Connection) -> Iterator[Row]:
    """Yield number, digest and name of each launch run, and what it noted of its load, or None."""
    for run, launch, name, value in connection.execute(f"{_RUNS} ORDER BY launch.id", (LOAD,)):
        noted = None if value is None else json.loads(value)
        yield run, launch, name_as_now(name), noted if isinstance(noted, str) else None


_CELLS = """
    SELECT cell.launch, request.coordinates, test.coordinates,
        cell.cell, cell.first_seed, cell.planned, cell.greedy, cell.half_width, cell.least,
        cell.checks
    FROM experiment_cell AS cell
    JOIN experiment_coordinates AS request ON request.number = cell.request
    JOIN experiment_coordinates AS test ON test.number = cell.test
    WHERE cell.launch = ? ORDER BY cell.request, cell.test
"""

_UPSERT = """
    INSERT INTO experiment_cell
        (launch, request, test, cell, first_seed, planned, greedy, half_width, least, checks)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (launch, request, test) DO UPDATE SET cell = excluded.cell,
        first_seed = excluded.first_seed, planned = excluded.planned, greedy = excluded.greedy,
        half_width = excluded.half_width, least = excluded.least, checks = excluded.checks
"""

_LAUNCH = """
    INSERT INTO experiment_launch
        (experiment, imported, key, coordinates, digest, name, build, origin)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (experiment, imported, key) DO UPDATE SET coordinates = excluded.coordinates,
        digest = excluded.digest, name = excluded.name, build = excluded.build,
        origin = excluded.origin
"""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RecordedLaunch:
    """A launch of an experiment, as its cells know it.

    Args:
        coordinates: The axes of this level.
        build: The id of the build that was there; None where only its run could tell.
        imported: Its trials were measured by another tool.
        origin: Where its server comes from; None where an older version recorded it.
    """

    name: str
    digest: str
    coordinates: Coordinates
    build: str | None
    imported: bool = False
    origin: Origin | None = None


class RecordedCell(NamedTuple):
    """A cell of an experiment: places in its record's lists, and what is asked of it.

    `launch`, `request` and `test` are indices; a trial's seed is `first_seed` plus its index.
    Where `half_width` is given, fewer trials than `planned`, but `least`, are enough for an
    interval that is no wider. `checks` is the digest of the checks that judge it; where it is
    empty, the newest judgement counts.
    """

    launch: int
    request: int
    test: int
    cell: str
    first_seed: int
    planned: int
    greedy: bool
    half_width: float | None = None
    least: int = 1
    checks: str = ""

    @property
    def until(self) -> Precision | None:
        """When fewer trials are enough; None where their number is fixed."""
        if self.half_width is None:
            return None
        return Precision(half_width=self.half_width, least=self.least)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ExperimentRecord:
    """The cells of an experiment. Its lists are in the file's order, each coordinates once."""

    name: str
    launches: Sequence[RecordedLaunch]
    requests: Sequence[Coordinates]
    tests: Sequence[Coordinates]
    cells: Sequence[RecordedCell] = field(default=())

    def coordinates(self, cell: RecordedCell) -> Coordinates:
        """Return a cell's axis → value."""
        return {
            **self.launches[cell.launch].coordinates,
            **self.requests[cell.request],
            **self.tests[cell.test],
        }


def record_experiment(path: Path, record: ExperimentRecord, *, whole: bool) -> None:
    """Write down the cells of an experiment, in one transaction; nothing where nothing changed.

    Args:
        whole: These are all cells of its file: others that are recorded are so no more (imported
            ones stay). Their trials stay in any case.

    Raises:
        StoreError: The store cannot be written.
    """
    with translated(path), closing(connect_reading(path)) as connection:
        found = connection.execute(
            "SELECT recorded FROM experiment WHERE name = ?", (record.name,)
        ).fetchone()
    if found and found[0] == _digest(record):
        return
    with one_transaction(path) as connection:
        write_experiment(connection, record, whole=whole)


def write_experiment(
    connection: sqlite3.Connection, record: ExperimentRecord, *, whole: bool
) -> None:
    """Do what `record_experiment` says, inside a transaction of the caller's."""
    connection.execute(
        "INSERT INTO experiment (name, recorded) VALUES (?, '') ON CONFLICT (name) DO NOTHING",
        (record.name,),
    )
    (number,) = connection.execute(
        "SELECT number FROM experiment WHERE name = ?", (record.name,)
    ).fetchone()
    if whole:
        _forget(connection, number)
    launches = [_launch(connection, number, launch) for launch in record.launches]
    requests = [_coordinates(connection, number, point) for point in record.requests]
    tests = [_coordinates(connection, number, test) for test in record.tests]
    connection.executemany(
        _UPSERT,
        (
            (launches[cell.launch], requests[cell.request], tests[cell.test], *cell[3:])
            for cell in record.cells
        ),
    )
    # After a part only, the next whole record has to be written, whatever it is.
    connection.execute(
        "UPDATE experiment SET recorded = ? WHERE number = ?",
        (_digest(record) if whole else "", number),
    )


def read_experiment(path: Path, name: str) -> ExperimentRecord | None:
    """Return the cells of an experiment, or None where the store knows none of that name.

    Raises:
        StoreError: The store cannot be read.
    """
    with translated(path), closing(connect_reading(path)) as connection:
        rows = connection.execute(
            """SELECT launch.number, launch.name, digest, coordinates, build, imported, origin
            FROM experiment_launch AS launch JOIN experiment ON experiment.number = experiment
            WHERE experiment.name = ? ORDER BY launch.number""",
            (name,),
        ).fetchall()
        if not rows:
            return None
        requests, tests = _Listed(), _Listed()
        cells = [
            _cell_from(row, place, requests, tests)
            for place, (launch, *_) in enumerate(rows)
            for row in connection.execute(_CELLS, (launch,))
        ]
    return ExperimentRecord(
        name=name,
        launches=[
            RecordedLaunch(
                name=name_as_now(launch),
                digest=digest,
                coordinates=json.loads(coordinates),
                build=build,
                imported=imported == 1,
                origin=Origin.from_text(origin),
            )
            for _, launch, digest, coordinates, build, imported, origin in rows
        ],
        requests=requests.values,
        tests=tests.values,
        cells=cells,
    )


def _cell_from(row: Row, launch: int, requests: _Listed, tests: _Listed) -> RecordedCell:
    _, request, test, cell, seed, planned, greedy, *until = row
    places = requests.place(request), tests.place(test)
    return RecordedCell(launch, *places, cell, seed, planned, greedy == 1, *until)


def experiment_names(path: Path) -> list[str]:
    """Return the names of the experiments whose cells a store knows, in alphabetical order.

    Raises:
        StoreError: The store cannot be read.
    """
    with translated(path), closing(connect_reading(path)) as connection:
        return [name for (name,) in connection.execute("SELECT name FROM experiment ORDER BY name")]


class _Listed:
    """Coordinates by their text, each once, in order of appearance."""

    def __init__(self) -> None:
        self.values: list[Coordinates] = []
        self._places: dict[str, int] = {}

    def place(self, text: str) -> int:
        place = self._places.get(text)
        if place is None:
            place = self._places[text] = len(self.values)
            self.values.append(json.loads(text))
        return place


def _forget(connection: sqlite3.Connection, experiment: int) -> None:
    """Take out the cells that a file gave; coordinates stay only where imported cells use them."""
    launches = "SELECT number FROM experiment_launch WHERE experiment = ? AND NOT imported"
    connection.execute(f"DELETE FROM experiment_cell WHERE launch IN ({launches})", (experiment,))
    connection.execute(
        "DELETE FROM experiment_launch WHERE experiment = ? AND NOT imported", (experiment,)
    )
    connection.execute(
        """DELETE FROM experiment_coordinates WHERE experiment = ? AND number NOT IN (
            SELECT request FROM experiment_cell UNION SELECT test FROM experiment_cell
        )""",
        (experiment,),
    )


def _launch(connection: sqlite3.Connection, experiment: int, launch: RecordedLaunch) -> int:
    key = (experiment, int(launch.imported), digest(launch.coordinates))
    origin = "" if launch.origin is None else launch.origin.to_text()
    told = (json_text(launch.coordinates), launch.digest, launch.name, launch.build, origin)
    connection.execute(_LAUNCH, (*key, *told))
    (number,) = connection.execute(
        "SELECT number FROM experiment_launch WHERE experiment = ? AND imported = ? AND key = ?",
        key,
    ).fetchone()
    return int(number)


def _coordinates(connection: sqlite3.Connection, experiment: int, point: Coordinates) -> int:
    key = (experiment, digest(point))
    connection.execute(
        "INSERT INTO experiment_coordinates (experiment, key, coordinates) VALUES (?, ?, ?) "
        "ON CONFLICT (experiment, key) DO NOTHING",
        (*key, json_text(point)),
    )
    (number,) = connection.execute(
        "SELECT number FROM experiment_coordinates WHERE experiment = ? AND key = ?", key
    ).fetchone()
    return int(number)


def _digest(record: ExperimentRecord) -> str:
    """Return what stands for a whole record by content."""
    lists = [
        [
            [
                launch.name,
                launch.digest,
                launch.coordinates,
                launch.build,
                None if launch.origin is None else launch.origin.to_text(),
            ]
            for launch in record.launches
        ],
        list(record.requests),
        list(record.tests),
    ]
    cells = "\n".join(map(repr, map(tuple, record.cells)))
    return digest_bytes(f"{json_text(lists)}\n{cells}".encode())
