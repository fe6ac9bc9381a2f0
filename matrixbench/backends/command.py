"""Any server, started by a command line of the file's, watched and stopped for one launch."""

from __future__ import annotations

import asyncio
import contextlib
import shlex
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from matrixbench.backends.build import device_name, find_program, hashing, identify, program_build
from matrixbench.backends.http.address import beside
from matrixbench.backends.http.openai_chat import (
    AddressedChat,
    Words,
    context_in,
    of_model,
    page,
    reported,
)
from matrixbench.backends.http.served_names import listed_names, unlisted
from matrixbench.backends.managed import HOST, RestartPolicy, opened
from matrixbench.backends.option_files import GONE_ON, check_contents, file_contents, marked_only
from matrixbench.backends.process import ServerCommand, server_environment
from matrixbench.backends.registry import (
    LaunchRequest,
    ModelSource,
    ServerKind,
    ServerProgram,
    SessionInfo,
    at_file,
    file_name,
    found_at,
    grids_of,
    jinja_obstacle,
    local_chat_url,
    not_honoured,
    ok,
    unknown,
)
from matrixbench.errors import ServerError
from matrixbench.identity import digest
from matrixbench.plan.cells import PresentBuild
from matrixbench.records import Build
from matrixbench.safe_files import write_own
from matrixbench.spec.backends import Obstacle, PositiveInt
from matrixbench.spec.base import GridOrGrids, Part
from matrixbench.spec.trust import Use, UseKind, program
from matrixbench.spec.wording import TemplateProblem

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager

    from matrixbench.backends.build import FileHashes, Program
    from matrixbench.backends.command_line import Names
    from matrixbench.backends.http.openai_chat import OpenAiChat
    from matrixbench.backends.managed import Started
    from matrixbench.backends.registry import Asked, Examined, Remark, Session, Surroundings
    from matrixbench.plan.cells import Launch, Origin
    from matrixbench.records import JsonObject
    from matrixbench.spec.models import Model, Template
    from matrixbench.spec.yaml_source import Entry, Finding, Node


PATH = r"^(/[^\s?#]*)?$"
"""A path on a server: empty, or from a slash on."""

KIND = "command"

HIDDEN_PREFIXES = ("VLLM_", "SGLANG_", "SGL_", "OLLAMA_")
"""Variables by which other servers take settings: left in, neither file nor cell would show them.
Who needs one says so in the backend's `env`."""

HUB_TOKENS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")
"""What a server needs that fetches its model by itself."""


class Ready(Part):
    """How a server tells that it is ready."""

    path: Annotated[str, Field(pattern=PATH)] = "/health"
    """A page that answers 200 once the server is ready."""

    timeout_s: Annotated[float, Field(gt=0)] | None = None
    """How long that may take, in seconds. Default: `timeouts.start_s`."""


