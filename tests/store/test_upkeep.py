"""Stores that are looked after: merged, pruned, checked, compacted."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from matrixbench.errors import StoreError, UsageError
from matrixbench.store.database import open_store
from matrixbench.store.locks import ExperimentLock
from matrixbench.store.upkeep import Part, check, compact, merge, prune, weigh
from tests.cli.conftest import CommandLine, cli

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


__all__ = ["cli"]

FILE = """
name: {name}
trials: {trials}
backends: {{fake: {{kind: scripted, replies: [Paris, London, Paris]}}}}
sampling: {{temperature: [{temperatures}]}}
tests:
  - name: capital
    messages: [{{role: user, content: "The capital of France?"}}]
    expect: [{{content: {{contains: Paris}}}}]
"""


class Machine:
    """A folder with an experiment and a store of its own."""

    def __init__(self, cli: CommandLine, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder
        self.cli = CommandLine(folder=folder, env=cli.env)
        self.store = folder / ".matrixbench" / "results.db"

    def run(
        self, *words: str, trials: int = 3, temperatures: str = "0.5", name: str = "demo"
    ) -> None:
        """Execute the experiment."""
        text = FILE.format(name=name, trials=trials, temperatures=temperatures)
        (self.folder / f"{name}.yaml").write_text(text, "utf-8")
        done = self.cli("execute", f"{name}.yaml", *words)
        assert done.returncode == 0, done.stderr

    def count(self, query: str = "SELECT count(*) FROM trial") -> int:
        """Return what a query counts."""
        with closing(sqlite3.connect(self.store)) as connection:
            return int(connection.execute(query).fetchone()[0])

    def exported(self, name: str = "demo") -> list[dict[str, object]]:
        """Return the trials that count, without the numbers that a store gives."""
        done = self.cli("export", f"{name}.yaml", "--trials")
        assert done.returncode == 0, done.stderr
        rows = [json.loads(line) for line in done.stdout.splitlines()]
        return [
            {key: row[key] for key in row if key not in {"launch", "generation"}} for row in rows
        ]


@pytest.fixture
def here(cli: CommandLine, tmp_path: Path) -> Machine:
    """Return a machine."""
    return Machine(cli, tmp_path / "here")


@pytest.fixture
def there(cli: CommandLine, tmp_path: Path) -> Machine:
    """Return another machine."""
    return Machine(cli, tmp_path / "there")


def test_two_machines_results_become_one(here: Machine, there: Machine) -> None:
    """What two machines measured is in one store afterwards, and nothing is left to run."""
    here.run(temperatures="0.5")
    there.run(temperatures="1")
    merged = merge(here.store, there.store)
    assert (merged.trials, merged.known, merged.superseded) == (3, 0, 0)
    assert check(here.store).damage == []
    (here.folder / "demo.yaml").write_text(
        FILE.format(name="demo", trials=3, temperatures="0.5, 1"), "utf-8"
    )
    planned = here.cli("plan", "demo.yaml")
    assert "0 to run" in planned.stdout, planned.stdout
    assert len(here.exported()) == 6


def test_merging_twice_changes_nothing(here: Machine, there: Machine) -> None:
    """The same store merged again brings nothing, and every trial is there once."""
    here.run(temperatures="0.5")
    there.run(temperatures="1")
    merge(here.store, there.store)
    before = here.exported()
    again = merge(here.store, there.store)
    assert (again.trials, again.known, again.launches, again.experiments) == (0, 3, 0, 0)
    assert (here.count(), here.exported()) == (6, before)


def test_a_copy_that_went_on_brings_only_what_is_new(here: Machine, there: Machine) -> None:
    """A store that began as a copy of this one brings the trials that it added."""
    here.run(trials=2)
    there.store.parent.mkdir()
    shutil.copy(here.store, there.store)
    there.run("--resume", trials=5)
    merged = merge(here.store, there.store)
    assert (merged.trials, merged.known) == (3, 2)
    assert here.count() == 5


def test_the_other_store_stays_as_it_is(here: Machine, there: Machine) -> None:
    """Merging changes nothing of the other store, and leaves nothing beside this one."""
    here.run()
    there.run(temperatures="1")
    before = there.store.read_bytes()
    merge(here.store, there.store)
    assert there.store.read_bytes() == before
    assert not list(here.store.parent.glob("*.merge-*"))


def test_the_later_attempt_counts(here: Machine, there: Machine) -> None:
    """Of two attempts at one trial the later one counts, whichever store is merged into which."""
    there.run()
    here.run()
    later = here.exported()
    merged = merge(here.store, there.store)
    assert (merged.trials, merged.superseded) == (3, 3)
    assert here.exported() == later
    assert merge(there.store, here.store).superseded == 0
    assert there.exported() == later


def test_an_errored_attempt_hides_no_answer(here: Machine, there: Machine) -> None:
    """A later attempt that errored elsewhere does not stand in for an answer that was got here."""
    here.run()
    there.run()
    with closing(sqlite3.connect(there.store)) as connection, connection:
        connection.execute("UPDATE trial SET outcome = 'errored', kind = 'timeout', reason = 'x'")
        connection.execute("DELETE FROM verdict")
        connection.execute("DELETE FROM reply")
    before = here.exported()
    assert merge(here.store, there.store).superseded == 3
    assert here.exported() == before


def test_a_fresh_start_holds_for_both(here: Machine, there: Machine) -> None:
    """After a fresh start in one store, what the other one measured before no longer counts."""
    there.run()
    here.run("--fresh")
    fresh = here.exported()
    merge(here.store, there.store)
    assert here.exported() == fresh
    here.run("--fresh")
    there.run("--fresh")
    newest = there.exported()
    merge(here.store, there.store)
    assert here.exported() == newest


def test_an_old_store_is_merged_as_well(here: Machine, there: Machine) -> None:
    """A store of the first version is brought up to date in a copy, and merged."""
    here.run()
    there.run(temperatures="1")
    with closing(sqlite3.connect(there.store)) as connection:
        connection.execute("DROP TABLE look")
        connection.execute("PRAGMA user_version = 7")
        connection.commit()
    assert merge(here.store, there.store).trials == 3
    with closing(sqlite3.connect(there.store)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (7,)


def test_what_is_no_store_is_not_merged(here: Machine, tmp_path: Path) -> None:
    """A missing file, a file of another program and the store itself are refused by name."""
    here.run()
    with pytest.raises(StoreError, match="no such store"):
        merge(here.store, tmp_path / "none.db")
    (tmp_path / "other.db").write_text("hello" * 100)
    with pytest.raises(StoreError, match="not a matrixbench store"):
        merge(here.store, tmp_path / "other.db")
    with pytest.raises(UsageError, match="into itself"):
        merge(here.store, here.store)


@pytest.mark.parametrize("change", ["merge", "prune", "compact"])
def test_nothing_changes_under_a_run(here: Machine, there: Machine, change: str) -> None:
    """While an experiment is executed on a store, it is neither merged, pruned nor compacted."""
    here.run()
    there.run()
    acts: dict[str, Callable[[], object]] = {
        "merge": lambda: merge(here.store, there.store),
        "prune": lambda: prune(here.store, Part(experiments=["demo"])),
        "compact": lambda: compact(here.store),
    }
    with (
        ExperimentLock(here.store, "demo"),
        pytest.raises(StoreError, match="is being executed by process"),
    ):
        acts[change]()
    assert here.count() == 3


def test_an_experiment_is_pruned_with_all_that_is_its_own(here: Machine) -> None:
    """A pruned experiment is gone from the store; another one's trials are as they were."""
    here.run()
    here.run(name="other", temperatures="1")
    kept = here.exported("other")
    weight = weigh(here.store, Part(experiments=["demo"]))
    assert (weight.trials, weight.replies, weight.shared) == (3, 3, 0)
    assert prune(here.store, Part(experiments=["demo"])) == weight
    assert here.exported("other") == kept
    found = check(here.store)
    assert (found.damage, found.experiments, found.trials) == ([], ["other"], 3)
    assert here.count("SELECT count(*) FROM launch WHERE experiment = 'demo'") == 0


