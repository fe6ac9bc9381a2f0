"""A store looked after: two made one, parts taken out, all of it checked, its file made small.

A run deletes nothing; only what is asked for here does. Each change is one transaction, while no
experiment is executed on the store.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

from matrixbench.errors import StoreError, UsageError
from matrixbench.plan.cells import plain_id
from matrixbench.store.connection import (
    check_header,
    connect_reading,
    connect_writing,
    find_damage,
    transaction,
    translated,
)
from matrixbench.store.database import open_store
from matrixbench.store.experiments import experiment_names, read_experiment, write_experiment
from matrixbench.store.locks import WriteLock, nobody_executes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path


# Two stores made one.


@dataclass(frozen=True, slots=True, kw_only=True)
class Merged:
    """What came over from another store.

    Args:
        trials: Trials that are new here.
        known: Trials that were here already: the other store began as a copy, or was merged before.
        superseded: New ones that are kept as history, for this store has a later attempt at them.
        launches: Launch runs that are new here.
        experiments: Experiments that are new here.
    """

    trials: int
    known: int
    superseded: int
    launches: int
    experiments: int


def merge(path: Path, other: Path) -> Merged:
    """Write what another store holds into the store at `path`; nothing twice, all or nothing.

    The other store is read as a whole and stays as it is, also where a run writes to it. Of two
    attempts at one trial (cell, build, seed) the later one counts, unless it errored and the other
    one did not. Fresh starts of either store hold for both, by the time when they were made.

    Raises:
        StoreError: One of them cannot be read or written, or an experiment is executed on `path`.
        UsageError: Both are the same file.
    """
    open_store(path, create=True).close()
    _demand_store(other)
    if other.samefile(path):
        raise UsageError("a store cannot be merged into itself", where=str(other))
    with _snapshot(other, beside=path) as copy, _writing(path) as (connection, lock):
        connection.execute("ATTACH ? AS other", (str(copy),))
        connection.execute("PRAGMA temp_store = FILE")
        records = [(name, read_experiment(copy, name)) for name in experiment_names(copy)]
        own = {name: read_experiment(path, name) for name, _ in records}
        with transaction(connection, lock):
            _merge_builds(connection)
            launches = _merge_launches(connection)
            _merge_generations(connection)
            trials, known, superseded = _merge_trials(connection)
            for name, record in records:
                if record is not None:
                    write_experiment(connection, record, whole=own[name] is None)
                if (mine := own[name]) is not None:  # what this store knows of it goes first
                    write_experiment(connection, mine, whole=False)
    return Merged(
        trials=trials,
        known=known,
        superseded=superseded,
        launches=launches,
        experiments=sum(record is None for record in own.values()),
    )


def _demand_store(path: Path) -> None:
    """Raise where there is no store to merge.

    Raises:
        StoreError: There is none, or the file is no store.
    """
    if not path.exists():
        raise StoreError(
            "there is no such store", where=str(path), hint="Name the file of another store."
        )
    check_header(path)


@contextmanager
def _snapshot(other: Path, *, beside: Path) -> Iterator[Path]:
    """Copy a store as it stands at one moment, and bring the copy up to date."""
    copy = beside.with_name(f"{beside.name}.merge-{os.getpid()}")
    parts = [copy.with_name(copy.name + suffix) for suffix in ("", "-wal", "-shm", "-journal")]
    try:
        with (
            translated(other),
            closing(connect_reading(other)) as reading,
            closing(sqlite3.connect(copy)) as writing,
        ):
            reading.backup(writing)
        open_store(copy, create=False).close()
        yield copy
    finally:
        for part in parts:
            part.unlink(missing_ok=True)


_BUILD = "id, kind, server, model, device, version, details"
_LAUNCH = """experiment, digest, name, started_at, request_timeout_s, order_seed, command,
    effective, host, versions, log, imported, ended_at, error, origin"""


def _merge_builds(connection: sqlite3.Connection) -> None:
    connection.execute(f"INSERT OR IGNORE INTO build ({_BUILD}) SELECT {_BUILD} FROM other.build")
    connection.execute(
        """CREATE TEMP TABLE build_here AS SELECT theirs.number AS old, ours.number AS new
        FROM other.build AS theirs JOIN main.build AS ours ON ours.id = theirs.id"""
    )
    connection.execute("CREATE UNIQUE INDEX temp.build_old ON build_here (old)")


def _merge_launches(connection: sqlite3.Connection) -> int:
    """Make `launch_here` (old, new, known); return how many launch runs are new."""
    # A launch run is the same where a machine started the same thing at the same moment.
    connection.execute(
        """CREATE TEMP TABLE launch_here AS SELECT id AS old, (
            SELECT ours.id FROM main.launch AS ours
            WHERE ours.digest = theirs.digest AND ours.experiment = theirs.experiment
                AND ours.started_at = theirs.started_at AND ours.host = theirs.host
                AND ours.command = theirs.command AND ours.imported = theirs.imported
        ) AS new, 1 AS known FROM other.launch AS theirs"""
    )
    connection.execute("CREATE UNIQUE INDEX temp.launch_old ON launch_here (old)")
    connection.execute(
        """UPDATE launch_here SET known = 0, new = numbered.new FROM (
            SELECT old, row_number() OVER (ORDER BY old)
                + (SELECT coalesce(max(id), 0) FROM main.launch) AS new
            FROM launch_here WHERE new IS NULL
        ) AS numbered WHERE numbered.old = launch_here.old"""
    )
    connection.execute(
        f"""INSERT INTO launch (id, build, {_LAUNCH})
        SELECT launch_here.new, build_here.new, {_LAUNCH} FROM other.launch AS theirs
        JOIN launch_here ON launch_here.old = theirs.id AND NOT known
        LEFT JOIN build_here ON build_here.old = theirs.build"""
    )
    # A run that had not ended when the copy was made may have ended since.
    connection.execute(
        """UPDATE launch SET (ended_at, error) = (
            SELECT theirs.ended_at, theirs.error FROM other.launch AS theirs
            JOIN launch_here ON launch_here.old = theirs.id WHERE launch_here.new = launch.id
        ) WHERE ended_at IS NULL AND id IN (SELECT new FROM launch_here WHERE known)"""
    )
    connection.execute(
        """INSERT OR IGNORE INTO note (launch, name, value)
        SELECT launch_here.new, name, value FROM other.note
        JOIN launch_here ON launch_here.old = note.launch"""
    )
    ((new,),) = connection.execute("SELECT count(*) FROM launch_here WHERE NOT known")
    return int(new)


class _Generation(NamedTuple):
    opened_at: float
    experiment: str


def _merge_generations(connection: sqlite3.Connection) -> None:
    """Order the fresh starts of both stores by time: `generation_here`, and the floors."""
    ours, theirs = _generations(connection, "main"), _generations(connection, "other")
    union = sorted({*ours.values(), *theirs.values()})
    numbers = {one: place for place, one in enumerate(union, start=1)}
    connection.execute("CREATE TEMP TABLE generation_here (number INTEGER, opened_at REAL)")
    connection.executemany(
        "INSERT INTO generation_here VALUES (?, ?)",
        ((number, one.opened_at) for one, number in numbers.items()),
    )
    for store, known in (("main", ours), ("other", theirs)):
        connection.execute(f"CREATE TEMP TABLE generation_of_{store} (old INTEGER, new INTEGER)")
        connection.executemany(
            f"INSERT INTO generation_of_{store} VALUES (?, ?)",
            [(0, 0), *((old, numbers[one]) for old, one in known.items())],
        )
    floors: dict[tuple[str, str], int] = {}
    for store in ("main", "other"):
        for experiment, cell, generation in connection.execute(
            f"""SELECT experiment, cell, new FROM {store}.floor
            JOIN generation_of_{store} ON old = generation"""
        ):
            key = experiment, cell
            floors[key] = max(generation, floors.get(key, 0))
    if len(union) > len(ours):
        connection.execute(
            f"UPDATE trial SET generation = {_generation('main')} WHERE generation <> "
            f"{_generation('main')}"
        )
    connection.execute("DELETE FROM generation")
    connection.executemany(
        "INSERT INTO generation (number, experiment, opened_at) VALUES (?, ?, ?)",
        ((number, one.experiment, one.opened_at) for one, number in numbers.items()),
    )
    connection.execute("DELETE FROM floor")
    connection.executemany(
        "INSERT INTO floor (experiment, cell, generation) VALUES (?, ?, ?)",
        ((*key, generation) for key, generation in floors.items()),
    )


def _generations(connection: sqlite3.Connection, store: str) -> dict[int, _Generation]:
    """Return number → when it was opened, never before the one with the number before."""
    rows = connection.execute(
        f"SELECT number, opened_at, experiment FROM {store}.generation ORDER BY number"
    ).fetchall()
    times = accumulate((row[1] for row in rows), max)  # a clock may have been set back
    return {row[0]: _Generation(time, row[2]) for row, time in zip(rows, times, strict=True)}


def _generation(store: str) -> str:
    """Return the expression for the generation that a trial belongs to from now on.

    It is its own, or the newest one that was opened before it started: after a fresh start in one
    store, what the other one measured later is fresh as well.
    """
    return f"""max(
        (SELECT new FROM generation_of_{store} WHERE old = trial.generation),
        coalesce(
            (SELECT max(number) FROM generation_here WHERE opened_at <= trial.started_at), 0
        )
    )"""


def _merge_trials(connection: sqlite3.Connection) -> tuple[int, int, int]:
    """Return how many trials are new, how many were here, and how many new ones are history."""
    connection.execute(
        """CREATE TEMP TABLE ours_of_launch AS SELECT launch, cell, seed, started_at, order_index
        FROM main.trial WHERE launch IN (SELECT new FROM launch_here WHERE known)"""
    )
    connection.execute(
        "CREATE INDEX temp.ours_key ON ours_of_launch (launch, cell, seed, started_at, order_index)"
    )
    ((there,),) = connection.execute("SELECT count(*) FROM other.trial")
    connection.execute(
        f"""CREATE TEMP TABLE trial_here AS SELECT
            trial.id AS old, launch_here.new AS launch, build_here.new AS build, cell, seed,
            started_at, {_generation("other")} AS generation, outcome IS 'errored' AS errored,
            0 AS history
        FROM other.trial AS trial
        JOIN launch_here ON launch_here.old = trial.launch
        JOIN build_here ON build_here.old = trial.build
        WHERE NOT EXISTS (
            SELECT 1 FROM ours_of_launch AS ours
            WHERE ours.launch = launch_here.new AND ours.cell = trial.cell
                AND ours.seed = trial.seed AND ours.started_at = trial.started_at
                AND ours.order_index = trial.order_index
        )"""
    )
    connection.execute("CREATE INDEX temp.trial_key ON trial_here (cell, build, seed, generation)")
    connection.execute(
        """UPDATE trial_here SET history = 1 WHERE rowid IN (
            SELECT theirs.rowid FROM main.trial AS ours CROSS JOIN trial_here AS theirs
            ON theirs.cell = ours.cell AND theirs.build = ours.build
                AND theirs.seed = ours.seed AND theirs.generation = ours.generation
            WHERE ours.outcome IS NOT 'errored'
                AND (theirs.errored OR ours.started_at > theirs.started_at)
        )"""
    )
    ((new, history),) = connection.execute(
        "SELECT count(*), coalesce(sum(history), 0) FROM trial_here"
    )
    ((least, most),) = connection.execute(
        "SELECT min(coalesce(min(id), 1), 1), coalesce(max(id), 0) FROM main.trial"
    )
    # Attempts supersede each other in the order of their numbers: history goes below all others.
    connection.execute("CREATE TEMP TABLE number_here (old INTEGER PRIMARY KEY, new INTEGER)")
    connection.execute(
        """INSERT INTO number_here SELECT old,
            row_number() OVER (PARTITION BY history ORDER BY old)
            + CASE WHEN history THEN ? ELSE ? END
        FROM trial_here""",
        (least - history - 1, most),
    )
    connection.execute("INSERT OR IGNORE INTO request SELECT * FROM other.request")
    _copy(
        connection,
        "trial",
        {
            "id": "number_here.new",
            "launch": "trial_here.launch",
            "build": "trial_here.build",
            "generation": "trial_here.generation",
        },
    )
    for table in ("reply", "verdict", "turn", "attempt"):
        _copy(connection, table, {"trial": "number_here.new"})
    connection.execute(
        """INSERT INTO look (compared, trials, max_drop, verdict, at)
        SELECT compared, trials, max_drop, verdict, at FROM other.look AS theirs WHERE NOT EXISTS (
            SELECT 1 FROM main.look AS ours WHERE ours.compared = theirs.compared
            AND ours.trials = theirs.trials AND ours.max_drop = theirs.max_drop
            AND ours.verdict = theirs.verdict
        ) ORDER BY id"""
    )
    return new, there - new, history


def _copy(connection: sqlite3.Connection, table: str, changed: dict[str, str]) -> None:
    """Copy the rows of new trials; `changed` says what stands in columns that have other values.

    Columns are named, for a store that was migrated has them in another order than a new one.
    """
    key = next(iter(changed))
    columns = [row[1] for row in connection.execute(f"PRAGMA main.table_info({table})")]
    values = [changed.get(column, f'theirs."{column}"') for column in columns]
    names = ", ".join(f'"{column}"' for column in columns)
    connection.execute(
        f"""INSERT INTO {table} ({names}) SELECT {", ".join(values)} FROM other.{table} AS theirs
        JOIN number_here ON number_here.old = theirs.{key}
        JOIN trial_here ON trial_here.old = theirs.{key}"""
    )


@contextmanager
def _writing(path: Path) -> Iterator[tuple[sqlite3.Connection, WriteLock]]:
    """Yield a connection for one change, and its lock, while nobody executes an experiment.

    Raises:
        StoreError: Somebody does, or the store cannot be written; nothing of it was.
    """
    with (
        nobody_executes(path),
        translated(path),
        closing(WriteLock(path)) as lock,
        closing(connect_writing(path)) as connection,
    ):
        yield connection, lock
        with lock:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


# Parts taken out.


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What is taken out of a store: of these experiments, and of these generations.

    Args:
        experiments: Names; with `generations` only what belongs to both.
        generations: Numbers of generations; 0 is that before the first fresh start.
        replies: Only the texts of replies go; verdicts, figures and requests stay.
    """

    experiments: Sequence[str] = ()
    generations: Sequence[int] = ()
    replies: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Weight:
    """How much a part is.

    Args:
        trials: Its trials.
        replies: Those of them of which a reply is kept.
        shared: Trials that stay, for another experiment has their cells as well.
        bytes: The length of the replies' texts.
    """

    trials: int
    replies: int
    shared: int
    bytes: int


