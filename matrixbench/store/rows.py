"""What the store is told of launches, and the values that it gives back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from matrixbench.records import accepted_share, cached_share

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matrixbench.plan.cells import Origin
    from matrixbench.records import (
        Attempt,
        Build,
        ChatReply,
        JsonObject,
        Kind,
        Note,
        Outcome,
        Turn,
        Verdict,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchRecord:
    """One launch run, as it is written down when its server answers (or when it gave up).

    Args:
        digest: The launch's digest (`plan.cells.Launch.digest`).
        build: What really runs; None where no server came up.
        started_at: Unix time in seconds.
        request_timeout_s: How long a reply may take in it.
        order_seed: What the order of its trials was shuffled with.
        command: The server's command line, without secrets.
        host: The machine: CPU, memory, system.
        versions: Name → version of the software that matters.
        imported: Its trials were measured by another tool.
        origin: Where its server came from; None where nobody knows.
    """

    experiment: str
    digest: str
    name: str
    build: Build | None
    started_at: float
    request_timeout_s: float
    order_seed: int | None = None
    command: tuple[str, ...] = ()
    effective: JsonObject = field(default_factory=dict)
    host: JsonObject = field(default_factory=dict)
    versions: JsonObject = field(default_factory=dict)
    log: str | None = None
    imported: bool = False
    origin: Origin | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredLaunch:
    """A launch run, with what became of it.

    Args:
        ended_at: Unix time in seconds; None while it runs, and where its process was killed.
        error: Why it was given up; None where it was not.
        notes: Name → what was found out under way: the canary, prompts' hashes, warnings.
    """

    id: int
    record: LaunchRecord
    ended_at: float | None
    error: str | None
    notes: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchNote:
    """What one launch run found out of its server, under the name that was asked for.

    Args:
        build: The id of the build that ran; None where no server came up.
        started_at: When the run began; Unix time in seconds.
        value: What was found, as it was written.
    """

    launch_digest: str
    build: str | None
    started_at: float
    value: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedReplies:
    """What the trials of one request said to several seeds, in one launch under one build.

    Args:
        body: What was sent, but for model and seed; empty where it was not kept.
        seeds: How many seeds have a reply.
        distinct: How many of the replies differ, in what they say or in how many tokens they took.
        tokens: How many completion tokens the shortest took, reasoning left out; None where the
            server does not say.
    """

    launch_digest: str
    build: str
    body: JsonObject
    seeds: int
    distinct: int
    tokens: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialRow:
    """One attempt as tables and charts need it: everything but its texts.

    `trial` is the index under the seed that was asked for: `seed` minus `first_seed`. `outcome`,
    `kind` and `reason` are the refusal's, or those of the judgement that counts, whose checks
    are `checks` (empty for a refusal). Of a conversation the row holds the figures of all of it
    (`encoding.whole_conversation`). `score` is the mean of the scores that its checks gave.

    `reply_digest` stands for content and tool calls; None where there is no reply. `turns` are the
    requests that were sent, `asked` counts each time that one of them was, and `concurrency` is how
    many the server was sent at a time, under the setting whose key (`cells.Load`) is `load`; the
    three are None where an older version wrote the row. `asked_again` names why, a kind for each
    time beyond the first. What the server counted is as in `records.Usage`. `noted` are the kinds
    of what was noticed of the reply, each once, with spaces between. Units are in the names;
    `started_at` is Unix time in seconds.
    """

    id: int
    cell: str
    build: str
    seed: int
    trial: int
    generation: int
    launch: int
    order: int
    request: str
    started_at: float
    outcome: Outcome
    kind: Kind | None
    reason: str
    by_request: bool
    checks: str
    score: float | None
    latency_s: float | None
    time_to_first_token_s: float | None
    prompt_tokens_per_s: float | None
    completion_tokens_per_s: float | None
    prompt_tokens: int | None
    completion_tokens: int | None
    finish_reason: str | None
    fingerprint: str | None
    reply_digest: str | None
    imported: bool
    turns: int = 1
    asked: int | None = None
    asked_again: str | None = None
    concurrency: int | None = None
    token_gap_p50_s: float | None = None
    token_gap_max_s: float | None = None
    model: str | None = None
    cached_tokens: int | None = None
    computed_tokens: int | None = None
    predicted_tokens: int | None = None
    prompt_s: float | None = None
    predicted_s: float | None = None
    draft_tokens: int | None = None
    draft_accepted_tokens: int | None = None
    reasoning_tokens: int | None = None
    accepted_prediction_tokens: int | None = None
    rejected_prediction_tokens: int | None = None
    noted: str = ""
    load: str | None = None

    @property
    def cached_share(self) -> float | None:
        """Which share of the prompt came from the cache, between 0 and 1."""
        return cached_share(self.cached_tokens, self.computed_tokens)

    @property
    def draft_accepted_share(self) -> float | None:
        """Which share of the drafted tokens the model took, between 0 and 1."""
        return accepted_share(self.draft_accepted_tokens, self.draft_tokens)

    @property
    def reply_model(self) -> str | None:
        """The model's name as the reply bore it: in tables `model` is the experiment's name."""
        return self.model

    @property
    def concurrency_in_force(self) -> int | None:
        """How many requests at a time its server was sent; None where that is not known."""
        return self.concurrency


@dataclass(frozen=True, slots=True, kw_only=True)
class Transcript:
    """One attempt with its texts.

    Args:
        trial: The attempt; its `trial` is the index that it was stored with.
        body: What was sent, but for model and seed; None where it was not kept.
        reply: What came back, in a conversation last; None for a refusal.
        earlier: The turns of a conversation before that, also before a refusal.
        verdicts: What each check said, in the judgement that counts.
        attempts: Turn, from 0 → the answers that are kept beside its reply, oldest first; a
            refusal's own is the last of the last turn's.
        notes: What was noticed of the reply beside that.
    """

    trial: TrialRow
    body: JsonObject | None
    reply: ChatReply | None
    earlier: tuple[Turn, ...]
    verdicts: tuple[Verdict, ...]
    attempts: Mapping[int, tuple[Attempt, ...]] = field(default_factory=dict)
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptReply:
    """An attempt that counts and has a reply: its number, cell, build and seed."""

    id: int
    cell: str
    build: str
    seed: int


class KeptLook(NamedTuple):
    """A look that was taken.

    Args:
        trials: Trials of each cell that it rested on.
        at: When, in seconds since 1970.
    """

    trials: int
    max_drop: float
    verdict: str
    at: float
