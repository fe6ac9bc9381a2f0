"""Replies from the experiment file, without a server or a model: for trying an experiment out."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import asynccontextmanager
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, TypeAlias

from pydantic import Field, Tag

from matrixbench.backends.registry import ServerKind, SessionInfo, ok
from matrixbench.identity import digest
from matrixbench.plan.cells import PresentBuild
from matrixbench.records import Build, ChatReply, Kind, Outcome, Refusal, Timing, ToolCall
from matrixbench.spec.base import BY_SHAPE, LIST, MAPPING, TEXT, Part

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager

    from matrixbench.backends.registry import Asked, Examined, LaunchRequest, Surroundings
    from matrixbench.plan.cells import Launch, Origin
    from matrixbench.records import ChatRequest, JsonObject
    from matrixbench.spec.models import Model, Template


SCRIPTED_BUILD = Build(
    id=digest({"kind": "scripted", "server": "scripted", "model": "", "device": ""}),
    kind="scripted",
    server="scripted",
)
"""One for all scripts: what a script says is in the file, not in what runs."""


class ScriptedReply(Part):
    """One reply of the scripted backend; a bare string is its content."""

    content: str | None = None
    """The text."""

    tool_calls: list[dict[str, Any]] = []
    """Calls as `{name: …, arguments: {…}}`; arguments may be a mapping or JSON text."""

    finish_reason: str | None = None
    """Default: `tool_calls` where there are calls, else `stop`."""

    error: Literal["rejected", "errored"] | None = None
    """Answer with a refusal of this outcome instead of a reply."""


Spoken: TypeAlias = Annotated[
    Annotated[str, Tag(TEXT)] | Annotated[ScriptedReply, Tag(MAPPING)], BY_SHAPE
]

Reply: TypeAlias = Annotated[
    Annotated[str, Tag(TEXT)]
    | Annotated[ScriptedReply, Tag(MAPPING)]
    | Annotated[list[Spoken], Field(min_length=1), Tag(LIST)],
    BY_SHAPE,
]
"""One reply of the scripted backend, or a list of them for the turns of a conversation."""


class ScriptedBackend(ServerKind):
    """Replies from the file, without a server or a model: for trying an experiment out."""

    kind: Literal["scripted"]
    """How the server is obtained: there is none, replies stand in the file."""

    replies: Annotated[
        Annotated[list[Reply], Tag(LIST)] | Annotated[dict[str, list[Reply]], Tag(MAPPING)],
        BY_SHAPE,
    ]
    """Taken in turn, trial by trial, by each test; or test name (a glob may be used) → its
    replies. A list in a list are the turns of one conversation; its last reply repeats."""

    delay_s: Annotated[float, Field(ge=0)] = 0.0
    """How long each reply takes, in seconds."""

    page: ClassVar[str] = "docs/servers.md#scripted"
    usual_concurrency: ClassVar[int | None] = 4
    has_model: ClassVar[bool] = False

    def identity(self, model: Model, template: Template) -> JsonObject:
        """Return the replies, as they stand in the file."""
        replies = self.model_dump(mode="json")["replies"]
        return {"replies": replies, "ollama_template": template.ollama_text}

    def present(self, launch: Launch, origin: Origin, around: Surroundings) -> PresentBuild:
        """Return the one build that there is."""
        return PresentBuild(build=SCRIPTED_BUILD, verified=True, origin=origin)

    def open(
        self, order: LaunchRequest, around: Surroundings | None = None
    ) -> AbstractAsyncContextManager[ScriptedSession]:
        """Return a context in which the script answers."""
        return self._session(order)

    @asynccontextmanager
    async def _session(self, order: LaunchRequest) -> AsyncGenerator[ScriptedSession]:
        usual = self.concurrency or self.usual_concurrency or 1
        info = SessionInfo(build=SCRIPTED_BUILD, concurrency=1 if order.faithful else usual)
        yield ScriptedSession(self, info)

    def examine(
        self, what: str, ids: Mapping[str, str], around: Surroundings
    ) -> Iterator[Examined]:
        """Yield that there is nothing to look for."""
        yield ok(what, "scripted: needs no server")

    @classmethod
    def chat_url(cls, asked: Asked) -> str:
        """Return nothing: there is nobody to ask."""
        return ""


class ScriptedSession:
    """A session that answers from a script."""

    def __init__(self, backend: ScriptedBackend, info: SessionInfo) -> None:
        self._backend = backend
        self._info = info

    @property
    def info(self) -> SessionInfo:
        """What is known of the script."""
        return self._info

    async def ask(self, request: ChatRequest) -> ChatReply | Refusal:
        """Return the reply whose turn it is: trial i of a test gets reply i modulo their number.

        Where that is a list, its replies are taken turn by turn, and the last one repeats.
        Completion tokens are words, counted at white space, calls' arguments included. A streamed
        reply comes in one piece: its first token comes with the last.
        """
        answer = await self._answer(request)
        if isinstance(answer, Refusal) or not request.body.get("stream"):
            return answer
        timing = replace(answer.timing, time_to_first_token_s=answer.timing.latency_s)
        return replace(answer, timing=timing)

    async def _answer(self, request: ChatRequest) -> ChatReply | Refusal:
        started = time.perf_counter()
        await asyncio.sleep(self._backend.delay_s)
        replies = _replies(self._backend, request.test)
        latency_s = time.perf_counter() - started
        if not replies:
            return Refusal(
                outcome=Outcome.ERRORED,
                kind=Kind.NOT_FOUND,
                reason=f"the script has no reply for the test {request.test!r}",
                latency_s=latency_s,
            )
        reply = replies[request.trial % len(replies)]
        if isinstance(reply, list):
            reply = reply[min(request.turn, len(reply) - 1)]
        if isinstance(reply, str):
            return _spoken(content=reply, latency_s=latency_s)
        if reply.error is not None:
            return _refused(reply, latency_s)
        return _spoken(
            content=reply.content,
            calls=reply.tool_calls,
            finish_reason=reply.finish_reason,
            latency_s=latency_s,
        )

    def forgive(self, deaths: int) -> None:
        """Do nothing: a script does not die."""

    async def ensure_alive(self) -> bool:
        """Return False: a script does not die."""
        return False


def _replies(backend: ScriptedBackend, test: str) -> Sequence[Reply]:
    """Return a test's replies: its own by exact name, else those of the first glob that matches."""
    replies = backend.replies
    if isinstance(replies, list):
        return replies
    if test in replies:
        return replies[test]
    return next((found for glob, found in replies.items() if fnmatchcase(test, glob)), ())


