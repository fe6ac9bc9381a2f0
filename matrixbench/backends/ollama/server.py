"""An Ollama's executable, environment, models' folder and build, and what its log tells."""

from __future__ import annotations

import os
import re
import shlex
import shutil
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matrixbench.backends.build import device_name
from matrixbench.backends.ollama.model import manifest_path
from matrixbench.backends.ollama.options import SERVER_OPTIONS, SWITCHES
from matrixbench.backends.process import server_environment
from matrixbench.errors import ServerError
from matrixbench.identity import canonical_json, digest
from matrixbench.plan.launches import file_details, with_contents
from matrixbench.records import Build

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matrixbench.backends.build import FileHashes
    from matrixbench.backends.ollama.options import OllamaPart
    from matrixbench.backends.registry import LaunchRequest, ModelSource
    from matrixbench.records import JsonObject

_STARTING = re.compile(r'msg="starting llama-server" cmd="((?:[^"\\]|\\.)*)"')
_FLAGS = {
    "-np": "slots",
    "-c": "ctx_size",
    "--cache-type-k": "cache_type_k",
    "--flash-attn": "flash_attn",
    "-b": "num_batch",
    "-t": "num_thread",
    "-ngl": "num_gpu",
}


def runner_settings(log: str) -> JsonObject:
    """Return what the last runner was started with, by flag; empty where the log does not say."""
    found = _STARTING.findall(log)
    if not found:
        return {}
    try:
        words = shlex.split(found[-1].replace('\\"', '"'))
    except ValueError:
        return {}
    return {_FLAGS[flag]: value for flag, value in pairwise(words) if flag in _FLAGS}


def check_runner(order: LaunchRequest, backend: OllamaPart, settings: JsonObject) -> None:
    """Compare what the runner was started with to what was asked for.

    Raises:
        ServerError: They differ; with both values.
    """
    asked = {"slots": str(backend.slots)}
    if (kv_type := order.options.get("kv-cache-type")) is not None:
        asked["cache_type_k"] = str(kv_type)
    if (flash := order.options.get("flash-attention")) is not None:
        asked["flash_attn"] = "on" if flash in (True, "on") else "off"
    for name, value in asked.items():
        has = settings.get(name)
        if settings and has != value:
            raise ServerError(
                f"{order.name}: {name} {value} was asked for, Ollama runs the model with {has}",
                hint="some models run with one slot only: say slots: 1"
                if name == "slots"
                else "take the option out, or set it to what Ollama can do with this model",
            )


KIND = "ollama"
HIDDEN = "OLLAMA_"
OWN_NAMES = re.compile(r"(llama-(server|quantize)|lib(llama|ggml|mtmd|mlx)[\w.+-]*)(\.exe)?$")


def find_ollama(named: str | None, *, environ: Mapping[str, str]) -> Path:
    """Return the executable: the one that the file names, else `ollama` on PATH.

    Raises:
        ServerError: There is none, or it cannot be executed.
    """
    if named is None:
        found = shutil.which("ollama", path=environ.get("PATH", ""))
        if found is None:
            raise ServerError(
                "no ollama was found: the backend names no `binary`, and PATH has no `ollama`",
                hint="install Ollama, or give the backend binary: or url:",
            )
        return Path(found)
    path = Path(named).expanduser().absolute()
    if not path.is_file() or not os.access(path, os.X_OK):
        raise ServerError(
            "this is no executable file",
            where=str(path),
            hint="the backend's `binary` names Ollama's executable",
        )
    return path


def models_folder(backend: OllamaPart, environ: Mapping[str, str]) -> Path:
    """Return where the server keeps its models, as Ollama itself looks for them.

    Raises:
        ServerError: The environment says of no home.
    """
    named = backend.models_dir or environ.get("OLLAMA_MODELS", "").strip().strip("\"'")
    if named:
        return Path(named)
    home = environ.get("HOME") or environ.get("USERPROFILE")
    if not home:
        raise ServerError(
            "where Ollama's models are is not known: the environment has no HOME",
            hint="give the backend models_dir:",
        )
    return Path(home) / ".ollama" / "models"


def ollama_environment(
    environ: Mapping[str, str],
    backend: OllamaPart,
    options: Mapping[str, Any],
    *,
    port: int,
    go_template: bool,
) -> dict[str, str]:
    """Return the whole environment of a server that is started here.

    Every setting that decides the answer is written out, since the defaults move, that of the
    context with the memory of the graphics card; the user's own OLLAMA_* settings do not get in.

    Args:
        options: The launch's options; those of the whole server become variables.
        port: Where it listens, on the loopback address.
        go_template: Whether a template of Go is to win over the one in the model's file.
    """
    base = {name: value for name, value in environ.items() if not name.startswith(HIDDEN)}
    own = {
        "OLLAMA_MODELS": str(models_folder(backend, environ)),
        **server_settings(backend, options, port=port, go_template=go_template),
    }
    return server_environment({**base, **own}, backend.env)


