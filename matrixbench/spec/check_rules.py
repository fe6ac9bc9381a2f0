"""What types cannot say of checks: do their patterns, paths, schemas and bounds mean anything?"""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from matrixbench.spec.base import number_of
from matrixbench.spec.matchers import CONDITIONS, Bounds, Matcher, NumberMatcher
from matrixbench.spec.nodes import Document, Finding, Loc
from matrixbench.spec.problems import findings_of
from matrixbench.spec.value_paths import PathProblem, parse_path
from matrixbench.spec.wording import choose, dotted, quoted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_MATCHED = ("content", "reasoning", "finish_reason")
"""Checks whose value is a matcher where it is a mapping."""

_MAY_BE_NULL = ("equals", "type")
"""Conditions of a matcher for which null is a value; any other one says nothing then."""

_BOUNDED = ("latency_s", "completion_tokens", "cached_tokens")

_NAMING = "write package.module:function; the module may stand beside the file"
_FUNCTION = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)*:[^\W\d]\w*(?:\.[^\W\d]\w*)*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a test asks, as far as its checks can contradict it.

    Args:
        tools: The names of its tools; empty where nothing is known of them.
        turns: How many replies it may have.
    """

    tools: Sequence[str] = ()
    turns: int = 1


def check_findings(
    document: Document, at: Loc, check: Mapping[str, Any], asked: Asked
) -> Iterator[Finding]:
    """Yield what is wrong with a check though every type is right.

    Args:
        document: Where the check stands.
        at: Where in the document it stands.
        check: Its data, parameters filled in.
        asked: What its test asks.
    """
    yield from _turn(document, at, check, asked)
    match check:
        case {"all": list() as parts} | {"any": list() as parts}:
            name = "all" if "all" in check else "any"
            for index, part in enumerate(parts):
                yield from check_findings(document, (*at, name, index), part, asked)
        case {"not": dict() as part}:
            yield from check_findings(document, (*at, "not"), part, asked)
        case {"python": str() as name} if not _FUNCTION.fullmatch(name):
            message = f"{quoted(name)} names no function"
            yield _finding(document, (*at, "python"), message, _NAMING)
        case {"python": str() as name} if name.partition(":")[0].endswith(".py"):
            message = f"{quoted(name)}: a module is named without its .py"
            yield _finding(document, (*at, "python"), message, _NAMING)
        case {"json": dict() as expected}:
            yield from _json(document, (*at, "json"), expected)
        case {"tool_calls": list() as calls}:
            yield from _calls(document, (*at, "tool_calls"), calls, asked.tools)
        case {"tool_calls": dict() as expected}:
            yield from _counts(document, (*at, "tool_calls"), expected)
            calls = expected.get("calls", [])
            yield from _calls(document, (*at, "tool_calls", "calls"), calls, asked.tools)
        case _:
            yield from _value(document, at, check)


def _turn(document: Document, at: Loc, check: Mapping[str, Any], asked: Asked) -> Iterator[Finding]:
    turn = check.get("turn")
    if isinstance(turn, int) and turn > asked.turns:
        replies = "one reply" if asked.turns == 1 else f"at most {asked.turns} replies"
        hint = "" if asked.turns > 1 else "a test with turns or returns is a conversation"
        message = f"turn {turn}: the test has {replies}"
        yield _finding(document, (*at, "turn"), message, hint)


def _value(document: Document, at: Loc, check: Mapping[str, Any]) -> Iterator[Finding]:
    for name in _MATCHED:
        if isinstance(check.get(name), dict):
            yield from _conditions(document, (*at, name), check[name])
    for name in _BOUNDED:
        if name in check:
            yield from _bounds(document, (*at, name), Bounds.model_validate(check[name]), least=0)


def _finding(document: Document, loc: Loc, message: str, hint: str = "") -> Finding:
    return Finding(place=document.place_of(loc), message=message, hint=hint)


def _calls(
    document: Document, at: Loc, calls: Sequence[Mapping[str, Any]], tools: Sequence[str]
) -> Iterator[Finding]:
    for index, call in enumerate(calls):
        if tools and call["name"] not in tools:
            message = f"no tool of this test is called {quoted(call['name'])}"
            hint = choose(call["name"], tools, what="its tools")
            yield _finding(document, (*at, index, "name"), message, hint)
        loc: Loc = (*at, index, "arguments")
        yield from arguments_findings(document, loc, call.get("arguments", {}))


def arguments_findings(
    document: Document, at: Loc, arguments: Mapping[str, Any]
) -> Iterator[Finding]:
    """Yield what is wrong with the matchers among a call's expected arguments."""
    for name, wanted in arguments.items():
        yield from _matcher(document, (*at, name), wanted)


