"""The names of the marks that models put around their reasoning; the marks are in `checks`."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias, get_args

from pydantic import Tag

from matrixbench.spec.base import BY_SHAPE, LIST, SWITCH

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
