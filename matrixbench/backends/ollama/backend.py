"""Ollama: a server of our own for each launch, or one that runs already."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

from matrixbench.backends.http.address import beside, root_of, shown_url
from matrixbench.backends.http.openai_chat import ask_watching
from matrixbench.backends.http.requests import RetryPolicy
from matrixbench.backends.llama.option_files import file_contents, marked_only, meant_by
from matrixbench.backends.ollama.model import OllamaModel
from matrixbench.backends.ollama.server import (
    attached_build,
    check_runner,
    drop_blob,
    drop_tag,
    find_ollama,
    managed_build,
    models_folder,
    ollama_environment,
    runner_settings,
)
from matrixbench.backends.process import ServerCommand, ServerProcess, free_port
from matrixbench.backends.protocol import SessionInfo
from matrixbench.errors import ServerError
from matrixbench.records import Kind, Outcome, Refusal
from matrixbench.spec.backends import OllamaBackend

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from matrixbench.backends.build import FileHashes
    from matrixbench.backends.llama.option_files import OptionFile
    from matrixbench.backends.ollama.chat import OllamaApi, OllamaChat
    from matrixbench.backends.protocol import LaunchRequest, Session
    from matrixbench.records import Build, ChatReply, ChatRequest, JsonObject

PORT_TRIES = 4
DEATH_NOTICE_S = 0.25
"""Ollama binds before anything else, so that one whose port was taken is gone by then."""

GRACE_S = 15.0
"""Ollama ends its runners before itself."""

_PORT_TAKEN = "address already in use"


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
        from matrixbench.backends.ollama.chat import OllamaApi  # noqa: PLC0415  heavy: aiohttp

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
    backend: OllamaBackend
    executable: Path
    environ: Mapping[str, str] = field(repr=False)
    hashes: FileHashes
    models: Path
    contents: Mapping[str, str] = field(default_factory=dict)
    attached: bool = False
    command: ServerCommand | None = None
    url: str = ""
    process: ServerProcess | None = None
    _offset: int = 0

    async def start(self) -> tuple[OllamaApi, str]:
        """Start the server on a free port, which may be taken before it binds it: then again."""
        for tries_left in reversed(range(PORT_TRIES)):
            command = self._command(free_port())
            try:
                return await self._start(command)
            except ServerError:
                await self.stop()
                if not tries_left or _PORT_TAKEN not in self._said():
                    raise
        raise AssertionError

    async def _start(self, command: ServerCommand) -> tuple[OllamaApi, str]:
        from matrixbench.backends.ollama.chat import OllamaApi  # noqa: PLC0415  heavy: aiohttp

        self.command = command
        self._offset = command.log.stat().st_size if command.log.exists() else 0
        self.process = process = await ServerProcess.start(command)
        api = OllamaApi(self.url, self.url)
        versions: list[str] = []

        async def answers() -> bool:
            version = await api.version()
            versions.extend([] if version is None else [version])
            return version is not None

        try:
            await process.ready(answers, self.order.start_timeout_s)
            await _outlives(process, DEATH_NOTICE_S)
        except BaseException:
            await api.aclose()
            raise
        return api, versions[-1]

    def _command(self, port: int) -> ServerCommand:
        self.url = f"http://127.0.0.1:{port}"
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

    def _said(self) -> str:
        """Return the log of the server that was started last."""
        if self.command is None:
            return ""
        with contextlib.suppress(OSError), self.command.log.open("rb") as file:
            file.seek(self._offset)
            return file.read().decode(errors="replace")
        return ""

    async def stop(self) -> None:
        """End the server and its runners."""
        process, self.process = self.process, None
        if process is not None:
            await process.stop()

    async def build(self, version: str, model: str) -> Build:
        """Return the executable with all that it may load, the model, and this machine."""
        return await asyncio.to_thread(
            managed_build,
            self.executable,
            model,
            self.hashes,
            version=version,
            contents=self.contents,
        )

    def checked(self) -> JsonObject:
        """Return how the runner was started, which only the log tells."""
        settings = runner_settings(self._said())
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


RESTART_PAUSES_S = (0.5, 2.0, 8.0)
"""How long to wait before each restart of a server that died; there are no more of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OllamaOpener:
    """Opens sessions with Ollama.

    Args:
        environ: The environment from which servers get theirs.
        hashes: The memory of file hashes.
        restart_pauses_s: How long to wait before each restart of a server that died, and before
            asking one again that runs elsewhere.
        policy: How to retry requests.
    """

    environ: Mapping[str, str]
    hashes: FileHashes
    restart_pauses_s: tuple[float, ...] = RESTART_PAUSES_S
    policy: RetryPolicy = field(default_factory=RetryPolicy)

    def __call__(self, order: LaunchRequest) -> AbstractAsyncContextManager[Session]:
        """Return a context in which the model answers, and after which no tag of ours is left.

        Raises (on entering):
            ServerError: No binary, a server that dies at start, never gets ready or does not
                answer, a model that cannot be had, or one that is not what was asked for.
        """
        return self._open(order)

    @contextlib.asynccontextmanager
    async def _open(self, order: LaunchRequest) -> AsyncIterator[Session]:
        backend = order.backend
        if not isinstance(backend, OllamaBackend):
            raise ServerError(f"{order.name}: not a backend of kind ollama")
        found = await asyncio.to_thread(meant_by, order, marked_only, self.environ)
        order = replace(order, options=found.options)
        server = await asyncio.to_thread(self._server, order, backend, found.files)
        session = OllamaSession(order, backend, server, self)
        try:
            await session.start()
            yield session
        finally:
            await _to_its_end(session.close())

    def _server(
        self, order: LaunchRequest, backend: OllamaBackend, files: Sequence[OptionFile]
    ) -> Server:
        if backend.url is not None:
            url = root_of(backend.url)
            return Attached(url=url, shown=shown_url(url))
        return Managed(
            order=order,
            backend=backend,
            executable=find_ollama(backend, order.binary, environ=self.environ),
            environ=self.environ,
            hashes=self.hashes,
            models=models_folder(backend, self.environ),
            contents=file_contents(files, self.hashes),
        )