def _counts(document: Document, at: Loc, expected: Mapping[str, Any]) -> Iterator[Finding]:
    calls = len(expected.get("calls", []))
    count, at_least, at_most = (expected.get(key) for key in ("count", "at_least", "at_most"))
    if count is not None and (at_least is not None or at_most is not None):
        message = (
            "count says exactly how many calls there must be: at_least and at_most are too much"
        )
        yield _finding(document, (*at, "count"), message, "leave out count, or the other two")
        return
    for key, most in (("count", count), ("at_most", at_most)):
        if most is not None and most < calls:
            message = f"{_expected(calls)}, but {key} is {most}: no reply could pass"
            hint = f"raise {key}, leave it out, or expect fewer calls"
            yield _finding(document, (*at, key), message, hint)
    if at_least is not None and at_least < calls:
        message = f"{_expected(calls)}, so at_least {at_least} says nothing"
        hint = "every call of calls must be there; for one or the other write two checks under any"
        yield _finding(document, (*at, "at_least"), message, hint)
    if at_least is not None and at_most is not None and at_least > at_most:
        message = f"at_least {at_least} is more than at_most {at_most}: no reply could pass"
        yield _finding(document, (*at, "at_least"), message)


def _expected(calls: int) -> str:
    return "1 call is expected" if calls == 1 else f"{calls} calls are expected"


def _json(document: Document, at: Loc, expected: Mapping[str, Any]) -> Iterator[Finding]:
    if isinstance(schema := expected.get("schema"), dict):
        yield from _schema(document, (*at, "schema"), schema)
    for path, wanted in expected.get("paths", {}).items():
        loc: Loc = (*at, "paths", path)
        try:
            parse_path(path)
        except PathProblem as problem:
            place = document.place_of(loc, key=True)
            hint = "a path is a.b[0].c; a name with other signs is written ['a b']"
            yield Finding(place=place, message=f"{quoted(path)}: {problem}", hint=hint)
        yield from _matcher(document, loc, wanted)


def _matcher(document: Document, at: Loc, wanted: object) -> Iterator[Finding]:
    """Yield what is wrong with an entry that is a matcher, or a value that is meant literally.

    The rule of the checks: a mapping with no keys but a matcher's is a matcher.
    """
    if (
        not isinstance(wanted, dict)
        or not wanted
        or not wanted.keys() <= Matcher.model_fields.keys()
    ):
        return
    try:
        Matcher.model_validate(wanted)
    except ValidationError as error:
        yield from findings_of(error, document, Matcher, at=at)
        return
    yield from _conditions(document, at, wanted)


def _conditions(document: Document, at: Loc, matcher: Mapping[str, Any]) -> Iterator[Finding]:
    """Yield what is wrong with the conditions of a matcher whose types are right."""
    given = {key for key, value in matcher.items() if value is not None or key in _MAY_BE_NULL}
    if not given & set(CONDITIONS):
        message = "a matcher without a condition would accept anything"
        yield _finding(document, at, message, f"give it one of: {', '.join(CONDITIONS)}")
    for key in ("matches", "ignoring"):
        pattern = matcher.get(key)
        if isinstance(pattern, str) and (wrong := _regex_error(pattern)):
            message = f"{quoted(pattern)} is no regular expression: {wrong}"
            yield _finding(document, (*at, key), message, "patterns are those of Python's re")
    match matcher.get("number"):
        case dict() as number:
            yield from _number(document, (*at, "number"), NumberMatcher.model_validate(number))
        case str() as text if number_of(text) is None:
            yield _no_number(document, (*at, "number"), text)
        case _:
            pass
    if isinstance(matcher.get("length"), dict):
        bounds = Bounds.model_validate(matcher["length"])
        yield from _bounds(document, (*at, "length"), bounds, least=0)


