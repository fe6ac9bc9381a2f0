"""What users and servers write comes to every output, and none of it does harm there.

Each text that somebody else may choose holds every control character at once: an axis's values, the
names of all things, replies, reasons, the log of a server that does not start, imported lines.
"""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from matrixbench.charts import draw, save
from tests.properties import examples
from tests.results.cells import table
from tests.test_safe_text import unsafe

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import CommandLine

CONTROLS = (
    "".join(
        map(
            chr,
            [*range(1, 0x20), *range(0x7F, 0xA0), *range(0x2028, 0x202F), *range(0x2066, 0x206A)],
        )
    )
    + "\ufeff\ufffe\uffff\u200b\u200e"
)
FORGED = "error: forged"
BAD = f"=a{CONTROLS}z\n{FORGED}\n"
"""Also what a spreadsheet takes for a formula, and a line that looks like one of ours."""

WORSE = f"{BAD}\0\ud800"
"""What only servers can say: an experiment file has no half characters and no NUL."""


def experiment(folder: Path, bad: str = BAD) -> None:
    """Write an experiment whose texts are all bad, with a server that does not start."""
    server = folder / "llama-server"
    server.write_text(
        f"#!/bin/sh\nprintf '%b\\n' '\\033]0;owned\\007 error: {CONTROLS[1:10]}' >&2\nexit 1\n"
    )
    server.chmod(0o755)
    (folder / "model.gguf").write_bytes(b"GGUF" + bytes(64))
    data = {
        "name": "bad",
        "trials": 2,
        "backends": {
            "one": {"kind": "scripted", "replies": [bad, "fine"]},
            "two": {
                "kind": "scripted",
                "replies": [{"tool_calls": [{"name": bad, "arguments": {bad: bad}}]}],
            },
        },
        "sampling": {"temperature": [1]},
        "request": {"user": [bad, f"{bad}2"]},
        "charts": {"heatmap": {"title": bad}, "other": {"x": "request.user"}},
        "tests": [
            {
                "name": "t{{ p|string|length }}",
                "parameters": {"p": [bad, 2]},
                "messages": [{"role": "user", "content": bad}],
                "expect": [{"content": {"equals": bad}}],
            }
        ],
    }
    (folder / "exp.yaml").write_text(json.dumps(data))
    data["name"] = "dead"
    data["backends"] = {"dead": {"kind": "llama-server", "binary": "./llama-server"}}
    data["models"] = {"m": {"gguf": "model.gguf"}}
    (folder / "dead.yaml").write_text(json.dumps(data))


def lines(text: str) -> None:
    """Assert that a terminal obeys nothing of a text but its line breaks."""
    assert not unsafe(text, kept="\n\t"), unsafe(text, kept="\n\t")


def printed(text: str) -> None:
    """Assert the same, and that no line is what somebody else's text says it is."""
    lines(text)
    assert not [line for line in text.splitlines() if line.startswith(FORGED)], text


def test_every_output_of_a_bad_experiment_is_safe(cli: CommandLine) -> None:
    """Terminals, pictures, CSV, JSON lines, Markdown: all are drawn, and none has a bad sign."""
    experiment(cli.folder)
    done = cli("execute", "exp.yaml")
    assert done.returncode in {0, 7}, done.stderr
    printed(done.stdout + done.stderr)
    words = [
        ("plan", "exp.yaml", "--cells"),
        ("plan", "exp.yaml", "--json", "--cells"),
        ("validate", "exp.yaml"),
        ("status", "exp.yaml"),
        ("status", "exp.yaml", "--json"),
        ("show", "exp.yaml"),
        ("show", "exp.yaml", "--distinct"),
        ("show", "exp.yaml", "--json"),
        ("rank", "exp.yaml", "--by", "request.user"),
        ("rank", "exp.yaml", "--json"),
        ("compare", "exp.yaml", "--baseline", "backend=one", "-o", "c.md"),
        ("compare", "exp.yaml", "--baseline", "backend=one", "--json", "-o", "c.svg"),
        ("export", "exp.yaml", "--format", "csv"),
        ("export", "exp.yaml", "--format", "csv", "--trials"),
        ("export", "exp.yaml", "--format", "jsonl", "--trials"),
        ("export", "exp.yaml", "--format", "tool-bench"),
        ("try", "exp.yaml", "--test", "t1"),
        ("try", "exp.yaml", "--test", "t1", "--json"),
        *(("chart", "exp.yaml", "-o", f"p.{kind}") for kind in ("png", "svg", "html", "json")),
        ("chart", "exp.yaml", "-o", "d.svg", "--baseline", "backend=one"),
    ]
    for command in words:
        done = cli(*command)
        assert done.returncode == 0, (command, done.stderr)
        check = lines if command[0] == "export" else printed
        check(done.stdout + done.stderr)
    for written in cli.folder.glob("?*.*.svg"):
        ET.fromstring(written.read_text())  # noqa: S314  our own
    for written in [*cli.folder.glob("*.json"), *cli.folder.glob("*.svg"), cli.folder / "c.md"]:
        lines(written.read_text())


