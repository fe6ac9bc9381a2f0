"""`matrixbench doctor`: what it sees of this machine, and what it says to do."""

from __future__ import annotations

import json
import socket
import stat
import sys
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING

import pytest

from matrixbench.backends.ollama.backend import ollama_url
from matrixbench.doctor.machine import size
from tests.cli.conftest import CommandLine, left_behind

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import Write

TESTS = """
tests:
  - {name: hi, messages: [{role: user, content: hi}], expect: []}
"""


@pytest.fixture
def quiet(cli: CommandLine, tmp_path: Path) -> CommandLine:
    """Return the command line with an empty PATH, so that what this machine has does not matter."""
    (tmp_path / "bin").mkdir()
    env = {"PATH": str(tmp_path / "bin"), "OLLAMA_HOST": f"127.0.0.1:{free_port()}"}
    return replace(cli, env=env | {"LLAMA_SERVER_BIN_PATH": ""})


def free_port() -> int:
    """Return a port on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def program(folder: Path, name: str, text: str) -> Path:
    """Write a shell script that can be executed."""
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def examined(cli: CommandLine, *words: str) -> tuple[int, dict[str, list[dict[str, str]]]]:
    """Return the exit code, and what was looked at → what was found."""
    done = cli("doctor", *words, "--json")
    found: dict[str, list[dict[str, str]]] = {}
    for finding in json.loads(done.stdout):
        found.setdefault(finding["what"], []).append(finding)
    return done.returncode, found


def levels(found: dict[str, list[dict[str, str]]]) -> dict[str, str]:
    """Return what was looked at → the level of the last finding."""
    return {what: several[-1]["level"] for what, several in found.items()}


def test_without_a_file_the_usual_things_are_looked_at(quiet: CommandLine) -> None:
    """What may not be needed is at most a warning, so the exit code is 0."""
    code, found = examined(quiet)
    assert code == 0
    told = levels(found)
    assert {what for what, level in told.items() if level == "ok"} >= {
        *("software", "GPU", "ports", "store", "cache", "disk"),
    }
    assert (told["ollama"], told["ollama server"]) == ("warning", "warning")
    assert "matrixbench" in found["software"][0]["found"]


def test_every_line_has_a_level_and_what_is_wrong_a_way_out(
    quiet: CommandLine, write: Write
) -> None:
    """A line for what was found, and one below it for what to do."""
    write("name: x\nbackends: {a: {kind: command, argv: [no-such, '{{ port }}']}}" + TESTS)
    done = quiet("doctor", "exp.yaml")
    assert done.returncode == 4
    lines = done.stdout.splitlines()
    assert all(line[:8].strip() in {"ok", "warning", "problem", ""} for line in lines)
    place = next(i for i, line in enumerate(lines) if line.startswith("problem"))
    assert lines[place] == "problem  backend a: no program «no-such» was found on PATH"
    assert lines[place + 1].startswith("         -> install it")


@pytest.mark.usefixtures("fake_binary")
def test_servers_and_models_of_a_file_are_found(quiet: CommandLine, write: Write) -> None:
    """Each binary with its build and version, each model with its size; nothing is started."""
    write(
        """
        name: x
        backends:
          a: {kind: llama-server, binary: {old: ./llama-server, new: ./nowhere}}
          b: {kind: command, argv: [./llama-server, "{{ port }}", "{{ model }}"]}
          c: {kind: scripted, replies: [x]}
        models:
          here: {gguf: model.gguf}
          gone: {gguf: "{size}.gguf", axes: {size: [1, 2]}}
          hub: {hf: "org/repo:Q4_K_M"}
        tests: [{name: hi, messages: [{role: user, content: hi}], expect: []}]
        """
    )
    code, found = examined(quiet, "exp.yaml")
    assert code == 4
    told = levels(found)
    assert told["backend a old"] == "ok"
    assert "version 0.6.0-dev" in found["backend a old"][0]["found"]
    assert told["backend a new"] == "problem"
    assert "nowhere: there is no such file" in found["backend a new"][0]["found"]
    assert (told["backend b"], told["backend c"]) == ("ok", "ok")
    assert "model.gguf is here, 0 kB" in found["model here"][0]["found"]
    assert told["model here"] == "ok"
    assert (told["model gone size=1"], told["model gone size=2"]) == ("problem", "problem")
    assert told["model hub"] == "warning"
    assert "execute fetches it" in found["model hub"][0]["todo"]
    assert left_behind(quiet.folder) == []
    assert not (quiet.folder / ".matrixbench").exists()


def test_a_model_that_no_backend_takes_as_a_file_is_not_asked_for(
    quiet: CommandLine, write: Write
) -> None:
    """A command line that names the id alone needs no file."""
    argv = f"['{sys.executable}', '{{{{ port }}}}', '{{{{ model_id }}}}']"
    models = "models: {m: {id: org/m, hf: org/m}}\n"
    write(f"name: x\nbackends: {{a: {{kind: command, argv: {argv}}}}}\n{models}{TESTS}")
    code, found = examined(quiet, "exp.yaml")
    assert code == 0
    assert not [what for what in found if what.startswith("model")]


def test_an_endpoint_s_key_is_looked_for_and_never_shown(quiet: CommandLine, write: Write) -> None:
    """The variable is named; its value is not printed."""
    write(
        "name: x\nbackends:\n"
        "  near: {kind: endpoint, url: 'http://127.0.0.1:1/v1'}\n"
        "  far: {kind: endpoint, url: 'https://example.test/v1', api_key_env: FAR_KEY}\n"
        "models: {m: {id: x}}" + TESTS
    )
    code, found = examined(quiet, "exp.yaml")
    assert code == 4
    assert levels(found)["backend near"] == "problem"
    assert "FAR_KEY is not set" in found["backend far"][0]["found"]
    key = "sk-very-secret-0123456789"
    keyed = replace(quiet, env=quiet.env | {"FAR_KEY": key})
    done = keyed("doctor", "exp.yaml")
    assert "FAR_KEY is set; not asked: it is not on this machine" in done.stdout
    assert key not in done.stdout + done.stderr


class Ollama(BaseHTTPRequestHandler):
    """Answers as Ollama does."""

    def do_GET(self) -> None:
        """Say a version."""
        body = json.dumps({"version": "0.99.1"}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def ollama() -> Iterator[int]:
    """Serve as Ollama does, and yield the port."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Ollama)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()


