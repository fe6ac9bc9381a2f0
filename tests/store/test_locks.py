"""Who executes an experiment, and who may write: one at a time, and no lock outlives its holder."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from matrixbench.errors import ExitCode, StoreError
from matrixbench.store.locks import ExperimentLock, WriteLock
from tests.store.test_hardship import start

if TYPE_CHECKING:
    from pathlib import Path


def test_a_second_execute_is_told_who_has_it(path: Path) -> None:
    """The same experiment on the same store is refused, naming the process and since when."""
    with start("hold", path, "exp") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        with pytest.raises(StoreError, match=f"by process {process.pid} on .* since ") as caught:
            ExperimentLock(path, "exp").__enter__()
        assert caught.value.exit_code is ExitCode.STORE
        with ExperimentLock(path, "another"), ExperimentLock(path.with_name("other.db"), "exp"):
            process.communicate()
    with ExperimentLock(path, "exp"):
        pass


def test_a_lock_dies_with_its_process(path: Path) -> None:
    """What a killed process left behind blocks nobody."""
    with start("hold", path, "exp") as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.kill()
    with ExperimentLock(path, "exp") as lock:
        assert lock.path.exists()


def test_a_holder_without_a_name_is_named_too(path: Path) -> None:
    """A lock file that says nothing sensible still makes a sensible error."""
    with ExperimentLock(path, "exp") as lock:
        lock.path.write_text("[]")
        with pytest.raises(StoreError, match="by another process"):
            ExperimentLock(path, "exp").__enter__()


def test_writers_wait_for_each_other_and_give_up(path: Path) -> None:
    """A writer that never gets its turn says so instead of waiting for ever."""
    with closing(WriteLock(path)) as first, closing(WriteLock(path, timeout_s=0.01)) as second:
        with first, pytest.raises(StoreError, match="another process has been writing"), second:
            pass
        with second:
            pass
