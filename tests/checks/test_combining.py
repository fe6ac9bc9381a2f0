"""Checks made of checks, and checks of earlier replies."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from matrixbench.checks.judge import compile_checks
from matrixbench.records import ChatReply, Judgement, Kind, Outcome, Timing, ToolCall, Turn
from matrixbench.spec.checks import Check

EXPECT: TypeAdapter[list[Check]] = TypeAdapter(list[Check])
LETTERS = "abc"

LEAVES = st.sampled_from([{"content": {"contains": letter}} for letter in LETTERS])
CHECKS = st.recursive(
    LEAVES,
    lambda inner: (
        st.fixed_dictionaries({"all": st.lists(inner, min_size=1, max_size=3)})
        | st.fixed_dictionaries({"any": st.lists(inner, min_size=1, max_size=3)})
        | st.fixed_dictionaries({"not": inner})
    ),
    max_leaves=8,
)
CONTENTS = st.sets(st.sampled_from(LETTERS)).map(lambda letters: "".join(sorted(letters)))


def reply(content: str | None = None, *calls: str, finish_reason: str = "stop") -> ChatReply:
    """Return a reply that says something and calls some tools."""
    return ChatReply(
        message={},
        content=content,
        tool_calls=tuple(ToolCall(name=name, arguments="{}") for name in calls),
        finish_reason=finish_reason,
        timing=Timing(latency_s=1.0),
    )


def conversation(*contents: str) -> ChatReply:
    """Return the last reply of a conversation."""
    *earlier, last = (reply(content) for content in contents)
    return ChatReply(
        message={},
        content=last.content,
        timing=last.timing,
        finish_reason="stop",
        earlier=tuple(Turn(reply=turn, then=({"role": "user"},)) for turn in earlier),
    )


def judge(check: Any, said: ChatReply | str) -> Judgement:
    """Return what one check makes of a reply, or of a content."""
    checks = compile_checks(EXPECT.validate_python([check]))
    return checks.judge(reply(said) if isinstance(said, str) else said)


def passes(check: Any, said: ChatReply | str) -> bool:
    """Return whether one check passes."""
    return judge(check, said).outcome is Outcome.PASSED


def truth(check: dict[str, Any], content: str) -> bool:
    """Return what a check means, in Python's own words."""
    match check:
        case {"all": parts}:
            return all(truth(part, content) for part in parts)
        case {"any": parts}:
            return any(truth(part, content) for part in parts)
        case {"not": part}:
            return not truth(part, content)
        case _:
            return check["content"]["contains"] in content


@given(CHECKS, CONTENTS)
def test_combinators_mean_what_their_words_mean(check: dict[str, Any], content: str) -> None:
    """However they are nested."""
    assert passes(check, content) is truth(check, content)


@given(st.lists(CHECKS, min_size=1, max_size=3), CONTENTS)
def test_de_morgan_holds(parts: list[dict[str, Any]], content: str) -> None:
    """Not all is the same as any not, and not any the same as all not."""
    negated = [{"not": part} for part in parts]
    assert passes({"not": {"all": parts}}, content) is passes({"any": negated}, content)
    assert passes({"not": {"any": parts}}, content) is passes({"all": negated}, content)


@given(CHECKS, CONTENTS)
def test_scores_are_shares_that_fit_the_verdict(check: dict[str, Any], content: str) -> None:
    """A score is from 0 to 1; one that is not full is a no to `all`, none at all a no to `any`."""
    judgement = judge(check, content)
    (verdict,) = judgement.verdicts
    assert verdict.score is None or 0 <= verdict.score <= 1
    assert judgement.reason == "" or judgement.reason.isprintable()
    assert len(judgement.reason) <= 120
    if set(check) == {"all"} and all("content" in part for part in check["all"]):
        assert (verdict.score == 1) is verdict.passed
    if set(check) == {"any"} and all("content" in part for part in check["any"]):
        assert (verdict.score == 0) is not verdict.passed


def test_all_names_the_first_part_that_fails() -> None:
    """Its kind is that part's, the score the mean of the parts' scores."""
    judgement = judge({"all": [{"content": "x"}, {"json": True}, {"no_tool_calls": True}]}, "y")
    (verdict,) = judgement.verdicts
    assert judgement.kind is Kind.WRONG_CONTENT
    assert verdict.score == pytest.approx(1 / 3)
    assert judgement.reason == 'all[0] content: expected "x", found "y" (and 1 more)'


def test_any_shows_what_each_part_says() -> None:
    """The score is the best part's."""
    calls = {"tool_calls": {"calls": [{"name": "a"}, {"name": "b"}], "order": "any"}}
    judgement = judge({"any": [{"content": "x"}, calls]}, reply("y", "a", "c"))
    (verdict,) = judgement.verdicts
    assert (judgement.kind, verdict.score) == (Kind.WRONG_CONTENT, 0.5)
    assert judgement.reason == (
        'none of 2 holds: content: expected "x", found "y"; '
        "tool_calls: expected a call of b, found a, c"
    )


