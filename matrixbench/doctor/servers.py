"""The servers that an experiment names: which program, which build, who answers, which key."""

from __future__ import annotations

import contextlib
import http.client
import importlib.util
import json
import shutil
from importlib.metadata import version
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from matrixbench.backends.build import llama_server_build
from matrixbench.backends.executable import find_executable
from matrixbench.backends.extras import install_line
from matrixbench.backends.ollama_server import find_ollama
from matrixbench.backends.process import server_environment
from matrixbench.backends.program import find_program
from matrixbench.doctor.endpoints import LOOPBACK, examine_endpoint
from matrixbench.doctor.findings import Finding, Level, ok, problem, warning
from matrixbench.errors import ServerError
from matrixbench.plan.launches import fill_axes
from matrixbench.spec.backends import (
    Backend,
    CommandBackend,
    EndpointBackend,
    LlamaServerBackend,
    OllamaBackend,
    ScriptedBackend,
)
from matrixbench.spec.grid import grid_points

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from matrixbench.backends.file_hashes import FileHashes
    from matrixbench.spec.load import Experiment

ANSWER_TIMEOUT_S = 2.0
OLLAMA_PORT = 11434
ANYWHERE = frozenset({"", "0.0.0.0", "::"})  # noqa: S104  what a server listens on
BUILD_DIGITS = 12
_OK = 200


class ServerCheck:
    """Looks at servers.

    Args:
        environ: The environment variables.
        hashes: The memory of digests.
    """

    def __init__(self, environ: Mapping[str, str], hashes: FileHashes) -> None:
        self._environ = environ
        self._hashes = hashes

    def examine(self, experiment: Experiment | None) -> Iterator[Finding]:
        """Yield what there is to say of an experiment's servers; of the usual ones without one."""
        if experiment is None:
            default = LlamaServerBackend(kind="llama-server")
            yield self._at_most_warning(self._llama_server("llama-server", default, None))
            yield self._embedded()
            yield from self._ollama_of_user()
            return
        for name, backend in experiment.file.backends.items():
            yield from self._backend(f"backend {name}", backend, _ids(experiment, name))
        if any(isinstance(b, LlamaServerBackend) for b in experiment.file.backends.values()):
            yield self._embedded()
        if any(isinstance(b, OllamaBackend) for b in experiment.file.backends.values()):
            yield from self._ollama_of_user()

    def _backend(self, what: str, backend: Backend, ids: Mapping[str, str]) -> Iterator[Finding]:
        match backend:
            case LlamaServerBackend():
                for label, binary in _binaries(backend):
                    yield self._llama_server(f"{what}{label}", backend, binary)
            case CommandBackend():
                yield self._command(what, backend)
            case OllamaBackend():
                yield from self._ollama(what, backend)
            case EndpointBackend():
                yield from examine_endpoint(what, backend, ids, self._environ)
            case ScriptedBackend():
                yield ok(what, "scripted: needs no server")

    def _llama_server(self, what: str, backend: LlamaServerBackend, binary: str | None) -> Finding:
        try:
            executable = find_executable(backend, binary, environ=self._environ)
            build = llama_server_build(executable, None, self._hashes)
        except ServerError as error:
            return problem(what, _told(error), error.hint)
        place = "the embedded server" if executable.embedded else str(executable.path)
        found = f"{place} (by {executable.found_by}), build {build.server[:BUILD_DIGITS]}"
        if not build.version:
            todo = "is it a llama-server? the program does not answer --version as one"
            return warning(what, f"{found}, version unknown", todo)
        return ok(what, f"{found}, version {build.version}")

    @staticmethod
    def _embedded() -> Finding:
        if importlib.util.find_spec("xllamacpp") is None:
            return warning(
                "embedded server",
                "not installed",
                f"only needed without a binary: {install_line()}",
            )
        return ok("embedded server", f"xllamacpp {version('xllamacpp')}")

    def _command(self, what: str, backend: CommandBackend) -> Finding:
        program = backend.argv[0]
        if "{" in program:
            return ok(what, f"«{program}» is known only when it runs")
        env = server_environment(self._environ, backend.env)
        try:
            return ok(what, f"{find_program(program, env)} is there")
        except ServerError as error:
            return problem(what, _told(error), error.hint)

    def _ollama(self, what: str, backend: OllamaBackend) -> Iterator[Finding]:
        if backend.url is not None:
            yield _asked_ollama(what, backend.url, Level.PROBLEM)
            return
        for label, binary in _binaries(backend):
            try:
                path = find_ollama(backend, binary, environ=self._environ)
            except ServerError as error:
                yield problem(f"{what}{label}", _told(error), error.hint)
            else:
                yield ok(f"{what}{label}", f"{path} is there")

    def _ollama_of_user(self) -> Iterator[Finding]:
        found = shutil.which("ollama", path=self._environ.get("PATH", ""))
        if found is None:
            todo = "only needed for backends of kind ollama: see ollama.com"
            yield warning("ollama", "not on PATH", todo)
        else:
            yield ok("ollama", f"{found} is on PATH")
        url = ollama_url(self._environ.get("OLLAMA_HOST", ""))
        yield _asked_ollama("ollama server", url, Level.WARNING)

    @staticmethod
    def _at_most_warning(finding: Finding) -> Finding:
        """Return a finding as a warning where nothing says that the thing is needed."""
        if finding.level is not Level.PROBLEM:
            return finding
        return warning(finding.what, finding.found, finding.todo)


