"""What types cannot say of a test: its messages, tools and request, and whether checks compile."""

from __future__ import annotations

import re
import warnings
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from matrixbench.spec.checks import Matcher
from matrixbench.spec.nodes import Document, Finding, Loc
from matrixbench.spec.problems import findings_of
from matrixbench.spec.rules import request_findings, sampling_findings
from matrixbench.spec.wording import choose, found, quoted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from matrixbench.records import JsonObject

_CONDITIONS = ("equals", "contains", "matches", "one_of", "type")


def test_findings(document: Document, at: Loc, test: JsonObject) -> Iterator[Finding]:
    """Yield what is wrong with a test though every type is right.

    Args:
        document: Where the test stands.
        at: Where in the document it stands.
        test: Its data, parameters filled in.
    """
    if not test["name"].strip():
        yield _finding(document, (*at, "name"), "the test's name is empty")
    for index, tag in enumerate(test.get("tags", [])):
        if not tag.strip():
            yield _finding(document, (*at, "tags", index), "a tag is empty")
    for index, message in enumerate(test["messages"]):
        if not isinstance(message.get("role"), str):
            loc: Loc = (*at, "messages", index)
            hint = "say who speaks: system, user, assistant or tool"
            yield _finding(document, loc, "a message without a «role»", hint)
    for index, tool in enumerate(test.get("tools", [])):
        yield from _tool(document, (*at, "tools", index), tool)
    node = document.node_at((*at, "request"))
    for field, entry in node.entries.items() if node else ():
        yield from request_findings(field, entry, entry.node)
        yield from sampling_findings(field, entry.node)
    for index, check in enumerate(test["expect"]):
        yield from _check(document, (*at, "expect", index), check, _tool_names(test))


def _finding(document: Document, loc: Loc, message: str, hint: str = "") -> Finding:
    return Finding(place=document.place_of(loc), message=message, hint=hint)


def _tool_names(test: JsonObject) -> list[str]:
    functions = [tool.get("function") for tool in test.get("tools", [])]
    names = [function.get("name") for function in functions if isinstance(function, dict)]
    return [name for name in names if isinstance(name, str)]


def _tool(document: Document, at: Loc, tool: Mapping[str, Any]) -> Iterator[Finding]:
    function = tool.get("function")
    if not isinstance(function, dict):
        if tool.get("type", "function") == "function":
            hint = "a tool is {type: function, function: {name: …, parameters: {…}}}"
            yield _finding(document, at, "a tool without a «function»", hint)
        return
    if not isinstance(function.get("name"), str) or not function["name"].strip():
        message = "a tool whose function has no name"
        yield _finding(document, (*at, "function", "name"), message)
    if not isinstance(function.get("parameters", {}), dict):
        loc: Loc = (*at, "function", "parameters")
        message = f"parameters: expected a mapping, found {found(document.node_at(loc))}"
        yield _finding(document, loc, message, "a tool's parameters are a JSON Schema")


def _check(
    document: Document, at: Loc, check: Mapping[str, Any], tools: Sequence[str]
) -> Iterator[Finding]:
    match check:
        case {"content": dict() as matcher}:
            yield from _matcher(document, (*at, "content"), matcher)
        case {"json": {"schema": dict() as schema}}:
            yield from _schema(document, (*at, "json", "schema"), schema)
        case {"tool_calls": list() as calls}:
            yield from _calls(document, (*at, "tool_calls"), calls, tools)
        case {"tool_calls": {"calls": list() as calls}}:
            yield from _calls(document, (*at, "tool_calls", "calls"), calls, tools)
        case _:
            pass


def _calls(
    document: Document, at: Loc, calls: Sequence[Mapping[str, Any]], tools: Sequence[str]
) -> Iterator[Finding]:
    for index, call in enumerate(calls):
        if tools and call["name"] not in tools:
            message = f"no tool of this test is called {quoted(call['name'])}"
            hint = choose(call["name"], tools, what="its tools")
            yield _finding(document, (*at, index, "name"), message, hint)
        yield from arguments_findings(
            document, (*at, index, "arguments"), call.get("arguments", {})
        )


def arguments_findings(
    document: Document, at: Loc, arguments: Mapping[str, Any]
) -> Iterator[Finding]:
    """Yield what is wrong with the matchers among a call's expected arguments."""
    for name, wanted in arguments.items():
        # The rule of the checks: a mapping with no keys but a matcher's is a matcher.
        if isinstance(wanted, dict) and wanted and wanted.keys() <= Matcher.model_fields.keys():
            yield from _matcher(document, (*at, name), wanted)


def _matcher(document: Document, at: Loc, matcher: Mapping[str, Any]) -> Iterator[Finding]:
    try:
        Matcher.model_validate(matcher)
    except ValidationError as error:
        if at[-1] != "content":  # pydantic has told of a content's already
            yield from findings_of(error, document, Matcher, at=at)
        return
    if not matcher.keys() & set(_CONDITIONS):
        message = "a matcher without a condition would accept anything"
        yield _finding(document, at, message, f"give it one of: {', '.join(_CONDITIONS)}")
    for key in ("matches", "ignoring"):
        pattern = matcher.get(key)
        if isinstance(pattern, str) and (wrong := _regex_error(pattern)):
            loc: Loc = (*at, key)
            message = f"{quoted(pattern)} is no regular expression: {wrong}"
            yield _finding(document, loc, message, "patterns are those of Python's re")


def _regex_error(pattern: str) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # «possible nested set» is no mistake
        try:
            re.compile(pattern)
        except (re.error, OverflowError, RecursionError) as error:
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


def _cut(text: str, length: int = 200) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"
