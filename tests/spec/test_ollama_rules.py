"""What is wrong with a backend of kind `ollama` is told with its place, before any work."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from matrixbench.backends.ollama.backend import OllamaBackend
from matrixbench.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Load

BASE = """
name: demo
backends:
  o: {{kind: ollama{}}}
models: {{a: {{ollama: small}}}}
tests:
  - {{name: hi, messages: [{{role: user, content: hi}}], expect: [{{content: {{contains: a}}}}]}}
"""


@pytest.mark.parametrize(
    ("keys", "told", "hint"),
    [
        ("options: {kv-cache-typ: f16}", "no option «kv-cache-typ»", "kv-cache-type"),
        ("options: {flash-attention: auto}", "expected on or off", ""),
        ("options: {num_gpu: []}", "the axis «num_gpu» is empty", ""),
        ("env: {OLLAMA_HOST: x}", "«OLLAMA_HOST» is not given here", "chooses the port"),
        ("env: {OLLAMA_KV_CACHE_TYPE: x}", "is not given here", "options: {kv-cache-type"),
        ("url: 'http://h', binary: /x", "is not started here: binary", "leave url out"),
        ("url: 'http://h', models_dir: /x", "is not started here: models_dir", "leave url out"),
        ("url: 'http://h', options: {kv-cache-type: f16}", "belongs to the whole server", "set"),
        ("pull: always", "pull", "missing"),
    ],
)
def test_mistakes(load: Load, keys: str, told: str, hint: str) -> None:
    """Each is one problem, at its line, with the way out."""
    with pytest.raises(SpecError) as caught:
        load(BASE.format(f", {keys}"))
    (problem,) = caught.value.problems
    assert told in problem.message
    assert hint in problem.hint
    assert ":4:" in problem.where


def test_paths_and_urls_expand(load: Load) -> None:
    """The models' folder and the executable are relative to the file."""
    experiment = load(BASE.format(", binary: bin/ollama, models_dir: models"))
    backend = experiment.file.backends["o"]
    assert isinstance(backend, OllamaBackend)
    assert backend.binary == str(experiment.path.parent / "bin/ollama")
    assert backend.models_dir == str(experiment.path.parent / "models")


def test_load_options_of_an_attached_server(load: Load) -> None:
    """They travel with the requests, so that a server that runs already can be given them."""
    load(BASE.format(", url: 'http://h', options: {num_gpu: [0, 99]}"))


@pytest.mark.parametrize(
    ("option", "hint"),
    [
        ("ngl", "write num_gpu"),
        ("n-gpu-layers", "write num_gpu"),
        ("fa", "write flash-attention"),
        ("cache-type-k", "write kv-cache-type"),
        ("OLLAMA_FLASH_ATTENTION", "write flash-attention"),
        ("num_ctx", "say it with the backend's `context:`"),
        ("num_parallel", "say it with the backend's `slots:`"),
        ("num_predict", "say it with `max_tokens:`"),
        ("temperature", "say it under `sampling:`, as temperature"),
        ("num_gpus", "perhaps you meant «num_gpu»"),
    ],
)
def test_an_option_by_another_name(
    problems: Callable[[str], list[str]], option: str, hint: str
) -> None:
    """What llama.cpp and Ollama's own variables call it leads to the name here."""
    tests = "tests: [{name: t, messages: [{role: user, content: x}], expect: [content: x]}]"
    backends = f"backends: {{o: {{kind: ollama, options: {{{option}: 1}}}}}}"
    (told,) = problems(f"name: x\n{backends}\n{tests}\n")
    assert f"ollama has no option «{option}»\n  {hint}" in told
