"""The frozen values that cross boundaries. They hold data and know nothing of where it is kept."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeAlias

JsonObject: TypeAlias = dict[str, Any]
"""A JSON object as the wire carries it. Treated as immutable once it is in a record."""


class Outcome(StrEnum):
    """What became of a trial. See docs/outcomes.md."""

    PASSED = "passed"
    FAILED = "failed"
    REJECTED = "rejected"
    ERRORED = "errored"


class Kind(StrEnum):
    """Why a trial did not pass: a closed list, so that failures can be counted."""

    # The model answered, and a check said no.
    NO_TOOL_CALL = "no_tool_call"
    CALL_IN_CONTENT = "call_in_content"
    UNWANTED_TOOL_CALL = "unwanted_tool_call"
    WRONG_CALL_COUNT = "wrong_call_count"
    WRONG_TOOL = "wrong_tool"
    BAD_ARGUMENTS = "bad_arguments"
    NO_CONTENT = "no_content"
    WRONG_CONTENT = "wrong_content"
    NO_REASONING = "no_reasoning"
    WRONG_REASONING = "wrong_reasoning"
    REASONING_IN_CONTENT = "reasoning_in_content"
    NOT_JSON = "not_json"
    SCHEMA_MISMATCH = "schema_mismatch"
    PATH_MISMATCH = "path_mismatch"
    WRONG_FINISH_REASON = "wrong_finish_reason"
    WRONG_LATENCY = "wrong_latency"
    WRONG_LENGTH = "wrong_length"
    WRONG_CACHED_TOKENS = "wrong_cached_tokens"
    UNWANTED = "unwanted"
    OWN_CHECK = "own_check"
    UNLIKE_REFERENCE = "unlike_reference"
    NO_TURN = "no_turn"
    TRUNCATED = "truncated"
    CONTEXT_FULL = "context_full"
    TURN_LIMIT = "turn_limit"
    TIMEOUT = "timeout"
    # The server could not turn the output, or the request, into a reply.
    UNPARSED_OUTPUT = "unparsed_output"
    TEMPLATE_ERROR = "template_error"
    CONTEXT_OVERFLOW = "context_overflow"
    BAD_REQUEST = "bad_request"
    KILLS_SERVER = "kills_server"
    # Nothing was measured.
    NO_CONNECTION = "no_connection"
    SERVER_CRASHED = "server_crashed"
    SERVER_HUNG = "server_hung"
    SERVER_ERROR = "server_error"
    RATE_LIMITED = "rate_limited"
    OVERLOADED = "overloaded"
    UNAUTHORIZED = "unauthorized"
    NOT_FOUND = "not_found"
    WRONG_MODEL = "wrong_model"
    BAD_REPLY = "bad_reply"
    CHECK_RAISED = "check_raised"
    CHECK_TIMEOUT = "check_timeout"
    NOT_REPORTED = "not_reported"
    NO_REFERENCE = "no_reference"


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """One call that the model asked for.

    `arguments` is the JSON text that the model wrote, which need not be valid JSON.
    """

    name: str
    arguments: str
    id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Seconds and rates of one request; None where nobody measured it.

    `latency_s` is from the first byte sent to the last byte received.
    `time_to_first_token_s` is measured by the client when streaming, else the server's own prompt
    processing time. Rates are tokens per second as the server reports them, or completion tokens
    over latency where it reports none. The gaps are the times between one arrival of tokens and the
    next one, by the client's clock: tokens that came in one read from the network are one arrival.
    There are none unless the reply was streamed, and came in more than one read.
    """

    latency_s: float
    time_to_first_token_s: float | None = None
    prompt_tokens_per_s: float | None = None
    completion_tokens_per_s: float | None = None
    token_gap_p50_s: float | None = None
    token_gap_max_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What a server counts of a request beside its prompt and completion tokens.

    Everything is None where the server says nothing of it.

    Args:
        cached_tokens: Tokens of the prompt that came from the cache.
        computed_tokens: Tokens of the prompt that were computed, in `prompt_s` seconds.
        predicted_tokens: Tokens that were written, in `predicted_s` seconds.
        prompt_s: Seconds that the prompt's computed tokens took.
        predicted_s: Seconds that writing took.
        draft_tokens: Tokens that a draft (speculative decoding) proposed.
        draft_accepted_tokens: Those of them that the model took.
        reasoning_tokens: Completion tokens that were reasoning.
        accepted_prediction_tokens: Tokens of a predicted output that were taken.
        rejected_prediction_tokens: Tokens of a predicted output that were not.
    """

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

    @property
    def cached_share(self) -> float | None:
        """Which share of the prompt came from the cache, between 0 and 1."""
        return cached_share(self.cached_tokens, self.computed_tokens)

    @property
    def draft_accepted_share(self) -> float | None:
        """Which share of the drafted tokens the model took, between 0 and 1."""
        return accepted_share(self.draft_accepted_tokens, self.draft_tokens)


def cached_share(cached: int | None, computed: int | None) -> float | None:
    """Return which share of a prompt came from the cache; None where that is not known."""
    if cached is None or computed is None or not cached + computed:
        return None
    return cached / (cached + computed)


def accepted_share(accepted: int | None, drafted: int | None) -> float | None:
    """Return which share of drafted tokens was taken; None where nothing was drafted."""
    return None if not drafted or accepted is None or accepted > drafted else accepted / drafted


NO_USAGE = Usage()
"""The usage of a server that counts nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One time that a request was sent, and what came of it: asked again, or not a plain reply.

    Args:
        kind: What the answer meant; None where it was a reply.
        reason: The same in one line; never holds a secret.
        latency_s: Seconds until it came, where they were measured.
        body: What came over the wire, without secrets and cut to a bound; None where nothing did.
    """

    kind: Kind | None
    reason: str
    latency_s: float | None = None
    body: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatRequest:
    """What one trial asks.

    Args:
        body: The chat request in OpenAI's shape, without `model` and `seed`. `stream` is in it
            where it is true.
        seed: 0 … 2³²−2 (−1 and 2³²−1 mean «random» to llama.cpp).
        trial: The trial's index, from 0.
        test: The test's name; only the scripted backend looks at it.
        timeout_s: How long the whole reply may take.
        turn: Which reply of a conversation it asks for, from 0.
    """

    body: JsonObject
    seed: int
    trial: int
    test: str
    timeout_s: float
    turn: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerView:
    """What a server tells of how it went about a request; never stored.

    Args:
        prompt: The prompt that the request was rendered to; None where the server does not say.
        output: What the model wrote, before the server made a message of it; None likewise.
    """

    prompt: str | None = None
    output: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatReply:
    """What the model said; in a conversation, what it said last.

    Args:
        message: The assistant message as the server sent it.
        earlier: The replies before this one, oldest first; empty where one request was sent.
            All other fields are of the last request alone.
        turn_limit: The conversation would have gone on, but for its `max_turns`.
        view: How the server went about it, where the request asked for that (`verbose`).
        usage: What the server counted.
        model: The model's name as the reply bore it.
        attempts: The answers before this one to the same request, oldest first: it was asked
            once more than there are.
        filled_context: The tokens that one request may use, where the reply was cut off since
            prompt and reply had used them up; None where it ended otherwise, or nobody knows.
    """

    message: JsonObject
    content: str | None = None
    reasoning: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    finish_reason: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    timing: Timing
    fingerprint: str | None = None
    earlier: tuple[Turn, ...] = ()
    turn_limit: bool = False
    view: ServerView | None = None
    usage: Usage = NO_USAGE
    model: str | None = None
    attempts: tuple[Attempt, ...] = ()
    filled_context: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """An earlier reply of a conversation, and the messages that were sent after it.

    Args:
        reply: The reply; its own `earlier` is empty.
        then: What the script answered: results of tools, or the next user message.
    """

    reply: ChatReply
    then: tuple[JsonObject, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """What came instead of a reply.

    Args:
        outcome: `failed` (only for a timeout), `rejected` or `errored`.
        kind: The reason's kind.
        reason: One line for people; never holds a secret.
        by_request: The request alone decides this: every repeat would give the same.
        stops_launch: No request of this launch can succeed (401, 403, 404).
        alone: It was the load, not the request: worth one more try with nothing beside it.
        unexplained: Nobody knows what it means: asked again before it is believed.
        latency_s: Seconds until the refusal, where they were measured.
        earlier: The replies that came before it, where a conversation was refused at a later turn.
        pieces: How many events with a part of the reply had come before it; None where the request
            did not ask for a stream. Not stored.
        attempts: The answers before this one to the same request, oldest first.
        body: What came over the wire, without secrets and cut to a bound; None where that is not
            kept.
    """

    outcome: Outcome
    kind: Kind
    reason: str
    by_request: bool = False
    stops_launch: bool = False
    alone: bool = False
    unexplained: bool = False
    latency_s: float | None = None
    earlier: tuple[Turn, ...] = ()
    pieces: int | None = None
    attempts: tuple[Attempt, ...] = ()
    body: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What one check says of a reply. `score` is between 0 and 1 where a check can give one.

    `check` is the name of the check; a function of one's own leaves it empty.
    """

    check: str = ""
    passed: bool
    kind: Kind | None = None
    reason: str = ""
    score: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """What was noticed of a reply, whatever its checks say: something is not where it belongs."""

    kind: Kind
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What all checks of a test make of one reply: the first `no` names kind and reason."""

    outcome: Outcome
    kind: Kind | None = None
    reason: str = ""
    verdicts: tuple[Verdict, ...] = ()
    notes: tuple[Note, ...] = ()

    @classmethod
    def of_refusal(cls, refusal: Refusal) -> Judgement:
        """Return what no check is asked about: a refusal says itself what it is."""
        return cls(outcome=refusal.outcome, kind=refusal.kind, reason=refusal.reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """What really ran, by content.

    Args:
        id: 24 hex digits over everything below but `version` and `details`.
        kind: The backend's kind.
        server: sha256 over the executable and the shared objects of its own tree; for an
            attached server its url and what it reports.
        model: sha256 over the model's files; empty where there is no file.
        device: What it computes on.
        version: The server's own version text.
        details: Whatever else is known, for people.
    """

    id: str
    kind: str
    server: str
    model: str = ""
    device: str = ""
    version: str = ""
    details: JsonObject = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class TrialKey:
    """What makes two attempts the same trial."""

    cell: str
    build: str
    seed: int
    generation: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One attempt, as it is stored.

    Args:
        key: Which trial this is an attempt at.
        trial: Its index in the cell, from 0 (`seed` minus the file's `seed`).
        launch: The launch run that it belongs to (the store's number).
        order: The position in which it was sent within its launch run, from 0.
        request: Digest of the request's body.
        started_at: Unix time in seconds.
        reply: The reply, or None where there was none.
        refusal: What came instead of a reply, or None.
        judgement: What the checks said; for a refusal, its outcome, kind and reason.
        checks: Digest of the checks that gave the judgement.
        concurrency: How many requests at a time its server was sent; None where that is unknown.
    """

    key: TrialKey
    trial: int
    launch: int
    order: int
    request: str
    started_at: float
    reply: ChatReply | None
    refusal: Refusal | None
    judgement: Judgement
    checks: str
    concurrency: int | None = None
