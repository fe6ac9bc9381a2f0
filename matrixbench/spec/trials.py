"""How many trials a cell gets: a number, or as many as it takes."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from pydantic import Field, Tag

from matrixbench.spec.base import BY_SHAPE, MAPPING, NUMBER, Part


class Until(Part):
    """What a cell has to satisfy so that it gets no more trials."""

    half_width: Annotated[float, Field(gt=0, lt=0.5)]
    """How wide the interval of its success ratio may be, to a side."""


class AdaptiveTrials(Part):
    """As many trials as it takes, within bounds."""

    min: Annotated[int, Field(ge=1)] = 1
    """Trials before which no cell stops."""

    max: Annotated[int, Field(ge=1)]
    """Trials at which every cell stops."""

    until: Until
    """When a cell stops between the two."""


Trials: TypeAlias = Annotated[
    Annotated[Annotated[int, Field(ge=1)], Tag(NUMBER)] | Annotated[AdaptiveTrials, Tag(MAPPING)],
    BY_SHAPE,
]
"""A number, or bounds and what has to be known."""
