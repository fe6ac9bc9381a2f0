"""`report`: what goes into the file, in which order, and what is left out."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from tests.output.conftest import EXPERIMENT
from tests.output.report.reading import read_report

if TYPE_CHECKING:
    from tests.cli.conftest import CommandLine
    from tests.conftest import Write


LONG = """
name: long
trials: 40
backends: {{fake: {{kind: scripted, replies: [{replies}]}}}}
sampling: {{temperature: [1, 2]}}
tests:
  - name: capital
    messages: [{{role: user, content: "The capital of France?"}}]
    expect: [{{content: {{contains: Paris}}}}]
"""

CHARTS = """
name: several
trials: 2
backends: {a: {kind: scripted, replies: [Paris]}, b: {kind: scripted, replies: [London, Paris]}}
sampling: {temperature: [1]}
tests:
  - name: capital
    messages: [{role: user, content: "The capital of France?"}]
    tags: [slow, sure]
    expect: [{content: {contains: Paris}}]
charts:
  success: {}
  change: {metric: difference, baseline: {backend: a}}
  builds: {row: build}
"""


def test_a_report_has_every_trial_once(demo: CommandLine) -> None:
    """Each cell has its row, its trials and its different replies with what was sent and judged."""
    done = demo("report", "exp.yaml", "-o", "out/page.html", "--where", "temperature=1")
    assert (done.returncode, done.stdout) == (0, "out/page.html\n"), done.stderr
    found = read_report(demo.folder / "out/page.html")
    assert [one["name"] for one in found.index["experiments"]] == ["demo"]
    told = found.only
    assert ["only where", "temperature=1"] in told["facts"]
    assert told["answer"]["lines"] == ["3 passed, 5 failed"]
    assert len(told["cells"]) == len(set(told["cells"])) == 2
    cell = found.records[told["records"][0]]
    assert cell["row"]["success_ratio"] == 0.75
    assert cell["trials"]["trial"] == [0, 1, 2, 3]
    assert cell["trials"]["outcome"] == ["passed", "failed", "passed", "passed"]
    assert [one["trials"] for one in cell["groups"]] == [[0, 2, 3], [1]]
    replies = [found.records[one["record"]]["texts"] for one in cell["groups"]]
    assert [one["content"] for one in replies] == ["Paris", "London"]
    assert [one["verdicts"][0]["passed"] for one in replies] == [True, False]
    (sent,) = cell["texts"]["requests"]
    assert sent["body"]["messages"][0]["content"] == "The capital of France?"
    assert found.index["left_out"] == {"replies": 0, "trials": 0, "max_mb": 100}


def test_a_small_report_keeps_failures_then_each_reply_once(cli: CommandLine, write: Write) -> None:
    """What does not fit is left out from the end: passes whose text is there already go first."""
    # Each is unlike the others: 80 of them fill more than two megabytes.
    words = [
        f'"{"London" if number % 2 else "Paris"} {os.urandom(15_000).hex()}"'
        for number in range(40)
    ]
    write(LONG.format(replies=", ".join(words)))
    assert cli("execute", "exp.yaml").returncode == 0
    done = cli("report", "exp.yaml", "--max-mb", "2")
    assert done.returncode == 0, done.stderr
    page = cli.folder / "exp.html"
    assert page.stat().st_size < 2.3e6
    found = read_report(page)
    left_out = found.index["left_out"]
    assert left_out["replies"] > 10
    assert f"left out: the texts of {left_out['trials']} trials" in done.stderr
    there = {(one["cell"], one["trial"]) for one in found.records if "trial" in one}
    assert len(there) + left_out["replies"] == 80
    failed = {(cell, trial) for cell in (0, 1) for trial in range(1, 40, 2)}
    assert failed <= there
    passed = sorted(there - failed)
    assert passed == sorted({(0, trial) for trial in range(0, 2 * len(passed), 2)})
    whole = cli("report", "exp.yaml", "-o", "whole.html")
    assert whole.returncode == 0
    assert len(read_report(cli.folder / "whole.html").texts()) == 80


def test_charts_know_their_cells(cli: CommandLine, write: Write) -> None:
    """A square has its cell, a difference both, and builds beside each other each their own."""
    write(CHARTS)
    assert cli("execute", "exp.yaml").returncode == 0
    done = cli("report", "exp.yaml")
    assert done.returncode == 0, done.stderr
    found = read_report(cli.folder / "exp.html")
    told = found.only
    assert [one["name"] for one in told["charts"]] == ["success", "change", "builds"]
    squares = [found.records[one["record"]]["places"] for one in told["charts"]]
    assert squares == [[[0], [1]], [[1, 0]], [[0], [1]]]
    assert [one["label"] for one in told["points"]["tag"]["values"]] == ["slow", "sure"]
    assert told["points"]["tag"]["cells"] == [[0, 1], [0, 1]]
    assert "build" in told["axes"]


def test_several_experiments_and_names_in_one_page(demo: CommandLine, write: Write) -> None:
    """Experiments stand side by side, by their files or by their names in the store."""
    write(EXPERIMENT.replace("name: demo", "name: other"), "other.yaml")
    assert demo("execute", "other.yaml", "--resume").returncode == 0
    done = demo("report", "demo", "other.yaml", "--store", ".matrixbench/results.db")
    assert (done.returncode, done.stdout) == (0, "demo.html\n"), done.stderr
    found = read_report(demo.folder / "demo.html")
    assert [one["name"] for one in found.index["experiments"]] == ["demo", "other"]
    assert {one["experiment"] for one in found.records if "cell" in one} == {0, 1}


def test_execute_writes_the_report_of_its_run(cli: CommandLine, write: Write) -> None:
    """`--report` is `report` after the run; the exit code stays the run's."""
    write(EXPERIMENT)
    done = cli("execute", "exp.yaml", "--report", "run.html")
    assert done.returncode == 0, done.stderr
    assert "report: run.html" in done.stderr
    assert read_report(cli.folder / "run.html").only["answer"]["lines"] == ["6 passed, 10 failed"]


def test_the_page_allows_only_its_own_scripts(demo: CommandLine) -> None:
    """The policy names scripts and style by their hashes, and allows nothing else."""
    assert demo("report", "exp.yaml").returncode == 0
    page = (demo.folder / "exp.html").read_text(encoding="utf-8")
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy is not None
    told = dict(one.split(" ", 1) for one in policy[1].split("; "))
    assert told["default-src"] == told["connect-src"] == told["base-uri"] == "'none'"
    assert told["require-trusted-types-for"] == "'script'"
    assert re.fullmatch(r"('sha256-[\w+/=]{44}' ?){2}", told["script-src"])
    assert re.fullmatch(r"'sha256-[\w+/=]{44}'", told["style-src"])
    assert "unsafe" not in policy[1]
    assert "innerHTML" not in page[page.rindex("<script>") :].replace("may become HTML", "")
    assert not re.search(r"(src|href)\s*=\s*[\"']?(https?:)?//", page.split("<script>")[0])


def test_what_cannot_be_written_or_found_is_said(demo: CommandLine) -> None:
    """A folder in the way, and an experiment that was never run, end with their exit codes."""
    (demo.folder / "taken.html").mkdir()
    done = demo("report", "exp.yaml", "-o", "taken.html")
    assert (done.returncode, "the report cannot be written" in done.stderr) == (2, True)
    done = demo("report", "nobody", "--store", ".matrixbench/results.db")
    assert (done.returncode, "nobody" in done.stderr) == (2, True)
