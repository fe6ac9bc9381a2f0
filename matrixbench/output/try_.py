"""What `try` found, for people and for machines."""

from __future__ import annotations

from collections import Counter
from math import isfinite
from typing import TYPE_CHECKING, Any

from matrixbench.output.text import coordinates_text, counts_text, whole
from matrixbench.output.transcript import (
    conversation_json,
    measured_facts,
    note_json,
    print_block,
    print_judgement,
    print_pairs,
    print_prompt,
    print_reply,
    print_request,
    print_turns,
    print_verdicts,
    reply_json,
    title,
    usage_facts,
    usage_json,
    verdict_json,
    view_json,
)
from matrixbench.records import ChatReply, ServerView
from matrixbench.safe_text import visible
from matrixbench.spec.axes import label
from matrixbench.spec.wording import counted
from matrixbench.store.encoding import whole_conversation

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from rich.console import Console

    from matrixbench.execution.try_ import Choice, Tried
    from matrixbench.records import JsonObject
    from matrixbench.spec.axes import Coordinates

_VALUES_NAMED = 4
_AXES_NAMED = 4


def choice_lines(choice: Choice) -> Iterator[str]:
    """Yield what is to be said of a choice: what else fits, and how to choose it."""
    for point in choice.aside:
        yield f"not applicable: {point.coordinates['test']}: {point.reason}\n  {point.hint}"
    left = choice.matching - len(choice.cells)
    if not left or not choice.differing:
        return
    axes = list(choice.differing.items())
    told = "; ".join(f"{axis}: {_values(values)}" for axis, values in axes[:_AXES_NAMED])
    more = f"; and {len(axes) - _AXES_NAMED} more axes" if len(axes) > _AXES_NAMED else ""
    what = "the first cell" if len(choice.cells) == 1 else "the first cell of each test"
    yield f"{what}; {left:,} more fit, choose with --where ({told}{more})"


def _values(values: Sequence[Any]) -> str:
    shown = ", ".join(label(value) for value in values[:_VALUES_NAMED])
    return f"{shown}, …" if len(values) > _VALUES_NAMED else shown


def print_tried(tried: Tried, out: Console) -> None:
    """Print one trial whole, its verdict last, where the eye is."""
    out.print()
    whole(visible(coordinates_text(_coordinates(tried))), out, "bold")
    print_pairs(_facts(tried), out)
    if tried.cell is not None:
        print_request(tried.body, out)
    if isinstance(tried.answer, ChatReply):
        print_prompt(tried.prompt, out)
        print_reply(tried.answer, out)
        if measured := [pair for pair in _measured(tried.answer) if pair[1]]:
            out.print()
            print_pairs(measured, out)
    else:
        print_turns(tried.answer.earlier, out)
        print_prompt(tried.prompt, out)
    if tried.log_tail:
        title(f"the end of the server's log, {tried.log}", out)
        print_block(visible(tried.log_tail), out)
    judgement = tried.judgement
    reason = "" if judgement.verdicts else judgement.reason or "  no check: every reply passes"
    print_judgement(judgement.outcome, judgement.kind, reason, out)
    print_verdicts(judgement.verdicts, judgement.notes, out)


def _coordinates(tried: Tried) -> Coordinates:
    """Return what is known of where a trial stands: of a saved reply no more than its test."""
    return tried.cell.coordinates() if tried.cell else tried.test.coordinates


def _facts(tried: Tried) -> Iterator[tuple[str, str]]:
    if tried.cell is not None:
        yield "cell", tried.cell.id
        yield "build", tried.build or ""
        yield "seed", str(tried.seed)
    else:
        yield "reply", "saved, not measured here"


def _measured(reply: ChatReply) -> Iterator[tuple[str, str]]:
    values = _measures(reply)
    if reply.earlier:
        yield "turns", f"{len(reply.earlier) + 1}; the figures below are of all"
    yield "finish reason", reply.finish_reason or ""
    yield from measured_facts(values)
    yield from usage_facts((whole_conversation(reply) if reply.earlier else reply).usage)
    yield "answered as", reply.model or ""


def _measures(reply: ChatReply) -> dict[str, float | int | None]:
    if reply.earlier:
        reply = whole_conversation(reply)
    timing = reply.timing
    return {
        "latency_s": timing.latency_s if isfinite(timing.latency_s) else None,
        "time_to_first_token_s": timing.time_to_first_token_s,
        "token_gap_p50_s": timing.token_gap_p50_s,
        "token_gap_max_s": timing.token_gap_max_s,
        "prompt_tokens": reply.prompt_tokens,
        "completion_tokens": reply.completion_tokens,
        "prompt_tokens_per_s": timing.prompt_tokens_per_s,
        "completion_tokens_per_s": timing.completion_tokens_per_s,
        **usage_json(reply.usage),
    }


def counts_line(tried: Iterable[Tried]) -> str:
    """Return how many trials had which outcome."""
    counts = Counter(one.judgement.outcome for one in tried)
    return f"{counted(counts.total(), 'trial')}: {counts_text(counts)}"


def tried_json(experiment: str, tried: Iterable[Tried]) -> JsonObject:
    """Return trials as data; units are in the names, what nobody measured is null."""
    return {"experiment": experiment, "trials": [_trial(one) for one in tried]}


def _trial(tried: Tried) -> JsonObject:
    judgement = tried.judgement
    reply = tried.answer if isinstance(tried.answer, ChatReply) else None
    view = (reply.view if reply else None) or ServerView(prompt=tried.prompt)
    return {
        "cell": tried.cell.id if tried.cell else None,
        "coordinates": _coordinates(tried),
        "build": tried.build,
        "seed": tried.seed,
        "outcome": judgement.outcome.value,
        "kind": None if judgement.kind is None else judgement.kind.value,
        "reason": judgement.reason or None,
        "request": tried.body,
        **view_json(view),
        **reply_json(reply),
        **conversation_json(reply, tried.answer.earlier),
        "finish_reason": None if reply is None else reply.finish_reason,
        "reply_model": None if reply is None else reply.model,
        "fingerprint": None if reply is None else reply.fingerprint,
        **({} if reply is None else _measures(reply)),
        "verdicts": [verdict_json(verdict) for verdict in judgement.verdicts],
        "notes": [note_json(note) for note in judgement.notes],
        "log": None if tried.log is None else str(tried.log),
        "log_tail": tried.log_tail or None,
    }
