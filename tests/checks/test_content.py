"""What the check of a reply's text says."""

from __future__ import annotations

import pytest

from matrixbench.checks.content import compile_content, compile_finish_reason, compile_reasoning
from matrixbench.errors import CheckError
from matrixbench.records import ChatReply, Kind, Timing, ToolCall
from matrixbench.spec.checks import Matcher


def reply(content: str | None) -> ChatReply:
    """Return a reply with some content and a call beside it."""
    return ChatReply(
        message={},
        content=content,
        tool_calls=(ToolCall(name="a", arguments="{}"),),
        timing=Timing(latency_s=1.0),
    )


def test_a_bare_text_is_the_exact_text() -> None:
    """Nothing is trimmed, and case counts."""
    rule = compile_content("Paris")
    assert rule(reply("Paris")).passed
    assert rule(reply("Paris.")).kind is Kind.WRONG_CONTENT
    assert rule(reply("paris")).kind is Kind.WRONG_CONTENT


def test_the_reason_shows_expected_and_found() -> None:
    """It can be read without the transcript."""
    said = compile_content(Matcher(contains="Paris"))(reply("It is\nRome."))
    assert said.reason == 'expected text with "Paris", found "It is\\nRome."'


@pytest.mark.parametrize("content", [None, ""])
def test_nothing_said_has_a_kind_of_its_own(content: str | None) -> None:
    """A model that is silent is told from one that is wrong."""
    said = compile_content(Matcher(contains="Paris"))(reply(content))
    assert said.kind is Kind.NO_CONTENT


def test_silence_may_be_what_is_expected() -> None:
    """No content is null, which differs from an empty text."""
    rule = compile_content(Matcher(one_of=["", None]))
    assert rule(reply(None)).passed
    assert rule(reply("")).passed
    assert not compile_content("")(reply(None)).passed


def test_a_wrong_matcher_is_an_error_with_its_place() -> None:
    """It is found before anything is asked."""
    with pytest.raises(CheckError) as caught:
        compile_content(Matcher(matches="("), where="expect[0].content")
    assert caught.value.where == "expect[0].content.matches"


def thought(reasoning: str | None, finish_reason: str | None = "stop") -> ChatReply:
    """Return a reply with some reasoning."""
    return ChatReply(
        message={},
        reasoning=reasoning,
        finish_reason=finish_reason,
        timing=Timing(latency_s=1.0),
    )


def test_reasoning_is_matched_apart_from_the_text() -> None:
    """It has kinds of its own, and none at all is null."""
    rule = compile_reasoning(Matcher(contains="so"))
    assert rule(thought("and so on")).passed
    said = rule(thought("hm"))
    assert (said.kind, said.reason) == (
        Kind.WRONG_REASONING,
        'expected text with "so", found "hm"',
    )
    assert rule(thought(None)).kind is Kind.NO_REASONING
    assert compile_reasoning(Matcher(equals=None))(thought(None)).passed


def test_a_finish_reason_is_a_text_or_one_of_several_or_a_matcher() -> None:
    """What the server said stands in the reason."""
    assert compile_finish_reason("stop")(thought(None)).passed
    assert compile_finish_reason(["length", "stop"])(thought(None)).passed
    assert compile_finish_reason(Matcher(matches="^st"))(thought(None)).passed
    said = compile_finish_reason(["length", "stop"])(thought(None, "tool_calls"))
    assert (said.kind, said.reason) == (
        Kind.WRONG_FINISH_REASON,
        'expected one of ["length", "stop"], found "tool_calls"',
    )
    assert not compile_finish_reason("stop")(thought(None, None)).passed
