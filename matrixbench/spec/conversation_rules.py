"""What types cannot say of a conversation: results that no call gets, turns that say nothing."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from matrixbench.spec.check_rules import arguments_findings
from matrixbench.spec.conversations import default_max_turns
from matrixbench.spec.nodes import Document, Finding, Loc
from matrixbench.spec.wording import choose, found, quoted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from matrixbench.records import JsonObject

RETURNS = "returns"

_ROLES = ("user", "system", "developer")
_NOT_SAID = {
    "assistant": "what the model says is its own",
    "tool": "say it with the tool's `returns:`",
}
_MORE_ARGUMENTS = ("patternProperties", "$ref", "allOf", "anyOf", "oneOf")
"""Words of JSON Schema by which an object may have properties that `properties` does not name."""


def conversation_findings(document: Document, at: Loc, test: JsonObject) -> Iterator[Finding]:
    """Yield what is wrong with a test's turns and its tools' results though every type is right.

    Args:
        document: Where the test stands.
        at: Where in the document it stands.
        test: Its data, parameters filled in.
    """
    tools = test.get("tools", [])
    for index, tool in enumerate(tools):
        yield from _tool(document, (*at, "tools", index), tool)
    turns = test.get("turns", [])
    for index, turn in enumerate(turns):
        yield from _turn(document, (*at, "turns", index), turn)
    yield from _max_turns(document, at, test, turns, any(tool.get(RETURNS) for tool in tools))


def _finding(document: Document, loc: Loc, message: str, hint: str = "") -> Finding:
    return Finding(place=document.place_of(loc), message=message, hint=hint)


def _tool(document: Document, at: Loc, tool: Mapping[str, Any]) -> Iterator[Finding]:
    for key in tool:
        if key != RETURNS and get_close_matches(key, (RETURNS,), n=1):
            place = document.place_of((*at, key), key=True)
            hint = f"perhaps you meant «{RETURNS}», the results of its calls"
            yield Finding(place=place, message=f"a tool with the key {quoted(key)}", hint=hint)
    results = tool.get(RETURNS)
    if not results:
        return
    function = tool.get("function")
    if not isinstance(function, dict):
        # A tool of type `function` without one is told of already.
        if tool.get("type", "function") != "function":
            message = "returns: only a tool with a «function» can be called by name"
            yield _finding(document, (*at, RETURNS), message)
        return
    always: int | None = None
    for index, result in enumerate(results):
        loc: Loc = (*at, RETURNS, index)
        yield from _result(document, loc, result)
        yield from _when(document, (*loc, "when"), result.get("when"), function)
        if always is not None:
            message = f"no call ever gets this: returns[{always}] has no «when» and takes all"
            yield _finding(document, loc, message, "put the result without «when» last")
        elif result.get("when") is None and result.get("times") is None:
            always = index


def _result(document: Document, at: Loc, result: Mapping[str, Any]) -> Iterator[Finding]:
    given = [key for key in ("content", "error") if key in result]
    if not given or (given == ["error"] and result["error"] is None):
        hint = "give it content:, or error: for a call that goes wrong"
        yield _finding(document, at, "a result without «content»", hint)
    elif len(given) > 1:
        yield _finding(document, at, "a result with content and error", "give it one of the two")


def _when(
    document: Document, at: Loc, when: Mapping[str, Any] | None, function: Mapping[str, Any]
) -> Iterator[Finding]:
    if not when:
        return
    yield from arguments_findings(document, at, when)
    known = _arguments(function.get("parameters", {}))
    for name in when if known is not None else ():
        if name not in (known or ()):
            tool = quoted(str(function.get("name", "")))
            message = f"the tool {tool} has no argument {quoted(name)}"
            place = document.place_of((*at, name), key=True)
            hint = choose(name, known or (), what="its arguments")
            yield Finding(place=place, message=message, hint=hint)


def _arguments(parameters: object) -> Sequence[str] | None:
    """Return the arguments that a tool's schema names; None where it may have others."""
    if not isinstance(parameters, dict) or parameters.get("additionalProperties"):
        return None
    if any(word in parameters for word in _MORE_ARGUMENTS):
        return None
    properties = parameters.get("properties", {})
    return list(properties) if isinstance(properties, dict) else None


def _turn(document: Document, at: Loc, turn: str | Mapping[str, Any]) -> Iterator[Finding]:
    content = turn if isinstance(turn, str) else turn.get("content")
    if not isinstance(content, str | list):
        said = found(document.node_at((*at, "content")))
        message = f"a turn needs a content, found {said}"
        yield _finding(document, at, message, 'say {content: "…"}, or a whole message')
    elif not content or (isinstance(content, str) and not content.strip()):
        message = "a turn that says nothing"
        yield _finding(document, at, message, "say what the user says next, or leave it out")
    role = "user" if isinstance(turn, str) else turn.get("role", "user")
    if role not in _ROLES:
        loc: Loc = (*at, "role")
        message = f"a turn is not spoken by {quoted(str(role))}"
        hint = _NOT_SAID.get(str(role)) or choose(str(role), _ROLES)
        yield _finding(document, loc, message, hint)


def _max_turns(
    document: Document, at: Loc, test: JsonObject, turns: Sequence[object], returns: bool
) -> Iterator[Finding]:
    most = test.get("max_turns")
    if most is None:
        return
    loc: Loc = (*at, "max_turns")
    if not turns and not returns:
        message = "max_turns without a conversation: the test has neither turns nor returns"
        yield _finding(document, loc, message, "give a tool returns:, or leave max_turns out")
    elif most <= len(turns):
        message = f"max_turns: {most} replies end before turn {most} of {len(turns)} is answered"
        hint = f"give at least {len(turns) + 1}; the default is {default_max_turns(turns)} here"
        yield _finding(document, loc, message, hint)
