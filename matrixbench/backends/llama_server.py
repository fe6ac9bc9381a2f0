"""llama-server, started, watched and stopped for one launch."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import secrets
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from matrixbench.backends.build import llama_server_build, server_help
from matrixbench.backends.executable import find_executable
from matrixbench.backends.process import (
    ServerCommand,
    ServerProcess,
    free_port,
    server_environment,
)
from matrixbench.backends.protocol import SessionInfo
from matrixbench.backends.server_arguments import (
    HOST,
    alias,
    server_arguments,
    slots_of,
    template_file,
)
from matrixbench.backends.server_props import check_props, effective
from matrixbench.errors import ServerError
from matrixbench.records import Kind, Outcome, Refusal
from matrixbench.spec.backends import LlamaServerBackend

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping
    from contextlib import AbstractAsyncContextManager

    from matrixbench.backends.executable import Executable, ServerHelp
    from matrixbench.backends.file_hashes import FileHashes
    from matrixbench.backends.openai_chat import OpenAiChat
    from matrixbench.backends.protocol import LaunchOrder, Session
    from matrixbench.records import Build, ChatReply, ChatRequest, JsonObject

RESTART_PAUSES_S = (0.5, 2.0, 8.0)
"""How long to wait before each restart of a server that died; there are no more of them."""

HUNG_AFTER_S = 30.0
"""A server that answers no health probe for so long is taken for dead."""

PORT_TRIES = 4
PROBE_TIMEOUT_S = 10.0
DEATH_NOTICE_S = 0.25
"""A connection may be refused before the news of the server's death is here."""

_BIND_FAILED = re.compile(r"couldn't bind|failed to bind|address already in use", re.IGNORECASE)
_OK = 200
_UNAUTHORIZED = 401


class _PortTakenError(ServerError):
    """Another server has the port, or answers on it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LlamaServerOpener:
    """Opens sessions with llama-server.

    Args:
        environ: The environment from which servers get theirs.
        hashes: The memory of file hashes.
        restart_pauses_s: How long to wait before each restart of a server that died.
        hung_after_s: How long a server may answer no health probe until it is taken for dead.
    """

    environ: Mapping[str, str]
    hashes: FileHashes
    restart_pauses_s: tuple[float, ...] = RESTART_PAUSES_S
    hung_after_s: float = HUNG_AFTER_S

    def __call__(self, order: LaunchOrder) -> AbstractAsyncContextManager[Session]:
        """Return a context in which the server answers, and after which nothing of it is left.

        Raises (on entering):
            ServerError: No binary, an option or a template that it does not know, a server that
                dies at start, never gets ready, or does not do what was asked.
        """
        return self._open(order)

    @contextlib.asynccontextmanager
    async def _open(self, order: LaunchOrder) -> AsyncIterator[Session]:
        session = LlamaServerSession(await asyncio.to_thread(self._prepare, order), self)
        try:
            await session.start()
            yield session
        finally:
            await session.close()

    def _prepare(self, order: LaunchOrder) -> _Prepared:
        backend = order.backend
        if not isinstance(backend, LlamaServerBackend):
            raise ServerError(f"{order.name}: not a backend of kind llama-server")
        executable = find_executable(backend, order.binary, environ=self.environ)
        if (file := template_file(order)) is not None:
            file.write_text(order.template.text or "", encoding="utf-8")
        return _Prepared(
            order=order,
            executable=executable,
            build=llama_server_build(executable, order.model, self.hashes),
            known=server_help(executable, self.hashes),
            env=server_environment(self.environ, backend.env),
            concurrency=1 if order.faithful else backend.concurrency or slots_of(order),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Prepared:
    """What every start of a launch's server needs."""

    order: LaunchOrder
    executable: Executable
    build: Build
    known: ServerHelp
    env: Mapping[str, str]
    concurrency: int

    def command(self, port: int, key_file: Path) -> ServerCommand:
        flags = server_arguments(self.order, port=port, key_file=key_file, known=self.known)
        return ServerCommand(
            name=self.order.name,
            argv=(*self.executable.argv, *flags),
            env=self.env,
            log=self.order.folder / f"{self.order.name}.log",
        )


