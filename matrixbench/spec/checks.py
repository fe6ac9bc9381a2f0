"""Checks: what a good answer looks like, and the matchers that they are made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias, get_args

from pydantic import Discriminator, Field, Tag

from matrixbench.extensions import CHECKS, extensions
from matrixbench.spec.base import BY_SHAPE, LIST, MAPPING, NUMBER, SWITCH, TAG, TEXT, Number, Part

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

ReasoningMarks: TypeAlias = Literal[
    "think",
    "thinking",
    "thought",
    "reasoning",
    "pipes",
    "mistral",
    "harmony",
    "seed",
    "kimi",
    "cohere",
    "gemma",
    "medgemma",
    "apertus",
    "open-thoughts",
    "minicpm",
    "longcat",
    "granite",
]

ALL_MARKS: tuple[ReasoningMarks, ...] = get_args(ReasoningMarks)

ReasoningInContent: TypeAlias = Annotated[
    Annotated[list[ReasoningMarks], Tag(LIST)] | Annotated[bool, Tag(SWITCH)], BY_SHAPE
]
"""The marks by name; `true` for all that are known, `false` for none."""


def marks_of(*settings: list[ReasoningMarks] | bool | None) -> tuple[ReasoningMarks, ...]:
    """Return the marks that the first setting which is given means, in the table's order."""
    said = next((setting for setting in settings if setting is not None), False)
    if isinstance(said, bool):
        return ALL_MARKS if said else ()
    return tuple(name for name in ALL_MARKS if name in said)


JsonType: TypeAlias = Literal["string", "number", "integer", "boolean", "object", "array", "null"]

NumberPlace: TypeAlias = Literal["whole", "only", "first", "last"]

Count: TypeAlias = Annotated[int, Field(ge=0)]


class Bounds(Part):
    """Between which two numbers, both included, something must be; one of them may be missing."""

    min: Number | None = None
    """The least that is allowed."""

    max: Number | None = None
    """The most that is allowed."""


class NumberMatcher(Bounds):
    """Which numbers are meant: `value`, give or take `tolerance`, or bounds."""

    value: Number | None = None
    """The number itself."""

    tolerance: Number | None = None
    """How far from `value` a number may be, either way. Default: 0."""

    in_text: NumberPlace = "whole"
    """Where in a text the number stands: it is the `whole` text, the `only` number in it, the
    `first` or the `last`."""


class Matcher(Part):
    """What a value must be; of several conditions, all must hold. A bare value means `equals`."""

    equals: Any = None
    """The value itself; numbers compare by value, objects without regard to order."""

    contains: (
        Annotated[
            Annotated[str, Tag(TEXT)] | Annotated[list[str], Field(min_length=1), Tag(LIST)],
            BY_SHAPE,
        ]
        | None
    ) = None
    """Text (each of several) that must occur."""

    matches: str | None = None
    """A regular expression (Python's `re`) that must be found; anchor it to match the whole."""

    one_of: Annotated[list[Any], Field(min_length=1)] | None = None
    """Values of which one must be equal."""

    type: JsonType | None = None
    """The value's JSON type."""

    number: (
        Annotated[
            Annotated[float, Field(allow_inf_nan=False), Tag(NUMBER)]
            | Annotated[str, Tag(TEXT)]
            | Annotated[NumberMatcher, Tag(MAPPING)],
            BY_SHAPE,
        ]
        | None
    ) = None
    """A number: its value, or a mapping that says more."""

    length: (
        Annotated[
            Annotated[Count, Tag(NUMBER)] | Annotated[Bounds, Tag(MAPPING)],
            BY_SHAPE,
        ]
        | None
    ) = None
    """How many characters, items or keys a text, a list or an object has; or bounds."""

    ignoring: str | None = None
    """A regular expression; what it finds is taken out of a text before the other conditions."""

    ignore_case: bool = False
    """Whether `contains` and `matches` ignore upper and lower case."""


CONDITIONS = ("equals", "contains", "matches", "one_of", "type", "number", "length")
"""The keys of a matcher that make it one: it must have one of them."""

