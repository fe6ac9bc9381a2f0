"""What the check of a reply's text says."""

from __future__ import annotations

import pytest

from matrixbench.checks.content import compile_content
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
