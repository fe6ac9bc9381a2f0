"""Reasoning that was left in the content: what counts as such, and what it is split into."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from matrixbench.checks.reasoning import TABLE, Code, Role, split_content, taken_apart
from matrixbench.records import ChatReply, Timing, Turn
from matrixbench.spec.checks import ALL_MARKS, marks_of

PAGE = (Path(__file__).parents[2] / "docs" / "checks.md").read_text("utf-8")

PAIRS = [
    ("think", "<think>", "</think>"),
    ("think", "<THINK>", "</Think>"),
    ("thinking", "<thinking>", "</thinking>"),
    ("thought", "<thought>", "</thought>"),
    ("thought", "<Thoughts>", "</Thoughts>"),
    ("reasoning", "<reasoning>", "</reasoning>"),
    ("pipes", "<|thinking|>", "<|/thinking|>"),
    ("pipes", "<|think|>", "</|think|>"),
    ("pipes", "<|thought|>", "<|/thought|>"),
    ("mistral", "[THINK]", "[/THINK]"),
    ("seed", "<seed:think>", "</seed:think>"),
    ("kimi", "◁think▷", "◁/think▷"),
    ("cohere", "<|START_THINKING|>", "<|END_THINKING|>"),
    ("gemma", "<|channel>thought\n", "<channel|>"),
    ("medgemma", "<unused94>thought\n", "<unused95>"),
    ("apertus", "<|inner_prefix|>", "<|inner_suffix|>"),
    ("open-thoughts", "<|begin_of_thought|>", "<|end_of_thought|>"),
    ("minicpm", "<|thought_start|>", "<|thought_end|>"),
    ("longcat", "<longcat_think>", "</longcat_think>"),
    (
        "harmony",
        "<|channel|>analysis<|message|>",
        "<|end|><|start|>assistant<|channel|>final<|message|>",
    ),
]
BOTH_ONLY = [
    ("harmony", "analysis", "assistantfinal"),
    ("granite", "Here is my thought process:", "Here is my response:"),
]

ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=30)
PLAIN = st.text(st.characters(exclude_characters="<>[]|◁▷`~\"'«»“”„‘’"), max_size=30).filter(
    lambda text: not re.search(r"analysis|assistant|Here", text)
)
MARKS = st.sampled_from([mark for _, *pair in (*PAIRS, *BOTH_ONLY) for mark in pair])
MIXED = st.lists(MARKS | PLAIN | st.sampled_from(["```\n", "`", '"', "\n\n", " "]), max_size=8).map(
    "".join
)


def parts(content: str, *names: str) -> tuple[str, str] | None:
    """Return reasoning and answer of a content, or None where it stays whole."""
    split = split_content(content, names or ALL_MARKS)
    return None if split is None else (split.reasoning, split.answer)


@pytest.mark.parametrize(("name", "begin", "end"), [*PAIRS, *BOTH_ONLY])
def test_a_block_at_the_beginning_is_reasoning(name: str, begin: str, end: str) -> None:
    """Whatever white space stands around it; another name does not see it."""
    for content in (f"{begin}Not Paris.{end}\n\nRome", f"\n {begin}Not Paris.\n{end}Rome"):
        assert parts(content) == ("Not Paris.", "Rome")
        assert parts(content, name) == ("Not Paris.", "Rome")
        assert parts(content, *(set(ALL_MARKS) - {name})) is None


@pytest.mark.parametrize(("name", "begin", "end"), PAIRS)
def test_one_of_the_marks_may_be_missing(name: str, begin: str, end: str) -> None:
    """The template put the opening one into the prompt, or the reply was cut off."""
    assert parts(f"Not Paris.\n{end}\n\nRome", name) == ("Not Paris.", "Rome")
    assert parts(f"{end}Rome", name) == ("", "Rome")
    assert parts(f"{begin}Not Paris.", name) == ("Not Paris.", "")
    split = split_content(f"{begin}Not Paris.")
    assert split is not None
    assert split.is_open
    assert parts(f"{begin}\n\n{end}\n\nRome") == ("", "Rome")


@pytest.mark.parametrize(("name", "begin", "end"), BOTH_ONLY)
def test_marks_that_are_words_count_in_pairs_alone(name: str, begin: str, end: str) -> None:
    """An answer may begin or go on like this."""
    assert parts(f"{begin}Not Paris.", name) is None
    assert parts(f"Not Paris. {end} Rome", name) is None


@pytest.mark.parametrize(
    "content",
    [
        "",
        " \n",
        "Rome",
        "Rome<|end|>",
        "Use `<think>` to think, and `</think>` to stop.",
        'The mark is "</think>".',
        "The mark «</think>» ends it.",
        "```xml\n<think>hm</think>\n```\nThat is how it looks.",
        "Like this:\n```\n</think>\n```",
        "~~~\nhm</think>",
        "Sure: <think>hm</think> Rome",
        "Sure. [THINK]hm[/THINK] Rome",
        "<thinker>hm</thinker> Rome",
        "analysis of the data: fine",
        "I think </thinks> nothing",
    ],
)
def test_marks_elsewhere_are_text_like_any_other(content: str) -> None:
    """Quoted, in code, or in the middle of an answer."""
    assert parts(content) is None


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("<think>a</think>\n<think>b</think>c", ("a\n\nb", "c")),
        ("<think>a</think>\n</think>\nc", ("a", "c")),
        ("<think>a</think><thinking>b</thinking>c", ("a\n\nb", "c")),
        ("<think>the `</think>` mark</think>c", ("the `</think>` mark", "c")),
        ("<think>```\nopen</think>c", ("```\nopen", "c")),
        ("<think>a</think>c </think> d", ("a", "c </think> d")),
        ("a `<think>` mark?\n</think>\nc", ("a `<think>` mark?", "c")),
        (
            (
                "<|channel|>analysis<|message|>a<|end|><|start|>assistant<|channel|>analysis<|message|>b"
                "<|end|><|start|>assistant<|channel|>final<|message|>c<|return|>"
            ),
            ("a\n\nb", "c"),
        ),
        ("<|channel|>final<|message|>c<|return|>", ("", "c")),
        (
            (
                "<|channel|>analysis<|message|>a<|end|><|start|>assistant<|channel|>commentary "
                "to=functions.f <|constrain|>json<|message|>{}"
            ),
            (
                "a",
                (
                    "<|start|>assistant<|channel|>commentary to=functions.f <|constrain|>json"
                    "<|message|>{}"
                ),
            ),
        ),
        (
            "<|START_THINKING|>a<|END_THINKING|><|START_RESPONSE|>c<|END_RESPONSE|>",
            ("a", "c"),
        ),
        (
            (
                "<|begin_of_thought|>a<|end_of_thought|>\n<|begin_of_solution|>\nc\n"
                "<|end_of_solution|>"
            ),
            ("a", "c\n"),
        ),
    ],
)
def test_what_real_replies_look_like(content: str, expected: tuple[str, str]) -> None:
    """Several blocks, doubled marks, marks around the answer."""
    assert parts(content) == expected


@given(MIXED | ANY_TEXT)
def test_no_character_is_lost(content: str) -> None:
    """The pieces, joined, are the content; a content that stays whole has no block."""
    split = split_content(content)
    if split is not None:
        assert "".join(text for _, text in split.pieces) == content
        assert split.marks
        assert all(text for _, text in split.pieces)
        if split.is_open:
            assert split.answer == ""


@given(PLAIN)
def test_a_content_without_marks_is_untouched(content: str) -> None:
    """Also its white space."""
    reply = ChatReply(message={}, content=content, timing=Timing(latency_s=1.0))
    assert split_content(content) is None
    assert taken_apart(reply, ALL_MARKS) == reply


@given(st.sampled_from(PAIRS), PLAIN, PLAIN, st.sampled_from(["", " ", "\n\n"]))
def test_whatever_stands_in_a_block_comes_out_whole(
    pair: tuple[str, str, str], reasoning: str, answer: str, space: str
) -> None:
    """The reasoning less the white space around it, the answer less what stands before it."""
    name, begin, end = pair
    assert parts(f"{begin}{reasoning}{end}{space}{answer}", name) == (
        reasoning.strip(),
        answer.lstrip(),
    )


@given(st.sampled_from(PAIRS), PLAIN, PLAIN)
def test_code_that_shows_a_block_is_not_torn_apart(
    pair: tuple[str, str, str], reasoning: str, answer: str
) -> None:
    """A fenced block in the middle of an answer stays where it is."""
    assume(answer.strip())
    _, begin, end = pair
    for content in (
        f"{answer}\n```\n{begin}{reasoning}{end}\n```\n",
        f"{answer}\n~~~xml\n{reasoning}{end}\n~~~\n{answer}",
    ):
        assert split_content(content) is None


def test_a_reply_is_taken_apart_with_those_before_it() -> None:
    """What the server itself kept apart stays before it; the message is as it came."""
    message = {"content": "<think>b</think>c"}
    before = ChatReply(message={}, content="<think>x</think>y", timing=Timing(latency_s=1.0))
    reply = ChatReply(
        message=message,
        content="<think>b</think>c",
        reasoning="a",
        timing=Timing(latency_s=1.0),
        earlier=(Turn(reply=before, then=()),),
    )
    found = taken_apart(reply, ("think",))
    assert (found.reasoning, found.content, found.message) == ("a\n\nb", "c", message)
    assert (found.earlier[0].reply.reasoning, found.earlier[0].reply.content) == ("x", "y")
    assert taken_apart(reply, ()) is reply
    assert taken_apart(found, ("think",)) == found


def test_every_name_has_a_row_and_every_row_a_name() -> None:
    """Of the file's names, of the table, and of the page."""
    assert list(dict.fromkeys(marks.name for marks in TABLE)) == list(ALL_MARKS)
    section = PAGE.partition("### Reasoning that was left in the content")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `([\w-]+)` \| `(.+?)` \|", section, re.MULTILINE)
    assert rows == [(marks.name, marks.shown.replace("|", "\\|")) for marks in TABLE]


