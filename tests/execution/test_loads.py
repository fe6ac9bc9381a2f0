"""Times and rates belong to the load that they were measured under; success ratios to all."""

from __future__ import annotations

import asyncio
import json
from contextlib import closing
from sqlite3 import connect
from typing import TYPE_CHECKING, Any

import pytest

from matrixbench.execution.settings import Settings, settings_for
from matrixbench.gated import build_plan, execute
from matrixbench.output.export import tool_bench_rows, trial_rows
from matrixbench.results.experiment import open_recorded, open_results
from matrixbench.results.tables import cell_frame
from matrixbench.spec.load import Experiment, load_experiment

if TYPE_CHECKING:
    from pandas import DataFrame

    from matrixbench.execution.settings import RunSummary
    from tests.conftest import Write

TESTS = """
tests:
  - {name: t, messages: [{role: user, content: hi}], expect: [{content: {contains: Paris}}]}
"""
SLOW = "kind: scripted, replies: [Paris], delay_s: 0.001"
C1 = f"c1: {{{SLOW}, concurrency: 1}}"
C2 = f"c2: {{{SLOW}, concurrency: 2}}"
C8 = f"c8: {{{SLOW}, concurrency: 8}}"


def rows_by_backend(frame: DataFrame) -> dict[str, dict[str, Any]]:
    """Return backend → the row of its cell."""
    rows = [{str(name): value for name, value in row.items()} for row in frame.to_dict("records")]
    return {row["backend"]: row for row in rows}


class Ladder:
    """An experiment whose backends change, and its store."""

    def __init__(self, write: Write) -> None:
        self._write = write

    def file(self, *backends: str, more: str = "") -> Experiment:
        """Return the experiment with these backends."""
        text = f"name: ladder\ntrials: 10\n{more}\nbackends: {{{', '.join(backends)}}}\n{TESTS}"
        return load_experiment(self._write(text), environ={})

    def run(self, *backends: str, mode: str = "resume", more: str = "", **how: Any) -> RunSummary:
        """Run what is left of it."""
        return asyncio.run(execute(self.file(*backends, more=more), mode=mode, **how))

    def left(self, *backends: str, more: str = "") -> dict[str, int]:
        """Return backend → trials that remain."""
        plan = build_plan(self.file(*backends, more=more)).plan
        return {one.launch.backend: one.remaining for one in plan.launches}

    def cells(self, *backends: str, more: str = "") -> dict[str, dict[str, Any]]:
        """Return backend → the row of its cell."""
        experiment = self.file(*backends, more=more)
        settings = settings_for(experiment)
        frame = cell_frame(experiment, settings)
        return rows_by_backend(frame)

    @property
    def settings(self) -> Settings:
        """Where its store is."""
        return settings_for(self.file(C1))

    def sql(self, statement: str) -> list[tuple[Any, ...]]:
        """Ask the store, or change it."""
        with closing(connect(self.settings.store)) as connection:
            rows = connection.execute(statement).fetchall()
            connection.commit()
            return rows


@pytest.fixture
def ladder(write: Write) -> Ladder:
    """Return the experiment, without a store yet."""
    return Ladder(write)


def test_each_load_is_measured_and_shown_by_itself(ladder: Ladder) -> None:
    """Three backends that differ in concurrency alone show three latencies, each of their own."""
    assert ladder.run(C1, C2, C8).ran == 30
    cells = ladder.cells(C1, C2, C8)
    assert {name: row["concurrency_in_force"] for name, row in cells.items()} == {
        "c1": 1,
        "c2": 2,
        "c8": 8,
    }
    assert {row["speed_trials"] for row in cells.values()} == {10}
    assert len({row["latency_p50_s"] for row in cells.values()}) == 3
    assert ladder.left(C1, C2, C8) == {"c1": 0, "c2": 0, "c8": 0}
    assert "only their load tells" in build_plan(ladder.file(C1, C2)).plan.notes[0]


