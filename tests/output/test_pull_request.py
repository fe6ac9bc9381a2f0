"""`export` for pull requests: whole replies, JUnit XML of the gate, Markdown with a picture."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest

from matrixbench.output.export import TEXT_COLUMNS
from matrixbench.results.tables import TRIAL_COLUMNS

if TYPE_CHECKING:
    from tests.cli.conftest import CommandLine
    from tests.conftest import Write

DOCS = Path(__file__).parents[2] / "docs" / "moving-results.md"

TWO = """
name: "two <b>"
trials: {trials}
backends:
  old: {{kind: scripted, replies: [{old}]}}
  new: {{kind: scripted, replies: [{new}]}}
sampling: {{temperature: [1]}}
tests:
  - name: capital
    messages: [{{role: user, content: "The capital of France?"}}]
    expect: [{{content: {{contains: Paris}}}}]
"""


def test_whole_replies(demo: CommandLine) -> None:
    """`--replies` has a row a trial, with what was sent, said and judged after its figures."""
    lines = demo("export", "exp.yaml", "--replies").stdout.splitlines()
    rows = [json.loads(line) for line in lines]
    assert len(rows) == 16
    assert list(rows[0])[5:] == [*TRIAL_COLUMNS, *TEXT_COLUMNS]
    assert {row["content"] for row in rows} == {"Paris", "London"}
    assert rows[0]["request"]["messages"][0]["role"] == "user"
    assert all(row["verdicts"][0]["check"] == "content" for row in rows)
    demo("export", "exp.yaml", "--replies", "-o", "rows.csv")
    with (demo.folder / "rows.csv").open(newline="") as file:
        found = list(csv.DictReader(file))
    assert json.loads(found[0]["verdicts"])[0]["check"] == "content"
    page = DOCS.read_text(encoding="utf-8")
    for name, text in TEXT_COLUMNS.items():
        assert f"| `{name}` | {text} |" in page


@pytest.mark.parametrize(
    ("trials", "old", "new", "found"),
    [
        (40, "Paris", "Paris", None),
        (40, "Paris", "London", "failure"),
        (2, "Paris, London", "Paris, Lyon", "error"),
    ],
    ids=["no-worse", "regression", "undecided"],
)
def test_the_gate_as_junit(
    cli: CommandLine, write: Write, trials: int, old: str, new: str, found: str | None
) -> None:
    """A candidate is a test: a regression is its failure, undecided its error."""
    write(TWO.format(trials=trials, old=old, new=new))
    assert cli("execute", "exp.yaml").returncode == 0
    done = cli("export", "exp.yaml", "--baseline", "backend=old", "-o", "gate.xml")
    assert (done.returncode, done.stdout) == (0, "gate.xml\n"), done.stderr
    suites = ET.parse(cli.folder / "gate.xml").getroot()  # noqa: S314  our own
    (case,) = suites.iter("testcase")
    assert case.get("classname") == "two <b>"
    assert case.get("name") == "new no worse than old by 0.1"
    assert [one.tag for one in case if one.tag != "system-out"] == ([found] if found else [])
    assert suites.get("failures") == str(int(found == "failure"))
    assert suites.get("errors") == str(int(found == "error"))


def test_markdown_with_a_picture(cli: CommandLine, write: Write) -> None:
    """It is the gate and what differs, without a baseline the rank, with a picture beside it."""
    write(TWO.format(trials=4, old="Paris", new="London"))
    assert cli("execute", "exp.yaml").returncode == 0
    assert cli("export", "exp.yaml", "--baseline", "backend=old", "-o", "to say.md").returncode == 0
    told = (cli.folder / "to say.md").read_text(encoding="utf-8")
    assert told.startswith("## two \\<b\\>: backend against old\n\n![")
    assert "](to%20say.png)" in told
    assert "### new: " in told
    assert (cli.folder / "to say.png").read_bytes().startswith(b"\x89PNG")
    assert cli("export", "exp.yaml", "-o", "rank.md").returncode == 0
    told = (cli.folder / "rank.md").read_text(encoding="utf-8")
    assert "| backend | tests | n | mean |" in told
    assert told.index("| old | 1 | 4 | 1.000 |") < told.index("| new | 1 | 4 | 0.000 |")
    assert "![" not in cli("export", "exp.yaml", "--format", "markdown").stdout


def test_what_does_not_go_together_is_refused(demo: CommandLine) -> None:
    """A gate needs a baseline, rows have none, and tool-bench knows no trials."""
    for words, said in (
        (("--format", "junit"), "what is to be compared with what?"),
        (("--baseline", "backend=fake"), "rows are compared with nothing"),
        (("--replies", "--format", "tool-bench"), "one line a cell"),
    ):
        done = demo("export", "exp.yaml", *words)
        assert (done.returncode, said in done.stderr) == (2, True), done.stderr
