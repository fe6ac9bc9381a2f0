"""The writer commits in groups, tells only what is on the disk, and fails loudly."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from matrixbench.errors import StoreError
from matrixbench.records import Attempt, Turn
from matrixbench.store.locks import WriteLock
from matrixbench.store.writer import BACKLOG, BACKLOG_BYTES, GROUP, GROUP_BYTES, Writer, answer_size

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from matrixbench.records import Trial
    from matrixbench.store.database import Store
    from tests.store.conftest import Make


def count_trials(path: Path) -> int:
    """Return how many trials another connection sees."""
    with closing(sqlite3.connect(path)) as connection:
        (number,) = connection.execute("SELECT count(*) FROM trial").fetchone()
        return int(number)


def test_trials_are_reported_after_their_commit(
    store: Store, path: Path, make: Make, launch: int
) -> None:
    """When a trial is reported as stored, every other process can see it; the order is kept."""
    seen: list[int] = []
    reported: list[int] = []

    def on_stored(trials: Sequence[Trial]) -> None:
        reported.extend(trial.key.seed for trial in trials)
        seen.append(count_trials(path) - len(reported))

    with store.writer(on_stored) as writer:
        for seed in range(1200):
            writer.offer(make.trial(launch, seed=seed))
    assert reported == list(range(1200))
    assert set(seen) == {0}


def test_what_waits_is_written_in_groups(store: Store, path: Path, make: Make, launch: int) -> None:
    """Trials that queue up during a commit share the next one."""
    groups: list[int] = []
    writer = store.writer(lambda trials: groups.append(len(trials)))
    with closing(WriteLock(path)) as lock, lock:
        for seed in range(GROUP + 2):
            writer.offer(make.trial(launch, seed=seed))
    writer.close()
    assert sum(groups) == GROUP + 2
    assert max(groups) <= GROUP
    assert len(groups) <= 3


async def test_put_waits_while_too_many_wait(
    store: Store, path: Path, make: Make, launch: int
) -> None:
    """An event loop that is faster than the disk is held back, and nothing is lost."""
    stored = threading.Event()
    writer = store.writer(lambda _: stored.set())
    with closing(WriteLock(path)) as lock:
        with lock:
            for seed in range(BACKLOG + GROUP):
                writer.offer(make.trial(launch, seed=seed))
            waiting = asyncio.create_task(writer.put(make.trial(launch, "c2")))
            await asyncio.sleep(0)
            assert not waiting.done()
            assert not stored.is_set()
        await waiting
    await asyncio.to_thread(writer.close)
    assert count_trials(path) == BACKLOG + GROUP + 1


async def test_put_waits_while_too_much_waits(
    store: Store, path: Path, make: Make, launch: int
) -> None:
    """Few long replies fill the backlog as many short ones do, and go to the disk bit by bit."""
    groups: list[int] = []
    long = "x" * (GROUP_BYTES // 4)
    count = BACKLOG_BYTES // len(long)
    writer = store.writer(lambda trials: groups.append(sum(map(answer_size, trials))))
    with closing(WriteLock(path)) as lock:
        with lock:
            for seed in range(count):
                writer.offer(make.trial(launch, seed=seed, reply=make.reply(long)))
            waiting = asyncio.create_task(writer.put(make.trial(launch, "c2")))
            await asyncio.sleep(0)
            assert not waiting.done()
        await waiting
    await asyncio.to_thread(writer.close)
    assert count_trials(path) == count + 1
    assert max(groups) < GROUP_BYTES + 2 * len(long)


def test_the_size_of_a_trial_is_that_of_its_texts(make: Make, launch: int) -> None:
    """Earlier turns, other answers and refusals hold texts too; letters beyond Latin take more."""
    long = "x" * 10_000
    said = make.reply(long)
    plain = answer_size(make.trial(launch, reply=said))
    assert 10_000 <= plain < 12_000
    assert answer_size(make.trial(launch, reply=make.reply("東" * 10_000))) > 20_000
    attempts = (Attempt(kind=None, reason="", body=long),)
    turn = Turn(reply=said, then=({"role": "user", "content": long},))
    whole = make.reply(long, attempts=attempts, earlier=(turn,))
    assert 40_000 <= answer_size(make.trial(launch, reply=whole)) < 44_000
    refusal = replace(make.errored(), body=long, attempts=attempts, earlier=(turn,))
    assert 40_000 <= answer_size(make.trial(launch, refusal=refusal)) < 44_000


def test_a_failure_stops_the_writer_and_is_told(
    store: Store, path: Path, make: Make, launch: int
) -> None:
    """After a group that could not be stored nothing more is taken, and closing says why."""
    reported: list[int] = []
    writer = store.writer(lambda trials: reported.extend(trial.key.seed for trial in trials))
    writer.offer(make.trial(launch, seed=1))
    writer.note(launch, "barrier", value=True)
    before = writer.failure
    writer.offer(make.trial(launch + 99, seed=2))  # no such launch run
    with pytest.raises(StoreError):
        writer.note(launch, "barrier", value=True)
    assert before is None
    assert isinstance(writer.failure, StoreError)
    with pytest.raises(StoreError):
        writer.offer(make.trial(launch, seed=3))
    with pytest.raises(StoreError):
        writer.start_launch(make.launch())
    with pytest.raises(StoreError):
        writer.close()
    assert reported == [1]
    assert count_trials(path) == 1


async def test_a_failure_wakes_who_waits(store: Store, path: Path, make: Make, launch: int) -> None:
    """A `put` that waits for room raises when the writer fails."""
    writer = store.writer()
    with closing(WriteLock(path)) as lock, lock:
        for seed in range(BACKLOG + GROUP):
            writer.offer(make.trial(launch + 99, seed=seed))
        waiting = asyncio.create_task(writer.put(make.trial(launch)))
        await asyncio.sleep(0)
    with pytest.raises(StoreError):
        await waiting
    with pytest.raises(StoreError):
        await asyncio.to_thread(writer.close)


def test_a_bug_is_not_taken_for_the_stores_fault(
    store: Store, path: Path, make: Make, launch: int
) -> None:
    """A body that is no JSON is our own mistake: it comes out as it is, the rest is stored."""
    writer = store.writer()
    writer.offer(make.trial(launch))
    writer.note(launch, "barrier", value=True)
    writer.offer(make.trial(launch, seed=2), {"messages": object()})
    with pytest.raises(TypeError):
        writer.close()
    assert count_trials(path) == 1


def test_an_error_inside_is_not_hidden_by_the_writers(
    store: Store, make: Make, launch: int
) -> None:
    """Who leaves the writer with an error of its own gets that one."""

    def fail() -> None:
        with store.writer() as writer:
            writer.offer(make.trial(launch + 99))
            raise KeyError

    with pytest.raises(KeyError):
        fail()


def test_builds_come_with_their_launch(store: Store, make: Make) -> None:
    """A trial on a build of which no launch was started is a mistake of the caller's."""
    with store.writer() as writer, pytest.raises(ValueError, match="no launch was started"):
        writer.offer(make.trial(1))


def test_a_writer_closes_once(store: Store, path: Path, make: Make, launch: int) -> None:
    """Closing again does nothing; a closed writer takes nothing; the log is worked in."""
    writer = Writer(path)
    writer.offer(make.trial(launch))
    writer.close()
    writer.close()
    with pytest.raises(StoreError, match="closed"):
        writer.offer(make.trial(launch))
    assert path.with_name("results.db-wal").stat().st_size == 0
    assert len(list(store.trials("exp", first_seed=1))) == 1


def test_a_reader_sees_the_past_while_it_reads(
    store: Store, path: Path, make: Make, launch: int
) -> None:
    """A reader in the middle of its work holds up neither the writer nor its last checkpoint."""
    make.stored(store, [make.trial(launch, seed=seed) for seed in range(3)])
    rows = store.trials("exp", first_seed=0)
    assert next(rows).seed == 0
    make.stored(store, [make.trial(launch, seed=9)])
    assert [row.seed for row in rows] == [1, 2]
    assert path.with_name("results.db-wal").stat().st_size == 0