def test_backends_come_and_go_and_nothing_runs_again(ladder: Ladder) -> None:
    """A second load runs its own trials alone; without it, or turned round, all is done."""
    assert ladder.run(C1).ran == 10
    before = ladder.cells(C1)["c1"]
    assert ladder.left(C1, C8) == {"c1": 0, "c8": 10}
    assert ladder.run(C1, C8).ran == 10
    for backends in ((C1,), (C8,), (C8, C1), (C1, C8)):
        assert set(ladder.left(*backends).values()) == {0}
    # The other's trials are newer, and yet each shows its own.
    for shown in (ladder.cells(C1)["c1"], ladder.cells(C8, C1)["c1"]):
        assert shown["latency_p50_s"] == before["latency_p50_s"]
    assert ladder.cells(C8)["c8"]["concurrency_in_force"] == 8
    assert ladder.sql("SELECT DISTINCT instr(cell, '@') FROM trial") == [(0,)]


def test_a_load_that_was_changed_keeps_the_ratios_and_has_no_times(ladder: Ladder) -> None:
    """Whoever raises `concurrency` runs nothing again; the times say what they lack."""
    ladder.run(C1)
    raised = C1.replace("concurrency: 1", "concurrency: 2")
    assert ladder.left(raised) == {"c1": 0}
    row = ladder.cells(raised)["c1"]
    assert (row["trials"], row["success_ratio"], row["speed_trials"]) == (10, 1.0, 0)
    assert row["latency_p50_s"] != row["latency_p50_s"]
    assert row["completion_tokens"] == 1
    assert row["speed_reason"] == (
        "its trials ran 1 at a time, this is 2 at a time: --fresh measures it anew"
    )
    assert ladder.run(raised, mode="fresh").ran == 10
    assert ladder.cells(raised)["c1"]["concurrency_in_force"] == 2


def test_a_small_batch_is_no_part_of_a_launchs_times(ladder: Ladder) -> None:
    """What was left for a resume ran with less beside it than its launch's other trials."""
    more = "sampling: {temperature: [0.5, 1]}"
    ladder.run(C8, more=more, where="temperature=0.5", trials=6)
    alone = ladder.cells(C8, more="sampling: {temperature: [0.5]}")["c8"]
    assert (alone["concurrency_in_force"], alone["speed_trials"]) == (6, 6)
    ladder.run(C8, more=more)
    experiment = ladder.file(C8, more=more)
    frame = cell_frame(experiment, ladder.settings)
    assert frame["concurrency_in_force"].tolist() == [8, 8]
    assert frame["speed_trials"].tolist() == [4, 10]
    assert frame["trials"].tolist() == [10, 10]


def forget(ladder: Ladder) -> None:
    """Leave the store as a version would have that knew nothing of loads."""
    ladder.sql("DELETE FROM note WHERE name = 'load'")
    ladder.sql("UPDATE trial SET concurrency = NULL")


def test_a_store_of_before_keeps_its_results_and_its_times(ladder: Ladder) -> None:
    """Nothing runs again; times of which no load is known are shown where none is compared."""
    ladder.run(C1)
    forget(ladder)
    assert ladder.left(C1) == {"c1": 0}
    row = ladder.cells(C1)["c1"]
    assert (row["speed_trials"], row["concurrency_in_force"]) == (10, None)
    assert row["latency_p50_s"] > 0
    assert row["speed_reason"] is None


def test_a_store_of_before_belongs_to_the_launch_of_its_name(ladder: Ladder) -> None:
    """A load that is compared with it runs its own; of the old one's times nothing is said."""
    ladder.run(C1)
    forget(ladder)
    assert ladder.left(C8, C1) == {"c8": 10, "c1": 0}
    ladder.run(C8, C1)
    cells = ladder.cells(C8, C1)
    assert (cells["c8"]["speed_trials"], cells["c8"]["speed_reason"]) == (10, None)
    assert (cells["c1"]["trials"], cells["c1"]["speed_trials"]) == (10, 0)
    assert "not known under which load" in cells["c1"]["speed_reason"]
    renamed = C1.replace("c1:", "one:")
    assert ladder.left(renamed, C8) == {"one": 0, "c8": 0}