class CommandBackend(ServerKind):
    """Any server that speaks the chat API, started by a command line for each launch."""

    kind: Literal["command"]
    """How the server is obtained: started here, by a command line."""

    argv: Annotated[list[str], Field(min_length=1)]
    """The program and its arguments, each a Jinja2 template over `host`, `port`, `model`,
    `model_id`, `alias`, `chat_template`, `options`, `api_key_file`, `context`, `slots`, `faithful`
    and `here`. One that renders to nothing is left out. No shell reads them."""

    ready: Ready = Ready()
    """When the server is taken to be ready."""

    base_path: Annotated[str, Field(pattern=PATH)] = "/v1"
    """Where its chat API begins, before `/chat/completions`."""

    env: dict[str, str] = {}
    """Environment variables for the server."""

    options: GridOrGrids = {}
    """Values for the command line's `options.NAME`; a list is an axis, `{value: [...]}` a list that
    is one value. A list of mappings means their union. `{file: PATH}` is a path, relative to the
    file, whose content belongs to the build."""

    honours: list[str] = []
    """Sampling fields that this server honours beyond temperature, top_p, seed, max_tokens and
    stop."""

    strict_model: bool = False
    """Whether the launch ends where the server lists other models than the `id` that is asked for,
    or another model answers. Without it that is said once."""

    chat_template: bool = False
    """Whether the command line can give it a chat template."""

    api_key: bool = False
    """Whether the command line gives it a file with a key; a random one is made for each start."""

    context: PositiveInt | None = None
    """Tokens that one request may use, prompt and reply together."""

    slots: PositiveInt = 4
    """Requests that the server works on at a time."""

    page: ClassVar[str] = "docs/servers.md#command"
    looking_runs: ClassVar[bool] = False

    @classmethod
    def rule_findings(cls, name: str, entry: Entry, root: Node) -> Iterator[Finding]:
        """Yield what is wrong with the command line."""
        from matrixbench.backends.command_line import command_findings  # noqa: PLC0415  heavy: jinja2

        return command_findings(entry.node, root)

    def launch_obstacle(
        self, model_name: str, model: Model, template: Template, *, faithful: bool
    ) -> Obstacle | None:
        """Return what the command line cannot pass on, or that there is nothing to be passed."""
        named = self.named.variables
        if faithful and "faithful" not in named:
            return Obstacle(
                "this command line cannot be told to be faithful",
                "pass it on, such as '{% if faithful %}--no-prefix-cache{% endif %}'",
            )
        if "model_id" in named and model.id is None:
            return Obstacle(
                f"model {model_name} has no id for {{{{ model_id }}}} in the command line",
                "give it id:, or say backends: in the model",
            )
        if "model" in named and model.id is None and not self.needs_file(model):
            return Obstacle(
                f"model {model_name} has neither a file nor an id for the command line",
                "give it gguf:, hf:, package: or id:, or say backends: in the model",
            )
        if not template.is_native and not self.chat_template:
            return Obstacle(
                f"this command line takes no chat template, so not {template.name}",
                "if the server can be given one, pass {{ chat_template }} on and say "
                "chat_template: true",
            )
        return jinja_obstacle(template)

    def request_obstacle(
        self, coordinates: Mapping[str, Any], fields: Mapping[str, Any]
    ) -> Obstacle | None:
        """Return the first sampling field that its server may drop."""
        return not_honoured(coordinates, self.honours, "server")

    def takes_option(self, name: str) -> bool:
        """Return whether the command line names an option, by itself or with all others."""
        return self.named.whole or name in self.named.options

    def identity(self, model: Model, template: Template) -> JsonObject:
        """Return the command line's templates, its program by name: the build has its content."""
        program = self.argv[0].replace("\\", "/").rsplit("/", 1)[-1]
        return {
            "argv": [program, *self.argv[1:]],
            "context": self.context,
            "env": self.env or None,
            "model": model.file_reference if self.needs_file(model) else model.id,
        }

    def place(self, binary: str | None) -> tuple[str | None, ...]:
        """Return its program, as the file names it."""
        return (self.argv[0],)

    @property
    def starts_server(self) -> bool:
        """It is started for each launch."""
        return True

    def needs_file(self, model: Model) -> bool:
        """Return whether the command line is given the model as a file."""
        return model.has_file and "model" in self.named.variables

    @property
    def named(self) -> Names:
        """What its command line names."""
        from matrixbench.backends.command_line import names_in  # noqa: PLC0415  heavy: jinja2

        return names_in(*self.argv)

    def uses(self, models: Sequence[Model], around: Surroundings) -> Iterator[Use]:
        """Yield the program and the command line, which counts with the options that it names."""
        yield from super().uses(models, around)
        named = "/" in self.argv[0] or "{" in self.argv[0] or "PATH" in self.env
        yield program(self.argv[0], free="" if named else "found on PATH")
        options = [dict(grid) for grid in grids_of(self, models)]
        yield Use(
            kind=UseKind.ARGUMENTS,
            name=shlex.join(self.argv),
            content=digest([self.argv, str(options)]),
        )

    def placed(self, launch: Launch, origin: Origin, around: Surroundings) -> Origin:
        """Return an origin with the command line and its program."""
        arguments, path = located(_looked_at(launch, self, around), around.environ)
        return at_file(replace(origin, argv=arguments), path)

    def present(self, launch: Launch, origin: Origin, around: Surroundings) -> PresentBuild:
        """Return what can be known without asking the server what it says of itself."""
        takes = self.needs_file(launch.source)
        source = around.located(launch) if takes else None
        order = _looked_at(launch, self, around, source)
        build = prepare(order, around.environ, around.hashes).build({})
        origin = origin.of_build(build)
        if takes and source is None:
            return unknown(origin, f"model {launch.model} is not on this machine", gone=True)
        note = "what the server says of itself is known only when it runs"
        return PresentBuild(build=build, verified=False, note=note, origin=origin)

    def program(self, launch: Launch, around: Surroundings) -> ServerProgram | None:
        """Return the program; None where only a launch's options say which it is."""
        program = self.argv[0]
        if "{" in program:
            return None
        env = server_environment(around.environ, self.env)
        way = ("backends", launch.backend, "argv", 0)
        return ServerProgram(lambda: find_program(program, env), way, by_path="/" in program)

    @property
    def takes_jinja(self) -> bool:
        """It says so."""
        return self.chat_template

    def open(
        self, order: LaunchRequest, around: Surroundings
    ) -> AbstractAsyncContextManager[Session]:
        """Return a context in which the server answers, and after which nothing of it is left."""
        return open_command(order, around.environ, around.hashes)

    def examine(
        self, what: str, ids: Mapping[str, str], around: Surroundings
    ) -> Iterator[Examined]:
        """Yield whether the program is there."""
        program = self.argv[0]
        if "{" in program:
            yield ok(what, f"«{program}» is known only when it runs")
            return
        env = server_environment(around.environ, self.env)
        yield found_at(what, lambda: find_program(program, env))

    @classmethod
    def chat_url(cls, asked: Asked) -> str:
        """Return the url, whose path the file says."""
        spec = None if asked.launch is None else asked.launch.spec
        base_path = spec.base_path.rstrip("/") if isinstance(spec, cls) else "/v1"
        return local_chat_url(asked.command, base_path)

    @classmethod
    def model_name(cls, asked: Asked) -> str | None:
        """Return the model's id, else its name in the file."""
        if asked.launch is None:
            return super().model_name(asked)
        return asked.launch.source.id or asked.launch.model


