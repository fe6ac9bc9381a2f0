"""What a chart shows on which side."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from matrixbench.spec.base import Part, Texts


class Metric(StrEnum):
    """What a square's colour means."""

    SUCCESS_RATIO = "success_ratio"
    LATENCY_P50_S = "latency_p50_s"
    COMPLETION_TOKENS_PER_S = "completion_tokens_per_s"


class Chart(Part):
    """A heatmap: which axes stand on which sides, and what the colour means."""

    x: Texts | None = None
    """The axis from left to right; several are joined. Default: test."""

    y: Texts | None = None
    """The axis from top to bottom. Default: temperature, or the axis that varies most."""

    row: Texts | None = None
    """The axis that makes one row of facets for each value. Default: model."""

    column: Texts | None = None
    """The axis that makes one column of facets for each value. Default: backend, chat template
    and the server options that vary."""

    metric: Annotated[Metric, Field(strict=False)] = Metric.SUCCESS_RATIO
    """What the colour means."""

    title: str | None = None
    """The title. Default: the experiment's name and the chart's."""