TextMatcher: TypeAlias = Annotated[
    Annotated[str, Tag(TEXT)] | Annotated[Matcher, Tag(MAPPING)], BY_SHAPE
]
"""A matcher, or the exact text."""


AnyTurn: TypeAlias = Literal["any", "every"]


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
    """The expected calls; each must be there."""

    count: Count | None = None
    """How many calls there must be in all. Default: as many as are expected."""

    at_least: Count | None = None
    """The fewest calls that there may be in all; instead of `count`."""

    at_most: Count | None = None
    """The most calls that there may be in all; instead of `count`."""

    order: Literal["exact", "any"] = "exact"
    """Whether the calls must come in the order in which they are expected."""


class JsonContent(Part):
    """The content must be JSON."""

    schema_: Annotated[dict[str, Any] | None, Field(alias="schema")] = None
    """A JSON Schema that the value must meet."""

    fenced: bool = False
    """Whether the JSON may stand in a fenced code block, with text around it."""

    paths: dict[str, Any] = {}
    """Path, such as `a.b[0].c` → matcher, or the value that must stand there."""


class CheckPart(Part):
    """What every check may say."""

    turn: (
        Annotated[
            Annotated[int, Field(ge=1), Tag(NUMBER)] | Annotated[AnyTurn, Tag(TEXT)], BY_SHAPE
        ]
        | None
    ) = None
    """Which reply of a conversation is meant: its number, from 1, or `any` or `every` one of them.
    Default: the last."""


class ToolCallsCheck(CheckPart):
    """Checks the tool calls of a reply."""

    tool_calls: Annotated[
        Annotated[list[ExpectedCall], Tag(LIST)] | Annotated[ToolCalls, Tag(MAPPING)], BY_SHAPE
    ]
    """A list of calls, exact in number and order, or a mapping that says more."""


class NoToolCallsCheck(CheckPart):
    """Checks that a reply calls no tool."""

    no_tool_calls: Literal[True]
    """Always `true`."""


class ContentCheck(CheckPart):
    """Checks the text of a reply."""

    content: TextMatcher
    """A matcher, or the exact text."""


class ReasoningCheck(CheckPart):
    """Checks the reasoning that a server keeps apart from the text."""

    reasoning: TextMatcher
    """A matcher, or the exact text."""


class FinishReasonCheck(CheckPart):
    """Checks why the server ended a reply."""

    finish_reason: Annotated[
        Annotated[str, Tag(TEXT)]
        | Annotated[list[str], Field(min_length=1), Tag(LIST)]
        | Annotated[Matcher, Tag(MAPPING)],
        BY_SHAPE,
    ]
    """The reason, a list of which one must hold, or a matcher."""


class JsonCheck(CheckPart):
    """Checks that the text of a reply is JSON."""

    json_: Annotated[
        Annotated[JsonContent, Tag(MAPPING)] | Annotated[Literal[True], Tag(SWITCH)],
        BY_SHAPE,
        Field(alias="json"),
    ]
    """`true`, or what the JSON must meet."""


class LatencyCheck(CheckPart):
    """Checks how long a reply took."""

    latency_s: Bounds
    """Bounds in seconds."""


class CompletionTokensCheck(CheckPart):
    """Checks how many tokens a reply has."""

    completion_tokens: Bounds
    """Bounds in tokens, as the server counts them."""


class CachedTokensCheck(CheckPart):
    """Checks how many tokens of the prompt came from the server's cache."""

    cached_tokens: Bounds
    """Bounds in tokens, as the server counts them."""


class AllCheck(CheckPart):
    """Checks that must all hold."""

    all_: Annotated[list[Check], Field(alias="all", min_length=1)]
    """Checks that must all hold."""


class AnyCheck(CheckPart):
    """Checks of which one must hold."""

    any_: Annotated[list[Check], Field(alias="any", min_length=1)]
    """Checks of which one must hold."""


class NotCheck(CheckPart):
    """A check that must not hold."""

    not_: Annotated[Check, Field(alias="not")]
    """The check that must not hold."""


class PythonCheck(CheckPart):
    """A check of one's own: a function in Python."""

    python: str
    """`package.module:function`, beside the file or on the import path."""

    arguments: dict[str, Any] = {}
    """What the function is given beside the reply, by name."""

    threshold: Annotated[float, Field(ge=0, le=1)] = 1.0
    """The score from which on the check holds, where the function returns a number."""

    timeout_s: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    """How long the function may take for one reply; 10 seconds unless it is given."""


