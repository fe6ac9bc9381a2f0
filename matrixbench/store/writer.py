"""The one writer of a process: a thread that commits trials in groups; and imports."""

from __future__ import annotations

import asyncio
import queue
import sys
import threading
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self, TypeAlias

from matrixbench.errors import StoreError
from matrixbench.records import ChatReply, Judgement, Kind, Outcome, Refusal
from matrixbench.store.connection import connect_writing, one_transaction, transaction, translated
from matrixbench.store.encoding import (
    ATTEMPT_COLUMNS,
    BUILD_COLUMNS,
    JUDGEMENT_COLUMNS,
    LAUNCH_COLUMNS,
    TRIAL_COLUMNS,
    attempt_rows,
    build_values,
    json_text,
    judgement_values,
    launch_values,
    plain,
    reply_values,
    trial_values,
)
from matrixbench.store.experiments import write_experiment
from matrixbench.store.locks import WriteLock
from matrixbench.store.turns import TURN_COLUMNS, turn_rows

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

    from matrixbench.identity import Json
    from matrixbench.records import JsonObject, Trial
    from matrixbench.store.encoding import Row
    from matrixbench.store.experiments import ExperimentRecord
    from matrixbench.store.rows import LaunchRecord


def _insert(table: str, columns: Sequence[str], *, or_ignore: bool = False) -> str:
    verb = "INSERT OR IGNORE" if or_ignore else "INSERT"
    places = ", ".join("?" * len(columns))
    return f"{verb} INTO {table} ({', '.join(columns)}) VALUES ({places})"


_TRIAL = _insert("trial", TRIAL_COLUMNS)
_REPLY = _insert("reply", ("trial", "message", "reading"))
_TURN = _insert("turn", ("trial", *TURN_COLUMNS))
_ATTEMPT = _insert("attempt", ("trial", *ATTEMPT_COLUMNS))
_VERDICT = _insert("verdict", ("trial", "turn", *JUDGEMENT_COLUMNS))
_REQUEST = _insert("request", ("digest", "body"), or_ignore=True)
_BUILD = _insert("build", BUILD_COLUMNS, or_ignore=True)
_LAUNCH = _insert("launch", (*LAUNCH_COLUMNS, "build"))


@dataclass(frozen=True, slots=True)
class WriteGroup:
    """Trials that are stored together, encoded; where there is no reply a row is None.

    `turns` are rows with the index of their trial, for trials that were conversations, and
    `attempts` such rows for those whose request had other answers, or was refused with one.
    """

    trials: list[Row]
    replies: list[Row | None]
    verdicts: list[Row | None]
    turns: list[tuple[int, Row]]
    attempts: list[tuple[int, Row]]

    @classmethod
    def of(cls, trials: Sequence[tuple[Trial, int]]) -> Self:
        """Encode trials, each with the number of its build."""
        return cls(
            [trial_values(trial, build) for trial, build in trials],
            [reply_values(trial.reply) if trial.reply else None for trial, _ in trials],
            [
                judgement_values(trial.judgement, trial.checks) if trial.reply else None
                for trial, _ in trials
            ],
            [(i, row) for i, (trial, _) in enumerate(trials) for row in turn_rows(trial)],
            [(i, row) for i, (trial, _) in enumerate(trials) for row in attempt_rows(trial)],
        )

    def insert(self, connection: sqlite3.Connection) -> None:
        """Add the trials, with ids that count on from the highest."""
        (highest,) = connection.execute("SELECT coalesce(max(id), 0) FROM trial").fetchone()
        first = highest + 1
        connection.executemany(_TRIAL, _numbered(self.trials, first))
        connection.executemany(_REPLY, _numbered(self.replies, first))
        connection.executemany(_VERDICT, _numbered(self.verdicts, first, 0))
        connection.executemany(_TURN, ((first + i, *row) for i, row in self.turns))
        connection.executemany(_ATTEMPT, ((first + i, *row) for i, row in self.attempts))


def _numbered(rows: Sequence[Row | None], first: int, *more: int) -> Iterator[Row]:
    """Put the trial's id, and `more`, before each row that is there."""
    return ((first + i, *more, *row) for i, row in enumerate(rows) if row is not None)


def insert_requests(connection: sqlite3.Connection, bodies: Mapping[str, str]) -> None:
    """Add requests' bodies by their digests; those that are there stay."""
    connection.executemany(_REQUEST, bodies.items())


