"""How a record becomes a row of the store, one of a whole conversation too, and back. No SQL."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from operator import attrgetter
from statistics import median
from typing import TYPE_CHECKING, Any, TypeAlias

from matrixbench.errors import StoreError
from matrixbench.identity import digest_bytes
from matrixbench.plan.cells import Origin, plain_id
from matrixbench.records import (
    NO_USAGE,
    Build,
    ChatReply,
    Kind,
    Note,
    Refusal,
    Timing,
    ToolCall,
    Usage,
    Verdict,
)
from matrixbench.spec.axes import name_as_now
from matrixbench.store.rows import LaunchRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from matrixbench.records import Attempt, JsonObject, Judgement, Trial


Row: TypeAlias = tuple[Any, ...]

Named: TypeAlias = "Mapping[str, Any]"
"""A row by the names of its columns."""

BUILD_COLUMNS = tuple(one.name for one in fields(Build))
"""The columns of the table `build` after its number."""

_LAUNCH_JSON = ("command", "effective", "host", "versions")
LAUNCH_COLUMNS = (
    *("experiment", "digest", "name", "started_at", "request_timeout_s", "order_seed"),
    *_LAUNCH_JSON,
    *("log", "imported", "origin"),
)
"""The columns of the table `launch` that say what was written down when a server answered."""

_TIMING = tuple(one.name for one in fields(Timing))
_USAGE = tuple(one.name for one in fields(Usage))
_timing_values, _usage_values = attrgetter(*_TIMING), attrgetter(*_USAGE)

MEASURED_COLUMNS = (
    *_TIMING,
    *("prompt_tokens", "completion_tokens", "finish_reason", "fingerprint", "model"),
    *_USAGE,
)
"""The columns that the tables `trial` and `turn` share, in the order of `measured_values`."""

_NOT_MEASURED = (None,) * (len(MEASURED_COLUMNS) - 1)
"""What a refusal has of `MEASURED_COLUMNS` after its latency."""

_DRAFTS = {"draft_tokens", "draft_accepted_tokens"}
"""llama.cpp leaves these out where nothing was drafted."""

TRIAL_COLUMNS = (
    "id",
    "cell",
    "build",
    "seed",
    "generation",
    "trial_index",
    "launch",
    "order_index",
    "request",
    "started_at",
    "outcome",
    "kind",
    "reason",
    "by_request",
    *MEASURED_COLUMNS,
    "reply_digest",
    "asked",
    "concurrency",
)
"""The columns of the table `trial`, in the order of `trial_values` (whose first is the `id`)."""

ATTEMPT_COLUMNS = ("turn", "number", "kind", "reason", "latency_s", "body")
"""The columns of the table `attempt` after the trial, in the order of `attempt_rows`."""

NOTE = "note"
"""The key by which a note is told from the verdicts before it."""

_KINDS = frozenset(Kind)

JUDGEMENT_COLUMNS = ("checks", "outcome", "kind", "reason", "score", "verdicts")
"""The columns of the table `verdict` after `trial` and `turn`, in `judgement_values`' order."""


def json_text(value: Any) -> str:
    """Return compact JSON in ASCII: half a surrogate pair, which models do write, survives."""
    return json.dumps(value, separators=(",", ":"))


def plain(text: str | None) -> str | None:
    """Return text that UTF-8 can say: a half surrogate becomes a question mark."""
    return text.encode(errors="replace").decode() if text is not None else None


def build_values(build: Build) -> Row:
    """Return the values of `BUILD_COLUMNS`."""
    return (*(getattr(build, name) for name in BUILD_COLUMNS[:-1]), json_text(build.details))


def build_from(row: Sequence[Any]) -> Build:
    """Turn what `build_values` gave back into the build."""
    said = dict(zip(BUILD_COLUMNS, row, strict=True))
    return Build(**said | {"details": json.loads(said["details"])})


