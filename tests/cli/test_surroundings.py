"""What surrounds a process and is no mistake in a file: encodings, limits, Python's own flags."""

from __future__ import annotations

import json
import resource
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.cli.conftest import CommandLine

if TYPE_CHECKING:
    from tests.conftest import Write

EXPERIMENT = """
name: demo
trials: 2
backends: {fake: {kind: scripted, replies: ["Zürich «😀»", London]}}
tests:
  - name: capital
    messages: [{role: user, content: "The capital of France?"}]
    expect: [{content: {contains: Zürich}}]
"""


@pytest.mark.parametrize(
    "env",
    [
        {"PYTHONIOENCODING": "ascii"},
        {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
    ],
    ids=["ascii", "C"],
)
def test_a_stream_without_our_signs_gets_escapes(
    cli: CommandLine, write: Write, env: dict[str, str]
) -> None:
    """Tables, errors and JSON come out; JSON says what it says anywhere."""
    write(EXPERIMENT)
    cli("execute", "exp.yaml")
    narrow = CommandLine(folder=cli.folder, env=env, apart=True)
    shown = narrow("show", "exp.yaml", "--json")
    assert shown.returncode == 0, shown.stderr
    assert "\\u00fc" in shown.stdout
    assert "Zürich «😀»" in str(json.loads(shown.stdout))
    wrong = narrow("show", "exp.yaml", "--where", "test=é")
    assert wrong.returncode in {2, 3}, wrong.stderr
    assert "Traceback" not in wrong.stderr


@pytest.mark.process
def test_without_docstrings_only_drawing_is_refused(cli: CommandLine, write: Write) -> None:
    """Python's `-OO` takes nothing from commands, but for Altair, which needs its docstrings."""
    write(EXPERIMENT)
    bare = CommandLine(folder=cli.folder, env={"PYTHONOPTIMIZE": "2"}, apart=True)
    done = bare("execute", "exp.yaml")
    assert done.returncode == 0, done.stderr
    drawn = bare("chart", "exp.yaml", "-o", "p.svg")
    assert drawn.returncode == 2
    assert "nothing can be drawn where Python drops docstrings" in drawn.stderr


@pytest.mark.process
@pytest.mark.parametrize("limit", [8, 12, 16])
def test_few_open_files_are_told_plainly(cli: CommandLine, write: Write, limit: int) -> None:
    """Too low a limit is said; no traceback."""
    write(EXPERIMENT)
    done = subprocess.run(
        cli.command("execute", "exp.yaml"),
        cwd=cli.folder,
        env=cli.environment,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit)),
    )
    assert done.returncode in {0, 4, 5, 7}, done.stderr
    assert "Traceback" not in done.stderr
