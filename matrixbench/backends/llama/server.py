"""llama-server, started, watched and stopped for one launch."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from matrixbench.backends.build import hashing
from matrixbench.backends.http.openai_chat import PROBE_TIMEOUT_S, OpenAiChat
from matrixbench.backends.llama.arguments import (
    alias,
    asks,
    check_loaded,
    check_props,
    effective,
    read_log,
    server_arguments,
)
from matrixbench.backends.llama.build import llama_server_build, server_help, server_sha256
from matrixbench.backends.llama.executable import find_executable
from matrixbench.backends.llama.option_files import llama_server_options
from matrixbench.backends.managed import KEY_REFUSED, PortTakenError, RestartPolicy, opened
from matrixbench.backends.option_files import GONE_ON, check_contents, file_contents
from matrixbench.backends.process import ServerCommand, server_environment
from matrixbench.backends.registry import SessionInfo
from matrixbench.errors import ServerError
from matrixbench.plan.launches import contents_of, program_of
from matrixbench.safe_files import write_own

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    from matrixbench.backends.build import FileHashes
    from matrixbench.backends.llama.arguments import Loaded
    from matrixbench.backends.llama.executable import Executable, ServerHelp
    from matrixbench.backends.managed import Started
    from matrixbench.backends.option_files import OptionFile
    from matrixbench.backends.registry import LaunchRequest, Session
    from matrixbench.records import Build

_OK = 200
LOG_LAG_S, _LOOK_S = 1.0, 0.05
"""How long a line that was due before the server got ready may take into its log."""


@contextlib.asynccontextmanager
async def open_llama_server(
    order: LaunchRequest,
    environ: Mapping[str, str],
    hashes: FileHashes,
    policy: RestartPolicy | None = None,
) -> AsyncIterator[Session]:
    """Start llama-server for a launch; nothing of it is left afterwards.

    Raises:
        ServerError: No binary, an option or a template that it does not know, a server that dies at
            start, never gets ready, or does not do what was asked.
    """
    recipe = await hashing(_prepare, order, environ, hashes)
    async with opened(recipe, recipe.build, policy) as session:
        yield session


def _prepare(
    order: LaunchRequest, environ: Mapping[str, str], hashes: FileHashes
) -> LlamaServerRecipe:
    backend = order.backend
    executable = find_executable(backend.binary_of(order.binary), backend.env, environ=environ)
    if (file := order.template_file) is not None:
        write_own(file, order.template.text or "")
    known = server_help(executable, hashes)
    found = order.meant(llama_server_options(known), environ)
    contents = file_contents(found.files, hashes)
    return LlamaServerRecipe(
        order=replace(order, options=found.options),
        executable=executable,
        build=llama_server_build(executable, order.model, hashes, contents),
        hashes=hashes,
        known=known,
        files=found.files,
        env=server_environment(environ, backend.env),
        concurrency=order.concurrency,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class LlamaServerRecipe:
    """What every start of a launch's server needs, and what it is held to."""

    order: LaunchRequest
    executable: Executable
    build: Build
    hashes: FileHashes
    known: ServerHelp
    files: tuple[OptionFile, ...]
    env: Mapping[str, str]
    concurrency: int

    @property
    def name(self) -> str:
        """What messages call it."""
        return self.order.name

    @property
    def folder(self) -> Path:
        """Where its files go."""
        return self.order.folder

    @property
    def ready_path(self) -> str:
        """The page that answers 200 once its model is loaded; it needs no key."""
        return "/health"

    @property
    def ready_timeout_s(self) -> float:
        """How long that may take."""
        return self.order.start_timeout_s

    @property
    def takes_key(self) -> bool:
        """It asks for the key in a file that it is given."""
        return True

    def command(self, port: int, key_file: Path) -> ServerCommand:
        """Return how the server is started on a port.

        Raises:
            ServerError: An option or a template that this build does not know.
        """
        flags = server_arguments(self.order, port=port, key_file=key_file, known=self.known)
        return ServerCommand(
            name=self.name,
            argv=(*self.executable.argv, *flags),
            env=self.env,
            log=self.folder / f"{self.name}.log",
        )

    def chat(self, url: str, key: str | None) -> OpenAiChat:
        """Return the server's chat API."""
        # Two connections more than requests, so that a probe never waits behind them.
        return OpenAiChat(
            base_url=f"{url}/v1",
            model=alias(self.order),
            api_key=key,
            connections=self.concurrency + 2,
        )

    async def inspected(self, chat: OpenAiChat, started: Started) -> SessionInfo:
        """Return what the server says of itself, held against what was asked for.

        Raises:
            PortTakenError: It does not know the key, so it is another server.
            ServerError: Context, slots, template, model, KV types or flash attention differ; it
                says nothing; or it is another build by now.
        """
        url, command = started.url, started.command
        try:
            status, props = await chat.get(f"{url}/props", PROBE_TIMEOUT_S)
        except ConnectionError as error:
            raise command.failure(f"/props: {error}") from None
        if status in KEY_REFUSED:
            raise PortTakenError(f"another server answers on {url}")
        if status != _OK or not isinstance(props, dict):
            raise command.failure(f"/props: HTTP {status}, and not what llama-server says there")
        await asyncio.to_thread(self._check_build)
        check_props(self.order, props)
        loaded = await self._loaded(started)
        check_loaded(self.order, loaded)
        return SessionInfo(
            build=self.build,
            concurrency=self.concurrency,
            command=command.argv,
            effective={**effective(props), **loaded.effective()},
            log=command.log,
        )

    def _check_build(self) -> None:
        """Hold what is on disk now against the build that the launch's trials belong to.

        A server that died may have been rebuilt meanwhile, and a start takes what is there.
        """
        if server_sha256(self.executable, self.hashes) != program_of(self.build):
            raise ServerError(
                f"{self.name}: the server's files have changed since the launch began",
                where=str(self.executable.path),
                hint=GONE_ON,
            )
        now = file_contents(self.files, self.hashes)
        check_contents(self.name, contents_of(self.build), now)

    async def _loaded(self, started: Started) -> Loaded:
        """Return what the log tells; where it matters, wait for the thread that writes it."""
        loaded = read_log(started.printed())
        if asks(self.order.options):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOG_LAG_S):
                    while not loaded.complete:
                        await asyncio.sleep(_LOOK_S)
                        loaded = read_log(started.printed())
        return loaded
