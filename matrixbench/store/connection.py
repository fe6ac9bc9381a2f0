"""The file itself: made, checked, opened, migrated; SQLite's errors and damage in our words."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from matrixbench.errors import StoreError
from matrixbench.records import Outcome
from matrixbench.safe_files import open_input
from matrixbench.store.locks import WriteLock
from matrixbench.store.migrations import MIGRATIONS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from matrixbench.store.migrations import Migration

_HELD = {"INTEGER": "'integer'", "REAL": "'real', 'integer'", "TEXT": "'text'"}
"""What a column of a type may hold."""

_JSON = {
    "build": {"details": "object"},
    "launch": {
        "command": "array",
        "effective": "object",
        "host": "object",
        "versions": "object",
        "origin": "object",
    },
    "note": {"value": ""},
    "request": {"body": "object"},
    "reply": {"message": "object", "reading": "array"},
    "verdict": {"verdicts": "array"},
    "experiment_launch": {"coordinates": "object", "origin": "object"},
    "experiment_coordinates": {"coordinates": "object"},
    "turn": {"sent": "array", "message": "object", "reading": "array"},
}
"""Table → column → what the JSON in it is; empty for any. NULL and empty text are none."""

_READING = "json_array_length(reading) < 3 OR json_type(reading, '$[2]') IS NOT 'array'"
_CALL = "WHERE type <> 'array' OR json_array_length(value) <> 3"
_READING_PARTS = f"{_READING} OR EXISTS (SELECT 1 FROM json_each(reading, '$[2]') {_CALL})"
_VERDICT = (
    "WHERE type <> 'object' OR json_type(value, '$.check') IS NOT 'text' "
    "OR coalesce(json_type(value, '$.passed'), '') NOT IN ('true', 'false')"
)
_ORIGIN = (
    "json_type(origin, '$.kind') IS NOT 'text' "
    "OR coalesce(json_type(origin, '$.argv'), 'array') <> 'array'"
)
_PARTS = (
    ("launch", "origin", _ORIGIN),
    ("experiment_launch", "origin", _ORIGIN),
    ("trial", "trial_index", "trial_index < 0"),
    ("reply", "reading", _READING_PARTS),
    ("turn", "reading", _READING_PARTS),
    ("turn", "sent", "EXISTS (SELECT 1 FROM json_each(sent) WHERE type <> 'object')"),
    ("verdict", "verdicts", f"EXISTS (SELECT 1 FROM json_each(verdicts) {_VERDICT})"),
)
"""Table, column, and where what is inside is wrong."""

_WITHOUT_VERDICT = "outcome IS NULL AND id NOT IN (SELECT trial FROM verdict)"

_HINT = "Restore a copy, or take the row out; nothing was changed."


def damage(connection: sqlite3.Connection, path: Path) -> StoreError | None:
    """Return what is wrong with a store that something was stumbled over in; None if nothing is.

    Then it was our own fault, and the store is not to blame.
    """
    try:
        found = find_damage(connection)
    except sqlite3.Error as error:
        found = str(error)
    if not found:
        return None
    return StoreError(f"the store is damaged: {found}", where=str(path), hint=_HINT)


def find_damage(connection: sqlite3.Connection) -> str:
    """Return the first thing that is wrong with a store's rows; empty if nothing is found.

    What passes here can be read: whoever stumbles all the same is at fault himself.

    Raises:
        sqlite3.Error: SQLite itself sees the damage.
    """
    tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    for (table,) in tables:
        if table.startswith("sqlite_"):
            continue
        for _, name, kind, needed, _, _ in connection.execute(f"PRAGMA table_info({table})"):
            if found := _wrong_column(connection, table, name, (kind, bool(needed))):
                return f"{table}.{name} holds {found}"
    for table, column, wrong in _PARTS:
        if _any(connection, table, f"coalesce({column}, '') <> '' AND ({wrong})"):
            return f"{table}.{column} holds what cannot be read"
    if missing := connection.execute("PRAGMA foreign_key_check").fetchone():
        return f"a row of {missing[0]} names a row of {missing[2]} that is not there"
    query = f"SELECT count(*) FROM trial WHERE {_WITHOUT_VERDICT}"
    (lost,) = connection.execute(query).fetchone()
    return f"{lost} trials have neither an outcome nor a verdict" if lost else ""


def _wrong_column(
    connection: sqlite3.Connection, table: str, name: str, column: tuple[str, bool]
) -> str:
    """Return what a column holds that it must not; `column` is its type, and if it is needed."""
    kind, needed = column
    held = f"{_HELD.get(kind, 'typeof(1)')}{'' if needed else ', ' + repr('null')}"
    if kind in _HELD and _any(connection, table, f'typeof("{name}") NOT IN ({held})'):
        return "a value of another type"
    known = ", ".join(f"'{outcome}'" for outcome in Outcome)
    if name == "outcome" and _any(connection, table, f"outcome NOT IN ({known})"):
        return "no outcome"
    shape = _JSON.get(table, {}).get(name)
    if shape is None:
        return ""
    there = f"coalesce(\"{name}\", '') <> ''"
    if _any(connection, table, f'{there} AND NOT json_valid("{name}")'):
        return "text that is no JSON"
    if shape and _any(connection, table, f"{there} AND json_type(\"{name}\") <> '{shape}'"):
        return "JSON of another shape"
    return ""


def _any(connection: sqlite3.Connection, table: str, condition: str) -> bool:
    query = f'SELECT EXISTS (SELECT 1 FROM "{table}" WHERE {condition})'
    return bool(connection.execute(query).fetchone()[0])


APPLICATION_ID = 0x6D62656E
"""`mben`, in SQLite's header: the file is ours."""

