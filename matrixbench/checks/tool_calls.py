"""Checks of the tools that a reply calls: `tool_calls` and `no_tool_calls`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from matrixbench.checks.calls_in_text import call_finder, call_in_answer
from matrixbench.checks.json_values import read_json
from matrixbench.checks.matchers import Match, as_matcher, compile_matcher
from matrixbench.checks.verdicts import (
    EXPECTED_CHARS,
    FOUND_CHARS,
    as_text,
    no,
    one_line,
    shown,
    yes,
)
from matrixbench.errors import CheckError
from matrixbench.records import Kind
from matrixbench.spec.checks import ToolCalls

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from matrixbench.checks.calls_in_text import Finder
    from matrixbench.checks.verdicts import Rule
    from matrixbench.records import ChatReply, ToolCall, Verdict
    from matrixbench.spec.checks import ExpectedCall

Order: TypeAlias = Literal["exact", "any"]

Fits: TypeAlias = Callable[[int, int], bool]
"""Whether the expected call of one index and the found call of another belong together."""

MANY = 2**31
"""More calls than any reply has."""

TOOL_CALLS = "tool_calls"
NO_TOOL_CALLS = "no_tool_calls"


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedCall:
    """An expected call with its matchers compiled."""

    name: str
    arguments: Mapping[str, Match]


def compile_no_tool_calls() -> Rule:
    """Return the rule that a reply calls no tool."""
    passed = yes(NO_TOOL_CALLS)

    def rule(reply: ChatReply) -> Verdict:
        return _unwanted(NO_TOOL_CALLS, reply) if reply.tool_calls else passed

    return rule


_NONE_OFFERED = call_finder(())


def compile_tool_calls(
    expected: Sequence[ExpectedCall] | ToolCalls,
    *,
    where: str = "",
    find: Finder = _NONE_OFFERED,
) -> Rule:
    """Return the rule that a reply calls the expected tools.

    The score is the share of the expected calls that are found, in the order that is asked for;
    calls beyond those that are allowed make it smaller.

    Args:
        find: Finds a call that was written into a text, where the reply has none.

    Raises:
        CheckError: A matcher is wrong, or no reply could have as many calls as are asked for.
    """
    spec = expected if isinstance(expected, ToolCalls) else ToolCalls(calls=list(expected))
    wanted = tuple(
        _compile_call(call, f"{where}[{index}]") for index, call in enumerate(spec.calls)
    )
    allowed = _allowed(spec, where)
    order = spec.order
    passed = yes(TOOL_CALLS, 1.0 if wanted else None)

    def rule(reply: ChatReply) -> Verdict:
        found = reply.tool_calls
        if len(found) not in allowed:
            verdict = _miscounted(wanted, allowed, reply, find)
        else:
            refused = _compare(wanted, found, order)
            if refused is None:
                return passed
            verdict = refused
        if not wanted:
            return verdict
        extra = max(0, len(found) - allowed.stop + 1)
        score = _matched(wanted, found, order) / (len(wanted) + extra)
        return replace(verdict, score=score)

    return rule


def _allowed(spec: ToolCalls, where: str) -> range:
    """Return how many calls there may be."""
    if spec.count is not None and (spec.at_least is not None or spec.at_most is not None):
        raise CheckError(
            "count says exactly how many calls there must be: at_least and at_most are too much",
            where=where,
            hint="Leave out count, or the other two.",
        )
    expected = len(spec.calls)
    least, most = spec.at_least, spec.at_most
    if least is not None and most is None:
        most = MANY
    exact = expected if spec.count is None else spec.count
    least = (exact if most is None else expected) if least is None else least
    most = exact if most is None else most
    if most < expected:
        raise CheckError(
            f"more calls are expected ({expected}) than allowed ({most}): no reply could pass",
            where=where,
            hint="Allow more calls, or expect fewer.",
        )
    if not expected <= least <= most:
        raise CheckError(
            f"at_least {least} is not between the {expected} expected calls and at_most {most}",
            where=where,
            hint="Every expected call must be there in any case.",
        )
    return range(least, most + 1)


def first_unmatched(wanted: int, found: int, fits: Fits, order: Order) -> int | None:
    """Return the first expected call that no found call is left for, or None.

    Args:
        wanted: How many calls are expected.
        found: How many were found; those that nothing asks for are passed over.
        fits: Whether an expected and a found call belong together.
        order: `exact`: the expected calls are looked for one after the other; `any`: there must be
            a matching that gives each its own (Kuhn's algorithm with augmenting paths).
    """
    if order == "exact":
        return _first_out_of_order(wanted, found, fits)
    return next(
        (one for one, paired in enumerate(_paired(wanted, found, fits)) if not paired), None
    )


def most_matched(wanted: int, found: int, fits: Fits, order: Order) -> int:
    """Return how many expected calls can have a found call of their own at the same time."""
    if order == "any":
        return sum(_paired(wanted, found, fits))
    # The longest common subsequence: row by row, the best for each beginning of what was found.
    best = [0] * (found + 1)
    for one in range(wanted):
        before = best
        best = [0] * (found + 1)
        for other in range(found):
            both = before[other] + 1 if fits(one, other) else 0
            best[other + 1] = max(both, before[other + 1], best[other])
    return best[found]


def _paired(wanted: int, found: int, fits: Fits) -> Iterator[bool]:
    """Yield for each expected call whether it can be paired off beside those before it."""
    edges = [[other for other in range(found) if fits(one, other)] for one in range(wanted)]
    owner: dict[int, int] = {}

    def augment(one: int, tried: set[int]) -> bool:
        for other in edges[one]:
            if other in tried:
                continue
            tried.add(other)
            if other not in owner or augment(owner[other], tried):
                owner[other] = one
                return True
        return False

    for one in range(wanted):
        yield augment(one, set())


def _first_out_of_order(wanted: int, found: int, fits: Fits) -> int | None:
    """Taking the earliest call that fits never spoils a later choice.

    No more calls are passed over than can be spared, so that the expected call that is named is
    the first one that the eye would miss.
    """
    position = 0
    for one in range(wanted):
        last = one + found - wanted
        while position <= last and not fits(one, position):
            position += 1
        if position > last:
            return one
        position += 1
    return None


def _compile_call(call: ExpectedCall, where: str) -> WantedCall:
    arguments = {}
    for name, value in call.arguments.items():
        place = f"{where}.arguments.{name}"
        arguments[name] = compile_matcher(as_matcher(value, where=place), where=place)
    return WantedCall(name=call.name, arguments=arguments)


def _compare(
    wanted: Sequence[WantedCall], found: Sequence[ToolCall], order: Order
) -> Verdict | None:
    """Return the verdict of calls that do not fit, or None.

    Names are settled first, so that `wrong_tool` never hides behind an argument.
    """

    def same_name(one: int, other: int) -> bool:
        return wanted[one].name == found[other].name

    missing = first_unmatched(len(wanted), len(found), same_name, order)
    if missing is not None:
        return _wrong_tool(wanted, missing, found)
    # A call may be broken without an expected one to say so: `count` can ask for more of them.
    arguments = [_parse(call) for call in found]
    for call, parsed in zip(found, arguments, strict=True):
        if isinstance(parsed, str):
            return no(TOOL_CALLS, Kind.BAD_ARGUMENTS, f"{_short(call.name, 24)}: {parsed}")

    def same_call(one: int, other: int) -> bool:
        return same_name(one, other) and _mismatch(wanted[one], arguments[other]) is None

    missing = first_unmatched(len(wanted), len(found), same_call, order)
    if missing is None:
        return None
    return _bad_arguments(wanted[missing], found, arguments)


def _matched(wanted: Sequence[WantedCall], found: Sequence[ToolCall], order: Order) -> int:
    arguments = [_parse(call) for call in found]

    def fits(one: int, other: int) -> bool:
        call, values = wanted[one], arguments[other]
        same_name = call.name == found[other].name
        return same_name and not isinstance(values, str) and _mismatch(call, values) is None

    return most_matched(len(wanted), len(found), fits, order)


def _parse(call: ToolCall) -> dict[str, Any] | str:
    """Return a call's arguments, or why they are none. No text at all means no arguments.

    Numbers that JSON lacks (`NaN`) pass, as they do in `json.loads`, which users' own code calls.
    """
    text = as_text(call.arguments or "")
    if not text.strip():
        return {}
    try:
        value = read_json(text, constants=True)
    except ValueError:
        return f"expected arguments in JSON, found {shown(text, FOUND_CHARS)}"
    if not isinstance(value, dict):
        return f"expected arguments as a JSON object, found {shown(value, FOUND_CHARS)}"
    return value


def _mismatch(wanted: WantedCall, arguments: Any) -> str | None:
    for name, match in wanted.arguments.items():
        if name not in arguments:
            return f"expected an argument {name}, found {_names(arguments) or 'no arguments'}"
        reason = match(arguments[name])
        if reason is not None:
            return f"{name}: {reason}"
    return None


def _bad_arguments(
    wanted: WantedCall, found: Sequence[ToolCall], arguments: Sequence[Any]
) -> Verdict:
    """Name the first call of the right tool whose arguments do not match.

    Where each would match alone, it is the order, or another expected call that takes it.
    """
    reasons = (
        _mismatch(wanted, values)
        for call, values in zip(found, arguments, strict=True)
        if call.name == wanted.name
    )
    reason = next((reason for reason in reasons if reason is not None), None)
    said = reason or "expected one more call like this, or another order"
    return no(TOOL_CALLS, Kind.BAD_ARGUMENTS, f"{one_line(wanted.name, 24)}: {said}")


def _wrong_tool(wanted: Sequence[WantedCall], missing: int, found: Sequence[ToolCall]) -> Verdict:
    name = one_line(wanted[missing].name, EXPECTED_CHARS)
    calls = one_line(_names(call.name for call in found), FOUND_CHARS)
    return no(TOOL_CALLS, Kind.WRONG_TOOL, f"expected a call of {name}, found {calls}")


def _miscounted(
    wanted: Sequence[WantedCall], allowed: range, reply: ChatReply, find: Finder
) -> Verdict:
    if allowed.stop == 1:
        return _unwanted(TOOL_CALLS, reply)
    names = one_line(_names(call.name for call in wanted), EXPECTED_CHARS)
    expected = _counted(allowed) + (f" ({names})" if names else "")
    if not reply.tool_calls:
        content = reply.content if isinstance(reply.content, str) else ""
        if (written := call_in_answer(content, find)) is not None:
            name = one_line(written.name, EXPECTED_CHARS // 2)
            found = f"found {name} written into the content ({written.notation})"
            return no(TOOL_CALLS, Kind.CALL_IN_CONTENT, f"expected {expected}, {found}")
        found = f"found none; content {shown(reply.content, FOUND_CHARS)}"
        return no(TOOL_CALLS, Kind.NO_TOOL_CALL, f"expected {expected}, {found}")
    calls = one_line(_names(call.name for call in reply.tool_calls), FOUND_CHARS)
    found = f"found {len(reply.tool_calls)} ({calls})"
    return no(TOOL_CALLS, Kind.WRONG_CALL_COUNT, f"expected {expected}, {found}")


def _counted(allowed: range) -> str:
    least, most = allowed.start, allowed.stop - 1
    said = f"{least} to {most}"
    if least == most:
        said = f"{most}"
    elif most == MANY:
        said, most = f"at least {least}", least
    elif least == 0:
        said = f"at most {most}"
    return f"{said} {'call' if most == 1 else 'calls'}"


def _unwanted(check: str, reply: ChatReply) -> Verdict:
    call = reply.tool_calls[0]
    found = f"{len(reply.tool_calls)}: {_short(call.name, 24)}({_short(call.arguments, 40)})"
    return no(check, Kind.UNWANTED_TOOL_CALL, f"expected no tool call, found {found}")


def _names(names: Iterable[str]) -> str:
    return ", ".join(map(as_text, names))


def _short(text: str, limit: int) -> str:
    return one_line(as_text(text), limit)
