"""What the checks of tool calls say of a reply."""

from __future__ import annotations

from itertools import combinations, permutations
from typing import TYPE_CHECKING, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from matrixbench.checks.tool_calls import (
    compile_no_tool_calls,
    compile_tool_calls,
    first_unmatched,
    most_matched,
)
from matrixbench.errors import CheckError
from matrixbench.records import ChatReply, Kind, Timing, ToolCall, Verdict
from matrixbench.spec.checks import ExpectedCall, ToolCalls

if TYPE_CHECKING:
    from collections.abc import Sequence

Found = tuple[str, str]

TABLES = st.tuples(st.integers(0, 4), st.integers(0, 5)).flatmap(
    lambda size: st.lists(
        st.lists(st.booleans(), min_size=size[1], max_size=size[1]),
        min_size=size[0],
        max_size=size[0],
    ).map(lambda rows: (size[1], rows))
)


def reply(*calls: Found, content: str | None = None) -> ChatReply:
    """Return a reply with some calls, each a name and the text of its arguments."""
    return ChatReply(
        message={},
        content=content,
        tool_calls=tuple(ToolCall(name=name, arguments=text) for name, text in calls),
        timing=Timing(latency_s=1.0),
    )


def call(name: str, **arguments: Any) -> ExpectedCall:
    """Return an expected call."""
    return ExpectedCall(name=name, arguments=arguments)


def bounded(calls: Sequence[ExpectedCall], **bounds: int) -> ToolCalls:
    """Return expected calls with bounds of their number in all."""
    return ToolCalls.model_validate({"calls": list(calls), **bounds})


def verdict(
    expected: Sequence[ExpectedCall],
    *found: Found,
    count: int | None = None,
    order: Literal["exact", "any"] = "exact",
) -> Verdict:
    """Return what the check says of some calls."""
    rule = compile_tool_calls(ToolCalls(calls=list(expected), count=count, order=order))
    return rule(reply(*found))


def test_a_list_of_calls_is_exact_in_number_and_order() -> None:
    """The short form means the long form's defaults."""
    rule = compile_tool_calls([call("a"), call("b")])
    assert rule(reply(("a", "{}"), ("b", "{}"))).passed
    assert rule(reply(("b", "{}"), ("a", "{}"))).kind is Kind.WRONG_TOOL
    assert rule(reply(("a", "{}"))).kind is Kind.WRONG_CALL_COUNT


def test_content_beside_a_call_is_allowed() -> None:
    """The check looks at the calls alone."""
    assert compile_tool_calls([call("a")])(reply(("a", "{}"), content="Let me see.")).passed


def test_no_call_at_all_shows_the_content_instead() -> None:
    """The kind is `no_tool_call`, and the reason shows what the model wrote."""
    said = compile_tool_calls([call("a")])(reply(content="a()"))
    assert (said.kind, said.reason) == (
        Kind.NO_TOOL_CALL,
        'expected 1 call (a), found none; content "a()"',
    )


def test_too_many_calls_are_counted_before_anything_else() -> None:
    """The kind is `wrong_call_count`, with both numbers and the names."""
    said = verdict([call("a")], ("a", "{}"), ("b", "{}"))
    assert (said.kind, said.reason) == (
        Kind.WRONG_CALL_COUNT,
        "expected 1 call (a), found 2 (a, b)",
    )


def test_a_call_where_none_is_expected_is_unwanted() -> None:
    """An empty list, a count of 0 and `no_tool_calls` mean the same."""
    for rule in (compile_tool_calls([]), compile_no_tool_calls()):
        assert rule(reply(content="x")).passed
        said = rule(reply(("a", '{"x": 1}')))
        assert said.kind is Kind.UNWANTED_TOOL_CALL
        assert said.reason == 'expected no tool call, found 1: a({"x": 1})'


def test_another_tool_is_the_wrong_one() -> None:
    """The kind is `wrong_tool`, even where the arguments are wrong as well."""
    said = verdict([call("a", x=1)], ("b", "not JSON"))
    assert (said.kind, said.reason) == (Kind.WRONG_TOOL, "expected a call of a, found b")


@pytest.mark.parametrize(
    "text",
    ['{"x": 1', "x=1", "[1]", '"x"', "null", "1", "[" * 100_000, "1" * 5_000, '{"x": 1} {}'],
)
def test_arguments_that_are_no_json_object_are_bad(text: str) -> None:
    """It makes no difference whether an argument is expected, or how the text is broken."""
    assert verdict([call("a")], ("a", text)).kind is Kind.BAD_ARGUMENTS


