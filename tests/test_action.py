"""The action of pull requests: its steps, run by hand as a workflow's runner would."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

if TYPE_CHECKING:
    from tests.cli.conftest import CommandLine
    from tests.conftest import Write

ROOT = Path(__file__).parents[1]
TWO = """
name: two
trials: 30
backends:
  old: {{kind: scripted, replies: [Paris]}}
  new: {{kind: scripted, replies: [{new}]}}
sampling: {{temperature: [1]}}
tests:
  - name: capital
    messages: [{{role: user, content: "The capital of France?"}}]
    expect: [{{content: {{contains: Paris}}}}]
"""


def action() -> dict[str, Any]:
    """Return the action's description."""
    described: dict[str, Any] = yaml.safe_load((ROOT / "action.yml").read_text("utf-8"))
    return described


@pytest.mark.process
@pytest.mark.parametrize(("new", "verdict"), [("Paris", "0"), ("London", "8")])
def test_the_steps_of_the_action(cli: CommandLine, write: Write, new: str, verdict: str) -> None:
    """The run leaves report, comment, picture and JUnit XML, and says the gate's exit code."""
    write(TWO.format(new=new))
    folder = cli.folder / "runner"
    program = folder / "venv/bin/matrixbench"
    program.parent.mkdir(parents=True)
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m matrixbench "$@"\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    given = {
        "EXPERIMENT": "exp.yaml",
        "BASELINE": "backend=old",
        "MAX_DROP": "0.2",
        "ARGS": "--trials 30",
        "INSTALL": "",
        "ACTION": str(ROOT),
        "FOLDER": str(folder),
        "GITHUB_OUTPUT": str(folder / "output"),
        "GITHUB_STEP_SUMMARY": str(folder / "summary"),
    }
    (step,) = [one for one in action()["runs"]["steps"] if one.get("id") == "run"]
    assert set(step["env"]) <= set(given)
    bash = shutil.which("bash")
    assert bash is not None
    done = subprocess.run(
        [bash, "-euo", "pipefail", "-c", step["run"]],
        cwd=cli.folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), **given},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert (folder / "output").read_text() == f"verdict={verdict}\n"
    out = folder / "out"
    assert {one.name for one in out.iterdir()} == {
        "report.html",
        "comment.md",
        "comment.png",
        "gate.xml",
    }
    assert (folder / "summary").read_text() == (out / "comment.md").read_text()
    assert (folder / "store/results.db").exists()
    assert ("<failure" in (out / "gate.xml").read_text()) == (verdict == "8")


def test_the_page_names_every_input() -> None:
    """What the action takes stands in the documentation, and nothing else does."""
    page = (ROOT / "docs/report.md").read_text("utf-8")
    for name in action()["inputs"]:
        assert f"`{name}`" in page
