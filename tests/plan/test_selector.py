"""`--where`: what it selects, and what it says of a mistake."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from matrixbench.errors import UsageError
from matrixbench.plan.selector import parse_where
from matrixbench.spec.axes import label, matches, same

AXES = ["backend", "model", "temperature", "test", "options.cache-type-k", "request.tool_choice"]
CELL = {
    "backend": "candidate",
    "model": "qwen3-4b",
    "temperature": 0.5,
    "test": "weather",
    "options.cache-type-k": "q8_0",
}


@pytest.mark.parametrize(
    ("expression", "selected"),
    [
        ("temperature<=1 and test=~weather", True),
        ("temperature<0.5", False),
        ("temperature>=0.5", True),
        ("temperature = 0.50", True),
        ("temperature=.5", True),
        ("temperature=+5e-1", True),
        ("model=qwen*", True),
        ("model=qwen", False),
        ("model!=qwen*", False),
        ("test=~'^wea'", True),
        ("test!~wea", False),
        ("backend in (baseline, candidate)", True),
        ("backend in (baseline)", False),
        ("not backend=baseline", True),
        ("backend=baseline or test=weather", True),
        ("backend=baseline or test=x and temperature=0.5", False),
        ("(backend=candidate or test=x) and temperature=0.5", True),
        ("options.cache-type-k=q8_0", True),
        ('test="weather"', True),
        ("request.tool_choice=null", True),
        ("request.tool_choice<3", False),
    ],
)
def test_expressions(expression: str, selected: bool) -> None:
    """Comparisons, globs, regular expressions, lists, and, or, not and parentheses."""
    assert parse_where([expression], AXES)(CELL) is selected


def test_several_expressions_must_all_hold() -> None:
    """`--where` may be repeated."""
    assert parse_where(["temperature<1", "test=weather"], AXES)(CELL)
    assert not parse_where(["temperature<1", "test=x"], AXES)(CELL)
    assert parse_where([], AXES)(CELL)


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("temprature<1", "perhaps you meant «temperature»"),
        ("temperature<hot", "compares numbers"),
        ("temperature", "comparison sign is missing"),
        ("temperature<", "value is missing"),
        ("(temperature<1", "closing parenthesis"),
        ("temperature<1 test=x", "not expected here"),
        ("test=~'['", "regular expression is wrong"),
        ('test="unclosed', "cannot be read"),
        ("backend in baseline", "list in parentheses"),
        ("", "a comparison is missing"),
    ],
)
def test_mistakes_name_their_place(expression: str, message: str) -> None:
    """A wrong expression is a usage error that says what was expected."""
    with pytest.raises(UsageError) as wrong:
        parse_where([expression], AXES)
    assert message in str(wrong.value)
    assert "--where" in str(wrong.value)


@pytest.mark.parametrize("level", ["(", "not ", "not ("])
def test_an_expression_has_only_so_many_levels(level: str) -> None:
    """Thousands of parentheses are a mistake like others, with a place; some dozens are fine."""
    fine = level * 30 + "temperature=1" + ")" * 30 * level.count("(")
    parse_where([fine], AXES)(CELL)
    with pytest.raises(UsageError, match="more than 64 levels"):
        parse_where([level * 5000 + "temperature=1"], AXES)


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    """No text makes the parser fail in another way."""
    with suppress(UsageError):
        parse_where([text], AXES)(CELL)


@given(st.one_of(st.none(), st.booleans(), st.integers(), st.text(), st.lists(st.integers())))
def test_a_value_matches_itself(value: object) -> None:
    """A value named literally is found."""
    assert same(value, value)
    assert matches({"value": value}, value)
    assert isinstance(label(value), str)


def test_true_is_not_one() -> None:
    """A boolean and a number are different values."""
    assert not same(True, 1)
    assert same(1, 1.0)


def test_a_regular_expression_that_never_ends_is_a_wrong_option() -> None:
    """The text on which it takes too long is named, and how to write it."""
    selects = parse_where(["test=~'(a|aa)+$'"], AXES)
    with pytest.raises(UsageError, match=r"takes longer than 1 s on «a{60}»"):
        selects({"test": "a" * 60 + "b"})
