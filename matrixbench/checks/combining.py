"""Checks made of checks: `all`, `any` and `not`; and `turn`, which looks at an earlier reply."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from matrixbench.checks.excerpt import EXPECTED_CHARS, REASON_CHARS, as_text, one_line, shown
from matrixbench.checks.verdicts import FaultError, UnjudgeableError, no
from matrixbench.records import Kind, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from matrixbench.checks.verdicts import Judging, Reference
    from matrixbench.records import ChatReply
    from matrixbench.spec.checks import AnyTurn

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
        part: The part.
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
            found = f"found {turns} {'reply' if turns == 1 else 'replies'}"
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
