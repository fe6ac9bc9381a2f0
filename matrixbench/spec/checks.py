"""Checks: what a good answer looks like."""

# ruff: noqa: RUF012  pydantic copies mutable defaults

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Discriminator, Field, Tag

from matrixbench.spec.base import BY_SHAPE, LIST, MAPPING, SWITCH, TAG, TEXT, Part, Texts

JsonType: TypeAlias = Literal["string", "number", "integer", "boolean", "object", "array", "null"]


class Matcher(Part):
    """What a value must be; of several conditions, all must hold. A bare value means `equals`."""

    equals: Any = None
    """The value itself; numbers compare by value, objects without regard to order."""

    contains: Texts | None = None
    """Text (each of several) that must occur."""

    matches: str | None = None
    """A regular expression (Python's `re`) that must be found; anchor it to match the whole."""

    one_of: list[Any] | None = None
    """Values of which one must be equal."""

    type: JsonType | None = None
    """The value's JSON type."""

    ignoring: str | None = None
    """A regular expression; what it finds is taken out of a text before the other conditions."""

    ignore_case: bool = False
    """Whether `contains` and `matches` ignore upper and lower case."""


class ExpectedCall(Part):
    """One tool call that is expected."""

    name: str
    """The tool's name."""

    arguments: dict[str, Any] = {}
    """Argument → matcher, or the value that it must equal. Arguments not named here may be
    anything."""


class ToolCalls(Part):
    """The tool calls that a reply must hold."""

    calls: list[ExpectedCall] = []
    """The expected calls."""

    count: Annotated[int, Field(ge=0)] | None = None
    """How many calls there must be. Default: as many as are expected."""

    order: Literal["exact", "any"] = "exact"
    """Whether the calls must come in the order in which they are expected."""


class JsonContent(Part):
    """The content must be JSON."""

    schema_: Annotated[dict[str, Any] | None, Field(alias="schema")] = None
    """A JSON Schema that the value must meet."""

    fenced: bool = False
    """Whether the JSON may stand in a fenced code block, with text around it."""


class ToolCallsCheck(Part):
    """Checks the tool calls of a reply."""

    tool_calls: Annotated[
        Annotated[list[ExpectedCall], Tag(LIST)] | Annotated[ToolCalls, Tag(MAPPING)], BY_SHAPE
    ]
    """A list of calls, exact in number and order, or a mapping that says more."""


class NoToolCallsCheck(Part):
    """Checks that a reply calls no tool."""

    no_tool_calls: Literal[True]
    """Always `true`."""


class ContentCheck(Part):
    """Checks the text of a reply."""

    content: Annotated[Annotated[str, Tag(TEXT)] | Annotated[Matcher, Tag(MAPPING)], BY_SHAPE]
    """A matcher, or the exact text."""


class JsonCheck(Part):
    """Checks that the text of a reply is JSON."""

    json_: Annotated[
        Annotated[JsonContent, Tag(MAPPING)] | Annotated[Literal[True], Tag(SWITCH)],
        BY_SHAPE,
        Field(alias="json"),
    ]
    """`true`, or what the JSON must meet."""


CHECK_NAMES = ("tool_calls", "no_tool_calls", "content", "json")


def check_name(value: object) -> str | None:
    """Return the name of the check that a mapping or a model stands for, or None."""
    if isinstance(value, dict):
        return next((name for name in CHECK_NAMES if name in value), None)
    by_type: dict[type, str] = {
        ToolCallsCheck: "tool_calls",
        NoToolCallsCheck: "no_tool_calls",
        ContentCheck: "content",
        JsonCheck: "json",
    }
    return by_type.get(type(value))


def _check_tag(value: object) -> str | None:
    name = check_name(value)
    return None if name is None else f"{TAG}{name}"


Check: TypeAlias = Annotated[
    Annotated[ToolCallsCheck, Tag(f"{TAG}tool_calls")]
    | Annotated[NoToolCallsCheck, Tag(f"{TAG}no_tool_calls")]
    | Annotated[ContentCheck, Tag(f"{TAG}content")]
    | Annotated[JsonCheck, Tag(f"{TAG}json")],
    Discriminator(_check_tag),
]
