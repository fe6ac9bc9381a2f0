"""What an experiment file says that loads and runs, and is most likely not what was meant.

These are warnings: `validate` prints them, `plan` notes them, nothing is refused for them.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from matrixbench.spec.backends import (
    CommandBackend,
    EndpointBackend,
    LlamaServerBackend,
    OllamaBackend,
)
from matrixbench.spec.grid import axis_values, grid_points
from matrixbench.spec.loose_values import several_in_one
from matrixbench.spec.nodes import Finding
from matrixbench.spec.whole_forms import ROLES
from matrixbench.spec.wording import choose, quoted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from matrixbench.records import JsonObject
    from matrixbench.spec.backends import Backend
    from matrixbench.spec.experiment import ExperimentFile
    from matrixbench.spec.nodes import Document, Loc
    from matrixbench.spec.tests import Test

CONTEXT_STEP = 256
"""llama.cpp rounds the context of a slot up to a multiple of this."""

OTHER_ROLES = frozenset({"function", "ipython", "observation", "documents", "latest_reminder"})
"""Roles that templates of some models know beside the usual ones."""

_ROLES_MEANT = {
    **dict.fromkeys(("human", "me", "customer", "prompt", "question"), "user"),
    **dict.fromkeys(("ai", "bot", "gpt", "model", "chatbot", "llm", "agent"), "assistant"),
    **dict.fromkeys(("sys", "instruction", "instructions"), "system"),
    **dict.fromkeys(("tool_response", "tool_result", "result"), "tool"),
}

PAGES = ("chat/completions", "completions", "chat", "responses", "models", "messages", "embeddings")
"""Pages of chat APIs that are taken for its base; a longer one comes before its end."""

_FLAG_AND_VALUE = re.compile(r"--?[A-Za-z][\w-]*\s+\S")


def doubtful_findings(
    document: Document, file: ExperimentFile, tests: Iterable[Test], meant: Mapping[Loc, str]
) -> Iterator[Finding]:
    """Yield what a file most likely does not mean though it loads.

    Args:
        document: The file as it stands.
        file: What it says.
        tests: Its tests, those of suites too, parameters filled in.
        meant: Where → a text with its variables filled in.
    """
    yield from several_in_one(document)
    yield from _urls(document, meant)
    yield from _command_lines(document)
    yield from _contexts(document, file, tests)


def doubtful_test(document: Document, at: Loc, test: JsonObject) -> Iterator[Finding]:
    """Yield what a test most likely does not mean.

    Args:
        document: Where the test stands.
        at: Where in the document it stands.
        test: Its data, parameters filled in.
    """
    for index, message in enumerate(test["messages"]):
        role = message.get("role")
        if isinstance(role, str) and role not in ROLES and role not in OTHER_ROLES:
            meant = _ROLES_MEANT.get(role.casefold())
            hint = choose(role, ROLES, what="roles")
            if meant is not None:
                hint = f"write role: {meant}; roles: {', '.join(ROLES)}"
            place = document.place_of((*at, "messages", index, "role"))
            yield Finding(place=place, message=f"unknown role {quoted(role)}", hint=hint)
    if not test["expect"]:
        place = document.place_of((*at, "expect"), key=True)
        message = f"{quoted(test['name'])} expects nothing: every reply passes"
        hint = "give it a check, such as expect: [{content: {contains: Paris}}]"
        yield Finding(place=place, message=message, hint=hint)


def base_of(url: str) -> str | None:
    """Return a url without the page of the chat API that it ends in; None where it ends in none."""
    parts = urlsplit(url)
    path = parts.path.rstrip("/")
    page = next((page for page in PAGES if path.endswith(f"/{page}")), None)
    if page is None:
        return None
    return parts._replace(path=path.removesuffix(f"/{page}"), query="", fragment="").geturl()


def _urls(document: Document, meant: Mapping[Loc, str]) -> Iterator[Finding]:
    for name, entry in document.root.child_entries("backends").items():
        url, node = meant.get(("backends", name, "url")), entry.node.child("url")
        kind = entry.node.child("kind")
        if url is None or node is None or kind is None or kind.value != "endpoint":
            continue
        base = base_of(url)
        if base is not None:
            message = f"the url of the backend «{name}» names a page of the API, not its base"
            example = (
                f"write url: {base}" if node.text == url and "@" not in url else "leave it out"
            )
            yield Finding(place=node.place, message=message, hint=example)


def _command_lines(document: Document) -> Iterator[Finding]:
    for entry in document.root.child_entries("backends").values():
        for node in entry.node.child_items("argv")[1:]:
            if isinstance(node.value, str) and _FLAG_AND_VALUE.match(node.value):
                flag, _, value = node.text.strip().partition(" ")
                message = f"{quoted(node.text)} is one argument, its space included"
                hint = f'each argument is an element: "{flag}", "{value.strip()}"'
                yield Finding(place=node.place, message=message, hint=hint)


def _contexts(document: Document, file: ExperimentFile, tests: Iterable[Test]) -> Iterator[Finding]:
    """Yield backends whose context cannot hold as long a reply as is asked for."""
    asked = _asked(file, tests)
    for name, backend in file.backends.items():
        context = context_of(backend)
        if context is None:
            continue
        held = held_context(backend, context)
        for most in sorted(value for value in asked if value >= held):
            rounded = "" if held == context else f" (llama-server rounds it up to {held:,})"
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


def context_of(backend: Backend) -> int | None:
    """Return how many tokens one request may use, as the file says; None where it does not."""
    match backend:
        case LlamaServerBackend() | OllamaBackend() | CommandBackend() | EndpointBackend():
            return backend.context
        case _:
            return None


def held_context(backend: Backend, context: int) -> int:
    """Return the context that a server makes of the one that is asked for."""
    if isinstance(backend, LlamaServerBackend):
        return -(-context // CONTEXT_STEP) * CONTEXT_STEP
    return context