def launch_values(record: LaunchRecord) -> Row:
    """Return the values of `LAUNCH_COLUMNS`."""
    said: dict[str, Any] = {name: getattr(record, name) for name in LAUNCH_COLUMNS}
    said |= {name: json_text(said[name]) for name in _LAUNCH_JSON}
    said["origin"] = "" if record.origin is None else record.origin.to_text()
    return tuple(said.values())


def launch_from(row: Sequence[Any], build: Build | None) -> LaunchRecord:
    """Turn what `launch_values` gave back into the record."""
    said = dict(zip(LAUNCH_COLUMNS, row, strict=True))
    said |= {name: json.loads(said[name]) for name in _LAUNCH_JSON}
    said["name"] = name_as_now(said["name"])
    said["command"] = tuple(said["command"])
    said["imported"] = bool(said["imported"])
    said["origin"] = Origin.from_text(said["origin"])
    return LaunchRecord(build=build, **said)


def trial_values(trial: Trial, build: int) -> Row:
    """Return the values of `TRIAL_COLUMNS` after the id; `build` is the build's number."""
    key, refusal, reply = trial.key, trial.refusal, trial.reply
    head = (
        plain_id(key.cell),
        build,
        key.seed,
        key.generation,
        trial.trial,
        trial.launch,
        trial.order,
        trial.request,
        trial.started_at,
    )
    if reply is None:
        # Without a refusal either, the judgement is all there is: an importer's error row.
        said = refusal or trial.judgement
        return (
            *head,
            said.outcome.value,
            said.kind.value if said.kind else None,
            plain(said.reason),
            int(refusal is not None and refusal.by_request),
            refused_after_s(refusal) if refusal else None,
            *_NOT_MEASURED,
            None,
            asked(refusal) if refusal else None,
            trial.concurrency,
        )
    whole = reply if not reply.earlier else whole_conversation(reply)
    return (
        *(*head, None, None, None, 0, *measured_values(whole)),
        *(_reply_digest(reply), asked(reply), trial.concurrency),
    )


def asked(answer: ChatReply | Refusal) -> int:
    """Return how often a trial's requests were sent; a conversation's turns together."""
    return 1 + len(answer.attempts) + sum(1 + len(turn.reply.attempts) for turn in answer.earlier)


def measured_values(reply: ChatReply) -> Row:
    """Return the values of `MEASURED_COLUMNS`."""
    return (
        *_timing_values(reply.timing),
        reply.prompt_tokens,
        reply.completion_tokens,
        plain(reply.finish_reason),
        plain(reply.fingerprint),
        plain(reply.model),
        *_usage_values(reply.usage),
    )


def _reply_digest(reply: ChatReply) -> str:
    """Return what stands for all that the model said; one request's is as it ever was."""
    last = _said(reply)
    said = [*(_said(turn.reply) for turn in reply.earlier), last] if reply.earlier else last
    return digest_bytes(json_text(said).encode())


def _said(reply: ChatReply) -> tuple[Any, ...]:
    return reply.content, [(call.name, call.arguments) for call in reply.tool_calls]


def reply_values(reply: ChatReply) -> Row:
    """Return `message, reading`; the reading is None where the message says it all by itself.

    It is content, reasoning and calls, and after them what else was found out about the reply.
    """
    reading = (reply.content, reply.reasoning, _call_rows(reply.tool_calls))
    if reply.filled_context is not None:
        told = {"filled_context": reply.filled_context}
        return _valid_json(reply.message), json_text((*reading, told))
    same = reading == _reading(reply.message)
    return _valid_json(reply.message), None if same else json_text(reading)


def _valid_json(message: JsonObject) -> str:
    """Return a message as JSON; numbers that JSON cannot say (NaN, 1e999) are null."""
    text = json_text(message)
    if "NaN" in text or "Infinity" in text:  # perhaps in a text
        text = json_text(json.loads(text, parse_constant=lambda _: None))
    return text


