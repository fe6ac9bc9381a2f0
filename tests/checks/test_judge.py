"""What all checks of a test make of one reply."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from matrixbench.checks.judge import (
    CHECKS_VERSION,
    Checks,
    NamedRule,
    checks_digest,
    compile_checks,
)
from matrixbench.errors import CheckError
from matrixbench.records import ChatReply, Judgement, Kind, Outcome, Timing, ToolCall, Turn, Verdict
from matrixbench.spec.checks import Check

if TYPE_CHECKING:
    from matrixbench.checks.verdicts import Reference

EXPECT: TypeAdapter[list[Check]] = TypeAdapter(list[Check])

ANY_TEXT = st.text(st.characters(exclude_categories=()))
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | ANY_TEXT,
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["x", "y", ""]), inner),
    max_leaves=6,
)
WRITTEN = ANY_TEXT | JSON_VALUES.map(json.dumps)
REPLIES = st.builds(
    ChatReply,
    message=st.just({}),
    content=st.none() | WRITTEN | WRITTEN.map("```json\n{}\n```".format),
    tool_calls=st.lists(
        st.builds(ToolCall, name=st.sampled_from(["a", "b"]) | ANY_TEXT, arguments=WRITTEN),
        max_size=4,
    ).map(tuple),
    finish_reason=st.sampled_from([None, "stop", "length", "tool_calls"]),
    reasoning=st.none() | WRITTEN,
    timing=st.just(Timing(latency_s=1.0)),
    earlier=st.lists(
        st.builds(
            Turn,
            reply=st.builds(
                ChatReply,
                message=st.just({}),
                content=st.none() | ANY_TEXT,
                timing=st.just(Timing(latency_s=1.0)),
            ),
            then=st.just(()),
        ),
        max_size=2,
    ).map(tuple),
)


def expect(*entries: object) -> list[Check]:
    """Return checks as a file would give them."""
    return EXPECT.validate_python(list(entries))


EVERY_FAMILY = [
    compile_checks(expect(*entries))
    for entries in (
        [{"tool_calls": [{"name": "a", "arguments": {"x": {"contains": "x", "type": "string"}}}]}],
        [{"tool_calls": {"calls": [{"name": "a"}, {"name": "b"}], "order": "any"}}],
        [{"tool_calls": {"calls": [{"name": "a", "arguments": {"x": {"y": [1]}}}], "count": 2}}],
        [{"no_tool_calls": True}, {"content": {"matches": "a|b", "ignoring": r"\s"}}],
        [{"content": "x"}, {"content": {"contains": ["x", "y"], "ignore_case": True}}],
        [{"json": True}],
        [{"json": {"schema": {"type": "object", "required": ["x"]}, "fenced": True}}],
        [{"json": {"paths": {"x[0].y": 1, "['']": {"length": {"min": 2}}, "x": {"number": 1}}}}],
        [{"content": {"number": {"value": 1, "tolerance": 0.1}}}],
        [{"content": {"number": {"max": 5, "in_text": "only"}, "length": {"max": 9}}}],
        [{"content": {"number": {"value": 1e300, "in_text": "last"}}}],
        [{"reasoning": {"number": {"min": 0, "in_text": "first"}}}, {"finish_reason": ["stop"]}],
        [{"tool_calls": {"calls": [{"name": "a"}], "at_least": 1}}],
        [{"tool_calls": {"calls": [{"name": "a"}, {"name": "b"}], "at_most": 3, "order": "any"}}],
        [{"latency_s": {"max": 0.5}}, {"not": {"content": {"matches": "a"}}}],
        [
            {
                "any": [
                    {"json": True},
                    {"not": {"no_tool_calls": True}},
                    {"content": "x"},
                    {"json": {}},
                ]
            }
        ],
        [{"all": [{"content": {"contains": "x"}}, {"tool_calls": []}], "turn": "every"}],
        [{"content": "x", "turn": 2}, {"content": "x", "turn": "any"}],
    )
]


def reply(content: str | None = None, finish_reason: str = "stop") -> ChatReply:
    """Return a reply with some content."""
    return ChatReply(
        message={}, content=content, finish_reason=finish_reason, timing=Timing(latency_s=1.0)
    )


def raising(error: Exception) -> NamedRule:
    """Return a rule that raises."""

    def rule(_: ChatReply, __: Reference) -> Verdict:
        raise error

    return NamedRule(name="broken", rule=rule)


def with_rules(checks: Checks, *more: NamedRule) -> Checks:
    """Return checks with more rules behind their own."""
    return replace(checks, rules=(*checks.rules, *more))


def test_a_reply_passes_where_every_check_passes() -> None:
    """There is no kind and no reason then, but a verdict of each check."""
    checks = compile_checks(expect({"no_tool_calls": True}, {"content": "x"}))
    assert checks.judge(reply("x")) == Judgement(
        outcome=Outcome.PASSED,
        verdicts=(
            Verdict(check="no_tool_calls", passed=True),
            Verdict(check="content", passed=True),
        ),
    )


def test_every_check_runs_and_the_first_no_gives_kind_and_reason() -> None:
    """A later no is still in the verdicts."""
    checks = compile_checks(expect({"no_tool_calls": True}, {"content": "x"}, {"json": True}))
    judgement = checks.judge(reply("y"))
    assert (judgement.outcome, judgement.kind) == (Outcome.FAILED, Kind.WRONG_CONTENT)
    assert judgement.reason == 'expected "x", found "y"'
    assert [verdict.kind for verdict in judgement.verdicts] == [
        None,
        Kind.WRONG_CONTENT,
        Kind.NOT_JSON,
    ]


def test_without_checks_every_reply_passes() -> None:
    """Nothing was asked of it."""
    assert compile_checks([]).judge(reply()).outcome is Outcome.PASSED


def test_a_no_to_a_reply_that_was_cut_off_is_truncated() -> None:
    """The reason still says what was missing."""
    judgement = compile_checks(expect({"content": "x"})).judge(reply("y", "length"))
    assert (judgement.outcome, judgement.kind) == (Outcome.FAILED, Kind.TRUNCATED)
    assert judgement.reason == 'cut off: expected "x", found "y"'


def test_a_reply_that_was_cut_off_may_pass() -> None:
    """The cut is no failure by itself."""
    judgement = compile_checks(expect({"content": "x"})).judge(reply("x", "length"))
    assert judgement.outcome is Outcome.PASSED


def test_a_no_to_a_conversation_that_was_stopped_says_so() -> None:
    """What `max_turns` cut off is told from what the model brought to its end."""
    stopped = replace(reply("y"), turn_limit=True)
    judgement = compile_checks(expect({"content": "x"})).judge(stopped)
    assert (judgement.outcome, judgement.kind) == (Outcome.FAILED, Kind.TURN_LIMIT)
    assert judgement.reason == 'stopped at max_turns: expected "x", found "y"'
    assert compile_checks(expect({"content": "y"})).judge(stopped).outcome is Outcome.PASSED


@pytest.mark.parametrize("error", [ValueError("odd"), RecursionError("deep"), KeyError("x")])
def test_a_check_that_raises_makes_the_trial_errored(error: Exception) -> None:
    """It counts neither for nor against the model, whatever the other checks say."""
    checks = with_rules(compile_checks(expect({"content": "x"})), raising(error))
    for content in ("x", "y"):
        judgement = checks.judge(reply(content))
        assert (judgement.outcome, judgement.kind) == (Outcome.ERRORED, Kind.CHECK_RAISED)
        assert type(error).__name__ in judgement.reason
        assert len(judgement.verdicts) == 2


def test_a_raising_check_is_not_excused_by_the_cut() -> None:
    """Its kind stays `check_raised` where the reply was cut off."""
    checks = with_rules(compile_checks([]), raising(ValueError("odd")))
    assert checks.judge(reply("x", "length")).kind is Kind.CHECK_RAISED


def test_a_schema_never_fetches_what_it_names() -> None:
    """A reference to elsewhere raises at once; nothing goes over the network."""
    checks = compile_checks(expect({"json": {"schema": {"$ref": "http://127.0.0.1:9/x"}}}))
    assert checks.judge(reply("1")).kind is Kind.CHECK_RAISED


def test_the_digest_stands_for_the_checks_content() -> None:
    """Equal checks have one digest; another value, order or a null gives another."""
    digests = [
        checks_digest(expect(*entries))
        for entries in (
            [{"content": "x"}],
            [{"content": {"equals": "x"}}],
            [{"content": {"equals": None}}],
            [{"content": "x"}, {"no_tool_calls": True}],
            [{"no_tool_calls": True}, {"content": "x"}],
            [{"json": True}],
            [{"json": {"schema": {"type": "object"}}}],
            [],
        )
    ]
    assert len(set(digests)) == len(digests)
    assert compile_checks(expect({"content": "x"})).digest == digests[0]


def test_the_digest_is_pinned() -> None:
    """If this changes, stored replies are judged again: raise CHECKS_VERSION when that is meant."""
    assert (CHECKS_VERSION, checks_digest(expect({"content": "x"}))) == (
        3,
        "c401db15ab919e52f843140c",
    )


@pytest.mark.parametrize(("pattern", "again"), [(r"0\.5\b", True), (r"0\.5$", False)])
def test_patterns_with_classes_are_judged_again(
    monkeypatch: pytest.MonkeyPatch, pattern: str, *, again: bool
) -> None:
    """Which characters a class takes has changed once: no other check's replies are concerned."""
    now = checks_digest(expect({"content": {"matches": pattern}}))
    monkeypatch.setattr("matrixbench.checks.judge._CLASSES_VERSION", 1)
    assert (checks_digest(expect({"content": {"matches": pattern}})) != now) is again


def test_a_value_that_json_cannot_say_is_an_error() -> None:
    """No reply could ever equal NaN."""
    with pytest.raises(CheckError, match="JSON cannot say"):
        compile_checks(expect({"content": {"equals": float("nan")}}), where="nan-test")


def test_an_error_names_the_test_and_the_place() -> None:
    """The place is written as in the file."""
    with pytest.raises(CheckError) as caught:
        compile_checks(
            expect({"no_tool_calls": True}, {"content": {"matches": "("}}), where="capital"
        )
    assert caught.value.where == "capital: expect[1].content.matches"


@given(REPLIES)
def test_no_reply_makes_a_shipped_check_raise(reply: ChatReply) -> None:
    """Whatever a model writes is judged, with a reason that fits on a line and can be stored."""
    for checks in EVERY_FAMILY:
        judgement = checks.judge(reply)
        assert judgement.outcome in {Outcome.PASSED, Outcome.FAILED}
        assert (judgement.kind is None) == (judgement.outcome is Outcome.PASSED)
        for verdict in judgement.verdicts:
            assert len(verdict.reason) <= 120
            assert verdict.reason.isprintable()
