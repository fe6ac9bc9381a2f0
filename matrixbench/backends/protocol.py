"""What the executor knows of a backend: an order for a launch, and a session that answers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from matrixbench.backends.http.served_names import Remark
    from matrixbench.records import Build, ChatReply, ChatRequest, JsonObject, Refusal
    from matrixbench.spec.backends import Backend
    from matrixbench.spec.load import Template


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSource:
    """Where a backend finds a model, already on this machine.

    Args:
        name: The model's name in the experiment.
        path: Its GGUF file (of split files the first); None where the server has it.
        id: The name by which an endpoint knows it.
        sha256: The digest of its content over all split files; None where there is no file.
    """

    name: str
    path: Path | None = None
    id: str | None = None
    sha256: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchRequest:
    """All that a backend needs to make one server configuration answer.

    Args:
        name: A short name for log files and messages, safe as a file name.
        backend: The backend's part of the experiment.
        binary: The executable that the binary axis chose, or None for the default search.
        options: Server options, flag without dashes → value.
        model: The model.
        template: The chat template.
        faithful: One request at a time, no prompt cache, no shared KV.
        start_timeout_s: How long the server may take until it is ready.
        folder: Where log files and temporary files of this launch go; exists.
        here: The folder of the experiment file.
        report: Is told what a server fetches for itself: what, bytes done, bytes in all.
    """

    name: str
    backend: Backend
    binary: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    model: ModelSource
    template: Template
    faithful: bool = False
    start_timeout_s: float = 600.0
    folder: Path
    here: Path | None = None
    report: Callable[[str, int, int | None], None] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionInfo:
    """What is known of a running server, for the launch's record.

    Args:
        build: What really runs.
        concurrency: Requests at a time that it should be sent.
        command: Its command line; empty for a server that was not started here.
        effective: What it reports of itself (`/props` and the like), without secrets.
        log: Its log file, or None.
        asked_model: The name by which the file asks for a model of a server that may have
            others; None where no other could answer.
        strict_model: Whether another model's answer ends the launch.
        noticed: What its results should be read with.
    """

    build: Build
    concurrency: int
    command: tuple[str, ...] = ()
    effective: JsonObject = field(default_factory=dict)
    log: Path | None = None
    asked_model: str | None = None
    strict_model: bool = False
    noticed: tuple[Remark, ...] = ()


class Session(Protocol):
    """A server that answers, for as long as its context is open."""

    @property
    def info(self) -> SessionInfo:
        """What is known of the server."""

    async def ask(self, request: ChatRequest) -> ChatReply | Refusal:
        """Return the model's reply, or what came instead; raises nothing but cancellation."""

    async def ensure_alive(self) -> bool:
        """Start the server again if it died; return whether it had to be.

        Raises:
            ServerError: It died more often than it may, or does not come back; the message ends
                with its log's tail.
        """

    def forgive(self, deaths: int) -> None:
        """Forget deaths that a request turned out to be to blame for: they were not its own."""


class Opener(Protocol):
    """Opens sessions of one kind of backend."""

    def __call__(self, order: LaunchRequest) -> AbstractAsyncContextManager[Session]:
        """Return a context in which the server answers, and after which nothing of it is left.

        Raises (on entering):
            ServerError: No binary, a server that dies at start or never gets ready.
        """
