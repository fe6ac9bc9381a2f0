"""No reply that a model or a server can give makes a shipped check raise, or go on for ever."""

from __future__ import annotations

import json
from math import isfinite, nan
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from matrixbench.checks import matchers
from matrixbench.checks.judge import Checks, compile_checks
from matrixbench.checks.verdicts import FaultError
from matrixbench.errors import CheckError
from matrixbench.records import ChatReply, Kind, Outcome, Timing, ToolCall, Turn
from matrixbench.spec.checks import Check
from matrixbench.spec.suites import list_suite, shipped_suites
from tests.properties import examples

if TYPE_CHECKING:
    from collections.abc import Iterable

    from matrixbench.records import Judgement

EXPECT: TypeAdapter[list[Check]] = TypeAdapter(list[Check])

TREE = {
    "$defs": {"node": {"type": "object", "properties": {"x": {"$ref": "#/$defs/node"}}}},
    "$ref": "#/$defs/node",
}

NUMBERS = [
    *("1" * 309, "-" + "9" * 400, "1" * 4_300, "1" * 5_000),
    *("1e309", "1e999", "-1e999", "1e-999", "1E+400", "1" * 5_000 + "e9999999", "1e" + "9" * 400),
    *("NaN", "Infinity", "-Infinity", "nan", "-0", "0.1", "1.0", "1e308", "9007199254740993"),
]
DEPTHS = [90, 250, 700, 950, 1_000, 2_000]
DEEP = [
    *("[" * depth + "1" + "]" * depth for depth in DEPTHS),
    *('{"x":' * depth + "1" + "}" * depth for depth in DEPTHS),
    *('{"x":' * depth + "[" for depth in DEPTHS),
]
TEXTS = [
    *("", " ", "\0", "a\0b", "\ud800", "x\udfff", "\u2028", "\x1b[31m", "\u202e", "﷽" * 9),
    *('"\\ud800"', '"\\u0000"', '{"\\ud800": 1}', "```json\n", "~~~\n```\n~~~", "`" * 5_000),
    *("a" * 3_000, "1," * 9_000, "[1]" * 5_000, '{"' * 5_000, "a " * 9_000 + "!"),
    *('{"x": 1, "x": [NaN]}', "[" + "1," * 2_000 + "1]", "[" + '{"a":1},' * 500 + "{}]"),
]
ODD_TEXT = st.sampled_from([*NUMBERS, *DEEP, *TEXTS]) | st.text(
    st.characters(exclude_categories=()), max_size=20
)
JSON_TEXT = st.recursive(
    st.sampled_from([*NUMBERS, "true", "null", '""', '"\\ud800"', *DEEP[:6]]),
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda items: f"[{','.join(items)}]")
        | st.lists(st.tuples(st.sampled_from(["x", "y", "", "a" * 40]), inner), max_size=3).map(
            lambda items: "{" + ",".join(f"{json.dumps(key)}: {item}" for key, item in items) + "}"
        )
    ),
    max_leaves=5,
)
WRITTEN = ODD_TEXT | JSON_TEXT | JSON_TEXT.map("```json\n{}\n```".format)
NO_TEXT = st.sampled_from([None, 1, 1.5, nan, True, [], ["x"], {}, {"x": [1]}, 10**400])
ANYTHING = WRITTEN | NO_TEXT
CALLS = st.lists(
    st.builds(
        ToolCall,
        name=st.sampled_from(["a", "b"]) | ANYTHING,
        arguments=JSON_TEXT.map('{{"x": {}}}'.format) | ANYTHING,
        id=NO_TEXT | st.just("1"),
    ),
    max_size=3,
).map(tuple)
FIGURES: st.SearchStrategy[Any] = st.sampled_from(
    [None, 0, -1, 10**400, 10**5_000, 1e308, float("inf"), nan, "7", True]
)


def replies(earlier: st.SearchStrategy[tuple[Turn, ...]]) -> st.SearchStrategy[ChatReply]:
    """Return replies whose fields may be anything, also what their types forbid."""
    return st.builds(
        ChatReply,
        message=st.just({}),
        content=ANYTHING,
        reasoning=ANYTHING,
        tool_calls=CALLS,
        finish_reason=st.sampled_from(["stop", "length", "tool_calls", "error"]) | ANYTHING,
        prompt_tokens=FIGURES,
        completion_tokens=FIGURES,
        timing=FIGURES.map(lambda seconds: Timing(latency_s=seconds)),
        earlier=earlier,
        turn_limit=st.booleans(),
    )


ALONE = replies(st.just(()))
REPLIES = replies(st.lists(st.builds(Turn, reply=ALONE, then=st.just(())), max_size=1).map(tuple))

