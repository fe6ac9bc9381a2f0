"""What stands for a llama-server by content, and what its program says of itself."""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import re
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from matrixbench.backends.build import SHARED_OBJECT, device_name, model_files, server_files
from matrixbench.backends.llama.embedded_flags import EMBEDDED_VERSION
from matrixbench.backends.llama.executable import (
    ServerHelp,
    embedded_help,
    install_line,
    parse_help,
)
from matrixbench.errors import ServerError
from matrixbench.identity import digest
from matrixbench.plan.launches import file_details, with_contents
from matrixbench.records import Build

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from matrixbench.backends.build import FileHashes
    from matrixbench.backends.llama.executable import Executable
    from matrixbench.backends.registry import ModelSource

KIND = "llama-server"


def embedded_files() -> tuple[Path, ...]:
    """Return the shared objects of the wheel, found without importing it.

    Raises:
        ServerError: The wheel is not installed.
    """
    spec = importlib.util.find_spec("xllamacpp")
    folders = [Path(place) for place in (spec.submodule_search_locations or ())] if spec else []
    folders += [folder.with_name("xllamacpp.libs") for folder in folders]
    found = {
        path.resolve()
        for folder in folders
        for path in folder.rglob("*")
        if SHARED_OBJECT.search(path.name)
    }
    if not found:
        raise ServerError("the embedded server is not installed", hint=install_line())
    return tuple(sorted(found))


def server_sha256(executable: Executable, hashes: FileHashes) -> str:
    """Return the digest of a server's code: its executable first, the rest by content.

    Names and places are left out, so that a copy of a build is the same build.

    Raises:
        ServerError: A file cannot be read.
    """
    try:
        if executable.embedded:
            parts = [f"embedded {EMBEDDED_VERSION}", *_digests(embedded_files(), hashes)]
        else:
            first, *rest = server_files(executable.path)
            parts = [hashes.sha256(first), *_digests(rest, hashes)]
    except OSError as error:
        raise ServerError(f"cannot be read: {error}", where=str(executable.path)) from error
    return sha256("\n".join(parts).encode()).hexdigest()


def _digests(paths: Iterable[Path], hashes: FileHashes) -> list[str]:
    return sorted({hashes.sha256(path) for path in paths})


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """What `--version` says: the text after `version: `, and its parts where they mean something.

    llama.cpp writes build number 0 or 1 and commit `unknown` where it was built without git.
    """

    text: str = ""
    number: int | None = None
    commit: str | None = None
    compiler: str | None = None


_VERSION = re.compile(
    r"^version: (?P<text>(?P<name>[\w.+-]+)(?: \((?:build (?P<build>\d+), commit )?"
    r"(?P<commit>[\w-]+)\))?)",
    re.MULTILINE,
)
_COMPILER = re.compile(r"^built with (?P<compiler>.+)$", re.MULTILINE)


def parse_version(output: str) -> Version:
    """Read both layouts: `version: X.Y.Z (build N, commit HASH)`, and `version: N (HASH)`."""
    match = _VERSION.search(output)
    if match is None:
        return Version()
    digits = match["build"] or (match["name"] if match["name"].isdigit() else "")
    number = int(digits) if digits else 0
    commit = match["commit"]
    known = commit is not None and re.fullmatch(r"[0-9a-f]{6,40}", commit)
    compiler = _COMPILER.search(output)
    return Version(
        text=match["text"],
        number=number if number > 1 else None,
        commit=commit if known else None,
        compiler=compiler["compiler"].strip() if compiler else None,
    )


def server_version(executable: Executable, server: str, hashes: FileHashes) -> Version:
    """Return a server's version; an empty one where it does not say."""
    if executable.embedded:
        return Version(text=f"{importlib.metadata.version('xllamacpp')} (xllamacpp)")
    with contextlib.suppress(ServerError):
        return parse_version(
            hashes.text(f"--version {server}", lambda: executable.answer("--version"))
        )
    return Version()


def server_help(executable: Executable, hashes: FileHashes) -> ServerHelp:
    """Return what a server's `--help` says, asked once for each build.

    Raises:
        ServerError: It cannot be asked.
    """
    if executable.embedded:
        return embedded_help()
    key = f"--help {server_sha256(executable, hashes)}"
    return parse_help(hashes.text(key, lambda: executable.answer("--help")))


def known_flags(executable: Executable, hashes: FileHashes) -> frozenset[str]:
    """Return every spelling of every flag that a server knows, dashes included.

    Raises:
        ServerError: It cannot be asked.
    """
    return server_help(executable, hashes).known_flags


def llama_server_build(
    executable: Executable,
    model: ModelSource | None,
    hashes: FileHashes,
    contents: Mapping[str, str] | None = None,
) -> Build:
    """Return the build that a launch with this executable and model would have.

    No server is started and nothing is fetched.

    Args:
        model: The model; None where none is asked for.
        contents: The digests of the files that the launch's options name.

    Raises:
        ServerError: A file of the server or of the model cannot be read.
    """
    program, contents = server_sha256(executable, hashes), contents or {}
    version = server_version(executable, program, hashes)
    device = hashes.for_now("device", device_name)
    weights = _model_digest(model, hashes)
    details = {
        "found_by": executable.found_by,
        "build_number": version.number,
        "commit": version.commit,
        "compiler": version.compiler,
        **file_details(program, contents),
    }
    server = with_contents(program, contents)
    identity = {"kind": KIND, "server": server, "model": weights, "device": device}
    return Build(
        id=digest(identity),
        **identity,
        version=version.text,
        details={name: value for name, value in details.items() if value is not None},
    )


def _model_digest(model: ModelSource | None, hashes: FileHashes) -> str:
    if model is None:
        return ""
    if model.sha256 is not None or model.path is None:
        return model.sha256 or ""
    try:
        return hashes.model_sha256(model_files(model.path))
    except OSError as error:
        raise ServerError(f"the model cannot be read: {error}", where=str(model.path)) from error
