"""What identifies a build: files by content, versions, the help of a binary, and the search."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from matrixbench.backends.build import FileHashes, gpus, hashing, model_files, server_files
from matrixbench.backends.llama.build import (
    Version,
    known_flags,
    llama_server_build,
    parse_version,
    server_help,
    server_sha256,
)
from matrixbench.backends.llama.executable import (
    Executable,
    find_executable,
    install_line,
    parse_help,
)
from matrixbench.backends.registry import ModelSource
from matrixbench.errors import ExitCode, ServerError
from matrixbench.identity import file_sha256
from tests.backends.fake_binary import install

if TYPE_CHECKING:
    from collections.abc import Mapping


@pytest.fixture
def hashes(tmp_path: Path) -> FileHashes:
    """Return an empty memory of hashes."""
    return FileHashes(tmp_path / "cache" / "hashes.json")


def executable(path: Path, env: Mapping[str, str] = os.environ) -> Executable:
    """Return the executable at a path."""
    return find_executable(str(path), {}, environ=env)


def test_a_file_is_hashed_once(tmp_path: Path) -> None:
    """A digest is kept by size, time and inode, also for the next process."""
    cache, file = tmp_path / "a" / "hashes.json", tmp_path / "file"
    file.write_bytes(b"old")
    assert FileHashes(cache).sha256(file) == sha256(b"old").hexdigest()
    kept = json.loads(cache.read_text())
    kept["files"][str(file.resolve())]["sha256"] = "from the cache"
    cache.write_text(json.dumps(kept))
    assert FileHashes(cache).sha256(file) == "from the cache"
    file.write_bytes(b"newer")
    assert FileHashes(cache).sha256(file) == sha256(b"newer").hexdigest()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"version": 1, "files": 3}', '{"version": 0}'])
def test_a_corrupt_cache_is_rewritten(tmp_path: Path, text: str) -> None:
    """A cache that cannot be understood costs nothing but the hashing."""
    cache, file = tmp_path / "hashes.json", tmp_path / "file"
    cache.write_text(text)
    file.write_bytes(b"x")
    assert FileHashes(cache).sha256(file) == sha256(b"x").hexdigest()
    assert str(file.resolve()) in json.loads(cache.read_text())["files"]


def test_two_processes_keep_each_others_entries(tmp_path: Path) -> None:
    """What another process wrote meanwhile survives a write."""
    one, two = FileHashes(tmp_path / "hashes.json"), FileHashes(tmp_path / "hashes.json")
    for hashes, name in ((one, "a"), (two, "b"), (one, "c")):
        (tmp_path / name).write_text(name)
        hashes.sha256(tmp_path / name)
    kept = json.loads((tmp_path / "hashes.json").read_text())["files"]
    assert {Path(path).name for path in kept} == {"a", "b", "c"}


def test_a_cache_that_cannot_be_written_only_costs_time(tmp_path: Path) -> None:
    """A cache below a file, where no folder can be, is done without."""
    (tmp_path / "file").write_bytes(b"x")
    hashes = FileHashes(tmp_path / "file" / "hashes.json")
    assert hashes.sha256(tmp_path / "file") == sha256(b"x").hexdigest()


def test_models_are_hashed_over_all_files(tmp_path: Path, hashes: FileHashes) -> None:
    """One file gives its own sha256; split ones a digest that each of them changes."""
    parts = [tmp_path / f"m-0000{n}-of-00002.gguf" for n in (1, 2)]
    for part in parts:
        part.write_text(part.name)
    assert model_files(parts[0]) == tuple(parts)
    assert hashes.model_sha256(parts[:1]) == sha256(parts[0].name.encode()).hexdigest()
    whole = hashes.model_sha256(parts)
    parts[1].write_text("something else")
    assert len(whole) == 64
    assert hashes.model_sha256(parts) != whole


def test_a_hugging_face_blob_is_its_name(tmp_path: Path, hashes: FileHashes) -> None:
    """A file whose name in `blobs` is a sha256 is not read."""
    name = "ab" * 32
    blob = tmp_path / "models--o--r" / "blobs" / name
    blob.parent.mkdir(parents=True)
    blob.write_text("whatever")
    link = tmp_path / "model.gguf"
    link.symlink_to(blob)
    assert hashes.model_sha256([link]) == name


@pytest.mark.parametrize(
    ("output", "version"),
    [
        (
            "version: 0.6.0-dev (build 9626, commit fa4e5e7)\nbuilt with GNU 12 for Linux x86_64",
            Version(
                text="0.6.0-dev (build 9626, commit fa4e5e7)",
                number=9626,
                commit="fa4e5e7",
                compiler="GNU 12 for Linux x86_64",
            ),
        ),
        (
            "ggml_cuda_init: found 1 CUDA devices:\nversion: 6123 (79c1160b)\n",
            Version(text="6123 (79c1160b)", number=6123, commit="79c1160b"),
        ),
        ("version: 1 (unknown)", Version(text="1 (unknown)")),
        (
            "version: 0.6.0 (build 0, commit unknown)",
            Version(text="0.6.0 (build 0, commit unknown)"),
        ),
        ("error while loading shared libraries: libggml.so", Version()),
    ],
)
def test_versions(output: str, version: Version) -> None:
    """Both layouts are read; build number 0 or 1 and commit `unknown` mean nothing."""
    assert parse_version(output) == version


def tree(root: Path, *, ggml: bytes = b"ggml") -> Executable:
    """Return the executable of a shared-library build: `bin` with a stub, `lib` beside it."""
    path = install(root / "bin", "exit 1")
    (root / "bin" / "libggml-cpu-haswell.so").write_bytes(ggml)
    (root / "lib").mkdir()
    (root / "lib" / "libllama.so.0.1").write_bytes(b"llama")
    (root / "lib" / "libllama.so").symlink_to("libllama.so.0.1")
    (root / "lib" / "notes.txt").write_text("not code")
    return executable(path)


def test_shared_objects_belong_to_the_build(tmp_path: Path, hashes: FileHashes) -> None:
    """Equal trees are one build wherever they lie; a changed library makes another."""
    one, same = tree(tmp_path / "a"), tree(tmp_path / "b")
    other = tree(tmp_path / "c", ggml=b"changed")
    assert server_sha256(one, hashes) == server_sha256(same, hashes)
    assert server_sha256(one, hashes) != server_sha256(other, hashes)
    names = [path.name for path in server_files(one.path)]
    assert names == ["llama-server", "libggml-cpu-haswell.so", "libllama.so.0.1"]


def test_a_link_leads_to_the_build(tmp_path: Path, hashes: FileHashes) -> None:
    """A symbolic link to an executable is the build that it leads to."""
    one = tree(tmp_path / "a")
    link = tmp_path / "server"
    link.symlink_to(one.path)
    assert server_sha256(executable(link), hashes) == server_sha256(one, hashes)


def test_in_a_shared_folder_only_own_libraries_count(tmp_path: Path) -> None:
    """In a folder of many programs an update of something else is no new build."""
    one = tree(tmp_path / "env")
    (tmp_path / "env" / "conda-meta").mkdir()
    (tmp_path / "env" / "lib" / "libpng.so").write_bytes(b"png")
    names = {path.name for path in server_files(one.path)}
    assert names == {"llama-server", "libggml-cpu-haswell.so", "libllama.so.0.1"}


def test_build_of_a_binary(tmp_path: Path, hashes: FileHashes) -> None:
    """A build holds digests of server and model, the device and the version; nothing is started."""
    (tmp_path / "model.gguf").write_bytes(b"weights")
    model = ModelSource(name="m", path=tmp_path / "model.gguf")
    build = llama_server_build(executable(install(tmp_path / "bin")), model, hashes)
    assert build.kind == "llama-server"
    assert build.model == sha256(b"weights").hexdigest()
    assert build.version == "0.6.0-dev (build 9626, commit fa4e5e7)"
    assert build.details["build_number"] == 9626
    assert build.device
    assert len(build.id) == 24
    given = ModelSource(name="other", path=model.path, sha256=build.model)
    assert llama_server_build(executable(tmp_path / "bin/llama-server"), given, hashes) == build


def test_files_of_options_are_part_of_the_server(tmp_path: Path, hashes: FileHashes) -> None:
    """With each content it is another build; a launch that names no file has the old one."""
    server = executable(install(tmp_path / "bin"))
    plain = llama_server_build(server, None, hashes)
    assert llama_server_build(server, None, hashes, {}) == plain
    assert plain.server == server_sha256(server, hashes)
    assert not {"program", "option_files"} & plain.details.keys()
    one = llama_server_build(server, None, hashes, {"lora ./a.gguf": "1" * 64})
    other = llama_server_build(server, None, hashes, {"lora ./a.gguf": "2" * 64})
    moved = llama_server_build(server, None, hashes, {"lora elsewhere.gguf": "1" * 64})
    assert len({plain.id, one.id, other.id}) == 3
    assert moved.id == one.id
    assert one.details["program"] == plain.server
    assert one.details["option_files"] == {"lora ./a.gguf": "1" * 64}


def test_a_missing_model_is_named(tmp_path: Path, hashes: FileHashes) -> None:
    """A build with a model that is not there says which file."""
    model = ModelSource(name="m", path=tmp_path / "gone.gguf")
    with pytest.raises(ServerError, match=r"gone\.gguf: the model cannot be read"):
        llama_server_build(executable(install(tmp_path / "bin")), model, hashes)


def test_version_and_help_are_asked_once(tmp_path: Path) -> None:
    """What a build prints is kept by its content, also for the next process."""
    asked = tmp_path / "asked"
    server = executable(install(tmp_path, f'echo "$1" >> {asked}; echo "-fa, --flash-attn N  x"'))
    for _ in range(2):
        hashes = FileHashes(tmp_path / "hashes.json")
        assert known_flags(server, hashes) == {"-fa", "--flash-attn"}
        llama_server_build(server, None, hashes)
    assert asked.read_text().split() == ["--help", "--version"]


def test_help_that_fails_is_an_error(tmp_path: Path, hashes: FileHashes) -> None:
    """A binary that cannot run is named, with what it said."""
    server = executable(install(tmp_path, "echo libggml.so: cannot open shared object; exit 127"))
    with pytest.raises(ServerError, match="cannot open shared object"):
        server_help(server, hashes)
    assert llama_server_build(server, None, hashes).version == ""


def test_help_gives_flags_values_and_templates(tmp_path: Path, hashes: FileHashes) -> None:
    """Every spelling is known, whether it takes a value, and the templates by name."""
    known = server_help(executable(install(tmp_path)), hashes)
    assert {"-c", "--ctx-size", "-no-kvu", "--no-kv-unified", "--chat-template"} <= set(known.flags)
    assert known.flags["--flash-attn"].takes_value
    assert known.flags["--device"].takes_value
    assert not known.flags["--mlock"].takes_value
    assert not known.flags["--no-kv-unified"].takes_value
    assert known.flags["--chat-template-file"].takes_value
    assert {"chatml", "llama3", "zephyr"} <= known.templates
    assert "" not in known.templates


def test_help_in_the_server_s_own_layout() -> None:
    """Long heads, wrapped texts, value lists and section titles are told apart."""
    known = parse_help(
        "----- common params -----\n\n"
        "-h,    --help, --usage                  print usage and exit\n"
        "-sm,   --split-mode {none,layer,row}    how to split the model, one of:\n"
        "                                        - none: use one GPU only\n"
        "                                        (env: LLAMA_ARG_SPLIT_MODE)\n"
        "-kvo,  --kv-offload, -nkvo, --no-kv-offload\n"
        "                                        whether to offload\n"
        "-hf,   -hfr, --hf-repo <user>/<model>[:quant]\n"
        "                                        Hugging Face model repository\n"
        "----- server-specific params -----\n\n"
        "--lora FNAME                            path to LoRA adapter (comma-separated)\n"
        "--chat-template JINJA_TEMPLATE          set custom jinja chat template\n"
        "                                        list of built-in templates:\n"
        "                                        bailing, chatml,\n"
        "                                        llama2-sys, zephyr\n"
        "                                        (env: LLAMA_ARG_CHAT_TEMPLATE)\n"
    )
    takes = {flag: entry.takes_value for flag, entry in known.flags.items()}
    assert takes == {
        "-h": False,
        "--help": False,
        "--usage": False,
        "-sm": True,
        "--split-mode": True,
        "-kvo": False,
        "--kv-offload": False,
        "-nkvo": False,
        "--no-kv-offload": False,
        "-hf": True,
        "-hfr": True,
        "--hf-repo": True,
        "--lora": True,
        "--chat-template": True,
    }
    assert known.templates == {"bailing", "chatml", "llama2-sys", "zephyr"}
    assert "comma-separated" in known.flags["--lora"].text


def test_the_search_order(tmp_path: Path) -> None:
    """The one that is named, the variable, PATH, and then the embedded one."""
    paths = {name: install(tmp_path / name) for name in ("named", "variable", "path")}
    environ = {
        "LLAMA_SERVER_BIN_PATH": str(paths["variable"]),
        "PATH": str(tmp_path / "path"),
        "LLAMA_ARG_PORT": "1",
    }
    found = find_executable(str(paths["named"]), {"A": "1"}, environ=environ)
    assert (found.path, found.found_by) == (paths["named"], "binary")
    assert "LLAMA_ARG_PORT" not in found.env
    assert found.env["A"] == "1"
    found = find_executable(None, {}, environ=environ)
    assert (found.path, found.found_by) == (paths["variable"], "$LLAMA_SERVER_BIN_PATH")
    found = find_executable(None, {}, environ={"PATH": environ["PATH"]})
    assert (found.path, found.found_by) == (paths["path"], "PATH")
    found = find_executable(None, {}, environ={})
    assert found.embedded
    assert found.argv == (sys.executable, "-m", "matrixbench.backends.llama.embedded")


def test_nothing_found_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without any server the error says where was looked, and what to install; exit code 4."""
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.delitem(sys.modules, "xllamacpp", raising=False)
    with pytest.raises(ServerError) as caught:
        find_executable(None, {}, environ={})
    text = str(caught.value)
    for part in ("`binary`", "$LLAMA_SERVER_BIN_PATH", "PATH", install_line()):
        assert part in text
    assert caught.value.exit_code == ExitCode.NO_SERVER


