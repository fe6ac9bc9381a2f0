"""The check that a reply is JSON, and JSON Schemas for every value that a model can write."""

from __future__ import annotations

import re
from decimal import Decimal
from fractions import Fraction
from itertools import islice
from math import isfinite
from threading import local
from typing import TYPE_CHECKING, Any

from matrixbench.checks.json_values import has_equal_items, read_json
from matrixbench.checks.matchers import as_matcher, compile_matcher, found_in
from matrixbench.checks.verdicts import (
    EXPECTED_CHARS,
    FaultError,
    UnjudgeableError,
    no,
    one_line,
    shown,
    yes,
)
from matrixbench.errors import CheckError
from matrixbench.records import Kind
from matrixbench.spec.value_paths import Nowhere, ValuePathError, look_up, parse_path, write_path

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from jsonschema import ValidationError
    from jsonschema.protocols import Validator

    from matrixbench.checks.matchers import Match
    from matrixbench.checks.verdicts import Rule
    from matrixbench.records import ChatReply, JsonObject, Verdict
    from matrixbench.spec.checks import JsonContent
    from matrixbench.spec.value_paths import Step

TOO_DEEP = "nested too deeply to be held against the schema"

ERRORS_LOOKED_AT = 1_000
"""The worst is chosen among so many: a long list may break a schema at each of its items."""

STEPS = 100_000
"""So many references and combinations of schemas are followed for a small value."""

STEPS_BY_PART = 50
"""So many more are for each part of a large one."""

_SIMPLEST: tuple[Any, ...] = (None, True, 0, "", [], {})
"""One value of each type. A schema that cannot be held against these leads in a circle."""


def compile_schema(schema: JsonObject, where: str) -> Callable[[Any], str | None]:
    """Return a function that says where a value breaks the schema, or None.

    It raises `TimeoutError` where a regular expression takes too long, `FaultError` where the
    schema takes too many steps on a value, and `UnjudgeableError` where a `$ref` leads nowhere.

    Raises:
        CheckError: It is no JSON Schema, its `$ref`s lead in a circle, or every value takes too
            many steps.
    """
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import SchemaError, best_match
    from jsonschema.validators import extend
    from referencing.exceptions import Unresolvable
    from referencing.jsonschema import EMPTY_REGISTRY

    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        raise CheckError(
            f"this is no JSON Schema: {one_line(error.message)}",
            where=f"{where}.schema{error.json_path[1:]}",
            hint="Schemas are read as JSON Schema, draft 2020-12.",
        ) from error
    # A registry of its own: the default one would fetch what a $ref names from the network.
    counted = {name: _counted(Draft202012Validator.VALIDATORS[name]) for name in _COUNTED}
    kind = extend(Draft202012Validator, counted | _OWN)  # type: ignore[no-untyped-call]
    validator = kind(schema, registry=EMPTY_REGISTRY)

    def complaint(value: Any) -> str | None:
        _BUDGET.begin(value)
        try:
            error = best_match(islice(validator.iter_errors(value), ERRORS_LOOKED_AT))
        except RecursionError:
            return TOO_DEEP
        except Unresolvable as unresolvable:  # no reply's fault
            reason = f"the schema's $ref leads nowhere: {one_line(str(unresolvable))}"
            raise UnjudgeableError(Kind.CHECK_RAISED, reason) from unresolvable
        return None if error is None else f"at {error.json_path}: {error.message}"

    _refuse_circles(validator, where)
    return complaint


def _refuse_circles(validator: Validator, where: str) -> None:
    from referencing.exceptions import Unresolvable

    try:
        for value in _SIMPLEST:
            _BUDGET.begin(value)
            validator.is_valid(value)
    except FaultError as fault:
        raise CheckError(
            f"no value could ever be held against this schema: {fault.reason}",
            where=f"{where}.schema",
            hint="References that refer to each other twice or more multiply with each level.",
        ) from fault
    except RecursionError as error:
        raise CheckError(
            "a $ref leads back to itself, so no value could ever be held against this schema",
            where=f"{where}.schema",
            hint="A schema may name itself only for a part of the value: an item or a property.",
        ) from error
    except Unresolvable:  # said of each reply, for others may not get there
        return


class _Budget(local):
    """How many steps a value's validation may still take; each thread has its own.

    Steps and not seconds, so that a verdict is the same on every machine.
    """

    def begin(self, value: Any) -> None:
        """Start with a value."""
        self._value = value
        self._limit = STEPS
        self._steps = 0

    def step(self) -> None:
        """Count one step.

        Raises:
            FaultError: There were too many.
        """
        self._steps += 1
        if self._steps <= self._limit:
            return
        self._limit = STEPS + STEPS_BY_PART * _parts_of(self._value)
        if self._steps > self._limit:
            reason = f"given up: the schema takes more than {self._limit:,} steps on it"
            raise FaultError(Kind.SCHEMA_MISMATCH, reason)


