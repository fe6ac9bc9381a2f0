"""A real Ollama: started here, and one that runs already. They need `ollama` on PATH or OLLAMA_BIN.

No model is pulled: a small file is given to it through a throw-away tag, into an empty folder.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING

import pytest

from matrixbench.backends.ollama.model import NAMESPACE
from matrixbench.backends.process import free_port
from matrixbench.execution.settings import settings_for
from matrixbench.gated import execute
from matrixbench.records import Outcome
from matrixbench.spec.load import load_experiment

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from matrixbench.execution.settings import RunSummary
    from tests.conftest import Write

BINARY = os.environ.get("OLLAMA_BIN") or shutil.which("ollama")
START_S = 60.0

pytestmark = [
    pytest.mark.ollama,
    pytest.mark.skipif(BINARY is None, reason="no ollama on PATH, and OLLAMA_BIN is not set"),
]

TEMPLATE = """{{- range .Messages }}{{ if eq .Role "system" }}<|im_start|>system
{{ .Content }}
{{- if $.Tools }}
These tools can be called:
{{- range $.Tools }}
{{ . }}
{{- end }}
To call one, answer with {"name": ..., "arguments": {...}} within <tool_call></tool_call>.
{{- end }}<|im_end|>
{{ else if eq .Role "tool" }}<|im_start|>user
<tool_response>{{ .Content }}</tool_response><|im_end|>
{{ else }}<|im_start|>{{ .Role }}
{{ .Content }}
{{- range .ToolCalls }}
<tool_call>{"name": "{{ .Function.Name }}", "arguments": {{ .Function.Arguments }}}</tool_call>
{{- end }}<|im_end|>
{{ end }}{{ end }}<|im_start|>assistant
"""
EXPERIMENT = """
name: real-ollama
trials: 2
backends:
  o: {{kind: ollama, context: 2048, {backend}}}
models: {{small: {{gguf: {gguf}}}}}
chat_templates: {{{templates}}}
sampling: {{temperature: 0.7}}
max_tokens: 48
tests: [{tests}]
"""
LONG_TEST = (
    "{name: long, messages: [{role: user, content: 'Remember 7.'}, {role: user, content: "
    f"'{'word ' * 2500}'}}], expect: [{{content: {{contains: word}}}}]}}"
)


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """Return an empty folder for models, and have no home but an empty one."""
    (tmp_path / "home").mkdir()
    return tmp_path / "models"


@pytest.fixture
def attached(models: Path, tmp_path: Path) -> Iterator[str]:
    """Run a server that is somebody else's, and return its url."""
    port = free_port()
    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path / "home"),
        "OLLAMA_HOST": f"127.0.0.1:{port}",
        "OLLAMA_MODELS": str(models),
        "OLLAMA_NO_CLOUD": "1",
    }
    url = f"http://127.0.0.1:{port}"
    with (tmp_path / "attached.log").open("w") as log:
        argv = [str(BINARY), "serve"]
        with subprocess.Popen(argv, env=env, stdout=log, stderr=log) as process:
            _wait_for(f"{url}/api/version", process)
            yield url
            process.terminate()


def _wait_for(page: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            urllib.request.urlopen(page).close()
        except urllib.error.URLError:
            time.sleep(0.05)  # nothing tells when the port is open
        else:
            return
    pytest.fail("the server does not answer")


def page(url: str) -> str:
    """Return a page's text."""
    with urllib.request.urlopen(url) as answer:
        return str(answer.read().decode())


def files_in(folder: Path) -> list[Path]:
    """Return every file under a folder."""
    return [path for path in folder.rglob("*") if path.is_file()]


async def run(
    write: Write, models: Path, gguf: Path, *, url: str = "", tests: str, templates: str
) -> RunSummary:
    """Run an experiment against a server of our own, or the one at a url."""
    managed = f"binary: '{BINARY}', models_dir: '{models}'"
    backend = f"url: '{url}'" if url else managed
    text = EXPERIMENT.format(backend=backend, gguf=gguf, tests=tests, templates=templates)
    environ = {"PATH": os.environ["PATH"], "HOME": str(models.parent / "home")}
    experiment = load_experiment(write(text), environ=environ)
    return await execute(experiment, settings_for(experiment, environ))


async def test_managed_tool_calls(write: Write, models: Path, smollm2_path: Path) -> None:
    """The three tool tests are judged, and neither a tag nor a blob of ours is left."""
    write(TEMPLATE, "tools.gotmpl")
    summary = await run(
        write,
        models,
        smollm2_path,
        tests="{suite: tool-calling}",
        templates="tools: {ollama_file: tools.gotmpl}",
    )
    assert summary.ran == 6
    assert set(summary.outcomes) <= {Outcome.PASSED, Outcome.FAILED}
    assert summary.failed_launches == {}
    assert files_in(models) == []


async def test_attached_tool_calls(
    write: Write, models: Path, smollm2_path: Path, attached: str
) -> None:
    """The same against a server that runs already, which keeps none of our tags."""
    write(TEMPLATE, "tools.gotmpl")
    summary = await run(
        write,
        models,
        smollm2_path,
        url=attached,
        tests="{suite: tool-calling}",
        templates="tools: {ollama_file: tools.gotmpl}",
    )
    assert summary.ran == 6
    assert set(summary.outcomes) <= {Outcome.PASSED, Outcome.FAILED}
    assert NAMESPACE not in page(f"{attached}/api/tags")
    assert json.loads(page(f"{attached}/api/ps")) == {"models": []}


async def test_a_long_prompt_is_rejected(write: Write, models: Path, smollm2_path: Path) -> None:
    """Ollama cuts it silently unless it is told not to; it counts, once, as the request's fault."""
    summary = await run(write, models, smollm2_path, tests=LONG_TEST, templates="native: {}")
    assert summary.outcomes == {Outcome.REJECTED: 1}


async def test_tools_without_a_place_in_the_template(
    write: Write, models: Path, smollm2_path: Path
) -> None:
    """The template that Ollama chooses for this file knows no tools: each test is rejected once."""
    summary = await run(
        write, models, smollm2_path, tests="{suite: tool-calling}", templates="native: {}"
    )
    assert summary.outcomes == {Outcome.REJECTED: 3}