def test_one_load_is_started_afresh_by_itself(ladder: Ladder) -> None:
    """A fresh start of one backend hides nothing of the other, though they ask the same."""
    ladder.run(C1, C8)
    assert ladder.run(C1, C8, mode="fresh", where="backend=c8").ran == 10
    assert ladder.left(C1, C8) == {"c1": 0, "c8": 0}
    ladder.run(C1, mode="fresh")
    assert ladder.left(C1, C8) == {"c1": 0, "c8": 10}


def test_trials_of_every_load_are_judged_again(ladder: Ladder, write: Write) -> None:
    """Where a check changes, the replies of each load get their new verdicts."""
    ladder.run(C1, C8)
    path = ladder.file(C1, C8).path
    changed = path.read_text(encoding="utf-8").replace("contains: Paris", "contains: London")
    experiment = load_experiment(write(changed), environ={})
    said: list[str] = []
    frame = cell_frame(experiment, ladder.settings, say=said.append)
    assert frame["success_ratio"].tolist() == [0.0, 0.0]
    assert said == ["20 stored replies judged by the present checks, 20 changed"]


def test_cells_of_several_loads_stop_early_by_themselves(ladder: Ladder) -> None:
    """Adaptive trials are counted for each load, and what is done is known again."""
    more = "trials: {min: 3, max: 200, until: {half_width: 0.2}}"
    text = ladder.file(C1, C8).path.read_text(encoding="utf-8").replace("trials: 10", more)
    path = ladder.file(C1, C8).path
    path.write_text(text, encoding="utf-8")
    experiment = load_experiment(path, environ={})
    summary = asyncio.run(execute(experiment, mode="resume"))
    assert summary.stopped == 2
    plan = build_plan(experiment).plan
    assert [one.remaining for one in plan.launches] == [0, 0]
    assert [one.stopped for one in plan.launches] == [1, 1]


def test_replies_of_two_loads_are_compared_with_each_other(ladder: Ladder) -> None:
    """`same_as` finds the other load's reply, not its own."""
    path = ladder.file(C1, C8).path
    text = path.read_text(encoding="utf-8").replace(
        "expect: [{content: {contains: Paris}}]", "expect: [{same_as: {backend: c1}}]"
    )
    path.write_text(text, encoding="utf-8")
    experiment = load_experiment(path, environ={})
    summary = asyncio.run(execute(experiment, mode="resume"))
    assert summary.outcomes == {"passed": 20}
    assert summary.ran == 20


def test_a_store_tells_loads_apart_without_the_file(ladder: Ladder) -> None:
    """By its name, an experiment is shown as its file would show it; also one load of it."""
    ladder.run(C1, C8)
    by_file = ladder.cells(C1, C8)
    with open_recorded("ladder", ladder.settings.store) as results:
        named = rows_by_backend(cell_frame(results))
        rows = list(trial_rows(results))
        theirs = list(tool_bench_rows(results))
    for backend, row in by_file.items():
        for name in ("cell", "latency_p50_s", "concurrency_in_force", "trials"):
            assert named[backend][name] == row[name]
    assert {(row["backend"], row["load"], row["concurrency_in_force"]) for row in rows} == {
        ("c1", "c1", 1),
        ("c8", "c8", 8),
    }
    assert [len(row["success_times"]) for row in theirs] == [10, 10]
    ladder.run(C8)
    with open_recorded("ladder", ladder.settings.store) as results:
        alone = rows_by_backend(cell_frame(results))["c8"]
    assert (alone["concurrency_in_force"], alone["speed_trials"]) == (8, 10)


def test_other_tools_get_no_times_of_another_load(ladder: Ladder) -> None:
    """What tool_bench.py plots are times too."""
    ladder.run(C1)
    experiment = ladder.file(C1.replace("concurrency: 1", "concurrency: 2"))
    with open_results(experiment, ladder.settings) as results:
        (row,) = tool_bench_rows(results)
    assert (row["success_count"], row["success_times"], row["avg_time"]) == (10, [], None)
    assert json.dumps(row)
