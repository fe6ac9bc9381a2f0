"""What a matcher accepts, what it says when it does not, and how entries become matchers."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from matrixbench.checks.matchers import (
    as_matcher,
    compile_matcher,
    json_equal,
    json_type_is,
)
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
        ({"one_of": []}, "x"),
        ({"type": "string"}, None),
        ({"ignoring": "#.*", "contains": "#"}, "# a comment"),
        ({"contains": "a", "matches": "^b"}, "ab"),
    ],
)
def test_a_matcher_refuses_everything_else(entry: object, value: object) -> None:
    """One condition that does not hold is enough, and the reason says expected and found."""
    reason = said(entry, value)
    assert reason is not None
    assert reason.startswith("expected ")
    assert ", found " in reason


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


@settings(deadline=None)
@given(JSON_VALUES)
def test_equality_is_reflexive(value: object) -> None:
    """Every JSON value equals itself."""
    assert json_equal(value, value)


@settings(deadline=None)
@given(JSON_VALUES, JSON_VALUES)
def test_equality_is_symmetric(left: object, right: object) -> None:
    """Which of the two was expected makes no difference."""
    assert json_equal(left, right) == json_equal(right, left)


@settings(deadline=None)
@given(JSON_VALUES)
def test_a_literal_matches_itself(value: object) -> None:
    """Whatever `equals` is given, that very value matches."""
    assert compile_matcher(Matcher(equals=value))(value) is None
