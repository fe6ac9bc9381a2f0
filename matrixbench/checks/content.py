"""Checks of a reply's texts, and of what was measured beside them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from matrixbench.checks.matchers import (
    as_matcher,
    compile_bounds,
    compile_matcher,
    is_nan,
    is_number,
    written,
)
from matrixbench.checks.verdicts import UnjudgeableError, no, yes
from matrixbench.records import Kind
from matrixbench.spec.checks import Matcher

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from matrixbench.checks.matchers import Match
    from matrixbench.checks.verdicts import Rule
    from matrixbench.records import ChatReply, Verdict
    from matrixbench.spec.checks import Bounds

CONTENT = "content"
REASONING = "reasoning"
FINISH_REASON = "finish_reason"

_CONTENT_KINDS = Kind.WRONG_CONTENT, Kind.NO_CONTENT
_REASONING_KINDS = Kind.WRONG_REASONING, Kind.NO_REASONING
"""Of a text that does not match, and of none."""


def compile_content(expected: str | Matcher, *, where: str = "") -> Rule:
    """Return the rule that a reply's content matches. A reply without content has null there.

    Raises:
        CheckError: The matcher is wrong.
    """
    match = compile_matcher(as_matcher(expected), where=where)
    return _text_rule(CONTENT, match, lambda reply: reply.content, _CONTENT_KINDS)


def compile_reasoning(expected: str | Matcher, *, where: str = "") -> Rule:
    """Return the rule that a reply's reasoning matches. A reply without any has null there.

    Raises:
        CheckError: The matcher is wrong.
    """
    match = compile_matcher(as_matcher(expected), where=where)
    return _text_rule(REASONING, match, lambda reply: reply.reasoning, _REASONING_KINDS)


def compile_finish_reason(expected: str | Sequence[str] | Matcher, *, where: str = "") -> Rule:
    """Return the rule that a reply ended for a reason, or for one of several.

    Raises:
        CheckError: The matcher is wrong.
    """
    if not isinstance(expected, str | Matcher):
        expected = Matcher(one_of=list(expected))
    match = compile_matcher(as_matcher(expected), where=where)
    passed = yes(FINISH_REASON)

    def rule(reply: ChatReply) -> Verdict:
        reason = match(reply.finish_reason)
        return passed if reason is None else no(FINISH_REASON, Kind.WRONG_FINISH_REASON, reason)

    return rule


def _text_rule(
    check: str, match: Match, text_of: Callable[[ChatReply], str | None], kinds: tuple[Kind, Kind]
) -> Rule:
    passed = yes(check)
    wrong, missing = kinds

    def rule(reply: ChatReply) -> Verdict:
        text = text_of(reply)
        reason = match(text)
        return passed if reason is None else no(check, wrong if text else missing, reason)

    return rule


LATENCY = "latency_s"
COMPLETION_TOKENS = "completion_tokens"
CACHED_TOKENS = "cached_tokens"

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
    counted = _Counted(
        check=COMPLETION_TOKENS,
        kind=Kind.WRONG_LENGTH,
        of=lambda reply: reply.completion_tokens,
        missing="completion tokens",
    )
    return counted.within(bounds, where)


def _seconds(seconds: float) -> str:
    return f"{seconds:.3g}" if seconds < BEYOND else written(seconds)


def _whole(tokens: int) -> str:
    return f"{tokens:,}" if tokens < BEYOND else written(tokens)


def compile_cached_tokens(bounds: Bounds, *, where: str = "") -> Rule:
    """Return the rule that so many tokens of the prompt came from the server's cache.

    The rule raises `UnjudgeableError` where the server does not say.

    Raises:
        CheckError: The bounds are wrong.
    """
    counted = _Counted(
        check=CACHED_TOKENS,
        kind=Kind.WRONG_CACHED_TOKENS,
        of=lambda reply: reply.usage.cached_tokens,
        missing="tokens from the cache",
        noun="tokens from the cache",
    )
    return counted.within(bounds, where)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Counted:
    """A figure that a server counts.

    Args:
        kind: Of the verdict of a reply whose figure lies outside.
        of: A reply → the figure; None where the server does not tell it.
        missing: What a server does not report then.
    """

    check: str
    kind: Kind
    of: Callable[[ChatReply], int | None]
    missing: str
    noun: str = "tokens"

    def within(self, bounds: Bounds, where: str) -> Rule:
        within, said = compile_bounds(bounds, where=where)
        passed = yes(self.check)

        def rule(reply: ChatReply) -> Verdict:
            tokens = self.of(reply)
            if tokens is None or not is_number(tokens) or is_nan(tokens):
                reason = f"expected {said} {self.noun}, but the server reports no {self.missing}"
                raise UnjudgeableError(Kind.NOT_REPORTED, reason)
            if within(tokens):
                return passed
            return no(self.check, self.kind, f"expected {said} {self.noun}, found {_whole(tokens)}")

        return rule
