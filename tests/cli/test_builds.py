"""Builds of one server side by side: told apart by content, whatever they call themselves."""

from __future__ import annotations

import json
import re
import stat
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import CommandLine
    from tests.conftest import Write

EXPERIMENT = """
name: demo
trials: 3
backends:
  fake: {kind: llama-server, binary: BINARY, context: 1024}
models: {m: {gguf: model.gguf}}
sampling: {temperature: [0.5, 1]}
tests:
  - {name: hi, messages: [{role: user, content: hi}], expect: [{content: {matches: .}}]}
charts:
  both: {column: build}
  present: {}
"""
ONE = EXPERIMENT.replace("BINARY", "./llama-server")
TWO = EXPERIMENT.replace("BINARY", "{old: old/llama-server, new: new/llama-server}")
NAMELESS = """#!/bin/sh
# {comment}
for word in "$@"; do
  if [ "$word" = --version ]; then echo "version: 0 (unknown)"; exit 0; fi
done
"""


def build(fake: Path, folder: str, comment: str) -> Path:
    """Return a llama-server in a folder of its own that calls itself «build 0, unknown»."""
    path = fake.parent / folder / "llama-server"
    path.parent.mkdir()
    path.write_text(NAMELESS.format(comment=comment) + fake.read_text().partition("\n")[2])
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def launches(cli: CommandLine, *words: str) -> list[dict[str, Any]]:
    """Return the launches of the plan."""
    planned = cli("plan", "exp.yaml", "--json", *words)
    assert planned.returncode == 0, planned.stderr
    found: list[dict[str, Any]] = json.loads(planned.stdout)["launches"]
    return found


def held(launch: dict[str, Any]) -> list[tuple[int, bool]]:
    """Return trials and presence of each build of a launch."""
    return [(known["trials"], known["present"]) for known in launch["builds"]]


def squares(cli: CommandLine, chart: str) -> list[dict[str, Any]]:
    """Return the squares of a chart as they stand in its Vega-Lite."""
    drawn = cli("chart", "exp.yaml", "--chart", chart, "-o", "map.json")
    assert drawn.returncode == 0, drawn.stderr
    datasets = json.loads((cli.folder / "map.json").read_text())["datasets"]
    return [row for rows in datasets.values() for row in rows if "tooltip" in row]


def test_two_builds_without_a_version_are_two_builds(
    cli: CommandLine, write: Write, fake_binary: Path
) -> None:
    """«build 0, unknown» twice: each has its trials, and none stands under the other's name."""
    build(fake_binary, "old", "one")
    build(fake_binary, "new", "two")
    write(TWO)
    done = cli("execute", "exp.yaml", "--where", "binary=new", "--json")
    assert json.loads(done.stdout)["outcomes"] == {"passed": 6}, done.stderr
    assert [held(launch) for launch in launches(cli)] == [[], [(6, True)]]
    shown = {row["x"]: row.get("count") for row in squares(cli, "present")}
    assert shown == {"old": None, "new": "n=3"}
    done = cli("execute", "exp.yaml", "--resume", "--json")
    assert json.loads(done.stdout)["ran"] == 6, done.stderr
    found = launches(cli)
    assert [held(launch) for launch in found] == [[(6, True)], [(6, True)]]
    assert len({launch["build"] for launch in found}) == 2
    assert {known["version"] for launch in found for known in launch["builds"]} == {"0 (unknown)"}
    assert len(squares(cli, "both")) == 4
    assert {row["column"] for row in squares(cli, "both")} == {
        launch["build"][:8] for launch in found
    }


def test_a_rebuilt_binary_stands_beside_the_one_before(
    cli: CommandLine, write: Write, fake_binary: Path
) -> None:
    """Each label of the binary keeps its own past: the other's builds are not taken for it."""
    build(fake_binary, "old", "one")
    new = build(fake_binary, "new", "two")
    write(TWO)
    assert cli("execute", "exp.yaml").returncode == 0
    new.write_text(new.read_text() + "# rebuilt\n")
    assert [held(launch) for launch in launches(cli)] == [[(6, True)], [(6, False)]]
    assert held(launches(cli, "--where", "binary=new")[0]) == [(6, False)]
    assert cli("execute", "exp.yaml", "--resume").returncode == 0
    assert [held(launch) for launch in launches(cli)] == [[(6, True)], [(6, True), (6, False)]]
    new.unlink()
    unverified = launches(cli)[1]
    assert (unverified["verified"], unverified["done"]) == (False, 6)
    assert held(unverified) == [(6, True), (6, False)]


