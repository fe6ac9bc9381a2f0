"""Replies, transcripts, launches and status, as programs read them: plain data for JSON.

Units are in the names; points of time are Unix seconds.
"""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING, Any

from matrixbench.exporting import trial_record
from matrixbench.machine_output import plan_json
from matrixbench.showing.counting import usage_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from matrixbench.execution.planning import Prepared
    from matrixbench.records import (
        Attempt,
        Build,
        ChatReply,
        JsonObject,
        Note,
        ServerView,
        Turn,
        Verdict,
    )
    from matrixbench.results import ResultCell
    from matrixbench.showing.provenance import ShownLaunch
    from matrixbench.showing.replies import ShownCell, ShownReply, ShownTrial
    from matrixbench.showing.status import Status
    from matrixbench.store.rows import Transcript


def replies_json(experiment: str, cells: Iterable[ShownCell]) -> JsonObject:
    """Return the replies of cells: for each its counts, and `replies` with their `count`."""
    return {
        "experiment": experiment,
        "cells": [
            {
                **_cell(shown.cell),
                "trials": shown.trials,
                "outcomes": {str(outcome): count for outcome, count in shown.outcomes.items()},
                "distinct": shown.distinct,
                "one_reply": shown.one_reply,
                "seeds_ignored": shown.seeds_ignored or None,
                "left_out": shown.left_out,
                "replies": [_shown_reply(reply) for reply in shown.shown],
            }
            for shown in cells
        ],
    }


def trial_json(experiment: str, shown: ShownTrial) -> JsonObject:
    """Return one trial whole; `server` and `request_line` are shell command lines."""
    return {
        "experiment": experiment,
        **_cell(shown.cell),
        **trial_record(shown.cell, shown.row),
        "generation": shown.row.generation,
        "started_at": shown.row.started_at,
        "finish_reason": shown.row.finish_reason,
        "request": shown.transcript.body,
        **_texts(shown.transcript),
        "server": shown.reproduction.server or None,
        "note": shown.reproduction.note or None,
        "request_line": shown.reproduction.request or None,
    }


def launches_json(experiment: str, launches: Iterable[ShownLaunch]) -> JsonObject:
    """Return the provenance of launches."""
    return {"experiment": experiment, "launches": [_launch(shown) for shown in launches]}


def status_json(prepared: Prepared, status: Status) -> JsonObject:
    """Return how far an experiment is: what `plan --json` says, and what came out so far."""
    told = plan_json(prepared, cells=False)
    launches: list[JsonObject] = told["launches"]
    return {
        **told,
        "outcomes": {str(outcome): count for outcome, count in status.outcomes.items()},
        "unmeasured": [
            {"kind": found.kind, "count": found.count, "example": found.example}
            for found in status.unmeasured
        ],
        "asked_again": {
            "trials": status.asked_again.trials,
            "kinds": dict(status.asked_again.kinds),
        },
        "one_reply": [
            {"cell": square.cell, "coordinates": square.coordinates, "trials": trials}
            for square, trials in status.one_reply
        ],
        "launches": [
            {
                **launch,
                "outcomes": {str(outcome): count for outcome, count in became.outcomes.items()},
                "given_up": became.given_up or None,
                "seeds_ignored": became.seeds_ignored or None,
            }
            for launch, became in zip(launches, status.launches, strict=True)
        ],
    }


def _plain(value: Any) -> Any:  # noqa: ANN401  a field of any type
    return (str(value) if isinstance(value, str) else value) if value != "" else None


def _cell(cell: ResultCell) -> JsonObject:
    return {
        "cell": cell.square.cell,
        "coordinates": cell.square.coordinates,
        "build": cell.square.build,
        "unverified": cell.square.unverified or None,
    }


def _shown_reply(reply: ShownReply) -> JsonObject:
    first = reply.trials[0]
    return {
        "count": len(reply.trials),
        "trials": [row.trial for row in reply.trials],
        "outcome": str(first.outcome),
        "kind": _plain(first.kind),
        "reason": first.reason or None,
        **_texts(reply.transcript),
    }


def _texts(transcript: Transcript) -> JsonObject:
    return {
        **reply_json(transcript.reply),
        **conversation_json(transcript.reply, transcript.earlier),
        "attempts": [
            attempt_json(attempt, turn)
            for turn, attempts in transcript.attempts.items()
            for attempt in attempts
        ],
        "verdicts": [verdict_json(verdict) for verdict in transcript.verdicts],
        "notes": [note_json(note) for note in transcript.notes],
    }


def reply_json(reply: ChatReply | None) -> JsonObject:
    """Return what a reply says: its text, its reasoning, its calls."""
    if reply is None:
        return {"content": None, "reasoning": None, "tool_calls": []}
    return {
        "content": reply.content,
        "reasoning": reply.reasoning,
        "tool_calls": [
            {"name": call.name, "arguments": call.arguments, "id": call.id}
            for call in reply.tool_calls
        ],
    }


def conversation_json(reply: ChatReply | None, earlier: Sequence[Turn]) -> JsonObject:
    """Return the turns before a reply or a refusal; `then` is what was said after each."""
    return {
        "earlier": [_turn(turn) for turn in earlier],
        "turn_limit": reply is not None and reply.turn_limit,
    }


def attempt_json(attempt: Attempt, turn: int) -> JsonObject:
    """Return an answer that is kept beside the replies, with what came over the wire."""
    return {
        "turn": turn,
        "kind": _plain(attempt.kind) if attempt.kind else None,
        "reason": attempt.reason,
        "latency_s": attempt.latency_s,
        "body": attempt.body,
    }


def _turn(turn: Turn) -> JsonObject:
    reply = turn.reply
    latency_s = reply.timing.latency_s
    return {
        **(view_json(reply.view) if reply.view is not None else {}),
        **reply_json(reply),
        "finish_reason": reply.finish_reason,
        "latency_s": latency_s if isfinite(latency_s) else None,
        "prompt_tokens": reply.prompt_tokens,
        "completion_tokens": reply.completion_tokens,
        "usage": usage_json(reply.usage),
        "then": list(turn.then),
    }


def view_json(view: ServerView) -> JsonObject:
    """Return how a server went about a request."""
    return {"rendered_prompt": view.prompt, "raw_output": view.output}


def verdict_json(verdict: Verdict) -> JsonObject:
    """Return what one check said."""
    return {
        "check": verdict.check,
        "passed": verdict.passed,
        "kind": _plain(verdict.kind),
        "reason": verdict.reason or None,
        "score": verdict.score,
    }


def note_json(note: Note) -> JsonObject:
    """Return what was noticed of a reply."""
    return {"kind": str(note.kind), "text": note.text}


def _launch(shown: ShownLaunch) -> JsonObject:
    launch, record = shown.launch, shown.launch.record
    return {
        "launch": launch.id,
        "experiment": record.experiment,
        "name": record.name,
        "trials": shown.trials,
        "build": None if record.build is None else _build(record.build),
        "command": list(record.command),
        "effective": record.effective,
        "host": record.host,
        "versions": record.versions,
        "log": record.log,
        "started_at": record.started_at,
        "ended_at": launch.ended_at,
        "error": launch.error,
        "notes": dict(launch.notes),
        "request_timeout_s": record.request_timeout_s,
        "imported": record.imported,
        "origin": None if record.origin is None else record.origin.to_json(),
    }


def _build(build: Build) -> JsonObject:
    return {
        "id": build.id,
        "kind": build.kind,
        "server": build.server,
        "version": build.version,
        "model": build.model,
        "device": build.device,
        "details": build.details,
    }
