"""What the checks make of reasoning and calls that stand in the content."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from matrixbench.checks.judge import Checks, compile_checks
from matrixbench.execution.conversation import history
from matrixbench.records import ChatReply, Kind, Outcome, Timing, ToolCall, Turn
from matrixbench.spec.checks import ALL_MARKS, Check
from matrixbench.store.encoding import judgement_values, notes_from, verdicts_from

if TYPE_CHECKING:
    from matrixbench.records import Judgement

EXPECT: TypeAdapter[list[Check]] = TypeAdapter(list[Check])
TOOLS = [{"type": "function", "function": {"name": "get_weather"}}]

THOUGHT = "<think>Not Paris. Rome? No, they ask for JSON.</think>\n\n"
CALL = '<tool_call>{"name": "get_weather", "arguments": {"city": "Rome"}}</tool_call>'
WEATHER: dict[str, Any] = {"tool_calls": [{"name": "get_weather"}]}


def checks(*entries: object) -> Checks:
    """Return checks as a test with a tool would have them."""
    return compile_checks(EXPECT.validate_python(list(entries)), tools=TOOLS)


def reply(content: str | None, **fields: Any) -> ChatReply:
    """Return a reply with some content."""
    return ChatReply(message={}, content=content, timing=Timing(latency_s=1.0), **fields)


def judged(content: str | None, *entries: object, **fields: Any) -> Judgement:
    """Return what checks make of a content."""
    return checks(*entries).judge(reply(content, **fields))


def kinds(judgement: Judgement) -> list[Kind]:
    """Return the kinds of a judgement's notes."""
    return [note.kind for note in judgement.notes]


@pytest.mark.parametrize(
    ("content", "entry"),
    [
        (f"{THOUGHT}Rome", {"content": "Rome"}),
        ("Not Paris.\n</think>\n\nRome", {"content": {"matches": "^Rome$"}}),
        (f'{THOUGHT}{{"name": "Alice"}}', {"json": {"paths": {"name": "Alice"}}}),
        (f"{THOUGHT}[1]", {"json": {"schema": {"type": "array"}}}),
        (f"{THOUGHT}42", {"content": {"number": 42}}),
        (f"{THOUGHT}Rome", {"reasoning": {"contains": "Paris"}}),
        (f"{THOUGHT}Rome", {"reasoning": {"contains": "what it does not hold"}}),
        ("<think>Not Paris.", {"content": ""}),
        (f"{THOUGHT}Rome", {"not": {"content": {"contains": "Paris"}}}),
        (f"{THOUGHT}Rome", {"not": {"any": [{"json": True}, {"content": {"contains": "No"}}]}}),
        (f"{THOUGHT}Rome", {"all": [{"no_tool_calls": True}, {"content": "Rome"}]}),
        ("[THINK]Hm.[/THINK]Rome", {"content": "Rome"}),
    ],
)
def test_a_check_of_the_text_that_fails_for_it_says_so(content: str, entry: object) -> None:
    """It would pass if reasoning and answer were apart, or what it misses is in the content."""
    judgement = judged(content, entry)
    assert (judgement.outcome, judgement.kind) == (Outcome.FAILED, Kind.REASONING_IN_CONTENT)
    assert "reasoning in the content: " in judgement.reason
    assert kinds(judgement) == [Kind.REASONING_IN_CONTENT]


@pytest.mark.parametrize(
    ("content", "entry", "kind"),
    [
        (f"{THOUGHT}Milan", {"content": "Rome"}, Kind.WRONG_CONTENT),
        (f"{THOUGHT}Milan", {"json": True}, Kind.NOT_JSON),
        (f"{THOUGHT}Milan", {"finish_reason": "stop"}, Kind.WRONG_FINISH_REASON),
        (f"{THOUGHT}Milan", {"not": {"content": {"contains": "Milan"}}}, Kind.UNWANTED),
        ("Use `</think>`.", {"content": "Use."}, Kind.WRONG_CONTENT),
    ],
)
def test_an_answer_that_is_wrong_without_it_keeps_its_kind(
    content: str, entry: object, kind: Kind
) -> None:
    """The reasoning is not to blame."""
    assert judged(content, entry).kind is kind


def test_what_passes_is_noted_all_the_same() -> None:
    """`contains` sees what a user would see, and nobody overlooks that it may be a thought."""
    judgement = judged(f"{THOUGHT}Milan", {"content": {"contains": "Rome"}})
    assert judgement.outcome is Outcome.PASSED
    assert [note.text for note in judgement.notes] == [
        (
            "<think>…</think>: 39 of 61 characters; the checks see it as content; "
            "reasoning_in_content: [think] takes it apart"
        )
    ]
    assert kinds(judged(f"{THOUGHT}Milan")) == [Kind.REASONING_IN_CONTENT]
    assert judged("Milan", {"content": "Milan"}).notes == ()


def test_a_reply_that_was_cut_off_says_so_first() -> None:
    """An open thought is most often one that ran into `max_tokens`."""
    judgement = judged("<think>Not Paris.", {"content": "Rome"}, finish_reason="length")
    assert judgement.kind is Kind.TRUNCATED
    assert "never closed" in judgement.notes[0].text