def weigh(path: Path, part: Part) -> Weight:
    """Return how much would go; nothing is changed.

    Raises:
        StoreError: The store cannot be read.
        UsageError: The part names an experiment or a generation that the store does not have.
    """
    open_store(path, create=False).close()
    with translated(path), closing(connect_reading(path)) as connection:
        connection.execute("PRAGMA temp_store = FILE")
        return _select(connection, part)


def prune(path: Path, part: Part) -> Weight:
    """Take a part out, and return how much it was; the file gets smaller by `compact`.

    Raises:
        StoreError: The store cannot be written, or an experiment is executed on it.
        UsageError: As for `weigh`.
    """
    open_store(path, create=False).close()
    with _writing(path) as (connection, lock):
        connection.execute("PRAGMA temp_store = FILE")
        with transaction(connection, lock):
            weight = _select(connection, part)
            gone = "trial IN (SELECT id FROM gone)"
            connection.execute(f"DELETE FROM reply WHERE {gone}")
            if part.replies:
                connection.execute(
                    f"UPDATE turn SET sent = NULL, message = NULL, reading = NULL WHERE {gone}"
                )
                connection.execute(f"UPDATE attempt SET body = NULL WHERE {gone}")
                return weight
            for table in ("verdict", "turn", "attempt"):
                connection.execute(f"DELETE FROM {table} WHERE {gone}")
            connection.execute("DELETE FROM trial WHERE id IN (SELECT id FROM gone)")
            _forget_what_is_empty(connection, part)
    return weight


