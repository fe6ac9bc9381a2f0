"""What types cannot say of a test: its messages, tools and request. Checks have `check_rules`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from matrixbench.spec.check_rules import Asked, check_findings
from matrixbench.spec.conversations import default_max_turns
from matrixbench.spec.nodes import Document, Finding, Loc, Node
from matrixbench.spec.rules import request_findings, sampling_findings
from matrixbench.spec.whole_forms import sentence, whole_form
from matrixbench.spec.wording import found, written

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from matrixbench.records import JsonObject


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
            form = whole_form(loc, document.node_at(loc))
            hint = sentence(form) or "say who speaks: system, user, assistant or tool"
            yield _finding(document, loc, "a message without a «role»", hint)
    for index, tool in enumerate(test.get("tools", [])):
        yield from _tool(document, (*at, "tools", index), tool)
    yield from own_request_findings(document.node_at((*at, "request")))
    asked = Asked(tools=_tool_names(test), turns=_turns(test))
    for index, check in enumerate(test["expect"]):
        yield from check_findings(document, (*at, "expect", index), check, asked)


def own_request_findings(node: Node | None) -> Iterator[Finding]:
    """Yield what is wrong with the request fields of a test, or of a suite's tests."""
    for field, entry in node.entries.items() if node else ():
        yield from request_findings(field, entry, entry.node)
        yield from sampling_findings(field, entry.node)


def _finding(document: Document, loc: Loc, message: str, hint: str = "") -> Finding:
    return Finding(place=document.place_of(loc), message=message, hint=hint)


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


def _tool(document: Document, at: Loc, tool: Mapping[str, Any]) -> Iterator[Finding]:
    function = tool.get("function")
    if not isinstance(function, dict):
        if tool.get("type", "function") == "function":
            hint = "a tool is {type: function, function: {name: …, parameters: {…}}}"
            flat = document.node_at(at) if isinstance(tool.get("name"), str) else None
            if flat is not None:
                hint = f"write {{type: function, function: {written(flat)}}}"
            yield _finding(document, at, "a tool without a «function»", hint)
        return
    if not isinstance(function.get("name"), str) or not function["name"].strip():
        message = "a tool whose function has no name"
        yield _finding(document, (*at, "function", "name"), message)
    if not isinstance(function.get("parameters", {}), dict):
        loc: Loc = (*at, "function", "parameters")
        message = f"parameters: expected a mapping, found {found(document.node_at(loc))}"
        yield _finding(document, loc, message, "a tool's parameters are a JSON Schema")
