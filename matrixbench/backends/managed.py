"""A session with a server that is started here: waited for, started again when it dies."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import re
import secrets
import tempfile
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

from matrixbench.backends.http.openai_chat import PROBE_TIMEOUT_S, ask_watching, rendered
from matrixbench.backends.process import ServerProcess, free_port, shorten_log
from matrixbench.backends.registry import SessionInfo
from matrixbench.errors import ServerError
from matrixbench.records import ChatReply, Kind, Outcome, Refusal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from matrixbench.backends.http.openai_chat import OpenAiChat
    from matrixbench.backends.process import ServerCommand
    from matrixbench.records import Build, ChatRequest, JsonObject

Found = TypeVar("Found")
SUFFIX = ".key"


@contextlib.contextmanager
def key_file(folder: Path, name: str, key: str | None) -> Iterator[Path]:
    """Keep a key in a file of a folder; without a key there is no file."""
    if key is None:
        yield Path()
        return
    handle, made = tempfile.mkstemp(prefix=f"{name}-", suffix=SUFFIX, dir=folder)
    path = Path(made)
    try:
        with os.fdopen(handle, "w", encoding="ascii") as file:
            with contextlib.suppress(OSError):  # a file system without locks
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            file.write(f"{key}\n")
            file.flush()
            yield path
    finally:
        path.unlink(missing_ok=True)


def remove_left_over(logs: Path) -> None:
    """Remove the keys of runs that were killed: files that nobody has locked.

    Args:
        logs: A folder with a folder an experiment, and in each of them one a run.
    """
    for path in logs.glob(f"*/*/*{SUFFIX}"):
        with contextlib.suppress(OSError):
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()
            finally:
                os.close(descriptor)


HOST = "127.0.0.1"
PORT_TRIES = 4
LOG_SEEN_EVERY = 512
"""After so many requests it is looked whether the log has grown too long."""

DEATH_NOTICE_S = 0.25
"""A connection may be refused before the news of the server's death is here."""

_BIND_FAILED = re.compile(
    r"couldn't bind|failed to bind|error while attempting to bind|address already in use"
    r"|port \d+ is (not available|already in use|in use)",
    re.IGNORECASE,
)
_OK = 200
KEY_REFUSED = frozenset({401, 403})


@dataclass(frozen=True, slots=True, kw_only=True)
class RestartPolicy:
    """How much a server is borne with.

    Args:
        restart_pauses_s: How long to wait before each restart of one that died; no more of them.
        hung_after_s: How long it may answer no probe until it is taken for dead.
        forgiven_after: So many replies after a restart, its earlier deaths are forgotten: one that
            dies once in a thousand replies is worth its restarts, one that dies at each is not.
    """

    restart_pauses_s: tuple[float, ...] = (0.5, 2.0, 8.0)
    hung_after_s: float = 30.0
    forgiven_after: int = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """One start of a server.

    Args:
        url: Its root.
        command: How it was started.
        log_from: At which byte of its log the output of this start begins.
    """

    url: str
    command: ServerCommand
    log_from: int

    @classmethod
    def of(cls, url: str, command: ServerCommand) -> Started:
        """Return what is about to be started; its log may have been begun by an earlier start."""
        written = command.log.stat().st_size if command.log.exists() else 0
        return cls(url=url, command=command, log_from=written)

    def printed(self) -> str:
        """Return what it has printed so far."""
        with contextlib.suppress(OSError), self.command.log.open("rb") as file:
            file.seek(self.log_from)
            return file.read().decode(errors="replace")
        return ""


def bind_failed(started: Started) -> bool:
    """Return whether a server printed that its port is taken."""
    return _BIND_FAILED.search(started.printed()) is not None


class Recipe(Protocol):
    """What is particular to a kind of server. Its folder holds the key's file for a moment."""

    @property
    def name(self) -> str:
        """What messages call the server."""

    @property
    def folder(self) -> Path:
        """Where its files go."""

    @property
    def concurrency(self) -> int:
        """Requests at a time that it should be sent."""

    @property
    def ready_path(self) -> str:
        """The page that answers 200 once it is ready."""

    @property
    def ready_timeout_s(self) -> float:
        """How long that may take."""

    @property
    def takes_key(self) -> bool:
        """Whether it is given a key to ask for."""

    def command(self, port: int, key_file: Path) -> ServerCommand:
        """Return how the server is started."""

    def chat(self, url: str, key: str | None) -> OpenAiChat:
        """Return its chat API; `url` is the server's root."""

    async def inspected(self, chat: OpenAiChat, started: Started) -> SessionInfo:
        """Return what is known of the server once it is ready.

        Raises:
            PortTakenError: It is another server.
            ServerError: It does not do what was asked.
        """


