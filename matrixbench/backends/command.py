"""Any server, started by a command line of the file's, watched and stopped for one launch."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from matrixbench.backends.build import build_text, device_name, find_program, identify
from matrixbench.backends.http.address import beside
from matrixbench.backends.http.openai_chat import context_in, of_model, page, reported
from matrixbench.backends.http.served_names import listed_names, unlisted
from matrixbench.backends.llama.arguments import template_file
from matrixbench.backends.llama.option_files import (
    GONE_ON,
    check_contents,
    file_contents,
    marked_only,
    meant_by,
)
from matrixbench.backends.managed import HOST, ManagedSession, RestartPolicy
from matrixbench.backends.process import ServerCommand, server_environment
from matrixbench.backends.protocol import SessionInfo
from matrixbench.errors import ServerError
from matrixbench.identity import digest
from matrixbench.plan.launches import file_details, with_contents
from matrixbench.records import Build
from matrixbench.safe_files import write_own
from matrixbench.spec.backends import CommandBackend, names_in, render_argv
from matrixbench.spec.templating import TemplateProblem

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping
    from contextlib import AbstractAsyncContextManager

    from matrixbench.backends.build import FileHashes, Program
    from matrixbench.backends.http.openai_chat import OpenAiChat
    from matrixbench.backends.http.served_names import Remark
    from matrixbench.backends.managed import Started
    from matrixbench.backends.protocol import LaunchRequest, Session
    from matrixbench.records import JsonObject

KIND = "command"

HIDDEN_PREFIXES = ("VLLM_", "SGLANG_", "SGL_", "OLLAMA_")
"""Variables by which other servers take settings: left in, neither file nor cell would show them.
Who needs one says so in the backend's `env`."""

HUB_TOKENS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")
"""What a server needs that fetches its model by itself."""