FOLDER = ".matrixbench"
"""The folder of the default store, which git ignores."""

_MAGIC = b"SQLite format 3\0"
_HEADER_BYTES = 100
_APPLICATION_ID_AT = slice(68, 72)
_BUSY_TIMEOUT_S = 30.0

_MOVE = "or move the store with --store."
_INTACT = "What was stored before is intact."

_MEANINGS: dict[int, tuple[str, str]] = {
    sqlite3.SQLITE_FULL: ("the disk is full", f"Free some space, {_MOVE} {_INTACT}"),
    sqlite3.SQLITE_READONLY: (
        "the store cannot be written",
        f"Make the file and its folder writable, {_MOVE} {_INTACT}",
    ),
    sqlite3.SQLITE_CANTOPEN: (
        "the store, or the log beside it, cannot be opened",
        f"Make the file and its folder readable and writable, {_MOVE}",
    ),
    sqlite3.SQLITE_PERM: ("the store may not be opened", f"Change its permissions, {_MOVE}"),
    sqlite3.SQLITE_BUSY: (
        f"another process has kept the store locked for {_BUSY_TIMEOUT_S:g} s",
        "Is it stopped or stuck? End it, or wait, and try again.",
    ),
    sqlite3.SQLITE_CORRUPT: (
        "the store is damaged",
        "Restore a copy, or rescue its rows with `sqlite3 FILE .recover`; nothing was changed.",
    ),
    sqlite3.SQLITE_NOTADB: (
        "the store is damaged, or not a store at all",
        "Restore a copy of it; nothing was changed.",
    ),
    sqlite3.SQLITE_IOERR: (
        "the disk refused to read or write",
        f"Check its space, quotas and health, {_MOVE} {_INTACT}",
    ),
}

_NO_WAL = (
    "the file system does not support the store's write-ahead log (WAL)",
    "Network and shared folders often do not: move the store to a local disk with --store.",
)

_UNWRITABLE = {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY}


def store_error(error: sqlite3.Error, path: Path) -> StoreError:
    """Say what one of SQLite's errors means for the store at `path`."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    name = getattr(error, "sqlite_errorname", "")
    if name.startswith(("SQLITE_IOERR_SHM", "SQLITE_IOERR_LOCK", "SQLITE_PROTOCOL")):
        message, hint = _NO_WAL
    else:
        message, hint = _MEANINGS.get(code, ("the store cannot be used", ""))
    return StoreError(f"{message} (SQLite: {error})", where=str(path), hint=hint)


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn errors of SQLite and the disk into a StoreError: the one boundary that they cross."""
    try:
        yield
    except sqlite3.Error as error:
        raise store_error(error, path) from error
    except UnicodeDecodeError as error:  # in what SQLite says, or in a text
        message, hint = _MEANINGS[sqlite3.SQLITE_CORRUPT]
        raise StoreError(f"{message} ({error})", where=str(path), hint=hint) from error
    except OSError as error:
        raise StoreError(
            f"the store's files cannot be used: {error.strerror}",
            where=str(path),
            hint=f"Check the folder's permissions and space, {_MOVE}",
        ) from error


def check_header(path: Path) -> None:
    """Look at the file's first bytes, without SQLite, which might write beside it.

    Raises:
        StoreError: It cannot be read, is empty, or is not a store of ours.
    """
    try:
        with open_input(path) as file:
            header = file.read(_HEADER_BYTES)
    except OSError as error:
        raise StoreError(
            f"the store cannot be read: {error.strerror}",
            where=str(path),
            hint=f"Make it a readable file, {_MOVE}",
        ) from error
    if not header:
        found = "the file is empty, and no store"
    elif len(header) < _HEADER_BYTES or not header.startswith(_MAGIC):
        found = "the file is not a matrixbench store"
    elif int.from_bytes(header[_APPLICATION_ID_AT]) != APPLICATION_ID:
        found = "the file is an SQLite database of another program, not a matrixbench store"
    else:
        return
    raise StoreError(
        found, where=str(path), hint="It was left as it is: name another file with --store."
    )


