"""`kind: mlx-lm`: Apple's mlx_lm.server, started, watched and stopped for each launch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from matrixbench.backends.build import Program, device_name, find_program, identify, program_build
from matrixbench.backends.http.openai_chat import OpenAiChat, of_model, page
from matrixbench.backends.managed import HOST, Started, opened
from matrixbench.backends.process import ServerCommand, server_environment
from matrixbench.backends.registry import (
    Asked,
    Examined,
    LaunchRequest,
    ServerKind,
    ServerProgram,
    Session,
    SessionInfo,
    Surroundings,
    at_file,
    found_at,
)
from matrixbench.plan.cells import Launch, Origin, PresentBuild
from matrixbench.spec.axes import REQUEST
from matrixbench.spec.backends import OPENAI_FIELDS, Obstacle, PositiveInt
from matrixbench.spec.base import GridOrGrids
from matrixbench.spec.shapes import grid_entries
from matrixbench.spec.yaml_source import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from matrixbench.records import Build, JsonObject
    from matrixbench.spec.models import Model, Template
    from matrixbench.spec.yaml_source import Entry, Node

OWNED = {"model": "say it with the model's id:", "host": "it is chosen", "port": "it is chosen"}
"""Flags that are set here → what to do instead."""

HONOURED = OPENAI_FIELDS | {"top_k", "min_p"}
"""Sampling fields that the server does not drop."""


class MlxLmBackend(ServerKind):
    """Apple's `mlx_lm.server`, started, watched and stopped for each launch."""

    kind: Literal["mlx-lm"]
    """How the server is obtained: started here."""

    binary: str | None = None
    """The executable. Default: `mlx_lm.server` on PATH."""

    slots: PositiveInt = 1
    """Requests that the server works on at a time (`--decode-concurrency`)."""

    env: dict[str, str] = {}
    """Environment variables for the server."""

    options: GridOrGrids = {}
    """mlx_lm.server's own long flags without the dashes; a list is an axis."""

    page: ClassVar[str] = "docs/extending.md"
    looking_runs: ClassVar[bool] = False

    # What the file says.

    @classmethod
    def rule_findings(cls, name: str, entry: Entry, root: Node) -> Iterator[Finding]:
        """Yield the options that are not the file's to set, each at its place."""
        for option, at in grid_entries(entry.node.child("options")):
            if option in OWNED:
                message = f"the option «{option}» is not given here"
                yield Finding(place=at.place, message=message, hint=OWNED[option])

    # What applies, and what it is.

    def launch_obstacle(
        self, model_name: str, model: Model, template: Template, *, faithful: bool
    ) -> Obstacle | None:
        """Return why a model cannot be served with a chat template, or None."""
        if model.id is None:
            return Obstacle(f"model {model_name} has no id for mlx_lm.server", "give it id:")
        if not template.is_native:
            return Obstacle(f"mlx-lm is given no chat template, so not {template.name}", "use {}")
        return None

    def request_obstacle(
        self, coordinates: Mapping[str, Any], fields: Mapping[str, Any]
    ) -> Obstacle | None:
        """Return the first sampling field that the server would drop without a word, or None."""
        for axis, value in coordinates.items():
            if value is not None and axis not in HONOURED and not axis.startswith(REQUEST):
                return Obstacle(f"mlx_lm.server has no {axis}", "null leaves it out")
        return None

    def identity(self, model: Model, template: Template) -> JsonObject:
        """Return what decides the answer beside the options; a new part has to be None at first."""
        return {"model": model.id, "env": self.env or None}

    @property
    def starts_server(self) -> bool:
        """It is started for each launch."""
        return True

    # What is on this machine.

    def _find(self, around: Surroundings) -> Path:
        env = server_environment(around.environ, self.env)
        return find_program(self.binary or "mlx_lm.server", env)

    def program(self, launch: Launch, around: Surroundings) -> ServerProgram | None:
        """Return the executable, which is looked for before anything runs."""
        way = ("backends", launch.backend, "binary")
        by_path = self.binary is not None
        return ServerProgram(lambda: self._find(around), way, by_path=by_path)

    def placed(self, launch: Launch, origin: Origin, around: Surroundings) -> Origin:
        """Return where the server comes from, by which its stored results are found again."""
        return at_file(origin, self._find(around))

    def present(self, launch: Launch, origin: Origin, around: Surroundings) -> PresentBuild:
        """Return the build that would run now, without starting it."""
        build = self._build(self._identified(around), around)
        return PresentBuild(build=build, verified=True, origin=origin.of_build(build))

    def _identified(self, around: Surroundings) -> Program:
        path = self._find(around)
        return identify((str(path),), path, around.hashes)

    def _build(self, program: Program, around: Surroundings) -> Build:
        device = around.hashes.for_now("device", device_name)
        return program_build(self.kind, program, {}, device=device)

    def examine(
        self, what: str, ids: Mapping[str, str], around: Surroundings
    ) -> Iterator[Examined]:
        """Yield what `doctor` says."""
        yield found_at(what, lambda: self._find(around))

    # While it runs, and afterwards.

    def open(
        self, order: LaunchRequest, around: Surroundings
    ) -> AbstractAsyncContextManager[Session]:
        """Return a context in which the server answers, and after which nothing of it is left."""
        program = self._identified(around)
        recipe = MlxLmRecipe(
            order=order,
            program=program,
            build=self._build(program, around),
            env=server_environment(around.environ, self.env),
        )
        return opened(recipe, recipe.build)

    @classmethod
    def model_name(cls, asked: Asked) -> str | None:
        """Return how the stored request called the model, for the line that repeats it."""
        return None if asked.launch is None else asked.launch.source.id


@dataclass(frozen=True, slots=True, kw_only=True)
class MlxLmRecipe:
    """How the server of one launch is started, and what is to be known of it."""

    order: LaunchRequest
    program: Program
    build: Build
    env: Mapping[str, str]

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
        return "/health"

    @property
    def ready_timeout_s(self) -> float:
        """How long that may take."""
        return self.order.start_timeout_s

    @property
    def takes_key(self) -> bool:
        """It asks for no key."""
        return False

    def command(self, port: int, key_file: Path) -> ServerCommand:
        """Return how it is started on a port of the loopback interface."""
        flags = {"model": self.order.model.id, "host": HOST, "port": port}
        flags |= {"decode-concurrency": self.order.slots, **self.order.options}
        given = [(f"--{name}", str(value)) for name, value in flags.items() if value is not None]
        argv = (str(self.program.path), *(word for pair in given for word in pair))
        return ServerCommand(name=self.name, argv=argv, env=self.env, log=self.order.log)

    def chat(self, url: str, key: str | None) -> OpenAiChat:
        """Return its chat API. Two connections are for probes, which must not wait."""
        connections = self.concurrency + 2
        return OpenAiChat(base_url=f"{url}/v1", model=self.order.model.id, connections=connections)

    async def inspected(self, chat: OpenAiChat, started: Started) -> SessionInfo:
        """Return what it says of itself once it is ready, for the launch's record."""
        listed = await page(chat, f"{started.url}/v1/models")
        return SessionInfo(
            build=self.build,
            concurrency=self.concurrency,
            command=started.command.argv,
            effective=of_model(listed, self.order.model.id),
            log=started.command.log,
        )
