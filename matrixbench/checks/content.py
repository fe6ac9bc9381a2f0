"""Checks of a reply's texts: `content`, `reasoning` and `finish_reason`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matrixbench.checks.matchers import as_matcher, compile_matcher
from matrixbench.checks.verdicts import no, yes
from matrixbench.records import Kind
from matrixbench.spec.matchers import Matcher

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matrixbench.checks.verdicts import Rule
    from matrixbench.records import ChatReply, Verdict

CONTENT = "content"
REASONING = "reasoning"
FINISH_REASON = "finish_reason"


def compile_content(expected: str | Matcher, *, where: str = "") -> Rule:
    """Return the rule that a reply's content matches. A reply without content has null there.

    Raises:
        CheckError: The matcher is wrong.
    """
    match = compile_matcher(as_matcher(expected), where=where)
    passed = yes(CONTENT)

    def rule(reply: ChatReply) -> Verdict:
        reason = match(reply.content)
        if reason is None:
            return passed
        kind = Kind.WRONG_CONTENT if reply.content else Kind.NO_CONTENT
        return no(CONTENT, kind, reason)

    return rule


def compile_reasoning(expected: str | Matcher, *, where: str = "") -> Rule:
    """Return the rule that a reply's reasoning matches. A reply without any has null there.

    Raises:
        CheckError: The matcher is wrong.
    """
    match = compile_matcher(as_matcher(expected), where=where)
    passed = yes(REASONING)

    def rule(reply: ChatReply) -> Verdict:
        reason = match(reply.reasoning)
        if reason is None:
            return passed
        kind = Kind.WRONG_REASONING if reply.reasoning else Kind.NO_REASONING
        return no(REASONING, kind, reason)

    return rule


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