def _binaries(backend: LlamaServerBackend | OllamaBackend) -> list[tuple[str, str | None]]:
    if isinstance(backend.binary, dict):
        return [(f" {label}", path) for label, path in backend.binary.items()]
    return [("", backend.binary)]


def _ids(experiment: Experiment, backend: str) -> dict[str, str]:
    """Return model → id, of the models that an endpoint is asked for; an axis makes several."""
    found: dict[str, str] = {}
    for name, model in experiment.file.models.items():
        if model.backends is not None and backend not in model.backends:
            continue
        for axes in grid_points(model.axes):
            filled = fill_axes(model, axes).id
            if filled is not None:
                label = " ".join([name, *(f"{axis}={value}" for axis, value in axes.items())])
                found[label] = filled
    return found


def _told(error: ServerError) -> str:
    return f"{error.where}: {error.message}" if error.where else error.message


def ollama_url(host: str) -> str:
    """Return where an Ollama is that listens as `OLLAMA_HOST` says; any part may be missing."""
    parts = urlsplit(host if "://" in host else f"http://{host}")
    try:
        name, port = parts.hostname or "", parts.port
    except ValueError:
        name, port = "", None
    if name in ANYWHERE:
        name = "127.0.0.1"
    name = f"[{name}]" if ":" in name else name
    return f"http://{name}:{port or OLLAMA_PORT}"


def _asked_ollama(what: str, url: str, absent: Level) -> Finding:
    parts = urlsplit(url)
    shown = f"{parts.hostname}:{parts.port or OLLAMA_PORT}"
    if parts.hostname not in LOOPBACK:
        return ok(what, f"{shown} is not asked: it is not on this machine")
    page = _page(str(parts.hostname), parts.port or OLLAMA_PORT, "/api/version")
    if isinstance(page, dict) and isinstance(page.get("version"), str):
        return ok(what, f"{shown} answers: version {page['version']}")
    todo = "start it with `ollama serve`, or leave url: out, so that one is started for each launch"
    return Finding(level=absent, what=what, found=f"no Ollama answers at {shown}", todo=todo)


def _page(host: str, port: int, path: str) -> Any:  # noqa: ANN401  JSON from outside
    """Return the JSON of a page on this machine, asked without any proxy; None where there is none.

    aiohttp would take longer to import than all of this takes to run.
    """
    connection = http.client.HTTPConnection(host, port, timeout=ANSWER_TIMEOUT_S)
    with (
        contextlib.closing(connection),
        contextlib.suppress(OSError, http.client.HTTPException, ValueError),
    ):
        connection.request("GET", path)
        answer = connection.getresponse()
        return json.loads(answer.read(1 << 16)) if answer.status == _OK else None
    return None
