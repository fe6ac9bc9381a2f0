"""Data from a file together with the places where it stands."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from matrixbench.errors import Problem, SpecError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from matrixbench.records import JsonObject

Loc: TypeAlias = "tuple[str | int, ...]"
"""The way from a document's root to a value: keys and indices."""


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Place:
    """A place in a file; lines and columns count from 1."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"

    def error(self, message: str, hint: str = "") -> SpecError:
        """Return the error that stops the reading at this place."""
        return SpecError([Problem(message=message, where=str(self), hint=hint)])


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something wrong at a place; becomes a Problem once all of them can be sorted."""

    place: Place
    message: str
    hint: str = ""

    @property
    def problem(self) -> Problem:
        """What the user is told."""
        message, hint = _one_line(self.message), _one_line(self.hint)
        return Problem(message=message, where=str(self.place), hint=hint)


def _one_line(text: str) -> str:
    """Return a text on one line, without characters that a terminal would obey."""
    return "".join(sign if sign.isprintable() else " " for sign in text)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Entry:
    """A mapping's entry: the place of its key, and its value."""

    place: Place
    node: Node


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Node:
    """A value with its place.

    Args:
        place: Where the value begins.
        value: A scalar, a list of nodes, or a mapping of entries.
        text: A scalar as it was written.
        size: How many values it holds, itself and expanded aliases included.
        depth: How many levels it holds, itself included.
    """

    place: Place
    value: str | int | float | bool | list[Node] | dict[str, Entry] | None
    text: str = ""
    size: int = 1
    depth: int = 1

    @property
    def entries(self) -> Mapping[str, Entry]:
        """Its entries; none where it is no mapping."""
        return self.value if isinstance(self.value, dict) else {}

    @property
    def items(self) -> Sequence[Node]:
        """Its items; none where it is no list."""
        return self.value if isinstance(self.value, list) else ()

    def child(self, key: str) -> Node | None:
        """Return the value of a key, or None where it is not there."""
        entry = self.entries.get(key)
        return entry.node if entry else None

    def child_entries(self, key: str) -> Mapping[str, Entry]:
        """Return the entries of the mapping under a key; none where there is none."""
        child = self.child(key)
        return child.entries if child else {}

    def child_items(self, key: str) -> Sequence[Node]:
        """Return the items of the list under a key; none where there is none."""
        child = self.child(key)
        return child.items if child else ()

    def plain(self) -> Any:  # noqa: ANN401  any JSON value
        """Return the data without places; nothing in it is shared."""
        match self.value:
            case dict() as entries:
                return {key: entry.node.plain() for key, entry in entries.items()}
            case list() as items:
                return [item.plain() for item in items]
            case scalar:
                return scalar

    def strings(self) -> Iterator[Node]:
        """Yield every text in it, at any depth; keys are not values."""
        match self.value:
            case dict() as entries:
                for entry in entries.values():
                    yield from entry.node.strings()
            case list() as items:
                for item in items:
                    yield from item.strings()
            case str():
                yield self
            case _:
                pass


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """What a file says, and what is wrong with how it says it."""

    name: str
    root: Node
    findings: tuple[Finding, ...] = field(default=())

    def data(self) -> JsonObject:
        """Return the file's mapping as plain data, without the keys that begin with `x-`."""
        return {
            key: entry.node.plain()
            for key, entry in self.root.entries.items()
            if not key.startswith("x-")
        }

    def node_at(self, loc: Loc) -> Node | None:
        """Return the value at a way through keys and indices, or None where there is none."""
        node: Node | None = self.root
        for step in loc:
            if node is None:
                return None
            node = _step(node, step)
        return node

    def place_of(self, loc: Loc, *, key: bool = False) -> Place:
        """Return where a value stands, or (`key`) the key that names it.

        Where the way leads nowhere, it is the place of the last thing on it that is there; and
        for a mapping or a list, that is the key that names it.
        """
        node, place = self.root, self.root.place
        for number, step in enumerate(loc, 1):
            following = _step(node, step)
            if following is None:
                return place
            by_key = key or number < len(loc) or isinstance(following.value, (dict, list))
            named = isinstance(step, str) and by_key
            place = node.entries[str(step)].place if named else following.place
            node = following
        return place


def _step(node: Node, step: str | int) -> Node | None:
    if isinstance(step, int):
        return node.items[step] if 0 <= step < len(node.items) else None
    return node.child(step)
