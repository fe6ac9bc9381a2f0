"""Looks that a gate took are kept, once each, also in a store of the version before."""

from __future__ import annotations

from contextlib import closing
from sqlite3 import connect
from typing import TYPE_CHECKING

from matrixbench.store.connection import APPLICATION_ID
from matrixbench.store.database import open_store
from matrixbench.store.migrations import MIGRATIONS
from matrixbench.store.rows import KeptLook

if TYPE_CHECKING:
    from pathlib import Path

    from matrixbench.store.database import Store

BEFORE = next(n for n, one in enumerate(MIGRATIONS) if "CREATE TABLE look" in one[0])
LOOK = KeptLook(trials=20, max_drop=0.1, verdict="undecided", at=1_700_000_000.5)


def test_a_look_is_kept_once(store: Store) -> None:
    """Looking at the same trials again is the same look; other trials are another."""
    store.add_look("a", LOOK)
    store.add_look("a", LOOK._replace(at=1_800_000_000.0))
    store.add_look("a", LOOK._replace(trials=40))
    store.add_look("b", LOOK)
    assert store.looks("a") == [LOOK, LOOK._replace(trials=40)]
    assert store.looks("b") == [LOOK]
    assert store.looks("c") == []


def test_a_store_of_the_version_before_takes_looks(path: Path) -> None:
    """Opening it makes the table; what was in it stays."""
    path.parent.mkdir()
    with closing(connect(path)) as connection:
        for statement in (part for migration in MIGRATIONS[:BEFORE] for part in migration):
            connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {BEFORE}")
        connection.execute("INSERT INTO generation VALUES (1, 'exp', 0)")
        connection.commit()
    with open_store(path, create=False) as store:
        assert store.generation() == 1
        store.add_look("a", LOOK)
    with open_store(path, create=False) as again:
        assert again.looks("a") == [LOOK]
