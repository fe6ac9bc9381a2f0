"""From a test's checks to one judgement of a reply: compiled, combined, guarded."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias, assert_never

from matrixbench.checks.calls_in_text import call_finder, notes_of, unless_reasoning_is_there
from matrixbench.checks.content import (
    compile_cached_tokens,
    compile_completion_tokens,
    compile_content,
    compile_finish_reason,
    compile_latency,
    compile_reasoning,
)
from matrixbench.checks.json_content import compile_json
from matrixbench.checks.matchers import guarded
from matrixbench.checks.own import load_named, load_own
from matrixbench.checks.reasoning import taken_apart
from matrixbench.checks.same import compile_same_as, reference_key
from matrixbench.checks.tool_calls import compile_no_tool_calls, compile_tool_calls
from matrixbench.checks.verdicts import (
    EXPECTED_CHARS,
    REASON_CHARS,
    FaultError,
    UnjudgeableError,
    as_text,
    no,
    one_line,
    shown,
)
from matrixbench.checks.workers import beside, compile_own
from matrixbench.errors import CheckError
from matrixbench.identity import canonical_json, digest
from matrixbench.records import Judgement, Kind, Outcome, Verdict
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
    NamedCheck,
    NotCheck,
    NoToolCallsCheck,
    PythonCheck,
    ReasoningCheck,
    SameAsCheck,
    ToolCallsCheck,
    check_name,
    every_check,
    parts_of,
)
from matrixbench.spec.trust import TRUSTED
from matrixbench.spec.wording import counted

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from matrixbench.checks.calls_in_text import Finder
    from matrixbench.checks.own import OwnFunction
    from matrixbench.checks.verdicts import Judging, Reference, Rule
    from matrixbench.records import ChatReply, JsonObject
    from matrixbench.spec.checks import AnyTurn, Check
    from matrixbench.spec.load import TestCase
    from matrixbench.spec.paths import Origin
    from matrixbench.spec.trust import Trust

ALL = "all"
ANY = "any"
NOT = "not"

SHOWN_PARTS = 3
"""How many of several failing parts a reason shows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedRule:
    """A compiled check and the name under which its verdicts go."""

    name: str
    rule: Judging


def all_of(parts: Sequence[NamedRule]) -> Judging:
    """Return the rule that every part holds. The score is the mean of the parts' scores."""

    def judging(reply: ChatReply, reference: Reference) -> Verdict:
        verdicts, faults = _heard((part, reply, reference) for part in parts)
        if faults:
            raise faults[0]
        score = sum(map(score_of, verdicts)) / len(verdicts)
        refused = [index for index, verdict in enumerate(verdicts) if not verdict.passed]
        if not refused:
            return Verdict(check=ALL, passed=True, score=score)
        index = refused[0]
        more = f" (and {len(refused) - 1} more)" if len(refused) > 1 else ""
        said = f"all[{index}] {parts[index].name}: {verdicts[index].reason}"
        reason = one_line(said, REASON_CHARS - len(more)) + more
        return no(ALL, verdicts[index].kind or Kind.CHECK_RAISED, reason, score)

    return judging


def any_of(parts: Sequence[NamedRule]) -> Judging:
    """Return the rule that a part holds. The score is the best of the parts' scores."""

    def judging(reply: ChatReply, reference: Reference) -> Verdict:
        verdicts, faults = _heard((part, reply, reference) for part in parts)
        score = max(map(score_of, verdicts))
        if any(verdict.passed for verdict in verdicts):
            return Verdict(check=ANY, passed=True, score=score)
        if faults:
            raise faults[0]
        kind = verdicts[0].kind or Kind.CHECK_RAISED
        return no(ANY, kind, _none_holds(parts, verdicts), score)

    return judging


def _heard(
    asked: Iterable[tuple[NamedRule, ChatReply, Reference]],
) -> tuple[list[Verdict], list[FaultError]]:
    """Return what rules say, and which stumbled: a no, but nothing that a `not` could turn round.

    Every one is asked, so that their order makes no difference.
    """
    verdicts: list[Verdict] = []
    faults: list[FaultError] = []
    for part, reply, reference in asked:
        try:
            verdicts.append(part.rule(reply, reference))
        except FaultError as fault:
            faults.append(fault)
            verdicts.append(no(part.name, fault.kind, fault.reason))
    return verdicts, faults