NAMED_BY = ("version", "build_info")
"""Of what a server reports, what names its software; the rest depends on machine and settings."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandOpener:
    """Opens sessions with servers that a command line starts.

    Args:
        environ: The environment from which servers get theirs.
        hashes: The memory of file hashes.
        endurance: How much a server is borne with.
    """

    environ: Mapping[str, str]
    hashes: FileHashes
    endurance: RestartPolicy = field(default_factory=RestartPolicy)

    def __call__(self, order: LaunchRequest) -> AbstractAsyncContextManager[Session]:
        """Return a context in which the server answers, and after which nothing of it is left.

        Raises (on entering):
            ServerError: No such program, an argument that cannot be rendered, a server that dies
                at start, never gets ready, or does not do what was asked.
        """
        return self._open(order)

    @contextlib.asynccontextmanager
    async def _open(self, order: LaunchRequest) -> AsyncIterator[Session]:
        recipe = await asyncio.to_thread(prepare, order, self.environ, self.hashes)
        if (file := template_file(order)) is not None:
            write_own(file, order.template.text or "")
        info = SessionInfo(build=recipe.build({}), concurrency=recipe.concurrency)
        session = ManagedSession(recipe, info, self.endurance)
        try:
            await session.start()
            yield session
        finally:
            await session.close()


def prepare(order: LaunchRequest, environ: Mapping[str, str], hashes: FileHashes) -> CommandRecipe:
    """Return what every start of a launch's server needs; nothing is started or written.

    Raises:
        ServerError: No such program, an argument that cannot be rendered, a file that cannot be
            read.
    """
    backend = order.backend
    if not isinstance(backend, CommandBackend):
        raise TypeError(f"a command cannot be opened for {type(backend).__name__}")
    found = meant_by(order, marked_only, environ)
    order = replace(order, options=found.options)
    env = command_environment(order, backend, environ)
    lasting, program = located(order, environ)
    look = partial(identify, lasting, program, hashes, apart={file.path for file in found.files})
    return CommandRecipe(
        order=order,
        backend=backend,
        program=look(),
        look=look,
        env=env,
        device=hashes.for_now("device", device_name),
        contents=file_contents(found.files, hashes),
        read=partial(file_contents, found.files, hashes),
    )


def located(order: LaunchRequest, environ: Mapping[str, str]) -> tuple[tuple[str, ...], Path]:
    """Return a launch's command line without what changes from start to start, and its program.

    Raises:
        ServerError: No such program, or an argument that cannot be rendered.
    """
    backend = order.backend
    if not isinstance(backend, CommandBackend):
        raise TypeError(f"a command cannot be opened for {type(backend).__name__}")
    lasting = _rendered(order, backend, _values(order, backend) | _PASSING)
    env = command_environment(order, backend, environ)
    return lasting, find_program(lasting[0], env)


def command_environment(
    order: LaunchRequest, backend: CommandBackend, environ: Mapping[str, str]
) -> dict[str, str]:
    """Return a server's environment: without what would change its settings, with `env`.

    Tokens of model hubs stay where the server is given no file and so fetches the model itself.
    """
    kept = {name: value for name, value in environ.items() if not name.startswith(HIDDEN_PREFIXES)}
    tokens = {name: environ[name] for name in HUB_TOKENS if name in environ}
    own = tokens if order.model.path is None else {}
    return server_environment(kept, {**own, **backend.env})


_PASSING: dict[str, Any] = {"port": 0, "model": "", "chat_template": "", "api_key_file": ""}
"""Stands for what changes from start to start, or counts by itself."""


def _values(order: LaunchRequest, backend: CommandBackend) -> dict[str, Any]:
    """Return what the templates of a launch may name, but for what each start has of its own."""
    model, template = order.model, template_file(order) or order.template.known_as
    return {
        "host": HOST,
        "model": str(model.path) if model.path is not None else model.id,
        "model_id": model.id,
        "alias": alias(order),
        "chat_template": str(template or ""),
        "options": dict(order.options),
        "context": backend.context,
        "slots": slots_of(order, backend),
        "faithful": order.faithful,
        "here": str(order.here or Path.cwd()),
    }


def alias(order: LaunchRequest) -> str:
    """Return the name by which requests call the model: its id, else its name in the file."""
    return order.model.id or order.model.name


def slots_of(order: LaunchRequest, backend: CommandBackend) -> int:
    """Return how many requests the server is told to work on at a time."""
    return 1 if order.faithful else backend.slots


def _rendered(
    order: LaunchRequest, backend: CommandBackend, values: Mapping[str, Any]
) -> tuple[str, ...]:
    try:
        arguments = render_argv(backend.argv, values)
    except TemplateProblem as problem:
        raise ServerError(f"{order.name}: {problem}") from None
    if not arguments:
        raise ServerError(f"{order.name}: the command line is empty")
    return arguments


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandRecipe:
    """How the server of one launch is started, and what is to be known of it."""

    order: LaunchRequest
    backend: CommandBackend
    program: Program
    look: Callable[[], Program]
    env: Mapping[str, str]
    device: str
    contents: Mapping[str, str]
    read: Callable[[], Mapping[str, str]]

    @property
    def name(self) -> str:
        """What messages call it."""
        return self.order.name

    @property
    def folder(self) -> Path:
        """Where its files go."""
        return self.order.folder

    @property
    def concurrency(self) -> int:
        """Requests at a time that it should be sent."""
        return 1 if self.order.faithful else self.backend.concurrency or self.backend.slots

    @property
    def ready_path(self) -> str:
        """The page that answers 200 once it is ready."""
        return self.backend.ready.path

    @property
    def ready_timeout_s(self) -> float:
        """How long that may take."""
        return self.backend.ready.timeout_s or self.order.start_timeout_s

    @property
    def takes_key(self) -> bool:
        """Whether it is given a key to ask for."""
        return self.backend.api_key

    def command(self, port: int, key_file: Path) -> ServerCommand:
        """Return how the server is started on a port.

        Raises:
            ServerError: An argument cannot be rendered.
        """
        own = {"port": port, "api_key_file": str(key_file) if self.takes_key else ""}
        _, *arguments = _rendered(self.order, self.backend, _values(self.order, self.backend) | own)
        return ServerCommand(
            name=self.name,
            argv=(str(self.program.path), *arguments),
            env=self.env,
            log=self.folder / f"{self.name}.log",
        )

    def chat(self, url: str, key: str | None) -> OpenAiChat:
        """Return the server's chat API."""
        from matrixbench.backends.http.openai_chat import AddressedChat, Words  # noqa: PLC0415

        # Two connections more than requests, so that a probe never waits behind them.
        return AddressedChat(
            words=Words(url="base_path", id="the model's id"),
            base_url=f"{url}{self.backend.base_path}",
            model=alias(self.order),
            api_key=key,
            connections=self.concurrency + 2,
        )

    async def inspected(self, chat: OpenAiChat, started: Started) -> SessionInfo:
        """Return what the server is, held against what was asked for.

        Raises:
            ServerError: It says that its context or its slots are others, or it is another build
                by now.
        """
        # A restart takes what is on disk by now; the launch's trials belong to what was there.
        # Files that arguments name are left out: a server may write to one, such as its own log.
        now = await asyncio.to_thread(self.look)
        if (now.sha256, now.packages) != (self.program.sha256, self.program.packages):
            raise ServerError(
                f"{self.name}: the server's files have changed since the launch began",
                where=str(self.program.path),
                hint=GONE_ON,
            )
        check_contents(self.name, self.contents, await asyncio.to_thread(self.read))
        listed = await page(chat, beside(f"{started.url}{self.backend.base_path}", "/models"))
        said = {**of_model(listed, None), **await reported(chat, started.url)}
        if isinstance(path := said.get("model_path"), str):
            said["model_path"] = PurePath(path).name
        self._check(said)
        return SessionInfo(
            build=self.build(said),
            concurrency=self.concurrency,
            command=started.command.argv,
            effective=said,
            log=started.command.log,
            asked_model=self.order.model.id,
            strict_model=self.backend.strict_model,
            noticed=self._named(listed_names(listed)),
        )

    def _named(self, names: tuple[str, ...]) -> tuple[Remark, ...]:
        """Return what to say of the models that the server lists.

        Raises:
            ServerError: The one that is asked for is not among them, and that is to end here.
        """
        remark = unlisted(self.order.model.id, names)
        if remark is not None and self.backend.strict_model:
            raise ServerError(f"{self.name}: {remark.message}", hint=remark.hint)
        return (remark,) if remark else ()

    def build(self, said: JsonObject) -> Build:
        """Return what runs: the program by content, and the software that it says it is."""
        names = {name: said[name] for name in NAMED_BY if name in said}
        program = self.program.digest
        identity = {
            "kind": KIND,
            "server": build_text(with_contents(program, self.contents), names),
            "model": self.order.model.sha256 or "",
            "device": self.device,
        }
        return Build(
            id=digest(identity),
            **identity,
            version=str(said.get("version") or said.get("build_info") or ""),
            details={
                "executable": self.program.path.name,
                "sha256": self.program.sha256,
                "python_packages": self.program.packages,
                "files": self.program.files,
                **file_details(program, self.contents),
            },
        )

    def _check(self, said: JsonObject) -> None:
        wanted, has = self.backend.context, context_in(said)
        if wanted is not None and has is not None and has < wanted:
            raise ServerError(
                f"{self.name}: a context of {wanted} tokens was asked for, the server has {has} "
                "per request",
                hint="pass {{ context }} on in argv, or set context: to what the server has",
            )
        slots, given = slots_of(self.order, self.backend), said.get("total_slots")
        if "slots" in names_in(*self.backend.argv).variables and given not in {None, slots}:
            raise ServerError(
                f"{self.name}: {slots} slots were asked for, the server has {given}",
                hint="set slots: to what the server can have",
            )
