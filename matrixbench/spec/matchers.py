"""Matchers: what one value must be."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field, Tag

from matrixbench.spec.base import BY_SHAPE, LIST, MAPPING, NUMBER, TEXT, Number, Part

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
