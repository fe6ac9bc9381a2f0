"""Seeds from the command line: each test's own, a store of versions before, and fresh ones."""

from __future__ import annotations

import json
import sqlite3
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.cli.conftest import CommandLine
    from tests.conftest import Write

FILE = """
name: demo
trials: 4
seed: 7
backends:
  one: {kind: scripted, replies: [a, b]}
  two: {kind: scripted, replies: [a, a, b]}
sampling: {temperature: [0.5, 1]}
tests:
  - {name: hi, messages: [{role: user, content: hi}], expect: [{content: {contains: a}}]}
  - {name: ho, messages: [{role: user, content: ho}], expect: [{content: {contains: a}}]}
"""
OWN = {"hi": 1862653043 + 7, "ho": 525706833 + 7}
"""The seeds of trial 0."""


@pytest.fixture
def folder(cli: CommandLine, write: Write) -> CommandLine:
    """Return the command line beside an experiment of two tests."""
    write(FILE)
    return cli


@pytest.fixture
def old(folder: CommandLine) -> CommandLine:
    """Return the command line beside a store that a version without offsets wrote."""
    assert folder("execute", "exp.yaml").returncode == 0
    connection = sqlite3.connect(folder.folder / ".matrixbench" / "results.db")
    with connection:
        connection.execute("UPDATE trial SET seed = trial_index + 7")
        connection.execute("UPDATE experiment_cell SET first_seed = 7")
    connection.close()
    return folder


def told(cli: CommandLine, *words: str) -> Any:
    """Return what a command prints as JSON."""
    done = cli(*words, "--json")
    assert done.returncode in {0, 9}, done.stderr
    return json.loads(done.stdout)


def seeds(cli: CommandLine, *words: str) -> dict[str, list[int]]:
    """Return the seeds of each test's trials that count, over all its cells."""
    done = cli("export", "exp.yaml", "--trials", *words)
    assert done.returncode == 0, done.stderr
    found: dict[str, set[int]] = {}
    for line in done.stdout.splitlines():
        row = json.loads(line)
        found.setdefault(row["test"], set()).add(row["seed"])
        assert row["trial"] == row["seed"] - min(found[row["test"]])
    return {test: sorted(of_test) for test, of_test in found.items()}


def test_each_test_has_seeds_of_its_own(folder: CommandLine) -> None:
    """They follow each other, are the same in all its cells, and pair in a comparison."""
    assert folder("execute", "exp.yaml").returncode == 0
    assert seeds(folder) == {test: [first + i for i in range(4)] for test, first in OWN.items()}
    plan = told(folder, "plan", "exp.yaml", "--cells")
    assert plan["old_seeds"] == 0
    assert plan["remaining"] == 0
    cells = {(cell["coordinates"]["test"], cell["first_seed"]) for cell in plan["cell_list"]}
    assert cells == set(OWN.items())
    found = told(folder, "compare", "exp.yaml", "--baseline", "temperature=1")
    assert {cell["basis"] for one in found["candidates"] for cell in one["cells"]} == {"paired"}


def test_a_store_of_versions_before_is_not_measured_again(old: CommandLine) -> None:
    """The plan has nothing to run, and says how many cells go on by the old rule."""
    plan = told(old, "plan", "exp.yaml", "--cells")
    assert (plan["done"], plan["remaining"], plan["old_seeds"]) == (32, 0, 8)
    assert {cell["first_seed"] for cell in plan["cell_list"]} == {7}
    assert "8 of 8 cells go on by the old rule for seeds" in old("plan", "exp.yaml").stdout


def test_old_cells_are_topped_up_and_new_ones_pair_with_them(
    old: CommandLine, write: Write
) -> None:
    """Under the old rule, also where an axis gets a new value; a new test has its own seeds."""
    write(
        FILE.replace("trials: 4", "trials: 6").replace("[0.5, 1]", "[0.5, 1, 2]")
        + "  - {name: hey, messages: [{role: user, content: hey}], expect: [{content: a}]}\n"
    )
    plan = told(old, "plan", "exp.yaml")
    assert (plan["done"], plan["remaining"], plan["old_seeds"]) == (32, 8 * 2 + 4 * 6 + 6 * 6, 12)
    assert old("execute", "exp.yaml", "--resume").returncode == 0
    found = seeds(old)
    assert found["hi"] == found["ho"] == list(range(7, 13))
    assert min(found["hey"]) > 2**24
    assert told(old, "plan", "exp.yaml")["remaining"] == 0


