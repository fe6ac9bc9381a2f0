"""Checks of a reply's texts: `content`, `reasoning` and `finish_reason`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matrixbench.checks.matchers import as_matcher, compile_matcher
from matrixbench.checks.verdicts import no, yes
from matrixbench.records import Kind
from matrixbench.spec.matchers import Matcher

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from matrixbench.checks.matchers import Match
    from matrixbench.checks.verdicts import Rule
    from matrixbench.records import ChatReply, Verdict

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
