"""Builds a tree of located values from YAML's parse events, iteratively and under limits."""

from __future__ import annotations

from typing import TypeAlias

import yaml

from matrixbench.spec.nodes import Entry, Finding, Node, Place
from matrixbench.spec.scalars import read_scalar

MAX_DEPTH = 100
"""How deep lists and mappings may be nested, aliases expanded."""

MAX_NODES = 200_000
"""How many values a file may hold, aliases expanded."""

_MERGE = "<<"

Mark: TypeAlias = "yaml.error.Mark | yaml._yaml.Mark | None"  # noqa: SLF001  libyaml's marks


def place_of(mark: Mark, name: str) -> Place:
    """Return the place in the file `name` that a parser's mark stands for."""
    if mark is None:
        return Place(file=name, line=1, column=1)
    return Place(file=name, line=mark.line + 1, column=mark.column + 1)


class _Open:
    """A list or a mapping whose end has not come yet."""

    __slots__ = ("anchor", "depth", "entries", "items", "key", "merges", "place", "size")

    def __init__(self, place: Place, anchor: str | None, *, mapping: bool) -> None:
        self.place = place
        self.anchor = anchor
        self.entries: dict[str, Entry] | None = {} if mapping else None
        self.items: list[Node] = []
        self.merges: dict[str, Entry] | None = None
        self.key: tuple[str, Place, bool] | None = None
        self.size = 1
        self.depth = 1


_Anchors: TypeAlias = "dict[str, Node | None]"


class TreeBuilder:
    """Builds the tree, event by event, with a stack of its own."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.root: Node | None = None
        self.findings: list[Finding] = []
        self._stack: list[_Open] = []
        self._anchors: _Anchors = {}
        self._documents = 0
        self._count = 0

    def take(self, event: yaml.Event) -> None:
        """Take the next event."""
        match event:
            case yaml.DocumentStartEvent():
                self._documents += 1
                if self._documents > 1:
                    raise self._place(event).error(
                        "a second document begins here", "one file holds one document: no «---»"
                    )
            case yaml.MappingStartEvent() | yaml.SequenceStartEvent():
                self._open(event)
            case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                self._close()
            case yaml.ScalarEvent():
                self._scalar(event)
            case yaml.AliasEvent():
                self._alias(event)
            case _:
                pass

    def _place(self, event: yaml.Event) -> Place:
        return place_of(event.start_mark, self.name)

    def _open(self, event: yaml.CollectionStartEvent) -> None:
        place = self._place(event)
        mapping = isinstance(event, yaml.MappingStartEvent)
        self._tell_tag(event.tag, place, "map" if mapping else "seq")
        if self._awaits_key():
            raise place.error("a key must be a text, not a list or a mapping")
        if len(self._stack) >= MAX_DEPTH:
            raise place.error(f"nested more than {MAX_DEPTH} levels deep")
        if event.anchor:
            self._anchors[event.anchor] = None
        self._stack.append(_Open(place, event.anchor, mapping=mapping))

    def _close(self) -> None:
        done = self._stack.pop()
        node = Node(
            place=done.place,
            value=done.items if done.entries is None else done.entries,
            size=done.size,
            depth=done.depth,
        )
        self._name(done.anchor, node)
        self._attach(node, node.place, added=1)  # what is in it has been counted

    def _scalar(self, event: yaml.ScalarEvent) -> None:
        place = self._place(event)
        plain = bool(event.implicit[0]) and event.tag != "!"
        scalar = read_scalar(event.value, tag=event.tag, plain=plain)
        if scalar.wrong:
            self.findings.append(Finding(place=place, message=scalar.wrong, hint=scalar.hint))
        node = Node(place=place, value=scalar.value, text=scalar.text)
        self._name(event.anchor, node)
        merge = plain and event.tag is None and event.value == _MERGE
        self._attach(node, place, added=1, merge=merge)

    def _alias(self, event: yaml.AliasEvent) -> None:
        place = self._place(event)
        if event.anchor not in self._anchors:
            raise place.error(f"the alias «*{event.anchor}» has no anchor «&{event.anchor}» above")
        node = self._anchors[event.anchor]
        if node is None:
            raise place.error(f"the alias «*{event.anchor}» stands inside of what it stands for")
        if len(self._stack) + node.depth > MAX_DEPTH:
            raise place.error(f"nested more than {MAX_DEPTH} levels deep")
        self._attach(node, place, added=node.size)

    def _name(self, anchor: str | None, node: Node) -> None:
        if anchor:
            self._anchors[anchor] = node

    def _tell_tag(self, tag: str | None, place: Place, kind: str) -> None:
        if tag not in {None, "!", f"tag:yaml.org,2002:{kind}"}:
            self.findings.append(
                Finding(place=place, message=f"the tag «{tag}» is not known here", hint="remove it")
            )

    def _awaits_key(self) -> bool:
        parent = self._stack[-1] if self._stack else None
        return parent is not None and parent.entries is not None and parent.key is None

    def _attach(self, node: Node, place: Place, *, added: int, merge: bool = False) -> None:
        self._count += added
        if self._count > MAX_NODES:
            raise place.error(f"the file holds more than {MAX_NODES:,} values, aliases expanded")
        if not self._stack:
            self.root = node
            return
        parent = self._stack[-1]
        if self._awaits_key():
            if isinstance(node.value, (list, dict)):
                raise place.error("a key must be a text, not a list or a mapping")
            parent.key = (node.text, place, merge)
            return
        parent.depth = max(parent.depth, node.depth + 1)
        parent.size += node.size
        if parent.entries is None:
            parent.items.append(node)
        else:
            self._enter(parent, parent.entries, node)

    def _enter(self, parent: _Open, entries: dict[str, Entry], node: Node) -> None:
        key, place, merge = parent.key or ("", node.place, False)
        parent.key = None
        if merge:
            self._merge(parent, entries, node, place)
        elif key in entries and (parent.merges is None or key not in parent.merges):
            first = entries[key].place
            self.findings.append(
                Finding(
                    place=place,
                    message=f"duplicate key «{key}»",
                    hint=f"it stands already in line {first.line}, column {first.column}",
                )
            )
        else:
            entries[key] = Entry(place=place, node=node)
            if parent.merges is not None:
                parent.merges.pop(key, None)

    def _merge(self, parent: _Open, entries: dict[str, Entry], node: Node, place: Place) -> None:
        """Take over what `<<` names: keys of the mapping itself win, then the first source."""
        sources = node.value if isinstance(node.value, list) else [node]
        if parent.merges is not None:
            self.findings.append(
                Finding(
                    place=place,
                    message="duplicate key «<<»",
                    hint="merge several mappings with a list: <<: [*a, *b]",
                )
            )
            return
        parent.merges = {}
        for source in sources:
            if not isinstance(source.value, dict):
                self.findings.append(
                    Finding(
                        place=place,
                        message="«<<» merges mappings only",
                        hint='put it in quotes where a key is meant: "<<"',
                    )
                )
                continue
            for key, entry in source.value.items():
                if key not in entries:
                    entries[key] = parent.merges[key] = entry
