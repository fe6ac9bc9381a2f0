"""Damage that SQLite does not see: a cell of another type, JSON cut short, a row that is missing.

Nothing is checked while all goes well, for a store may be large. Whoever stumbles over what they
read asks here whether the store is to blame.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING

from matrixbench.errors import StoreError
from matrixbench.records import Outcome

if TYPE_CHECKING:
    from types import TracebackType

_HELD = {"INTEGER": "'integer'", "REAL": "'real', 'integer'", "TEXT": "'text'"}
"""What a column of a type may hold."""

_JSON = {
    "build": ("details",),
    "launch": ("command", "effective", "host", "versions"),
    "note": ("value",),
    "request": ("body",),
    "reply": ("message", "reading"),
    "verdict": ("verdicts",),
    "experiment_launch": ("coordinates",),
    "experiment_coordinates": ("coordinates",),
    "turn": ("sent", "message", "reading"),
}
_HERE = Path(__file__).parent
_HINT = "Restore a copy, or take the row out; nothing was changed."


def blamed(error: BaseException, connection: sqlite3.Connection, path: Path) -> StoreError | None:
    """Return what is wrong with a store that something was stumbled over in; None if nothing is.

    Args:
        error: What happened.
        connection: To the store.
        path: The store.
    """
    try:
        found = find_damage(connection)
    except sqlite3.Error as damage:
        found = str(damage)
    if found:
        return StoreError(f"the store is damaged: {found}", where=str(path), hint=_HINT)
    if _while_reading(error.__traceback__):
        what = f"{type(error).__name__}: {error}"
        return StoreError(
            f"the store holds what cannot be read ({what})", where=str(path), hint=_HINT
        )
    return None


def find_damage(connection: sqlite3.Connection) -> str:
    """Return the first thing that is wrong with a store's rows; empty if nothing is found.

    Raises:
        sqlite3.Error: SQLite itself sees the damage.
    """
    tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    for (table,) in tables:
        if table.startswith("sqlite_"):
            continue
        for _, name, kind, needed, _, _ in connection.execute(f"PRAGMA table_info({table})"):
            held = f"{_HELD.get(kind, 'typeof(1)')}{'' if needed else ', ' + repr('null')}"
            wrong = f'typeof("{name}") NOT IN ({held})'
            if kind in _HELD and _any(connection, table, wrong):
                return f"{table}.{name} holds a value of another type"
            known = ", ".join(f"'{outcome}'" for outcome in Outcome)
            if name == "outcome" and _any(connection, table, f"outcome NOT IN ({known})"):
                return f"{table}.outcome holds no outcome"
            if name in _JSON.get(table, ()) and _any(
                connection, table, f'"{name}" IS NOT NULL AND NOT json_valid("{name}")'
            ):
                return f"{table}.{name} holds text that is no JSON"
    if missing := connection.execute("PRAGMA foreign_key_check").fetchone():
        return f"a row of {missing[0]} names a row of {missing[2]} that is not there"
    return ""


def _any(connection: sqlite3.Connection, table: str, condition: str) -> bool:
    query = f'SELECT EXISTS (SELECT 1 FROM "{table}" WHERE {condition})'  # noqa: S608  no input
    return bool(connection.execute(query).fetchone()[0])


def _while_reading(trace: TracebackType | None) -> bool:
    """Return whether an error arose in this package, or in what it called."""
    files = []
    while trace is not None:
        files.append(Path(trace.tb_frame.f_code.co_filename))
        trace = trace.tb_next
    ours = [file for file in files if _HERE.parent in file.parents]
    return bool(ours) and ours[-1].parent == _HERE
