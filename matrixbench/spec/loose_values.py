"""Values that were meant for a list whose brackets are missing: `{temperature: 0, 0.5, 1}`.

YAML reads that as three keys, of which two have no value.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from matrixbench.spec.grids import value_nodes
from matrixbench.spec.nodes import Finding
from matrixbench.spec.wording import plain_or_quoted, quoted, written

if TYPE_CHECKING:
    from collections.abc import Iterator

    from matrixbench.spec.nodes import Document, Entry, Loc, Node

_SEVERAL = re.compile(r"[^\s,]+(, [^\s,]+)+")
"""`0, 0.5, 1` after a colon: one text to YAML."""

_NUMBER = re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d+)?")


def loose_values(document: Document) -> Iterator[tuple[Loc, list[Loc]]]:
    """Yield the way to each key whose list lacks its brackets, and those to the values after it."""
    for at, node in _grids(document):
        owner: Loc | None = None
        values: list[Loc] = []
        for name, entry in node.entries.items():
            if owner is not None and is_loose(name, entry):
                values.append((*at, name))
                continue
            if owner is not None and values:
                yield owner, values
            owner, values = ((*at, name), []) if _is_single(entry) else (None, [])
        if owner is not None and values:
            yield owner, values


def bracket_findings(document: Document) -> Iterator[Finding]:
    """Yield a finding for each list without brackets."""
    for owner, values in loose_values(document):
        name, first = str(owner[-1]), written(document.node_at(owner))
        inner = [first, *(_as_value(str(value[-1])) for value in values)]
        message = f"{quoted(str(values[0][-1]))} has no value: a list needs brackets"
        hint = f"write {name}: [{', '.join(inner)}]"
        if owner[0] == "tests" and "request" in owner:
            hint = f"a test's request has one value; sampling: {{{name}: [{', '.join(inner)}]}} has"
            hint = f"{hint} several, for all tests"
        yield Finding(place=document.place_of(values[0], key=True), message=message, hint=hint)


def several_in_one(document: Document) -> Iterator[Finding]:
    """Yield grid values that look like several: to YAML `f16, q8_0` is one text."""
    for _, node in _grids(document):
        for name, entry in node.entries.items():
            for value in value_nodes(entry.node):
                if isinstance(value.value, str) and _SEVERAL.fullmatch(value.text):
                    message = f"{name}: {quoted(value.text)} is one text; a list needs brackets"
                    hint = f"write {name}: [{value.text}], or leave it where one text is meant"
                    yield Finding(place=value.place, message=message, hint=hint)


def in_brackets(node: Node) -> str:
    """Return the list that a text such as `0, 0.5, 1` is meant to be; empty for other values."""
    if isinstance(node.value, str) and _SEVERAL.fullmatch(node.text):
        return f"a list needs brackets: [{node.text}]"
    return ""


def _as_value(text: str) -> str:
    return text if _NUMBER.fullmatch(text) else plain_or_quoted(text)


def _is_single(entry: Entry) -> bool:
    return entry.node.value is not None and not isinstance(entry.node.value, list | dict)


def is_loose(name: str, entry: Entry) -> bool:
    """Return whether a key stands without a colon: its empty value begins where it ends."""
    node = entry.node
    nothing = node.value is None and not node.text
    same_line = node.place.line == entry.place.line
    return nothing and same_line and node.place.column - entry.place.column == len(name)


def _grids(document: Document) -> Iterator[tuple[Loc, Node]]:
    root = document.root
    for loc in (("sampling",), ("request",)):
        yield from _each(loc, root.child(loc[0]))
    for container, keys in (("backends", ("options",)), ("models", ("options", "axes"))):
        for name, entry in root.child_entries(container).items():
            for key in keys:
                yield from _each((container, name, key), entry.node.child(key))
    for index, test in enumerate(root.child_items("tests")):
        yield from _each(("tests", index, "parameters"), test.child("parameters"))
        yield from _each(("tests", index, "request"), test.child("request"))


def _each(at: Loc, node: Node | None) -> Iterator[tuple[Loc, Node]]:
    """Yield a grid, or each of a list of them."""
    if node is None:
        return
    if node.entries:
        yield at, node
    for index, item in enumerate(node.items):
        yield (*at, index), item
