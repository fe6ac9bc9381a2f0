"""A store is made whole, recognised before anything is touched, and brought up to date."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from matrixbench.errors import ExitCode, StoreError
from matrixbench.store.connection import APPLICATION_ID, migrate, switch_to_wal, version_of
from matrixbench.store.database import open_store, open_store_if_there
from matrixbench.store.locks import WriteLock
from matrixbench.store.migrations import MIGRATIONS

if TYPE_CHECKING:
    from collections.abc import Callable

    from matrixbench.store.database import Store
    from tests.store.conftest import Make


def digests(folder: Path) -> dict[str, str]:
    """Return name → digest of every file in a folder."""
    return {
        file.name: sha256(file.read_bytes()).hexdigest()
        for file in folder.iterdir()
        if file.is_file()
    }


def foreign(file: Path) -> None:
    """Write an SQLite database of another program, with a log beside it."""
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE theirs (x)")
        connection.commit()


def newer(file: Path) -> None:
    """Write a store of a version that does not exist yet."""
    open_store(file, create=True).close()
    with closing(sqlite3.connect(file)) as connection:
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
        connection.commit()


def cut(file: Path) -> None:
    """Write a store that lost its end."""
    open_store(file, create=True).close()
    file.write_bytes(file.read_bytes()[:5000])


def scrambled_schema(file: Path) -> None:
    """Write a store whose first page is nonsense behind its header."""
    open_store(file, create=True).close()
    content = bytearray(file.read_bytes())
    content[100:4096] = b"\xa5" * 3996
    file.write_bytes(bytes(content))


@pytest.mark.parametrize(
    ("make_file", "says"),
    [
        (lambda file: file.write_bytes(b""), "empty"),
        (lambda file: file.write_text("name: my experiment\n" * 50), "not a matrixbench store"),
        (lambda file: file.write_bytes(b"SQLite format 3\0"), "not a matrixbench store"),
        (foreign, "another program"),
        (newer, "newer version"),
        (cut, "damaged"),
        (scrambled_schema, "damaged"),
        (lambda file: file.mkdir(), "cannot be read"),
    ],
    ids=["empty", "text", "magic-only", "foreign", "newer", "cut", "scrambled", "folder"],
)
@pytest.mark.parametrize("create", [False, True])
def test_what_is_no_store_is_refused_and_left_as_it_is(
    tmp_path: Path, make_file: Callable[[Path], None], says: str, *, create: bool
) -> None:
    """A file that is not ours, of a newer version or damaged: exit 5, and not a byte changes."""
    file = tmp_path / "results.db"
    make_file(file)
    before = digests(tmp_path)
    with pytest.raises(StoreError, match=says) as caught:
        open_store(file, create=create)
    assert caught.value.exit_code is ExitCode.STORE
    assert caught.value.where == str(file)
    assert caught.value.hint
    after = digests(tmp_path)
    assert {name: after[name] for name in before} == before


def test_a_missing_store_is_an_error_or_none(path: Path) -> None:
    """Who does not create gets an error that says how it comes about, or None if that will do."""
    with pytest.raises(StoreError, match="no store yet"):
        open_store(path, create=False)
    assert open_store_if_there(path) is None
    assert not path.parent.exists()


def test_a_new_store_is_ours_and_ignored_by_git(path: Path) -> None:
    """Creating makes the folder, which git ignores, and a file that says whose it is."""
    with open_store(path, create=True) as store:
        assert store.builds() == {}
    assert (path.parent / ".gitignore").read_text() == "*\n"
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
        assert connection.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),)
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_folder_of_the_user_gets_no_gitignore(tmp_path: Path) -> None:
    """`--store` elsewhere does not hide a folder that is not ours."""
    open_store(tmp_path / "mine" / "x.db", create=True).close()
    assert not (tmp_path / "mine" / ".gitignore").exists()


def test_strange_names_are_names(tmp_path: Path) -> None:
    """A path with the characters that mean something in an URI is a path."""
    file = tmp_path / "50% of a?b#c & ü" / "results.db"
    with open_store(file, create=True), open_store(file, create=False) as again:
        assert again.generation() == 0
    assert file.exists()


def test_what_a_killed_creation_left_is_no_obstacle(path: Path) -> None:
    """A draft that never became a store is made anew."""
    path.parent.mkdir()
    path.with_name("results.db.new").write_bytes(b"half a store")
    path.with_name("results.db.new-journal").write_bytes(b"its journal")
    open_store(path, create=True).close()
    assert not list(path.parent.glob("results.db.new*"))


def test_migrations_run_once_each_in_order(tmp_path: Path) -> None:
    """A file sees each migration once, and counts them."""
    file = tmp_path / "x.db"
    first = ("CREATE TABLE a (x)",)
    second = ("ALTER TABLE a ADD COLUMN y", "CREATE TABLE b (z)")
    with (
        closing(sqlite3.connect(file, isolation_level=None)) as connection,
        closing(WriteLock(file)) as lock,
    ):
        migrate(connection, lock, [first])
        migrate(connection, lock, [first, second])
        migrate(connection, lock, [first, second])
        assert version_of(connection) == 2
        assert connection.execute("SELECT x, y FROM a").fetchall() == []


def test_a_failing_migration_changes_nothing(tmp_path: Path) -> None:
    """A migration is one transaction: when its second statement fails, the first is undone."""
    file = tmp_path / "x.db"
    with (
        closing(sqlite3.connect(file, isolation_level=None)) as connection,
        closing(WriteLock(file)) as lock,
    ):
        with pytest.raises(sqlite3.Error):
            migrate(connection, lock, [("CREATE TABLE a (x)", "CREATE TABLE a (x)")])
        assert version_of(connection) == 0
        assert connection.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)


def test_an_older_store_is_brought_up_to_date(path: Path) -> None:
    """Opening, even without `create`, applies the migrations that a store has not seen."""
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.commit()
    with open_store(path, create=False) as store:
        assert store.launches() == []


def test_a_file_system_without_wal_is_named(tmp_path: Path) -> None:
    """Where SQLite cannot keep a write-ahead log, the error says so and where to go."""
    # SQLite's dot-file locking stands in: like many network folders it has no shared memory.
    uri = f"{(tmp_path / 'x.db').as_uri()}?vfs=unix-dotfile"
    with closing(sqlite3.connect(uri, uri=True)) as connection:
        connection.execute("CREATE TABLE t (x)")
        with pytest.raises(StoreError, match="write-ahead log") as caught:
            switch_to_wal(connection, tmp_path / "x.db")
    assert "--store" in caught.value.hint


def test_a_page_damaged_later_is_named(store: Store, path: Path, make: Make, launch: int) -> None:
    """Damage behind an intact beginning shows when it is read: exit 5, and nothing changes."""
    intact = path.stat().st_size  # every table and index begins in here
    make.stored(store, [make.trial(launch, cell=f"c{i}") for i in range(2000)])
    store.close()
    content = bytearray(path.read_bytes())
    content[intact:] = b"\xa5" * (len(content) - intact)
    path.write_bytes(bytes(content))
    before = path.read_bytes()
    with open_store(path, create=False) as damaged:
        with pytest.raises(StoreError, match="damaged"):
            list(damaged.trials("exp", first_seed=1))
        with pytest.raises(StoreError, match="damaged"):
            damaged.progress("exp", first_seed=1, trials=1, request_timeout_s=1.0)
    assert path.read_bytes() == before


@pytest.mark.parametrize("name", ["/proc/matrixbench/results.db", "/dev/null/results.db"])
def test_a_folder_that_cannot_be_made_is_named(name: str) -> None:
    """A place where nothing can be written is an error of the store, with the way out."""
    with pytest.raises(StoreError, match="cannot be made") as caught:
        open_store(Path(name), create=True)
    assert "--store" in caught.value.hint