def test_a_named_binary_must_be_executable(tmp_path: Path) -> None:
    """A binary that is named is never replaced by another; what is wrong with it is said."""
    (tmp_path / "text").write_text("")
    for name, problem in (("gone", "no such file"), (".", "folder"), ("text", "not executable")):
        with pytest.raises(ServerError, match=problem) as caught:
            find_executable(str(tmp_path / name), {}, environ={})
        assert caught.value.where == str(tmp_path / name)


def test_the_embedded_build(hashes: FileHashes) -> None:
    """The wheel's build is its shared object's content, found without importing it."""
    found = find_executable(None, {}, environ={})
    build = llama_server_build(found, None, hashes)
    assert build.version.endswith("(xllamacpp)")
    assert len(build.server) == 64
    assert {"--ctx-size", "--no-kv-unified", "--api-key-file"} <= known_flags(found, hashes)
    assert server_help(found, hashes).templates == {"chatml"}


def test_gpus_are_told_with_their_drivers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What nvidia-smi says is split into name, driver and memory; without it there is none."""
    monkeypatch.setenv("PATH", str(tmp_path))
    assert gpus() == []
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 'Fast Card 9000, 550.54.14, 24576 MiB'\n")
    program.chmod(0o755)
    assert gpus() == [{"name": "Fast Card 9000", "driver": "550.54.14", "memory": "24576 MiB"}]


async def test_a_hash_that_nobody_waits_for_ends(tmp_path: Path) -> None:
    """Else the program would wait for its thread: 50 seconds for 30 GB."""
    path = tmp_path / "model.gguf"
    path.write_bytes(b"x" * (1 << 21))
    begun, cancelled, ended = asyncio.Event(), threading.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def work() -> None:
        loop.call_soon_threadsafe(begun.set)
        cancelled.wait()
        try:
            file_sha256(path)
        except InterruptedError:
            ended.set()

    task = asyncio.create_task(hashing(work))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    cancelled.set()
    await asyncio.to_thread(ended.wait)
    assert file_sha256(path) == sha256(path.read_bytes()).hexdigest()