EQUALS: list[Any] = [None, True, 1, 1.5, "x", 10**308, [1, [2]], {"x": {}}]
MATCHERS: list[dict[str, Any]] = [
    *({"equals": value} for value in EQUALS),
    *({"contains": "x"}, {"contains": ["1", "\0"], "ignore_case": True}),
    *({"matches": r"^\w+$"}, {"matches": "1+$", "ignoring": r"\s+"}),
    *({"matches": r"a+!", "ignoring": "a*b"}, {"one_of": [1, None, "x", [], {"x": 1}]}),
    *(
        {"type": name}
        for name in ("string", "number", "integer", "boolean", "object", "array", "null")
    ),
    *({"number": {"value": 1, "tolerance": 0.1, "in_text": place}} for place in ("first", "only")),
    *({"number": {"max": 5, "in_text": place}} for place in ("whole", "last")),
    *({"number": {"min": -1e308, "max": 1e308}}, {"number": 1e308}, {"number": 0}),
    *({"number": {"value": 1e308, "tolerance": 1e308}}, {"number": {"value": 1e-300}}),
    *({"length": 1}, {"length": {"min": 2, "max": 9}}),
]
SCHEMAS: list[dict[str, Any]] = [
    TREE,
    {"type": "string"},
    {"enum": [1, [1], {"x": 1}]},
    {"const": [[1]]},
    {"multipleOf": 0.1},
    {"multipleOf": 3},
    {"multipleOf": 1e-308},
    {"multipleOf": 1e308},
    {"minimum": 0, "exclusiveMaximum": 1e308},
    {"uniqueItems": True, "items": {"type": "integer"}},
    {"contains": {"type": "number"}, "maxContains": 2},
    {"additionalProperties": {"multipleOf": 0.01}},
    {"patternProperties": {"a+!": {"type": "number"}}, "additionalProperties": False},
    {"items": {"pattern": r"^\w+$"}},
    {"anyOf": [{"type": "object", "required": ["x"]}, {"minItems": 2, "maxItems": 1}]},
    {"oneOf": [{"minimum": 1}, {"multipleOf": 0.5}], "not": {"type": "string"}},
    {"if": {"type": "number"}, "then": {"multipleOf": 0.3}, "else": {"minLength": 1}},
    {"unevaluatedProperties": False, "properties": {"x": True}, "unevaluatedItems": False},
    {"propertyNames": {"maxLength": 3}, "maxProperties": 1, "dependentRequired": {"x": ["y"]}},
]
CONTENT_CHECKS: list[list[dict[str, Any]]] = [
    *([{"content": matcher}] for matcher in MATCHERS),
    *([{"reasoning": matcher}] for matcher in MATCHERS),
    *([{"finish_reason": matcher}] for matcher in MATCHERS),
    *([{"tool_calls": [{"name": "a", "arguments": {"x": matcher}}]}] for matcher in MATCHERS),
    *([{"json": {"paths": {"x": matcher, "x.x[0]": matcher}}}] for matcher in MATCHERS),
    *([{"json": {"schema": schema}}] for schema in SCHEMAS),
    [{"json": True}],
    [{"json": {"paths": {"x": 1}, "schema": {"type": "object"}, "fenced": True}}],
    [{"no_tool_calls": True}],
    [{"tool_calls": []}],
    [{"tool_calls": {"calls": [{"name": "a"}, {"name": "b"}], "order": "any"}}],
    [{"tool_calls": {"calls": [{"name": "a", "arguments": {"x": 1}}], "at_least": 1}}],
    [{"tool_calls": {"count": 2}}],
    [{"finish_reason": ["stop", "length"]}],
    [{"not": {"content": {"matches": r"^\w+$"}}}, {"not": {"json": {"schema": TREE}}}],
    [{"any": [{"json": True}, {"content": {"matches": "a+!"}}, {"content": {"number": 1}}]}],
    [{"all": [{"content": {"number": 1}}, {"json": True}, {"tool_calls": []}]}],
    [{"content": {"number": 1}, "turn": "any"}, {"json": True, "turn": "every"}],
    [{"json": {"schema": TREE}, "turn": 2}, {"tool_calls": [{"name": "a"}], "turn": 1}],
    [{"same_as": {"backend": "other"}}],
]
FIGURE_CHECKS: list[list[dict[str, Any]]] = [
    [{"latency_s": {"max": 1}}],
    [{"completion_tokens": {"min": 1, "max": 1e308}}],
]


def compiled(entries: Iterable[object]) -> Checks:
    """Return checks as a file would give them."""
    return compile_checks(EXPECT.validate_python(list(entries)))


FAMILIES = [compiled(entries) for entries in CONTENT_CHECKS]
FIGURE_FAMILIES = [compiled(entries) for entries in FIGURE_CHECKS]
SUITES = [
    compile_checks(case.test.expect)
    for name in shipped_suites()
    for case in list_suite(name, base=Path.cwd(), environ={}).cases
]