def test_what_counts_for_others_stays(here: Machine) -> None:
    """Trials whose cells another experiment has are left, and counted as such."""
    here.run()
    here.run("--resume", name="other", trials=4)
    weight = weigh(here.store, Part(experiments=["demo"]))
    assert (weight.trials, weight.shared) == (0, 3)
    prune(here.store, Part(experiments=["demo"]))
    assert here.count() == 4
    assert len(here.exported("other")) == 4


def test_a_generation_is_pruned(here: Machine) -> None:
    """What was measured before a fresh start goes; what counts stays."""
    here.run()
    here.run("--fresh")
    before = here.exported()
    assert prune(here.store, Part(generations=[0])).trials == 3
    assert (here.count(), here.exported()) == (3, before)
    assert check(here.store).damage == []


def test_figures_outlive_their_replies(here: Machine) -> None:
    """Without their texts, trials keep their verdicts and figures, and are not run again."""
    here.run()
    before = here.exported()
    weight = prune(here.store, Part(experiments=["demo"], replies=True))
    assert (weight.trials, weight.replies) == (3, 3)
    assert weight.bytes > 0
    assert here.exported() == before
    assert "0 to run" in here.cli("plan", "demo.yaml").stdout
    shown = here.cli("show", "demo.yaml", "--trial", "0")
    assert shown.returncode == 0, shown.stderr
    here.run("--resume", trials=4)
    assert here.count() == 4


