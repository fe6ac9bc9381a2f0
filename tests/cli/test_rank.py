"""`rank`: which values of some axes do best over all tests."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.cli.conftest import CommandLine

if TYPE_CHECKING:
    from pathlib import Path

EXPERIMENT = """
name: demo
trials: 5
backends:
  good: {kind: scripted, replies: [Paris, Paris, Paris, Paris, x]}
  bad: {kind: scripted, replies: [Paris, x, y]}
  a-backend-with-a-name-that-is-longer-than-most: {kind: scripted, replies: [{error: rejected}]}
sampling: {temperature: [null, 1]}
tests:
  - {name: a, messages: [{role: user, content: A}], expect: [{content: {contains: Paris}}]}
  - {name: b, messages: [{role: user, content: B}], expect: [{content: {contains: Paris}}]}
  - {name: c, messages: [{role: user, content: C}], expect: [{content: {contains: Paris}}]}
  - {name: d, messages: [{role: user, content: D}], expect: [{content: {contains: Paris}}]}
"""


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> CommandLine:
    """Return the command line in a folder where the experiment was run."""
    cli = CommandLine(folder=tmp_path_factory.mktemp("demo"))
    (cli.folder / "exp.yaml").write_text(EXPERIMENT, encoding="utf-8")
    cli("execute", "exp.yaml")
    return cli


@pytest.mark.parametrize("words", [(), ("--by", "backend,temperature"), ("--k", "2,3,5,6")])
def test_the_table_fits_and_is_ordered(demo: CommandLine, words: tuple[str, ...]) -> None:
    """The best comes first, the worst last, in at most 100 columns, by file and by name."""
    for target in ("exp.yaml", "demo"):
        done = demo("rank", target, *words)
        assert done.returncode == 0, done.stderr
        lines = done.stdout.splitlines()
        assert max(map(len, lines)) <= 100
        order = [line.split()[0] for line in lines if line.startswith(("good", "bad", "a-back"))]
        assert (order[0], order[-1][:6]) == ("good", "a-back")


def test_machines_get_all_of_it(demo: CommandLine) -> None:
    """Mean, both intervals, counts by outcome and speeds, with null for what is missing."""
    told = json.loads(demo("rank", "exp.yaml", "--json").stdout)
    assert told["by"] == ["backend"]
    good, _, rejected = told["rows"]
    assert (good["backend"], good["tests"], good["trials"]) == ("good", 4, 40)
    assert good["low"] <= good["these_low"] < good["success_ratio"] == 0.8
    assert (rejected["rejected"], rejected["success_ratio"]) == (40, 0)
    assert [row["one_reply"] for row in told["rows"]] == [0, 0, 0]
    assert rejected["completion_tokens_per_s"] is None


def test_mistakes_are_told(demo: CommandLine, tmp_path: Path) -> None:
    """An unknown axis is exit 2, an unknown experiment too."""
    done = demo("rank", "exp.yaml", "--by", "backnd")
    assert (done.returncode, "no selected cell has the axis «backnd»" in done.stderr) == (2, True)
    assert demo("rank", "nothing").returncode == 2
    assert not list(tmp_path.iterdir())


def test_the_best_is_not_taken_at_its_word(demo: CommandLine) -> None:
    """Chances, corrected p-values, and commands with seeds that no trial had; JSON has them too."""
    told = json.loads(demo("rank", "exp.yaml", "--json").stdout)
    best, second, last = told["rows"]
    assert (best["told_from_best"], best["p_vs_best"]) == (None, None)
    assert (second["told_from_best"], last["told_from_best"]) == (True, True)
    assert last["p_vs_best"] < second["p_vs_best"]
    assert last["p_vs_best_holm"] == pytest.approx(3 * last["p_vs_best"])
    assert sum(row["chance_of_best"] for row in told["rows"]) == pytest.approx(1)
    assert told["pairs_of_rows"] == 3
    run, compare = told["fresh_seeds"]["commands"]
    assert run == "matrixbench execute exp.yaml --resume --seed-offset 5"
    assert compare == "matrixbench compare exp.yaml --baseline backend=good --seed-offset 5"
    text = demo("rank", "exp.yaml").stdout
    assert "The best of 3 rows is told from all others" in text
    assert "picked by" in text
    assert run in text
    assert compare in text


def test_no_figure_is_lost_on_a_narrow_terminal(demo: CommandLine) -> None:
    """What does not fit beside the names stands in a table below, whole."""
    done = demo("rank", "exp.yaml", "--k", "2")
    headers = [line.split() for line in done.stdout.splitlines() if line.startswith("backend")]
    names = [name for header in headers for name in header]
    for name in ("P(best)", "vs", "rej.", "err.", "pass@2", "pass^2", "latency", "tok/s"):
        assert name in names
    assert "…" not in done.stdout