def negated(part: NamedRule, written: object) -> Judging:
    """Return the rule that a part does not hold. A part that has a score gives its opposite.

    Args:
        written: It as the file has it, for the reason.
    """
    wanted = f"no {part.name} {shown(written, EXPECTED_CHARS)}"

    def judging(reply: ChatReply, reference: Reference) -> Verdict:
        verdict = part.rule(reply, reference)
        score = None if verdict.score is None else 1 - verdict.score
        if verdict.kind is Kind.NO_TURN:  # what was never said is no proof of the opposite
            return no(NOT, Kind.NO_TURN, verdict.reason)
        if not verdict.passed:
            return Verdict(check=NOT, passed=True, score=score)
        return no(NOT, Kind.UNWANTED, f"expected {wanted}, found {_said(reply)}", score)

    return judging


def at_turn(turn: int | AnyTurn, rule: NamedRule) -> Judging:
    """Return the rule that a check holds of a certain reply, or of any or every one.

    Args:
        turn: Which reply, counted from 1.
        rule: The check. The reply that it is given has those before it as its `earlier`.
    """
    if isinstance(turn, int):
        return _at_number(turn, rule)
    return _at_some(turn, rule)


def score_of(verdict: Verdict) -> float:
    """Return a verdict's score; where there is none, 1 for yes and 0 for no."""
    return float(verdict.passed) if verdict.score is None else verdict.score


def reply_at(reply: ChatReply, turn: int) -> ChatReply | None:
    """Return the reply of a turn, counted from 1, or None where it was never reached."""
    if turn == len(reply.earlier) + 1:
        return reply
    if turn > len(reply.earlier):
        return None
    return replace(reply.earlier[turn - 1].reply, earlier=reply.earlier[: turn - 1])


def _at_number(turn: int, rule: NamedRule) -> Judging:
    def judging(reply: ChatReply, reference: Reference) -> Verdict:
        meant = reply_at(reply, turn)
        if meant is None:
            turns = len(reply.earlier) + 1
            found = f"found {counted(turns, 'reply')}"
            return no(rule.name, Kind.NO_TURN, f"expected a reply at turn {turn}, {found}")
        return _named(turn, rule.rule(meant, _reference_at(reference, turn)))

    return judging


def _at_some(turn: AnyTurn, rule: NamedRule) -> Judging:
    def judging(reply: ChatReply, reference: Reference) -> Verdict:
        numbers = range(1, len(reply.earlier) + 2)
        verdicts, faults = _heard(
            (rule, reply_at(reply, number) or reply, _reference_at(reference, number))
            for number in numbers
        )
        passed = [verdict.passed for verdict in verdicts]
        if faults and not (turn == "any" and any(passed)):
            raise faults[0]
        refused = [number for number, verdict in enumerate(verdicts, 1) if not verdict.passed]
        scores = list(map(score_of, verdicts))
        scored = any(verdict.score is not None for verdict in verdicts) or len(verdicts) > 1
        score = (sum(scores) / len(scores) if turn == "every" else max(scores)) if scored else None
        if not refused or (turn == "any" and len(refused) < len(verdicts)):
            return Verdict(check=rule.name, passed=True, score=score)
        number = refused[0] if turn == "every" else refused[-1]
        told = _named(number, verdicts[number - 1])
        if turn == "any" and len(verdicts) > 1:
            reason = one_line(f"at none of {len(verdicts)} turns; {told.reason}")
            told = replace(told, reason=reason)
        return replace(told, score=score)

    return judging


def _named(turn: int, verdict: Verdict) -> Verdict:
    """Return a verdict whose reason says of which turn it speaks."""
    if verdict.passed:
        return verdict
    return replace(verdict, reason=one_line(f"turn {turn}: {verdict.reason}"))


def _reference_at(reference: Reference, turn: int) -> Reference:
    def at(axes: str) -> ChatReply:
        found = reply_at(reference(axes), turn)
        if found is None:
            raise UnjudgeableError(Kind.NO_REFERENCE, f"the reference has no turn {turn}")
        return found

    return at


def _none_holds(parts: Sequence[NamedRule], verdicts: Sequence[Verdict]) -> str:
    if len(parts) == 1:
        return f"any[0] {parts[0].name}: {verdicts[0].reason}"
    told = min(len(parts), SHOWN_PARTS)
    head = f"none of {len(parts)} holds: "
    room = (REASON_CHARS - len(head) - 2 * (told - 1)) // told
    return head + "; ".join(
        one_line(f"{part.name}: {verdict.reason}", room)
        for part, verdict in zip(parts[:told], verdicts[:told], strict=True)
    )