_BUDGET = _Budget()

_COUNTED = ("$ref", "$dynamicRef", "allOf", "anyOf", "oneOf", "not", "if", "dependentSchemas")
"""Only by these can one value be held against one schema more than once."""


def _parts_of(value: Any) -> int:
    """Return of how many values a JSON value consists."""
    waiting = [value]
    for part in waiting:  # which grows meanwhile
        if isinstance(part, dict):
            waiting.extend(part.values())
        elif isinstance(part, list):
            waiting.extend(part)
    return len(waiting)


def _counted(keyword: Callable[..., Any]) -> Callable[..., Any]:
    def held(validator: Any, wanted: Any, value: Any, schema: Any) -> Any:
        _BUDGET.step()
        return keyword(validator, wanted, value, schema)

    return held


def _pattern(
    _validator: Validator,
    pattern: str,
    value: Any,
    _schema: JsonObject,
) -> Iterator[ValidationError]:
    """Do what `pattern` means, in a second at most: jsonschema's own search cannot be stopped."""
    if isinstance(value, str) and not found_in(pattern, value):
        yield _error(f"{value!r} does not match {pattern!r}")


def _pattern_properties(
    validator: Any,
    patterns: JsonObject,
    value: Any,
    _schema: JsonObject,
) -> Iterator[ValidationError]:
    """Do what `patternProperties` means, likewise."""
    for pattern, schema in patterns.items() if isinstance(value, dict) else ():
        for name, item in value.items():
            if found_in(pattern, name):
                yield from validator.descend(item, schema, path=name, schema_path=pattern)


def _additional_properties(
    validator: Any,
    wanted: JsonObject | bool,
    value: Any,
    schema: JsonObject,
) -> Iterator[ValidationError]:
    """Do what `additionalProperties` means, likewise: it looks at the patterns of its neighbour."""
    if not isinstance(value, dict):
        return
    patterns = tuple(schema.get("patternProperties", ()))
    known = schema.get("properties", {})
    extras = [
        name
        for name in value
        if name not in known and not any(found_in(pattern, name) for pattern in patterns)
    ]
    if isinstance(wanted, dict):
        for name in extras:
            yield from validator.descend(value[name], wanted, path=name)
    elif not wanted and extras:
        verb = "was" if len(extras) == 1 else "were"
        names = ", ".join(map(repr, sorted(extras)))
        yield _error(f"Additional properties are not allowed ({names} {verb} unexpected)")


def _unevaluated_properties(
    validator: Any,
    wanted: JsonObject | bool,
    value: Any,
    schema: JsonObject,
) -> Iterator[ValidationError]:
    """Do what `unevaluatedProperties` means, likewise."""
    if not isinstance(value, dict):
        return
    evaluated = _evaluated(validator, value, schema)
    extras = [
        name
        for name, item in value.items()
        if name not in evaluated and not _holds(validator, item, wanted)
    ]
    if not extras:
        return
    verb = "was" if len(extras) == 1 else "were"
    if wanted is False:
        names = ", ".join(map(repr, sorted(extras)))
        yield _error(f"Unevaluated properties are not allowed ({names} {verb} unexpected)")
    else:
        names = ", ".join(map(repr, extras))
        yield _error(
            "Unevaluated properties are not valid under the given schema "
            f"({names} {verb} unevaluated and invalid)"
        )


def _holds(validator: Any, value: Any, schema: JsonObject | bool) -> bool:
    return next(iter(validator.descend(value, schema)), None) is None


def _evaluated(validator: Any, value: JsonObject, schema: JsonObject | bool) -> set[str]:
    """Return the names of an object of which a schema, or a part of it that holds, says something.

    As jsonschema has it (`find_evaluated_property_keys_by_schema`), with our search of patterns.
    """
    if isinstance(schema, bool):
        return set()
    _BUDGET.step()
    found = set(schema.get("properties", {}).keys() & value.keys())
    for keyword in ("additionalProperties", "unevaluatedProperties"):
        if keyword in schema:
            wanted = schema[keyword]
            found |= {name for name, item in value.items() if _holds(validator, item, wanted)}
    for pattern in schema.get("patternProperties", ()):
        found |= {name for name in value if found_in(pattern, name)}
    for keyword in ("$ref", "$dynamicRef"):
        if keyword in schema:
            there = validator._resolver.lookup(schema[keyword])  # noqa: SLF001  as its keywords do
            inner = validator.evolve(schema=there.contents, _resolver=there.resolver)
            found |= _evaluated(inner, value, there.contents)
    dependent = schema.get("dependentSchemas", {})
    parts = [part for name, part in dependent.items() if name in value]
    for keyword in ("allOf", "oneOf", "anyOf"):
        parts += [part for part in schema.get(keyword, ()) if _holds(validator, value, part)]
    if "if" in schema:
        holds = _holds(validator, value, schema["if"])
        parts += [schema["if"]] if holds else []
        parts += [schema[name] for name in ("then" if holds else "else",) if name in schema]
    return found.union(*(_evaluated(validator, value, part) for part in parts))


