"""Files of users, stores and folders that are not what a command takes them for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.cli.conftest import CommandLine
    from tests.conftest import Write

EXPERIMENT = """
name: demo
trials: 2
backends: {fake: {kind: scripted, replies: [Paris, London]}}
tests:
  - name: capital
    messages: [{role: user, content: "The capital of France?"}]
    expect: [{content: {contains: Paris}}]
"""


@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_what_may_never_end_is_refused_at_once(cli: CommandLine, write: Write, kind: str) -> None:
    """Experiments, replies, results of other tools and stores are files."""
    write(EXPERIMENT)
    name = "x.yaml"
    if kind == "pipe":
        os.mkfifo(cli.folder / name)
    else:
        (cli.folder / name).symlink_to("/dev/zero")
    for words in (
        ("validate", name),
        ("plan", name),
        ("try", "exp.yaml", "--test", "capital", "--reply", name),
        ("import", name),
        ("plan", "exp.yaml", "--store", name),
        ("execute", "exp.yaml", "--store", name),
        ("show", "demo", "--store", name),
    ):
        done = cli(*words)
        assert done.returncode in {2, 5}, (words, done.stderr)
        assert f"it is a {kind}, no file" in done.stderr, words
    assert sorted(path.name for path in cli.folder.iterdir()) == ["exp.yaml", name]


@pytest.mark.parametrize("content", ["", "hello\n", "SQLite format 3\0" + "x" * 200])
def test_beside_what_is_no_store_nothing_is_made(
    cli: CommandLine, write: Write, content: str
) -> None:
    """A mistyped --store leaves the folder of somebody's notes as it was."""
    write(EXPERIMENT)
    (cli.folder / "notes").mkdir()
    notes = cli.folder / "notes" / "notes.txt"
    notes.write_text(content)
    for command in ("execute", "plan", "status", "show", "rank", "export", "chart", "doctor"):
        done = cli(command, "exp.yaml", "--store", "notes/notes.txt")
        assert done.returncode not in {0, 1}, (command, done.stderr)
    line = {"model": "m", "server_name": "s", "test": "weather", "temp": 1, "success_count": 1}
    line |= {"failure_count": 0, "success_times": [1], "failure_times": [], "failures": []}
    (cli.folder / "r.jsonl").write_text(json.dumps(line))
    assert cli("import", "r.jsonl", "--store", "notes/notes.txt").returncode == 5
    assert [path.name for path in notes.parent.iterdir()] == ["notes.txt"]
    assert notes.read_text() == content


def test_outputs_are_whole_or_as_they_were(cli: CommandLine, write: Write) -> None:
    """Drawing over a file takes its place; nothing is left beside it."""
    write(EXPERIMENT)
    cli("execute", "exp.yaml")
    for words, name in (
        (("chart",), "p.svg"),
        (("export",), "c.csv"),
        (("compare", "--baseline", "test=capital"), "c.md"),
    ):
        old = cli.folder / name
        old.write_text("old")
        done = cli(words[0], "exp.yaml", *words[1:], "-o", name)
        assert (old.read_text() == "old") == (done.returncode != 0), done.stderr
    assert not [path for path in cli.folder.iterdir() if path.name.endswith(".part")]


@pytest.mark.process
def test_the_embedded_server_imports_nothing_from_the_present_folder(
    cli: CommandLine, write: Write
) -> None:
    """A file `random.py` beside an experiment is not run by the server."""
    pytest.importorskip("xllamacpp")
    write(
        """
    name: served
    backends: {own: {kind: llama-server}}
    models: {m: {gguf: model.gguf}}
    timeouts: {start_s: 20}
    tests:
      - name: hi
        messages: [{role: user, content: hi}]
        expect: [{content: {matches: .}}]
    """
    )
    (cli.folder / "model.gguf").write_bytes(b"GGUF" + bytes(64))
    for name in ("random", "json", "xllamacpp", "signal", "sitecustomize"):
        (cli.folder / f"{name}.py").write_text(
            f"open({str(cli.folder / 'ran')!r}, 'a').write({name!r})\nraise SystemExit(3)\n"
        )
    # As the installed script does: its own folder is the first of the import path, not this one.
    command = [sys.executable, "-P", *cli.command("execute", "exp.yaml")[1:]]
    environment = {**cli.environment, "PATH": "/usr/bin:/bin", "LLAMA_SERVER_BIN_PATH": ""}
    done = subprocess.run(
        command, cwd=cli.folder, env=environment, capture_output=True, text=True, check=False
    )
    assert "given up" in done.stderr, done.stderr
    assert not (cli.folder / "ran").exists(), (cli.folder / "ran").read_text()
