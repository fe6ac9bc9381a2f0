"""What the figures of a conversation's requests are together: one trial, one row."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from matrixbench.records import Timing

if TYPE_CHECKING:
    from collections.abc import Iterable

    from matrixbench.records import ChatReply, Refusal


def whole_conversation(reply: ChatReply) -> ChatReply:
    """Return the last reply of a conversation with the figures of all of it.

    Seconds and completion tokens are summed, and their rate is over all of them. Prompt tokens are
    those of the last request, whose prompt holds everything that was said: that is the context that
    the conversation took. The first token and the prompt's rate are of the first request: later
    ones process little but what is new.
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
        ),
    )


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