class OllamaSession:
    """A session with a model in an Ollama."""

    def __init__(
        self,
        order: LaunchRequest,
        backend: OllamaBackend,
        server: Server,
        opener: OllamaOpener,
    ) -> None:
        self._order = order
        self._backend = backend
        self._server = server
        self._pauses_s = opener.restart_pauses_s
        self._policy = opener.policy
        self._restarts = 0
        self._reviving = asyncio.Lock()
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
        from matrixbench.backends.ollama.chat import OllamaChat  # noqa: PLC0415  heavy: aiohttp

        self._api, version = await self._server.start()
        self._model = model = OllamaModel(
            api=self._api,
            order=self._order,
            backend=self._backend,
            attached=self._server.attached,
        )
        try:
            effective = {"version": version, **await model.prepare(), **self._server.checked()}
        finally:
            if self._order.model.path is not None and model.source:
                await asyncio.to_thread(self._server.forget, model.source)
        at_a_time = 1 if self._order.faithful else self._backend.concurrency or self._backend.slots
        command = self._server.command
        self._chats.append(
            OllamaChat(
                url=self._api.url,
                served=model.served,
                name=self._order.model.name,
                connections=at_a_time,
                policy=self._policy,
            )
        )
        self._info = SessionInfo(
            build=await self._server.build(version, model.source),
            concurrency=at_a_time,
            command=() if command is None else command.argv,
            effective=effective,
            log=None if command is None else command.log,
        )

    async def ask(self, request: ChatRequest) -> ChatReply | Refusal:
        """Return the model's reply, or what came instead; raises nothing but cancellation."""
        if self._reviving.locked():
            async with self._reviving:  # what is asked now is for the server that comes back
                pass
        if not self._chats:
            return Refusal(
                outcome=Outcome.ERRORED, kind=Kind.NO_CONNECTION, reason="no server is running"
            )
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

    def forgive(self, deaths: int) -> None:
        """Forget deaths that a request is to blame for; they do not count against the bound."""
        self._restarts = max(0, self._restarts - deaths)

    async def ensure_alive(self) -> bool:
        """Bring the model back if its server or its runner died; return whether it had to be.

        A running server that was replaced by one of another version counts as died: `info` has its
        build then.

        Raises:
            ServerError: It died more often than it may, or does not come back.
        """
        async with self._reviving:
            crashed, self._crashed = self._crashed, False
            before = self.info.build.id
            if not crashed and await self._answers():
                return False
            ended = self._server.failure(
                f"the server does not answer, after {self._restarts} restarts"
            )
            for pause in self._pauses_s[self._restarts :]:
                self._restarts += 1
                await asyncio.sleep(pause)
                try:
                    await self._revive()
                except ServerError as error:
                    ended = error
                else:
                    replaced = self.info.build.id != before
                    return crashed or replaced or not self._server.attached
            raise ended

    async def _answers(self) -> bool:
        """Return whether the Ollama answers that the session began with."""
        return self._api is not None and await self._api.version() == self.info.effective["version"]

    async def _revive(self) -> None:
        """Load the model again where the server still answers, else start that again too."""
        if self._api is not None and self._model is not None and await self._answers():
            await self._api.load(self._model.served, self._order.start_timeout_s)
            return
        await self._server.stop()
        if self._api is not None:
            await self._api.aclose()
        await self.start()

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