def _select(connection: sqlite3.Connection, part: Part) -> Weight:
    """Make `gone`, the numbers of the trials that are meant, and weigh them."""
    _demand_known(connection, part)
    conditions, values = ["1"], list[object]()
    if part.experiments:
        conditions.append(f"launch.experiment IN ({', '.join('?' * len(part.experiments))})")
        values += part.experiments
    if part.generations:
        conditions.append(f"generation IN ({', '.join('?' * len(part.generations))})")
        values += part.generations
    connection.execute("CREATE TEMP TABLE gone (id INTEGER PRIMARY KEY, cell TEXT)")
    connection.execute(
        f"""INSERT INTO gone SELECT trial.id, cell FROM trial
        JOIN launch ON launch.id = trial.launch WHERE {" AND ".join(conditions)}""",
        values,
    )
    shared = _keep_shared(connection, part) if part.experiments else 0
    ((trials, replies, size),) = connection.execute(
        """SELECT count(*), count(reply.trial),
            coalesce(sum(length(message) + coalesce(length(reading), 0)), 0)
        FROM gone LEFT JOIN reply ON reply.trial = gone.id"""
    )
    return Weight(trials=trials, replies=replies, shared=shared, bytes=size)


def _demand_known(connection: sqlite3.Connection, part: Part) -> None:
    if not part.experiments and not part.generations:
        raise UsageError(
            "nothing is named that should go", hint="add --experiment NAME or --generation N"
        )
    names = {
        name
        for (name,) in connection.execute(
            "SELECT name FROM experiment UNION SELECT experiment FROM launch"
        )
    }
    for name in part.experiments:
        if name not in names:
            raise UsageError(
                f"the store has no experiment «{name}»",
                where="--experiment",
                hint=f"it has {', '.join(sorted(names))}" if names else "it has none",
            )
    ((newest,),) = connection.execute("SELECT coalesce(max(number), 0) FROM generation")
    for number in part.generations:
        if not 0 <= number <= newest:
            raise UsageError(
                f"the store has no generation {number}",
                where="--generation",
                hint=f"it has 0 to {newest}; each --fresh opened one",
            )


