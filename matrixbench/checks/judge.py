"""From a test's checks to one judgement of a reply."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, assert_never

from matrixbench.checks.content import compile_content, compile_finish_reason, compile_reasoning
from matrixbench.checks.excerpt import one_line
from matrixbench.checks.figures import compile_completion_tokens, compile_latency
from matrixbench.checks.json_content import compile_json
from matrixbench.checks.tool_calls import compile_no_tool_calls, compile_tool_calls
from matrixbench.checks.verdicts import UnjudgeableError
from matrixbench.errors import CheckError
from matrixbench.identity import digest
from matrixbench.records import Judgement, Kind, Outcome, Verdict
from matrixbench.spec.checks import (
    CompletionTokensCheck,
    ContentCheck,
    FinishReasonCheck,
    JsonCheck,
    JsonContent,
    LatencyCheck,
    NoToolCallsCheck,
    ReasoningCheck,
    ToolCallsCheck,
    check_name,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matrixbench.checks.verdicts import Rule
    from matrixbench.records import ChatReply
    from matrixbench.spec.checks import Check

CHECKS_VERSION = 2
"""Part of every checks' digest. Raise it when the same text of a check may now give another
verdict, kind or reason: stored replies are then judged again."""

UNJUDGED = frozenset({Kind.CHECK_RAISED, Kind.NOT_REPORTED})
"""Kinds of verdicts that say neither yes nor no: the trial is `errored`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedRule:
    """A compiled check and the name under which its verdicts go."""

    name: str
    rule: Rule


@dataclass(frozen=True, slots=True, kw_only=True)
class Checks:
    """A test's checks, compiled once and used for every reply.

    Args:
        digest: What stands for them by content; replies judged under another are judged again.
        rules: The compiled checks, in the file's order.
        accepted: The judgement of a reply that every check accepts; it is always the same.
    """

    digest: str
    rules: tuple[NamedRule, ...]
    accepted: Judgement

    def judge(self, reply: ChatReply) -> Judgement:
        """Return what all checks make of a reply; never raises.

        Every check runs. The first one that says no names kind and reason; one that raises makes
        the trial `errored`, whatever the others say, for then nothing was measured.
        """
        verdicts = tuple(_verdict(named, reply) for named in self.rules)
        refused = [verdict for verdict in verdicts if not verdict.passed]
        if not refused:
            if verdicts == self.accepted.verdicts:
                return self.accepted
            return Judgement(outcome=Outcome.PASSED, verdicts=verdicts)
        raised = [verdict for verdict in refused if verdict.kind in UNJUDGED]
        first = (raised or refused)[0]
        return Judgement(
            outcome=Outcome.ERRORED if raised else Outcome.FAILED,
            kind=first.kind,
            reason=first.reason,
            verdicts=verdicts,
        )


def compile_checks(expect: Sequence[Check], *, where: str = "") -> Checks:
    """Return checks that are ready to judge. Without any check, every reply passes.

    Args:
        expect: The checks of one test.
        where: The test's place or name, for messages.

    Raises:
        CheckError: A regular expression, a matcher or a schema is wrong.
    """
    prefix = f"{where}: " if where else ""
    rules = tuple(
        NamedRule(
            name=check_name(check) or type(check).__name__,
            rule=_compile(check, f"{prefix}expect[{index}].{check_name(check)}"),
        )
        for index, check in enumerate(expect)
    )
    passed = tuple(Verdict(check=named.name, passed=True) for named in rules)
    accepted = Judgement(outcome=Outcome.PASSED, verdicts=passed)
    return Checks(digest=checks_digest(expect, where=where), rules=rules, accepted=accepted)


def checks_digest(expect: Sequence[Check], *, where: str = "") -> str:
    """Return what stands for some checks by content, without compiling them.

    Raises:
        CheckError: A check holds a number that JSON cannot say.
    """
    content = [check.model_dump(by_alias=True, exclude_unset=True) for check in expect]
    try:
        return digest({"version": CHECKS_VERSION, "expect": content})
    except ValueError as error:
        raise CheckError(
            f"a check holds a value that JSON cannot say: {error}",
            where=where,
            hint="Replies are JSON, so no reply could ever equal it.",
        ) from error


def _compile(check: Check, where: str) -> Rule:  # noqa: PLR0911  one for each check
    match check:
        case ToolCallsCheck():
            return compile_tool_calls(check.tool_calls, where=where)
        case NoToolCallsCheck():
            return compile_no_tool_calls()
        case ContentCheck():
            return compile_content(check.content, where=where)
        case ReasoningCheck():
            return compile_reasoning(check.reasoning, where=where)
        case FinishReasonCheck():
            return compile_finish_reason(check.finish_reason, where=where)
        case LatencyCheck():
            return compile_latency(check.latency_s, where=where)
        case CompletionTokensCheck():
            return compile_completion_tokens(check.completion_tokens, where=where)
        case JsonCheck():
            content = check.json_
            return compile_json(content if isinstance(content, JsonContent) else None, where=where)
        case _:
            assert_never(check)


def _verdict(named: NamedRule, reply: ChatReply) -> Verdict:
    try:
        verdict = named.rule(reply)
    except UnjudgeableError as error:
        reason = one_line(error.reason)
        return Verdict(check=named.name, passed=False, kind=error.kind, reason=reason)
    except Exception as error:  # noqa: BLE001  a check's own fault must not count against the model
        reason = one_line(f"the check raised {type(error).__name__}: {error}")
        return Verdict(check=named.name, passed=False, kind=Kind.CHECK_RAISED, reason=reason)
    if verdict.passed:
        return verdict
    if reply.finish_reason == "length":
        return replace(verdict, kind=Kind.TRUNCATED, reason=one_line(f"cut off: {verdict.reason}"))
    if reply.turn_limit:
        reason = one_line(f"stopped at max_turns: {verdict.reason}")
        return replace(verdict, kind=Kind.TURN_LIMIT, reason=reason)
    return verdict
