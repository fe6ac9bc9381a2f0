"""The experiment file as it is written: its trials, its charts, and all parts together."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal, TypeAlias, get_args

from pydantic import ConfigDict, Field, Tag

from matrixbench.spec.backends import AnyBackend
from matrixbench.spec.base import BY_SHAPE, LIST, MAPPING, NUMBER, GridOrGrids, Part, Texts
from matrixbench.spec.models import ChatTemplate, Model
from matrixbench.spec.tests import TestEntry


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


class Metric(StrEnum):
    """What a square's colour means."""

    SUCCESS_RATIO = "success_ratio"
    SUCCESS_RATIO_LOW = "success_ratio_low"
    SUCCESS_RATIO_WITHOUT_REJECTED = "success_ratio_without_rejected"
    DIFFERENCE = "difference"
    PASS_AT_K = "pass_at_k"
    PASS_HAT_K = "pass_hat_k"
    SCORE = "score"
    LATENCY_P50_S = "latency_p50_s"
    LATENCY_P90_S = "latency_p90_s"
    TIME_TO_FIRST_TOKEN_P50_S = "time_to_first_token_p50_s"
    TIME_TO_FIRST_TOKEN_P90_S = "time_to_first_token_p90_s"
    TOKEN_GAP_P50_S = "token_gap_p50_s"
    TOKEN_GAP_P90_S = "token_gap_p90_s"
    TOKEN_GAP_MAX_P50_S = "token_gap_max_p50_s"
    TOKEN_GAP_MAX_P90_S = "token_gap_max_p90_s"
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


MAX_SEED = 2**32 - 2
"""−1 and 2³²−1 mean «random» to llama.cpp."""

SamplingField: TypeAlias = Literal[
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "typical_p",
    "top_n_sigma",
    "xtc_probability",
    "xtc_threshold",
    "repeat_penalty",
    "repeat_last_n",
    "presence_penalty",
    "frequency_penalty",
    "dry_multiplier",
    "dry_base",
    "dry_allowed_length",
    "dry_penalty_last_n",
    "dynatemp_range",
    "dynatemp_exponent",
    "mirostat",
    "mirostat_tau",
    "mirostat_eta",
    "samplers",
]
"""Fields of a chat request that say how the next token is drawn."""

SAMPLING_FIELDS: tuple[str, ...] = get_args(SamplingField)

SamplingGrid: TypeAlias = dict[SamplingField, Any]


class Limits(Part):
    """How much an experiment may ask for before it is refused."""

    cells: Annotated[int, Field(ge=1)] = 100_000
    """The largest matrix."""


class Timeouts(Part):
    """How long things may take, in seconds."""

    request_s: Annotated[float, Field(gt=0)] = 300.0
    """One reply, from sending to its last byte."""

    start_s: Annotated[float, Field(gt=0)] = 600.0
    """A server, from its start until it is ready."""


class ExperimentFile(Part):
    """A matrixbench experiment: the whole question in one file."""

    # Which kinds of backends there are is known once the modules above this one are loaded.
    model_config = ConfigDict(defer_build=True)

    name: str
    """The experiment's name, as charts and the store show it."""

    description: str = ""
    """What is to be found out."""

    trials: Trials = 10
    """Attempts per cell, or as many as it takes: {min, max, until: {half_width}} stops each cell
    once its interval is narrow enough, {max, until: {gate: {baseline, max_drop}}} stops all of them
    once a comparison is decided. Raising them later tops up; nothing is repeated."""

    greedy_trials: Annotated[int, Field(ge=1)] = 2
    """Attempts per cell where the sampling is greedy (temperature 0 or top_k 1)."""

    seed: Annotated[int, Field(ge=0, le=MAX_SEED)] = 1
    """Trial i asks for seed + i + an offset of its test, the same for all cells of a test, so that
    they compare pairwise."""

    faithful: bool = False
    """One request at a time, no prompt cache, no shared KV: reruns are bit-equal, and slow."""

    canary: bool = True
    """After a server's start, ask it three short questions: do seeds differ, does one repeat?"""

    warm_up: bool = False
    """Before a launch's trials, have the server compute each prompt: so the first cell of a shared
    prompt is as fast as the others. Costs one request of one token for each."""

    timeouts: Timeouts = Timeouts()
    """How long things may take."""

    limits: Limits = Limits()
    """How much may be asked for."""

    backends: Annotated[dict[str, AnyBackend], Field(min_length=1)]
    """Name → how its server is obtained."""

    models: Annotated[dict[str, Model], Field(min_length=1)] = {"default": Model()}
    """Name → where each kind of backend finds the model."""

    chat_templates: Annotated[dict[str, ChatTemplate], Field(min_length=1)] = {
        "native": ChatTemplate()
    }
    """Name → how messages become a prompt."""

    sampling: Annotated[
        Annotated[SamplingGrid, Tag(MAPPING)] | Annotated[list[SamplingGrid], Tag(LIST)], BY_SHAPE
    ] = {}
    """A grid over sampling fields, or a list of grids (their union); null leaves a field out, so
    that the server's default holds."""

    request: GridOrGrids = {}
    """A grid over any further request fields."""

    max_tokens: Annotated[int, Field(ge=1)] = 512
    """The cap on a reply's tokens; a test's `request` may set its own."""

    tests: Annotated[list[TestEntry], Field(min_length=1)]
    """Tests, and suites of tests."""

    exclude: list[dict[str, Any]] = []
    """Cells to leave out: axis → a value, a list (any of) or a glob; axes not named are all
    meant."""

    include: list[dict[str, Any]] = []
    """Cells to add after `exclude`, by axis; values that the grids lack may be named."""

    charts: dict[str, Chart] = {}
    """Name → what a heatmap shows."""
