"""What the check for JSON says of a reply."""

from __future__ import annotations

import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match
from pydantic import TypeAdapter

from matrixbench.checks.json_content import compile_json, compile_schema, fenced_text
from matrixbench.checks.judge import compile_checks
from matrixbench.errors import CheckError
from matrixbench.records import ChatReply, Kind, Outcome, Timing, Verdict
from matrixbench.spec.checks import Check, JsonContent

PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
    "required": ["name", "age"],
}


def verdict(content: str | None, **expected: Any) -> Verdict:
    """Return what the check says of a content."""
    spec = JsonContent.model_validate(expected) if expected else None
    return compile_json(spec)(ChatReply(message={}, content=content, timing=Timing(latency_s=1.0)))


@pytest.mark.parametrize("content", ['{"a": 1}', " [1, 2]\n", "null", '"x"', "1e5"])
def test_any_json_value_will_do_without_a_schema(content: str) -> None:
    """White space around it is JSON's own."""
    assert verdict(content).passed


@pytest.mark.parametrize(
    "content",
    ["{'a': 1}", '{"a": 1', "Here: {}", "{} {}", "NaN", "[Infinity]", "[" * 100_000, "1" * 5_000],
)
def test_what_is_not_json_is_said_to_be_none(content: str) -> None:
    """NaN and Infinity are no JSON, and neither depth nor size makes the check raise."""
    assert verdict(content).kind is Kind.NOT_JSON


@pytest.mark.parametrize("content", [None, ""])
def test_no_content_has_a_kind_of_its_own(content: str | None) -> None:
    """Silence is told from broken JSON."""
    assert verdict(content).kind is Kind.NO_CONTENT


def test_a_schema_is_draft_2020_12() -> None:
    """`prefixItems` is of that draft; the reason names the place and what is wrong there."""
    schema = {"prefixItems": [{"type": "integer"}], "items": False}
    assert verdict("[1]", schema=schema).passed
    said = verdict('["x"]', schema=schema)
    assert (said.kind, said.reason) == (
        Kind.SCHEMA_MISMATCH,
        "at $[0]: 'x' is not of type 'integer'",
    )


def test_a_missing_property_is_named() -> None:
    """The reason is that of the schema's own reader."""
    said = verdict('{"name": "Alice"}', schema=PERSON)
    assert (said.kind, said.reason) == (
        Kind.SCHEMA_MISMATCH,
        "at $: 'age' is a required property",
    )


@pytest.mark.parametrize(
    ("content", "inside"),
    [
        ('Here:\n```json\n{"a": 1}\n```\nand\n```\n2\n```', '{"a": 1}\n'),
        ("~~~\n1\n~~~", "1\n"),
        ("````\n```\n1\n```\n````", "```\n1\n```\n"),
        ("- a list\n  ```json\n  1\n  ```", "  1\n"),
        ("```json\r\n1\r\n```\r\n", "1\r\n"),
        ("```\n```", ""),
        ("```\n1", "1"),
        ('{"a": "no ``` fence"}', '{"a": "no ``` fence"}'),
        ("1", "1"),
    ],
)
def test_the_first_fenced_block_is_taken(content: str, inside: str) -> None:
    """An open fence runs to the end, and a text without one is taken whole."""
    assert fenced_text(content) == inside


def test_a_fence_is_only_looked_at_when_asked_for() -> None:
    """Without `fenced` the whole content must be JSON."""
    content = 'Sure:\n```json\n{"name": "Alice", "age": 30}\n```'
    assert verdict(content, schema=PERSON, fenced=True).passed
    assert verdict(content, schema=PERSON).kind is Kind.NOT_JSON


def test_a_wrong_schema_is_an_error_at_once() -> None:
    """It is found before anything is asked, with its place inside the schema."""
    schema = JsonContent.model_validate({"schema": {"properties": {"a": {"type": "house"}}}})
    with pytest.raises(CheckError, match="no JSON Schema") as caught:
        compile_json(schema, where="expect[0].json")
    assert caught.value.where == "expect[0].json.schema.properties.a.type"


