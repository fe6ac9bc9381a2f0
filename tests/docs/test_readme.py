"""What the first pages show is what runs: the file, and what the commands say of it."""

from __future__ import annotations

import os
import re
from pathlib import Path

import yaml

from tests.cli.in_process import run_here

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")
QUESTION = (ROOT / "docs" / "question.md").read_text("utf-8")


def _block(page: str, language: str, marker: str = "") -> str:
    (text,) = re.findall(rf"(?ms){re.escape(marker)}^```{language}\n(.*?)^```$", page)
    return str(text)


EXCERPT = _block(README, "yaml", "<!-- excerpt of experiments/quickstart.yaml -->\n")


def _printed(page: str, command: str) -> list[str]:
    """Return what the page shows after a command, up to the next one."""
    text = "".join(re.findall(r"(?ms)^```console\n(.*?)^```$", page))
    (printed,) = re.findall(rf"(?ms)^\$ matrixbench {re.escape(command)}\n(.*?)(?=^\$|\Z)", text)
    return [str(line) for line in printed.rstrip().splitlines()]


def _prints(command: str, folder: Path, store: Path) -> list[str]:
    """Return what the command prints where nothing has been run yet."""
    environment = {**os.environ, "COLUMNS": "100", "MATRIXBENCH_STORE": str(store)}
    done = run_here(tuple(command.split()), folder=folder, environment=environment)
    assert done.returncode == 0, done.stderr
    return [line.rstrip() for line in done.stdout.rstrip().splitlines()]


def test_the_readme_shows_the_file_that_its_line_runs() -> None:
    """The YAML is that file but for the lines that `# …` stands for, in the file's order."""
    assert "matrixbench execute experiments/quickstart.yaml" in _block(
        README, "sh", "<!-- quickstart -->\n"
    )
    file = (ROOT / "experiments" / "quickstart.yaml").read_text("utf-8")
    place = 0
    for part in re.split(r"(?m)^ *# ….*\n", EXCERPT):
        found = file.find(part, place)
        assert found >= 0, part
        assert found == 0 or file[found - 1] == "\n", part
        place = found + len(part)


def test_the_excerpt_has_every_axis_that_the_picture_has() -> None:
    """What varies beside the tests is shown whole."""
    file = yaml.safe_load((ROOT / "experiments" / "quickstart.yaml").read_text("utf-8"))
    shown = yaml.safe_load(EXCERPT)
    for key in ("trials", "seed", "backends", "chat_templates", "charts"):
        assert shown[key] == file[key]
    assert shown["sampling"]["temperature"] == file["sampling"]["temperature"]
    assert [name for name, values in file["sampling"].items() if len(values) > 1] == ["temperature"]


def test_the_readme_prints_what_plan_says(tmp_path: Path) -> None:
    """Cells, launches and trials are those of the file."""
    command = "plan experiments/quickstart.yaml"
    assert _printed(README, command) == _prints(command, ROOT, tmp_path / "new.db")


def test_the_readme_prints_a_run_of_that_plan() -> None:
    """The trials that were run are those that were planned, and each has an outcome."""
    planned = re.search(r"(\d+) to run", _printed(README, "plan experiments/quickstart.yaml")[0])
    assert planned is not None
    first, *_, last, _ = _printed(README, "execute experiments/quickstart.yaml --resume")
    assert first == f"quickstart: {planned[1]} trials to run"
    assert last.startswith(f"quickstart: {planned[1]} trials in ")
    outcomes = re.findall(r"(\d+) (?:passed|failed|rejected|errored)", last)
    assert sum(int(number) for number in outcomes) == int(planned[1])


def test_your_own_question_prints_what_plan_says(tmp_path: Path) -> None:
    """The page's file, saved under the name that the page gives it, is planned as it says."""
    (tmp_path / "cache.yaml").write_text(_block(QUESTION, "yaml"), "utf-8")
    assert _printed(QUESTION, "plan cache.yaml") == _prints(
        "plan cache.yaml", tmp_path, tmp_path / "new.db"
    )
