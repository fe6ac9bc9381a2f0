"""What types cannot say of tests, conversations and checks; and what loads and was hardly meant."""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from difflib import get_close_matches
from math import inf
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from matrixbench.spec.backends import kind_at
from matrixbench.spec.base import axis_values, grid_points, number_of
from matrixbench.spec.checks import CONDITIONS, Bounds, Matcher, NumberMatcher
from matrixbench.spec.problems import findings_of
from matrixbench.spec.rules import request_findings, sampling_findings
from matrixbench.spec.shapes import ROLES, sentence, several_in_one, whole_form
from matrixbench.spec.tests import default_max_turns
from matrixbench.spec.value_paths import ValuePathError, parse_path
from matrixbench.spec.wording import choose, dotted, found, quoted, written
from matrixbench.spec.yaml_source import Document, Finding, Loc, Node, Spot

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from matrixbench.records import JsonObject
    from matrixbench.spec.experiment import ExperimentFile
    from matrixbench.spec.tests import Test


def test_findings(at: Spot, test: JsonObject) -> Iterator[Finding]:
    """Yield what is wrong with a test though every type is right."""
    if not test["name"].strip():
        yield at["name"].told("the test's name is empty")
    for index, tag in enumerate(test.get("tags", [])):
        if not tag.strip():
            yield at["tags"][index].told("a tag is empty")
    for index, message in enumerate(test["messages"]):
        if not isinstance(message.get("role"), str):
            loc = at["messages"][index]
            form = whole_form(loc.loc, loc.node)
            hint = sentence(form) or "say who speaks: system, user, assistant or tool"
            yield loc.told("a message without a «role»", hint)
    for index, tool in enumerate(test.get("tools", [])):
        yield from _tool(at["tools"][index], tool)
    yield from own_request_findings(at["request"].node)
    asked = Asked(tools=_tool_names(test), turns=_turns(test))
    for index, check in enumerate(test["expect"]):
        yield from check_findings(at["expect"][index], check, asked)


def own_request_findings(node: Node | None) -> Iterator[Finding]:
    """Yield what is wrong with the request fields of a test, or of a suite's tests."""
    for field, entry in node.entries.items() if node else ():
        yield from request_findings(field, entry, entry.node)
        yield from sampling_findings(field, entry.node)


def _turns(test: JsonObject) -> int:
    """Return how many replies a test may have."""
    turns = test.get("turns", [])
    if not turns and not any(tool.get("returns") for tool in test.get("tools", [])):
        return 1
    return test.get("max_turns") or default_max_turns(turns)


def _tool_names(test: JsonObject) -> list[str]:
    functions = [tool.get("function") for tool in test.get("tools", [])]
    names = [function.get("name") for function in functions if isinstance(function, dict)]
    return [name for name in names if isinstance(name, str)]


def _tool(at: Spot, tool: Mapping[str, Any]) -> Iterator[Finding]:
    function = tool.get("function")
    if not isinstance(function, dict):
        if tool.get("type", "function") == "function":
            hint = "a tool is {type: function, function: {name: …, parameters: {…}}}"
            flat = at.node if isinstance(tool.get("name"), str) else None
            if flat is not None:
                hint = f"write {{type: function, function: {written(flat)}}}"
            yield at.told("a tool without a «function»", hint)
        return
    if not isinstance(function.get("name"), str) or not function["name"].strip():
        message = "a tool whose function has no name"
        yield at["function"]["name"].told(message)
    if not isinstance(function.get("parameters", {}), dict):
        loc = at["function"]["parameters"]
        message = f"parameters: expected a mapping, found {found(loc.node)}"
        yield loc.told(message, "a tool's parameters are a JSON Schema")


RETURNS = "returns"

_ROLES = ("user", "system", "developer")
_NOT_SAID = {
    "assistant": "what the model says is its own",
    "tool": "say it with the tool's `returns:`",
}
_MORE_ARGUMENTS = ("patternProperties", "$ref", "allOf", "anyOf", "oneOf")
"""Words of JSON Schema by which an object may have properties that `properties` does not name."""