def test_a_selection_knows_what_is_left_out(old: CommandLine, write: Write) -> None:
    """A new value that is run by itself pairs with the cells that are not selected."""
    write(FILE.replace("[0.5, 1]", "[0.5, 1, 2]"))
    only = ("--where", "temperature=2")
    assert told(old, "plan", "exp.yaml", *only)["old_seeds"] == 4
    assert old("execute", "exp.yaml", "--resume", *only).returncode == 0
    assert seeds(old, *only) == {"hi": [7, 8, 9, 10], "ho": [7, 8, 9, 10]}


def test_a_fresh_start_gives_tests_their_own_seeds(old: CommandLine) -> None:
    """By the file and by the experiment's name."""
    assert old("execute", "exp.yaml", "--fresh").returncode == 0
    plan = told(old, "plan", "exp.yaml")
    assert (plan["done"], plan["remaining"], plan["old_seeds"]) == (32, 0, 0)
    assert {test: of_test[0] for test, of_test in seeds(old).items()} == OWN


def test_a_part_that_starts_over_pairs_with_the_rest(old: CommandLine) -> None:
    """Of a test all cells or none: what starts over with it all has its own seeds."""
    assert old("execute", "exp.yaml", "--fresh", "--where", "backend=one").returncode == 0
    assert told(old, "plan", "exp.yaml")["old_seeds"] == 8
    assert old("execute", "exp.yaml", "--fresh", "--where", "test=hi").returncode == 0
    assert told(old, "plan", "exp.yaml")["old_seeds"] == 4
    assert told(old, "plan", "exp.yaml")["remaining"] == 0
    found = seeds(old)
    assert (found["hi"][0], found["ho"][0]) == (OWN["hi"], 7)


def test_old_trials_are_clustered_by_seed(old: CommandLine) -> None:
    """Intervals over tests are wider than with seeds of their own, in `rank` and `compare`."""
    wide = told(old, "rank", "exp.yaml", "--by", "backend")["rows"][0]
    by_name = told(old, "rank", "demo", "--by", "backend")["rows"][0]
    gate = told(old, "compare", "exp.yaml", "--baseline", "temperature=1")
    assert (by_name["these_low"], by_name["these_high"]) == (wide["these_low"], wide["these_high"])
    assert old("execute", "exp.yaml", "--fresh").returncode == 0
    narrow = told(old, "rank", "exp.yaml", "--by", "backend")["rows"][0]
    assert wide["success_ratio"] == narrow["success_ratio"]
    assert wide["these_low"] < narrow["these_low"]
    assert gate["candidates"][0]["overall"] is not None


def test_a_seed_offset_is_a_second_look(folder: CommandLine) -> None:
    """As if the file's seed were higher; the first look stays as it is."""
    assert folder("execute", "exp.yaml").returncode == 0
    plan = told(folder, "plan", "exp.yaml", "--seed-offset", "100")
    assert (plan["done"], plan["remaining"]) == (0, 32)
    assert folder("execute", "exp.yaml", "--seed-offset", "100").returncode == 0
    assert told(folder, "plan", "exp.yaml", "--seed-offset", "100")["remaining"] == 0
    second = seeds(folder, "--seed-offset", "100")
    assert {test: of_test[0] - 100 for test, of_test in second.items()} == OWN
    assert {test: of_test[0] for test, of_test in seeds(folder).items()} == OWN
    for command in ("status", "show", "rank"):
        assert folder(command, "exp.yaml", "--seed-offset", "100").returncode == 0
    found = folder("compare", "exp.yaml", "--baseline", "backend=one", "--seed-offset", "100")
    assert found.returncode == 0, found.stderr


def test_old_trials_do_not_bind_a_second_look(old: CommandLine) -> None:
    """Fresh seeds are each test's own."""
    assert told(old, "plan", "exp.yaml", "--seed-offset", "100")["old_seeds"] == 0
    assert "choose at least 4" in old("plan", "exp.yaml", "--seed-offset", "3").stdout


@pytest.mark.parametrize("command", ["plan", "execute", "status", "rank", "export", "chart"])
def test_a_seed_offset_beyond_the_range_is_refused(folder: CommandLine, command: str) -> None:
    """The largest seed is 2³² − 2."""
    done = folder(command, "exp.yaml", "--seed-offset", str(2**32 - 2 - 7 - 2))
    assert done.returncode == 2
    assert "4294967294 is the largest seed: at most 4294967284 is possible" in done.stderr


def test_a_seed_offset_needs_the_file(folder: CommandLine) -> None:
    """By its name an experiment has the seeds that it ran with last."""
    assert folder("execute", "exp.yaml").returncode == 0
    done = folder("rank", "demo", "--seed-offset", "5")
    assert done.returncode == 2
    assert "--seed-offset needs the experiment's file" in done.stderr