def test_a_changed_library_beside_the_executable_is_another_build(
    cli: CommandLine, write: Write, fake_binary: Path
) -> None:
    """The executable stays the same; the chart shows both builds, the present one first."""
    build(fake_binary, "bin", "one").rename(fake_binary)
    library = fake_binary.parent / "libllama.so"
    library.write_bytes(b"first")
    write(ONE)
    assert cli("execute", "exp.yaml").returncode == 0
    before = launches(cli)[0]["build"]
    library.write_bytes(b"second")
    changed = launches(cli)[0]
    assert changed["build"] != before
    assert changed["why"] == {"server changed": 6}
    assert held(changed) == [(6, False)]
    assert cli("execute", "exp.yaml", "--resume", "--where", "temperature=1").returncode == 0
    found = launches(cli)[0]
    assert held(found) == [(3, True), (6, False)]
    rows = squares(cli, "both")
    assert [(row["column"], row["x"], row.get("count")) for row in rows] == [
        (found["build"][:8], "0.5", None),
        (found["build"][:8], "1", "n=3"),
        (before[:8], "0.5", "n=3"),
        (before[:8], "1", "n=3"),
    ]
    assert len(squares(cli, "present")) == 2


@pytest.mark.parametrize("models", [1, 2])
def test_a_version_that_says_something_is_part_of_the_label(
    cli: CommandLine, write: Write, fake_binary: Path, models: int
) -> None:
    """One server with two models is one column, although a build holds its model."""
    (cli.folder / "other.gguf").write_bytes(b"GGUF" + bytes(65))
    second = ", o: {gguf: other.gguf}" if models == 2 else ""
    write(ONE.replace("model.gguf}", "model.gguf}" + second))
    assert cli("execute", "exp.yaml").returncode == 0
    fake_binary.write_text(fake_binary.read_text() + "# rebuilt\n")
    assert cli("execute", "exp.yaml", "--resume").returncode == 0
    columns = {row["column"] for row in squares(cli, "both")}
    assert len(columns) == 2
    start = "server " if models == 2 else ""
    assert all(re.fullmatch(start + "[0-9a-f]{8} b9626", column) for column in columns)


def test_what_does_not_apply_does_so_under_every_build(
    cli: CommandLine, write: Write, fake_binary: Path
) -> None:
    """Its square is hatched beside each build, not beside a build of its own."""
    write(ONE.replace("models: {m:", "models: {away: {ollama: x}, m:"))
    assert cli("execute", "exp.yaml").returncode == 0
    fake_binary.write_text(fake_binary.read_text() + "# rebuilt\n")
    assert cli("execute", "exp.yaml", "--resume").returncode == 0
    rows = squares(cli, "both")
    assert len({row["column"] for row in rows}) == 2
    states = [row["status"] for row in rows if row["tooltip"]["model"] == "away"]
    assert states == ["not applicable"] * 4


def test_the_plan_prints_the_builds(cli: CommandLine, write: Write, fake_binary: Path) -> None:
    """One line a build, with its version and its trials; the present one is marked."""
    write(ONE)
    assert "holds no trials" in cli("plan", "exp.yaml", "--builds").stdout
    assert cli("execute", "exp.yaml").returncode == 0
    fake_binary.write_text(fake_binary.read_text() + "# rebuilt\n")
    assert cli("execute", "exp.yaml", "--resume", "--where", "temperature=1").returncode == 0
    present, earlier = launches(cli)[0]["builds"]
    printed = cli("plan", "exp.yaml", "--builds").stdout
    assert re.search(rf"{present['build'][:8]} +b9626 +3 +present", printed)
    assert re.search(rf"{earlier['build'][:8]} +b9626 +6 *\n", printed)
