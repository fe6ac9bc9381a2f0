"""Conversations: what is said after the first reply, and what the tools answer."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

from pydantic import ConfigDict, Field, Tag

from matrixbench.spec.base import BY_SHAPE, MAPPING, TEXT, Part

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matrixbench.records import JsonObject

DEFAULT_MAX_TURNS = 8
"""Replies of the model that a conversation may have beside the one that each further turn needs."""

RULES_VERSION = 1
"""Part of every script's identity. Raise it when the same script may now send something else."""


class Return(Part):
    """One result of a tool. The first entry whose `when` matches is given."""

    when: Annotated[dict[str, Any], Field(min_length=1)] | None = None
    """Argument → matcher, or the value that it must equal. Without it the entry always matches."""

    content: Any = None
    """The result: a text as it is, anything else as JSON."""

    error: str | None = None
    """Instead of a content: what went wrong, sent as `{"error": TEXT}`."""

    times: Annotated[int, Field(ge=1)] | None = None
    """How often it is given in one conversation; then the next entry that matches is."""


class Tool(Part):
    """A tool as the chat API takes it, and what it answers."""

    model_config = ConfigDict(extra="allow")

    returns: Annotated[list[Return], Field(min_length=1)] | None = None
    """The results of calls, never sent with the tool. Without it, a call ends the conversation."""

    @property
    def sent(self) -> JsonObject:
        """What the model is offered."""
        return dict(self.model_extra or {})

    @property
    def name(self) -> str:
        """The name of its function; empty where it has none."""
        function = self.sent.get("function")
        name = function.get("name") if isinstance(function, dict) else None
        return name if isinstance(name, str) else ""


Said: TypeAlias = Annotated[
    Annotated[str, Tag(TEXT)] | Annotated[dict[str, Any], Tag(MAPPING)], BY_SHAPE
]
"""What is said next: the user's text, or a message as the chat API takes it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One result of a tool.

    Args:
        when: The arguments that it is for; None: all.
        content: The text that is sent.
        times: How often it is given in one conversation; None: without end.
    """

    when: Mapping[str, Any] | None
    content: str
    times: int | None = None

    @property
    def identity(self) -> JsonObject:
        """What of it decides the answers."""
        times = {} if self.times is None else {"times": self.times}
        return {"when": self.when, "content": self.content, **times}


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """What is said and answered after the first reply.

    Args:
        tools: The names of all functions on offer.
        returns: Tool → its results, for those that have any.
        turns: Messages, one after the other, each once the model answered without a call.
        max_turns: Replies of the model, at most.
    """

    tools: tuple[str, ...] = ()
    returns: Mapping[str, tuple[Result, ...]] = field(default_factory=dict)
    turns: tuple[JsonObject, ...] = ()
    max_turns: int = DEFAULT_MAX_TURNS

    @property
    def identity(self) -> JsonObject:
        """What of it decides the answers."""
        return {
            "version": RULES_VERSION,
            "returns": {
                name: [result.identity for result in results]
                for name, results in self.returns.items()
            },
            "turns": list(self.turns),
            "max_turns": self.max_turns,
        }


def script_of(
    tools: Sequence[Tool], turns: Sequence[str | JsonObject], max_turns: int | None
) -> Script | None:
    """Return the script of a test, or None where it is one request."""
    returns: dict[str, tuple[Result, ...]] = {}
    for tool in tools:
        results = tuple(
            Result(when=said.when, content=_text(said), times=said.times)
            for said in tool.returns or ()
        )
        if results:
            returns[tool.name] = (*returns.get(tool.name, ()), *results)
    if not returns and not turns:
        return None
    return Script(
        tools=tuple(tool.name for tool in tools if tool.name),
        returns=returns,
        turns=tuple(message_of(turn) for turn in turns),
        max_turns=default_max_turns(turns) if max_turns is None else max_turns,
    )


def default_max_turns(turns: Sequence[object]) -> int:
    """Return how many replies a conversation may have where the file does not say."""
    return DEFAULT_MAX_TURNS + len(turns)


def message_of(turn: str | JsonObject) -> JsonObject:
    """Return the message that a turn stands for: the user's, unless it names another role."""
    return {"role": "user", "content": turn} if isinstance(turn, str) else {"role": "user", **turn}


def error_text(error: str) -> str:
    """Return the result of a call that went wrong."""
    return json.dumps({"error": error}, ensure_ascii=False)


def _text(said: Return) -> str:
    if said.error is not None:
        return error_text(said.error)
    content = said.content
    return content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
