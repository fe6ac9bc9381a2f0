"""Files that options name: which options take one, what their paths mean, what is in them."""

from __future__ import annotations

import csv
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from matrixbench.backends.build import FileHashes
from matrixbench.backends.llama.arguments import OWNED
from matrixbench.backends.llama.embedded_flags import help_text
from matrixbench.backends.llama.executable import parse_help
from matrixbench.backends.llama.option_files import (
    CONTENT,
    READ,
    WRITTEN,
    llama_server_options,
    path_option,
)
from matrixbench.backends.option_files import Use, file_contents, marked_only, meant
from matrixbench.errors import ServerError
from matrixbench.plan.launches import with_contents

if TYPE_CHECKING:
    from matrixbench.backends.option_files import Meant

NEW = parse_help(
    """
-m,    --model FNAME                    model path to load
--lora FNAME                            path to LoRA adapter (use comma-separated values)
--lora-scaled FNAME:SCALE,...           path to LoRA adapter with user defined scaling
                                        note: use comma-separated values
--control-vector FNAME                  add a control vector
                                        note: use comma-separated values for several
--control-vector-scaled FNAME:SCALE,... add a control vector with user defined scaling SCALE
                                        note: use comma-separated values (format: FNAME:SCALE,...)
--control-vector-layer-range START END  layer range to apply the control vector(s) to
-hff,  --hf-file FILE                   Hugging Face model file
--log-file FNAME                        Log to file
--grammar GRAMMAR                       BNF-like grammar to constrain generations
--grammar-file FNAME                    file to read grammar from
-jf,   --json-schema-file FILE          File containing a JSON schema to constrain generations
-lcs,  --lookup-cache-static FNAME      path to static lookup cache (not updated by generation)
-lcd,  --lookup-cache-dynamic FNAME     path to dynamic lookup cache (updated by generation)
-mm,   --mmproj FILE                    path to a multimodal projector file
-mmu,  --mmproj-url URL                 URL to a multimodal projector file
--video-ffmpeg-dir DIR                  path to the directory containing ffmpeg and ffprobe
--path PATH                             path to serve static files from (default: )
--api-prefix PREFIX                     prefix path the server serves from
--ui-config-file, --webui-config-file PATH
                                        JSON file that provides default UI settings
--mcp-servers-config PATH               experimental: path to JSON file with MCP server definitions
--slot-save-path PATH                   path to save slot kv cache (default: disabled)
--media-path PATH                       directory for loading local media files
--log-prompts-dir PATH                  Log prompts to directory (auto-created if not present)
--spec-draft-model, -md, --model-draft FNAME
                                        draft model for speculative decoding (default: unused)
--steering-file FNAME                   a file that a later release may read
--trace-dir DIR                         folder to write traces of each request to
-ctk,  --cache-type-k TYPE              KV cache data type for K
--jinja                                 use jinja template engine for chat
"""
)
OLD = parse_help(
    """
--lora FNAME                            path to LoRA adapter (can be repeated)
--lora-scaled FNAME SCALE               path to LoRA adapter with user defined scaling
--mmproj FILE                           path to a multimodal projector file for LLaVA
-sp,   --system-prompt-file FNAME       set a file to load a system prompt
"""
)


@pytest.fixture
def hashes() -> FileHashes:
    """Return a memory of digests that keeps nothing."""
    return FileHashes(None)


def read(options: dict[str, Any], base: Path, known: Any = NEW, **environ: str) -> Meant:
    """Return what options mean in a folder."""
    return meant(options, llama_server_options(known), base=base, environ=environ)


@pytest.mark.parametrize(
    ("name", "use", "shape"),
    [
        ("lora", Use.CONTENT, "several"),
        ("lora-scaled", Use.CONTENT, "several scaled"),
        ("control-vector", Use.CONTENT, "several"),
        ("control-vector-scaled", Use.CONTENT, "several scaled"),
        ("grammar-file", Use.CONTENT, ""),
        ("json-schema-file", Use.CONTENT, ""),
        ("lookup-cache-static", Use.CONTENT, ""),
        ("lookup-cache-dynamic", Use.WRITTEN, ""),
        ("mmproj", Use.CONTENT, ""),
        ("mcp-servers-config", Use.CONTENT, ""),
        ("media-path", Use.CONTENT, "folder"),
        ("model-draft", Use.CONTENT, ""),
        ("spec-draft-model", Use.CONTENT, ""),
        ("steering-file", Use.CONTENT, ""),
        ("video-ffmpeg-dir", Use.READ, "folder"),
        ("path", Use.READ, "folder"),
        ("webui-config-file", Use.READ, ""),
        ("slot-save-path", Use.WRITTEN, "folder"),
        ("log-prompts-dir", Use.WRITTEN, "folder"),
        ("trace-dir", Use.WRITTEN, "folder"),
    ],
)
def test_the_help_says_which_options_take_a_path(name: str, use: Use, shape: str) -> None:
    """Each that names a local file, also one of a later release, and what becomes of the file."""
    kind = path_option(name, NEW)
    assert kind is not None
    assert kind.use is use
    assert {word for word in ("several", "scaled", "folder") if getattr(kind, word)} == {
        *shape.split()
    }


