"""The check of a reply's text: `content`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matrixbench.checks.matchers import as_matcher, compile_matcher
from matrixbench.checks.verdicts import no, yes
from matrixbench.records import Kind

if TYPE_CHECKING:
    from matrixbench.checks.verdicts import Rule
    from matrixbench.records import ChatReply, Verdict
    from matrixbench.spec.checks import Matcher

CONTENT = "content"


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