def test_what_a_model_says_goes_over_what_its_backend_says() -> None:
    """True means all, false none, and nothing is said by neither."""
    assert marks_of(None, ["seed", "think"]) == ("think", "seed")
    assert marks_of(["kimi"], True) == ("kimi",)
    assert marks_of(False, True) == ()
    assert marks_of(None, True) == ALL_MARKS
    assert marks_of(None, None) == ()


@pytest.mark.parametrize(
    ("text", "part", "quoted"),
    [
        ("a `b` c", "b", True),
        ("a ``b ` b`` c", "c", False),
        ("a\n```\nb\n```\nc", "b", True),
        ("a\n```\nb\n```\nc", "c", False),
        ("a\n~~~\nb", "b", True),
        ('a "b" c', "b", True),
        ('a "b c', "b", False),
        ("a b c", "b", False),
        ("b", "b", False),
        ("`a\nb`", "b", False),
    ],
)
def test_code_and_quotation_marks_are_found(text: str, part: str, quoted: bool) -> None:
    """Inline code is on one line, quotation marks stand right around it."""
    assert Code(text).quotes(text.index(part), text.index(part) + len(part)) is quoted


def test_a_long_text_full_of_marks_is_split_in_no_time() -> None:
    """Nothing is read again for each block."""
    many = "<think>a</think>" * 5_000
    split = split_content(many + "Rome")
    assert split is not None
    assert split.answer == "Rome"
    assert sum(role is Role.REASONING for role, _ in split.pieces) == 5_000
    assert split_content("`</think>` " * 20_000) is None