def server_settings(
    backend: OllamaPart, options: Mapping[str, Any], *, port: int, go_template: bool
) -> dict[str, str]:
    """Return the variables that hold a server's settings, but for the folder of its models."""
    own = {
        "OLLAMA_HOST": f"127.0.0.1:{port}",
        "OLLAMA_CONTEXT_LENGTH": str(backend.context),
        "OLLAMA_NUM_PARALLEL": str(backend.slots),
        "OLLAMA_MAX_LOADED_MODELS": str(backend.loaded_models),
        "OLLAMA_KEEP_ALIVE": "-1",
        "OLLAMA_NO_CLOUD": "1",
        # What seems unused may be what the user's own Ollama is just pulling into that folder.
        "OLLAMA_NOPRUNE": "1",
    }
    if go_template:
        own["OLLAMA_GO_TEMPLATE"] = "1"
    for name, value in options.items():
        if name in SERVER_OPTIONS and value is not None:
            own[SERVER_OPTIONS[name]] = _text(name, value)
    return own


def _text(name: str, value: object) -> str:
    if name in SWITCHES:
        return "1" if value in (True, "on") else "0"
    return str(value)


def ollama_files(executable: Path) -> tuple[Path, ...]:
    """Return the executable and all that it may run or load from its own tree.

    The model is run by a `llama-server` of its own, in `lib/ollama` beside the executable or beside
    its folder, with the libraries for each kind of graphics card in folders of their own.

    Raises:
        OSError: The executable is gone.
    """
    real = executable.resolve(strict=True)
    folders = [real.parent / "lib", real.parent.parent / "lib", real.parent / "build" / "lib"]
    found = {
        path.resolve()
        for folder in folders
        for path in (folder / "ollama").rglob("*")
        if path.is_file()
    }
    found |= {
        path.resolve()
        for path in real.parent.iterdir()
        if OWN_NAMES.match(path.name) and path.is_file()
    }
    return (real, *sorted(found - {real}))


def server_digest(executable: Path, hashes: FileHashes) -> str:
    """Return the digest of an Ollama's code, the executable first, the rest by content.

    Raises:
        ServerError: A file cannot be read.
    """
    try:
        first, *rest = ollama_files(executable)
        parts = [hashes.sha256(first), *sorted({hashes.sha256(path) for path in rest})]
    except OSError as error:
        raise ServerError(f"cannot be read: {error}", where=str(executable)) from error
    return sha256("\n".join(parts).encode()).hexdigest()


def managed_build(
    executable: Path,
    model: str,
    hashes: FileHashes,
    *,
    version: str = "",
    contents: Mapping[str, str] | None = None,
) -> Build:
    """Return the build of a server that is started here.

    Args:
        model: The digest of the tag, or of the file that a tag is made from.
        version: What the server says of its version, where it was asked.
        contents: The digests of the files that the launch's options name.

    Raises:
        ServerError: A file cannot be read.
    """
    device = hashes.for_now("device", device_name)
    program, contents = server_digest(executable, hashes), contents or {}
    identity: JsonObject = {
        "kind": KIND,
        "server": with_contents(program, contents),
        "model": model,
        "device": device,
    }
    details = file_details(program, contents)
    return Build(id=digest(identity), **identity, version=version, details=details)


def present_build(
    backend: OllamaPart,
    binary: str | None,
    model: ModelSource,
    *,
    environ: Mapping[str, str],
    hashes: FileHashes,
    contents: Mapping[str, str] | None = None,
) -> Build:
    """Return the build that a server started now would have; starts nothing, fetches nothing.

    Args:
        binary: The executable that the file names, or None.
        model: The tag as `id`, or the digest of the file that a tag is made from.
        contents: The digests of the files that the launch's options name.

    Raises:
        ServerError: There is no executable, or the model is not on this machine.
    """
    executable = find_ollama(binary, environ=environ)
    found = model.sha256
    if model.id is not None:
        found = manifest_digest(models_folder(backend, environ), model.id)
    if found is None:
        raise ServerError(f"model {model.name} is not on this machine")
    return managed_build(executable, found, hashes, contents=contents)


def attached_build(shown: str, version: str, model: str) -> Build:
    """Return the build of a server that runs already: its url, and what it reports."""
    identity: JsonObject = {
        "kind": KIND,
        "server": canonical_json({"url": shown, "version": version}),
        "model": model,
        "device": "",
    }
    return Build(id=digest(identity), **identity, version=version)


def manifest_digest(models: Path, tag: str) -> str | None:
    """Return the digest of a tag, read without a server; None where it is not there."""
    try:
        return sha256(manifest_path(models, tag).read_bytes()).hexdigest()
    except OSError:
        return None


def drop_blob(models: Path, content: str) -> None:
    """Remove a blob to which no manifest refers any more.

    Ollama rewrites a GGUF file when a tag is made from it, and forgets what it was sent.
    """
    name = f"sha256:{content}"
    manifests = (path for path in (models / "manifests").rglob("*") if path.is_file())
    if any(name in path.read_text(encoding="utf-8", errors="replace") for path in manifests):
        return
    (models / "blobs" / f"sha256-{content}").unlink(missing_ok=True)


def drop_tag(models: Path, tag: str) -> None:
    """Remove a tag, and the blobs that no other one has, where no server is left to be asked.

    Raises:
        OSError: They cannot be removed.
    """
    manifest = manifest_path(models, tag)
    if not manifest.is_file():
        return
    layers = set(re.findall(r"sha256:([0-9a-f]{64})", manifest.read_text(encoding="utf-8")))
    manifest.unlink()
    for layer in layers:
        drop_blob(models, layer)