def _keep_shared(connection: sqlite3.Connection, part: Part) -> int:
    """Leave those trials that count for another experiment too; return how many."""
    others = {
        plain_id(cell)
        for (cell,) in connection.execute(
            f"""SELECT DISTINCT cell FROM experiment_cell
            JOIN experiment_launch ON experiment_launch.number = launch
            JOIN experiment ON experiment.number = experiment
            WHERE experiment.name NOT IN ({", ".join("?" * len(part.experiments))})""",
            list(part.experiments),
        )
    }
    connection.execute("CREATE TEMP TABLE shared (cell TEXT PRIMARY KEY)")
    connection.executemany("INSERT INTO shared VALUES (?)", ((cell,) for cell in others))
    found = connection.execute("DELETE FROM gone WHERE cell IN (SELECT cell FROM shared)")
    return found.rowcount


def _forget_what_is_empty(connection: sqlite3.Connection, part: Part) -> None:
    """Take out launch runs, requests and builds of which nothing is left."""
    if part.experiments and not part.generations:
        marks = ", ".join("?" * len(part.experiments))
        numbers = f"SELECT number FROM experiment WHERE name IN ({marks})"
        names = list(part.experiments)
        launches = f"SELECT number FROM experiment_launch WHERE experiment IN ({numbers})"
        connection.execute(f"DELETE FROM experiment_cell WHERE launch IN ({launches})", names)
        for table in ("experiment_launch", "experiment_coordinates"):
            connection.execute(f"DELETE FROM {table} WHERE experiment IN ({numbers})", names)
        connection.execute(f"DELETE FROM experiment WHERE name IN ({marks})", names)
        connection.execute(f"DELETE FROM floor WHERE experiment IN ({marks})", names)
        empty = f"""SELECT id FROM launch WHERE experiment IN ({marks})
            AND id NOT IN (SELECT launch FROM trial)"""
        connection.execute(f"DELETE FROM note WHERE launch IN ({empty})", names)
        connection.execute(f"DELETE FROM launch WHERE id IN ({empty})", names)
    connection.execute("DELETE FROM request WHERE digest NOT IN (SELECT request FROM trial)")
    connection.execute(
        """DELETE FROM build WHERE number NOT IN (SELECT build FROM trial)
        AND number NOT IN (SELECT build FROM launch WHERE build IS NOT NULL)"""
    )


