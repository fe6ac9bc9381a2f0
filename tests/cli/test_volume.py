"""Much of everything takes no more memory, and no more words, than anybody can use."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from matrixbench.cli.shared import json_parts
from matrixbench.errors import ExitCode

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.cli.conftest import CommandLine
    from tests.conftest import Write

LONG = f"""
name: long
trials: 300
backends: {{fake: {{kind: scripted, replies: ["{"Paris. " * 20_000}"]}}}}
sampling: {{temperature: [1]}}
tests:
  - name: hi
    messages: [{{role: user, content: "Say much."}}]
    expect: [{{content: {{contains: Paris}}}}]
"""


def peak(cli: CommandLine, *arguments: str) -> int:
    """Run a command, and return the most memory that it took, in bytes."""
    line = [sys.executable, "-m", "matrixbench", *arguments]
    child = subprocess.Popen(line, cwd=cli.folder, env=cli.environment, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    assert child.returncode == 0
    return usage.ru_maxrss * 1024


@pytest.mark.parametrize("options", [("--json",), ()])
def test_replies_are_shown_one_after_another(
    cli: CommandLine, write: Write, options: tuple[str, ...]
) -> None:
    """All of 42 MB of replies take about the memory of one of them."""
    write(LONG)
    assert cli("execute", "exp.yaml").returncode == 0
    one = peak(cli, "show", "exp.yaml", "--limit", "1", *options)
    assert peak(cli, "show", "exp.yaml", *options) < one + 20_000_000


def _listed(value: list[object]) -> object:
    return iter(value)


@pytest.mark.parametrize("lazy", [list, _listed])
def test_json_that_is_written_bit_by_bit_is_the_same(
    lazy: Callable[[list[object]], object],
) -> None:
    """Lists that come as they are read look as those that are there."""

    def value(several: Callable[[list[object]], object]) -> object:
        inner = {"text": "a\nb «c»", "empty": several([]), "plain": [1, {"x": []}, {}]}
        return {
            "a\n": several([inner, inner, [], several([1]), None]),
            "none": several([]),
            "b": {"c": several([several([])])},
        }

    written = "".join(json_parts(value(lazy)))
    assert written == json.dumps(value(list), ensure_ascii=False, indent=2)


def test_of_many_problems_the_first_are_told(cli: CommandLine, write: Write) -> None:
    """A mistake that a script made in 30,000 lines fills no screen, and is counted."""
    write("name: twice\nx-keys:\n" + "  a: 1\n" * 30_001)
    done = cli("validate", "exp.yaml")
    assert done.returncode == ExitCode.USAGE
    assert done.stderr.count("duplicate key «a»") == 18
    assert done.stderr.endswith("\n30,002 problems: these are the first 20\n")
    assert len(done.stderr) < 5_000


def test_too_many_squares_are_refused_before_any_work(cli: CommandLine, write: Write) -> None:
    """The message says what to narrow, no file is left, and a part is drawn."""
    many = ", ".join(f"{number / 100:g}" for number in range(200))
    test = 'messages: [{role: user, content: "{{ n }}"}], expect: [{content: {contains: a}}]'
    numbers = ", ".join(map(str, range(60)))
    write(
        "name: many\ntrials: 1\nbackends: {fake: {kind: scripted, replies: [a]}}\n"
        f"sampling: {{temperature: [{many}]}}\n"
        f"tests: [{{name: 't{{{{ n }}}}', parameters: {{n: [{numbers}]}}, {test}}}]\n"
    )
    assert cli("execute", "exp.yaml", "--where", "temperature=0").returncode == 0
    done = cli("chart", "exp.yaml", "-o", "big.png")
    assert done.returncode == ExitCode.USAGE
    assert "12,000 squares are too many" in done.stderr
    assert "temperature (200 values), test (60 values)" in done.stderr
    assert not (cli.folder / "big.png").exists()
    assert cli("chart", "exp.yaml", "-o", "part.svg", "--where", "temperature=0").returncode == 0
