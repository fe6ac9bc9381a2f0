"""What a chart shows on which side."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field

from matrixbench.spec.base import Part, Texts


class Metric(StrEnum):
    """What a square's colour means."""

    SUCCESS_RATIO = "success_ratio"
    SUCCESS_RATIO_LOW = "success_ratio_low"
    SUCCESS_RATIO_WITHOUT_REJECTED = "success_ratio_without_rejected"
    DIFFERENCE = "difference"
    PASS_AT_K = "pass_at_k"  # noqa: S105  no password
    PASS_HAT_K = "pass_hat_k"  # noqa: S105  no password
    SCORE = "score"
    LATENCY_P50_S = "latency_p50_s"
    LATENCY_P90_S = "latency_p90_s"
    TIME_TO_FIRST_TOKEN_P50_S = "time_to_first_token_p50_s"  # noqa: S105  no password
    TIME_TO_FIRST_TOKEN_P90_S = "time_to_first_token_p90_s"  # noqa: S105  no password
    TOKEN_GAP_P50_S = "token_gap_p50_s"  # noqa: S105  no password
    TOKEN_GAP_P90_S = "token_gap_p90_s"  # noqa: S105  no password
    TOKEN_GAP_MAX_P50_S = "token_gap_max_p50_s"  # noqa: S105  no password
    TOKEN_GAP_MAX_P90_S = "token_gap_max_p90_s"  # noqa: S105  no password
    PROMPT_TOKENS_PER_S = "prompt_tokens_per_s"
    COMPLETION_TOKENS_PER_S = "completion_tokens_per_s"
    COMPLETION_TOKENS = "completion_tokens"
    COMPUTED_TOKENS = "computed_tokens"
    CACHED_SHARE = "cached_share"
    DRAFT_ACCEPTED_SHARE = "draft_accepted_share"
    DISTINCT = "distinct"


PROMPT_TIMES = frozenset(
    {
        Metric.LATENCY_P50_S,
        Metric.LATENCY_P90_S,
        Metric.TIME_TO_FIRST_TOKEN_P50_S,
        Metric.TIME_TO_FIRST_TOKEN_P90_S,
        Metric.PROMPT_TOKENS_PER_S,
    }
)
"""Metrics that depend on how much of the prompt came from the server's cache."""


OF_ONE_LOAD = PROMPT_TIMES | {
    Metric.COMPLETION_TOKENS_PER_S,
    Metric.COMPUTED_TOKENS,
    Metric.CACHED_SHARE,
}
"""Metrics that are of trials under a cell's own load alone."""


class ChosenInterval(StrEnum):
    """Which interval a cell's success ratio has where its number of trials is fixed."""

    WILSON = "wilson"
    JEFFREYS = "jeffreys"
    EXACT = "exact"


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

    baseline: Annotated[dict[str, Any], Field(min_length=1, max_length=1)] | None = None
    """For the metric `difference`: the axis that is compared, and its value to compare with;
    `build: previous` is the build before the present one."""

    k: Annotated[int, Field(ge=1)] = 5
    """For the metrics `pass_at_k` and `pass_hat_k`: how many attempts are meant."""

    interval: Annotated[ChosenInterval, Field(strict=False)] | None = None
    """Which 95 % interval a square has: `wilson` (the default), `jeffreys` (narrower near 0 and 1)
    or `exact` (Clopper and Pearson's: wider, never right too seldom). Adaptive trials have their
    own."""

    title: str | None = None
    """The title. Default: the experiment's name and the chart's."""
