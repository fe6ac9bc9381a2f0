"""What a matcher accepts, what it says when it does not, and how entries become matchers."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from matrixbench.checks.json_values import json_equal
from matrixbench.checks.matchers import as_matcher, compile_matcher, json_type_is
from matrixbench.errors import CheckError
from matrixbench.spec.checks import Matcher

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


def said(entry: object, value: object) -> str | None:
    """Return what the matcher of an entry says of a value."""
    return compile_matcher(as_matcher(entry))(value)


@pytest.mark.parametrize(
    ("entry", "value"),
    [
        ("Paris", "Paris"),
        (1, 1.0),
        (1.0, 1),
        (None, None),
        (True, True),
        ({"a": 1, "b": [1, 2]}, {"b": [1.0, 2], "a": 1}),
        ({}, {}),
        ([], []),
        ({"equals": None}, None),
        ({"equals": {"type": "x"}}, {"type": "x"}),
        ({"contains": "ar"}, "Paris"),
        ({"contains": ["P", "s"]}, "Paris"),
        ({"contains": "PARIS", "ignore_case": True}, "in paris."),
        ({"contains": "straße", "ignore_case": True}, "STRASSE"),
        ({"matches": "^P.*s$"}, "Paris"),
        ({"matches": "ari"}, "Paris"),
        ({"matches": "^[[a]$"}, "["),
        ({"matches": "PARIS", "ignore_case": True}, "in Paris."),
        ({"one_of": ["Paris", 1]}, 1.0),
        ({"type": "string"}, "x"),
        ({"type": "null"}, None),
        ({"type": None}, None),
        ({"ignoring": r"#.*\n?", "equals": "x = 1"}, "# a comment\nx = 1"),
        ({"ignoring": r"\s", "contains": "ab"}, "a b"),
        ({"ignoring": "x", "equals": 5}, 5),
        ({"type": "string", "contains": "a", "matches": "b$"}, "ab"),
        ({"number": 42}, 42.0),
        ({"number": 42}, " 42\n"),
        ({"number": "42"}, "42"),
        ({"number": {"value": 2.5, "tolerance": 0.1}}, 2.6),
        ({"number": {"value": 2.5, "tolerance": 0.1}}, "2.4"),
        ({"number": {"min": 1, "max": 2}}, 2),
        ({"number": {"max": 2}}, -5),
        ({"number": {"value": 42, "in_text": "only"}}, "The answer is 42."),
        ({"number": {"value": 1979, "in_text": "last"}}, "42, as in 1979"),
        ({"number": {"value": 42, "in_text": "first"}}, "42, as in 1979"),
        ({"number": {"value": 42, "in_text": "last"}}, 42),
        ({"length": 3}, "äöü"),
        ({"length": {"min": 1}}, [None]),
        ({"length": {"max": 1}}, {"a": 1}),
        ({"length": 0}, ""),
        ({"ignoring": "-", "length": 2}, "a-b"),
    ],
)
def test_a_matcher_accepts_what_it_names(entry: object, value: object) -> None:
    """Every condition that holds lets the value through, with nothing to say."""
    assert said(entry, value) is None


@pytest.mark.parametrize(
    ("entry", "value"),
    [
        ("Paris", "paris"),
        ("Paris", " Paris"),
        ("1", 1),
        (1, "1"),
        (True, 1),
        (1, True),
        (0, False),
        (False, 0.0),
        (None, False),
        (None, ""),
        ({"a": 1}, {"a": True}),
        ({"a": 1}, {"a": 1, "b": 2}),
        ([1, 2], [2, 1]),
        ([1], {"0": 1}),
        ({}, []),
        ({"contains": "x"}, "Paris"),
        ({"contains": ["P", "x"]}, "Paris"),
        ({"contains": "Paris"}, None),
        ({"contains": "Paris"}, ["Paris"]),
        ({"contains": "istanbul", "ignore_case": True}, "İstanbul"),
        ({"matches": "^ari"}, "Paris"),
        ({"matches": "5"}, 5),
        ({"one_of": [1, 2]}, True),
        ({"type": "string"}, None),
        ({"ignoring": "#.*", "contains": "#"}, "# a comment"),
        ({"contains": "a", "matches": "^b"}, "ab"),
        ({"number": 42}, 43),
        ({"number": 1}, True),
        ({"number": 0}, None),
        ({"number": 42}, "42 apples"),
        ({"number": 42, "type": "number"}, "42"),
        ({"number": {"value": 2.5, "tolerance": 0.1}}, 2.61),
        ({"number": {"min": 1, "max": 2}}, 2.01),
        ({"number": {"min": 1}}, "0"),
        ({"number": {"value": 42, "in_text": "only"}}, "42, as in 1979"),
        ({"number": {"value": 42, "in_text": "last"}}, "42, as in 1979"),
        ({"number": {"value": 42, "in_text": "last"}}, "forty-two"),
        ({"number": {"value": 42, "in_text": "first"}}, [42]),
        ({"length": 3}, "ab"),
        ({"length": 3}, 123),
        ({"length": {"min": 1}}, None),
        ({"length": {"max": 1}}, {"a": 1, "b": 2}),
    ],
)
def test_a_matcher_refuses_everything_else(entry: object, value: object) -> None:
    """One condition that does not hold is enough, and the reason says expected and found."""
    reason = said(entry, value)
    assert reason is not None
    assert reason.startswith("expected ")
    assert ", found " in reason


@pytest.mark.parametrize(
    ("entry", "value", "reason"),
    [
        ({"number": 42}, 41, "expected number 42, found 41"),
        (
            {"number": {"value": 2.5, "tolerance": 0.1}},
            "3 km",
            'expected number 2.5 ± 0.1, found "3 km"',
        ),
        (
            {"number": {"value": 42, "in_text": "last"}},
            "42, as in 1979",
            'expected last number 42, found 1979 in "42, as in 1979"',
        ),
        (
            {"number": {"min": 1, "max": 2.5, "in_text": "only"}},
            "1 or 2",
            'expected only number 1 to 2.5, found 2 numbers in "1 or 2"',
        ),
        (
            {"number": {"max": 2, "in_text": "first"}},
            "two",
            'expected first number at most 2, found no number in "two"',
        ),
        ({"length": 3}, "ab", 'expected length 3, found length 2: "ab"'),
        ({"length": {"min": 3}}, None, "expected length at least 3, found null"),
    ],
)
def test_numbers_and_lengths_say_what_was_expected_and_found(
    entry: object, value: object, reason: str
) -> None:
    """The number that was picked out of a text stands beside the text."""
    assert said(entry, value) == reason


@pytest.mark.parametrize(
    ("matcher", "message"),
    [
        ({"number": {}}, "no bound"),
        ({"number": "many"}, "'many' is no number"),
        ({"number": {"min": 2, "max": 1}}, "nothing lies between 2 and 1"),
        ({"number": {"value": 2, "max": 1}}, "both a value and bounds"),
        ({"number": {"value": 2, "tolerance": -1}}, "not negative"),
        ({"number": {"value": "{{ n }}"}}, "is no number"),
        ({"length": {}}, "no bound"),
        ({"length": {"min": 2, "max": 1}}, "nothing lies between"),
        ({"length": -1}, "this is no matcher"),
        ({"number": float("nan")}, "this is no matcher"),
    ],
)
def test_wrong_bounds_are_an_error_at_once(matcher: object, message: str) -> None:
    """What could not be met, or says nothing, is refused before anything is asked."""
    with pytest.raises(CheckError, match=message):
        compile_matcher(as_matcher(matcher))


@given(
    st.floats(-1e9, 1e9).map(lambda number: round(number, 6)),
    st.floats(0, 1e6).map(lambda number: round(number, 6)),
    st.floats(-1e9, 1e9).map(lambda number: round(number, 6)),
)
def test_a_tolerance_is_symmetric_and_includes_its_ends(
    value: float, tolerance: float, found: float
) -> None:
    """What is within a tolerance of a value has the value within it, and the ends belong to it."""
    number = {"value": value, "tolerance": tolerance}
    other = {"value": found, "tolerance": tolerance}
    assert (said({"number": number}, found) is None) == (said({"number": other}, value) is None)
    distance = Decimal(str(value)) - Decimal(str(found))
    assert said({"number": {"value": value, "tolerance": str(abs(distance))}}, found) is None


@given(st.text() | st.lists(st.integers()) | st.dictionaries(st.text(), st.none()))
def test_a_length_is_what_bounds_say(value: str | list[int] | dict[str, None]) -> None:
    """A number means itself as both bounds, and one more or less is refused."""
    size = len(value)
    assert said({"length": size}, value) is None
    assert said({"length": {"min": size, "max": size}}, value) is None
    assert said({"length": {"min": size + 1}}, value) is not None
    assert said({"length": size + 1}, value) is not None


@pytest.mark.parametrize(
    ("value", "names"),
    [
        (None, {"null"}),
        (True, {"boolean"}),
        (3, {"integer", "number"}),
        (3.0, {"integer", "number"}),
        (3.5, {"number"}),
        (float("inf"), {"number"}),
        ("", {"string"}),
        ({}, {"object"}),
        ([], {"array"}),
    ],
)
def test_types_are_those_of_json_schema(value: object, names: set[str]) -> None:
    """A whole float is an integer, and a boolean is no number."""
    every = {"string", "number", "integer", "boolean", "object", "array", "null"}
    assert {name for name in every if json_type_is(value, name)} == names


def test_a_mapping_with_only_matcher_keys_is_a_matcher() -> None:
    """It is read as conditions, not as a value."""
    assert as_matcher({"contains": "x"}) == Matcher(contains="x")


@pytest.mark.parametrize("value", [{"contains": "x", "city": "y"}, {}, {"city": "x"}])
def test_any_other_mapping_is_the_literal_value(value: dict[str, str]) -> None:
    """One key that is not a matcher's, or no key at all, makes it a value."""
    assert as_matcher(value) == Matcher(equals=value)


