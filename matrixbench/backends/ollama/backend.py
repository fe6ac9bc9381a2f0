"""Ollama: a server of our own for each launch, or one that runs already."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shlex
import shutil
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

from matrixbench.backends.build import hashing
from matrixbench.backends.http.address import beside, root_of, shown_url
from matrixbench.backends.http.openai_chat import ask_watching
from matrixbench.backends.http.requests import RetryPolicy
from matrixbench.backends.http.served_names import LOOPBACK, local_page
from matrixbench.backends.managed import (
    HOST,
    PortTakenError,
    RestartingSession,
    RestartPolicy,
    Started,
    bind_failed,
    on_free_port,
)
from matrixbench.backends.ollama.chat import OllamaApi, OllamaChat, Served, native_body, understand
from matrixbench.backends.ollama.model import OllamaModel, full_name, load_options
from matrixbench.backends.ollama.options import OllamaPart
from matrixbench.backends.ollama.server import (
    attached_build,
    check_runner,
    drop_blob,
    drop_tag,
    find_ollama,
    managed_build,
    models_folder,
    ollama_environment,
    present_build,
    runner_settings,
    server_settings,
)
from matrixbench.backends.option_files import file_contents, marked_only
from matrixbench.backends.process import ServerCommand, ServerProcess
from matrixbench.backends.registry import (
    Examined,
    ModelSource,
    Reproduction,
    ServerProgram,
    SessionInfo,
    Severity,
    at_file,
    binary_at,
    found_at,
    not_asked,
    ok,
    request_line,
    server_line,
    unknown,
    warning,
    without_key,
)
from matrixbench.errors import ServerError
from matrixbench.plan.cells import PresentBuild
from matrixbench.records import ChatRequest, Kind, Refusal
from matrixbench.spec.trust import program, url

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine, Iterator, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from matrixbench.backends.build import FileHashes
    from matrixbench.backends.http.openai_reply import Answer
    from matrixbench.backends.option_files import OptionFile
    from matrixbench.backends.registry import Asked, LaunchRequest, Session, Surroundings
    from matrixbench.plan.cells import Launch, Origin
    from matrixbench.records import Build, ChatReply, JsonObject
    from matrixbench.spec.models import Model
    from matrixbench.spec.trust import Use

DEATH_NOTICE_S = 0.25
"""Ollama binds before anything else, so that one whose port was taken is gone by then."""

GRACE_S = 15.0
"""Ollama ends its runners before itself."""

USUAL_PORT = 11434
_OTHER_PORT = 11435
"""For lines that somebody copies, so that the user's own Ollama is left alone."""

_MADE = (
    "the model was made for the run, from its file or with its template: make it first "
    "with ollama create {model} -f Modelfile"
)
ANYWHERE = frozenset({"", "0.0.0.0", "::"})  # noqa: S104  what a server listens on


class Server(Protocol):
    """Where an Ollama is had from."""

    @property
    def attached(self) -> bool:
        """Whether it is somebody else's."""

    async def start(self) -> tuple[OllamaApi, str]:
        """Return a server that answers, and its version.

        Raises:
            ServerError: There is none.
        """

    async def stop(self) -> None:
        """End it, if it is ours."""

    async def build(self, version: str, model: str) -> Build:
        """Return what really runs."""

    def checked(self) -> JsonObject:
        """Return what else is known of how the model runs, held against what was asked for.

        Raises:
            ServerError: It differs.
        """

    def forget(self, content: str) -> None:
        """Remove what a file that the server was sent leaves behind."""

    def remove(self, tag: str) -> None:
        """Remove a tag from a server that does not answer any more, if its folder is here."""

    @property
    def command(self) -> ServerCommand | None:
        """How it was started."""

    def failure(self, what: str) -> ServerError:
        """Return an error that shows what is known of it."""