def conversation_findings(at: Spot, test: JsonObject) -> Iterator[Finding]:
    """Yield what is wrong with a test's turns and its tools' results though every type is right."""
    tools = test.get("tools", [])
    for index, tool in enumerate(tools):
        yield from _answering_tool(at["tools"][index], tool)
    turns = test.get("turns", [])
    for index, turn in enumerate(turns):
        yield from _conversation_turn(at["turns"][index], turn)
    yield from _max_turns(at, test, turns, any(tool.get(RETURNS) for tool in tools))


def _answering_tool(at: Spot, tool: Mapping[str, Any]) -> Iterator[Finding]:
    for key in tool:
        if key != RETURNS and get_close_matches(key, (RETURNS,), n=1):
            hint = f"perhaps you meant «{RETURNS}», the results of its calls"
            yield at[key].told(f"a tool with the key {quoted(key)}", hint, key=True)
    results = tool.get(RETURNS)
    if not results:
        return
    function = tool.get("function")
    if not isinstance(function, dict):
        # A tool of type `function` without one is told of already.
        if tool.get("type", "function") != "function":
            message = "returns: only a tool with a «function» can be called by name"
            yield at[RETURNS].told(message)
        return
    always: int | None = None
    for index, result in enumerate(results):
        loc = at[RETURNS][index]
        yield from _result(loc, result)
        yield from _when(loc["when"], result.get("when"), function)
        if always is not None:
            message = f"no call ever gets this: returns[{always}] has no «when» and takes all"
            yield loc.told(message, "put the result without «when» last")
        elif result.get("when") is None and result.get("times") is None:
            always = index


def _result(at: Spot, result: Mapping[str, Any]) -> Iterator[Finding]:
    given = [key for key in ("content", "error") if key in result]
    if not given or (given == ["error"] and result["error"] is None):
        hint = "give it content:, or error: for a call that goes wrong"
        yield at.told("a result without «content»", hint)
    elif len(given) > 1:
        yield at.told("a result with content and error", "give it one of the two")


def _when(
    at: Spot, when: Mapping[str, Any] | None, function: Mapping[str, Any]
) -> Iterator[Finding]:
    if not when:
        return
    yield from arguments_findings(at, when)
    known = _arguments(function.get("parameters", {}))
    for name in when if known is not None else ():
        if name not in (known or ()):
            tool = quoted(str(function.get("name", "")))
            message = f"the tool {tool} has no argument {quoted(name)}"
            hint = choose(name, known or (), what="its arguments")
            yield at[name].told(message, hint, key=True)


def _arguments(parameters: object) -> Sequence[str] | None:
    """Return the arguments that a tool's schema names; None where it may have others."""
    if not isinstance(parameters, dict) or parameters.get("additionalProperties"):
        return None
    if any(word in parameters for word in _MORE_ARGUMENTS):
        return None
    properties = parameters.get("properties", {})
    return list(properties) if isinstance(properties, dict) else None


def _conversation_turn(at: Spot, turn: str | Mapping[str, Any]) -> Iterator[Finding]:
    content = turn if isinstance(turn, str) else turn.get("content")
    if not isinstance(content, str | list):
        said = found(at["content"].node)
        message = f"a turn needs a content, found {said}"
        yield at.told(message, 'say {content: "…"}, or a whole message')
    elif not content or (isinstance(content, str) and not content.strip()):
        message = "a turn that says nothing"
        yield at.told(message, "say what the user says next, or leave it out")
    role = "user" if isinstance(turn, str) else turn.get("role", "user")
    if role not in _ROLES:
        loc = at["role"]
        message = f"a turn is not spoken by {quoted(str(role))}"
        hint = _NOT_SAID.get(str(role)) or choose(str(role), _ROLES)
        yield loc.told(message, hint)


def _max_turns(
    at: Spot, test: JsonObject, turns: Sequence[object], returns: bool
) -> Iterator[Finding]:
    most = test.get("max_turns")
    if most is None:
        return
    loc = at["max_turns"]
    if not turns and not returns:
        message = "max_turns without a conversation: the test has neither turns nor returns"
        yield loc.told(message, "give a tool returns:, or leave max_turns out")
    elif most <= len(turns):
        message = f"max_turns: {most} replies end before turn {most} of {len(turns)} is answered"
        hint = f"give at least {len(turns) + 1}; the default is {default_max_turns(turns)} here"
        yield loc.told(message, hint)


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


