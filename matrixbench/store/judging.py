"""Stored replies judged again: which ones need it, and what came of it."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from matrixbench.store.attempts import Floors, Wanted, current_ids
from matrixbench.store.connection import one_transaction
from matrixbench.store.encoding import JUDGEMENT_COLUMNS, judgement_values
from matrixbench.store.reading import chunks, replies, unjudged

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from matrixbench.records import ChatReply, Judgement
    from matrixbench.store.loads import RunLoads

_GROUP = 512

_INSERT = f"""
    INSERT INTO verdict (trial, turn, {", ".join(JUDGEMENT_COLUMNS)})
    VALUES (?, ?, {", ".join("?" * len(JUDGEMENT_COLUMNS))})
"""  # noqa: S608  only our own constants are put in

_TURNS = f"""
    SELECT turn, {", ".join(JUDGEMENT_COLUMNS)} FROM verdict WHERE trial = ? ORDER BY turn
"""  # noqa: S608  only our own constants are put in


def stale_replies(
    connection: sqlite3.Connection, checks: Mapping[str, str], runs: RunLoads
) -> Iterator[tuple[int, str, ChatReply]]:
    """Yield id, cell and reply of the newest attempts that the present checks have not judged."""
    everything = Wanted(first_seed=0)
    for piece in chunks(current_ids(connection, Floors(0, {}), everything, checks, runs)):
        ids = unjudged(connection, piece, checks, runs)
        if ids:
            yield from replies(connection, ids, runs)


def add_judgements(path: Path, judgements: Iterable[tuple[int, str, Judgement]]) -> int:
    """Keep judgements, in groups of one transaction each; return how many outcomes changed.

    Raises:
        StoreError: The store cannot be written; groups before that are kept.
    """
    remaining = iter(judgements)
    changed = 0
    # The group is drawn before the lock is taken: judging may take its time.
    while group := list(islice(remaining, _GROUP)):
        with one_transaction(path) as connection:
            changed += sum(_add(connection, *item) for item in group)
    return changed


def add_for_now(
    connection: sqlite3.Connection, judgements: Iterable[tuple[int, str, Judgement]]
) -> int:
    """Have a connection see judgements that the store does not keep; return what changed.

    They stand in a temporary copy of the table, which has its name for this connection alone.
    SQLite keeps it outside of the store, and on the disk where it is large.
    """
    several = list(judgements)
    if not several:
        return 0
    columns = ", ".join(("trial", "turn", *JUDGEMENT_COLUMNS))
    connection.execute("BEGIN")
    try:
        made = connection.execute("SELECT 1 FROM temp.sqlite_master WHERE name = 'verdict'")
        if made.fetchone() is None:
            connection.execute(
                f"CREATE TEMP TABLE verdict ({columns}, PRIMARY KEY (trial, turn)) WITHOUT ROWID"
            )
            connection.execute(
                f"INSERT INTO temp.verdict SELECT {columns} FROM main.verdict"  # noqa: S608
            )
        changed = sum(_add(connection, *item) for item in several)
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
    return changed


def _add(connection: sqlite3.Connection, trial: int, checks: str, judgement: Judgement) -> bool:
    values = judgement_values(judgement, checks)
    turns = connection.execute(_TURNS, (trial,)).fetchall()
    by_these = [row for row in turns if row[1] == checks]
    if by_these and by_these[-1][1:] == values:
        return False
    before = (by_these or turns)[-1] if turns else None
    connection.execute(_INSERT, (trial, len(turns), *values))
    return before is not None and before[2] != values[1]
