"""How many trials a cell gets: a number, or as many as it takes."""

from __future__ import annotations

from typing import Annotated, Any, TypeAlias

from pydantic import Field, Tag

from matrixbench.spec.base import BY_SHAPE, MAPPING, NUMBER, Part


class Gate(Part):
    """What `compare --gate` is going to be asked."""

    baseline: Annotated[dict[str, Any], Field(min_length=1, max_length=1)]
    """The axis that is compared, and its value to compare with; `build: previous` is the build
    before the present one."""

    max_drop: Annotated[float, Field(ge=0, le=1)] = 0.1
    """The drop of the mean success ratio that the gate allows."""


class Until(Part):
    """What has to be known so that there are no more trials: one of the two."""

    half_width: Annotated[float, Field(gt=0, lt=0.5)] | None = None
    """How wide the interval of a cell's success ratio may be, to a side: each cell stops alone."""

    gate: Gate | None = None
    """The comparison that has to be decided: all cells stop together, after a whole round."""


class AdaptiveTrials(Part):
    """As many trials as it takes, within bounds."""

    min: Annotated[int, Field(ge=1)] = 1
    """Trials before which no cell stops, and no gate is looked at."""

    max: Annotated[int, Field(ge=1)]
    """Trials at which every cell stops."""

    until: Until
    """When a cell stops between the two."""


Trials: TypeAlias = Annotated[
    Annotated[Annotated[int, Field(ge=1)], Tag(NUMBER)] | Annotated[AdaptiveTrials, Tag(MAPPING)],
    BY_SHAPE,
]
"""A number, or bounds and what has to be known."""