def check_findings(at: Spot, check: Mapping[str, Any], asked: Asked) -> Iterator[Finding]:
    """Yield what is wrong with a check though every type is right."""
    yield from _turn(at, check, asked)
    match check:
        case {"all": list() as parts} | {"any": list() as parts}:
            name = "all" if "all" in check else "any"
            for index, part in enumerate(parts):
                yield from check_findings(at[name][index], part, asked)
        case {"not": dict() as part}:
            yield from check_findings(at["not"], part, asked)
        case {"python": str() as name} if not _FUNCTION.fullmatch(name):
            message = f"{quoted(name)} names no function"
            yield at["python"].told(message, _NAMING)
        case {"python": str() as name} if name.partition(":")[0].endswith(".py"):
            message = f"{quoted(name)}: a module is named without its .py"
            yield at["python"].told(message, _NAMING)
        case {"json": dict() as expected}:
            yield from _json(at["json"], expected)
        case {"tool_calls": list() as calls}:
            yield from _calls(at["tool_calls"], calls, asked.tools)
        case {"tool_calls": dict() as expected}:
            yield from _counts(at["tool_calls"], expected)
            calls = expected.get("calls", [])
            yield from _calls(at["tool_calls"]["calls"], calls, asked.tools)
        case _:
            yield from _value(at, check)


def _turn(at: Spot, check: Mapping[str, Any], asked: Asked) -> Iterator[Finding]:
    turn = check.get("turn")
    if isinstance(turn, int) and turn > asked.turns:
        replies = "one reply" if asked.turns == 1 else f"at most {asked.turns} replies"
        hint = "" if asked.turns > 1 else "a test with turns or returns is a conversation"
        message = f"turn {turn}: the test has {replies}"
        yield at["turn"].told(message, hint)


def _value(at: Spot, check: Mapping[str, Any]) -> Iterator[Finding]:
    for name in _MATCHED:
        if isinstance(check.get(name), dict):
            yield from _conditions(at[name], check[name])
    for name in _BOUNDED:
        if name in check:
            yield from _bounds(at[name], Bounds.model_validate(check[name]), least=0)


def _calls(at: Spot, calls: Sequence[Mapping[str, Any]], tools: Sequence[str]) -> Iterator[Finding]:
    for index, call in enumerate(calls):
        if tools and call["name"] not in tools:
            message = f"no tool of this test is called {quoted(call['name'])}"
            hint = choose(call["name"], tools, what="its tools")
            yield at[index]["name"].told(message, hint)
        loc = at[index]["arguments"]
        yield from arguments_findings(loc, call.get("arguments", {}))


def arguments_findings(at: Spot, arguments: Mapping[str, Any]) -> Iterator[Finding]:
    """Yield what is wrong with the matchers among a call's expected arguments."""
    for name, wanted in arguments.items():
        yield from _matcher(at[name], wanted)


def _counts(at: Spot, expected: Mapping[str, Any]) -> Iterator[Finding]:
    calls = len(expected.get("calls", []))
    count, at_least, at_most = (expected.get(key) for key in ("count", "at_least", "at_most"))
    if count is not None and (at_least is not None or at_most is not None):
        message = (
            "count says exactly how many calls there must be: at_least and at_most are too much"
        )
        yield at["count"].told(message, "leave out count, or the other two")
        return
    for key, most in (("count", count), ("at_most", at_most)):
        if most is not None and most < calls:
            message = f"{_expected(calls)}, but {key} is {most}: no reply could pass"
            hint = f"raise {key}, leave it out, or expect fewer calls"
            yield at[key].told(message, hint)
    if at_least is not None and at_least < calls:
        message = f"{_expected(calls)}, so at_least {at_least} says nothing"
        hint = "every call of calls must be there; for one or the other write two checks under any"
        yield at["at_least"].told(message, hint)
    if at_least is not None and at_most is not None and at_least > at_most:
        message = f"at_least {at_least} is more than at_most {at_most}: no reply could pass"
        yield at["at_least"].told(message)


def _expected(calls: int) -> str:
    return "1 call is expected" if calls == 1 else f"{calls} calls are expected"


