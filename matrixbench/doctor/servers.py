"""The servers, endpoints and models that an experiment names."""

from __future__ import annotations

import contextlib
import http.client
import importlib.util
import json
import shutil
import socket
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from matrixbench.backends.build import find_program, llama_server_build
from matrixbench.backends.http.address import address_of, beside, other_form, shown_url
from matrixbench.backends.http.served_names import has_id, ids_in, ids_told, nearest_ids
from matrixbench.backends.llama.executable import find_executable, install_line
from matrixbench.backends.ollama.server import find_ollama
from matrixbench.backends.process import server_environment
from matrixbench.doctor.findings import Examined, Severity, ok, problem, size, warning
from matrixbench.errors import ModelError, ServerError
from matrixbench.models.gguf import check_magic, check_whole
from matrixbench.models.sources import locate
from matrixbench.plan.applicability import takes_file
from matrixbench.plan.launches import fill_axes
from matrixbench.spec.backends import (
    Backend,
    CommandBackend,
    EndpointBackend,
    LlamaServerBackend,
    OllamaBackend,
    ScriptedBackend,
)
from matrixbench.spec.base import grid_points

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from matrixbench.backends.build import FileHashes
    from matrixbench.backends.http.address import Address
    from matrixbench.run.settings import Settings
    from matrixbench.spec.load import Experiment
    from matrixbench.spec.models import Model


def examine_models(experiment: Experiment, settings: Settings) -> Iterator[Examined]:
    """Yield for each model that some backend takes as a file whether it is on this machine."""
    for name, model in experiment.file.models.items():
        if not _is_needed(experiment, model):
            continue
        for axes in grid_points(model.axes):
            what = " ".join([f"model {name}", *(f"{axis}={value}" for axis, value in axes.items())])
            yield _model(what, fill_axes(model, axes), settings)


def _is_needed(experiment: Experiment, model: Model) -> bool:
    return any(
        isinstance(backend, LlamaServerBackend)
        or (isinstance(backend, CommandBackend) and takes_file(backend, model))
        or (isinstance(backend, OllamaBackend) and model.ollama is None)
        for name, backend in experiment.file.backends.items()
        if model.backends is None or name in model.backends
    )


def _model(what: str, model: Model, settings: Settings) -> Examined:
    if model.gguf is None and model.hf is None and model.package is None:
        return warning(what, "has no file", "give it gguf:, hf: or package:, or say backends:")
    files = locate(model, cache=settings.cache, environ=settings.environ)
    if files is not None:
        try:
            check_magic(files.paths)
            check_whole(files.paths)
        except ModelError as error:
            return problem(what, f"{error.where}: {error.message}", error.hint)
        total = sum(path.stat().st_size for path in files.paths)
        parts = f" in {len(files.paths)} files" if len(files.paths) > 1 else ""
        return ok(what, f"{files.origin} is here, {size(total)}{parts}")
    if model.gguf is not None:
        return problem(what, f"{model.gguf} is not there", "correct gguf:, or fetch the file")
    source = model.hf if model.hf is not None else f"{model.package and model.package.name}"
    todo = "execute fetches it: have room on the disk, and a connection"
    return warning(what, f"{source} is not here yet", todo)


ENDPOINT_TIMEOUT_S = 2.0
MOST_BYTES = 1 << 20
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
ANY_MODEL = "llamacpp"
"""The owner of a model that llama.cpp lists: its server answers whatever id is asked for."""

_ENDPOINT_OK, _REFUSED = 200, frozenset({401, 403})


