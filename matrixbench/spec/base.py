"""The strictness that every part of the file shares, and unions told apart by shape."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from pydantic import BaseModel, ConfigDict, Discriminator, Tag

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

BY_SHAPE = Discriminator(shape)

Texts: TypeAlias = Annotated[
    Annotated[str, Tag(TEXT)] | Annotated[list[str], Tag(LIST)],
    BY_SHAPE,
]
"""A text, or a list of texts."""
