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