@dataclass(slots=True, kw_only=True)
class Attached:
    """A server that runs already. It is never started and never stopped."""

    url: str = field(repr=False)
    shown: str
    attached: bool = True
    command: ServerCommand | None = None

    async def start(self) -> tuple[OllamaApi, str]:
        """Return the server if it answers, and its version."""
        api = OllamaApi(self.url, self.shown)
        version = await api.version()
        if version is None:
            await api.aclose()
            raise self.failure("no Ollama answers")
        return api, version

    async def stop(self) -> None:
        """Leave it running."""

    async def build(self, version: str, model: str) -> Build:
        """Return its url and what it reports."""
        return attached_build(self.shown, version, model)

    def checked(self) -> JsonObject:
        """Return nothing: its log is not here."""
        return {}

    def forget(self, content: str) -> None:
        """Leave it to the server, which prunes when it starts."""

    def remove(self, tag: str) -> None:
        """Leave it to the next launch that reaches the server."""

    def failure(self, what: str) -> ServerError:
        """Return an error that names the url."""
        return ServerError(what, where=self.shown, hint="is it running? `ollama serve` starts it")


@dataclass(slots=True, kw_only=True)
class Managed:
    """A server that is started for one launch, and ended with it."""

    order: LaunchRequest
    backend: OllamaPart
    executable: Path
    environ: Mapping[str, str] = field(repr=False)
    hashes: FileHashes
    models: Path
    contents: Mapping[str, str] = field(default_factory=dict)
    attached: bool = False
    started: Started | None = None
    process: ServerProcess | None = None

    @property
    def command(self) -> ServerCommand | None:
        """How it was started."""
        return None if self.started is None else self.started.command

    async def start(self) -> tuple[OllamaApi, str]:
        """Start the server on a free port."""
        return await on_free_port(self._start_on, self.stop)

    async def _start_on(self, port: int) -> tuple[OllamaApi, str]:
        self.started = started = Started.of(f"http://{HOST}:{port}", self._command(port))
        self.process = process = await ServerProcess.start(started.command)
        api = OllamaApi(started.url, started.url)
        versions: list[str] = []

        async def answers() -> bool:
            version = await api.version()
            versions.extend([] if version is None else [version])
            return version is not None

        try:
            await process.ready(answers, self.order.start_timeout_s)
            await _outlives(process, DEATH_NOTICE_S)
        except BaseException as error:
            await api.aclose()
            if isinstance(error, ServerError):
                await self.stop()
                if bind_failed(started):
                    raise PortTakenError(error.message, hint=error.hint) from error
            raise
        return api, versions[-1]

    def _command(self, port: int) -> ServerCommand:
        return ServerCommand(
            name=self.order.name,
            argv=(str(self.executable), "serve"),
            env=ollama_environment(
                self.environ,
                self.backend,
                self.order.options,
                port=port,
                go_template=self.order.template.ollama_text is not None,
            ),
            log=self.order.folder / f"{self.order.name}.log",
            grace_s=GRACE_S,
        )

    async def stop(self) -> None:
        """End the server and its runners."""
        process, self.process = self.process, None
        if process is not None:
            await process.stop()

    async def build(self, version: str, model: str) -> Build:
        """Return the executable with all that it may load, the model, and this machine."""
        return await hashing(
            managed_build,
            self.executable,
            model,
            self.hashes,
            version=version,
            contents=self.contents,
        )

    def checked(self) -> JsonObject:
        """Return how the runner was started, which only the log tells."""
        settings = runner_settings(self.started.printed() if self.started else "")
        check_runner(self.order, self.backend, settings)
        return {"runner": settings} if settings else {}

    def forget(self, content: str) -> None:
        """Remove the file that was sent, which Ollama keeps and does not use."""
        with contextlib.suppress(OSError):
            drop_blob(self.models, content)

    def remove(self, tag: str) -> None:
        """Remove a tag by hand: the server died, and its folder is here."""
        with contextlib.suppress(OSError):
            drop_tag(self.models, tag)

    def failure(self, what: str) -> ServerError:
        """Return an error that shows the command line and the log's tail."""
        if self.command is None:
            return ServerError(f"{self.order.name}: {what}")
        if self.process is not None and not self.process.alive:
            what = f"{what}: it died: {self.process.how_it_ended()}"
        return self.command.failure(what)