@pytest.mark.parametrize(
    "name",
    [
        *("model", "hf-file", "mmproj-url", "api-prefix", "grammar", "cache-type-k", "jinja"),
        *("log-file", "control-vector-layer-range", "no-such-flag"),
    ],
)
def test_what_is_no_local_file_is_left_alone(name: str) -> None:
    """Hubs, urls, words, switches, flags that matrixbench sets itself, and unknown ones."""
    assert path_option(name, NEW) is None


def test_without_a_help_what_is_known_of_llama_cpp_counts() -> None:
    """A binary that is not there yet does not keep a missing file from being seen."""
    for name in (CONTENT | READ | WRITTEN) - OWNED.keys():
        kind = path_option(name, None)
        assert kind is not None
        assert (kind.use is Use.WRITTEN) == (name in WRITTEN)
    assert path_option("cache-type-k", None) is None


def test_the_embedded_server_has_its_files_too() -> None:
    """Its own help says which of its flags take a path."""
    known = parse_help(help_text())
    found = {name for flag in known.flags if path_option(name := flag.lstrip("-"), known)}
    named = {"lora", "lora-scaled", "grammar-file", "mmproj", "model-draft", "spec-draft-model"}
    assert found == named


def test_paths_are_relative_to_the_file_and_expand(tmp_path: Path) -> None:
    """`~`, `${VAR}` and relative ones become absolute; other values stay as they are."""
    options = {
        "lora": "~/a.gguf",
        "mmproj": "${BIG}/p.gguf",
        "model-draft": "./d.gguf",
        "grammar-file": "/g.gbnf",
        "cache-type-k": "q8_0",
        "jinja": True,
        "control-vector": None,
        "slot-save-path": "slots",
    }
    found = read(options, tmp_path, HOME="/home/me", BIG="/big")
    assert found.options == options | {
        "lora": "/home/me/a.gguf",
        "mmproj": "/big/p.gguf",
        "model-draft": f"{tmp_path}/d.gguf",
        "slot-save-path": f"{tmp_path}/slots",
    }
    assert [file.name for file in found.files][:2] == ["lora ~/a.gguf", "mmproj ${BIG}/p.gguf"]
    assert found.faults == ()


@pytest.mark.parametrize(
    ("option", "value", "given"),
    [
        ("lora", "a.gguf,b.gguf", "{0}/a.gguf,{0}/b.gguf"),
        ("lora", "a.gguf, b.gguf", "{0}/a.gguf,{0}/b.gguf"),
        ("lora", ["a.gguf", "b.gguf"], ["{0}/a.gguf", "{0}/b.gguf"]),
        ("lora", '"a,b.gguf",c.gguf', '"{0}/a,b.gguf",{0}/c.gguf'),
        ("lora", {"file": "a.gguf"}, "{0}/a.gguf"),
        ("lora", {"file": "a,b.gguf"}, '"{0}/a,b.gguf"'),
        ("lora", [{"file": "a.gguf"}, "b.gguf"], ["{0}/a.gguf", "{0}/b.gguf"]),
        ("lora-scaled", "a.gguf:0.5,b.gguf:-1e-3", "{0}/a.gguf:0.5,{0}/b.gguf:-1e-3"),
        ("lora-scaled", ["a.gguf", 0.5, "b.gguf:2"], ["{0}/a.gguf:0.5", "{0}/b.gguf:2"]),
        ("lora-scaled", [{"file": "a.gguf"}, 1], ["{0}/a.gguf:1"]),
        ("mmproj", "a,b.gguf", "{0}/a,b.gguf"),
        ("cache-type-k", {"file": "k"}, "{0}/k"),
        (
            "cache-type-k",
            {"at": {"file": "k"}, "n": 1, "t": "k"},
            {"at": "{0}/k", "n": 1, "t": "k"},
        ),
    ],
)
def test_values_of_every_shape(tmp_path: Path, option: str, value: Any, given: Any) -> None:
    """Lists of both kinds, scales, `{file: …}` anywhere; commas in a path are put in quotes."""

    def here(part: Any) -> Any:
        match part:
            case str():
                return part.replace("{0}", str(tmp_path))
            case list():
                return [here(item) for item in part]
            case dict():
                return {key: here(item) for key, item in part.items()}
            case _:
                return part

    found = read({option: value}, tmp_path)
    assert found.options == {option: here(given)}
    assert found.faults == ()


def test_an_older_build_repeats_the_flag(tmp_path: Path) -> None:
    """Where its help does not speak of commas, a comma belongs to the path."""
    found = read({"lora": "a,b.gguf", "system-prompt-file": "p.txt"}, tmp_path, OLD)
    assert found.options == {
        "lora": f"{tmp_path}/a,b.gguf",
        "system-prompt-file": f"{tmp_path}/p.txt",
    }


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0\r\n$~"), min_size=1)))
def test_any_names_survive_a_list(names: list[str]) -> None:
    """What is joined for the server parts into the very paths again, whatever is in them."""
    marked = [{"file": f"x{name}x"} for name in names]
    found = read({"lora": marked}, Path("/base"))
    joined = ",".join(found.options["lora"])
    assert next(csv.reader([joined]), []) == [str(Path(f"/base/x{name}x")) for name in names]