@contextlib.asynccontextmanager
async def opened(
    recipe: Recipe, build: Build, policy: RestartPolicy | None = None
) -> AsyncIterator[ManagedSession]:
    """Start the server of a launch; nothing of it is left afterwards.

    Args:
        recipe: What is particular to its kind.
        build: What is known of what runs before it has been started.
        policy: How much it is borne with.

    Raises:
        ServerError: It dies at start, never gets ready, or does not do what was asked.
    """
    info = SessionInfo(build=build, concurrency=recipe.concurrency)
    session = ManagedSession(recipe, info, policy or RestartPolicy())
    try:
        await session.start()
        yield session
    finally:
        await session.close()


class PortTakenError(ServerError):
    """Another server has the port, or answers on it: another port is tried."""


class RestartingSession(ABC):
    """A session with a server that is brought back when it dies, as often as its policy allows.

    While it is brought back, requests wait: what is asked then is for the server that comes back.
    """

    def __init__(self, policy: RestartPolicy) -> None:
        self._policy = policy
        self._restarts = 0
        self._answered = 0
        self._restarting = asyncio.Lock()

    @property
    @abstractmethod
    def info(self) -> SessionInfo:
        """What is known of the server, as it was started last."""

    async def ask(self, request: ChatRequest) -> ChatReply | Refusal:
        """Return the model's reply, or what came instead; raises nothing but cancellation."""
        if self._restarting.locked():
            async with self._restarting:
                pass
        answer = await self._ask(request)
        if answer is None:
            # Whoever hears this brings it back, or learns that it stays away: it decides nothing.
            return Refusal(
                outcome=Outcome.ERRORED, kind=Kind.NO_CONNECTION, reason="no server is running"
            )
        if isinstance(answer, ChatReply):
            self._answered += 1
            if self._answered >= self._policy.forgiven_after:
                self._restarts = 0
        return answer

    async def ensure_alive(self) -> bool:
        """Bring the server back if it died or hangs; return whether it had to be.

        Raises:
            ServerError: It died more often than it may, or does not come back; the message ends
                with its log's tail.
        """
        async with self._restarting:
            if await self._is_well():
                return False
            ended = self._ended()
            await self._let_go()
            for pause in self._policy.restart_pauses_s[self._restarts :]:
                self._restarts += 1
                self._answered = 0
                await asyncio.sleep(pause)
                try:
                    return await self._bring_back()
                except ServerError as error:
                    ended = error
                    await self._let_go()
            raise ended

    def forgive(self, deaths: int) -> None:
        """Forget deaths that a request is to blame for; they do not count against the bound."""
        self._restarts = max(0, self._restarts - deaths)

    @abstractmethod
    async def _ask(self, request: ChatRequest) -> ChatReply | Refusal | None:
        """Return what the server answers; None where none is running."""

    @abstractmethod
    async def _is_well(self) -> bool:
        """Return whether the server needs no help."""

    @abstractmethod
    def _ended(self) -> ServerError:
        """Return how it ended."""

    @abstractmethod
    async def _let_go(self) -> None:
        """End what is left of it."""

    @abstractmethod
    async def _bring_back(self) -> bool:
        """Start it again; return whether that made a difference to requests.

        Raises:
            ServerError: It does not come back.
        """


async def on_free_port(
    start: Callable[[int], Awaitable[Found]], stop: Callable[[], Awaitable[None]]
) -> Found:
    """Start a server on a free port, and return what its start returns.

    A port is free when it is chosen and may be taken when the server binds it; then another one is
    tried.

    Args:
        start: Starts it on a port; raises PortTakenError where that is somebody else's.
        stop: Ends what was started.

    Raises:
        ServerError: It does not start.
    """
    for _ in range(PORT_TRIES - 1):
        try:
            return await start(free_port(HOST))
        except PortTakenError:
            await stop()
    return await start(free_port(HOST))


