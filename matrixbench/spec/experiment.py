"""The experiment file as it is written."""

# ruff: noqa: RUF012  pydantic copies mutable defaults

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field, Tag

from matrixbench.spec.backends import Backend  # noqa: TC001  pydantic reads it
from matrixbench.spec.base import BY_SHAPE, LIST, MAPPING, Part
from matrixbench.spec.charts import Chart  # noqa: TC001  pydantic reads it
from matrixbench.spec.grid import GridOrGrids  # noqa: TC001  pydantic reads it
from matrixbench.spec.models import ChatTemplate, Model
from matrixbench.spec.tests import TestEntry  # noqa: TC001  pydantic reads it
from matrixbench.spec.trials import Trials  # noqa: TC001  pydantic reads it

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

    backends: Annotated[dict[str, Backend], Field(min_length=1)]
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
