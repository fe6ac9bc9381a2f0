"""The check that a reply's text is JSON: `json`."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from matrixbench.checks.excerpt import EXPECTED_CHARS, one_line, shown
from matrixbench.checks.matchers import as_matcher, compile_matcher
from matrixbench.checks.patterns import found_in
from matrixbench.checks.verdicts import no, yes
from matrixbench.errors import CheckError
from matrixbench.records import Kind
from matrixbench.spec.value_paths import Missing, PathProblem, look_up, parse_path, write_path

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from jsonschema import ValidationError

    from matrixbench.checks.matchers import Match
    from matrixbench.checks.verdicts import Rule
    from matrixbench.records import ChatReply, JsonObject, Verdict
    from matrixbench.spec.checks import JsonContent
    from matrixbench.spec.value_paths import Step

JSON = "json"

_FENCED = re.compile(
    r"^[ \t]*(?P<fence>`{3,}|~{3,})[^`\n]*\n(?P<body>.*?)(?:^[ \t]*(?P=fence)[`~]*[ \t\r]*$|\Z)",
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
    complaint = None if schema is None else _compile_schema(schema, where)
    paths = () if expected is None else _compile_paths(expected.paths, where)
    parts = len(paths) + (complaint is not None)
    passed = yes(JSON, 1.0 if paths else None)

    def rule(reply: ChatReply) -> Verdict:
        none = 0.0 if paths else None
        if not reply.content:
            found = f"expected JSON, found {shown(reply.content)}"
            return no(JSON, Kind.NO_CONTENT, found, none)
        text = fenced_text(reply.content) if fenced else reply.content
        try:
            value = _STRICT.decode(text)
        except (ValueError, RecursionError) as error:
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
        except PathProblem as problem:
            raise CheckError(f"{path!r}: {problem}", where=place) from problem
        match = compile_matcher(as_matcher(wanted, where=place), where=place)
        compiled.append(_at_path(steps, match))
    return tuple(compiled)


def _at_path(steps: Sequence[Step], match: Match) -> Match:
    name = one_line(write_path(steps), EXPECTED_CHARS)

    def matches(value: Any) -> str | None:  # noqa: ANN401  any JSON value
        found = look_up(value, steps)
        if isinstance(found, Missing):
            there = f"{one_line(write_path(found.at), 24)} is " if found.at else ""
            return f"{name}: expected a value, found none: {there}{shown(found.found, 40)}"
        reason = match(found)
        return None if reason is None else f"{name}: {reason}"

    return matches


def fenced_text(content: str) -> str:
    """Return the inside of the first fenced code block, or the whole text where there is none."""
    found = _FENCED.search(content)
    return content if found is None else found["body"]


def _refuse_constant(name: str) -> Any:  # noqa: ANN401  the decoder's signature; it never returns
    raise ValueError(f"{name} is not JSON")


_STRICT = json.JSONDecoder(parse_constant=_refuse_constant)
"""Python's own decoder takes NaN and Infinity, which other readers of JSON do not."""


def _pattern(*given: Any) -> Iterator[ValidationError]:  # noqa: ANN401  jsonschema has no types
    """Do what `pattern` means, in a second at most: jsonschema's own search cannot be stopped."""
    from jsonschema import ValidationError  # noqa: PLC0415  heavy: 0.1 s, few tests need it

    _, pattern, value, _ = given
    if isinstance(value, str) and not found_in(pattern, value):
        yield ValidationError(f"{value!r} does not match {pattern!r}")


def _properties(*given: Any) -> Iterator[ValidationError]:  # noqa: ANN401  the same
    """Do what `patternProperties` means, likewise."""
    validator, patterns, value, _ = given
    for pattern, schema in patterns.items() if isinstance(value, dict) else ():
        for name, item in value.items():
            if found_in(pattern, name):
                yield from validator.descend(item, schema, path=name, schema_path=pattern)


def _compile_schema(schema: JsonObject, where: str) -> Callable[[Any], str | None]:
    """Return a function that says where a value breaks the schema, or None."""
    from jsonschema import Draft202012Validator  # noqa: PLC0415  heavy: 0.1 s, few tests need it
    from jsonschema.exceptions import SchemaError, best_match  # noqa: PLC0415  the same
    from jsonschema.validators import extend  # noqa: PLC0415  the same
    from referencing.jsonschema import EMPTY_REGISTRY  # noqa: PLC0415  the same

    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        raise CheckError(
            f"this is no JSON Schema: {one_line(error.message)}",
            where=f"{where}.schema{error.json_path[1:]}",
            hint="Schemas are read as JSON Schema, draft 2020-12.",
        ) from error
    # A registry of its own: the default one would fetch what a $ref names from the network.
    own = {"pattern": _pattern, "patternProperties": _properties}
    kind = extend(Draft202012Validator, own)  # type: ignore[no-untyped-call]
    validator = kind(schema, registry=EMPTY_REGISTRY)

    def complaint(value: Any) -> str | None:  # noqa: ANN401  any JSON value
        error = best_match(validator.iter_errors(value))
        return None if error is None else f"at {error.json_path}: {error.message}"

    return complaint