class ManagedSession(RestartingSession):
    """A session with a server that speaks the OpenAI chat API and is started here.

    Args:
        recipe: What is particular to its kind.
        info: What is known of it before it has been started.
        policy: How much it is borne with.
    """

    def __init__(self, recipe: Recipe, info: SessionInfo, policy: RestartPolicy) -> None:
        super().__init__(policy)
        self._recipe = recipe
        self._info = info
        self._asked = 0
        self._hung = False
        self._process: ServerProcess | None = None
        self._chats: list[OpenAiChat] = []
        self._url = ""

    @property
    def info(self) -> SessionInfo:
        """What is known of the server, as it was started last."""
        return self._info

    @property
    def pid(self) -> int | None:
        """The server's process, or None where none runs."""
        return None if self._process is None else self._process.pid

    async def _ask(self, request: ChatRequest) -> ChatReply | Refusal | None:
        process = self._process
        if process is None:
            return None
        self._asked += 1
        if self._asked % LOG_SEEN_EVERY == 0:
            await asyncio.to_thread(shorten_log, process.command.log)
        pages = (f"{self._url}{self._recipe.ready_path}", f"{self._url}/v1/models")
        answer = await ask_watching(self._chats[-1], request, pages=pages, root=self._url)
        self._hung = isinstance(answer, Refusal) and answer.kind is Kind.SERVER_HUNG
        return answer

    async def rendered(self, body: JsonObject) -> str | None:
        """Return the prompt that a request becomes; None where the server does not show it."""
        return await rendered(self._chats[-1], self._url, body) if self._chats else None

    async def start(self) -> None:
        """Start the server on a free port and wait until it answers.

        Raises:
            ServerError: It dies, never gets ready, or does not do what was asked.
        """
        await on_free_port(self._start_on, self._let_go)

    async def close(self) -> None:
        """End the server and close all connections; nothing is left."""
        try:
            await self._let_go()
        finally:
            for chat in self._chats:
                await chat.aclose()

    async def _let_go(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            await process.stop()

    async def _bring_back(self) -> bool:
        await self.start()
        self._hung = False
        return True

    async def _start_on(self, port: int) -> None:
        recipe = self._recipe
        key = secrets.token_urlsafe(32) if recipe.takes_key else None
        self._url = f"http://{HOST}:{port}"
        with key_file(recipe.folder, recipe.name, key) as file:
            command = recipe.command(port, file)
            started = Started.of(self._url, command)
            self._process = process = await ServerProcess.start(command)
            chat = recipe.chat(self._url, key)
            self._chats.append(chat)
            try:
                await process.ready(lambda: self._is_ready(chat), recipe.ready_timeout_s)
                if not process.alive:  # then it was another that answered
                    raise command.failure(f"died at start: {process.how_it_ended()}")
            except ServerError as error:
                if not process.alive and bind_failed(started):
                    raise PortTakenError(error.message, hint=error.hint) from error
                raise
        self._info = await recipe.inspected(chat, started)

    async def _is_ready(self, chat: OpenAiChat) -> bool:
        """Return whether the server answers its probe with 200."""
        try:
            status, _ = await chat.get(f"{self._url}{self._recipe.ready_path}", PROBE_TIMEOUT_S)
        except ConnectionError:
            return False
        if status in KEY_REFUSED and self._recipe.takes_key:
            raise PortTakenError(f"another server answers on {self._url}")
        return status == _OK

    async def _is_well(self) -> bool:
        """Return whether the server lives and answers its probe, whatever it says."""
        if self._hung:  # one that hangs may well answer its health page
            return False
        process = self._process
        clock = asyncio.get_running_loop().time
        deadline = clock() + self._policy.hung_after_s
        while process is not None and process.alive and (left := deadline - clock()) > 0:
            url = f"{self._url}{self._recipe.ready_path}"
            with contextlib.suppress(ConnectionError):
                await self._chats[-1].get(url, min(left, PROBE_TIMEOUT_S))
                return True
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(DEATH_NOTICE_S):
                    await process.wait()
        return False

    def _ended(self) -> ServerError:
        process = self._process
        if process is None:
            return ServerError(f"{self._recipe.name}: no server is running")
        end = "hangs" if process.alive else f"died: {process.how_it_ended()}"
        return process.command.failure(f"the server {end}, after {self._restarts} restarts")
