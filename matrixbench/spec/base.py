"""The strictness that every part of the file shares, and unions told apart by shape."""

from __future__ import annotations

from math import isfinite
from typing import Annotated, TypeAlias

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

TAG = "\0"
"""Begins the tags of unions, so that pydantic's way to an error tells them from the file's keys,
which hold no NUL."""


class Part(BaseModel):
    """A part of the experiment file: unknown keys are errors, types are not guessed."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True
    )


def shape(value: object) -> str:
    """Return the tag for a value's shape, by which a union's member is chosen.

    A plain union would report one mistake once for each of its members.
    """
    match value:
        case bool():
            return SWITCH
        case int() | float():
            return NUMBER
        case str():
            return TEXT
        case list() | tuple():
            return LIST
        case dict() | BaseModel():
            return MAPPING
        case _:
            return f"{TAG}other"


TEXT = f"{TAG}text"
LIST = f"{TAG}list"
MAPPING = f"{TAG}mapping"
SWITCH = f"{TAG}true or false"
NUMBER = f"{TAG}a number"

BY_SHAPE = Discriminator(shape)

Texts: TypeAlias = Annotated[
    Annotated[str, Tag(TEXT)] | Annotated[list[str], Tag(LIST)],
    BY_SHAPE,
]
"""A text, or a list of texts."""

Number: TypeAlias = Annotated[
    Annotated[float, Field(allow_inf_nan=False), Tag(NUMBER)] | Annotated[str, Tag(TEXT)],
    BY_SHAPE,
]
"""A number, or a text that is one once its parameters are filled in: those stay texts."""


def number_of(value: float | str) -> float | None:
    """Return the number that a `Number` stands for, or None for a text that is none."""
    if not isinstance(value, str):
        return value
    try:
        number = float(value)
    except ValueError:
        return None
    return number if isfinite(number) else None
