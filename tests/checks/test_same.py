"""The check that a reply is equal to another cell's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from matrixbench.checks.judge import compile_checks
from matrixbench.checks.same import difference, reference_key
from matrixbench.records import ChatReply, Judgement, Kind, Outcome, Timing, ToolCall, Turn
from matrixbench.spec.checks import Check

if TYPE_CHECKING:
    from matrixbench.checks.verdicts import Reference

EXPECT: TypeAdapter[list[Check]] = TypeAdapter(list[Check])
AXES = {"backend": "baseline"}
SAME = {"same_as": AXES}


def reply(
    content: str | None = None,
    *calls: tuple[str, str],
    reasoning: str | None = None,
    finish_reason: str = "stop",
    earlier: tuple[Turn, ...] = (),
) -> ChatReply:
    """Return a reply; each call is a name and the text of its arguments."""
    return ChatReply(
        message={},
        content=content,
        reasoning=reasoning,
        tool_calls=tuple(ToolCall(name=name, arguments=text) for name, text in calls),
        finish_reason=finish_reason,
        earlier=earlier,
        timing=Timing(latency_s=1.0),
    )


REPLIES = st.builds(
    reply,
    st.none() | st.text("ab", max_size=4),
    reasoning=st.none() | st.text("ab", max_size=2),
)


def reference(other: ChatReply) -> Reference:
    """Return a reference to one reply, whatever is asked for."""

    def found(key: str) -> ChatReply:
        assert key == reference_key(AXES)
        return other

    return found


def judge(check: dict[str, Any], said: ChatReply, other: ChatReply) -> Judgement:
    """Return what a check makes of a reply beside another one."""
    return compile_checks(EXPECT.validate_python([check])).judge(said, reference(other))


@given(REPLIES, REPLIES)
def test_being_equal_is_symmetric_and_a_reply_is_equal_to_itself(
    one: ChatReply, other: ChatReply
) -> None:
    """No text and an empty one are the same."""
    assert difference(one, one) is None
    assert (difference(one, other) is None) == (difference(other, one) is None)
    texts = [(said.content or "", said.reasoning or "") for said in (one, other)]
    assert (difference(one, other) is None) == (texts[0] == texts[1])


@given(st.text(), st.text(), st.text())
def test_the_first_sign_that_differs_is_named(begin: str, one: str, other: str) -> None:
    """It is counted from 1, and what both begin with is not what differs."""
    said = difference(reply(f"{begin}{one}"), reply(f"{begin}{other}"))
    if one == other:
        assert said is None
        return
    assert said is not None
    at = int(said.removeprefix("content at character ").partition(":")[0]) - 1
    first, second = f"{begin}{one}", f"{begin}{other}"
    assert first[:at] == second[:at]
    assert first[at : at + 1] != second[at : at + 1]


@pytest.mark.parametrize(
    ("expected", "found", "reason"),
    [
        (
            reply("It is Paris, the capital of France."),
            reply("It is Rome, the capital of Italy, and more."),
            (
                'content at character 7: expected "It is Paris, the capit…", '
                'found "It is Rome, the capita…"'
            ),
        ),
        (
            reply("short"),
            reply("short and long"),
            'content at character 6: expected its end, found "short and long"',
        ),
        (reply(None), reply("x"), 'content at character 1: expected none, found "x"'),
        (
            reply("x", reasoning="so"),
            reply("y", reasoning="no"),
            'reasoning at character 1: expected "so", found "no"',
        ),
        (
            reply(None, ("a", "{}"), ("b", "{}")),
            reply(None, ("a", "{}")),
            "expected 2 calls (a, b), found 1 (a)",
        ),
        (reply(None, ("a", "{}")), reply(None), "expected 1 call (a), found none"),
        (
            reply(None, ("a", '{"x": 1}')),
            reply(None, ("a", '{"x": 2}')),
            'call 1: expected a({"x": 1}), found a({"x": 2})',
        ),
        (reply(None, ("a", "{}")), reply(None, ("b", "{}")), "call 1: expected a({}), found b({})"),
        (reply(None, ("a", "{")), reply(None, ("a", "[")), "call 1: expected a({), found a([)"),
    ],
)
def test_the_reason_shows_the_first_place_that_differs(
    expected: ChatReply, found: ChatReply, reason: str
) -> None:
    """What the other cell said is expected."""
    assert difference(expected, found) == reason


@pytest.mark.parametrize(
    ("one", "other"),
    [('{"x": 1, "y": [2]}', '{"y":[2.0],"x":1}'), ("", "{}"), ("{", "{")],
)
def test_arguments_are_compared_by_value(one: str, other: str) -> None:
    """White space and the order of names make no difference; text that is no JSON is text."""
    assert difference(reply(None, ("a", one)), reply(None, ("a", other))) is None


def test_a_reply_that_is_unlike_its_reference_fails() -> None:
    """The reason names the cell that it is compared with."""
    judgement = judge(SAME, reply("Rome"), reply("Paris"))
    assert (judgement.outcome, judgement.kind) == (Outcome.FAILED, Kind.UNLIKE_REFERENCE)
    assert judgement.reason == (
        'unlike backend=baseline: content at character 1: expected "Paris", found "Rome"'
    )
    assert judge(SAME, reply("Paris"), reply("Paris")).outcome is Outcome.PASSED


def test_being_cut_off_is_no_excuse() -> None:
    """Both were, or neither should have been."""
    judgement = judge(SAME, reply("Rome", finish_reason="length"), reply("Paris"))
    assert judgement.kind is Kind.UNLIKE_REFERENCE


def test_without_a_reference_nothing_is_measured() -> None:
    """The trial is errored, however deep the comparison stands."""
    for check in (SAME, {"not": SAME}, {"any": [{"content": "x"}, SAME]}):
        judgement = compile_checks(EXPECT.validate_python([check])).judge(reply("x"))
        assert (judgement.outcome, judgement.kind) == (Outcome.ERRORED, Kind.NO_REFERENCE)


def test_a_turn_is_compared_with_the_same_turn() -> None:
    """The other conversation's reply of that number; one that it has not is no reference."""
    talk = reply("two", earlier=(Turn(reply=reply("one"), then=()),))
    other = reply("zwei", earlier=(Turn(reply=reply("one"), then=()),))
    assert judge({**SAME, "turn": 1}, talk, other).outcome is Outcome.PASSED
    assert judge({**SAME, "turn": "every"}, talk, other).kind is Kind.UNLIKE_REFERENCE
    assert judge({**SAME, "turn": 2}, talk, reply("two")).kind is Kind.NO_REFERENCE
    assert judge({"not": SAME}, talk, other).outcome is Outcome.PASSED