def _refused(reply: ScriptedReply, latency_s: float) -> Refusal:
    rejected = reply.error == "rejected"
    return Refusal(
        outcome=Outcome.REJECTED if rejected else Outcome.ERRORED,
        kind=Kind.UNPARSED_OUTPUT if rejected else Kind.SERVER_ERROR,
        reason=reply.content or f"the script says {reply.error}",
        latency_s=latency_s,
    )


def _spoken(
    *,
    content: str | None,
    latency_s: float,
    calls: Sequence[JsonObject] = (),
    finish_reason: str | None = None,
) -> ChatReply:
    tool_calls = tuple(_call(call, f"call_{index}") for index, call in enumerate(calls))
    message: JsonObject = {"role": "assistant", "content": content}
    if tool_calls:
        message["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for call in tool_calls
        ]
    words = [*(content or "").split(), *(w for c in tool_calls for w in c.arguments.split())]
    return ChatReply(
        message=message,
        content=content,
        tool_calls=tool_calls,
        finish_reason=finish_reason or ("tool_calls" if tool_calls else "stop"),
        completion_tokens=len(words),
        timing=Timing(
            latency_s=latency_s,
            completion_tokens_per_s=len(words) / latency_s if latency_s > 0 else None,
        ),
    )


def _call(call: JsonObject, default_id: str) -> ToolCall:
    arguments: Any = call.get("arguments", {})
    if not isinstance(arguments, str):
        arguments = json.dumps(arguments, separators=(",", ":"), ensure_ascii=False)
    return ToolCall(
        name=str(call.get("name", "")), arguments=arguments, id=str(call.get("id", default_id))
    )
