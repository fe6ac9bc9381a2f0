"""Killed processes, two at a time, full disks and folders that cannot be written."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from matrixbench.errors import ExitCode, StoreError
from matrixbench.store.connection import translated
from matrixbench.store.database import open_store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.store.conftest import Make

ROOT = Path(__file__).parents[2]
NOBODY = 65534


def start(*arguments: object) -> subprocess.Popen[str]:
    """Start the program that uses a store."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.store.store_program", *map(str, arguments)],
        cwd=ROOT,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def attempts(path: Path) -> dict[tuple[str, int], int]:
    """Return how many attempts the file holds of each trial; it must be sound."""
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        rows = connection.execute("SELECT cell, seed, count(*) FROM trial GROUP BY cell, seed")
        return {(cell, seed): count for cell, seed, count in rows}


def told(output: str) -> set[tuple[str, int]]:
    """Return the trials that were reported as stored; a line that was cut off says nothing."""
    complete = output[: output.rfind("\n") + 1]
    return {(cell, int(seed)) for cell, seed in map(str.split, complete.splitlines())}


def test_sigkill_loses_and_doubles_nothing(path: Path) -> None:
    """However often the writer is killed, every trial reported as stored is there, once."""
    moments = random.Random(20261123)
    reported: set[tuple[str, int]] = set()
    for turn in range(15):
        with start("write", path, f"turn{turn}", 100_000) as process:
            assert process.stdout is not None
            lines = [process.stdout.readline() for _ in range(moments.randrange(1, 3000))]
            process.kill()
            lines += process.stdout.readlines()
        reported |= told("".join(lines))
    found = attempts(path)
    assert reported
    assert reported <= found.keys()
    assert set(found.values()) == {1}
    with open_store(path, create=False) as store:
        assert sum(1 for _ in store.trials("exp", first_seed=1)) == len(found)


def test_sigkill_while_a_store_is_made_leaves_none_or_a_whole_one(path: Path) -> None:
    """A killed creation is no obstacle to the next one."""
    for _ in range(4):
        with start("create", path) as process:
            assert process.stdout is not None
            process.stdout.readline()
            process.kill()
        open_store(path, create=True).close()
        shutil.rmtree(path.parent)


def test_two_processes_share_a_store(path: Path) -> None:
    """Two writers at a time, that also race to make the file, both get all of theirs stored."""
    with start("write", path, "left", 4000) as left, start("write", path, "right", 4000) as right:
        outputs = [left.communicate(), right.communicate()]
    assert [errors for _, errors in outputs] == ["", ""]
    found = attempts(path)
    assert len(found) == 8000
    assert told(outputs[0][0]) | told(outputs[1][0]) == found.keys()


@contextmanager
def small_disk(folder: Path) -> Iterator[bool]:
    """Put a real file system of 1 MB on a folder, where this user may; tell whether it is there."""
    mount, umount = shutil.which("mount"), shutil.which("umount")
    if mount is None or umount is None:
        yield False
        return
    command = [mount, "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    done = subprocess.run(command, capture_output=True, check=False).returncode == 0
    try:
        yield done
    finally:
        if done:
            subprocess.run([umount, str(folder)], check=True)


@pytest.mark.parametrize("real", [False, True], ids=["file-size-limit", "small-disk"])
def test_a_full_disk_keeps_what_is_stored(tmp_path: Path, *, real: bool) -> None:
    """When no more fits, the error says so, with exit 5, and what was reported is there."""
    with ExitStack() as stack:
        small = real and stack.enter_context(small_disk(tmp_path))
        path = tmp_path / "results.db"
        with start("write", path, "c", 20_000, *(() if small else (700_000,))) as process:
            output, errors = process.communicate()
        assert process.returncode == ExitCode.STORE
        assert ("the disk is full" if small else "the disk") in errors
        assert "--store" in errors
        copy = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        for file in tmp_path.glob("results.db*"):
            shutil.copy(file, copy)
        found = attempts(copy / "results.db")
        assert told(output) == found.keys()
        assert 0 < len(found) < 20_000
        with open_store(path, create=False) as store:
            assert len(list(store.trials("exp", first_seed=1))) == len(found)


def test_sqlites_own_full_is_translated(tmp_path: Path) -> None:
    """SQLite's «database or disk is full» names the file and the way out."""
    with closing(sqlite3.connect(tmp_path / "x.db")) as connection:
        connection.execute("PRAGMA max_page_count = 2")
        connection.execute("CREATE TABLE a (x)")
        with pytest.raises(StoreError, match="disk is full") as caught, translated(tmp_path):
            connection.execute("CREATE TABLE b (x)")
    assert caught.value.where == str(tmp_path)
    assert "intact" in caught.value.hint


@pytest.fixture
def closed_folder(make: Make) -> Iterator[Path]:
    """Return a folder with a store in it, in which this process may write nothing."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with open_store(folder / "results.db", create=True) as store:
            with store.writer() as writer:
                launch = writer.start_launch(make.launch())
            make.stored(store, [make.trial(launch)])
        for file in folder.glob("results.db-*"):
            file.unlink()
        (folder / "results.db").chmod(0o444)
        folder.chmod(0o555)
        # Root writes everywhere: for a while it is nobody.
        root = os.geteuid() == 0
        if root:
            os.seteuid(NOBODY)
        try:
            yield folder
        finally:
            if root:
                os.seteuid(0)
            folder.chmod(0o755)


def test_a_store_in_a_closed_folder_can_be_read(closed_folder: Path) -> None:
    """Charts need no right to write: reading works, and writes nothing."""
    before = sorted(closed_folder.rglob("*"))
    with open_store(closed_folder / "results.db", create=True) as store:
        assert len(list(store.trials("exp", first_seed=1))) == 1
    assert sorted(closed_folder.rglob("*")) == before


def test_a_closed_folder_cannot_be_written(closed_folder: Path) -> None:
    """Writing, and making a store, where nothing may be written: an error with the way out."""
    with open_store(closed_folder / "results.db", create=False) as store:
        with pytest.raises(StoreError, match="lock file cannot be made") as caught:
            store.writer()
        assert "--store" in caught.value.hint
        with pytest.raises(StoreError, match="cannot be made"):
            store.start_fresh("exp")
    with pytest.raises(StoreError, match="cannot be made"):
        open_store(closed_folder / "new.db", create=True)
    with pytest.raises(StoreError, match="cannot be made"):
        open_store(closed_folder / "new" / "x.db", create=True)