@pytest.mark.parametrize("text", ["", " \n", "{}"])
def test_no_arguments_may_be_written_as_nothing(text: str) -> None:
    """Servers send an empty text for a tool that takes none."""
    assert verdict([call("a")], ("a", text)).passed
    assert verdict([call("a", x=1)], ("a", text)).kind is Kind.BAD_ARGUMENTS


def test_arguments_that_nothing_is_said_of_may_be_anything() -> None:
    """Only the named ones are compared."""
    assert verdict([call("a", x=1)], ("a", '{"x": 1.0, "y": 2}')).passed


def test_a_missing_argument_is_named() -> None:
    """The reason names it and those that are there."""
    said = verdict([call("a", x=None)], ("a", '{"y": 2, "z": 3}'))
    assert (said.kind, said.reason) == (
        Kind.BAD_ARGUMENTS,
        "a: expected an argument x, found y, z",
    )


def test_a_wrong_argument_is_shown_with_what_was_expected() -> None:
    """The reason names tool and argument, and shows both sides."""
    said = verdict([call("a", x={"matches": "^I"})], ("a", '{"x": "İ"}'))
    assert (said.kind, said.reason) == (
        Kind.BAD_ARGUMENTS,
        'a: x: expected text that matches ^I, found "İ"',
    )


def test_the_first_call_that_differs_is_named() -> None:
    """A call further on that would fit does not draw the blame away from its place."""
    said = verdict([call("a", x=2), call("a")], ("a", '{"x": 1}'), ("a", '{"x": 2}'))
    assert said.reason == "a: x: expected 2, found 1"


def test_calls_that_nothing_asks_for_are_passed_over() -> None:
    """The earliest call that fits is taken, and those before it are spared."""
    said = verdict(
        [call("a", x=1), call("b"), call("a", y=1)],
        ("a", '{"y": 1}'),
        ("a", '{"x": 1, "y": 1}'),
        ("b", "{}"),
        ("a", '{"y": 1, "x": 1}'),
        ("a", '{"x": 1}'),
        count=5,
    )
    assert said.passed


def test_any_order_is_a_matching_and_not_first_come_first_served() -> None:
    """The call that only the narrow expectation takes is left for it."""
    wide, narrow = call("a"), call("a", x=1)
    assert verdict([wide, narrow], ("a", '{"x": 1}'), ("a", '{"x": 2}'), order="any").passed
    assert not verdict([wide, narrow], ("a", '{"x": 1}'), ("a", '{"x": 2}')).passed


def test_one_call_does_not_answer_two_expectations() -> None:
    """Each expected call needs one of its own."""
    said = verdict(
        [call("a", x=1), call("a", x=1), call("a")],
        ("a", '{"x": 1}'),
        ("a", '{"x": 2}'),
        ("a", '{"x": 3}'),
        order="any",
    )
    assert said.kind is Kind.BAD_ARGUMENTS
    assert said.reason == "a: x: expected 1, found 2"


def test_a_count_beyond_the_expected_calls_lets_others_stand_between() -> None:
    """The expected ones must still come in their order."""
    expected = [call("a"), call("b")]
    assert verdict(expected, ("a", "{}"), ("c", "{}"), ("b", "{}"), count=3).passed
    assert verdict(expected, ("b", "{}"), ("c", "{}"), ("a", "{}"), count=3).kind is Kind.WRONG_TOOL
    assert verdict([], ("c", "{}"), ("d", "{}"), count=2).passed


def test_a_count_below_the_expected_calls_is_an_error() -> None:
    """No reply could ever pass, so it is refused before anything is asked."""
    with pytest.raises(CheckError, match="no reply could pass"):
        compile_tool_calls(ToolCalls(calls=[call("a"), call("b")], count=1))


@pytest.mark.parametrize(
    ("bounds", "allowed"),
    [
        ({}, {2}),
        ({"count": 3}, {3}),
        ({"at_least": 2}, {2, 3, 4, 5}),
        ({"at_least": 3}, {3, 4, 5}),
        ({"at_most": 3}, {2, 3}),
        ({"at_least": 3, "at_most": 4}, {3, 4}),
    ],
)
def test_bounds_are_about_all_calls(bounds: dict[str, int], allowed: set[int]) -> None:
    """Those that are expected must be there in any case; others stand anywhere."""
    rule = compile_tool_calls(bounded([call("a"), call("b")], **bounds))
    for others in range(4):
        found = [("c", "{}"), ("a", "{}"), ("c", "{}"), ("b", "{}"), ("c", "{}")]
        names = [("a", "{}"), ("b", "{}")] if not others else found[: 3 + others]
        if len(names) >= 4 or not others:
            assert rule(reply(*names)).passed is (len(names) in allowed), names
    assert not rule(reply(*[("c", "{}")] * 3)).passed


