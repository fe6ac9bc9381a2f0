"""Where an Ollama is had from: a server of our own, or one that runs already."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from matrixbench.backends.ollama_runner import check_runner, runner_settings
from matrixbench.backends.ollama_server import (
    attached_build,
    drop_blob,
    drop_tag,
    managed_build,
    ollama_environment,
)
from matrixbench.backends.process import ServerCommand, ServerProcess, free_port
from matrixbench.errors import ServerError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from matrixbench.backends.file_hashes import FileHashes
    from matrixbench.backends.ollama_http import OllamaApi
    from matrixbench.backends.protocol import LaunchOrder
    from matrixbench.records import Build, JsonObject
    from matrixbench.spec.backends import OllamaBackend

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
        from matrixbench.backends.ollama_http import OllamaApi  # noqa: PLC0415  heavy: aiohttp

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

    order: LaunchOrder
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
        from matrixbench.backends.ollama_http import OllamaApi  # noqa: PLC0415  heavy: aiohttp

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
            what = f"{what}: it died: {self.process.epitaph()}"
        return self.command.failure(what)


async def _outlives(process: ServerProcess, seconds: float) -> None:
    """Wait so long; raise ServerError if the server dies meanwhile."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await process.wait()
        raise process.command.failure(f"died at start: {process.epitaph()}")
