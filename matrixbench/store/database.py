"""The store as others see it: opened, read, judged again, and told of fresh starts."""

from __future__ import annotations

import json
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any, Self, TypeAlias

from matrixbench.errors import MatrixbenchError, StoreError
from matrixbench.plan.cells import ANY_LOAD, LaunchRun, Origin
from matrixbench.spec.axes import name_as_now
from matrixbench.store import reading
from matrixbench.store.connection import (
    check_header,
    connect_reading,
    connect_writing,
    create_file,
    damage,
    migrate,
    one_transaction,
    translated,
    version_of,
)
from matrixbench.store.encoding import BUILD_COLUMNS, LAUNCH_COLUMNS, build_from, launch_from
from matrixbench.store.experiments import newest_keys, run_loads
from matrixbench.store.locks import WriteLock
from matrixbench.store.migrations import MIGRATIONS
from matrixbench.store.outcomes import (
    add_for_now,
    add_judgements,
    read_judged_progress,
    stale_replies,
)
from matrixbench.store.reading import WantedAttempts, current_ids, floors_of, read_progress
from matrixbench.store.rows import KeptLook, LaunchNote, SeedReplies, StoredLaunch
from matrixbench.store.writer import Writer

if TYPE_CHECKING:
    import sqlite3
    from array import array
    from collections.abc import (
        Callable,
        Collection,
        Container,
        Iterable,
        Iterator,
        Mapping,
        Sequence,
    )
    from pathlib import Path
    from types import TracebackType

    from matrixbench.plan.cells import CellProgress, Loads
    from matrixbench.records import Build, ChatReply, Judgement, Trial
    from matrixbench.store.encoding import Row
    from matrixbench.store.experiments import RunLoads
    from matrixbench.store.outcomes import Judges
    from matrixbench.store.rows import (
        KeptReply,
        Transcript,
        TrialRow,
    )


_Parameters: TypeAlias = "Sequence[Any] | Mapping[str, Any]"

_BUILD = ", ".join(f"build.{name}" for name in BUILD_COLUMNS)

_LAUNCHES = f"""
    SELECT launch.id, ended_at, error, {", ".join(LAUNCH_COLUMNS)}, {_BUILD}
    FROM launch LEFT JOIN build ON build.number = launch.build
    WHERE :experiment IS NULL OR experiment = :experiment ORDER BY launch.id
"""

_RUNS = """
    SELECT experiment, name, digest, build.id, origin
    FROM launch JOIN build ON build.number = launch.build
    GROUP BY experiment, name, digest, build.id, origin ORDER BY max(launch.id) DESC
"""

_STARTS = """
    SELECT name, digest, build IS NULL AND error IS NOT NULL FROM launch
    WHERE experiment = ? ORDER BY id
"""

_NOTED = """
    SELECT digest, build.id, started_at, value FROM note
    JOIN launch ON launch.id = note.launch LEFT JOIN build ON build.number = launch.build
    WHERE note.name = ? ORDER BY launch.id
"""

_OTHERS_STORED = """
    SELECT EXISTS (
        SELECT 1 FROM trial JOIN launch ON launch.id = trial.launch
        WHERE trial.id > ? AND launch.experiment <> ?
    )
"""

_DURATIONS = """
    SELECT cell, {sums} FROM trial
    WHERE launch IN (SELECT value FROM json_each(?))
        AND latency_s IS NOT NULL AND outcome IS NOT 'errored'
    GROUP BY cell{by}
"""

# A reply is its text and calls (the digest) and its length: models that think may say the same
# after other thoughts. Conversations are left out, for a row has the figures of all their turns.
_BY_REQUEST = """
    SELECT launch.digest, build.id, request.body,
        count(DISTINCT trial.seed),
        count(DISTINCT trial.reply_digest || ' ' || coalesce(trial.completion_tokens, '')),
        CASE WHEN count(trial.completion_tokens) = count(*)
            THEN min(trial.completion_tokens - coalesce(trial.reasoning_tokens, 0)) END
    FROM trial
    JOIN launch ON launch.id = trial.launch
    JOIN build ON build.number = trial.build
    LEFT JOIN request ON request.digest = trial.request
    WHERE launch.digest IN (SELECT value FROM json_each(?)) AND trial.reply_digest IS NOT NULL
        AND NOT EXISTS (SELECT 1 FROM turn WHERE turn.trial = trial.id)
    GROUP BY launch.digest, trial.build, trial.cell, trial.request
    HAVING count(DISTINCT trial.seed) > 1
"""