# Checked, and made small.


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """What a store holds.

    Args:
        damage: What is wrong with it, one a line; empty where nothing is.
        experiments: Names of experiments.
        trials: Trials, with all attempts.
        replies: Trials of which a reply is kept.
        launches: Launch runs.
        builds: Builds.
        bytes: The size of the file and its log.
        free: Bytes of the file that hold nothing; `compact` gives them back.
    """

    damage: Sequence[str]
    experiments: Sequence[str]
    trials: int
    replies: int
    launches: int
    builds: int
    bytes: int
    free: int


_MOST_DAMAGE = 20


def check(path: Path) -> Inventory:
    """Look at every page, index and row of a store; nothing is changed but an older version.

    Raises:
        StoreError: The store cannot be opened or read at all.
    """
    open_store(path, create=False).close()
    names = experiment_names(path)
    with translated(path), closing(connect_reading(path)) as connection:
        told = connection.execute(f"PRAGMA integrity_check({_MOST_DAMAGE})").fetchall()
        damage = [line for (line,) in told if line != "ok"]
        if not damage and (found := find_damage(connection)):
            damage.append(found)
        counts = [
            connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
            for table in ("trial", "reply", "launch", "build")
        ]
        ((pages,),) = connection.execute("PRAGMA freelist_count")
        ((size,),) = connection.execute("PRAGMA page_size")
    trials, replies, launches, builds = counts
    return Inventory(
        damage=damage,
        experiments=names,
        trials=trials,
        replies=replies,
        launches=launches,
        builds=builds,
        bytes=size_of(path),
        free=pages * size,
    )


def size_of(path: Path) -> int:
    """Return the bytes of a store's file and of the log beside it."""
    files = (path, path.with_name(f"{path.name}-wal"))
    return sum(file.stat().st_size for file in files if file.exists())


def compact(path: Path) -> tuple[int, int]:
    """Write the file anew without what is empty in it; return its bytes before and after.

    While it works it needs as much free space as the store is large.

    Raises:
        StoreError: The store cannot be written, the disk is full, or an experiment is executed.
    """
    open_store(path, create=False).close()
    before = size_of(path)
    with _writing(path) as (connection, lock), lock:
        connection.execute("VACUUM")
    return before, size_of(path)
