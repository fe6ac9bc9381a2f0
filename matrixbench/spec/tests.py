"""Tests: what is asked, what is said after each reply, and what a good answer looks like."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

from pydantic import ConfigDict, Discriminator, Field, Tag

from matrixbench.spec.base import BY_SHAPE, MAPPING, TAG, TEXT, GridOrGrids, Part
from matrixbench.spec.checks import Check

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


class Needs(Part):
    """What a test needs of a server; where it is not there, the test does not apply."""

    context: Annotated[int, Field(ge=1)] | None = None
    """Tokens that one request must be able to use."""


class Test(Part):
    """One test: messages, tools, request fields, and what a good answer looks like."""

    __test__ = False  # for pytest, whose naming rule this class meets by chance

    name: str
    """Its name, unique in the file. With `parameters` it may hold `{{ … }}`."""

    description: str = ""
    """What it probes."""

    tags: list[str] = []
    """Words by which tests are chosen: in a suite's `tags`, in `exclude`, in `--where tag=…`."""

    parameters: GridOrGrids = {}
    """Values for `{{ … }}` (Jinja2, sandboxed) in this test's texts; a list is an axis."""

    messages: Annotated[list[dict[str, Any]], Field(min_length=1)]
    """The conversation so far, as the chat API takes it."""

    tools: list[Tool] = []
    """The tools on offer, as the chat API takes them, and what they answer."""

    turns: list[Said] = []
    """What is said next, one after the other, each once the model answered without a call."""

    max_turns: Annotated[int, Field(ge=1)] | None = None
    """Replies of the model in a conversation, at most. Default: 8 more than there are `turns`."""

    request: dict[str, Any] = {}
    """Further request fields of this test alone; they win over the file's."""

    needs: Needs = Needs()
    """What the test needs of a server."""

    expect: list[Check]
    """The checks; all must pass."""


class SuiteReference(Part):
    """Tests from a suite: one that ships with matrixbench, a file, or a file in a package."""

    suite: str
    """The suite's name, the path of its file, or `package:path/in/it.yaml` for a file in a Python
    package that is installed."""

    only: list[str] | None = None
    """Take only these tests (globs)."""

    skip: list[str] = []
    """Leave these tests out (globs)."""

    tags: list[str] | None = None
    """Take only tests that have any of these tags (globs)."""

    request: dict[str, Any] = {}
    """Request fields for all of these tests; they win over the tests' own."""


class Suite(Part):
    """A file of tests."""

    name: str
    """The suite's name."""

    description: str = ""
    """What it probes."""

    tests: Annotated[list[Test], Field(min_length=1)]
    """Its tests."""


_SUITE = f"{TAG}suite"
_TEST = f"{TAG}test"


def _misspells_suite(entry: dict[str, Any]) -> bool:
    """Return whether an entry is a suite but for a slip, so that it is told as that one slip."""
    is_test = bool(entry.keys() & Test.model_fields.keys() - SuiteReference.model_fields.keys())
    return not is_test and bool(get_close_matches("suite", entry, n=1))


def entry_kind(value: object) -> str:
    """Return which of the two an entry of `tests:` is."""
    if isinstance(value, dict):
        return _SUITE if "suite" in value or _misspells_suite(value) else _TEST
    return _SUITE if isinstance(value, SuiteReference) else _TEST


TestEntry: TypeAlias = Annotated[
    Annotated[SuiteReference, Tag(_SUITE)] | Annotated[Test, Tag(_TEST)],
    Discriminator(entry_kind),
]