def open_store(path: Path, *, create: bool) -> Store:
    """Open a store; an older one is brought up to date first.

    Args:
        create: Make it, and its folder, where it is missing.

    Raises:
        StoreError: It is missing (and `create` is not said), empty, not ours, of a newer
            version, damaged, or cannot be read or made here. Nothing was changed.
    """
    if create and not path.exists():
        create_file(path)
    elif not path.exists():
        raise StoreError(
            "there is no store yet",
            where=str(path),
            hint="`matrixbench execute` makes it; or name another with --store.",
        )
    check_header(path)
    with translated(path):
        connection = connect_reading(path)
        try:
            _bring_up_to_date(connection, path)
        except BaseException:
            connection.close()
            raise
    return Store(path, connection)


def refuse_what_is_no_store(path: Path) -> None:
    """Raise where a file is there that is no store, before anything is made beside it.

    Raises:
        StoreError: It cannot be read, is empty, or is not a store of ours.
    """
    if path.exists():
        check_header(path)


def open_store_if_there(path: Path) -> Store | None:
    """Open a store that exists, or return None where there is no file.

    Raises:
        StoreError: As `open_store` says.
    """
    return open_store(path, create=False) if path.exists() else None


def _bring_up_to_date(connection: sqlite3.Connection, path: Path) -> None:
    version = version_of(connection)
    if version > len(MIGRATIONS):
        raise StoreError(
            f"the store is of a newer version ({version}) than this matrixbench knows"
            f" ({len(MIGRATIONS)})",
            where=str(path),
            hint="Update matrixbench, or name another file with --store; nothing was changed.",
        )
    if version < len(MIGRATIONS):
        with closing(WriteLock(path)) as lock, closing(connect_writing(path)) as writing:
            migrate(writing, lock)


