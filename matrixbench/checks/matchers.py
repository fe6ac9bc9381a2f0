"""Matchers: what a single value must be; numbers and patterns. No reply makes one raise."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from decimal import Context, Decimal
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from matrixbench.checks.json_values import json_equal
from matrixbench.checks.verdicts import (
    EXPECTED_CHARS,
    FaultError,
    NotJsonError,
    UnjudgeableError,
    one_line,
    shown,
)
from matrixbench.errors import CheckError
from matrixbench.spec.base import number_of
from matrixbench.spec.checks import CONDITIONS, Bounds, JsonType, Matcher, NumberMatcher
from matrixbench.spec.patterns import REGEX_TIMEOUT_S, PatternError, compiled

if TYPE_CHECKING:
    from collections.abc import Mapping

    import regex

    from matrixbench.checks.verdicts import Rule
    from matrixbench.records import ChatReply, Kind, Verdict
    from matrixbench.spec.checks import NumberPlace


def compile_pattern(pattern: str, flags: int, where: str) -> regex.Pattern[str]:
    """Compile a pattern of `re` with `regex`, whose searches can be given a time limit.

    A pattern that backtracks without end would else hold up the run, and no signal would end it.

    Raises:
        CheckError: It is no regular expression, or one that grows too large.
    """
    try:
        return compiled(pattern, flags)
    except PatternError as error:
        raise CheckError(
            f"{one_line(pattern)} is no regular expression: {error}",
            where=where.lstrip("."),
            hint="Patterns are those of Python's re module.",
        ) from error


def found_in(pattern: str, text: str) -> bool:
    """Return whether a pattern is found in a text.

    Raises:
        TimeoutError: It takes too long to say.
    """
    return _compiled(pattern).search(text, timeout=REGEX_TIMEOUT_S) is not None


@lru_cache(maxsize=256)
def _compiled(pattern: str) -> regex.Pattern[str]:
    return compile_pattern(pattern, 0, "")


def guarded(rule: Rule, kind: Kind) -> Rule:
    """Return a shipped rule that raises nothing at a reply but a `FaultError` of a kind.

    Each fault that is known has its own verdict before it comes to this. Memory that is short is
    the machine's fault, a reply that is no JSON this program's: neither says anything of the model.
    """

    def guard(reply: ChatReply) -> Verdict:
        try:
            return rule(reply)
        except (UnjudgeableError, FaultError, NotJsonError, MemoryError):
            raise
        except TimeoutError as error:
            reason = f"given up: a regular expression took longer than {REGEX_TIMEOUT_S:g} s on it"
            raise FaultError(kind, reason) from error
        except Exception as error:
            reason = f"the reply cannot be looked at: {type(error).__name__}: {error}"
            raise FaultError(kind, reason) from error

    return guard


Within: TypeAlias = Callable[[float], bool]
"""Whether a number lies within some bounds."""

_NUMBER = re.compile(
    r"""
    (?: (?<!\w)[-+\u2212] )?                     # no sign but a hyphen in `5-3` and `b-2`
    (?: (?<![\w.])\.[0-9]+                      # .5
      | (?<!\w)(?<![0-9]\.)(?<!\w\.)             # not within a word or a version such as 1.2.3
        (?: [0-9]{1,3}(?:,[0-9]{3})+(?![0-9]) | [0-9]+ )
        (?: \.[0-9]+ )?
    )
    (?: [eE][-+]?[0-9]+ )?
    """,
    re.VERBOSE,
)
"""A number as English texts write it: `-1,234.5` and `6.02e23`, also before a unit."""


_DECIMALS = Context(prec=10_000)
"""Enough for every number that a file or a reply can hold: sums are exact."""


def is_number(value: object) -> bool:
    """Return whether a JSON value is a number; true and false are none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def written(number: float) -> str:
    """Return a number for people. A whole number may be beyond what a float can say."""
    try:
        return f"{number:.15g}"
    except OverflowError:
        return f"{Decimal(number):.15g}"