class Answered(NamedTuple):
    """What a page answered: its status, 0 where nothing came, and its JSON."""

    status: int
    data: Any

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of the models that it lists."""
        return ids_in(self.data) if self.status == _ENDPOINT_OK else ()


def examine_endpoint(
    what: str, backend: EndpointBackend, models: Mapping[str, str], environ: Mapping[str, str]
) -> Iterator[Examined]:
    """Yield what there is to say of an endpoint and of the models that it is asked for.

    Only a server on this machine is asked, for its list of models and nothing else.

    Args:
        what: How the endpoint is called.
        backend: Its part of the file.
        models: Model → the id that it is asked for.
        environ: The environment variables.
    """
    try:
        address = address_of(backend, environ)
    except ServerError as error:
        where = f"{error.where}: " if error.where else ""
        yield problem(what, f"{where}{error.message}", error.hint)
        return
    key = "" if address.key_env is None else f", the key in {address.key_env} is set"
    parts = urlsplit(address.url)
    if parts.hostname not in LOOPBACK:
        yield ok(what, f"{address.shown}{key}; not asked: it is not on this machine")
        return
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        with socket.create_connection((parts.hostname, port), ENDPOINT_TIMEOUT_S):
            pass
    except OSError as error:
        found = f"{address.shown} takes no connection ({error.strerror or 'no answer'}){key}"
        yield problem(what, found, "start the server, or correct the url's port")
        return
    yield from _asked(what, address, models, key)


def _asked(what: str, address: Address, models: Mapping[str, str], key: str) -> Iterator[Examined]:
    """Yield what the list of models tells."""
    asked = beside(address.url, "/models")
    page = _endpoint_page(asked, address.key)
    if page.ids:
        count = f"{len(page.ids)} model" + ("" if len(page.ids) == 1 else "s")
        yield ok(what, f"{address.shown} answers: {count}{key}")
        for name, wanted in models.items():
            yield from _endpoint_model(f"{what}, model {name}", wanted, page)
        return
    shown = shown_url(asked)
    if page.status in _REFUSED:
        todo = "check the key" if address.key_env else "name the key with api_key_env"
        yield problem(what, f"{shown} answers HTTP {page.status}{key}", todo)
        return
    other = other_form(address.url)
    if page.status and _endpoint_page(beside(other, "/models"), address.key).ids:
        found = f"{shown} answers HTTP {page.status}, and {shown_url(other)} as a chat API does"
        yield problem(what, found, f"write url: {shown_url(other)}")
        return
    if not page.status:
        yield ok(what, f"{address.shown} takes connections{key}")
        return
    found = f"{address.shown} takes connections{key}; {shown} answers HTTP {page.status}"
    yield warning(what, found, "some servers list no models; is the url right, with its /v1?")


def _endpoint_model(what: str, wanted: str, page: Answered) -> Iterator[Examined]:
    if has_id(wanted, page.ids):
        return
    found = f"the server does not list «{wanted}»; it has {ids_told(wanted, page.ids)}"
    todo = f"write id: {nearest_ids(wanted, page.ids)[0]}, or load the model there"
    entries = page.data.get("data") if isinstance(page.data, dict) else None
    owners = {entry.get("owned_by") for entry in entries or () if isinstance(entry, dict)}
    say = warning if owners == {ANY_MODEL} else problem
    yield say(what, found, todo)


def _endpoint_page(url: str, key: str | None) -> Answered:
    """Return what a page on this machine answers, asked without any proxy."""
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(str(parts.hostname), parts.port, timeout=ENDPOINT_TIMEOUT_S)
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    path = parts._replace(scheme="", netloc="", fragment="").geturl()
    with (
        contextlib.closing(connection),
        contextlib.suppress(OSError, http.client.HTTPException, ValueError, RecursionError),
    ):
        connection.request("GET", path or "/", headers=headers)
        answer = connection.getresponse()
        body = answer.read(MOST_BYTES)
        with contextlib.suppress(ValueError, RecursionError):
            return Answered(answer.status, json.loads(body))
        return Answered(answer.status, None)
    return Answered(0, None)


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

    def examine(self, experiment: Experiment | None) -> Iterator[Examined]:
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

    def _backend(self, what: str, backend: Backend, ids: Mapping[str, str]) -> Iterator[Examined]:
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

    def _llama_server(self, what: str, backend: LlamaServerBackend, binary: str | None) -> Examined:
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
    def _embedded() -> Examined:
        if importlib.util.find_spec("xllamacpp") is None:
            return warning(
                "embedded server",
                "not installed",
                f"only needed without a binary: {install_line()}",
            )
        return ok("embedded server", f"xllamacpp {version('xllamacpp')}")

    def _command(self, what: str, backend: CommandBackend) -> Examined:
        program = backend.argv[0]
        if "{" in program:
            return ok(what, f"«{program}» is known only when it runs")
        env = server_environment(self._environ, backend.env)
        try:
            return ok(what, f"{find_program(program, env)} is there")
        except ServerError as error:
            return problem(what, _told(error), error.hint)

    def _ollama(self, what: str, backend: OllamaBackend) -> Iterator[Examined]:
        if backend.url is not None:
            yield _asked_ollama(what, backend.url, Severity.PROBLEM)
            return
        for label, binary in _binaries(backend):
            try:
                path = find_ollama(backend, binary, environ=self._environ)
            except ServerError as error:
                yield problem(f"{what}{label}", _told(error), error.hint)
            else:
                yield ok(f"{what}{label}", f"{path} is there")

    def _ollama_of_user(self) -> Iterator[Examined]:
        found = shutil.which("ollama", path=self._environ.get("PATH", ""))
        if found is None:
            todo = "only needed for backends of kind ollama: see ollama.com"
            yield warning("ollama", "not on PATH", todo)
        else:
            yield ok("ollama", f"{found} is on PATH")
        url = ollama_url(self._environ.get("OLLAMA_HOST", ""))
        yield _asked_ollama("ollama server", url, Severity.WARNING)

    @staticmethod
    def _at_most_warning(finding: Examined) -> Examined:
        """Return a finding as a warning where nothing says that the thing is needed."""
        if finding.level is not Severity.PROBLEM:
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


def _asked_ollama(what: str, url: str, absent: Severity) -> Examined:
    parts = urlsplit(url)
    shown = f"{parts.hostname}:{parts.port or OLLAMA_PORT}"
    if parts.hostname not in LOOPBACK:
        return ok(what, f"{shown} is not asked: it is not on this machine")
    page = _page(str(parts.hostname), parts.port or OLLAMA_PORT, "/api/version")
    if isinstance(page, dict) and isinstance(page.get("version"), str):
        return ok(what, f"{shown} answers: version {page['version']}")
    todo = "start it with `ollama serve`, or leave url: out, so that one is started for each launch"
    return Examined(level=absent, what=what, found=f"no Ollama answers at {shown}", todo=todo)


def _page(host: str, port: int, path: str) -> Any:
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
