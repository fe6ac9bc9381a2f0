"""How a record becomes a row of the store, and a row a record. No SQL."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, TypeAlias

from matrixbench.errors import StoreError
from matrixbench.identity import digest_bytes
from matrixbench.records import Build, ChatReply, Kind, Timing, ToolCall, Verdict
from matrixbench.store.figures import refused_after_s, whole_conversation
from matrixbench.store.rows import LaunchRecord

if TYPE_CHECKING:
    from matrixbench.records import JsonObject, Judgement, Trial

Row: TypeAlias = tuple[Any, ...]

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
    "latency_s",
    "time_to_first_token_s",
    "prompt_tokens_per_s",
    "completion_tokens_per_s",
    "prompt_tokens",
    "completion_tokens",
    "finish_reason",
    "fingerprint",
    "reply_digest",
)
"""The columns of the table `trial`, in the order of `trial_values` (whose first is the `id`)."""

JUDGEMENT_COLUMNS = ("checks", "outcome", "kind", "reason", "score", "verdicts")
"""The columns of the table `verdict` after `trial` and `turn`, in `judgement_values`' order."""


def json_text(value: Any) -> str:  # noqa: ANN401  whatever JSON can say
    """Return compact JSON in ASCII: half a surrogate pair, which models do write, survives."""
    return json.dumps(value, separators=(",", ":"))


def plain(text: str | None) -> str | None:
    """Return text that UTF-8 can say: a half surrogate becomes a question mark."""
    return text.encode(errors="replace").decode() if text is not None else None


def build_values(build: Build) -> Row:
    """Return `id, kind, server, model, device, version, details`."""
    return (
        build.id,
        build.kind,
        build.server,
        build.model,
        build.device,
        build.version,
        json_text(build.details),
    )


def build_from(row: Row) -> Build:
    """Turn what `build_values` gave back into the build."""
    name, kind, server, model, device, version, details = row
    return Build(
        id=name,
        kind=kind,
        server=server,
        model=model,
        device=device,
        version=version,
        details=json.loads(details),
    )


def launch_values(record: LaunchRecord) -> Row:
    """Return everything but the build, in the order of the fields."""
    return (
        record.experiment,
        record.digest,
        record.name,
        record.started_at,
        record.request_timeout_s,
        record.order_seed,
        json_text(record.command),
        json_text(record.effective),
        json_text(record.host),
        json_text(record.versions),
        record.log,
        record.imported,
    )


def launch_from(row: Row, build: Build | None) -> LaunchRecord:
    """Turn what `launch_values` gave back into the record."""
    experiment, digest, name, started_at, timeout_s, order_seed, *texts, log, imported = row
    command, effective, host, versions = (json.loads(text) for text in texts)
    return LaunchRecord(
        experiment=experiment,
        digest=digest,
        name=name,
        build=build,
        started_at=started_at,
        request_timeout_s=timeout_s,
        order_seed=order_seed,
        command=tuple(command),
        effective=effective,
        host=host,
        versions=versions,
        log=log,
        imported=bool(imported),
    )


def trial_values(trial: Trial, build: int) -> Row:
    """Return the values of `TRIAL_COLUMNS` after the id; `build` is the build's number."""
    key, refusal, reply = trial.key, trial.refusal, trial.reply
    head = (
        key.cell,
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
            *(None,) * 8,
        )
    whole = reply if not reply.earlier else whole_conversation(reply)
    return (*head, None, None, None, 0, *measured_values(whole), _reply_digest(reply))


def measured_values(reply: ChatReply) -> Row:
    """Return the columns of `TRIAL_COLUMNS` from `latency_s` to `fingerprint`."""
    timing = reply.timing
    return (
        timing.latency_s,
        timing.time_to_first_token_s,
        timing.prompt_tokens_per_s,
        timing.completion_tokens_per_s,
        reply.prompt_tokens,
        reply.completion_tokens,
        plain(reply.finish_reason),
        plain(reply.fingerprint),
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
        return json_text(reply.message), json_text((*reading, told))
    same = reading == _reading(reply.message)
    return json_text(reply.message), None if same else json_text(reading)


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


def reply_from(message: str, reading: str | None, row: Row) -> ChatReply:
    """Turn stored texts and measurements back into the reply.

    `row` is latency, time to first token, prompt and completion rate, prompt and completion
    tokens, finish reason, fingerprint.
    """
    said: JsonObject = json.loads(message)
    content, reasoning, calls, *more = json.loads(reading) if reading else _reading(said)
    told: JsonObject = more[0] if more else {}
    prompt_tokens, tokens, finish, fingerprint = row[4:]
    return ChatReply(
        message=said,
        content=content,
        reasoning=reasoning,
        tool_calls=tuple(
            ToolCall(name=name, arguments=arguments, id=call) for name, arguments, call in calls
        ),
        finish_reason=finish,
        prompt_tokens=prompt_tokens,
        completion_tokens=tokens,
        timing=timing_from(row),
        fingerprint=fingerprint,
        filled_context=told.get("filled_context"),
    )


def timing_from(row: Row) -> Timing:
    """Turn the first four values of `measured_values` back into the timing."""
    latency_s, first_s, prompt_rate, rate = row[:4]
    return Timing(
        latency_s=latency_s,
        time_to_first_token_s=first_s,
        prompt_tokens_per_s=prompt_rate,
        completion_tokens_per_s=rate,
    )


def judgement_values(judgement: Judgement, checks: str) -> Row:
    """Return the values of `JUDGEMENT_COLUMNS`."""
    scores = [verdict.score for verdict in judgement.verdicts if verdict.score is not None]
    return (
        checks,
        judgement.outcome.value,
        judgement.kind.value if judgement.kind else None,
        plain(judgement.reason),
        sum(scores) / len(scores) if scores else None,
        json_text([_verdict_object(verdict) for verdict in judgement.verdicts]),
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