def test_an_ollama_that_answers_says_its_version(quiet: CommandLine, write: Write) -> None:
    """At OLLAMA_HOST, and at a backend's url, where its absence is a problem; no proxy is asked."""
    with ollama() as port:
        url = f"http://127.0.0.1:{port}"
        write(f"name: x\nbackends: {{a: {{kind: ollama, url: '{url}'}}}}\n" + TESTS)
        env = {"OLLAMA_HOST": f"0.0.0.0:{port}", "http_proxy": "http://127.0.0.1:1"}
        _, found = examined(replace(quiet, env=quiet.env | env), "exp.yaml")
        assert "version 0.99.1" in found["backend a"][0]["found"]
        assert "version 0.99.1" in found["ollama server"][0]["found"]
    code, found = examined(quiet, "exp.yaml")
    assert code == 4
    assert levels(found)["backend a"] == "problem"
    assert "ollama serve" in found["backend a"][0]["todo"]


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("", "http://127.0.0.1:11434"),
        ("0.0.0.0", "http://127.0.0.1:11434"),  # noqa: S104  only read
        (":8000", "http://127.0.0.1:8000"),
        ("http://localhost:9", "http://localhost:9"),
        ("[::1]:9", "http://[::1]:9"),
        ("far.example", "http://far.example:11434"),
        ("x:y", "http://127.0.0.1:11434"),
    ],
)
def test_ollama_s_address_is_read_as_ollama_reads_it(host: str, url: str) -> None:
    """Any part may be missing, and «anywhere» is asked on loopback."""
    assert ollama_url(host) == url


@pytest.mark.parametrize(
    ("script", "level", "said"),
    [
        ("echo 'Fake 9000, 10 MiB, 20 MiB, 555.1'", "ok", "Fake 9000, 10 MiB of 20 MiB free"),
        ("exit 9", "warning", "nvidia-smi fails"),
        ("exit 0", "warning", "lists none"),
    ],
)
def test_gpus_are_those_that_nvidia_smi_lists(
    quiet: CommandLine, script: str, level: str, said: str
) -> None:
    """A tool that fails is a warning: the run may not need a GPU."""
    program(quiet.folder / "bin", "nvidia-smi", script)
    _, found = examined(quiet)
    assert (found["GPU"][0]["level"], said in found["GPU"][0]["found"]) == (level, True)


def test_a_store_that_cannot_be_written_is_a_problem(quiet: CommandLine) -> None:
    """A folder that refuses files, and a file that is no store, are said with the way out."""
    code, found = examined(quiet, "--store", "/proc/here/results.db")
    assert code == 4
    assert found["store"][0]["level"] == "problem"
    assert "--store" in found["store"][0]["todo"]
    (quiet.folder / "other.db").write_text("no store")
    code, found = examined(quiet, "--store", "other.db")
    assert code == 4
    assert [finding["level"] for finding in found["store"]] == ["ok", "problem"]
    assert (quiet.folder / "other.db").read_text() == "no store"


def test_a_cache_that_cannot_be_written_is_a_problem(quiet: CommandLine) -> None:
    """The variable that moves it is named."""
    (quiet.folder / "cache").write_text("a file where the folder would be")
    elsewhere = replace(quiet, env=quiet.env | {"MATRIXBENCH_CACHE": "/proc/cache"})
    code, found = examined(elsewhere)
    assert code == 4
    assert "$MATRIXBENCH_CACHE" in found["cache"][0]["todo"]


def test_a_wrong_file_is_exit_2(quiet: CommandLine, write: Write) -> None:
    """As everywhere: with its place."""
    write("name: x\nbackend: {}\n")
    done = quiet("doctor", "exp.yaml")
    assert done.returncode == 2
    assert "exp.yaml:2:1" in done.stderr


def test_sizes_are_said_in_powers_of_ten() -> None:
    """Kilobytes, megabytes and gigabytes."""
    assert [size(count) for count in (0, 40_000, 812_000_000, 4_700_000_000)] == [
        *("0 kB", "40 kB", "812 MB", "4.7 GB"),
    ]