async def _outlives(process: ServerProcess, seconds: float) -> None:
    """Wait so long; raise ServerError if the server dies meanwhile."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await process.wait()
        raise process.command.failure(f"died at start: {process.how_it_ended()}")


@contextlib.asynccontextmanager
async def open_ollama(
    order: LaunchRequest,
    environ: Mapping[str, str],
    hashes: FileHashes,
    policy: RestartPolicy | None = None,
    retries: RetryPolicy | None = None,
) -> AsyncIterator[Session]:
    """Make a model answer in an Ollama; no server and no tag of ours is left afterwards.

    Args:
        policy: How much a server is borne with; one that runs elsewhere is asked again as often.
        retries: How to retry requests.

    Raises:
        ServerError: No binary, a server that dies at start, never gets ready or does not answer, a
            model that cannot be had, or one that is not what was asked for.
    """
    found = await asyncio.to_thread(order.meant, marked_only, environ)
    order = replace(order, options=found.options)
    server = await hashing(_server, order, found.files, environ, hashes)
    session = OllamaSession(order, server, policy or RestartPolicy(), retries or RetryPolicy())
    try:
        await session.start()
        yield session
    finally:
        await _to_its_end(session.close())


def _server(
    order: LaunchRequest,
    files: Sequence[OptionFile],
    environ: Mapping[str, str],
    hashes: FileHashes,
) -> Server:
    backend = order.backend
    if backend.url is not None:
        url = root_of(backend.url)
        return Attached(url=url, shown=shown_url(url))
    named = backend.binary_of(order.binary)
    return Managed(
        order=order,
        backend=backend,
        executable=find_ollama(named, environ=environ),
        environ=environ,
        hashes=hashes,
        models=models_folder(backend, environ),
        contents=file_contents(files, hashes),
    )


class OllamaSession(RestartingSession):
    """A session with a model in an Ollama."""

    def __init__(
        self,
        order: LaunchRequest,
        server: Server,
        policy: RestartPolicy,
        retries: RetryPolicy,
    ) -> None:
        super().__init__(policy)
        self._order = order
        self._server = server
        self._retries = retries
        self._crashed = False
        self._api: OllamaApi | None = None
        self._chats: list[OllamaChat] = []
        self._model: OllamaModel | None = None
        self._info: SessionInfo | None = None

    @property
    def info(self) -> SessionInfo:
        """What is known of the server, as it was started last."""
        if self._info is None:
            raise RuntimeError("the session was not started")
        return self._info

    async def start(self) -> None:
        """Make the model answer.

        Raises:
            ServerError: It does not, or is not what was asked for.
        """
        self._api, version = await self._server.start()
        self._model = model = OllamaModel(
            api=self._api,
            order=self._order,
            backend=self._order.backend,
            attached=self._server.attached,
        )
        try:
            effective = {"version": version, **await model.prepare(), **self._server.checked()}
        finally:
            if self._order.model.path is not None and model.source:
                await asyncio.to_thread(self._server.forget, model.source)
        at_a_time = self._order.concurrency
        command = self._server.command
        self._chats.append(
            OllamaChat(
                url=self._api.url,
                served=model.served,
                name=self._order.model.name,
                connections=at_a_time,
                policy=self._retries,
            )
        )
        self._info = SessionInfo(
            build=await self._server.build(version, model.source),
            concurrency=at_a_time,
            command=() if command is None else command.argv,
            effective=effective,
            log=None if command is None else command.log,
        )

    async def _ask(self, request: ChatRequest) -> ChatReply | Refusal | None:
        if not self._chats:
            return None
        chat = self._chats[-1]
        answer = await ask_watching(chat, request, pages=(beside(chat.root, "/api/version"),))
        if isinstance(answer, Refusal) and answer.kind is Kind.SERVER_CRASHED:
            # Ollama lives on when the program that runs the model dies. To the trials it is the
            # same: those in flight are lost, and one of them may have killed it.
            self._crashed = True
            return replace(answer, kind=Kind.NO_CONNECTION)
        return answer

    async def rendered(self, body: JsonObject) -> str | None:
        """Return the prompt that a request becomes; None where the server does not show it."""
        return await self._chats[-1].rendered(body) if self._chats else None

    async def _is_well(self) -> bool:
        return not self._crashed and await self._answers()

    def _ended(self) -> ServerError:
        return self._server.failure(f"the server does not answer, after {self._restarts} restarts")

    async def _let_go(self) -> None:
        """Leave what may still answer, and hold the model."""

    async def _bring_back(self) -> bool:
        """Load the model again where the server still answers, else start that again too.

        A running server that was replaced by one of another version counts as died: `info` has its
        build then.
        """
        crashed, before = self._crashed, self.info.build.id
        if self._api is not None and self._model is not None and await self._answers():
            await self._api.load(self._model.served, self._order.start_timeout_s)
        else:
            await self._server.stop()
            if self._api is not None:
                await self._api.aclose()
            await self.start()
        self._crashed = False
        return crashed or self.info.build.id != before or not self._server.attached

    async def _answers(self) -> bool:
        """Return whether the Ollama answers that the session began with."""
        return self._api is not None and await self._api.version() == self.info.effective["version"]

    async def close(self) -> None:
        """Remove the throw-away tag, end the server if it is ours, close all connections."""
        try:
            await self._remove_tag()
        finally:
            try:
                await self._server.stop()
            finally:
                for chat in self._chats:
                    await chat.aclose()
                if self._api is not None:
                    await self._api.aclose()

    async def _remove_tag(self) -> None:
        if self._model is None:
            return
        try:
            await self._model.remove()
        except ServerError:
            if self._model.made is not None:
                await asyncio.to_thread(self._server.remove, self._model.made)


async def _to_its_end(closing: Coroutine[object, object, None]) -> None:
    """Await something that must not be left half done; a cancellation is held back until then."""
    task = asyncio.ensure_future(closing)
    cancelled = False
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            cancelled = True
    task.result()
    if cancelled:
        raise asyncio.CancelledError


class OllamaBackend(OllamaPart):
    """Ollama, by its own API: `ollama serve` started for each launch, or one that runs already."""

    def needs_file(self, model: Model) -> bool:
        """Return whether a tag is made from a file, because the model has none of its own."""
        return model.ollama is None

    def source(self, name: str, model: Model) -> ModelSource:
        """Return a model by its tag."""
        return ModelSource(name=name, id=model.ollama)

    @property
    def origin_url(self) -> str | None:
        """Where it runs already, without the `/v1` of its other API."""
        return None if self.url is None else root_of(self.url)

    def uses(self, models: Sequence[Model], around: Surroundings) -> Iterator[Use]:
        """Yield the program that is found where the file names none, too."""
        yield from super().uses(models, around)
        if self.url is None and self.binary is None:
            with contextlib.suppress(ServerError):
                found = find_ollama(None, environ=around.environ)
                yield program(str(found), free="found on PATH")

    def placed(self, launch: Launch, origin: Origin, around: Surroundings) -> Origin:
        """Return an origin with the executable."""
        if self.url is not None:
            return origin
        path = find_ollama(self.binary_of(launch.binary), environ=around.environ)
        return at_file(origin, path)

    def present(self, launch: Launch, origin: Origin, around: Surroundings) -> PresentBuild:
        """Return the executable with all that it may load, the model, and this machine."""
        if self.url is not None:
            return unknown(origin, "a server that runs is asked only by a run")
        tag, sha256 = launch.source.ollama, None
        try:
            if tag is None and (source := around.located(launch)) is not None:
                sha256 = source.sha256
                origin = replace(origin, model=sha256 or "")
            build = present_build(
                self,
                self.binary_of(launch.binary),
                ModelSource(name=launch.model, id=tag, sha256=sha256),
                environ=around.environ,
                hashes=around.hashes,
                contents=around.contents(launch),
            )
        except (ServerError, OSError) as error:
            return unknown(origin, error, gone=True)
        return PresentBuild(build=build, verified=True, origin=origin.of_build(build))

    def program(self, launch: Launch, around: Surroundings) -> ServerProgram | None:
        """Return the executable; None where it runs already."""
        if self.url is not None:
            return None
        named = self.binary_of(launch.binary)

        def find() -> Path:
            return find_ollama(named, environ=around.environ)

        return ServerProgram(find, binary_at(launch), by_path=launch.binary is not None)

    def open(
        self, order: LaunchRequest, around: Surroundings
    ) -> AbstractAsyncContextManager[Session]:
        """Return a context in which the model answers, and after which no tag of ours is left."""
        return open_ollama(order, around.environ, around.hashes)

    @classmethod
    def answers_like(cls, data: Any) -> bool:
        """Return whether it is a reply of `/api/chat`."""
        match data:
            case {"message": {"role": "assistant"}, "model": str()}:
                return True
            case _:
                return False

    @classmethod
    def understood(cls, answer: Answer) -> ChatReply | Refusal | None:
        """Return what an answer of `/api/chat` means."""
        return understand(answer)

    def examine(
        self, what: str, ids: Mapping[str, str], around: Surroundings
    ) -> Iterator[Examined]:
        """Yield whether the executable is there, or the server answers."""
        if self.url is not None:
            if around.trust.allows([url(self.url)]):
                yield _asked(what, self.url, Severity.PROBLEM)
            else:
                yield not_asked(what, shown_url(self.url), around)
            return
        for label, binary in self.builds:
            named = what if label is None else f"{what} {label}"
            yield found_at(
                named, partial(find_ollama, self.binary_of(binary), environ=around.environ)
            )

    @classmethod
    def examine_machine(cls, around: Surroundings, *, named: bool) -> Iterator[Examined]:
        """Yield whether the user's own Ollama is there, and runs."""
        found = shutil.which("ollama", path=around.environ.get("PATH", ""))
        if found is None:
            todo = "only needed for backends of kind ollama: see ollama.com"
            yield warning("ollama", "not on PATH", todo)
        else:
            yield ok("ollama", f"{found} is on PATH")
        url = ollama_url(around.environ.get("OLLAMA_HOST", ""))
        yield _asked("ollama server", url, Severity.WARNING)

    @classmethod
    def reproduce(cls, asked: Asked) -> Reproduction:
        """Return the lines for Ollama, which was asked by its own API.

        A server that was started here is told its settings by variables, and a port of its own, so
        that the user's own Ollama is left alone.
        """
        launch = asked.launch
        if launch is None or not isinstance(launch.spec, cls):
            return Reproduction(server=server_line({}, without_key(asked.command)))
        backend, options = launch.spec, launch.options
        if asked.around is not None:  # with paths as the server got them, which nothing else keeps
            options = backend.meant(launch, asked.around).options
        attached = ""
        if backend.url is not None and asked.build is not None:
            attached = json.loads(asked.build.server)["url"]
        go_template = launch.template.ollama_text is not None
        settings = server_settings(backend, options, port=_OTHER_PORT, go_template=go_template)
        if backend.models_dir is not None:
            settings["OLLAMA_MODELS"] = backend.models_dir
        server = server_line({**settings, **backend.env}, asked.command)
        if asked.body is None:
            return Reproduction(server=server)
        made = launch.source.ollama is None or go_template
        served = Served(
            model=launch.model if made else full_name(launch.source.ollama or ""),
            options=load_options(backend, options),
        )
        request = ChatRequest(body=asked.body, seed=asked.seed, trial=0, test="", timeout_s=0)
        at = attached or f"http://127.0.0.1:{_OTHER_PORT}"
        url = shlex.quote(f"{at.rstrip('/')}/api/chat")
        return Reproduction(
            server=server,
            request=request_line(url, native_body(request, served)),
            note=_MADE.format(model=launch.model) if made else "",
        )


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
    return f"http://{name}:{port or USUAL_PORT}"


def _asked(what: str, url: str, absent: Severity) -> Examined:
    parts = urlsplit(url)
    shown = f"{parts.hostname}:{parts.port or USUAL_PORT}"
    if parts.hostname not in LOOPBACK:
        return ok(what, f"{shown} is not asked: it is not on this machine")
    page = local_page(f"http://{parts.netloc.rpartition('@')[2]}/api/version").data
    if isinstance(page, dict) and isinstance(page.get("version"), str):
        return ok(what, f"{shown} answers: version {page['version']}")
    todo = "start it with `ollama serve`, or leave url: out, so that one is started for each launch"
    return Examined(level=absent, what=what, found=f"no Ollama answers at {shown}", todo=todo)