def _installed(schema: dict[str, Any]) -> None:
    """Let an editor complete the checks that are installed."""
    if names := list(extensions(CHECKS)):
        schema["examples"] = names


class NamedCheck(CheckPart):
    """A check that an installed package brings (docs/extending.md)."""

    check: Annotated[str, Field(json_schema_extra=_installed)]
    """The check's name."""

    arguments: dict[str, Any] = {}
    """What its function is given beside the reply, by name."""

    threshold: Annotated[float, Field(ge=0, le=1)] = 1.0
    """The score from which on the check holds, where the function returns a number."""

    timeout_s: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    """How long the function may take for one reply; 10 seconds unless it is given."""


class SameAsCheck(CheckPart):
    """Checks that a reply is equal to that of another cell."""

    same_as: Annotated[dict[str, Any], Field(min_length=1)]
    """Axis → value: the other cell has these, and is else like the reply's own."""


def _check_tag(value: object) -> str | None:
    name = check_name(value)
    return None if name is None else f"{TAG}{name}"


Check: TypeAlias = Annotated[
    Annotated[ToolCallsCheck, Tag(f"{TAG}tool_calls")]
    | Annotated[NoToolCallsCheck, Tag(f"{TAG}no_tool_calls")]
    | Annotated[ContentCheck, Tag(f"{TAG}content")]
    | Annotated[ReasoningCheck, Tag(f"{TAG}reasoning")]
    | Annotated[JsonCheck, Tag(f"{TAG}json")]
    | Annotated[FinishReasonCheck, Tag(f"{TAG}finish_reason")]
    | Annotated[LatencyCheck, Tag(f"{TAG}latency_s")]
    | Annotated[CompletionTokensCheck, Tag(f"{TAG}completion_tokens")]
    | Annotated[CachedTokensCheck, Tag(f"{TAG}cached_tokens")]
    | Annotated[AllCheck, Tag(f"{TAG}all")]
    | Annotated[AnyCheck, Tag(f"{TAG}any")]
    | Annotated[NotCheck, Tag(f"{TAG}not")]
    | Annotated[PythonCheck, Tag(f"{TAG}python")]
    | Annotated[SameAsCheck, Tag(f"{TAG}same_as")]
    | Annotated[NamedCheck, Tag(f"{TAG}check")],
    Discriminator(_check_tag),
]
"""One check of any kind."""

_CHECKS: dict[str, type[Part]] = {
    tag.tag.removeprefix(TAG): part for part, tag in map(get_args, get_args(get_args(Check)[0]))
}
_NAMES: dict[type, str] = {check: name for name, check in _CHECKS.items()}

CHECK_NAMES = tuple(_CHECKS)

for _check in (AllCheck, AnyCheck, NotCheck):
    _check.model_rebuild()


def check_name(value: object) -> str | None:
    """Return the name of the check that a mapping or a model stands for, or None."""
    if isinstance(value, dict):
        return next((name for name in CHECK_NAMES if name in value), None)
    return _NAMES.get(type(value))


def parts_of(check: Check) -> tuple[tuple[str, Check], ...]:
    """Return the checks that a check is made of, each with its place in it; most have none."""
    match check:
        case AllCheck(all_=parts):
            return tuple((f"all[{index}]", part) for index, part in enumerate(parts))
        case AnyCheck(any_=parts):
            return tuple((f"any[{index}]", part) for index, part in enumerate(parts))
        case NotCheck(not_=part):
            return (("not", part),)
        case _:
            return ()


def every_check(expect: Iterable[Check], at: str = "expect") -> Iterator[tuple[str, Check]]:
    """Yield checks and those that they are made of, each with its place."""
    for index, check in enumerate(expect):
        yield from _with_parts(f"{at}[{index}]", check)


def _with_parts(at: str, check: Check) -> Iterator[tuple[str, Check]]:
    yield at, check
    for place, part in parts_of(check):
        yield from _with_parts(f"{at}.{place}", part)