def test_what_is_wrong_is_told_all_at_once(tmp_path: Path) -> None:
    """Unset variables, missing files with the nearest name, folders, what `file` does not take."""
    (tmp_path / "adapter.gguf").touch()
    (tmp_path / "dir").mkdir()
    options = {
        "lora": "adaptor.gguf",
        "mmproj": "dir",
        "model-draft": "${NOWHERE}/d.gguf",
        "grammar-file": {"file": ["a", "b"]},
        "json-schema-file": "",
        "lora-scaled": "a:b.gguf:0.5",
        "lookup-cache-dynamic": "not-yet.bin",
        "media-path": "dir",
    }
    found = {fault.option: fault for fault in read(options, tmp_path).missing()}
    assert found.keys() == options.keys() - {"lookup-cache-dynamic", "media-path"}
    assert found["lora"].message == f"there is no file {tmp_path}/adaptor.gguf"
    assert "adapter.gguf" in found["lora"].hint
    assert "is a folder" in found["mmproj"].message
    assert "«NOWHERE» is not set" in found["model-draft"].message
    assert "takes one path" in found["grammar-file"].message
    assert "empty" in found["json-schema-file"].message
    assert "{file: …}" in found["grammar-file"].hint


def test_of_other_servers_only_marked_paths_are_files(tmp_path: Path) -> None:
    """A command line's or Ollama's option may hold any text; `{file: …}` says that it is a path."""
    options = {"lora": "a.gguf", "config": {"file": "c.yaml"}, "n": [1, {"file": "d"}]}
    found = meant(options, marked_only, base=tmp_path, environ={})
    assert found.options == {
        "lora": "a.gguf",
        "config": f"{tmp_path}/c.yaml",
        "n": [1, f"{tmp_path}/d"],
    }
    assert [file.text for file in found.files] == ["c.yaml", "d"]


# What is in them.


def test_contents_are_those_that_may_decide_an_answer(tmp_path: Path, hashes: FileHashes) -> None:
    """Not what the server writes, nor what only its pages show."""
    for name in ("a.gguf", "ui.json"):
        (tmp_path / name).write_text(name)
    options = {"lora": "a.gguf", "ui-config-file": "ui.json", "slot-save-path": "slots"}
    found = read(options, tmp_path)
    contents = file_contents(found.files, hashes)
    assert contents == {"lora a.gguf": sha256(b"a.gguf").hexdigest()}


def test_a_split_draft_model_counts_whole(tmp_path: Path, hashes: FileHashes) -> None:
    """Another second part is another content."""
    first, second = (tmp_path / f"d-0000{part}-of-00002.gguf" for part in (1, 2))
    first.write_text("one")
    second.write_text("two")
    files = read({"model-draft": first.name}, tmp_path).files
    before = file_contents(files, hashes)
    second.write_text("changed")
    assert file_contents(files, hashes) != before
    second.unlink()
    with pytest.raises(ServerError, match="cannot be read: No such file"):
        file_contents(files, hashes)


def test_a_folder_counts_by_names_and_contents(tmp_path: Path, hashes: FileHashes) -> None:
    """As adapters for other servers are: a file renamed, added or changed is another content."""
    folder = tmp_path / "adapter"
    (folder / "sub").mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "sub" / "weights").write_text("w")
    files = meant({"x": {"file": "adapter"}}, marked_only, base=tmp_path, environ={}).files
    seen = [file_contents(files, hashes)]
    (folder / "sub" / "weights").rename(folder / "weights")
    seen.append(file_contents(files, hashes))
    (folder / "weights").write_text("other weights")
    seen.append(file_contents(files, hashes))
    assert len({str(one) for one in seen}) == 3


def test_a_file_is_read_once_until_it_changes(tmp_path: Path) -> None:
    """The memory of digests holds it by path, size and time, also for the next process."""
    cache = tmp_path / "hashes.json"
    (tmp_path / "d.gguf").write_bytes(b"draft")
    files = read({"model-draft": "d.gguf"}, tmp_path).files
    first = file_contents(files, FileHashes(cache))
    kept = cache.read_text()
    assert str(tmp_path / "d.gguf") in kept
    assert file_contents(files, FileHashes(cache)) == first
    assert cache.read_text() == kept
    (tmp_path / "d.gguf").write_bytes(b"other")
    assert file_contents(files, FileHashes(cache)) != first


def test_a_server_without_files_keeps_its_digest() -> None:
    """So that builds of old stores stay; with files, their options, contents and order count."""
    assert with_contents("s", {}) == "s"
    one = with_contents("s", {"lora a": "1", "lora b": "2", "mmproj c": "3"})
    assert one == with_contents("s", {"mmproj x": "3", "lora y": "1", "lora z": "2"})
    assert one != with_contents("s", {"lora a": "2", "lora b": "1", "mmproj c": "3"})
    assert one != with_contents("s", {"lora a": "1", "lora b": "2", "model-draft c": "3"})
    assert len(one) == 64
