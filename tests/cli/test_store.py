"""`matrixbench store`: what it prints, when it asks, and how it ends."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from tests.output.conftest import EXPERIMENT

if TYPE_CHECKING:
    from tests.cli.conftest import CommandLine
    from tests.conftest import Write


@pytest.fixture
def demo(cli: CommandLine, write: Write) -> CommandLine:
    """Return the command line beside an experiment that has been run."""
    write(EXPERIMENT)
    assert cli("execute", "exp.yaml").returncode == 0
    return cli


def test_a_store_is_checked(demo: CommandLine) -> None:
    """A whole store is told with its counts, as text and as JSON."""
    done = demo("store", "check")
    assert done.returncode == 0, done.stderr
    assert "16 trials, 16 replies, 1 launch run, 1 build" in done.stdout
    assert "experiments: demo" in done.stdout
    told = json.loads(demo("store", "check", "--json").stdout)
    assert (told["trials"], told["damage"], told["experiments"]) == (16, [], ["demo"])


def test_damage_ends_with_the_stores_code(demo: CommandLine) -> None:
    """A damaged store ends with exit code 5, and what is wrong is named."""
    with closing(sqlite3.connect(demo.folder / ".matrixbench" / "results.db")) as connection:
        connection.execute("DELETE FROM verdict")
        connection.commit()
    done = demo("store", "check")
    assert done.returncode == 5
    assert "16 trials have neither an outcome nor a verdict" in done.stderr


def test_nothing_goes_without_a_yes(demo: CommandLine) -> None:
    """Off a terminal `prune` only shows what would go, until --yes is said."""
    done = demo("store", "prune", "--experiment", "demo")
    assert done.returncode == 0, done.stderr
    assert "16 trials, with the texts of 16 replies" in done.stdout
    assert "nothing was taken out; add --yes" in done.stderr
    assert "16 trials" in demo("store", "check").stdout
    assert demo("store", "prune", "--experiment", "demo", "--yes").returncode == 0
    assert "0 trials" in demo("store", "check").stdout
    assert "KiB →" in demo("store", "compact").stdout


def test_a_store_is_merged_by_its_path(demo: CommandLine) -> None:
    """A store is merged into one that is not there yet, with what came over."""
    done = demo("store", "merge", ".matrixbench/results.db", "--store", "all.db")
    assert done.returncode == 0, done.stderr
    assert "16 new trials of 1 new launch run, 1 new experiment" in done.stdout
    again = demo("store", "merge", ".matrixbench/results.db", "--store", "all.db", "--json")
    assert json.loads(again.stdout)["known"] == 16


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("prune",), 2, "add --experiment NAME or --generation N"),
        (("prune", "--generation", "3"), 2, "it has 0 to 0"),
        (("merge", "none.db"), 5, "there is no such store"),
        (("merge", "exp.yaml"), 5, "not a matrixbench store"),
        (("check", "--store", "none.db"), 5, "there is no store yet"),
    ],
)
def test_mistakes_say_what_to_write(
    demo: CommandLine, words: tuple[str, ...], code: int, said: str
) -> None:
    """A mistake ends with its code and names what would be right."""
    done = demo("store", *words)
    assert (done.returncode, said in done.stderr) == (code, True), done.stderr