def _looked_at(
    launch: Launch,
    backend: CommandBackend,
    around: Surroundings,
    source: ModelSource | None = None,
) -> LaunchRequest:
    """Return a launch as it would be ordered, to be looked at and not to be started."""
    return LaunchRequest(
        name=file_name(launch.name),
        backend=backend,
        options=launch.options,
        model=source or ModelSource(name=launch.model, id=launch.source.id),
        template=launch.template,
        folder=around.folder,
        here=around.here,
    )


@contextlib.asynccontextmanager
async def open_command(
    order: LaunchRequest,
    environ: Mapping[str, str],
    hashes: FileHashes,
    policy: RestartPolicy | None = None,
) -> AsyncIterator[Session]:
    """Start the server of a command line; nothing of it is left afterwards.

    Raises:
        ServerError: No such program, an argument that cannot be rendered, a server that dies at
            start, never gets ready, or does not do what was asked.
    """
    recipe = await hashing(prepare, order, environ, hashes)
    if (file := order.template_file) is not None:
        write_own(file, order.template.text or "")
    async with opened(recipe, recipe.build({}), policy) as session:
        yield session


def prepare(order: LaunchRequest, environ: Mapping[str, str], hashes: FileHashes) -> CommandRecipe:
    """Return what every start of a launch's server needs; nothing is started or written.

    Raises:
        ServerError: No such program, an argument that cannot be rendered, a file that cannot be
            read.
    """
    backend = order.backend
    found = order.meant(marked_only, environ)
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
    model, template = order.model, order.template_file or order.template.known_as
    return {
        "host": HOST,
        "model": str(model.path) if model.path is not None else model.id,
        "model_id": model.id,
        "alias": alias(order),
        "chat_template": str(template or ""),
        "options": dict(order.options),
        "context": backend.context,
        "slots": order.slots,
        "faithful": order.faithful,
        "here": str(order.here or Path.cwd()),
    }


def alias(order: LaunchRequest) -> str:
    """Return the name by which requests call the model: its id, else its name in the file."""
    return order.model.id or order.model.name


def _rendered(
    order: LaunchRequest, backend: CommandBackend, values: Mapping[str, Any]
) -> tuple[str, ...]:
    try:
        from matrixbench.backends.command_line import render_argv  # noqa: PLC0415  heavy: jinja2

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
        return self.order.concurrency

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
        model = self.order.model.sha256 or ""
        return program_build(
            KIND, self.program, said, model=model, device=self.device, contents=self.contents
        )

    def _check(self, said: JsonObject) -> None:
        wanted, has = self.backend.context, context_in(said)
        if wanted is not None and has is not None and has < wanted:
            raise ServerError(
                f"{self.name}: a context of {wanted} tokens was asked for, the server has {has} "
                "per request",
                hint="pass {{ context }} on in argv, or set context: to what the server has",
            )
        slots, given = self.order.slots, said.get("total_slots")
        if "slots" in self.backend.named.variables and given not in {None, slots}:
            raise ServerError(
                f"{self.name}: {slots} slots were asked for, the server has {given}",
                hint="set slots: to what the server can have",
            )