@pytest.mark.parametrize(
    ("spec", "found", "reason"),
    [
        ({"at_least": 1}, 0, "expected at least 1 call, found none; content null"),
        ({"at_least": 2, "at_most": 3}, 1, "expected 2 to 3 calls, found 1 (c)"),
        ({"at_most": 1}, 2, "expected at most 1 call, found 2 (c, c)"),
        ({"at_most": 0}, 1, "expected no tool call, found 1: c({})"),
    ],
)
def test_a_wrong_number_of_calls_is_said(spec: dict[str, int], found: int, reason: str) -> None:
    """The bounds and the number that was found stand in the reason."""
    assert compile_tool_calls(bounded([], **spec))(reply(*[("c", "{}")] * found)).reason == reason


def test_at_most_allows_none() -> None:
    """Where no call is expected, none is needed."""
    assert compile_tool_calls(ToolCalls(at_most=2))(reply()).passed


@pytest.mark.parametrize(
    "spec",
    [
        {"count": 2, "at_least": 2},
        {"count": 2, "at_most": 2},
        {"at_most": 1},
        {"at_least": 1},
        {"at_least": 4, "at_most": 3},
    ],
)
def test_bounds_that_no_reply_could_meet_are_an_error(spec: dict[str, int]) -> None:
    """So are those that would say nothing."""
    with pytest.raises(CheckError):
        compile_tool_calls(bounded([call("a"), call("b")], **spec))


@pytest.mark.parametrize(
    ("found", "order", "score"),
    [
        ([("a", "{}"), ("b", "{}")], "exact", 1.0),
        ([("b", "{}"), ("a", "{}")], "exact", 0.5),
        ([("a", "{}")], "exact", 0.5),
        ([("a", "{"), ("b", "{}")], "any", 0.5),
        ([], "any", 0.0),
        ([("a", "{}"), ("b", "{}"), ("c", "{}"), ("c", "{}")], "any", 0.5),
    ],
)
def test_the_score_is_the_share_of_expected_calls(
    found: list[Found], order: Literal["exact", "any"], score: float
) -> None:
    """Calls too many count as expected ones that are missing."""
    assert verdict([call("a"), call("b")], *found, order=order).score == score


def test_a_wrong_matcher_is_named_with_its_place() -> None:
    """The place is that of the file's structure."""
    with pytest.raises(CheckError) as caught:
        compile_tool_calls([call("a"), call("a", x={"matches": "("})], where="expect[0].tool_calls")
    assert caught.value.where == "expect[0].tool_calls[1].arguments.x.matches"


@given(TABLES)
def test_any_order_equals_trying_every_assignment(table: tuple[int, list[list[bool]]]) -> None:
    """Calls match in any order exactly where some assignment of distinct calls fits."""
    found, rows = table
    possible = any(
        all(row[chosen] for row, chosen in zip(rows, choice, strict=True))
        for choice in permutations(range(found), len(rows))
    )
    missing = first_unmatched(len(rows), found, lambda one, other: rows[one][other], "any")
    assert (missing is None) == possible


@given(TABLES)
def test_exact_order_equals_trying_every_choice_in_order(
    table: tuple[int, list[list[bool]]],
) -> None:
    """Calls match in order exactly where some rising choice of calls fits."""
    found, rows = table
    possible = any(
        all(row[chosen] for row, chosen in zip(rows, choice, strict=True))
        for choice in combinations(range(found), len(rows))
    )
    missing = first_unmatched(len(rows), found, lambda one, other: rows[one][other], "exact")
    assert (missing is None) == possible


@given(TABLES, st.sampled_from(["exact", "any"]))
def test_as_many_match_as_in_the_best_choice(
    table: tuple[int, list[list[bool]]], order: Literal["exact", "any"]
) -> None:
    """The number of matched calls is the best over all choices."""
    found, rows = table
    choices = combinations if order == "exact" else permutations
    best = 0
    for size in range(len(rows) + 1):
        for chosen in combinations(rows, size):
            if any(
                all(row[place] for row, place in zip(chosen, places, strict=True))
                for places in choices(range(found), size)
            ):
                best = size
    matched = most_matched(len(rows), found, lambda one, other: rows[one][other], order)
    assert matched == best
    missing = first_unmatched(len(rows), found, lambda one, other: rows[one][other], order)
    assert (missing is None) == (matched == len(rows))