def _json(at: Spot, expected: Mapping[str, Any]) -> Iterator[Finding]:
    if isinstance(schema := expected.get("schema"), dict):
        yield from _schema(at["schema"], schema)
    for path, wanted in expected.get("paths", {}).items():
        loc = at["paths"][path]
        try:
            parse_path(path)
        except ValuePathError as problem:
            hint = "a path is a.b[0].c; a name with other signs is written ['a b']"
            yield loc.told(f"{quoted(path)}: {problem}", hint, key=True)
        yield from _matcher(loc, wanted)


def _matcher(at: Spot, wanted: object) -> Iterator[Finding]:
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
        yield from findings_of(error, at.document, Matcher, at=at.loc)
        return
    yield from _conditions(at, wanted)


def _conditions(at: Spot, matcher: Mapping[str, Any]) -> Iterator[Finding]:
    """Yield what is wrong with the conditions of a matcher whose types are right."""
    given = {key for key, value in matcher.items() if value is not None or key in _MAY_BE_NULL}
    if not given & set(CONDITIONS):
        message = "a matcher without a condition would accept anything"
        yield at.told(message, f"give it one of: {', '.join(CONDITIONS)}")
    for key in ("matches", "ignoring"):
        pattern = matcher.get(key)
        if isinstance(pattern, str) and (wrong := _regex_error(pattern)):
            message = f"{quoted(pattern)} is no regular expression: {wrong}"
            yield at[key].told(message, "patterns are those of Python's re")
    match matcher.get("number"):
        case dict() as number:
            yield from _number(at["number"], NumberMatcher.model_validate(number))
        case str() as text if number_of(text) is None:
            yield _no_number(at["number"], text)
        case _:
            pass
    if isinstance(matcher.get("length"), dict):
        bounds = Bounds.model_validate(matcher["length"])
        yield from _bounds(at["length"], bounds, least=0)


def _number(at: Spot, number: NumberMatcher) -> Iterator[Finding]:
    if number.value is None:
        if number.tolerance is not None:
            message = "a tolerance without a value"
            hint = "add value:, or write min and max"
            yield at["tolerance"].told(message, hint)
        else:
            yield from _bounds(at, number, also="value, ")
        return
    if number.min is not None or number.max is not None:
        message = "both a value and bounds"
        hint = "write value and tolerance, or min and max"
        yield at["value"].told(message, hint)
    for key in ("value", "tolerance"):
        if isinstance(text := getattr(number, key), str) and number_of(text) is None:
            yield _no_number(at[key], text)
    if number.tolerance is not None and (number_of(number.tolerance) or 0) < 0:
        yield at["tolerance"].told("a tolerance is not negative")


def _bounds(at: Spot, bounds: Bounds, *, also: str = "", least: float = -inf) -> Iterator[Finding]:
    """Yield what is wrong with bounds of something that is never less than `least`."""
    if bounds.min is None and bounds.max is None:
        message = "no bound is given, so anything would do"
        yield at.told(message, f"give it one of: {also}min, max")
        return
    known = []
    for key in ("min", "max"):
        bound = getattr(bounds, key)
        if isinstance(bound, str) and number_of(bound) is None:
            yield _no_number(at[key], bound)
        known.append(None if bound is None else number_of(bound))
    low, high = known
    if low is not None and high is not None and low > high:
        message = f"min {low:g} is more than max {high:g}: nothing could be between them"
        yield at["min"].told(message)
    elif high is not None and high < least:
        message = f"max {high:g} is less than {least:g}: nothing could be so small"
        yield at["max"].told(message)


def _no_number(loc: Spot, text: str) -> Finding:
    message = f"{dotted(loc.loc)}: expected a number, found the text {quoted(text)}"
    return loc.told(message)


def _regex_error(pattern: str) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # «possible nested set» is no mistake
        try:
            re.compile(pattern)
        except (re.error, ValueError, OverflowError, RecursionError) as error:
            return str(error)
    return ""


def _schema(at: Spot, schema: Mapping[str, Any]) -> Iterator[Finding]:
    from jsonschema import (
        Draft202012Validator,
        SchemaError,
    )

    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        reason = " ".join(error.message.split())
        yield at.below(*error.absolute_path).told(f"not a JSON Schema: {_cut(reason)}")
        return
    yield from _references(at, schema)


def _references(at: Spot, schema: Mapping[str, Any]) -> Iterator[Finding]:
    """Yield the `$ref`s of a schema that lead nowhere; with an `$id` in it, nothing is said."""
    from referencing import Registry
    from referencing.exceptions import Unresolvable
    from referencing.jsonschema import DRAFT202012

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
            yield at.below(*loc).told(message, "a $ref stays inside: #/$defs/NAME")


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


