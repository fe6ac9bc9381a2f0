"""Ollama: a server of our own for each launch, or one that runs already."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from matrixbench.backends.address import beside, root_of, shown_url
from matrixbench.backends.ollama_model import OllamaModel
from matrixbench.backends.ollama_places import Attached, Managed
from matrixbench.backends.ollama_server import find_ollama, models_folder
from matrixbench.backends.option_files import file_contents, marked_only, meant_by
from matrixbench.backends.protocol import SessionInfo
from matrixbench.backends.retry import RetryPolicy
from matrixbench.backends.token_flow import ask_watching
from matrixbench.errors import ServerError
from matrixbench.records import Kind, Outcome, Refusal
from matrixbench.spec.backends import OllamaBackend

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager

    from matrixbench.backends.file_hashes import FileHashes
    from matrixbench.backends.ollama_http import OllamaApi, OllamaChat
    from matrixbench.backends.ollama_places import Server
    from matrixbench.backends.option_files import OptionFile
    from matrixbench.backends.protocol import LaunchOrder, Session
    from matrixbench.records import ChatReply, ChatRequest, JsonObject

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

    def __call__(self, order: LaunchOrder) -> AbstractAsyncContextManager[Session]:
        """Return a context in which the model answers, and after which no tag of ours is left.

        Raises (on entering):
            ServerError: No binary, a server that dies at start, never gets ready or does not
                answer, a model that cannot be had, or one that is not what was asked for.
        """
        return self._open(order)

    @contextlib.asynccontextmanager
    async def _open(self, order: LaunchOrder) -> AsyncIterator[Session]:
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
        self, order: LaunchOrder, backend: OllamaBackend, files: Sequence[OptionFile]
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
        order: LaunchOrder,
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
        from matrixbench.backends.ollama_http import OllamaChat  # noqa: PLC0415  heavy: aiohttp

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

    def absolve(self, deaths: int) -> None:
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
