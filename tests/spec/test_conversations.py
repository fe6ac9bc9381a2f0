"""Turns and results in the file: what they become, and what is wrong with them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from matrixbench.spec.tests import Result

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.spec.conftest import Load

FILE = """\
name: x
backends: {s: {kind: scripted, replies: [hello]}}
tests:
  - name: t
    messages: [{role: user, content: hi}]
    tools:
      - type: function
        function: {name: f, parameters: {type: object, properties: {city: {type: string}}}}
        returns:
          - {when: {city: Oslo}, content: {celsius: 4}}
          - {error: unknown city}
    turns:
      - {content: And tomorrow?}
    max_turns: 3
    expect: []
"""


def test_what_is_sent_of_a_tool_has_no_results(load: Load) -> None:
    """The model is offered the tool alone; the results stand in the script."""
    (test,) = load(FILE).tests
    assert test.tools == (
        {
            "type": "function",
            "function": {
                "name": "f",
                "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
            },
        },
    )
    assert test.script is not None
    assert test.script.returns == {
        "f": (
            Result(when={"city": "Oslo"}, content='{"celsius": 4}'),
            Result(when=None, content='{"error": "unknown city"}'),
        )
    }
    assert test.script.turns == ({"role": "user", "content": "And tomorrow?"},)
    assert test.script.max_turns == 3


def test_parameters_are_filled_into_turns_and_results(load: Load) -> None:
    """Every text of a test may hold them, those of a conversation too."""
    text = FILE.replace("name: t\n", "name: t-{{ c }}\n    parameters: {c: [Oslo, Rome]}\n")
    text = text.replace("city: Oslo", 'city: "{{ c }}"').replace("{celsius: 4}", '"in {{ c }}"')
    text = text.replace("And tomorrow?", '"And in {{ c }}?"')
    scripts = [test.script for test in load(text).tests]
    assert [script and script.returns["f"][0] for script in scripts] == [
        Result(when={"city": "Oslo"}, content="in Oslo"),
        Result(when={"city": "Rome"}, content="in Rome"),
    ]
    assert [script and script.turns[0]["content"] for script in scripts] == [
        "And in Oslo?",
        "And in Rome?",
    ]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "when: {city: Oslo}",
            "when: {town: Oslo}",
            "exp.yaml:10:21: the tool «f» has no argument «town»",
        ),
        (
            "when: {city: Oslo}",
            "when: {citi: Oslo}",
            "perhaps you meant «city»; its arguments: city",
        ),
        (
            "when: {city: Oslo}",
            "when: {city: {matches: '('}}",
            "exp.yaml:10:37: «(» is no regular expression",
        ),
        (
            "when: {city: Oslo}",
            "when: {city: {contains: 1}}",
            "exp.yaml:10:38: tests[0].tools[0].returns[0].when.city.contains",
        ),
        ("when: {city: Oslo}, ", "", "exp.yaml:11:13: no call ever gets this: returns[0]"),
        ("error: unknown city", "error: a, times: 0", "returns[1].times must be at least 1"),
        ("when: {city: Oslo}", "when: {}", "when must not be empty"),
        ("{error: unknown city}", "{content: a, error: b}", "a result with content and error"),
        ("{error: unknown city}", "{}", "exp.yaml:11:13: a result without «content»"),
        ("{error: unknown city}", "{erorr: x}", "perhaps you meant «error»"),
        ("        returns:", "        return:", "exp.yaml:9:9: a tool with the key «return»"),
        ("name: f, ", "", "exp.yaml:8:9: a tool whose function has no name"),
        ("type: function\n", "type: search\n", "exp.yaml:9:9: returns: only a tool with"),
        ("{content: And tomorrow?}", '"  "', "exp.yaml:13:9: a turn that says nothing"),
        ("{content: And tomorrow?}", "{content: []}", "exp.yaml:13:9: a turn that says nothing"),
        ("{content: And tomorrow?}", "{}", "exp.yaml:13:9: a turn needs a content"),
        ("{content: And tomorrow?}", "{text: a}", "exp.yaml:13:9: a turn needs a content"),
        ("{content: And", "{role: tool, content: And", "a turn is not spoken by «tool»"),
        ("{content: And", "{role: usr, content: And", "perhaps you meant «user»"),
        ("max_turns: 3", "max_turns: 0", "exp.yaml:14:16: tests[0].max_turns must be at least 1"),
        ("max_turns: 3", "max_turns: 1", "exp.yaml:14:16: max_turns: 1 replies end before"),
    ],
)
def test_a_mistake_is_told_with_its_place(
    problems: Callable[[str], list[str]], old: str, new: str, said: str
) -> None:
    """What could never matter, and what would be sent by mistake, stops the loading."""
    assert old in FILE
    text = FILE.replace(old, new)
    if "type: search" in new:
        text = text.replace("        function: {", "        other: {")
    told = problems(text)
    assert any(said in problem for problem in told), told
    assert len(told) == 1


def test_a_limit_needs_a_conversation(problems: Callable[[str], list[str]], minimal: str) -> None:
    """Without turns and results there is one reply."""
    (told,) = problems(minimal.replace("expect: []", "max_turns: 2, expect: []"))
    assert "max_turns without a conversation" in told


def test_a_default_that_is_given_so_often_hides_nothing(load: Load) -> None:
    """What comes after it is reached once it is used up."""
    (test,) = load(FILE.replace("when: {city: Oslo}, ", "times: 2, ")).tests
    assert test.script is not None
    assert [result.times for result in test.script.returns["f"]] == [2, None]


def test_a_schema_that_is_open_may_have_any_argument(load: Load) -> None:
    """Only a schema that names its properties tells what a call cannot have."""
    for schema in ("additionalProperties: true", "$ref: '#/x'", "properties: {town: {}}"):
        load(FILE.replace("properties: {city: {type: string}}", schema).replace("city:", "town:"))
