"""The statements that add to the store. All run in a transaction of their caller's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from matrixbench.store.encoding import (
    ATTEMPT_COLUMNS,
    JUDGEMENT_COLUMNS,
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
from matrixbench.store.turns import TURN_COLUMNS, turn_rows

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Mapping, Sequence

    from matrixbench.identity import Json
    from matrixbench.records import Trial
    from matrixbench.store.encoding import Row
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
_BUILD = _insert(
    "build", ("id", "kind", "server", "model", "device", "version", "details"), or_ignore=True
)
_LAUNCH = _insert(
    "launch",
    (
        "experiment",
        "digest",
        "name",
        "started_at",
        "request_timeout_s",
        "order_seed",
        "command",
        "effective",
        "host",
        "versions",
        "log",
        "imported",
        "origin",
        "build",
    ),
)


@dataclass(frozen=True, slots=True)
class Group:
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
