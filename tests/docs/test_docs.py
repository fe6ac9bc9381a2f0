"""The documentation cannot drift: its YAML loads, its commands exist, its code runs."""

from __future__ import annotations

import os
import pkgutil
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from pydantic import TypeAdapter

import matrixbench
from matrixbench.spec.checks import Check
from matrixbench.spec.load import load_experiment
from matrixbench.spec.tests import TestEntry
from tests.cli.in_process import run_here

if TYPE_CHECKING:
    from tests.conftest import Write

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
EXPERIMENTS = sorted((ROOT / "experiments").glob("*.yaml"))
COMMANDS = (  # in the order of the overview: what is needed first, first
    "plan",
    "execute",
    "chart",
    "try",
    "status",
    "show",
    "rank",
    "compare",
    "report",
    "watch",
    "export",
    "import",
    "validate",
    "suites",
    "doctor",
    "store",
    "schema",
)
OF_STORES = ("store check", "store compact", "store merge", "store prune")
PARTS: dict[str, Any] = {"tests": TypeAdapter(list[TestEntry])}


def blocks(language: str) -> list[Any]:
    """Return every fenced block of a language, with its page and number as the test's name."""
    found = []
    for page in PAGES:
        text = page.read_text("utf-8")
        texts = re.findall(rf"(?ms)^```{language}\n(.*?)^```$", text)
        found += [
            pytest.param(text, id=f"{page.relative_to(ROOT)}-{number}")
            for number, text in enumerate(texts)
        ]
    return found


@pytest.mark.parametrize("text", blocks("yaml"))
def test_yaml_blocks_load(text: str, write: Write, tmp_path: Path) -> None:
    """A block is an experiment, a part of one, or a list of checks."""
    data = yaml.safe_load(text)
    if isinstance(data, list):
        TypeAdapter(list[Check]).validate_python(data)
    elif "backends" in data and "tests" in data:
        (tmp_path / "templates").mkdir()
        for name in re.findall(r"file: (templates/[\w.-]+)", text):
            (tmp_path / name).write_text("{{ messages }}")
        assert load_experiment(write(text), environ={}).file.name == data["name"]
    else:
        assert set(data) <= _parts()
        for name in set(data) & set(PARTS):
            PARTS[name].validate_python(data[name])


def _parts() -> set[str]:
    from matrixbench.spec.experiment import ExperimentFile  # noqa: PLC0415  only here

    return set(ExperimentFile.model_fields) | {"suite", "request", "content", "expect"}


def test_the_readme_has_its_commands() -> None:
    """Every command that the docs show exists, with its options."""
    helps = {name: _help(*name.split()) for name in (*COMMANDS, *OF_STORES)}
    for page in PAGES:
        for line in re.findall(r"(?m)^matrixbench (.+?)(?: +#.*)?$", page.read_text("utf-8")):
            command, *words = line.split()
            if command == "store":
                command = f"store {words[0]}"
                assert command in helps, f"{page.name}: {line}"
            if command in helps:
                for option in (word for word in words if word.startswith("--")):
                    assert option in helps[command], f"{page.name}: {line}"


@pytest.mark.parametrize("command", [*COMMANDS, *OF_STORES])
def test_every_option_is_told_of(command: str) -> None:
    """A page names each option of each command; for `--output` it says `-o`."""
    text = "".join(page.read_text("utf-8") for page in PAGES)
    options = re.findall(r"(?m)^  (?:-o, )?(--[a-z-]+)", _help(*command.split()))
    told = {option: f"{option}\\b" for option in options} | {"--output": r"-o\b"}
    assert [name for name in options if name != "--help" and not re.search(told[name], text)] == []


@pytest.mark.parametrize("columns", [80, 100])
def test_the_overview_cuts_no_line_off(columns: int) -> None:
    """Each command has a whole sentence, in the order in which one meets the commands."""
    lines = _help(columns=columns).partition("Commands:\n")[2].partition("\n\n")[0].splitlines()
    assert tuple(line.split()[0] for line in lines) == COMMANDS
    assert [line for line in lines if not line.endswith(".") or line.endswith("...")] == []


