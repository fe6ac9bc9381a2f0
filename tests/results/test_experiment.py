"""Results by name: what the store keeps of an experiment's cells."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from matrixbench.results.experiment import open_recorded
from matrixbench.results.tables import cell_frame
from matrixbench.store.database import open_store
from matrixbench.store.experiments import (
    ExperimentRecord,
    RecordedCell,
    RecordedLaunch,
    read_experiment,
    record_experiment,
)
from tests.output.conftest import EXPERIMENT

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.cli.conftest import CommandLine
    from tests.conftest import Write


def exported(cli: CommandLine, name: str = "demo") -> list[dict[str, object]]:
    """Return the rows of an export by name."""
    return [json.loads(line) for line in cli("export", name).stdout.splitlines()]


def test_the_frame_is_that_of_the_file(demo: CommandLine) -> None:
    """One row a cell with its trials; a selector narrows it."""
    store = demo.folder / ".matrixbench" / "results.db"
    with open_recorded("demo", store) as results:
        frame = cell_frame(results)
    with open_recorded("demo", store, where="temperature=1 and test=city") as results:
        one = cell_frame(results)
    assert list(frame["trials"]) == [4] * 4
    assert list(one["failed"]) == [4]
    assert frame.attrs["axes"]["temperature"] == ["null", "1"]


def test_a_changed_test_takes_the_place_of_the_old_one(demo: CommandLine, write: Write) -> None:
    """Of two cells of the same coordinates the newer one is meant; the old trials stay."""
    before = {row["cell"] for row in exported(demo)}
    write(EXPERIMENT.replace("A city?", "Name a city!"))
    demo("execute", "exp.yaml", "--resume")
    after = exported(demo)
    assert len(after) == 4
    assert len({row["cell"] for row in after} - before) == 2
    assert [row["trials"] for row in after] == [4] * 4


def test_checks_that_come_back_count_again(demo: CommandLine, write: Write) -> None:
    """By name the checks of the last run judge, also where other ones have judged since."""
    first = [row["passed"] for row in exported(demo)]
    write(EXPERIMENT.replace("expect: [", "expect: [{not: {finish_reason: odd}}, ").replace(
        "contains: Paris", "contains: o"
    ))  # fmt: skip
    demo("execute", "exp.yaml", "--resume")
    assert [row["passed"] for row in exported(demo)] != first
    write(EXPERIMENT)
    demo("execute", "exp.yaml", "--resume")
    assert [row["passed"] for row in exported(demo)] == first


def test_a_part_adds_and_the_whole_replaces(demo: CommandLine, write: Write) -> None:
    """Running a part leaves the other cells known; running all forgets what the file lacks."""
    write(EXPERIMENT.replace("[null, 1]", "[1, 2]"))
    demo("execute", "exp.yaml", "--resume", "--where", "temperature=2")
    assert {row["temperature"] for row in exported(demo)} == {None, 1, 2}
    demo("execute", "exp.yaml", "--resume")
    assert {row["temperature"] for row in exported(demo)} == {1, 2}


def test_trials_that_two_backends_share_are_shown_for_both(cli: CommandLine, write: Write) -> None:
    """A backend that never had to run shows the trials that it shares."""
    write(
        EXPERIMENT.replace(
            "{fake: {kind: scripted, replies: [Paris, London, Paris, Paris]}}",
            "{a: &s {kind: scripted, replies: [Paris, London, Paris, Paris]}, b: *s}",
        )
    )
    assert json.loads(cli("execute", "exp.yaml", "--json").stdout)["ran"] == 16
    found = exported(cli)
    assert [row["backend"] for row in found] == ["a"] * 4 + ["b"] * 4
    assert [row["trials"] for row in found] == [4] * 8


def test_tests_that_differ_in_their_checks_have_their_own_verdicts(
    cli: CommandLine, write: Write
) -> None:
    """One reply is judged by each test; by its file each shows its own."""
    write(
        EXPERIMENT
        + """
  - name: other
    messages: [{role: user, content: "A city?"}]
    expect: [{content: {contains: London}}]
"""
    )
    cli("execute", "exp.yaml")
    rows = [json.loads(line) for line in cli("export", "exp.yaml").stdout.splitlines()]
    passed = {row["test"]: row["passed"] for row in rows}
    assert passed == {"capital": 3, "city": 0, "other": 1}


def test_a_fresh_start_hides_the_old_trials(demo: CommandLine, write: Write) -> None:
    """By name, too, only the newest generation counts."""
    write(EXPERIMENT.replace("[Paris, London, Paris, Paris]", "[Paris, London, Paris, Paris]"))
    demo("execute", "exp.yaml", "--fresh", "--trials", "2")
    assert [row["trials"] for row in exported(demo)] == [2] * 4


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return the path of an empty store."""
    path = tmp_path / "results.db"
    open_store(path, create=True).close()
    return path


def record(
    cells: Sequence[RecordedCell], *, imported: bool = False, build: str | None = None
) -> ExperimentRecord:
    """Return a record of one launch."""
    return ExperimentRecord(
        name="exp",
        launches=[
            RecordedLaunch(
                name="a", digest="d", coordinates={"backend": "a"}, build=build, imported=imported
            )
        ],
        requests=[{"temperature": 0.5}, {"temperature": None}],
        tests=[{"test": "t"}],
        cells=cells,
    )


FIRST = RecordedCell(0, 0, 0, "c1", 1, 10, greedy=False)
SECOND = RecordedCell(0, 1, 0, "c2", 1, 10, greedy=True)


def test_what_is_recorded_is_read_back(path: Path) -> None:
    """Coordinates, seeds, plans and builds come back as they were, in order."""
    record_experiment(path, record([FIRST, SECOND], build="b"), whole=True)
    found = read_experiment(path, "exp")
    assert found is not None
    assert list(found.cells) == [FIRST, SECOND]
    assert found.coordinates(found.cells[1]) == {"backend": "a", "temperature": None, "test": "t"}
    assert found.launches[0].build == "b"
    assert read_experiment(path, "other") is None


def test_recording_the_same_again_writes_nothing(path: Path) -> None:
    """The file is not touched where nothing has changed."""
    record_experiment(path, record([FIRST]), whole=True)
    path.chmod(0o444)
    before = path.read_bytes()
    record_experiment(path, record([FIRST]), whole=True)
    assert path.read_bytes() == before


def test_imported_cells_stay_beside_those_of_a_file(path: Path) -> None:
    """A whole run of the file replaces its own cells only, even where coordinates are equal."""
    record_experiment(path, record([FIRST], imported=True), whole=False)
    record_experiment(path, record([SECOND]), whole=True)
    record_experiment(path, record([FIRST, SECOND]), whole=True)
    found = read_experiment(path, "exp")
    assert found is not None
    assert sorted((cell.launch, cell.cell) for cell in found.cells) == [
        (0, "c1"), (1, "c1"), (1, "c2"),
    ]  # fmt: skip
    assert [launch.imported for launch in found.launches] == [True, False]