def numbers_in(text: str) -> list[float]:
    """Return the numbers that stand in a text, in its order."""
    return [_read(found) for found in _NUMBER.findall(text)]


def number_in(value: Any, place: NumberPlace) -> float | str:
    """Return the number that a value is, or holds at a place of its text; else what was found."""
    if not isinstance(value, str):
        return value if is_number(value) else shown(value)
    if place == "whole":
        whole = _NUMBER.fullmatch(value.strip())
        return shown(value) if whole is None else _read(whole[0])
    numbers = numbers_in(value)
    if not numbers:
        return f"no number in {shown(value)}"
    if place == "only" and len(numbers) > 1:
        return f"{len(numbers)} numbers in {shown(value)}"
    return numbers[-1 if place == "last" else 0]


def compile_bounds(bounds: Bounds, *, where: str = "") -> tuple[Within, str]:
    """Return whether a number lies within bounds, and how those are said.

    Raises:
        CheckError: A bound is no number, there is none, or nothing could lie between them.
    """
    least, most = _known(bounds.min, f"{where}.min"), _known(bounds.max, f"{where}.max")
    if least is None and most is None:
        raise CheckError("no bound is given", where=where, hint="Give it min, max or both.")
    if least is not None and most is not None and least > most:
        raise CheckError(f"nothing lies between {written(least)} and {written(most)}", where=where)
    if least is None:
        return _at_most(most or 0.0)
    if most is None:
        return (lambda number: number >= least), f"at least {written(least)}"
    return (lambda number: least <= number <= most), f"{written(least)} to {written(most)}"


def _at_most(most: float) -> tuple[Within, str]:
    return (lambda number: number <= most), f"at most {written(most)}"


def compile_number(matcher: NumberMatcher, *, where: str = "") -> tuple[Within, str]:
    """Return whether a number is the one that is meant, and how that is said.

    Raises:
        CheckError: See `compile_bounds`; or there is a value beside bounds.
    """
    if matcher.value is None:
        return compile_bounds(matcher, where=where)
    if matcher.min is not None or matcher.max is not None:
        raise CheckError(
            "both a value and bounds", where=where, hint="Give it value and tolerance, or bounds."
        )
    value = _known(matcher.value, f"{where}.value") or 0.0
    tolerance = _known(matcher.tolerance, f"{where}.tolerance") or 0.0
    if tolerance < 0:
        raise CheckError("a tolerance is not negative", where=f"{where}.tolerance")
    low = _DECIMALS.subtract(_exact(value), _exact(tolerance))
    high = _DECIMALS.add(_exact(value), _exact(tolerance))
    about = f" ± {written(tolerance)}" if tolerance else ""

    def within(number: float) -> bool:
        # NaN is near nothing, and decimals refuse to be compared with it.
        return not is_nan(number) and low <= _exact(number) <= high

    return within, f"{written(value)}{about}"


def _read(text: str) -> float:
    plain = text.replace(",", "").replace("\u2212", "-")
    try:
        return int(plain)
    except ValueError:  # a fraction, an exponent, or more digits than `int` takes
        return float(plain)


def is_nan(number: float) -> bool:
    """Return whether a number is NaN; `math.isnan` raises where a float cannot follow."""
    return number != number  # noqa: PLR0124  NaN alone is not equal to itself


def _exact(number: float) -> Decimal:
    """Return a number as it is written, for 2.6 is 0.1 from 2.5 to everybody but the machine."""
    return Decimal(number) if isinstance(number, int) else Decimal(repr(number))


def _known(bound: float | str | None, where: str) -> float | None:
    if bound is None:
        return None
    number = number_of(bound)
    if number is None:
        raise CheckError(f"{bound!r} is no number", where=where)
    return number


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

    def match(value: Any) -> str | None:
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


def json_type_is(value: Any, name: str) -> bool:
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

    def meets(value: Any) -> bool:
        found = number_in(value, place)
        return not isinstance(found, str) and within(found)

    def told(value: Any) -> str:
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
