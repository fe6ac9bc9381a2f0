"""From a check of the file to a function that judges replies."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias, assert_never

from matrixbench.checks.combining import NamedRule, all_of, any_of, at_turn, negated
from matrixbench.checks.content import compile_content, compile_finish_reason, compile_reasoning
from matrixbench.checks.excerpt import one_line
from matrixbench.checks.figures import (
    compile_cached_tokens,
    compile_completion_tokens,
    compile_latency,
)
from matrixbench.checks.guarding import guarded
from matrixbench.checks.json_content import compile_json
from matrixbench.checks.misplaced import unless_reasoning_is_there
from matrixbench.checks.own import compile_own
from matrixbench.checks.same import compile_same_as
from matrixbench.checks.tool_calls import compile_no_tool_calls, compile_tool_calls
from matrixbench.checks.verdicts import FaultError
from matrixbench.records import Kind
from matrixbench.spec.checks import (
    AllCheck,
    AnyCheck,
    CachedTokensCheck,
    CompletionTokensCheck,
    ContentCheck,
    FinishReasonCheck,
    JsonCheck,
    JsonContent,
    LatencyCheck,
    NotCheck,
    NoToolCallsCheck,
    PythonCheck,
    ReasoningCheck,
    SameAsCheck,
    ToolCallsCheck,
    check_name,
    parts_of,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matrixbench.checks.calls_in_text import Finder
    from matrixbench.checks.own import OwnFunction
    from matrixbench.checks.verdicts import Judging, Reference, Rule
    from matrixbench.records import ChatReply, Verdict
    from matrixbench.spec.checks import Check


_NO: Mapping[type, Kind] = {
    ToolCallsCheck: Kind.BAD_ARGUMENTS,
    NoToolCallsCheck: Kind.UNWANTED_TOOL_CALL,
    ContentCheck: Kind.WRONG_CONTENT,
    ReasoningCheck: Kind.WRONG_REASONING,
    FinishReasonCheck: Kind.WRONG_FINISH_REASON,
    LatencyCheck: Kind.WRONG_LATENCY,
    CompletionTokensCheck: Kind.WRONG_LENGTH,
    CachedTokensCheck: Kind.WRONG_CACHED_TOKENS,
    JsonCheck: Kind.SCHEMA_MISMATCH,
}
"""What a check says of a reply over which it stumbles."""

SimpleCheck: TypeAlias = (
    ToolCallsCheck
    | NoToolCallsCheck
    | ContentCheck
    | ReasoningCheck
    | FinishReasonCheck
    | LatencyCheck
    | CompletionTokensCheck
    | CachedTokensCheck
    | JsonCheck
)
"""A check that looks at the reply alone, and needs nothing but what the file says."""


def compile_check(
    check: Check, where: str, own: Mapping[str, OwnFunction], find: Finder
) -> NamedRule:
    """Return a check that is ready to judge.

    Args:
        check: The check.
        where: Its place, for messages.
        own: Place → function, for each check in Python.
        find: Finds a call that was written into a text.

    Raises:
        CheckError: A regular expression, a matcher or a schema is wrong.
    """
    name = check_name(check) or type(check).__name__
    parts = [compile_check(part, f"{where}.{at}", own, find) for at, part in parts_of(check)]
    judging: Judging
    match check:
        case AllCheck():
            judging = all_of(parts)
        case AnyCheck():
            judging = any_of(parts)
        case NotCheck():
            written = check.not_.model_dump(by_alias=True, exclude_unset=True)
            judging = negated(parts[0], written.get(parts[0].name))
            if _reads_text(check.not_):
                judging = unless_reasoning_is_there(judging)
            judging = _unless_cut_off(judging)
        case SameAsCheck():  # two replies that are cut off alike are equal: that is no excuse
            judging = compile_same_as(check.same_as)
        case CachedTokensCheck():  # how the reply ends says nothing of its prompt
            judging = _alone(guarded(_simple(check, f"{where}.{name}", find), _NO[type(check)]))
        case PythonCheck():
            judging = _unless_cut_off(_alone(compile_own(check, own[where])))
        case _:
            judging = _alone(guarded(_simple(check, f"{where}.{name}", find), _NO[type(check)]))
            if _reads_text(check):
                judging = unless_reasoning_is_there(judging)
            judging = _unless_cut_off(judging)
    rule = NamedRule(name=name, rule=judging)
    if check.turn is None:
        return rule
    # Checks of several turns stand beside each other in a transcript: which is which?
    turn = f"turn {check.turn}" if isinstance(check.turn, int) else f"{check.turn} turn"
    return _called(f"{name} ({turn})", at_turn(check.turn, rule))


def _reads_text(check: Check) -> bool:
    """Return whether a check, with all its parts, looks at nothing but content and reasoning."""
    if isinstance(check, AllCheck | AnyCheck | NotCheck):
        return all(_reads_text(part) for _, part in parts_of(check))
    return isinstance(check, ContentCheck | ReasoningCheck | JsonCheck)


def _called(name: str, judging: Judging) -> NamedRule:
    """Return a rule whose verdicts go under a name."""

    def judge(reply: ChatReply, reference: Reference) -> Verdict:
        return replace(judging(reply, reference), check=name)

    return NamedRule(name=name, rule=judge)


def _simple(check: SimpleCheck, where: str, find: Finder) -> Rule:  # noqa: PLR0911  one for each check
    match check:
        case ToolCallsCheck():
            return compile_tool_calls(check.tool_calls, where=where, find=find)
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
        case CachedTokensCheck():
            return compile_cached_tokens(check.cached_tokens, where=where)
        case JsonCheck():
            content = check.json_
            return compile_json(content if isinstance(content, JsonContent) else None, where=where)
        case _:
            assert_never(check)


def _alone(rule: Rule) -> Judging:
    return lambda reply, _: rule(reply)


def _unless_cut_off(judging: Judging) -> Judging:
    """Return a rule whose no to what was cut off says so first: a reply, or a conversation."""

    def judge(reply: ChatReply, reference: Reference) -> Verdict:
        try:
            verdict = judging(reply, reference)
        except FaultError as fault:
            if reply.finish_reason == "length":
                raise FaultError(Kind.TRUNCATED, f"cut off: {fault.reason}") from fault
            raise
        if verdict.passed or verdict.kind is Kind.NO_TURN:
            return verdict
        if reply.filled_context is not None:
            full = f"filled the context of {reply.filled_context:,} tokens"
            reason = one_line(f"{full}: {verdict.reason}")
            return replace(verdict, kind=Kind.CONTEXT_FULL, reason=reason)
        if reply.finish_reason == "length":
            reason = one_line(f"cut off: {verdict.reason}")
            return replace(verdict, kind=Kind.TRUNCATED, reason=reason)
        if reply.turn_limit:
            reason = one_line(f"stopped at max_turns: {verdict.reason}")
            return replace(verdict, kind=Kind.TURN_LIMIT, reason=reason)
        return verdict

    return judge
