"""What the checks of measured figures say."""

from __future__ import annotations

from dataclasses import replace
from math import nan

import pytest

from matrixbench.checks.content import (
    compile_cached_tokens,
    compile_completion_tokens,
    compile_latency,
)
from matrixbench.checks.judge import compile_checks
from matrixbench.checks.verdicts import UnjudgeableError
from matrixbench.errors import CheckError
from matrixbench.records import ChatReply, Kind, Outcome, Timing, Usage
from matrixbench.spec.checks import Bounds, CachedTokensCheck, CompletionTokensCheck


def reply(latency_s: float = 1.0, tokens: int | None = 10) -> ChatReply:
    """Return a reply with some figures."""
    return ChatReply(message={}, completion_tokens=tokens, timing=Timing(latency_s=latency_s))


def test_a_latency_lies_within_its_bounds() -> None:
    """Both bounds are included, and the reason has the unit."""
    rule = compile_latency(Bounds(min=0.5, max=2.5))
    assert rule(reply(0.5)).passed
    assert rule(reply(2.5)).passed
    said = rule(reply(3.14159))
    assert (said.kind, said.reason) == (Kind.WRONG_LATENCY, "expected 0.5 to 2.5 s, found 3.14 s")
    assert not rule(reply(0.1)).passed


def test_a_reply_that_nobody_measured_leaves_its_latency_unjudged() -> None:
    """Of a saved reply nothing is known that a bound could hold for."""
    with pytest.raises(UnjudgeableError, match="a saved reply has no latency"):
        compile_latency(Bounds(max=2.5))(reply(nan))


def test_completion_tokens_lie_within_their_bounds() -> None:
    """One bound is enough."""
    rule = compile_completion_tokens(Bounds(max=20))
    assert rule(reply(tokens=20)).passed
    said = rule(reply(tokens=2100))
    assert (said.kind, said.reason) == (
        Kind.WRONG_LENGTH,
        "expected at most 20 tokens, found 2,100",
    )


def test_a_server_that_counts_no_tokens_leaves_the_trial_unjudged() -> None:
    """It is errored, and counts neither for nor against the model."""
    with pytest.raises(UnjudgeableError):
        compile_completion_tokens(Bounds(max=20))(reply(tokens=None))
    checks = compile_checks([CompletionTokensCheck(completion_tokens=Bounds(max=20))])
    judgement = checks.judge(reply(tokens=None))
    assert (judgement.outcome, judgement.kind) == (Outcome.ERRORED, Kind.NOT_REPORTED)
    assert "the server reports no completion tokens" in judgement.reason


def cached(tokens: int | None) -> ChatReply:
    """Return a reply of whose prompt so many tokens came from the cache."""
    return ChatReply(message={}, timing=Timing(latency_s=1), usage=Usage(cached_tokens=tokens))


def test_tokens_from_the_cache_lie_within_their_bounds() -> None:
    """None is a count like another."""
    rule = compile_cached_tokens(Bounds(min=1))
    assert rule(cached(90)).passed
    said = rule(cached(0))
    assert (said.kind, said.reason) == (
        Kind.WRONG_CACHED_TOKENS,
        "expected at least 1 tokens from the cache, found 0",
    )


def test_a_server_that_says_nothing_of_its_cache_leaves_the_trial_unjudged() -> None:
    """Zero and unknown are two things."""
    checks = compile_checks([CachedTokensCheck(cached_tokens=Bounds(max=0))])
    assert checks.judge(cached(0)).outcome is Outcome.PASSED
    judgement = checks.judge(cached(None))
    assert (judgement.outcome, judgement.kind) == (Outcome.ERRORED, Kind.NOT_REPORTED)
    assert "the server reports no tokens from the cache" in judgement.reason


def test_a_reply_that_was_cut_off_has_the_prompt_that_it_has() -> None:
    """Its end is no excuse for what the cache did before it began."""
    checks = compile_checks([CachedTokensCheck(cached_tokens=Bounds(min=1))])
    judgement = checks.judge(replace(cached(0), finish_reason="length"))
    assert judgement.kind is Kind.WRONG_CACHED_TOKENS


@pytest.mark.parametrize("bounds", [Bounds(), Bounds(min=2, max=1), Bounds(max="fast")])
def test_bounds_that_say_nothing_are_an_error(bounds: Bounds) -> None:
    """They are refused before anything is asked."""
    with pytest.raises(CheckError):
        compile_latency(bounds)
    with pytest.raises(CheckError):
        compile_completion_tokens(bounds)
    with pytest.raises(CheckError):
        compile_cached_tokens(bounds)
