"""`--interval`: which interval a cell has, in exports and in charts."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.cli.conftest import CommandLine
    from tests.conftest import Write

EXPERIMENT = """
name: demo
trials: 10
sampling: {temperature: 1}
backends: {fake: {kind: scripted, replies: [Paris]}}
tests:
  - name: capital
    messages: [{role: user, content: "The capital of France?"}]
    expect: [{content: {contains: Paris}}]
charts:
  map: {interval: exact}
"""


def test_an_interval_is_chosen_by_option_and_by_file(cli: CommandLine, write: Write) -> None:
    """Of 10 of 10; the column and the subtitle say which; a wrong name says which there are."""
    write(EXPERIMENT)
    assert cli("execute", "exp.yaml").returncode == 0
    for words, name, low in (
        ((), "wilson", 0.7225),
        (("--interval", "jeffreys"), "jeffreys", 0.7828),
        (("--interval", "exact"), "exact", 0.6915),
    ):
        row = json.loads(cli("export", "exp.yaml", *words).stdout)
        assert (row["interval"], row["draws"]) == (name, 10)
        assert row["low"] == pytest.approx(low, abs=1e-4)
    cli("chart", "exp.yaml", "-o", "file.json")
    assert "exact, Clopper and Pearson" in (cli.folder / "file.json").read_text(encoding="utf-8")
    cli("chart", "exp.yaml", "--interval", "jeffreys", "-o", "option.json")
    assert "(Jeffreys)" in (cli.folder / "option.json").read_text(encoding="utf-8")
    for command in ("export", "chart"):
        wrong = cli(command, "exp.yaml", "--interval", "wald")
        assert wrong.returncode == 2
        assert "wilson or jeffreys or exact" in wrong.stderr
