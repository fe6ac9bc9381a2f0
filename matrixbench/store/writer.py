"""The one writer of a process: a thread that commits trials in groups."""

from __future__ import annotations

import asyncio
import queue
import threading
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self, TypeAlias

from matrixbench.errors import StoreError
from matrixbench.records import Judgement, Kind, Outcome, Refusal
from matrixbench.store.connection import connect_writing, transaction, translated
from matrixbench.store.encoding import json_text
from matrixbench.store.inserts import (
    Group,
    close_launch,
    insert_launch,
    insert_note,
    insert_requests,
)
from matrixbench.store.locks import WriteLock

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from types import TracebackType

    from matrixbench.identity import Json
    from matrixbench.records import JsonObject, Trial
    from matrixbench.store.rows import LaunchRecord

GROUP = 512
"""Trials in one transaction, at most."""

BACKLOG = 4096
"""Trials that may wait to be written before `put` makes its caller wait."""

CHECKPOINT_TRIALS = 8192
"""How many trials the log may gather before it is worked into the file."""

_LAST_CHECKPOINT_TIMEOUT_MS = 1000

_KNOWN_REQUESTS = 100_000


@dataclass(frozen=True, slots=True)
class _Entry:
    trial: Trial
    body: JsonObject | None
    build: int


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
        self._unchecked = 0
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

    async def put(self, trial: Trial, body: JsonObject | None = None) -> None:
        """Hand over a trial; wait only while too many wait already.

        Raises:
            StoreError: The writer has failed.
            ValueError: No launch was started on the trial's build.
        """
        while self.backlog >= BACKLOG and not self._ended:
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
        self._queue.put(_Entry(trial, body, number))

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
            self._room.wait_for(lambda: self.backlog < BACKLOG or self._ended)

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
        """Wait for something to write; return all trials that wait, and a job that ends them."""
        entries: list[_Entry] = []
        item = self._queue.get()
        while isinstance(item, _Entry):
            entries.append(item)
            if len(entries) == GROUP:
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
        group = Group.of([(entry.trial, entry.build) for entry in entries])
        bodies = self._new_bodies(entries)
        with translated(self._path):
            with transaction(self._connection, self._lock):
                group.insert(self._connection)
                insert_requests(self._connection, bodies)
            self._unchecked += len(entries)
            if self._unchecked >= CHECKPOINT_TRIALS:
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
        self._unchecked = 0