class Store:
    """An open store. A context manager; made by `open_store`.

    It reads through one connection that cannot write, so that reading never holds up a writer.
    Every method raises StoreError where the file cannot be read (or written), and then changed
    nothing. One thread may use it at a time.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._connection = connection

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the file; what was stumbled over in a damaged one is told as the damage.

        Raises:
            StoreError: Something that is none of our errors happened, and the store is to blame.
        """
        try:
            if isinstance(error, Exception) and not isinstance(error, (MatrixbenchError, OSError)):
                found = damage(self._connection, self.path)
                if found is not None:
                    raise found from error
        finally:
            self.close()

    def close(self) -> None:
        """Close the file; a writer that was opened goes on by itself."""
        self._connection.close()

    def writer(self, on_stored: Callable[[Sequence[Trial]], None] | None = None) -> Writer:
        """Return a writer for this store; see `Writer`."""
        return Writer(self.path, on_stored=on_stored)

    def _rows(self, query: str, parameters: _Parameters = ()) -> list[Row]:
        with translated(self.path):
            return self._connection.execute(query, parameters).fetchall()

    # Fresh starts.

    def generation(self) -> int:
        """Return the newest generation of the store, to which new trials belong; 0 at first."""
        ((number,),) = self._rows("SELECT coalesce(max(number), 0) FROM generation")
        return int(number)

    def start_fresh(self, experiment: str, cells: Iterable[str] | None = None) -> int:
        """Open a generation and return its number: older trials no longer count.

        Args:
            cells: For which of its cells; None for all.
        """
        with one_transaction(self.path) as connection:
            number = connection.execute(
                "INSERT INTO generation (experiment, opened_at) VALUES (?, ?)",
                (experiment, time.time()),
            ).lastrowid
            assert number is not None  # noqa: S101  an INSERT has one
            connection.executemany(
                "INSERT INTO floor (experiment, cell, generation) VALUES (?, ?, ?) "
                "ON CONFLICT (experiment, cell) DO UPDATE SET generation = excluded.generation",
                ((experiment, cell, number) for cell in (("",) if cells is None else cells)),
            )
            return number

    # What is done.

    def progress(
        self,
        experiment: str,
        *,
        first_seed: int | frozenset[int],
        trials: int,
        request_timeout_s: float,
        judges: Judges | None = None,
        loads: Loads = ANY_LOAD,
    ) -> dict[str, dict[str, CellProgress]]:
        """Return build id → cell id → what is known of its trials 0 … `trials` − 1.

        Bit i of a mask stands for seed `first_seed` + i. Where several first seeds are given, it
        stands for the i-th trial of a cell that was asked from one of them on. A timeout under a
        limit shorter than `request_timeout_s` is `short`; a reply is kept whatever its checks say
        of it. What they say, `judged`, is told where `judges` are given, and nothing of it is
        written down. Cells of launches that only their load tells apart have it in their id.
        """
        wanted = WantedAttempts(
            first_seed=first_seed, trials=trials, request_timeout_s=request_timeout_s
        )
        with translated(self.path):
            floors = floors_of(self._connection, experiment)
            runs = run_loads(self._connection, loads)
            if judges is None:
                return read_progress(self._connection, floors, wanted, runs)
            return read_judged_progress(self._connection, floors, wanted, judges, runs)

    def builds(self) -> dict[str, Build]:
        """Return every build by its id, oldest first."""
        rows = self._rows(f"SELECT {_BUILD} FROM build ORDER BY number")
        return {build.id: build for build in map(build_from, rows)}

    def launch_runs(self) -> list[LaunchRun]:
        """Return under which builds and from where launches ran, once each, the newest first."""
        return [
            LaunchRun(experiment, name_as_now(name), digest, build, Origin.from_text(origin))
            for experiment, name, digest, build, origin in self._rows(_RUNS)
        ]

    def failed_starts(self, experiment: str) -> set[tuple[str, str]]:
        """Return name and digest of the launches whose newest run ended before a server answered.

        They are an experiment's.
        """
        newest = {
            (name_as_now(name), digest): failed
            for name, digest, failed in self._rows(_STARTS, (experiment,))
        }
        return {launch for launch, failed in newest.items() if failed}

    def newest_loads(self) -> dict[tuple[str, str], str]:
        """Return name and digest of a launch → the key of the load that it ran under last."""
        with translated(self.path):
            return newest_keys(self._connection)

    def noted(self, name: str) -> list[LaunchNote]:
        """Return what launch runs, oldest first, wrote down under a name (see `Writer.note`)."""
        return [
            LaunchNote(launch_digest=digest, build=build, started_at=began, value=json.loads(value))
            for digest, build, began, value in self._rows(_NOTED, (name,))
        ]

    def replies_to_seeds(self, digests: Iterable[str]) -> list[SeedReplies]:
        """Return what launches said to each request that was asked with several seeds.

        Trials of every generation and experiment are among them: what a server does with a seed
        is its own.
        """
        return [
            SeedReplies(
                launch_digest=digest,
                build=build,
                body=json.loads(body) if body else {},
                seeds=seeds,
                distinct=distinct,
                tokens=tokens,
            )
            for digest, build, body, seeds, distinct, tokens in self._rows(
                _BY_REQUEST, (json.dumps(sorted(set(digests))),)
            )
        ]

    def launches(self, experiment: str | None = None) -> list[StoredLaunch]:
        """Return the launch runs of an experiment, or all of the store, oldest first."""
        found, width = [], len(LAUNCH_COLUMNS)
        for number, ended_at, error, *row in self._rows(_LAUNCHES, {"experiment": experiment}):
            build = None if row[width] is None else build_from(row[width:])
            notes = self._rows("SELECT name, value FROM note WHERE launch = ?", (number,))
            found.append(
                StoredLaunch(
                    id=number,
                    record=launch_from(row[:width], build),
                    ended_at=ended_at,
                    error=error,
                    notes={name: json.loads(value) for name, value in notes},
                )
            )
        return found

    def durations(
        self, launch_digests: Collection[str] | None = None, loads: Loads = ANY_LOAD
    ) -> dict[str, float]:
        """Return cell id → mean seconds of its measured trials, of some launches or all."""
        rows = self._rows("SELECT id, digest FROM launch")
        chosen = [
            number for number, digest in rows if launch_digests is None or digest in launch_digests
        ]
        with translated(self.path):
            runs = run_loads(self._connection, loads)
        given = (json.dumps(chosen),)
        if not runs.marks:
            return dict(self._rows(_DURATIONS.format(sums="avg(latency_s)", by=""), given))
        means: dict[str, tuple[float, int]] = {}
        sums = "launch, sum(latency_s), count(latency_s)"
        for plain, run, total, count in self._rows(
            _DURATIONS.format(sums=sums, by=", launch"), given
        ):
            cell = runs.cell(plain, run)
            before, times = means.get(cell, (0.0, 0))
            means[cell] = (before + total, times + count)
        return {cell: total / count for cell, (total, count) in means.items()}

    # Attempts, and their texts.

    def trials(
        self,
        experiment: str,
        *,
        first_seed: int | Mapping[str, int],
        trials: int | None = None,
        cells: Container[str] | None = None,
        checks: Mapping[str, str] | None = None,
        loads: Loads = ANY_LOAD,
    ) -> Iterator[TrialRow]:
        """Yield the attempts that count, oldest first, each with the judgement that counts.

        Args:
            experiment: Whose fresh starts hold.
            first_seed: The seed of trial 0; lower ones are left out. Or cell id → the seed of its
                trial 0; then other cells are left out.
            trials: How many per cell; None for all that are there.
            checks: Cell id → digest of its present checks. The newest judgement by these
                counts; where there is none, and for cells that are missing, the newest of all.
            loads: The experiment's: trials under its own come before others.
        """
        with translated(self.path):
            wanted = WantedAttempts(first_seed=first_seed, trials=trials)
            ids, runs = self._counting(experiment, wanted, cells, loads)
            yield from reading.trial_rows(self._connection, ids, checks or {}, first_seed, runs)

    def _counting(
        self,
        experiment: str,
        wanted: WantedAttempts,
        cells: Container[str] | None,
        loads: Loads,
    ) -> tuple[array[int], RunLoads]:
        """Return the attempts that count, and what the loads that they ran under mean."""
        floors, runs = floors_of(self._connection, experiment), run_loads(self._connection, loads)
        return current_ids(self._connection, floors, wanted, cells, runs), runs

    def transcript(self, trial: int, *, checks: str = "") -> Transcript:
        """Return an attempt's texts, by its number.

        Raises:
            StoreError: There is no such attempt.
        """
        with translated(self.path):
            found = reading.transcript(self._connection, trial, checks)
        if found is None:
            raise StoreError(
                f"there is no trial {trial}",
                where=str(self.path),
                hint="`matrixbench show` lists an experiment's trials.",
            )
        return found

    # Judging again.

    def kept(
        self,
        experiment: str,
        *,
        first_seed: int | Mapping[str, int],
        cells: Container[str] | None = None,
        loads: Loads = ANY_LOAD,
    ) -> Iterator[KeptReply]:
        """Yield the attempts of some cells that count and have a reply, oldest first.

        The arguments are those of `trials`.
        """
        with translated(self.path):
            wanted = WantedAttempts(first_seed=first_seed)
            ids, runs = self._counting(experiment, wanted, cells, loads)
            yield from reading.kept(self._connection, ids, runs)

    def newest(self) -> int:
        """Return the number of the newest attempt; 0 where there is none."""
        ((number,),) = self._rows("SELECT coalesce(max(id), 0) FROM trial")
        return int(number)

    def others_stored(self, experiment: str, *, after: int) -> bool:
        """Return whether other experiments have stored attempts since the one of a number."""
        ((found,),) = self._rows(_OTHERS_STORED, (after, experiment))
        return bool(found)

    def reply(self, trial: int) -> ChatReply:
        """Return the reply of an attempt that has one."""
        with translated(self.path):
            ((_, _, reply),) = reading.replies(self._connection, [trial])
        return reply

    def stale(
        self, checks: Mapping[str, str], loads: Loads = ANY_LOAD
    ) -> Iterator[tuple[int, str, ChatReply]]:
        """Yield trial number, cell and reply wherever the present checks have not judged yet.

        Args:
            checks: Cell id → digest of its present checks; other cells are left alone.

        Only the newest attempts count. Those at which a check raised come again each time.
        """
        with translated(self.path):
            runs = run_loads(self._connection, loads)
            yield from stale_replies(self._connection, checks, runs)

    def add_judgements(self, judgements: Iterable[tuple[int, str, Judgement]]) -> int:
        """Keep what checks say of stored replies; return how many outcomes changed.

        Args:
            judgements: Trial number, digest of the checks, judgement. Taken in groups, each
                kept whole; `stale` may be read meanwhile.

        A judgement that its checks have given already is not kept twice.
        """
        return add_judgements(self.path, judgements)

    def judge_for_now(self, judgements: Iterable[tuple[int, str, Judgement]]) -> int:
        """Count judgements as `add_judgements` does, for as long as this store is open.

        Nothing is written to the store.
        """
        with translated(self.path):
            return add_for_now(self._connection, judgements)

    # Looks.

    def looks(self, compared: str) -> list[KeptLook]:
        """Return the looks that were taken at what is compared, oldest first."""
        query = "SELECT trials, max_drop, verdict, at FROM look WHERE compared = ? ORDER BY id"
        return [KeptLook(*row) for row in self._rows(query, (compared,))]

    def add_look(self, compared: str, look: KeptLook) -> None:
        """Keep that what is compared was looked at; the same look is kept once."""
        if any(look[:3] == kept[:3] for kept in self.looks(compared)):
            return
        with one_transaction(self.path) as connection:
            connection.execute(
                "INSERT INTO look (compared, trials, max_drop, verdict, at) VALUES (?, ?, ?, ?, ?)",
                (compared, *look),
            )