def _number(document: Document, at: Loc, number: NumberMatcher) -> Iterator[Finding]:
    if number.value is None:
        if number.tolerance is not None:
            message = "a tolerance without a value"
            hint = "add value:, or write min and max"
            yield _finding(document, (*at, "tolerance"), message, hint)
        else:
            yield from _bounds(document, at, number, also="value, ")
        return
    if number.min is not None or number.max is not None:
        message = "both a value and bounds"
        hint = "write value and tolerance, or min and max"
        yield _finding(document, (*at, "value"), message, hint)
    for key in ("value", "tolerance"):
        if isinstance(text := getattr(number, key), str) and number_of(text) is None:
            yield _no_number(document, (*at, key), text)
    if number.tolerance is not None and (number_of(number.tolerance) or 0) < 0:
        yield _finding(document, (*at, "tolerance"), "a tolerance is not negative")


def _bounds(
    document: Document, at: Loc, bounds: Bounds, *, also: str = "", least: float = -inf
) -> Iterator[Finding]:
    """Yield what is wrong with bounds of something that is never less than `least`."""
    if bounds.min is None and bounds.max is None:
        message = "no bound is given, so anything would do"
        yield _finding(document, at, message, f"give it one of: {also}min, max")
        return
    known = []
    for key in ("min", "max"):
        bound = getattr(bounds, key)
        if isinstance(bound, str) and number_of(bound) is None:
            yield _no_number(document, (*at, key), bound)
        known.append(None if bound is None else number_of(bound))
    low, high = known
    if low is not None and high is not None and low > high:
        message = f"min {low:g} is more than max {high:g}: nothing could be between them"
        yield _finding(document, (*at, "min"), message)
    elif high is not None and high < least:
        message = f"max {high:g} is less than {least:g}: nothing could be so small"
        yield _finding(document, (*at, "max"), message)


def _no_number(document: Document, loc: Loc, text: str) -> Finding:
    message = f"{dotted(loc)}: expected a number, found the text {quoted(text)}"
    return _finding(document, loc, message)


def _regex_error(pattern: str) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # «possible nested set» is no mistake
        try:
            re.compile(pattern)
        except (re.error, ValueError, OverflowError, RecursionError) as error:
            return str(error)
    return ""


def _schema(document: Document, at: Loc, schema: Mapping[str, Any]) -> Iterator[Finding]:
    from jsonschema import (  # noqa: PLC0415  heavy: 0.15 s
        Draft202012Validator,
        SchemaError,
    )

    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        loc: Loc = (*at, *error.absolute_path)
        reason = " ".join(error.message.split())
        yield _finding(document, loc, f"not a JSON Schema: {_cut(reason)}")
        return
    yield from _references(document, at, schema)


def _references(document: Document, at: Loc, schema: Mapping[str, Any]) -> Iterator[Finding]:
    """Yield the `$ref`s of a schema that lead nowhere; with an `$id` in it, nothing is said."""
    from referencing import Registry  # noqa: PLC0415  heavy: few tests need it
    from referencing.exceptions import Unresolvable  # noqa: PLC0415  the same
    from referencing.jsonschema import DRAFT202012  # noqa: PLC0415  the same

    found = list(_keywords(schema))
    if any(loc[-1] == "$id" for loc, _ in found):
        return
    resource = DRAFT202012.create_resource(schema)
    resolver = Registry().with_resource("", resource).resolver()
    for loc, ref in found:
        try:
            _ = resolver.lookup(ref) if loc[-1] == "$ref" else None
        except Unresolvable:
            message = f"{quoted(ref)} leads nowhere in this schema"
            yield _finding(document, (*at, *loc), message, "a $ref stays inside: #/$defs/NAME")


def _keywords(schema: object, at: Loc = ()) -> Iterator[tuple[Loc, str]]:
    """Yield the `$ref`s and `$id`s of a schema, each with its place."""
    items = enumerate(schema) if isinstance(schema, list) else ()
    for key, value in schema.items() if isinstance(schema, dict) else items:
        if key in {"$ref", "$id"} and isinstance(value, str):
            yield (*at, key), value
        elif key not in {"const", "enum", "default", "examples"}:
            yield from _keywords(value, (*at, key))


def _cut(text: str, length: int = 200) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"