def test_taken_apart_the_checks_see_each_part() -> None:
    """The note stays, and says that it was done."""
    found = checks({"content": "Rome"}, {"reasoning": {"contains": "Paris"}}).taking_apart(
        ("think",)
    )
    judgement = found.judge(reply(f"{THOUGHT}Rome"))
    assert judgement.outcome is Outcome.PASSED
    assert judgement.notes[0].text.endswith("; taken apart before the checks")
    wrong = found.judge(reply(f"{THOUGHT}Milan"))
    assert wrong.kind is Kind.WRONG_CONTENT
    other = found.judge(reply("[THINK]Paris?[/THINK]Rome"))
    assert other.kind is Kind.REASONING_IN_CONTENT
    assert "reasoning_in_content: [mistral]" in other.notes[0].text


def test_the_marks_are_part_of_the_checks_digest() -> None:
    """Only where there are any: all other stored verdicts stay as they are."""
    plain = checks({"content": "Rome"})
    assert plain.taking_apart(()) is plain
    digests = [
        plain.digest,
        plain.taking_apart(("think",)).digest,
        plain.taking_apart(("think", "seed")).digest,
        plain.taking_apart(ALL_MARKS).digest,
    ]
    assert len(set(digests)) == len(digests)
    assert plain.taking_apart(("think",)).digest == digests[1]


def test_every_turn_of_a_conversation_is_looked_at() -> None:
    """The note says which, and what goes back to the server is what came from it."""
    before = Turn(reply=reply(f"{THOUGHT}Rome"), then=({"role": "user", "content": "And?"},))
    said = reply("Milan", earlier=(before,))
    found = checks({"content": "Rome", "turn": 1}, {"content": "Milan"})
    judgement = found.judge(said)
    assert judgement.kind is Kind.REASONING_IN_CONTENT
    assert judgement.notes[0].text.startswith("turn 1: <think>…</think>: ")
    assert found.taking_apart(("think",)).judge(said).outcome is Outcome.PASSED
    assert history(said.earlier)[0]["content"] == f"{THOUGHT}Rome"


def test_a_call_in_the_text_is_a_kind_of_its_own() -> None:
    """The model did call; what is missing is the server's part."""
    judgement = judged(CALL, WEATHER)
    assert (judgement.outcome, judgement.kind) == (Outcome.FAILED, Kind.CALL_IN_CONTENT)
    assert judgement.reason == (
        "expected 1 call (get_weather), found get_weather written into the content (Hermes)"
    )
    assert judgement.verdicts[0].score == 0.0
    assert [(note.kind, note.text) for note in judgement.notes] == [
        (
            Kind.CALL_IN_CONTENT,
            "get_weather, as Hermes writes calls; it is no call to whoever uses the server",
        )
    ]
    bare = '{"name": "get_weather", "parameters": {}}'
    assert judged(bare, WEATHER).kind is Kind.CALL_IN_CONTENT
    assert judged(bare.replace("get_weather", "get_stock"), WEATHER).kind is Kind.NO_TOOL_CALL
    assert judged("I would call get_weather.", WEATHER).kind is Kind.NO_TOOL_CALL
    assert judged(None, WEATHER).kind is Kind.NO_TOOL_CALL


def test_other_checks_keep_their_word_and_the_call_is_noted() -> None:
    """No call came by the API: `no_tool_calls` holds, and a count that is wrong stays one."""
    none = judged(CALL, {"no_tool_calls": True})
    assert (none.outcome, kinds(none)) == (Outcome.PASSED, [Kind.CALL_IN_CONTENT])
    calls = (ToolCall(name="get_weather", arguments="{}"),)
    two = judged(CALL, {"tool_calls": {"count": 2}}, tool_calls=calls)
    assert (two.kind, kinds(two)) == (Kind.WRONG_CALL_COUNT, [Kind.CALL_IN_CONTENT])
    any_of = judged(CALL, {"any": [WEATHER, {"content": "x"}]})
    assert any_of.kind is Kind.CALL_IN_CONTENT
    both = judged(f"{THOUGHT}{CALL}", WEATHER)
    assert both.kind is Kind.CALL_IN_CONTENT
    assert kinds(both) == [Kind.REASONING_IN_CONTENT, Kind.CALL_IN_CONTENT]


@given(st.lists(st.sampled_from([THOUGHT, CALL, "Rome", "\ud800", "</think>"]), max_size=4))
def test_notes_are_stored_beside_the_verdicts(pieces: list[str]) -> None:
    """And come back as they were; the verdicts know nothing of them."""
    judgement = judged("".join(pieces), {"content": "Rome"}, WEATHER)
    text = judgement_values(judgement, "c")[-1]
    assert verdicts_from(text) == judgement.verdicts
    assert notes_from(text) == judgement.notes
    for note in judgement.notes:
        assert note.text.isprintable()


def test_a_note_of_a_newer_version_is_passed_over() -> None:
    """It stands in no way of what this version knows."""
    text = '[{"check": "", "passed": true, "note": "of_tomorrow", "reason": "x"}]'
    assert (verdicts_from(text), notes_from(text)) == ((), ())
