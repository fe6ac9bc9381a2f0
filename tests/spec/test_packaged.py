"""Suites in installed packages: found without running the package's code, and kept inside it."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from matrixbench.spec.suites import packaged_file

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.spec.conftest import Load

ROOT = Path(__file__).parents[2]
BACKEND = "backends: {s: {kind: scripted, replies: [hello]}}\n"
SUITE = """\
name: greetings
description: Does the model greet?
tests:
  - name: greets-in-{{ language }}
    parameters: {language: [English, French]}
    messages: [{role: user, content: "Greet me in {{ language }}."}]
    expect: [{content: {contains: "{{ {'English': 'Hello', 'French': 'Bonjour'}[language] }}"}}]
"""


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """Return a folder that holds a package with suites, whose code fails when it is run."""
    site = tmp_path / "site"
    suites = site / "my_evals" / "suites"
    (suites / "deep").mkdir(parents=True)
    (site / "my_evals" / "__init__.py").write_text("raise SystemExit('the package was run')\n")
    (suites / "greetings.yaml").write_text(SUITE, encoding="utf-8")
    (suites / "deep" / "list.yml").write_text("- 1\n", encoding="utf-8")
    (suites / "broken.json").write_text('{"name": ', encoding="utf-8")
    (suites / "notes.txt").write_text("x", encoding="utf-8")
    (site / "outside.yaml").write_text(SUITE, encoding="utf-8")
    (site / "single_file.py").write_text("raise SystemExit\n")
    (site / "portions" / "agents").mkdir(parents=True)
    (site / "portions" / "agents" / "greetings.yaml").write_text(SUITE, encoding="utf-8")
    return site


def experiment(reference: str) -> str:
    """Return an experiment whose tests are a suite's."""
    return f'name: x\n{BACKEND}tests: [{{suite: "{reference}"}}]\n'


@pytest.mark.parametrize(
    "reference",
    [
        "my_evals:suites/greetings.yaml",
        "my_evals:./suites//greetings.yaml",
        "my_evals.suites:greetings.yaml",
        "portions:agents/greetings.yaml",
        "portions.agents:greetings.yaml",
    ],
)
def test_a_suite_of_a_package_is_read_without_running_its_code(
    load: Load, installed: Path, monkeypatch: pytest.MonkeyPatch, reference: str
) -> None:
    """The package's `__init__` would end the process; packages without one serve as well."""
    monkeypatch.syspath_prepend(installed)
    tests = load(experiment(reference)).tests
    assert [test.name for test in tests] == ["greets-in-English", "greets-in-French"]
    assert {test.suite for test in tests} == {"greetings"}
    assert "my_evals" not in sys.modules


def test_a_package_in_a_zip_file_serves_as_well(
    load: Load, installed: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A file is read through the import system, not through the file system."""
    with zipfile.ZipFile(tmp_path / "evals.zip", "w") as archive:
        for path in sorted((installed / "my_evals").rglob("*")):
            archive.write(path, path.relative_to(installed))
    monkeypatch.syspath_prepend(tmp_path / "evals.zip")
    assert len(load(experiment("my_evals:suites/greetings.yaml")).tests) == 2


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("nosuch_evals:x.yaml", "read: no Python package called «nosuch_evals» is installed"),
        ("nosuch_evals:x.yaml", f"for this Python: {sys.executable} -m pip install nosuch_evals;"),
        ("my-evals:x.yaml", "perhaps you meant «my_evals»; install it"),
        ("ab:c.yaml", "is written ./ab:…"),
        ("single_file:x.yaml", "«single_file» is a single module, without files"),
        ("my_evals:suites/greeting.yaml", "no such file\n  perhaps you meant «suites/greetings"),
        ("my_evals:x.yaml", "files: suites/broken.json, suites/deep/list.yml, suites/greetings"),
        ("my_evals.suites:x.yaml", "its YAML files: broken.json, deep/list.yml, greetings.yaml"),
        ("my_evals:suites", "my_evals:suites does not end with .yaml, .yml, .json"),
        ("my_evals:", "the suite my_evals: does not end with"),
        ("my_evals:../outside.yaml", "leads out of its package"),
        ("my_evals..:outside.yaml", "its YAML files: none"),
        ("my_evals:suites/../../outside.yaml", "leads out of its package"),
        ("my_evals:/etc/x.yaml", "leads out of its package"),
        ("my_evals:suites\\\\greetings.yaml", "write / between folders"),
        ("https://example.test/x.yaml", "suites are not fetched\n  save it, and name the file"),
    ],
)
def test_what_cannot_be_read_is_told_where_it_is_named(
    problems: Callable[[str], list[str]],
    installed: Path,
    monkeypatch: pytest.MonkeyPatch,
    reference: str,
    said: str,
) -> None:
    """One problem, at the reference, with the way out."""
    monkeypatch.syspath_prepend(installed)
    (told,) = problems(experiment(reference))
    assert told.startswith("exp.yaml:3:17: the suite ")
    assert said in told


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("my_evals:suites/deep/list.yml", "my_evals:suites/deep/list.yml:1:1: a suite is a map"),
        ("my_evals:suites/broken.json", "my_evals:suites/broken.json:2:1: not valid YAML"),
    ],
)
def test_what_is_wrong_in_the_file_is_told_there(
    problems: Callable[[str], list[str]],
    installed: Path,
    monkeypatch: pytest.MonkeyPatch,
    reference: str,
    said: str,
) -> None:
    """The place is the package's file, its line and its column."""
    monkeypatch.syspath_prepend(installed)
    (told,) = problems(experiment(reference))
    assert told.startswith(said)


@pytest.mark.parametrize(
    "reference",
    ["tool-calling", "x.yaml", "C:\\evals\\x.yaml", "C:/evals/x.yaml", "./ab:c.yaml", "a/b:c.yaml"],
)
def test_names_and_paths_are_no_packages(reference: str) -> None:
    """One letter before a colon is a drive, and a slash before it makes a path."""
    assert packaged_file(reference) is None


def test_a_suite_of_a_package_installed_in_a_fresh_environment(
    installed: Path, tmp_path: Path
) -> None:
    """An environment in which the package is installed as developers do finds it."""
    venv.create(tmp_path / "venv", symlinks=True)
    python = tmp_path / "venv" / "bin" / "python"
    purelib = sysconfig.get_path("purelib", vars={"base": str(tmp_path / "venv")})
    folders = [str(installed), str(ROOT), *(path for path in sys.path if "site-packages" in path)]
    (Path(purelib) / "evals.pth").write_text("\n".join(folders), encoding="utf-8")
    path = tmp_path / "exp.yaml"
    path.write_text(experiment("my_evals:suites/greetings.yaml"), encoding="utf-8")
    done = subprocess.run(
        [python, "-m", "matrixbench", "validate", "exp.yaml"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={"HOME": str(tmp_path)},
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "exp.yaml: fine (2 tests)\n"
