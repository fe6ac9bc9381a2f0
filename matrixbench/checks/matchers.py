"""Matchers: what a single value must be. See docs/checks.md for the language."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

from matrixbench.checks.excerpt import EXPECTED_CHARS, one_line, shown
from matrixbench.checks.json_values import json_equal
from matrixbench.checks.numbers import compile_bounds, compile_number, number_in, written
from matrixbench.checks.patterns import REGEX_TIMEOUT_S, compile_pattern
from matrixbench.errors import CheckError
from matrixbench.spec.matchers import CONDITIONS, Bounds, JsonType, Matcher, NumberMatcher

MATCHER_KEYS = frozenset(Matcher.model_fields)
"""The keys by which a mapping is known for a matcher."""

Match: TypeAlias = Callable[[Any], str | None]
"""A compiled matcher: None for a value that matches, else what was expected and what was found."""

_JSON_TYPES: Mapping[type, frozenset[JsonType]] = {
    type(None): frozenset({"null"}),
    bool: frozenset({"boolean"}),
    int: frozenset({"integer", "number"}),
    float: frozenset({"number"}),
    str: frozenset({"string"}),
    dict: frozenset({"object"}),
    list: frozenset({"array"}),
}
"""What `json.loads` can give, and what JSON Schema calls it."""


class Condition(NamedTuple):
    """One condition of a matcher: whether a value meets it, how that and what is there are said."""

    meets: Callable[[Any], bool]
    wanted: str
    found: Callable[[Any], str] = shown


def as_matcher(value: object, *, where: str = "") -> Matcher:
    """Return the matcher that an argument's entry in the file stands for.

    A mapping that is not empty and has no keys but a matcher's is a matcher; everything else is
    the literal value. A literal object that looks like a matcher is written `{equals: {…}}`.

    Raises:
        CheckError: The mapping is a matcher by its keys but not by its values.
    """
    if isinstance(value, Matcher):
        return value
    if not isinstance(value, dict) or not value or not value.keys() <= MATCHER_KEYS:
        return Matcher(equals=value)
    try:
        return Matcher.model_validate(value)
    except ValueError as error:
        raise CheckError(
            f"this is no matcher: {one_line(' '.join(str(error).split()), 300)}",
            where=where,
            hint="A literal object whose keys are all matcher keys is written {equals: {…}}.",
        ) from error


def compile_matcher(matcher: Matcher, *, where: str = "") -> Match:
    """Return a function that says why a value does not match, or None.

    Raises:
        CheckError: A regular expression is wrong, or the matcher has no condition.
    """
    conditions = _conditions(matcher, where)
    if not conditions:
        raise CheckError(
            "a matcher without a condition would accept anything",
            where=where,
            hint=f"Give it one of: {', '.join(CONDITIONS)}.",
        )
    ignoring = matcher.ignoring
    ignored = None if ignoring is None else compile_pattern(ignoring, 0, f"{where}.ignoring")

    def match(value: Any) -> str | None:  # noqa: ANN401  any JSON value
        seen = (
            ignored.sub("", value, timeout=REGEX_TIMEOUT_S)
            if ignored is not None and isinstance(value, str)
            else value
        )
        for meets, wanted, found in conditions:
            if not meets(seen):
                return f"expected {wanted}, found {found(seen)}"
        return None

    return match


def json_type_is(value: Any, name: str) -> bool:  # noqa: ANN401  any JSON value
    """Return whether a JSON value has the named type; 1.0 is an integer, as in JSON Schema."""
    if isinstance(value, float) and name == "integer":
        return value.is_integer()
    return name in _JSON_TYPES.get(type(value), frozenset())


def _conditions(matcher: Matcher, where: str) -> tuple[Condition, ...]:
    """The type comes first: for a value of another type it is the plainest reason."""
    return (
        *_type_conditions(matcher),
        *_value_conditions(matcher),
        *_number_conditions(matcher, where),
        *_length_conditions(matcher, where),
        *_contains_conditions(matcher),
        *_matches_conditions(matcher, where),
    )


def _type_conditions(matcher: Matcher) -> list[Condition]:
    if "type" not in matcher.model_fields_set:
        return []
    name = matcher.type or "null"  # YAML's bare `null` is meant as the type of that name
    return [Condition(lambda value: json_type_is(value, name), f"type {name}")]


def _value_conditions(matcher: Matcher) -> list[Condition]:
    conditions: list[Condition] = []
    if "equals" in matcher.model_fields_set:  # null is a value that may be expected
        wanted = matcher.equals
        said = shown(wanted, EXPECTED_CHARS)
        conditions.append(Condition(lambda value: json_equal(wanted, value), said))
    if matcher.one_of is not None:
        choices = tuple(matcher.one_of)
        conditions.append(
            Condition(
                lambda value: any(json_equal(choice, value) for choice in choices),
                f"one of {shown(list(choices), EXPECTED_CHARS)}",
            )
        )
    return conditions


def _number_conditions(matcher: Matcher, where: str) -> list[Condition]:
    number = matcher.number
    if number is None:
        return []
    if not isinstance(number, NumberMatcher):
        number = NumberMatcher(value=number)
    within, said = compile_number(number, where=f"{where}.number")
    place = number.in_text

    def meets(value: Any) -> bool:  # noqa: ANN401  any JSON value
        found = number_in(value, place)
        return not isinstance(found, str) and within(found)

    def told(value: Any) -> str:  # noqa: ANN401  any JSON value
        found = number_in(value, place)
        if isinstance(found, str):
            return found
        return shown(value) if place == "whole" else f"{written(found)} in {shown(value)}"

    return [Condition(meets, f"{'' if place == 'whole' else f'{place} '}number {said}", told)]


def _length_conditions(matcher: Matcher, where: str) -> list[Condition]:
    length = matcher.length
    if length is None:
        return []
    bounds = length if isinstance(length, Bounds) else Bounds(min=length, max=length)
    within, said = compile_bounds(bounds, where=f"{where}.length")
    wanted = f"length {said}" if isinstance(length, Bounds) else f"length {length}"
    return [
        Condition(
            lambda value: isinstance(value, str | list | dict) and within(len(value)),
            wanted,
            lambda value: (
                f"length {len(value)}: {shown(value)}"
                if isinstance(value, str | list | dict)
                else shown(value)
            ),
        )
    ]


def _contains_conditions(matcher: Matcher) -> list[Condition]:
    contains = matcher.contains
    if contains is None:
        return []
    parts = [contains] if isinstance(contains, str) else contains
    return [_contains(part, fold=matcher.ignore_case) for part in parts]


def _contains(part: str, *, fold: bool) -> Condition:
    wanted = f"text with {shown(part, EXPECTED_CHARS)}"
    if not fold:
        return Condition(lambda value: isinstance(value, str) and part in value, wanted)
    folded = part.casefold()
    return Condition(lambda value: isinstance(value, str) and folded in value.casefold(), wanted)


def _matches_conditions(matcher: Matcher, where: str) -> list[Condition]:
    pattern = matcher.matches
    if pattern is None:
        return []
    flags = re.IGNORECASE if matcher.ignore_case else 0
    search = compile_pattern(pattern, flags, f"{where}.matches").search
    return [
        Condition(
            lambda value: (
                isinstance(value, str) and search(value, timeout=REGEX_TIMEOUT_S) is not None
            ),
            f"text that matches {one_line(pattern, EXPECTED_CHARS)}",
        )
    ]
