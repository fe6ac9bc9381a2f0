"""Ollama's names, environment, files and log, without a server."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from matrixbench.backends.build import FileHashes
from matrixbench.backends.ollama.backend import OllamaBackend
from matrixbench.backends.ollama.model import (
    Owner,
    find_digest,
    left_behind,
    manifest_path,
    template_source,
    throw_away_tag,
)
from matrixbench.backends.ollama.server import (
    drop_blob,
    models_folder,
    ollama_environment,
    runner_settings,
    server_digest,
)
from matrixbench.errors import ServerError

BACKEND = OllamaBackend(kind="ollama", context=8192, slots=2, loaded_models=3)


@pytest.mark.parametrize(
    ("tag", "path"),
    [
        ("qwen2.5", "registry.example/library/qwen2.5/latest"),
        ("qwen2.5:7b", "registry.example/library/qwen2.5/7b"),
        ("someone/model:x", "registry.example/someone/model/x"),
        ("hf.co/org/repo:Q4_K_M", "hf.co/org/repo/Q4_K_M"),
    ],
)
def test_where_a_manifest_is(tag: str, path: str, tmp_path: Path) -> None:
    """A short name is of the library of whichever registry has it, without a tag the latest."""
    assert not manifest_path(tmp_path, tag).exists()
    there = tmp_path / "manifests" / path
    there.parent.mkdir(parents=True)
    there.touch()
    assert manifest_path(tmp_path, tag) == there


def test_names_have_no_case() -> None:
    """A tag is found as it is listed, whatever its case."""
    listed = {"Small:1b": "aa", "other:latest": "bb"}
    assert find_digest("small:1B", listed) == "aa"
    assert find_digest("other", listed) == "bb"
    assert find_digest("small", listed) is None


@given(pid=st.integers(1, 2**22), started=st.integers(0, 2**40))
def test_a_throw_away_tag_tells_its_owner(pid: int, started: int) -> None:
    """Only tags of processes that are gone from this machine are left behind."""
    here = Owner.this()
    tag = throw_away_tag("f" * 24, replace(here, pid=pid, started=started))
    alive = pid == here.pid and started == here.started
    assert not (alive and left_behind([tag]))
    assert left_behind([throw_away_tag("f" * 24, replace(here, host="elsewhere"))]) == []
    assert left_behind([throw_away_tag("f" * 24, here)]) == []


def test_an_owner_whose_number_was_given_again() -> None:
    """A process of the same number that began at another time is another one."""
    here = Owner.this()
    tag = throw_away_tag("f" * 24, replace(here, started=here.started + 1))
    assert left_behind([tag, "matrixbench/mine:latest", "qwen2.5:7b"]) == [tag]


def test_environment() -> None:
    """Every setting is written out, and the user's own do not get in, but for the folder."""
    environ = {
        "HOME": "/home/me",
        "PATH": "/bin",
        "OLLAMA_MODELS": "/big/disk",
        "OLLAMA_DEBUG": "1",
        "LLAMA_ARG_CTX_SIZE": "1",
    }
    options = {"flash-attention": "off", "kv-cache-type": "q4_0", "num_gpu": 3, "vulkan": None}
    backend = BACKEND.model_copy(update={"env": {"HSA_OVERRIDE_GFX_VERSION": "10.3.0"}})
    env = ollama_environment(environ, backend, options, port=4242, go_template=True)
    assert env == {
        "HOME": "/home/me",
        "PATH": "/bin",
        "OLLAMA_HOST": "127.0.0.1:4242",
        "OLLAMA_MODELS": "/big/disk",
        "OLLAMA_CONTEXT_LENGTH": "8192",
        "OLLAMA_NUM_PARALLEL": "2",
        "OLLAMA_MAX_LOADED_MODELS": "3",
        "OLLAMA_KEEP_ALIVE": "-1",
        "OLLAMA_NO_CLOUD": "1",
        "OLLAMA_NOPRUNE": "1",
        "OLLAMA_GO_TEMPLATE": "1",
        "OLLAMA_FLASH_ATTENTION": "0",
        "OLLAMA_KV_CACHE_TYPE": "q4_0",
        "HSA_OVERRIDE_GFX_VERSION": "10.3.0",
    }


def test_models_folder() -> None:
    """The file's word, then OLLAMA_MODELS, then the user's home; without any it is an error."""
    named = BACKEND.model_copy(update={"models_dir": "/mine"})
    assert models_folder(named, {"OLLAMA_MODELS": "/big"}) == Path("/mine")
    assert models_folder(BACKEND, {"OLLAMA_MODELS": " '/big' ", "HOME": "/h"}) == Path("/big")
    assert models_folder(BACKEND, {"HOME": "/h"}) == Path("/h/.ollama/models")
    with pytest.raises(ServerError, match="no HOME"):
        models_folder(BACKEND, {})


def test_a_changed_runner_is_another_build(tmp_path: Path) -> None:
    """What runs the model lies in lib/ollama, its libraries in folders of their own."""
    binary, library = tmp_path / "bin" / "ollama", tmp_path / "lib" / "ollama" / "cuda" / "a.so"
    for path in (binary, library):
        path.parent.mkdir(parents=True)
        path.write_bytes(b"one")
    first = server_digest(binary, FileHashes(None))
    library.write_bytes(b"two")
    os.utime(library, ns=(1, 1))
    assert server_digest(binary, FileHashes(None)) != first


def test_a_blob_that_a_manifest_needs_stays(tmp_path: Path) -> None:
    """Only what no tag refers to is removed."""
    blobs = [tmp_path / "blobs" / f"sha256-{letter * 64}" for letter in "ab"]
    manifest = manifest_path(tmp_path, "mine")
    for path in (*blobs, manifest):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("sha256:" + "a" * 64)
    for letter in "ab":
        drop_blob(tmp_path, letter * 64)
    assert [blob.exists() for blob in blobs] == [True, False]


def test_how_the_runner_was_started() -> None:
    """The last start in the log counts; a log that does not tell is no error."""
    line = (
        "time=2026-11-23T20:00:16.387Z level=INFO source=llama_server.go:433 "
        'msg="starting llama-server" cmd="/lib/ollama/llama-server --model /a b/sha256-94 --port '
        '34981 --no-webui --offline -c {} -np 2 --flash-attn auto -b 512 -ub 512"\n'
    )
    assert runner_settings(line.format(1) + line.format(4096)) == {
        "ctx_size": "4096",
        "slots": "2",
        "flash_attn": "auto",
        "num_batch": "512",
    }
    assert runner_settings("") == {}


@pytest.mark.parametrize(
    ("said", "source"),
    [
        ({"template": "{{ .X }}", "modelfile": 'FROM x\nTEMPLATE "{{ .X }}"\n'}, "go_template"),
        ({"template": "{% x %}", "modelfile": 'FROM x\nTEMPLATE "{{ .X }}"\n'}, "gguf_template"),
        ({"template": "x", "modelfile": "TEMPLATE x\nRENDERER qwen3\nPARSER qwen3\n"}, "renderer"),
        ({"template": "x", "modelfile": "TEMPLATE x", "parser": "qwen3"}, "parser"),
        (
            {"template": "<|start|>x<|end|>", "modelfile": "", "details": {"family": "gptoss"}},
            "harmony",
        ),
    ],
)
def test_which_template_won(said: dict[str, object], source: str) -> None:
    """A renderer or parser, harmony, the Go template, the one in the file: in this order."""
    assert template_source(said) == source