ORDER = '{"name": "Alice", "items": [{"n": 1}, {"n": 2}], "a b": {"x": "7"}}'


def test_paths_hold_single_values_against_matchers() -> None:
    """What no path leads to may be anything; a bare value means `equals`."""
    paths = {"name": "Alice", "items[-1].n": {"number": 2}, "['a b'].x": {"number": 7}, "$": {}}
    assert not verdict(ORDER, paths=paths).passed  # an empty object is meant literally
    del paths["$"]
    said = verdict(ORDER, paths=paths)
    assert (said.passed, said.score) == (True, 1.0)
    assert verdict(f"```json\n{ORDER}\n```", paths=paths, fenced=True).passed


@pytest.mark.parametrize(
    ("paths", "reason", "score"),
    [
        ({"name": "Bob"}, 'name: expected "Bob", found "Alice"', 0.0),
        ({"name": "Alice", "items[0].n": 3}, "items[0].n: expected 3, found 1", 0.5),
        ({"age": 3}, "age: expected a value, found none: ", 0.0),
        ({"items[2].n": 3}, "items[2].n: expected a value, found none: items is [", 0.0),
        ({"name.first": "A"}, 'name.first: expected a value, found none: name is "Alice"', 0.0),
        ({"name": "Bob", "age": 3, "items": []}, "(and 2 more)", 0.0),
    ],
)
def test_a_path_that_does_not_match_says_where(
    paths: dict[str, Any], reason: str, score: float
) -> None:
    """The score is the share of paths that match, and a way that ends says what is there."""
    said = verdict(ORDER, paths=paths)
    assert (said.kind, said.score) == (Kind.PATH_MISMATCH, score)
    assert reason in said.reason


def test_a_schema_counts_as_one_of_the_paths() -> None:
    """What breaks it is told first; without paths there is no score."""
    said = verdict(ORDER, schema=PERSON, paths={"name": "Alice"})
    assert (said.kind, said.score) == (Kind.SCHEMA_MISMATCH, 0.5)
    assert verdict(ORDER, schema=PERSON).score is None
    assert verdict("{", paths={"name": "Alice"}).score == 0.0


def test_a_wrong_path_is_an_error_at_once() -> None:
    """The place names it."""
    with pytest.raises(CheckError) as caught:
        compile_json(JsonContent(paths={"a b": 1}), where="expect[0].json")
    assert caught.value.where == "expect[0].json.paths.a b"
    with pytest.raises(CheckError, match="no regular expression"):
        compile_json(JsonContent(paths={"a": {"matches": "("}}))


def test_a_schema_s_pattern_that_never_ends_is_given_up() -> None:
    """As a matcher's is: a run does not hang on a schema."""
    schema = {"type": "string", "pattern": "(a|aa)+$"}
    with pytest.raises(TimeoutError):
        verdict('"' + "a" * 60 + 'b"', schema=schema)
    named = {"patternProperties": {"^n": {"type": "integer"}}, "additionalProperties": False}
    assert verdict('{"n": 1}', schema=named).passed
    assert "at $.n: 'x' is not of type 'integer'" in verdict('{"n": "x"}', schema=named).reason
    assert verdict('{"m": 1}', schema=named).kind is Kind.SCHEMA_MISMATCH


def doubled(levels: int, last: dict[str, Any]) -> dict[str, Any]:
    """Return a schema each of whose levels refers to the next one twice."""
    twice = {
        f"l{level}": {"allOf": [{"$ref": f"#/$defs/l{level + 1}"}] * 2} for level in range(levels)
    }
    return {"$defs": {**twice, f"l{levels}": last}}


