"""The two lines that reproduce a trial, for each kind of backend; they are run."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from matrixbench.backends.process import free_port
from tests.cli.conftest import FAKE_SERVER, ROOT, CommandLine

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import Write

OLLAMA = """
name: demo
trials: 2
canary: false
backends:
  o:
    kind: ollama
    binary: ./ollama
    context: 512
    models_dir: models
    options: {kv-cache-type: q8_0, num_gpu: 0}
    env: {FAKE_LIBRARY: "small:1b", MY_TOKEN: hidden-value}
models: {m: MODEL}
sampling: {temperature: [0.7]}
tests:
  - {name: t, messages: [{role: user, content: "it's 5 o'clock"}], expect: []}
"""

COMMAND = f"""
name: demo
trials: 2
backends:
  own:
    kind: command
    argv: [{sys.executable}, "{FAKE_SERVER}", "--port={{{{ port }}}}", "--model={{{{ model }}}}"]
    env: {{MY_FLAG: "1 2", HF_TOKEN: hidden-value}}
models: {{m: {{gguf: model.gguf}}}}
sampling: {{temperature: [0.7]}}
tests:
  - {{name: t, messages: [{{role: user, content: "it's 5 o'clock"}}], expect: []}}
"""


@contextmanager
def serving(cli: CommandLine, line: str, url: str) -> Iterator[None]:
    """Run a line in a shell until its server answers, and end it afterwards."""
    with subprocess.Popen(["/bin/sh", "-c", f"exec env {line}"], cwd=cli.folder) as running:
        try:
            for _ in range(600):
                try:
                    urllib.request.urlopen(url, timeout=30).close()
                    break
                except urllib.error.HTTPError:
                    break
                except OSError:
                    time.sleep(0.05)
            yield
        finally:
            running.terminate()


def answer(line: str) -> dict[str, Any]:
    """Return what a curl line gets."""
    words = shlex.split(line)
    assert words[:2] == ["curl", "-sS"]
    headers = {"Content-Type": "application/json"}
    asked = urllib.request.Request(words[2], words[-1].encode(), headers)
    with urllib.request.urlopen(asked, timeout=60) as reply:
        found: dict[str, Any] = json.load(reply)
    return found


def ollama(cli: CommandLine, write: Write, model: str) -> None:
    """Run the experiment on the stand-in for Ollama."""
    binary = cli.folder / "ollama"
    program = ROOT / "tests" / "fake_ollama.py"
    binary.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{program}" "$@"\n')
    binary.chmod(0o755)
    (cli.folder / "model.gguf").write_bytes(b"GGUF" + bytes(64))
    write(OLLAMA.replace("MODEL", model))
    done = cli("execute", "exp.yaml")
    assert done.returncode == 0, done.stderr


def test_ollamas_lines_give_the_same_reply(cli: CommandLine, write: Write) -> None:
    """Settings as variables, its own API, the seed, and no secret; both lines run as they are."""
    ollama(cli, write, '{ollama: "small:1b"}')
    told = cli("show", "exp.yaml", "--trial", "1").stdout
    assert "hidden-value" not in told
    *_, server, request = told.splitlines()
    assert 'MY_TOKEN="$MY_TOKEN"' in server
    assert "OLLAMA_KV_CACHE_TYPE=q8_0" in server
    port = str(free_port())
    server, request = (line.replace("11435", port) for line in (server, request))
    body = json.loads(shlex.split(request)[-1])
    assert body["options"]["seed"] == 141_997_390
    assert body["options"]["num_gpu"] == 0
    with serving(cli, server, f"http://127.0.0.1:{port}/api/version"):
        said = answer(request)["message"]["content"]
    replies = json.loads(cli("show", "exp.yaml", "--json").stdout)["cells"][0]["replies"]
    assert said == next(reply["content"] for reply in replies if 1 in reply["trials"])


def test_a_model_that_was_made_for_the_run_is_said_to_be(cli: CommandLine, write: Write) -> None:
    """Ollama has no such model any more: what has to be done before is said."""
    ollama(cli, write, "{gguf: model.gguf}")
    told = cli("show", "exp.yaml", "--trial", "0").stdout
    assert "# the model was made for the run" in told
    assert json.loads(shlex.split(told.splitlines()[-1])[-1])["model"] == "m"


def test_a_path_in_ollamas_options_is_the_one_that_it_got(cli: CommandLine, write: Write) -> None:
    """A path that the file marks is absolute in the variable, as it was for the server."""
    (cli.folder / "library").write_text("x")

    def with_file(text: str, name: str = "exp.yaml") -> Path:
        return write(text.replace("num_gpu: 0", "llm-library: {file: ./library}"), name)

    ollama(cli, with_file, '{ollama: "small:1b"}')
    told = cli("show", "exp.yaml", "--trial", "1").stdout
    assert f"OLLAMA_LLM_LIBRARY={cli.folder}/library" in told


def test_a_command_lines_server_is_started_again(cli: CommandLine, write: Write) -> None:
    """With its variables and its port, however the command line writes it."""
    (cli.folder / "model.gguf").write_bytes(b"GGUF" + bytes(64))
    write(COMMAND)
    assert cli("execute", "exp.yaml").returncode == 0
    told = cli("show", "exp.yaml", "--trial", "1").stdout
    assert "hidden-value" not in told
    *_, server, request = told.splitlines()
    assert server.startswith("MY_FLAG='1 2' HF_TOKEN=\"$HF_TOKEN\" ")
    url = shlex.split(request)[2]
    assert json.loads(shlex.split(request)[-1])["seed"] == 141_997_390
    with serving(cli, server, url.replace("/v1/chat/completions", "/health")):
        assert answer(request)["choices"][0]["message"]["role"] == "assistant"