def _call_rows(calls: tuple[ToolCall, ...]) -> list[list[str | None]]:
    return [[call.name, call.arguments, call.id] for call in calls]


def _reading(message: JsonObject) -> tuple[Any, Any, list[list[Any]]]:
    """Read a message as OpenAI's and llama.cpp's servers write it: content, reasoning, calls."""
    calls = []
    for call in message.get("tool_calls") or ():
        function = call.get("function") if isinstance(call, dict) else None
        if isinstance(function, dict):
            calls.append([function.get("name"), function.get("arguments"), call.get("id")])
    return message.get("content"), message.get("reasoning_content"), calls


def reply_from(row: Named) -> ChatReply:
    """Turn `message`, `reading` and the measured columns back into the reply."""
    said: JsonObject = json.loads(row["message"])
    reading = row["reading"]
    content, reasoning, calls, *more = json.loads(reading) if reading else _reading(said)
    told: JsonObject = more[0] if more else {}
    return ChatReply(
        message=said,
        content=content,
        reasoning=reasoning,
        tool_calls=tuple(
            ToolCall(name=name, arguments=arguments, id=call) for name, arguments, call in calls
        ),
        finish_reason=row["finish_reason"],
        prompt_tokens=row["prompt_tokens"],
        completion_tokens=row["completion_tokens"],
        timing=timing_from(row),
        fingerprint=row["fingerprint"],
        model=row["model"],
        usage=usage_from(row),
        filled_context=told.get("filled_context"),
    )


def timing_from(row: Named) -> Timing:
    """Turn measured columns back into the timing."""
    return Timing(**{name: row[name] for name in _TIMING})


def usage_from(row: Named) -> Usage:
    """Turn measured columns back into the usage."""
    counted = {name: row[name] for name in _USAGE}
    return NO_USAGE if all(value is None for value in counted.values()) else Usage(**counted)


def attempt_rows(trial: Trial) -> Iterator[Row]:
    """Yield a row for each answer that is kept beside the reply that counts."""
    said = trial.reply or trial.refusal
    if said is None:
        return
    for number, turn in enumerate(said.earlier):
        yield from _attempt_rows(number, turn.reply.attempts)
    last = len(said.earlier)
    yield from _attempt_rows(last, said.attempts)
    if isinstance(said, Refusal) and said.body is not None:
        place = last, len(said.attempts)
        yield (*place, said.kind.value, plain(said.reason), said.latency_s, plain(said.body))


def _attempt_rows(turn: int, attempts: tuple[Attempt, ...]) -> Iterator[Row]:
    for number, one in enumerate(attempts):
        kind = one.kind.value if one.kind else None
        yield (turn, number, kind, plain(one.reason), one.latency_s, plain(one.body))


def judgement_values(judgement: Judgement, checks: str) -> Row:
    """Return the values of `JUDGEMENT_COLUMNS`."""
    scores = [verdict.score for verdict in judgement.verdicts if verdict.score is not None]
    return (
        checks,
        judgement.outcome.value,
        judgement.kind.value if judgement.kind else None,
        plain(judgement.reason),
        sum(scores) / len(scores) if scores else None,
        json_text(
            [
                *(_verdict_object(verdict) for verdict in judgement.verdicts),
                *(_note_object(note) for note in judgement.notes),
            ]
        ),
    )


def _verdict_object(verdict: Verdict) -> JsonObject:
    said: JsonObject = {"check": verdict.check, "passed": verdict.passed}
    if verdict.kind is not None:
        said["kind"] = verdict.kind
    if verdict.reason:
        said["reason"] = verdict.reason
    if verdict.score is not None:
        said["score"] = verdict.score
    return said


def _note_object(note: Note) -> JsonObject:
    """Return a note as it stands behind the verdicts: to older versions one that passed."""
    return {"check": "", "passed": True, NOTE: note.kind, "reason": note.text}