OTHER = ChatReply(message={}, content="x", timing=Timing(latency_s=1.0))


def look_at(judgement: Judgement, *allowed: Kind) -> None:
    """Say that a reply was judged: with a finite score, and reasons that can be stored."""
    if judgement.outcome is Outcome.ERRORED:
        assert judgement.kind in allowed, judgement.reason
    assert (judgement.kind is None) == (judgement.outcome is Outcome.PASSED)
    for verdict in judgement.verdicts:
        assert len(verdict.reason) <= 120
        assert verdict.reason.isprintable()
        assert verdict.score is None or (isfinite(verdict.score) and 0 <= verdict.score <= 1)
        # What is a fault gets its own meaning: the guard around is there for what nobody foresaw.
        assert "cannot be looked at" not in verdict.reason, verdict.reason


@examples(60)
@given(REPLIES, ALONE)
def test_no_reply_makes_a_check_or_a_matcher_raise(reply: ChatReply, other: ChatReply) -> None:
    """Whatever stands in a reply is passed or failed, and never leaves the count."""
    for checks in FAMILIES:
        look_at(checks.judge(reply, lambda _: other))


@examples(60)
@given(REPLIES)
def test_no_reply_makes_a_figure_raise(reply: ChatReply) -> None:
    """A figure that is no number is one that the server does not report."""
    for checks in FIGURE_FAMILIES:
        look_at(checks.judge(reply), Kind.NOT_REPORTED)


@examples(30)
@given(REPLIES)
def test_no_reply_makes_a_shipped_suite_raise(reply: ChatReply) -> None:
    """Nor does one of their tests set a trial aside."""
    for checks in SUITES:
        look_at(checks.judge(reply))


@pytest.mark.parametrize("text", [*NUMBERS, *DEEP, *TEXTS], ids=lambda text: repr(text)[:30])
def test_each_odd_text_is_judged_everywhere(text: str) -> None:
    """As content, as reasoning, as arguments and as one of them, in a block and in the reason."""
    for content in (text, f'```json\n{{"x": {text}}}\n```'):
        reply = ChatReply(
            message={},
            content=content,
            reasoning=content,
            tool_calls=(ToolCall(name="a", arguments=content),),
            finish_reason=text,
            timing=Timing(latency_s=1.0),
        )
        for checks in FAMILIES:
            look_at(checks.judge(reply, lambda _: OTHER))


def said(content: str | None, *entries: object, **fields: Any) -> tuple[Outcome, Kind | None]:
    """Return outcome and kind of a reply."""
    reply = ChatReply(message={}, content=content, timing=Timing(latency_s=1.0), **fields)
    judgement = compiled(entries).judge(reply)
    return judgement.outcome, judgement.kind


@pytest.mark.parametrize("number", ["1" * 309, "1" * 4_000, "1e999", "-1e999", "NaN", "Infinity"])
def test_a_number_beyond_all_bounds_is_a_wrong_argument(number: str) -> None:
    """It is the model's word: the trial stays in the count."""
    call = ToolCall(name="a", arguments=f'{{"x": {number}}}')
    for wanted in ({"number": {"value": 1, "tolerance": 0.5}}, {"number": 3}, {"equals": 3}):
        expected = {"tool_calls": [{"name": "a", "arguments": {"x": wanted}}]}
        assert said(None, expected, tool_calls=(call,)) == (Outcome.FAILED, Kind.BAD_ARGUMENTS)


@pytest.mark.parametrize("of", [0.1, 1e-308, 2.5, 7])
@pytest.mark.parametrize("number", ["1" + "0" * 309 + "1", "1e999", "-1e999", "1.7e308"])
def test_a_number_beyond_all_bounds_is_held_against_multiple_of(number: str, of: float) -> None:
    """Exactly, in decimals, and infinity is a multiple of nothing."""
    outcome, kind = said(number, {"json": {"schema": {"multipleOf": of}}})
    assert (outcome, kind) in {(Outcome.PASSED, None), (Outcome.FAILED, Kind.SCHEMA_MISMATCH)}
    if "999" in number:
        assert kind is Kind.SCHEMA_MISMATCH


def test_multiples_are_told_in_decimals() -> None:
    """0.3 is three times 0.1 to everybody but the machine."""
    assert said("0.3", {"json": {"schema": {"multipleOf": 0.1}}})[0] is Outcome.PASSED
    assert said("0.35", {"json": {"schema": {"multipleOf": 0.1}}})[0] is Outcome.FAILED


def test_json_may_be_nested_as_deeply_as_it_likes() -> None:
    """Depth alone makes nothing wrong: paths and equality see to the bottom of it."""
    deep = '{"a": 1, "x": ' + "[" * 50_000 + "]" * 50_000 + "}"
    assert said(deep, {"json": True}, {"json": {"paths": {"a": 1}}})[0] is Outcome.PASSED
    assert said(deep, {"json": {"paths": {"x": []}}}) == (Outcome.FAILED, Kind.PATH_MISMATCH)
    assert said(deep[:-1], {"json": True}) == (Outcome.FAILED, Kind.NOT_JSON)