def test_pruned_replies_are_not_judged_again(here: Machine) -> None:
    """Where checks change after the texts went, the verdicts of before stay."""
    here.run()
    prune(here.store, Part(experiments=["demo"], replies=True))
    file = here.folder / "demo.yaml"
    file.write_text(file.read_text("utf-8").replace("contains: Paris", "contains: London"), "utf-8")
    done = here.cli("execute", "demo.yaml", "--resume")
    assert done.returncode == 0, done.stderr
    assert here.count() == 3


def test_what_is_not_there_is_not_pruned(here: Machine) -> None:
    """An experiment or a generation that the store lacks is named, with what it has."""
    here.run()
    with pytest.raises(UsageError, match="no experiment «dmeo»") as found:
        weigh(here.store, Part(experiments=["dmeo"]))
    assert "demo" in str(found.value)
    with pytest.raises(UsageError, match="no generation 4"):
        weigh(here.store, Part(generations=[4]))
    with pytest.raises(UsageError, match="nothing is named"):
        weigh(here.store, Part(replies=True))


def test_a_pruned_store_gets_small(here: Machine) -> None:
    """Compacting gives back the space that pruning left, and keeps every trial."""
    here.run(trials=400)
    here.run(name="other", temperatures="1")
    prune(here.store, Part(experiments=["demo"]))
    assert check(here.store).free > 0
    before, after = compact(here.store)
    assert after < before / 2
    found = check(here.store)
    assert (found.damage, found.free, found.trials) == ([], 0, 3)


def test_damage_is_found(here: Machine) -> None:
    """A row that names what is not there, and a trial without an outcome, are damage."""
    here.run()
    with closing(sqlite3.connect(here.store)) as connection, connection:
        connection.execute("DELETE FROM verdict WHERE trial = 1")
    assert check(here.store).damage == ["1 trials have neither an outcome nor a verdict"]
    with closing(sqlite3.connect(here.store)) as connection, connection:
        connection.execute("DELETE FROM trial WHERE id = 2")
    assert "names a row of trial that is not there" in check(here.store).damage[0]


def test_an_interrupted_merge_changes_nothing(
    here: Machine, there: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where merging fails half-way, the store is as it was and the copy is gone."""
    here.run()
    there.run(temperatures="1")
    before = here.exported()

    def fails(*_args: object, **_more: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr("matrixbench.store.upkeep.write_experiment", fails)
    with pytest.raises(StoreError):
        merge(here.store, there.store)
    assert (here.count(), here.exported()) == (3, before)
    assert not list(here.store.parent.glob("*.merge-*"))
    open_store(here.store, create=False).close()
