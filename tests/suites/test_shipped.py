"""What every suite that ships holds to."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from matrixbench.checks.judge import compile_checks
from matrixbench.identity import digest
from matrixbench.records import ChatReply, Outcome, Timing
from matrixbench.spec.suites import ListedSuite, list_suite, shipped_suites
from tests.suites import test_instruction_following, test_structured_output

if TYPE_CHECKING:
    from matrixbench.records import JsonObject

SUITES = [list_suite(name, base=Path.cwd(), environ={}) for name in shipped_suites()]
OURS = [suite for suite in SUITES if suite.name != "tool-calling"]
MAX_TOKENS = 192


def test_the_suites_that_ship() -> None:
    """Each is called as its file is."""
    assert [suite.name for suite in SUITES] == [suite.reference for suite in SUITES]
    assert {"instruction-following", "structured-output", "tool-calling"} <= set(shipped_suites())


def test_the_documentation_lists_them_with_their_number_of_tests() -> None:
    """The table of docs/suites.md has a row for each."""
    page = (Path(__file__).parents[2] / "docs" / "suites.md").read_text("utf-8")
    rows = dict(re.findall(r"^\| `([\w-]+)` \| ([0-9]+) \|", page, re.MULTILINE))
    assert rows == {suite.name: str(len(suite.cases)) for suite in SUITES}


def test_names_are_unique_over_all_suites() -> None:
    """An experiment can take all of them."""
    names = [case.test.name for suite in SUITES for case in suite.cases]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("suite", SUITES, ids=lambda suite: suite.name)
def test_each_test_says_what_it_probes(suite: ListedSuite) -> None:
    """A description of one line, and tags by which it is chosen."""
    assert suite.description
    for case in suite.cases:
        assert 20 <= len(case.test.description) <= 110, case.test.name
        assert case.test.tags, case.test.name
        assert case.test.expect, case.test.name


@pytest.mark.parametrize("suite", OURS, ids=lambda suite: suite.name)
def test_our_own_tests_are_small(suite: ListedSuite) -> None:
    """Enough tests, some of them easy and some hard, with short prompts and capped replies.

    The requests of `tool-calling` are another project's to the byte; the file's cap holds there.
    """
    assert len(suite.cases) >= 12
    assert {"easy", "hard"} <= set(suite.tags)
    for case in suite.cases:
        assert 0 < case.test.request["max_tokens"] <= MAX_TOKENS, case.test.name
        prompt = "".join(message["content"] for message in case.test.messages)
        assert len(prompt) <= 450, case.test.name
        assert "{{" not in prompt, case.test.name


@pytest.mark.parametrize("suite", SUITES, ids=lambda suite: suite.name)
@pytest.mark.parametrize(
    "content", [None, "", " ", "Sure!", "I cannot help with that.", "{}", "[]"]
)
def test_nothing_passes_by_saying_nothing(suite: ListedSuite, content: str | None) -> None:
    """Silence, a refusal and empty JSON fail every test."""
    reply = ChatReply(
        message={},
        content=content,
        tool_calls=(),
        finish_reason="stop",
        timing=Timing(latency_s=1.0),
    )
    for case in suite.cases:
        judgement = compile_checks(case.test.expect).judge(reply)
        assert judgement.outcome is Outcome.FAILED, case.test.name


@pytest.mark.parametrize("suite", OURS, ids=lambda suite: suite.name)
def test_echoing_the_prompt_does_not_pass(suite: ListedSuite) -> None:
    """A model that repeats what it was asked has not done it."""
    for case in suite.cases:
        prompt = case.test.messages[-1]["content"]
        reply = ChatReply(
            message={},
            content=prompt,
            tool_calls=(),
            finish_reason="stop",
            timing=Timing(latency_s=1.0),
        )
        judgement = compile_checks(case.test.expect).judge(reply)
        assert judgement.outcome is Outcome.FAILED, case.test.name


@pytest.mark.parametrize(
    ("suite", "replies"),
    [
        ("structured-output", test_structured_output.REPLIES),
        ("instruction-following", test_instruction_following.REPLIES),
    ],
)
def test_every_test_has_replies_of_both_sorts(
    suite: str, replies: dict[str, tuple[list[str], list[tuple[str, object]]]]
) -> None:
    """At least one reply that passes and two that fail are known of each test."""
    (listed,) = (each for each in OURS if each.name == suite)
    assert list(replies) == [case.test.name for case in listed.cases]
    for name, (passing, failing) in replies.items():
        assert len(passing) >= 1, name
        forbidden = test_instruction_following.UNWANTED.get(name, [])
        assert len(failing) + len(forbidden) >= 2, name


@pytest.mark.parametrize(
    ("suite", "sent"),
    [
        ("instruction-following", "0013f62982f1a87d9006271c"),
        ("structured-output", "6428d619661ba400042a1219"),
    ],
)
def test_what_our_suites_send_is_pinned(suite: str, sent: str) -> None:
    """A changed prompt is another test: results under the old one are no longer comparable.

    Change one for a reason, and tell of it in the changelog. A new test changes the digest alone.
    """
    (listed,) = (each for each in OURS if each.name == suite)
    asked: list[JsonObject] = [
        {"messages": case.test.messages, "request": case.test.request} for case in listed.cases
    ]
    assert digest(asked) == sent
