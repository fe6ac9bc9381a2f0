"""What the figures of a conversation's requests are together: one trial, one row."""

from __future__ import annotations

from dataclasses import fields, replace
from statistics import median
from typing import TYPE_CHECKING, Any

from matrixbench.records import NO_USAGE, Timing, Usage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from matrixbench.records import ChatReply, Refusal


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


_DRAFTS = {"draft_tokens", "draft_accepted_tokens"}
"""llama.cpp leaves these out where nothing was drafted."""


def _of_all(of: Callable[[list[float]], float], values: list[float | None]) -> float | None:
    """Return one figure of the values that are known, or None where there is none."""
    known = [value for value in values if value is not None]
    return of(known) if known else None


def _whole_usage(usages: list[Usage]) -> Usage:
    """Return the sums, each None where a request lacks it."""
    if all(usage is NO_USAGE for usage in usages):
        return NO_USAGE
    sums: dict[str, Any] = {}
    for name in (one.name for one in fields(Usage)):
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