ONE_CELL = "backend=two and request.user=~2 and parameters.p=~first"
PRINTING = (
    ("plan", "exp.yaml"),
    ("plan", "exp.yaml", "--cells"),
    ("plan", "exp.yaml", "--where", "request.user=~a"),
    ("execute", "exp.yaml"),
    ("validate", "exp.yaml"),
    ("status", "exp.yaml"),
    ("show", "exp.yaml"),
    ("show", "exp.yaml", "--distinct"),
    ("show", "exp.yaml", "--launch"),
    ("show", "exp.yaml", "--trial", "0", "--where", ONE_CELL),
    ("rank", "exp.yaml", "--by", "request.user"),
    ("rank", "exp.yaml", "--by", "test,request.user"),
    ("compare", "exp.yaml", "--baseline", "backend=one"),
    ("compare", "exp.yaml", "--baseline", "backend=one", "--by", "test"),
    ("try", "exp.yaml", "--test", "t*"),
)
"""Every command that prints what somebody else wrote, for people."""


@settings(
    max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    signs=st.text(st.sampled_from(f"ab \t\n{CONTROLS}"), max_size=12),
    columns=st.sampled_from(["40", "80", "120", "200"]),
)
def test_no_text_moves_the_cursor_or_forges_a_line(
    cli: CommandLine, signs: str, columns: str
) -> None:
    """Whatever names, values, prompts and replies hold, on a terminal of any width."""
    experiment(cli.folder, f"first{signs}\n{FORGED}\n{signs}\r\n{FORGED}\x85{FORGED}")
    (cli.folder / ".matrixbench" / "results.db").unlink(missing_ok=True)
    wide = replace(cli, env={"COLUMNS": columns})
    for command in PRINTING:
        done = wide(*command)
        assert done.returncode in {0, 3, 7}, (command, done.stderr)
        printed(done.stdout + done.stderr)


@pytest.mark.parametrize("command", ["execute", "try", "status", "show", "plan"])
def test_a_servers_log_is_no_command_to_the_terminal(cli: CommandLine, command: str) -> None:
    """What a server wrote before it died is told by `execute` and `try`, and obeyed by nobody."""
    experiment(cli.folder)
    if command not in {"execute", "try"}:
        cli("execute", "dead.yaml")
    test = ["--test", "t1"] if command == "try" else []
    done = cli(command, "dead.yaml", *test)
    assert done.returncode != 1, done.stderr
    printed(done.stdout + done.stderr)
    if command in {"execute", "try"}:
        assert "\\x1b]0;owned\\x07" in done.stderr


def test_no_cell_of_a_table_is_a_formula(cli: CommandLine) -> None:
    """CSV is read back whole, its columns' names too, and no cell is computed."""
    experiment(cli.folder)
    cli("execute", "exp.yaml")
    for trials in ([], ["--trials"]):
        done = cli("export", "exp.yaml", "--format", "csv", *trials)
        rows = list(csv.reader(io.StringIO(done.stdout, newline="")))
        assert len({len(row) for row in rows}) == 1
        for row in rows[1:]:
            assert not [cell for cell in row if cell.startswith(("=", "@", "\t", "\r"))]


def test_imported_lines_are_drawn(cli: CommandLine) -> None:
    """What another tool wrote is as bad; half a character is replaced or escaped."""
    line = {
        "model": WORSE, "server_name": WORSE, "test": WORSE, "temp": 1.0, "success_ratio": 0.5,
        "success_count": 1, "failure_count": 1, "success_times": [1.0], "failure_times": [1.0],
        "failures": [WORSE],
    }  # fmt: skip
    other = {**line, "model": f"{WORSE}2", "server_name": f"2{WORSE}"}
    (cli.folder / "theirs.jsonl").write_text(f"{json.dumps(line)}\n{json.dumps(other)}\n")
    for words in (
        ("import", "theirs.jsonl", "--name", "theirs"),
        ("show", "theirs"),
        ("rank", "theirs"),
        ("export", "theirs", "--format", "jsonl"),
        ("export", "theirs", "--format", "csv"),
        ("chart", "theirs", "-o", "p.png"),
        ("chart", "theirs", "-o", "p.html"),
        ("chart", "theirs", "-o", "p.svg"),
    ):
        done = cli(*words)
        assert done.returncode == 0, (words, done.stderr)
        lines(done.stdout + done.stderr)


NASTY = st.text(st.sampled_from("\\x01a" + CONTROLS + "\ud800"), max_size=4)
"""Escapes as texts too: what was escaped may read like what was not."""


@settings(examples(6), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=st.lists(NASTY, min_size=1, max_size=16, unique=True), text=NASTY)
def test_any_values_of_axes_are_drawn(tmp_path: Path, values: list[str], text: str) -> None:
    """Each value keeps its own column, whatever is escaped, and the SVG is XML."""
    frame = table({"test": values, "model": [f"{text}{value}" for value in values]})
    drawn = draw(frame, title=text)
    spec = drawn.to_dict()
    (rows,) = spec["datasets"].values() if "datasets" in spec else (spec["data"]["values"],)
    assert len({row["x"] for row in rows}) == len(values)
    save(drawn, tmp_path / "p.svg")
    ET.parse(tmp_path / "p.svg")  # noqa: S314  our own
    lines((tmp_path / "p.svg").read_text())
