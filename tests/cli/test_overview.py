"""Which commands there are is known without importing any of them."""

from __future__ import annotations

import inspect
import subprocess
import sys
from importlib import import_module
from typing import TYPE_CHECKING

import pytest
import typer

from matrixbench.cli import COMMANDS
from tests.cli.conftest import ROOT, CommandLine

if TYPE_CHECKING:
    from tests.conftest import Write

HEAVY = "{'aiohttp', 'pandas', 'altair', 'vl_convert', 'huggingface_hub'}"
EXPERIMENT = """
name: demo
backends: {fake: {kind: scripted, replies: [London]}}
tests: [{name: hi, messages: [{role: user, content: hi}], expect: [{content: {contains: London}}]}]
"""


@pytest.mark.parametrize("name", COMMANDS)
def test_a_line_of_the_overview_is_what_its_command_says(name: str) -> None:
    """It is the first sentence of the command's docstring, which its own help begins with."""
    place, line = COMMANDS[name]
    module, _, function = place.partition(":")
    command = getattr(import_module(f"matrixbench.cli.{module}"), function)
    several = isinstance(command, typer.Typer)
    said = command.info.help if several else inspect.getdoc(command)
    assert said is not None
    assert f"{said.partition('.')[0]}." == line
    assert module == name + ("_" if name in {"import", "try"} else "")
    assert function == ("app" if several else module)


def imported(*words: str) -> set[str]:
    """Return which modules a command imports, of ours and of the heavy ones, as a process."""
    program = (
        "import atexit, sys\n"
        f"heavy = {HEAVY}\n"
        "def tell():\n"
        "    ours = {name for name in sys.modules if name.startswith('matrixbench.')}\n"
        "    sys.stderr.write('IMPORTED ' + ' '.join(ours | heavy & set(sys.modules)))\n"
        "atexit.register(tell)\n"
        f"sys.argv = {['matrixbench', *words]!r}\n"
        "from matrixbench.cli import main\n"
        "main()\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert ran.returncode == 0, ran.stderr
    return set(ran.stderr.partition("IMPORTED ")[2].split())


def test_the_overview_imports_no_command() -> None:
    """What the whole program needs to say what it can do is the table."""
    assert imported("--help") == {
        f"matrixbench.{name}" for name in ("cli", "cli.shared", "errors", "safe_text")
    }


def test_the_help_of_a_command_imports_no_other() -> None:
    """Each command's module is its own, and heavy libraries wait until they are used."""
    found = imported("compare", "--help")
    commands = {f"matrixbench.cli.{place.partition(':')[0]}" for place, _ in COMMANDS.values()}
    assert found & commands == {"matrixbench.cli.compare"}
    assert not {name for name in found if not name.startswith("matrixbench.")}


def test_a_plan_needs_no_heavy_library(cli: CommandLine, write: Write) -> None:
    """Planning draws nothing, fetches nothing, and has no table."""
    path = write(EXPERIMENT)
    found = imported("plan", str(path), "--store", str(cli.folder / "results.db"))
    assert "matrixbench.cli.plan" in found
    assert not {name for name in found if not name.startswith("matrixbench.")}


@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        ("s", {"status", "show", "suites", "store", "schema"}),
        ("plan --ce", {"--cells"}),
        ("x", set()),
    ],
)
def test_the_shell_completes(cli: CommandLine, typed: str, completed: set[str]) -> None:
    """Commands complete by the table, options by the command that they belong to."""
    shell = CommandLine(
        folder=cli.folder,
        env={
            "_MATRIXBENCH_COMPLETE": "complete_bash",
            "COMP_WORDS": f"matrixbench {typed}",
            "COMP_CWORD": str(len(typed.split())),
        },
        apart=True,
    )
    assert set(shell().stdout.split()) == completed


def test_a_command_that_is_mistyped_is_guessed(cli: CommandLine) -> None:
    """The nearest name is proposed, and the exit code says that the options are wrong."""
    done = cli("plna")
    assert done.returncode == 2
    assert "Did you mean 'plan'?" in done.stderr