OTHER_ROLES = frozenset({"function", "ipython", "observation", "documents", "latest_reminder"})
"""Roles that templates of some models know beside the usual ones."""

_ROLES_MEANT = {
    **dict.fromkeys(("human", "me", "customer", "prompt", "question"), "user"),
    **dict.fromkeys(("ai", "bot", "gpt", "model", "chatbot", "llm", "agent"), "assistant"),
    **dict.fromkeys(("sys", "instruction", "instructions"), "system"),
    **dict.fromkeys(("tool_response", "tool_result", "result"), "tool"),
}

_FLAG_AND_VALUE = re.compile(r"--?[A-Za-z][\w-]*\s+\S")


def doubtful_findings(
    document: Document, file: ExperimentFile, tests: Iterable[Test], meant: Mapping[Loc, str]
) -> Iterator[Finding]:
    """Yield what a file most likely does not mean though it loads.

    Args:
        tests: Its tests, those of suites too, parameters filled in.
        meant: Where → a text with its variables filled in.
    """
    yield from several_in_one(document)
    yield from _of_kinds(document, meant)
    yield from _command_lines(document)
    yield from _contexts(document, file, tests)


def doubtful_test(at: Spot, test: JsonObject) -> Iterator[Finding]:
    """Yield what a test most likely does not mean."""
    for index, message in enumerate(test["messages"]):
        role = message.get("role")
        if isinstance(role, str) and role not in ROLES and role not in OTHER_ROLES:
            meant = _ROLES_MEANT.get(role.casefold())
            hint = choose(role, ROLES, what="roles")
            if meant is not None:
                hint = f"write role: {meant}; roles: {', '.join(ROLES)}"
            yield at.below("messages", index, "role").told(f"unknown role {quoted(role)}", hint)
    if not test["expect"]:
        message = f"{quoted(test['name'])} expects nothing: every reply passes"
        hint = "give it a check, such as expect: [{content: {contains: Paris}}]"
        yield at["expect"].told(message, hint, key=True)


def _of_kinds(document: Document, meant: Mapping[Loc, str]) -> Iterator[Finding]:
    for name, entry in document.root.child_entries("backends").items():
        if (kind := kind_at(entry.node)) is not None:
            url = meant.get(("backends", name, "url"))
            yield from kind.doubtful_findings(name, entry, url)


def _command_lines(document: Document) -> Iterator[Finding]:
    for entry in document.root.child_entries("backends").values():
        for node in entry.node.child_items("argv")[1:]:
            if isinstance(node.value, str) and _FLAG_AND_VALUE.match(node.value):
                flag, _, value = node.text.strip().partition(" ")
                message = f"{quoted(node.text)} is one argument, its space included"
                hint = f'each argument is an element: "{flag}", "{value.strip()}"'
                yield node.told(message, hint)


def _contexts(document: Document, file: ExperimentFile, tests: Iterable[Test]) -> Iterator[Finding]:
    """Yield backends whose context cannot hold as long a reply as is asked for."""
    asked = _asked(file, tests)
    for name, backend in file.backends.items():
        context = backend.context_given
        if context is None:
            continue
        held = backend.held_context(context)
        for most in sorted(value for value in asked if value >= held):
            rounded = "" if held == context else f" ({backend.kind} rounds it up to {held:,})"
            message = (
                f"the backend «{name}» has context: {context}{rounded}, which cannot hold "
                f"max_tokens: {most} beside the prompt"
            )
            hint = "raise context, or lower max_tokens; a reply that fills it is context_full"
            place = document.place_of(("backends", name, "context"), key=True)
            yield Finding(place=place, message=message, hint=hint)


def _asked(file: ExperimentFile, tests: Iterable[Test]) -> set[int]:
    """Return the caps on a reply that some test is asked with."""
    of_file: set[Any] = {
        value
        for point in grid_points(file.request)
        for value in axis_values(point.get("max_tokens", file.max_tokens))
    }
    found: set[Any] = set()
    for test in tests:
        found |= {test.request["max_tokens"]} if "max_tokens" in test.request else of_file
    return {value for value in found if isinstance(value, int)}