def test_a_schema_that_cannot_follow_is_not_met() -> None:
    """What nobody could hold against it is no proof that it is met, nor of the opposite."""
    deep = '{"x":' * 900 + "{}" + "}" * 900
    met = {"json": {"schema": TREE}}
    assert said(deep, met) == (Outcome.FAILED, Kind.SCHEMA_MISMATCH)
    assert said('{"x": {"x": {}}}', met)[0] is Outcome.PASSED


LONG = "a" * 40 + "!"
SLOW: dict[str, Any] = {"content": {"matches": "^(a|a)*$"}}


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give a search up sooner; that it is given up after a second is told elsewhere."""
    monkeypatch.setattr(matchers, "REGEX_TIMEOUT_S", 0.05)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    ("entry", "outcome"),
    [
        (SLOW, Outcome.FAILED),
        ({"not": SLOW}, Outcome.FAILED),
        ({"not": {"not": SLOW}}, Outcome.FAILED),
        ({"not": {"all": [{"content": "x"}, SLOW]}}, Outcome.FAILED),
        ({"not": {"any": [{"content": "x"}, SLOW]}}, Outcome.FAILED),
        ({"any": [SLOW, {"content": {"contains": "!"}}]}, Outcome.PASSED),
        ({"all": [SLOW, {"content": {"contains": "!"}}]}, Outcome.FAILED),
        ({**SLOW, "turn": "any"}, Outcome.FAILED),
        ({"not": {**SLOW, "turn": 1}}, Outcome.FAILED),
    ],
)
def test_a_pattern_that_takes_for_ever_is_a_no_whatever_stands_around_it(
    entry: dict[str, Any], outcome: Outcome
) -> None:
    """Only where one yes is enough, another check's yes is one."""
    found, kind = said(LONG, entry)
    assert found is outcome
    assert kind is (None if outcome is Outcome.PASSED else Kind.WRONG_CONTENT)


@pytest.mark.usefixtures("impatient")
def test_what_was_cut_off_says_so_first_also_where_a_check_stumbled() -> None:
    """As every other no to such a reply."""
    assert said(LONG, SLOW, finish_reason="length") == (Outcome.FAILED, Kind.TRUNCATED)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    "schema",
    [
        {"items": {"pattern": "^(a|a)*$"}},
        {"items": {"patternProperties": {"^(a|a)*$": True}}},
        {"items": {"patternProperties": {"^(a|a)*$": True}, "additionalProperties": False}},
    ],
)
def test_a_schemas_patterns_are_given_up_as_well(schema: dict[str, Any]) -> None:
    """The searches of jsonschema itself would hold up the run without an end."""
    content = json.dumps([LONG, {LONG: 1}])
    assert said(content, {"json": {"schema": schema}}) == (Outcome.FAILED, Kind.SCHEMA_MISMATCH)


def test_many_different_items_are_looked_through_quickly() -> None:
    """Each is not held against each other one."""
    items = json.dumps([{"a": number} for number in range(20_000)])
    unique = {"json": {"schema": {"uniqueItems": True}}}
    assert said(items, unique)[0] is Outcome.PASSED
    assert said(f"[{items}, {items}]", unique)[1] is Kind.SCHEMA_MISMATCH


def test_a_schema_that_leads_back_to_itself_is_an_error_of_the_file() -> None:
    """No reply could be held against it."""
    with pytest.raises(CheckError, match="leads back to itself"):
        compiled([{"json": {"schema": {"$ref": "#"}}}])


def test_the_last_guard_keeps_a_fault_that_nobody_foresaw_in_the_count() -> None:
    """A bug of a shipped check costs the model a failure, and is told as what it is."""
    checks = compiled([{"content": "x"}, {"not": {"content": "x"}}])

    class Odd(str):
        __slots__ = ()

        def __eq__(self, other: object) -> bool:
            raise ZeroDivisionError("odd")

        __hash__ = str.__hash__

    # No other test's text: what is kept of texts would be compared with this one.
    odd = Odd("a text that cannot be compared")
    judgement = checks.judge(ChatReply(message={}, content=odd, timing=Timing(latency_s=1.0)))
    assert (judgement.outcome, judgement.kind) == (Outcome.FAILED, Kind.WRONG_CONTENT)
    assert judgement.reason == "the reply cannot be looked at: ZeroDivisionError: odd"
    assert [verdict.passed for verdict in judgement.verdicts] == [False, False]
    assert FaultError(Kind.WRONG_CONTENT, "a\nb").reason == "a\\nb"