def _multiple_of(
    _validator: Validator,
    of: float,
    value: Any,
    _schema: JsonObject,
) -> Iterator[ValidationError]:
    """Do what `multipleOf` means, exactly in decimals: 0.3 is a multiple of 0.1."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return
    if not _is_finite(value) or (_exact(value) / _exact(of)).denominator != 1:
        yield _error(f"{value!r} is not a multiple of {of}")


def _is_finite(value: float) -> bool:
    """Return whether a number is finite; `math.isfinite` raises where a float cannot follow."""
    return isinstance(value, int) or isfinite(value)


def _exact(number: float) -> Fraction:
    return Fraction(number if isinstance(number, int) else Decimal(repr(number)))


def _unique_items(
    _validator: Validator,
    wanted: bool,
    value: Any,
    _schema: JsonObject,
) -> Iterator[ValidationError]:
    """Do what `uniqueItems` means, in a time that grows with the list and not with its square."""
    if wanted and isinstance(value, list) and has_equal_items(value):
        yield _error(f"{value!r} has non-unique elements")


def _error(message: str) -> ValidationError:
    from jsonschema import ValidationError

    return ValidationError(message)


_OWN = {
    "pattern": _pattern,
    "patternProperties": _pattern_properties,
    "additionalProperties": _additional_properties,
    "unevaluatedProperties": _unevaluated_properties,
    "multipleOf": _multiple_of,
    "uniqueItems": _unique_items,
}


JSON = "json"

_FENCED = re.compile(
    r"^[ \t]*(?P<fence>`{3,}+|~{3,}+)[^`\n]*\n(?P<body>.*?)(?:^[ \t]*(?P=fence)[`~]*[ \t\r]*$|\Z)",
    re.MULTILINE | re.DOTALL,
)
"""A fenced code block as in CommonMark: it is closed by a fence at least as long, or by the end."""


def compile_json(expected: JsonContent | None, *, where: str = "") -> Rule:
    """Return the rule that a reply's content is JSON, and meets a schema and holds some values.

    Where paths are given, the score is the share of them that match, the schema counted as one.

    Raises:
        CheckError: The schema is no JSON Schema, a path is no path, or a matcher is wrong.
    """
    schema = None if expected is None else expected.schema_
    fenced = expected is not None and expected.fenced
    complaint = None if schema is None else compile_schema(schema, where)
    paths = () if expected is None else _compile_paths(expected.paths, where)
    parts = len(paths) + (complaint is not None)
    passed = yes(JSON, 1.0 if paths else None)

    def rule(reply: ChatReply) -> Verdict:
        none = 0.0 if paths else None
        if not reply.content or not isinstance(reply.content, str):
            found = f"expected JSON, found {shown(reply.content)}"
            return no(JSON, Kind.NO_CONTENT, found, none)
        text = fenced_text(reply.content) if fenced else reply.content
        try:
            value = read_json(text, constants=False)
        except ValueError as error:
            return no(JSON, Kind.NOT_JSON, f"expected JSON, found {shown(text)}: {error}", none)
        said = None if complaint is None else complaint(value)
        mismatches = [reason for path in paths if (reason := path(value)) is not None]
        if said is None and not mismatches:
            return passed
        wrong = len(mismatches) + (said is not None)
        score = 1 - wrong / parts if paths else None
        if said is not None:
            return no(JSON, Kind.SCHEMA_MISMATCH, said, score)
        more = f" (and {len(mismatches) - 1} more)" if len(mismatches) > 1 else ""
        return no(JSON, Kind.PATH_MISMATCH, f"{mismatches[0]}{more}", score)

    return rule


def _compile_paths(paths: Mapping[str, Any], where: str) -> tuple[Match, ...]:
    compiled = []
    for path, wanted in paths.items():
        place = f"{where}.paths.{path}"
        try:
            steps = parse_path(path)
        except ValuePathError as problem:
            raise CheckError(f"{path!r}: {problem}", where=place) from problem
        match = compile_matcher(as_matcher(wanted, where=place), where=place)
        compiled.append(_at_path(steps, match))
    return tuple(compiled)


def _at_path(steps: Sequence[Step], match: Match) -> Match:
    name = one_line(write_path(steps), EXPECTED_CHARS)

    def matches(value: Any) -> str | None:
        found = look_up(value, steps)
        if isinstance(found, Nowhere):
            there = f"{one_line(write_path(found.at), 24)} is " if found.at else ""
            return f"{name}: expected a value, found none: {there}{shown(found.found, 40)}"
        reason = match(found)
        return None if reason is None else f"{name}: {reason}"

    return matches


def fenced_text(content: str) -> str:
    """Return the inside of the first fenced code block, or the whole text where there is none."""
    found = _FENCED.search(content)
    return content if found is None else found["body"]