def test_not_shows_what_it_found() -> None:
    """The check that should not hold stands beside it."""
    judgement = judge({"not": {"content": {"contains": "sorry"}}}, "I am sorry.")
    assert (judgement.kind, judgement.reason) == (
        Kind.UNWANTED,
        'expected no content {"contains": "sorry"}, found "I am sorry."',
    )
    judgement = judge({"not": {"tool_calls": [{"name": "a"}]}}, reply("x", "a"))
    assert judgement.reason == 'expected no tool_calls [{"name": "a"}], found a'
    assert judgement.verdicts[0].score == 0.0


def test_a_part_that_cannot_say_makes_the_trial_errored() -> None:
    """Whatever the other parts say: the order of the parts makes no difference."""
    unknown = {"completion_tokens": {"max": 5}}
    for check in (
        {"any": [{"content": "x"}, unknown]},
        {"all": [unknown, {"content": "y"}]},
        {"not": unknown},
    ):
        judgement = judge(check, "x")
        assert (judgement.outcome, judgement.kind) == (Outcome.ERRORED, Kind.NOT_REPORTED)


def test_a_part_of_a_reply_that_was_cut_off_says_so() -> None:
    """The kind of the whole is that of the part."""
    said = reply("y", finish_reason="length")
    assert judge({"all": [{"content": "x"}]}, said).kind is Kind.TRUNCATED
    assert judge({"not": {"content": "y"}}, said).reason.startswith("cut off: expected no content")


TALK = conversation("one", "two", "three")


@pytest.mark.parametrize(
    ("check", "outcome"),
    [
        ({"content": "three"}, True),
        ({"content": "one", "turn": 1}, True),
        ({"content": "three", "turn": 3}, True),
        ({"content": "one", "turn": 2}, False),
        ({"content": {"contains": "o"}, "turn": "any"}, True),
        ({"content": {"contains": "o"}, "turn": "every"}, False),
        ({"content": {"matches": "^[a-z]+$"}, "turn": "every"}, True),
        ({"content": "four", "turn": "any"}, False),
        ({"not": {"content": "two", "turn": "any"}}, False),
        ({"not": {"content": "two"}, "turn": 1}, True),
        ({"all": [{"content": "one", "turn": 1}, {"content": "three"}]}, True),
        ({"all": [{"content": "one", "turn": 1}, {"content": "two"}], "turn": 2}, True),
        ({"all": [{"content": "three", "turn": 3}], "turn": 2}, False),
        ({"no_tool_calls": True, "turn": "every"}, True),
    ],
)
def test_a_turn_chooses_the_reply(check: dict[str, Any], outcome: bool) -> None:
    """Turns count from 1; what stands under a turn sees the conversation up to it."""
    assert passes(check, TALK) is outcome


@pytest.mark.parametrize(
    ("check", "kind", "reason"),
    [
        ({"content": "x", "turn": 2}, Kind.WRONG_CONTENT, 'turn 2: expected "x", found "two"'),
        (
            {"content": "x", "turn": "every"},
            Kind.WRONG_CONTENT,
            'turn 1: expected "x", found "one"',
        ),
        (
            {"content": "x", "turn": "any"},
            Kind.WRONG_CONTENT,
            'at none of 3 turns; turn 3: expected "x", found "three"',
        ),
        (
            {"content": "x", "turn": 4},
            Kind.NO_TURN,
            "expected a reply at turn 4, found 3 replies",
        ),
        (
            {"not": {"content": "x", "turn": 4}},
            Kind.NO_TURN,
            "expected a reply at turn 4, found 3 replies",
        ),
    ],
)
def test_a_turn_is_named_in_the_reason(check: dict[str, Any], kind: Kind, reason: str) -> None:
    """A turn that was never reached is a no, also to `not`."""
    judgement = judge(check, TALK)
    assert (judgement.kind, judgement.reason) == (kind, reason)


@pytest.mark.parametrize(
    ("turn", "name"),
    [(1, "content (turn 1)"), (4, "content (turn 4)"), ("any", "content (any turn)")],
)
def test_a_verdict_says_of_which_turn_it_is(turn: int | str, name: str) -> None:
    """Passed or not, it stands under the check's name and the turn."""
    for content in ("one", "x"):
        (verdict,) = judge({"content": content, "turn": turn}, TALK).verdicts
        assert verdict.check == name


def test_the_score_over_turns_is_the_mean_or_the_best() -> None:
    """`every` takes the mean of the turns, `any` the best; one reply alone has none to weigh."""
    every = judge({"content": "one", "turn": "every"}, TALK)
    assert every.verdicts[0].score == pytest.approx(1 / 3)
    assert judge({"content": "one", "turn": "any"}, TALK).verdicts[0].score == 1.0
    assert judge({"content": "one", "turn": "any"}, "one").verdicts[0].score is None


def test_a_reply_that_was_cut_off_at_another_turn_is_not_this_one() -> None:
    """`truncated` is said of the reply that the check looks at."""
    first = Turn(reply=reply("o", finish_reason="length"), then=())
    talk = ChatReply(
        message={},
        content="two",
        finish_reason="stop",
        timing=Timing(latency_s=1.0),
        earlier=(first,),
    )
    assert judge({"content": "one", "turn": 1}, talk).kind is Kind.TRUNCATED
    assert judge({"content": "one"}, talk).kind is Kind.WRONG_CONTENT