def insert_launch(connection: sqlite3.Connection, record: LaunchRecord) -> tuple[int, int | None]:
    """Add a launch run and its build; return the numbers of both."""
    build = None
    if record.build is not None:
        connection.execute(_BUILD, build_values(record.build))
        (build,) = connection.execute(
            "SELECT number FROM build WHERE id = ?", (record.build.id,)
        ).fetchone()
    launch = connection.execute(_LAUNCH, (*launch_values(record), build)).lastrowid
    assert launch is not None  # noqa: S101  an INSERT has one
    return launch, build


def insert_note(connection: sqlite3.Connection, launch: int, name: str, value: Json) -> None:
    """Add a note to a launch run, or replace the one of that name."""
    connection.execute(
        "INSERT INTO note (launch, name, value) VALUES (?, ?, ?) "
        "ON CONFLICT (launch, name) DO UPDATE SET value = excluded.value",
        (launch, name, json_text(value)),
    )


def close_launch(
    connection: sqlite3.Connection, launch: int, ended_at: float, error: str | None
) -> None:
    """Set when a launch run ended, and why early."""
    connection.execute(
        "UPDATE launch SET ended_at = ?, error = ? WHERE id = ?", (ended_at, plain(error), launch)
    )


_IMPORTED_TRIAL = """
    INSERT INTO trial (cell, build, seed, generation, trial_index, launch, order_index, request,
        started_at, outcome, kind, reason, by_request, latency_s)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, ?)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedTrial:
    """One repeat that another tool made.

    Args:
        number: Its number in the cell, from 0; it stands for the seed, which is not known.
        source: Digest of the line that told of it.
        kind: Why it did not pass, where the tool tells.
        reason: One line; empty where nothing was recorded.
        latency_s: How long it took, or None where that was not recorded.
    """

    cell: str
    number: int
    source: str
    outcome: Outcome
    kind: Kind | None = None
    reason: str = ""
    latency_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedLaunch:
    """What another tool measured on one server: the launch's record, and its trials."""

    record: LaunchRecord
    trials: Sequence[ImportedTrial]


def write_imported(
    path: Path, experiment: ExperimentRecord, launches: Sequence[ImportedLaunch]
) -> None:
    """Add trials and name their cells: all of it, or nothing.

    Raises:
        StoreError: The store cannot be written.
        ValueError: A launch's record has no build.
    """
    with one_transaction(path) as connection:
        write_experiment(connection, experiment, whole=False)
        (generation,) = connection.execute(
            "SELECT coalesce(max(number), 0) FROM generation"
        ).fetchone()
        for launch in launches:
            record = launch.record
            number, build = insert_launch(connection, record)
            if build is None:
                raise ValueError(f"{record.name} has no build")
            connection.executemany(
                _IMPORTED_TRIAL,
                (
                    (
                        trial.cell,
                        build,
                        trial.number,
                        generation,
                        trial.number,
                        number,
                        order,
                        trial.source,
                        record.started_at,
                        trial.outcome.value,
                        None if trial.kind is None else trial.kind.value,
                        plain(trial.reason),
                        trial.latency_s,
                    )
                    for order, trial in enumerate(launch.trials)
                ),
            )
            close_launch(connection, number, record.started_at, None)


GROUP = 512
"""Trials in one transaction, at most."""

BACKLOG = 4096
"""Trials that may wait to be written before `put` makes its caller wait."""

GROUP_BYTES = 4_000_000
"""Size of the trials in one transaction, about, at most: so much is encoded at a time."""

BACKLOG_BYTES = 32_000_000
"""Size of the trials that may wait, about; replies can be long, and then few of them are much."""

CHECKPOINT_TRIALS = 8192
"""How many trials the log may gather before it is worked into the file."""

CHECKPOINT_BYTES = 64_000_000
"""How large these trials may be together."""

_LAST_CHECKPOINT_TIMEOUT_MS = 1000

_KNOWN_REQUESTS = 100_000


@dataclass(frozen=True, slots=True)
class _Entry:
    trial: Trial
    body: JsonObject | None
    build: int
    size: int


@dataclass(frozen=True, slots=True)
class _Job:
    """Something else to write, in its turn; None asks to end."""

    action: Callable[[sqlite3.Connection], int] | None
    done: Future[int]


_UNKEEPABLE = (OverflowError, RecursionError, UnicodeError)
"""What encoding a record raises that holds what no row can."""


def _without_answer(trial: Trial, error: Exception) -> Trial:
    refusal = Refusal(
        outcome=Outcome.ERRORED,
        kind=Kind.BAD_REPLY,
        reason=f"bad reply: storing it raised {type(error).__name__}",
    )
    return replace(
        trial, reply=None, refusal=refusal, judgement=Judgement.of_refusal(refusal), checks=""
    )


_NODE = 100
"""Bytes that a dict, a list or a number of a message takes, about."""


