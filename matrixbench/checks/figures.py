"""Checks of what was measured beside the reply: `latency_s` and `completion_tokens`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matrixbench.checks.numbers import compile_bounds, is_nan, is_number, written
from matrixbench.checks.verdicts import UnjudgeableError, no, yes
from matrixbench.records import Kind

if TYPE_CHECKING:
    from matrixbench.checks.verdicts import Rule
    from matrixbench.records import ChatReply, Verdict
    from matrixbench.spec.matchers import Bounds

LATENCY = "latency_s"
COMPLETION_TOKENS = "completion_tokens"

BEYOND = 2**53
"""No figure that means something comes near it."""


def compile_latency(bounds: Bounds, *, where: str = "") -> Rule:
    """Return the rule that a reply took so many seconds.

    The rule raises `UnjudgeableError` for a reply that nobody measured.

    Raises:
        CheckError: The bounds are wrong.
    """
    within, said = compile_bounds(bounds, where=where)
    passed = yes(LATENCY)

    def rule(reply: ChatReply) -> Verdict:
        seconds = reply.timing.latency_s
        if not is_number(seconds) or is_nan(seconds):
            reason = f"expected {said} s, but a saved reply has no latency"
            raise UnjudgeableError(Kind.NOT_REPORTED, reason)
        if within(seconds):
            return passed
        return no(LATENCY, Kind.WRONG_LATENCY, f"expected {said} s, found {_seconds(seconds)} s")

    return rule


def compile_completion_tokens(bounds: Bounds, *, where: str = "") -> Rule:
    """Return the rule that a reply has so many tokens, as the server counts them.

    The rule raises `UnjudgeableError` where the server does not.

    Raises:
        CheckError: The bounds are wrong.
    """
    within, said = compile_bounds(bounds, where=where)
    passed = yes(COMPLETION_TOKENS)

    def rule(reply: ChatReply) -> Verdict:
        tokens = reply.completion_tokens
        if tokens is None or not is_number(tokens) or is_nan(tokens):
            reason = f"expected {said} tokens, but the server reports no completion tokens"
            raise UnjudgeableError(Kind.NOT_REPORTED, reason)
        if within(tokens):
            return passed
        kind = Kind.WRONG_LENGTH
        return no(COMPLETION_TOKENS, kind, f"expected {said} tokens, found {_counted(tokens)}")

    return rule


def _seconds(seconds: float) -> str:
    return f"{seconds:.3g}" if seconds < BEYOND else written(seconds)


def _counted(tokens: int) -> str:
    return f"{tokens:,}" if tokens < BEYOND else written(tokens)