def test_a_schema_that_takes_exponential_time_is_refused() -> None:
    """Its place is named, where it is read."""
    schema = doubled(28, {"type": "integer"}) | {"$ref": "#/$defs/l0"}
    with pytest.raises(CheckError, match="no value could ever be held against this schema"):
        compile_json(JsonContent.model_validate({"schema": schema}), where="expect[0].json")


def test_a_schema_that_takes_exponential_time_on_a_reply_says_no() -> None:
    """It ends, and a `not` does not turn it round."""
    schema = doubled(28, {"type": "integer"}) | {"items": {"$ref": "#/$defs/l0"}}
    checks = compile_checks(
        TypeAdapter(list[Check]).validate_python([{"not": {"json": {"schema": schema}}}])
    )
    content = "[1]"
    judgement = checks.judge(ChatReply(message={}, content=content, timing=Timing(latency_s=1.0)))
    assert (judgement.outcome, judgement.kind) == (Outcome.FAILED, Kind.SCHEMA_MISMATCH)
    assert judgement.reason == "given up: the schema takes more than 100,100 steps on it"


def test_a_long_reply_has_steps_for_each_of_its_parts() -> None:
    """A schema that looks at each part a few times is held against a list of any length."""
    item = {"anyOf": [{"$ref": "#/$defs/n"}, {"$ref": "#/$defs/s"}]}
    schema = {"$defs": {"n": {"type": "number"}, "s": {"type": "string"}}, "items": item}
    assert verdict(f"[{'1,' * 60_000}2]", schema=schema).passed


@pytest.mark.parametrize(
    "schema",
    [
        {"patternProperties": {"^a": True}},
        {"properties": {"a": True}, "additionalProperties": {"type": "string"}},
        {"allOf": [{"properties": {"a": {"type": "integer"}}}, {"patternProperties": {"b": {}}}]},
        {"anyOf": [{"properties": {"a": {"type": "string"}}}, {"properties": {"ab": True}}]},
        {"oneOf": [{"required": ["a"], "properties": {"a": True}}, {"required": ["none"]}]},
        {"dependentSchemas": {"a": {"properties": {"b": True}}}},
        {"if": {"required": ["a"]}, "then": {"properties": {"a": True}}},
        {"if": {"required": ["x"]}, "else": {"properties": {"b": True}}},
        {"$ref": "#/$defs/one", "$defs": {"one": {"properties": {"a": True}}}},
        {"allOf": [{"properties": {"a": True}, "unevaluatedProperties": {"type": "integer"}}]},
    ],
)
@pytest.mark.parametrize("wanted", [False, {"type": "integer"}])
def test_unevaluated_properties_are_those_of_jsonschema(schema: Any, wanted: Any) -> None:
    """With the same words."""
    whole = schema | {"unevaluatedProperties": wanted}
    for text in ("{}", '{"a": 1}', '{"b": "x", "a": 1}', '{"ab": 2, "c": "y"}', '{"z": 1, "y": 2}'):
        error = best_match(Draft202012Validator(whole).iter_errors(json.loads(text)))
        expected = None if error is None else f"at {error.json_path}: {error.message}"
        assert compile_schema(whole, "")(json.loads(text)) == expected


def test_a_pattern_beside_unevaluated_properties_that_never_ends_is_given_up() -> None:
    """As beside all others."""
    endless = {"patternProperties": {"(a|aa)+$": True}, "unevaluatedProperties": False}
    with pytest.raises(TimeoutError):
        verdict('{"' + "a" * 60 + 'b": 1}', schema=endless)


def test_a_fence_that_never_ends_takes_no_longer_than_it_is_long() -> None:
    """Each length of a fence was tried at each of its signs."""
    assert verdict("~" * (1 << 20), fenced=True).kind is Kind.NOT_JSON
    assert verdict("~~~~ json\n[1]\n~~~\n~~~~", fenced=True).kind is Kind.NOT_JSON
    assert verdict("~~~~ json\n[1]\n~~~~~", fenced=True).passed