def answer_size(trial: Trial) -> int:
    """Return how many bytes a trial's answer takes in memory, about.

    The request's body does not count: its texts are the experiment's, which holds them anyway.
    """
    answer = trial.reply or trial.refusal
    if answer is None:
        return 0
    size = _size_of_answer(answer)
    for turn in answer.earlier:
        size += _size_of_answer(turn.reply) + _bytes_of(turn.then)
    return size


def _size_of_answer(answer: ChatReply | Refusal) -> int:
    size = sum(_bytes_of(attempt.body) for attempt in answer.attempts) if answer.attempts else 0
    if isinstance(answer, Refusal):
        return size + _bytes_of(answer.body)
    if answer.view is not None:
        size += _bytes_of(answer.view.prompt) + _bytes_of(answer.view.output)
    return size + _bytes_of(answer.message)


def _bytes_of(value: Any) -> int:
    size, values = 0, [value]
    while values:  # no recursion: what a server sends may be nested as deep as it likes
        value = values.pop()
        if isinstance(value, str):
            size += sys.getsizeof(value)
        else:
            size += _NODE
            if isinstance(value, dict):
                values += value.values()
            elif isinstance(value, list | tuple):
                values += value
    return size


_Item: TypeAlias = "_Entry | _Job"


class Writer:
    """Writes trials from a thread of its own, so that commits never hold up the next request.

    A context manager; leaving it writes what waits, and raises what went wrong. A trial counts
    as stored when `on_stored` was called with it (from the writer's thread, in the order of
    `put`): then it is on the disk, and no end of this process takes it back. After a failure
    nothing more is written, and every method raises it.

    Args:
        path: A store that `open_store` made.
        on_stored: Called with each group of trials after its commit. It must not raise.

    Raises:
        StoreError: The store cannot be written.
    """

    def __init__(
        self, path: Path, *, on_stored: Callable[[Sequence[Trial]], None] | None = None
    ) -> None:
        self._path = path
        self._on_stored = on_stored
        self._lock = WriteLock(path)
        self._queue: queue.SimpleQueue[_Item] = queue.SimpleQueue()
        self._room = threading.Condition()
        self._requests: set[str] = set()
        self._waiting_bytes = 0
        self._unchecked = self._unchecked_bytes = 0
        self._closed = False
        self._ended = False
        try:
            with translated(path):
                self._connection = connect_writing(path)
                self._builds: dict[str, int] = dict(
                    self._connection.execute("SELECT id, number FROM build")
                )
        except StoreError:
            self._lock.close()
            raise
        self._threads = ThreadPoolExecutor(max_workers=1, thread_name_prefix="store-writer")
        self._run = self._threads.submit(self._work)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end()
        if kind is None:
            self._run.result()

    @property
    def failure(self) -> BaseException | None:
        """What ended the writer before its time: a StoreError, or a bug; None while all is well."""
        return self._run.exception() if self._run.done() else None

    @property
    def backlog(self) -> int:
        """How many trials wait to be written, about."""
        return self._queue.qsize()

    def close(self) -> None:
        """Write what waits, work the log into the file, and end; a second time does nothing.

        Raises:
            StoreError: Something could not be written.
        """
        if not self._closed:
            self._end()
            self._run.result()

    @property
    def _full(self) -> bool:
        return self.backlog >= BACKLOG or self._waiting_bytes >= BACKLOG_BYTES

    async def put(self, trial: Trial, body: JsonObject | None = None) -> None:
        """Hand over a trial; wait only while too many, or too large ones, wait already.

        Raises:
            StoreError: The writer has failed.
            ValueError: No launch was started on the trial's build.
        """
        while self._full and not self._ended:
            await asyncio.to_thread(self._await_room)
        self.offer(trial, body)

    def offer(self, trial: Trial, body: JsonObject | None = None) -> None:
        """Hand over a trial without ever waiting; for the rest like `put`.

        Args:
            trial: Its `request` is the digest of `body`, under which that is kept once.
            body: The request's body; None where it is stored already, or is not to be kept.
        """
        self._raise_failure()
        number = self._builds.get(trial.key.build)
        if number is None:
            raise ValueError(f"no launch was started on build {trial.key.build!r}")
        size = answer_size(trial)
        with self._room:
            self._waiting_bytes += size
        self._queue.put(_Entry(trial, body, number, size))

    def start_launch(self, record: LaunchRecord) -> int:
        """Write down a launch run and its build; return the store's number for it.

        It waits for the commit: call it through `asyncio.to_thread` from an event loop.
        """

        def add(connection: sqlite3.Connection) -> int:
            number, build = insert_launch(connection, record)
            if record.build is not None and build is not None:
                self._builds[record.build.id] = build
            return number

        return self._do(add)

    def note(self, launch: int, name: str, value: Json) -> None:
        """Write down what was found out of a launch; the same name again replaces the value."""

        def add(connection: sqlite3.Connection) -> int:
            insert_note(connection, launch, name, value)
            return launch

        self._do(add)

    def end_launch(self, launch: int, *, ended_at: float, error: str | None = None) -> None:
        """Write down that a launch run is over, after all of its trials; `error` says why early."""

        def end(connection: sqlite3.Connection) -> int:
            close_launch(connection, launch, ended_at, error)
            return launch

        self._do(end)

    def _do(self, action: Callable[[sqlite3.Connection], int]) -> int:
        self._raise_failure()
        job = _Job(action, Future())
        self._queue.put(job)
        first: tuple[Future[Any], ...] = (job.done, self._run)
        wait(first, return_when=FIRST_COMPLETED)
        if not job.done.done():
            self._raise_failure()
        return job.done.result()

    def _end(self) -> None:
        if not self._closed:
            self._closed = True
            self._queue.put(_Job(None, Future()))
            self._threads.shutdown(wait=True)

    def _raise_failure(self) -> None:
        if self._ended:
            self._run.result()
            raise StoreError("the store's writer is closed", where=str(self._path))

    def _await_room(self) -> None:
        with self._room:
            self._room.wait_for(lambda: not self._full or self._ended)

    # What follows runs in the writer's thread.

    def _work(self) -> None:
        try:
            while self._step():
                pass
            with translated(self._path):
                self._connection.execute(f"PRAGMA busy_timeout = {_LAST_CHECKPOINT_TIMEOUT_MS}")
                self._checkpoint("TRUNCATE")
        finally:
            self._connection.close()
            self._lock.close()
            self._ended = True
            with self._room:
                self._room.notify_all()

    def _step(self) -> bool:
        """Write one group, and the job behind it; return whether to go on."""
        entries, job = self._take()
        if entries:
            self._store(entries)
            with self._room:
                self._waiting_bytes -= sum(entry.size for entry in entries)
                self._room.notify_all()
        if job is None:
            return True
        if job.action is None:
            return False
        with translated(self._path), transaction(self._connection, self._lock):
            number = job.action(self._connection)
        job.done.set_result(number)
        return True

    def _take(self) -> tuple[list[_Entry], _Job | None]:
        """Wait for something to write; return a group of what waits, and a job that ends it."""
        entries: list[_Entry] = []
        size = 0
        item = self._queue.get()
        while isinstance(item, _Entry):
            entries.append(item)
            size += item.size
            if len(entries) == GROUP or size >= GROUP_BYTES:
                return entries, None
            try:
                item = self._queue.get_nowait()
            except queue.Empty:
                return entries, None
        return entries, item

    def _store(self, entries: list[_Entry]) -> None:
        """Write trials; one whose answer cannot be kept is kept without it, and ends nothing."""
        try:
            self._write(entries)
        except _UNKEEPABLE as error:
            if len(entries) > 1:
                for entry in entries:
                    self._store([entry])
            else:
                self._write([replace(entries[0], trial=_without_answer(entries[0].trial, error))])

    def _write(self, entries: list[_Entry]) -> None:
        trials = [entry.trial for entry in entries]
        # All encoding comes first: the lock is held only while SQLite works.
        group = WriteGroup.of([(entry.trial, entry.build) for entry in entries])
        bodies = self._new_bodies(entries)
        with translated(self._path):
            with transaction(self._connection, self._lock):
                group.insert(self._connection)
                insert_requests(self._connection, bodies)
            self._unchecked += len(entries)
            self._unchecked_bytes += sum(entry.size for entry in entries)
            if self._unchecked >= CHECKPOINT_TRIALS or self._unchecked_bytes >= CHECKPOINT_BYTES:
                self._checkpoint("PASSIVE")
        self._requests.update(bodies)
        if self._on_stored is not None:
            self._on_stored(trials)

    def _new_bodies(self, entries: list[_Entry]) -> dict[str, str]:
        if len(self._requests) > _KNOWN_REQUESTS:
            self._requests.clear()
        return {
            digest: json_text(body)
            for digest, body in {entry.trial.request: entry.body for entry in entries}.items()
            if body is not None and digest not in self._requests
        }

    def _checkpoint(self, mode: str) -> None:
        """Work the log into the file; what a reader still needs stays for the next time."""
        with self._lock:
            self._connection.execute(f"PRAGMA wal_checkpoint({mode})").fetchone()
        self._unchecked = self._unchecked_bytes = 0