def _said(reply: ChatReply) -> str:
    """Return what a reply says, in short."""
    if reply.tool_calls:
        return one_line(", ".join(as_text(call.name) for call in reply.tool_calls), EXPECTED_CHARS)
    return shown(reply.content)


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
        own: Place → function, for each check in Python.

    Raises:
        CheckError: A regular expression, a matcher or a schema is wrong.
    """
    name = check.check if isinstance(check, NamedCheck) else check_name(check) or ""
    parts = [compile_check(part, f"{where}.{at}", own, find) for at, part in parts_of(check)]
    judging: Judging
    match check:
        case AllCheck():
            judging = all_of(parts)
        case AnyCheck():
            judging = any_of(parts)
        case NotCheck():
            written = check.not_.model_dump(by_alias=True, exclude_unset=True)
            judging = negated(parts[0], written.get(parts[0].name, written))
            if _reads_text(check.not_):
                judging = unless_reasoning_is_there(judging)
            judging = _unless_cut_off(judging)
        case SameAsCheck():  # two replies that are cut off alike are equal: that is no excuse
            judging = compile_same_as(check.same_as)
        case PythonCheck() | NamedCheck():
            judging = _unless_cut_off(_alone(compile_own(check, own[where])))
        case _:
            judging = _alone(guarded(_simple(check, f"{where}.{name}", find), _NO[type(check)]))
            if _reads_text(check):
                judging = unless_reasoning_is_there(judging)
            if not isinstance(check, CachedTokensCheck):  # how it ends says nothing of its prompt
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


_CLASSES = re.compile(r"\\\\[bBdDsSwW]")
"""A class of characters in a pattern, as JSON writes it."""

_CLASSES_VERSION = 2
"""The same for patterns with such classes alone: raise it when they take other characters."""

CHECKS_VERSION = 3
"""Part of every checks' digest. Raise it when the same text of a check may now give another
verdict, kind or reason: stored replies are then judged again."""

UNJUDGED = frozenset({Kind.CHECK_RAISED, Kind.CHECK_TIMEOUT, Kind.NOT_REPORTED, Kind.NO_REFERENCE})
"""Kinds of verdicts that say neither yes nor no: the trial is `errored`."""


def no_reference(_: str) -> NoReturn:
    """Refuse to compare: no other cell's reply is at hand."""
    raise UnjudgeableError(Kind.NO_REFERENCE, "the reply to compare with is not there yet")


@dataclass(frozen=True, slots=True, kw_only=True)
class Checks:
    """A test's checks, compiled once and used for every reply.

    Args:
        digest: What stands for them by content; replies judged under another are judged again.
        rules: The compiled checks, in the file's order.
        accepted: The judgement of a reply that every check accepts, where none gives a score.
        compares: Key → axes of each other cell whose replies they compare with.
        marks: The marks of reasoning that are taken apart before the checks see a reply.
        closed: Why a check in Python was not loaded; empty where all were. Such checks judge no
            reply, but the digest is theirs.
        slow: Whether judging waits for another process, so that it is done beside other work.
    """

    digest: str
    rules: tuple[NamedRule, ...]
    accepted: Judgement
    compares: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    find: Finder = field(default_factory=lambda: call_finder(()), compare=False)
    marks: tuple[str, ...] = ()
    closed: str = ""
    slow: bool = False

    def taking_apart(self, marks: tuple[str, ...]) -> Checks:
        """Return the checks for replies whose content may hold reasoning between such marks.

        They have another digest: a reply is judged again where the marks change.
        """
        if marks == self.marks:
            return self
        meant = digest({"checks": self.digest, "reasoning_in_content": list(marks)})
        return replace(self, digest=meant, marks=marks)

    async def judge_beside(self, reply: ChatReply) -> Judgement:
        """Return what `judge` does; where functions of one's own are asked, in a thread."""
        return await beside(self.judge, reply) if self.slow else self.judge(reply)

    def judge(self, reply: ChatReply, reference: Reference = no_reference) -> Judgement:
        """Return what all checks make of a reply; never raises.

        Every check runs. The first one that says no names kind and reason. A function of one's own
        that raises, or does not end, makes the trial `errored`, whatever the others say, for then
        nothing was measured; a shipped check that stumbles over a reply says no.
        """
        notes = notes_of(reply, self.marks, self.find)
        seen = taken_apart(reply, self.marks)
        verdicts = tuple(_verdict(named, seen, reference) for named in self.rules)
        refused = [verdict for verdict in verdicts if not verdict.passed]
        if not refused:
            if verdicts == self.accepted.verdicts and not notes:
                return self.accepted
            return Judgement(outcome=Outcome.PASSED, verdicts=verdicts, notes=notes)
        raised = [verdict for verdict in refused if verdict.kind in UNJUDGED]
        first = (raised or refused)[0]
        return Judgement(
            outcome=Outcome.ERRORED if raised else Outcome.FAILED,
            kind=first.kind,
            reason=first.reason,
            verdicts=verdicts,
            notes=notes,
        )