def connect(path: Path, query: str) -> sqlite3.Connection:
    """Open a connection without transactions of its own making; `query` is that of an URI.

    It never checkpoints by itself: see `WriteLock`. It may be used from any one thread at a time.
    """
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?{query}",
        uri=True,
        timeout=_BUSY_TIMEOUT_S,
        isolation_level=None,
        check_same_thread=False,
    )
    try:
        connection.execute("PRAGMA wal_autocheckpoint = 0")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def connect_reading(path: Path) -> sqlite3.Connection:
    """Open a connection that only reads; also in a folder that cannot be written.

    Raises:
        sqlite3.Error: The file cannot be opened.
    """
    connection = connect(path, "mode=ro")
    try:
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.Error as error:
        connection.close()
        log = path.with_name(f"{path.name}-wal")
        unwritable = getattr(error, "sqlite_errorcode", 0) & 0xFF in _UNWRITABLE
        if not unwritable or (log.exists() and log.stat().st_size):
            raise
        # No log to read and none can be made: the file is complete by itself, and still.
        return connect(path, "mode=ro&immutable=1")
    return connection


def connect_writing(path: Path) -> sqlite3.Connection:
    """Open a connection whose commits are on the disk when they return.

    Raises:
        sqlite3.Error: The file cannot be opened.
        StoreError: The file system has no write-ahead log.
    """
    connection = connect(path, "mode=rw")
    try:
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        switch_to_wal(connection, path)
    except (sqlite3.Error, StoreError):
        connection.close()
        raise
    return connection


def switch_to_wal(connection: sqlite3.Connection, path: Path) -> None:
    """Make the file keep a write-ahead log, if it does not yet.

    Raises:
        StoreError: The file system does not support it.
    """
    (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode != "wal":
        message, hint = _NO_WAL
        raise StoreError(message, where=str(path), hint=hint)


@contextmanager
def transaction(connection: sqlite3.Connection, lock: WriteLock) -> Iterator[None]:
    """Write all of what is inside, or nothing; on the disk when it returns."""
    with lock:
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            connection.execute("COMMIT")
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")


@contextmanager
def one_transaction(path: Path) -> Iterator[sqlite3.Connection]:
    """Open, write in one transaction, and close: for what is written now and then.

    Raises:
        StoreError: The store cannot be written; nothing of it was.
    """
    with (
        translated(path),
        closing(WriteLock(path)) as lock,
        closing(connect_writing(path)) as connection,
        transaction(connection, lock),
    ):
        yield connection


def version_of(connection: sqlite3.Connection) -> int:
    """Return how many migrations the file has seen."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return int(version)


def migrate(
    connection: sqlite3.Connection, lock: WriteLock, migrations: Sequence[Migration] = MIGRATIONS
) -> None:
    """Apply the migrations that the file has not seen, each in its own transaction."""
    for number, statements in enumerate(migrations, start=1):
        with transaction(connection, lock):
            if version_of(connection) >= number:
                continue
            for statement in statements:
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {number}")


def create_file(path: Path) -> None:
    """Make an empty store, whole or not at all; one that is there by now is left as it is.

    Raises:
        StoreError: It cannot be made here.
    """
    _make_folder(path.parent)
    draft = path.with_name(f"{path.name}.new")
    with translated(path), closing(WriteLock(path)) as lock, lock:
        if path.exists():
            return
        _remove(draft)
        _write_draft(draft)
        draft.replace(path)
        _sync_folder(path.parent)


def _write_draft(draft: Path) -> None:
    with closing(sqlite3.connect(draft, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        for statements in MIGRATIONS:
            for statement in statements:
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
        connection.execute("COMMIT")
        switch_to_wal(connection, draft)


def _remove(draft: Path) -> None:
    """Remove what a process that was killed while it made a store left behind."""
    for suffix in ("", "-journal", "-wal", "-shm"):
        draft.with_name(draft.name + suffix).unlink(missing_ok=True)


def _make_folder(folder: Path) -> None:
    ignore = folder / ".gitignore"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if folder.name == FOLDER and not ignore.exists():
            ignore.write_text("*\n", encoding="utf-8")
    except OSError as error:
        raise StoreError(
            f"the store's folder cannot be made: {error.strerror}",
            where=str(folder),
            hint=f"Make its parent writable, {_MOVE}",
        ) from error


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
