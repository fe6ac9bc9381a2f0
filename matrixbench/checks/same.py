"""The check that a reply is equal to another cell's: `same_as`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from matrixbench.checks.json_values import json_equal, read_json
from matrixbench.checks.matchers import guarded
from matrixbench.checks.verdicts import as_text, no, one_line, shown, yes
from matrixbench.identity import canonical_json
from matrixbench.records import Kind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matrixbench.checks.verdicts import Judging, Reference
    from matrixbench.records import ChatReply, ToolCall, Verdict

SAME_AS = "same_as"

SHOWN_BEFORE = 6
"""Characters that are shown before the first one that differs."""

SHOWN_AFTER = 16
"""Characters that are shown from there on."""


def reference_key(axes: Mapping[str, Any]) -> str:
    """Return what stands for the axes of a `same_as` by content."""
    return canonical_json(dict(axes))


def named_cell(axes: Mapping[str, Any]) -> str:
    """Return the axes of a `same_as` as people read them."""
    return ", ".join(
        f"{axis}={value if isinstance(value, str) else canonical_json(value)}"
        for axis, value in axes.items()
    )


def compile_same_as(axes: Mapping[str, Any]) -> Judging:
    """Return the rule that a reply is equal to the one that it is compared with."""
    key, name = reference_key(axes), one_line(named_cell(axes), 32)
    passed = yes(SAME_AS)

    def judging(reply: ChatReply, reference: Reference) -> Verdict:
        expected = reference(key)

        def rule(found: ChatReply) -> Verdict:
            said = difference(expected, found)
            if said is None:
                return passed
            return no(SAME_AS, Kind.UNLIKE_REFERENCE, f"unlike {name}: {said}")

        return guarded(rule, Kind.UNLIKE_REFERENCE)(reply)

    return judging


def difference(expected: ChatReply, found: ChatReply) -> str | None:
    """Return the first place where two replies differ, or None.

    Compared are the reasoning, the text and the tool calls, these by name and by the value of
    their arguments. No text and an empty one are the same.
    """
    for name, one, other in (
        ("reasoning", expected.reasoning, found.reasoning),
        ("content", expected.content, found.content),
    ):
        if (one or "") != (other or ""):
            return f"{name} {_first_difference(as_text(one or ''), as_text(other or ''))}"
    if len(expected.tool_calls) != len(found.tool_calls):
        count = len(expected.tool_calls)
        calls = f"{count or 'no'} {'call' if count == 1 else 'calls'}{_names(expected)}"
        return f"expected {calls}, found {len(found.tool_calls) or 'none'}{_names(found)}"
    for number, (call, other_call) in enumerate(
        zip(expected.tool_calls, found.tool_calls, strict=True), 1
    ):
        if not _same_call(call, other_call):
            return f"call {number}: expected {_call(call)}, found {_call(other_call)}"
    return None


def _first_difference(expected: str, found: str) -> str:
    at = _common(expected, found)
    return f"at character {at + 1}: expected {_around(expected, at)}, found {_around(found, at)}"


def _common(one: str, other: str) -> int:
    """Return how many characters two texts begin with alike."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[:middle] == other[:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _around(text: str, at: int) -> str:
    if at >= len(text):
        return "its end" if text else "none"
    begin = max(0, at - SHOWN_BEFORE)
    more = "…" if at + SHOWN_AFTER < len(text) else ""
    return shown(f"{'…' if begin else ''}{text[begin : at + SHOWN_AFTER]}{more}", 40)


def _same_call(one: ToolCall, other: ToolCall) -> bool:
    if one.name != other.name:
        return False
    if one.arguments == other.arguments:
        return True
    try:
        return json_equal(_arguments(one), _arguments(other))
    except ValueError:
        return False


def _arguments(call: ToolCall) -> object:
    return read_json(as_text(call.arguments or "{}"), constants=True)


def _call(call: ToolCall) -> str:
    return f"{one_line(as_text(call.name), 16)}({one_line(as_text(call.arguments), 24)})"


def _names(reply: ChatReply) -> str:
    names = ", ".join(as_text(call.name) for call in reply.tool_calls)
    return f" ({one_line(names, 24)})" if names else ""