def verdicts_from(text: str) -> tuple[Verdict, ...]:
    """Turn the verdicts of `judgement_values` back into records."""
    return tuple(
        Verdict(
            check=said["check"],
            passed=said["passed"],
            kind=kind_from(said.get("kind")),
            reason=said.get("reason", ""),
            score=said.get("score"),
        )
        for said in json.loads(text)
        if NOTE not in said
    )


def notes_from(text: str) -> tuple[Note, ...]:
    """Turn the notes of `judgement_values` back into records; one of a newer kind is left out."""
    return tuple(
        Note(kind=Kind(said[NOTE]), text=said.get("reason", ""))
        for said in json.loads(text)
        if said.get(NOTE) in _KINDS
    )


def kind_from(text: str | None) -> Kind | None:
    """Return the kind that a row names.

    Raises:
        StoreError: It is none of ours: a newer version wrote the row.
    """
    try:
        return None if text is None else Kind(text)
    except ValueError as error:
        raise StoreError(
            f"a trial's kind «{text}» is unknown here", hint="Update matrixbench."
        ) from error


def whole_conversation(reply: ChatReply) -> ChatReply:
    """Return the last reply of a conversation with the figures of all of it.

    Seconds and completion tokens are summed, and their rate is over all of them. Prompt tokens are
    those of the last request, whose prompt holds everything that was said: that is the context that
    the conversation took. The first token and the prompt's rate are of the first request: later
    ones process little but what is new. What the server counts is summed; of drafts servers tell
    only where there were some, so that what is missing there is none. Of the gaps between
    tokens the median is over the requests' medians, and the longest is that of all.
    """
    first = reply.earlier[0].reply
    replies = [*(turn.reply for turn in reply.earlier), reply]
    tokens = _sum(one.completion_tokens for one in replies)
    writing_s = _sum(_writing_s(one) for one in replies)
    rate = None if tokens is None or not writing_s else tokens / writing_s
    return replace(
        reply,
        completion_tokens=None if tokens is None else int(tokens),
        timing=Timing(
            latency_s=sum(one.timing.latency_s for one in replies),
            time_to_first_token_s=first.timing.time_to_first_token_s,
            prompt_tokens_per_s=first.timing.prompt_tokens_per_s,
            completion_tokens_per_s=rate,
            token_gap_p50_s=_of_all(median, [one.timing.token_gap_p50_s for one in replies]),
            token_gap_max_s=_of_all(max, [one.timing.token_gap_max_s for one in replies]),
        ),
        usage=_whole_usage([one.usage for one in replies]),
    )


def _of_all(of: Callable[[list[float]], float], values: list[float | None]) -> float | None:
    """Return one figure of the values that are known, or None where there is none."""
    known = [value for value in values if value is not None]
    return of(known) if known else None


def _whole_usage(usages: list[Usage]) -> Usage:
    """Return the sums, each None where a request lacks it."""
    if all(usage is NO_USAGE for usage in usages):
        return NO_USAGE
    sums: dict[str, Any] = {}
    for name in _USAGE:
        values = [getattr(usage, name) for usage in usages]
        if name in _DRAFTS:
            values = [value for value in values if value is not None] or values
        sums[name] = None if None in values else sum(values)
    return Usage(**sums)


def refused_after_s(refusal: Refusal) -> float | None:
    """Return the seconds from a trial's first request until it was refused."""
    if not refusal.earlier:
        return refusal.latency_s
    before_s = sum(turn.reply.timing.latency_s for turn in refusal.earlier)
    return before_s + (refusal.latency_s or 0.0)


def _writing_s(reply: ChatReply) -> float | None:
    """Return the seconds that a reply's tokens took at its rate."""
    tokens, rate = reply.completion_tokens, reply.timing.completion_tokens_per_s
    if tokens == 0:
        return 0.0
    return None if tokens is None or not rate else tokens / rate


def _sum(values: Iterable[float | None]) -> float | None:
    """Return the sum, or None where one of the values is not known."""
    total = 0.0
    for value in values:
        if value is None:
            return None
        total += value
    return total