def _help(*command: str, columns: int = 80) -> str:
    environment = {**os.environ, "COLUMNS": str(columns)}
    done = run_here((*command, "--help"), folder=ROOT, environment=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


def python_page() -> tuple[str, list[str]]:
    """Return the experiment of the page about Python, and its blocks of code."""
    page = (ROOT / "docs" / "python.md").read_text("utf-8")
    (experiment,) = re.findall(r"(?ms)^```yaml\n(.*?)^```$", page)
    return experiment, re.findall(r"(?ms)^```python\n(.*?)^```$", page)


RUN_AS_A_NOTEBOOK_DOES = """
import ast, asyncio, sys

async def cells(names):
    for code in sys.argv[1:]:
        found = eval(compile(code, "cell", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT), names)
        if found is not None:
            await found

asyncio.run(cells({}))
"""


def test_python_blocks_run(write: Write, tmp_path: Path) -> None:
    """The worked page's code runs as it stands, inside an event loop, and says what it says."""
    experiment, blocks_of_code = python_page()
    write(experiment)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", RUN_AS_A_NOTEBOOK_DOES, *blocks_of_code],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "HOME": str(tmp_path)},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for said in re.findall(r"print\(.*?\)  # (.*)", "\n".join(blocks_of_code)):
        assert said in done.stdout
    for name in ("success.svg", "difference.svg"):
        assert (tmp_path / name).read_text("utf-8").startswith("<svg")
    assert "done in" in done.stderr  # the progress


def test_importing_costs_nothing() -> None:
    """No module of ours beside the package itself is loaded before a name is asked for."""
    code = "import sys, matrixbench; print(sorted(n for n in sys.modules if 'matrixbench' in n))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout == "['matrixbench']\n"


def test_every_public_name_is_explained() -> None:
    """The table of names leaves none out."""
    page = (ROOT / "docs" / "python.md").read_text("utf-8")
    missing = [name for name in matrixbench.__all__ if not re.search(rf"`{name}\b", page)]
    assert missing == []


def test_names_in_modules_can_be_imported() -> None:
    """What a page calls by its module stands there."""
    for page in PAGES:
        for name in re.findall(r"`(matrixbench(?:\.\w+)+)`", page.read_text("utf-8")):
            assert pkgutil.resolve_name(name) is not None, f"{page.name}: {name}"


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.name)
def test_experiments_load_and_plan(path: Path, tmp_path: Path) -> None:
    """Every shipped experiment plans on a machine without its server and its model."""
    words = ("plan", str(path), "--store", str(tmp_path / "r.db"))
    done = run_here(words, folder=ROOT, environment=os.environ)
    assert done.returncode == 0, done.stderr


def test_public_names_are_sorted_and_there() -> None:
    """`__all__` is the list of public names, and each can be had."""
    assert sorted(matrixbench.__all__) == matrixbench.__all__
    for name in matrixbench.__all__:
        assert getattr(matrixbench, name) is not None
    assert dir(matrixbench) == matrixbench.__all__