def test_a_mapping_with_matcher_keys_and_wrong_values_is_an_error() -> None:
    """The message names the place and says how a literal object is written."""
    with pytest.raises(CheckError, match="this is no matcher") as caught:
        as_matcher({"type": "house"}, where="expect[0]")
    assert caught.value.where == "expect[0]"
    assert "equals" in caught.value.hint


@pytest.mark.parametrize("matcher", [Matcher(), Matcher(ignore_case=True), Matcher(ignoring="x")])
def test_a_matcher_without_a_condition_is_an_error(matcher: Matcher) -> None:
    """It would accept anything, which nobody means by a check."""
    with pytest.raises(CheckError, match="without a condition"):
        compile_matcher(matcher)


@pytest.mark.parametrize("name", ["matches", "ignoring"])
def test_a_wrong_regular_expression_is_an_error_at_once(name: str) -> None:
    """It is found when checks are compiled, before anything is asked, with its place."""
    with pytest.raises(CheckError, match="no regular expression") as caught:
        compile_matcher(Matcher.model_validate({name: "(", "equals": "x"}), where="expect[0]")
    assert caught.value.where == f"expect[0].{name}"


@given(JSON_VALUES)
def test_equality_is_reflexive(value: object) -> None:
    """Every JSON value equals itself."""
    assert json_equal(value, value)


@given(JSON_VALUES, JSON_VALUES)
def test_equality_is_symmetric(left: object, right: object) -> None:
    """Which of the two was expected makes no difference."""
    assert json_equal(left, right) == json_equal(right, left)


@given(JSON_VALUES)
def test_a_literal_matches_itself(value: object) -> None:
    """Whatever `equals` is given, that very value matches."""
    assert compile_matcher(Matcher(equals=value))(value) is None