def checks_of(test: TestCase, trust: Trust = TRUSTED) -> Checks:
    """Return a test's checks, ready to judge; see `compile_checks`."""
    return compile_checks(
        test.expect, where=test.name, origin=test.origin, tools=test.tools, trust=trust
    )


def compile_checks(
    expect: Sequence[Check],
    *,
    where: str = "",
    origin: Origin | None = None,
    tools: Sequence[JsonObject] = (),
    trust: Trust = TRUSTED,
) -> Checks:
    """Return checks that are ready to judge. Without any check, every reply passes.

    A check in Python runs the code of its module here, where it is trusted.

    Args:
        where: The test's place or name, for messages.
        origin: Where the test stands, for checks in Python.
        tools: The tools that the test offers, as they are sent.
        trust: What may run.

    Raises:
        CheckError: A regular expression, a matcher or a schema is wrong, or a check in Python
            cannot be loaded.
    """
    prefix = f"{where}: " if where else ""
    own = _own_functions(expect, prefix, origin, trust)
    find = call_finder(_names_of(tools))
    rules = tuple(
        compile_check(check, f"{prefix}expect[{index}]", own, find)
        for index, check in enumerate(expect)
    )
    passed = tuple(Verdict(check=named.name, passed=True) for named in rules)
    accepted = Judgement(outcome=Outcome.PASSED, verdicts=passed)
    return Checks(
        digest=checks_digest(expect, where=where, own=own),
        rules=rules,
        accepted=accepted,
        find=find,
        closed=next((each.closed for each in own.values() if each.closed), ""),
        slow=bool(own),
        compares={
            reference_key(check.same_as): check.same_as
            for _, check in every_check(expect)
            if isinstance(check, SameAsCheck)
        },
    )


def checks_digest(
    expect: Sequence[Check], *, where: str = "", own: Mapping[str, OwnFunction] | None = None
) -> str:
    """Return what stands for some checks by content, without compiling them.

    Raises:
        CheckError: A check holds a number that JSON cannot say.
    """
    content = [check.model_dump(by_alias=True, exclude_unset=True) for check in expect]
    meant: JsonObject = {"version": CHECKS_VERSION, "expect": content}
    if own:
        meant["sources"] = [function.source for function in own.values()]
    try:
        if _CLASSES.search(canonical_json(content)):
            meant["classes"] = _CLASSES_VERSION
        return digest(meant)
    except ValueError as error:
        raise CheckError(
            f"a check holds a value that JSON cannot say: {error}",
            where=where,
            hint="Replies are JSON, so no reply could ever equal it.",
        ) from error


def _names_of(tools: Sequence[JsonObject]) -> list[str]:
    """Return the names of tools in OpenAI's shape."""
    functions = (tool.get("function") for tool in tools)
    names = (function.get("name") for function in functions if isinstance(function, dict))
    return [name for name in names if isinstance(name, str)]


def _own_functions(
    expect: Sequence[Check], prefix: str, origin: Origin | None, trust: Trust
) -> dict[str, OwnFunction]:
    found = {}
    for place, check in every_check(expect):
        if not isinstance(check, PythonCheck | NamedCheck):
            continue
        at = f"{place}.{check_name(check)}"
        named_at = f"{prefix}{at}" if origin is None else str(origin.places.get(at, at))
        if isinstance(check, NamedCheck):
            found[f"{prefix}{place}"] = load_named(check, where=named_at)
        else:
            folder = None if origin is None else origin.folder
            found[f"{prefix}{place}"] = load_own(check, folder, trust, where=named_at)
    return found


def _verdict(named: NamedRule, reply: ChatReply, reference: Reference) -> Verdict:
    try:
        return named.rule(reply, reference)
    except UnjudgeableError as error:
        kind, reason = error.kind, error.reason
    except FaultError as fault:
        return no(named.name, fault.kind, fault.reason)
    except Exception as error:  # noqa: BLE001  a check's own fault must not count against the model
        kind, reason = Kind.CHECK_RAISED, f"the check raised {type(error).__name__}: {error}"
    return Verdict(check=named.name, passed=False, kind=kind, reason=one_line(reason))