def test_links_between_pages_lead_somewhere() -> None:
    """A relative link names a file that is there."""
    for page in PAGES:
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text("utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_decisions_are_numbered_once_and_listed() -> None:
    """Each decision has a number of its own, and its line in the list of all."""
    folder = ROOT / "docs" / "decisions"
    lines = []
    for path in sorted(folder.glob("0*.md")):
        number, title = path.read_text("utf-8").splitlines()[0].removeprefix("# ").split(". ", 1)
        assert int(path.name[:4]) == int(number), path.name
        lines.append(f"{number}. [{title}]({path.name})")
    listed = re.findall(r"(?m)^\d+\. .*$", (folder / "README.md").read_text("utf-8"))
    assert listed == lines
    assert [int(line.split(".")[0]) for line in lines] == list(range(1, len(lines) + 1))


PAGE_OF = {
    "experiment-file": (
        "AdaptiveTrials Gate Until Limits Timeouts Model PackageFile ChatTemplate Test Needs Tool "
        "SamplingGrid RequestGrid Cells"
    ),
    "suites": "SuiteReference",
    "servers": "LlamaServerBackend CommandBackend EndpointBackend ScriptedBackend ScriptedReply "
    "Ready",
    "servers-ollama": "OllamaBackend",
    "conversations": "Return",
    "charts": "Chart ChosenInterval Metric",
    "checks": (
        "AllCheck AnyCheck NotCheck Bounds CachedTokensCheck CompletionTokensCheck ContentCheck "
        "ExpectedCall FinishReasonCheck JsonCheck JsonContent LatencyCheck Matcher "
        "NoToolCallsCheck NumberMatcher PythonCheck ReasoningCheck SameAsCheck ToolCalls "
        "ToolCallsCheck NamedCheck"
    ),
}
"""Page → the parts of the schema whose keys it explains."""


def test_every_key_of_the_file_is_explained() -> None:
    """Each key that the schema allows stands in a page, as code or in an example."""
    from matrixbench.spec.schema import experiment_schema  # noqa: PLC0415  only here

    schema = experiment_schema()
    parts = {**schema["$defs"], "ExperimentFile": schema}
    page_of = {part: page for page, names in PAGE_OF.items() for part in names.split()}
    page_of["ExperimentFile"] = "experiment-file"
    assert sorted(page_of) == sorted(parts)
    missing = [
        f"{page_of[part]}.md: {key} ({part})"
        for part, details in parts.items()
        for key in details.get("properties", ())
        if not re.search(
            rf"`{key}\b[^`\n]*`|\b{key}: |\b{key}:$", _page(page_of[part]), re.MULTILINE
        )
    ]
    assert missing == []


def _page(name: str) -> str:
    return (ROOT / "docs" / f"{name}.md").read_text("utf-8")


def test_every_room_has_its_line() -> None:
    """Whoever looks for their room finds it in CONTRIBUTING.md, and finds none that is gone."""
    page = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    table = page.partition("| room |")[2].partition("\n\n")[0]
    rows = [line.split("|")[1] for line in table.splitlines()[2:]]
    named = re.findall(r"`([\w.]+)`", "".join(rows))
    there = [
        path.name
        for path in (ROOT / "matrixbench").iterdir()
        if path.is_dir() or path.suffix == ".py"
    ]
    assert sorted(named) == sorted(name for name in there if not name.startswith("__"))


def test_every_page_is_linked_from_the_readme() -> None:
    """A page that nobody is led to is a page that nobody reads."""
    linked = re.findall(r"\]\((docs/[\w-]+\.md)[)#]", (ROOT / "README.md").read_text("utf-8"))
    assert {f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")} == set(linked)


def test_links_lead_to_headings() -> None:
    """What stands behind the `#` of a link is a heading of its page."""
    for page in PAGES:
        for path, heading in re.findall(
            r"\]\((?!https?:)([^)#]*)#([^)]+)\)", page.read_text("utf-8")
        ):
            target = page.parent / path if path else page
            assert heading in _headings(target), f"{page.name}: {path}#{heading}"


def _headings(page: Path) -> set[str]:
    text = re.sub(r"(?ms)^```.*?^```$", "", page.read_text("utf-8"))
    titles = re.findall(r"(?m)^#+ (.*)$", text)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_lines_of_prose_fit_120_columns() -> None:
    """Tables, code and the list of decisions may be wider."""
    for page in [*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]:
        text = re.sub(r"(?ms)^```.*?^```$", "", page.read_text("utf-8"))
        wide = [line for line in text.splitlines() if len(line) > 120]
        wide = [line for line in wide if not re.match(r"\||\d+\. \[", line)]
        assert wide == [], page.name