class LlamaServerSession:
    """A session with a server that is started again when it dies."""

    def __init__(self, prepared: _Prepared, opener: LlamaServerOpener) -> None:
        self._prepared = prepared
        self._pauses = opener.restart_pauses_s
        self._hung_after_s = opener.hung_after_s
        self._restarts = 0
        self._restarting = asyncio.Lock()
        self._process: ServerProcess | None = None
        self._chats: list[OpenAiChat] = []
        self._url = ""
        self._info = SessionInfo(build=prepared.build, concurrency=prepared.concurrency)

    @property
    def info(self) -> SessionInfo:
        """What is known of the server, as it was started last."""
        return self._info

    @property
    def pid(self) -> int | None:
        """The server's process, or None where none runs."""
        return None if self._process is None else self._process.pid

    async def ask(self, request: ChatRequest) -> ChatReply | Refusal:
        """Return the model's reply, or what came instead; raises nothing but cancellation."""
        if self._process is None:
            return Refusal(
                outcome=Outcome.ERRORED, kind=Kind.SERVER_CRASHED, reason="no server is running"
            )
        return await self._chats[-1].ask(request)

    async def ensure_alive(self) -> bool:
        """Start the server again if it died or hangs; return whether it had to be.

        Raises:
            ServerError: It died more often than it may, or does not come back; the message ends
                with its log's tail.
        """
        async with self._restarting:
            if await self._answers():
                return False
            ended = self._obituary()
            await self._stop()
            for pause in self._pauses[self._restarts :]:
                self._restarts += 1
                await asyncio.sleep(pause)
                try:
                    await self.start()
                except ServerError as error:
                    ended = error
                    await self._stop()
                else:
                    return True
            raise ended

    async def start(self) -> None:
        """Start the server on a free port and wait until it answers.

        A port is free when it is chosen and may be taken when the server binds it; then another
        one is tried. (Not every kind of server can choose by itself and tell.)

        Raises:
            ServerError: It dies, never gets ready, or does not do what was asked.
        """
        for tries_left in reversed(range(PORT_TRIES)):
            try:
                await self._start_on(free_port(HOST))
            except _PortTakenError:
                if not tries_left:
                    raise
                await self._stop()
            else:
                return

    async def close(self) -> None:
        """End the server and close all connections; nothing is left."""
        try:
            await self._stop()
        finally:
            for chat in self._chats:
                await chat.aclose()

    async def _stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            await process.stop()

    async def _start_on(self, port: int) -> None:
        from matrixbench.backends.openai_chat import OpenAiChat  # noqa: PLC0415  heavy: aiohttp

        prepared = self._prepared
        key = secrets.token_urlsafe(32)
        self._url = f"http://{HOST}:{port}"
        with _key_file(prepared.order, key) as file:
            command = prepared.command(port, file)
            offset = command.log.stat().st_size if command.log.exists() else 0
            self._process = process = await ServerProcess.start(command)
            # Two connections more than requests, so that a probe never waits behind them.
            chat = OpenAiChat(
                base_url=f"{self._url}/v1",
                model=alias(prepared.order),
                api_key=key,
                connections=prepared.concurrency + 2,
            )
            self._chats.append(chat)
            probe = _Probe(chat, self._url)
            try:
                await process.ready(probe, prepared.order.start_timeout_s)
            except ServerError as error:
                if not process.alive and _BIND_FAILED.search(_read_from(command.log, offset)):
                    raise _PortTakenError(error.message, hint=error.hint) from error
                raise
        check_props(prepared.order, probe.props)
        self._info = SessionInfo(
            build=prepared.build,
            concurrency=prepared.concurrency,
            command=command.argv,
            effective=effective(probe.props),
            log=command.log,
        )

    async def _answers(self) -> bool:
        """Return whether the server lives and answers its health probe, whatever it says."""
        process = self._process
        clock = asyncio.get_running_loop().time
        deadline = clock() + self._hung_after_s
        while process is not None and process.alive and (left := deadline - clock()) > 0:
            with contextlib.suppress(ConnectionError):
                await self._chats[-1].get(f"{self._url}/health", min(left, PROBE_TIMEOUT_S))
                return True
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(DEATH_NOTICE_S):
                    await process.wait()
        return False

    def _obituary(self) -> ServerError:
        process = self._process
        if process is None:
            return ServerError(f"{self._prepared.order.name}: no server is running")
        end = "hangs" if process.alive else f"died: {process.epitaph()}"
        return process.command.failure(f"the server {end}, after {self._restarts} restarts")


class _Probe:
    """Asks a server whether it is ready, and keeps what it says of itself."""

    def __init__(self, chat: OpenAiChat, url: str) -> None:
        self._chat = chat
        self._url = url
        self.props: JsonObject = {}

    async def __call__(self) -> bool:
        try:
            status, _ = await self._chat.get(f"{self._url}/health", PROBE_TIMEOUT_S)
            if status != _OK:
                return False
            status, body = await self._chat.get(f"{self._url}/props", PROBE_TIMEOUT_S)
        except ConnectionError:
            return False
        if status == _UNAUTHORIZED:
            raise _PortTakenError(f"another server answers on {self._url}")
        self.props = body if status == _OK and isinstance(body, dict) else {}
        return bool(self.props)


@contextlib.contextmanager
def _key_file(order: LaunchOrder, key: str) -> Iterator[Path]:
    """Keep a key in a file that only this user can read, until the server has read it."""
    handle, name = tempfile.mkstemp(prefix=f"{order.name}-", suffix=".key", dir=order.folder)
    try:
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(f"{key}\n")
        yield Path(name)
    finally:
        Path(name).unlink(missing_ok=True)


def _read_from(log: Path, offset: int) -> str:
    with contextlib.suppress(OSError), log.open("rb") as file:
        file.seek(offset)
        return file.read().decode(errors="replace")
    return ""
