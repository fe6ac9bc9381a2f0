"""From a YAML file to data in which every key and every value knows its line and column."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from difflib import get_close_matches
from math import isfinite
from typing import TYPE_CHECKING, Any, TypeAlias

import yaml

from matrixbench.errors import Problem, SpecError
from matrixbench.safe_files import open_input

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from matrixbench.records import JsonObject

MAX_DIGITS = 300
"""Longer numbers are refused: the largest float has 309 digits."""

_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLEAN = {
    "true": True,
    "True": True,
    "TRUE": True,
    "false": False,
    "False": False,
    "FALSE": False,
}
_DECIMAL = re.compile(r"[-+]?[0-9]+")
_BASED = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_SURROGATE = re.compile("[\ud800-\udfff]")
_CORE = "tag:yaml.org,2002:"


_TYPES: dict[str, tuple[type, ...]] = {
    "int": (int,),
    "float": (float, int),
    "bool": (bool,),
    "null": (type(None),),
}
"""What YAML's tags for scalars stand for."""


class ScalarError(Exception):
    """What is wrong with a scalar, the way out, and what to read in its stead; its text if None."""

    def __init__(self, message: str, hint: str = "", value: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.value = value


def read_scalar(text: str, *, tag: str | None, plain: bool) -> str | float | bool | None:
    """Return what a scalar stands for, by the core schema of YAML 1.2.

    Args:
        tag: Its tag, or None.
        plain: Whether it stands without quotes and without `!`.

    Raises:
        ScalarError: It stands for nothing that JSON could say.
    """
    if "\0" in text:
        raise ScalarError("a text may not hold a NUL character")
    if tag in {None, "!", f"{_CORE}str"}:
        return _core(text) if plain and tag is None else text
    kind = str(tag).removeprefix(_CORE)
    if kind == tag or kind not in _TYPES:
        shown = tag if kind == tag else f"!!{kind}"
        raise ScalarError(f"the tag «{shown}» is not known here", "remove it")
    value = _core(text)
    if type(value) not in _TYPES[kind]:
        raise ScalarError(f"«{text}» is not what the tag !!{kind} says")
    return value


def _core(text: str) -> str | float | bool | None:
    if text in _NULL:
        return None
    if text in _BOOLEAN:
        return _BOOLEAN[text]
    if _NOT_FINITE.fullmatch(text):
        hint = f'put it in quotes where a text is meant: "{text}"'
        raise ScalarError(f"{text} is no number that JSON can carry", hint)
    if not (_FLOAT.fullmatch(text) or _BASED.fullmatch(text)):
        return text
    if len(text) <= MAX_DIGITS:
        if _BASED.fullmatch(text):
            return int(text[2:], 8 if text[1] == "o" else 16)
        number = int(text) if _DECIMAL.fullmatch(text) else float(text)
        if isfinite(number):
            return number
    raise ScalarError(
        "the number is too big", value=0
    )  # a number, so that its type is not told of too


def _whole(text: str) -> str:
    """Return a text whose halves of characters are joined, as JSON writes those beyond U+FFFF.

    Raises:
        ScalarError: One has no other half.
    """
    if not _SURROGATE.search(text):
        return text
    joined = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if "\ufffd" in joined:
        raise ScalarError("an escape that is half a character")
    return joined


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

    def told(self, message: str, hint: str = "") -> Finding:
        """Return a finding at the key."""
        return Finding(place=self.place, message=message, hint=hint)


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

    def told(self, message: str, hint: str = "") -> Finding:
        """Return a finding at the value."""
        return Finding(place=self.place, message=message, hint=hint)

    def plain(self) -> Any:
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


@dataclass(frozen=True, slots=True)
class Spot:
    """A value of a document that is looked at; it need not be there."""

    document: Document
    loc: Loc = ()

    def __getitem__(self, step: str | int) -> Spot:
        return self.below(step)

    def below(self, *steps: str | int) -> Spot:
        """Return what is some steps further down."""
        return Spot(self.document, (*self.loc, *steps))

    @property
    def node(self) -> Node | None:
        """What stands there."""
        return self.document.node_at(self.loc)

    def told(self, message: str, hint: str = "", *, key: bool = False) -> Finding:
        """Return a finding at the value, or (`key`) at the key that names it."""
        place = self.document.place_of(self.loc, key=key)
        return Finding(place=place, message=message, hint=hint)


def _step(node: Node, step: str | int) -> Node | None:
    if isinstance(step, int):
        return node.items[step] if 0 <= step < len(node.items) else None
    return node.child(step)


MAX_DEPTH = 100
"""How deep lists and mappings may be nested, aliases expanded."""

MAX_NODES = 200_000
"""How many values a file may hold, aliases expanded."""

Mark: TypeAlias = "yaml.error.Mark | yaml._yaml.Mark | None"  # noqa: SLF001  libyaml's marks


def place_of(mark: Mark, name: str) -> Place:
    """Return the place in the file `name` that a parser's mark stands for."""
    if mark is None:
        return Place(file=name, line=1, column=1)
    return Place(file=name, line=mark.line + 1, column=mark.column + 1)


class _Builder:
    """Builds the tree of a document from its events.

    Nothing is expanded before its size is known: a node is shared by all its aliases, and counts
    anew at each. It is not deeper than `MAX_DEPTH`, so that it may call itself.
    """

    def __init__(self, name: str, events: Iterator[yaml.Event]) -> None:
        self.findings: list[Finding] = []
        self._name = name
        self._events = events
        self._anchors: dict[str, Node | None] = {}
        self._count = 0

    def root(self) -> Node:
        """Return the one document's value."""
        root: Node | None = None
        documents = 0
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    hint = "one file holds one document: no «---»"
                    raise self._place(event).error("a second document begins here", hint)
            elif isinstance(event, yaml.NodeEvent):
                root = self._node(event, 0)
        return root or Node(place=Place(file=self._name, line=1, column=1), value=None)

    def _place(self, event: yaml.Event) -> Place:
        return place_of(event.start_mark, self._name)

    def _tell(self, place: Place, message: str, hint: str = "") -> None:
        self.findings.append(Finding(place=place, message=message, hint=hint))

    def _counted(self, node: Node, place: Place, added: int) -> Node:
        self._count += added
        if self._count > MAX_NODES:
            raise place.error(f"the file holds more than {MAX_NODES:,} values, aliases expanded")
        return node

    def _node(self, event: yaml.NodeEvent, depth: int) -> Node:
        """Return the value that begins with an event, inside of so many lists and mappings."""
        match event:
            case yaml.AliasEvent():
                return self._alias(event, depth)
            case yaml.CollectionStartEvent():
                node = self._collection(event, depth)
            case _:
                assert isinstance(event, yaml.ScalarEvent)  # noqa: S101  the only other one
                node = self._scalar(event)
        if event.anchor:
            self._anchors[event.anchor] = node
        return self._counted(node, node.place, 1)  # what is in it has been counted

    def _alias(self, event: yaml.AliasEvent, depth: int) -> Node:
        place, name = self._place(event), event.anchor
        if name not in self._anchors:
            raise place.error(f"the alias «*{name}» has no anchor «&{name}» above")
        node = self._anchors[name]
        if node is None:
            raise place.error(f"the alias «*{name}» stands inside of what it stands for")
        if depth + node.depth > MAX_DEPTH:
            raise place.error(f"nested more than {MAX_DEPTH} levels deep")
        return self._counted(node, place, node.size)

    def _scalar(self, event: yaml.ScalarEvent) -> Node:
        place = self._place(event)
        plain = bool(event.implicit[0]) and event.tag != "!"
        value: str | float | bool | None
        text = str(event.value)
        try:
            text = _whole(text)
            value = read_scalar(text, tag=event.tag, plain=plain)
        except ScalarError as wrong:
            self._tell(place, wrong.message, wrong.hint)
            value = text if wrong.value is None else wrong.value
        return Node(place=place, value=value, text=text)

    def _collection(self, event: yaml.CollectionStartEvent, depth: int) -> Node:
        place = self._place(event)
        mapping = isinstance(event, yaml.MappingStartEvent)
        if event.tag not in {None, "!", f"{_CORE}{'map' if mapping else 'seq'}"}:
            self._tell(place, f"the tag «{event.tag}» is not known here", "remove it")
        if depth >= MAX_DEPTH:
            raise place.error(f"nested more than {MAX_DEPTH} levels deep")
        if event.anchor:
            self._anchors[event.anchor] = None
        value, inner = self._entries(depth + 1) if mapping else self._items(depth + 1)
        return Node(
            place=place,
            value=value,
            size=1 + sum(node.size for node in inner),
            depth=1 + max((node.depth for node in inner), default=0),
        )

    def _items(self, depth: int) -> tuple[list[Node], list[Node]]:
        items: list[Node] = []
        while isinstance(event := next(self._events), yaml.NodeEvent):
            items.append(self._node(event, depth))
        return items, items

    def _entries(self, depth: int) -> tuple[dict[str, Entry], list[Node]]:
        """Return a mapping's entries, those that `<<` brings too, and the values that it holds."""
        entries: dict[str, Entry] = {}
        merged: set[str] | None = None
        inner: list[Node] = []
        while isinstance(event := next(self._events), yaml.NodeEvent):
            place, name = self._place(event), self._key(event, depth)
            value = self._node(self._next(), depth)
            inner.append(value)
            if _is_merge(event):
                if merged is not None:
                    hint = "merge several mappings with a list: <<: [*a, *b]"
                    self._tell(place, "duplicate key «<<»", hint)
                    continue
                merged = self._merge(entries, value, place)
            elif name in entries and name not in (merged or ()):
                first = entries[name].place
                hint = f"it stands already in line {first.line}, column {first.column}"
                self._tell(place, f"duplicate key «{name}»", hint)
            else:
                entries[name] = Entry(place=place, node=value)
                (merged or set()).discard(name)
        return entries, inner

    def _next(self) -> yaml.NodeEvent:
        event = next(self._events)
        assert isinstance(event, yaml.NodeEvent)  # noqa: S101  parsers give every key a value
        return event

    def _key(self, event: yaml.NodeEvent, depth: int) -> str:
        if not isinstance(event, yaml.CollectionStartEvent):
            node = self._node(event, depth)
            if not isinstance(node.value, list | dict):
                return node.text
        raise self._place(event).error("a key must be a text, not a list or a mapping")

    def _merge(self, entries: dict[str, Entry], node: Node, place: Place) -> set[str]:
        """Take over what `<<` names: keys of the mapping itself win, then the first source."""
        taken: set[str] = set()
        for source in node.value if isinstance(node.value, list) else [node]:
            if not isinstance(source.value, dict):
                hint = 'put it in quotes where a key is meant: "<<"'
                self._tell(place, "«<<» merges mappings only", hint)
                continue
            new = {key: entry for key, entry in source.value.items() if key not in entries}
            entries.update(new)
            taken.update(new)
        return taken


def _is_merge(key: yaml.NodeEvent) -> bool:
    if not isinstance(key, yaml.ScalarEvent) or key.tag is not None:
        return False
    return bool(key.implicit[0]) and key.value == "<<"


_KEY = re.compile(r"(?:\"[^\"]*\"|'[^']*'|[^\s#\[\]{},&*!|>'\"%@`-][^#]*?|-[^\s#][^#]*?):(?=\s|$)")
"""A mapping's key at the beginning of a row, up to its colon."""

_BLOCK = re.compile(r"[|>][+-]?\d?[+-]?\s*(#.*)?$")
_BRACKETS = {"[": 1, "{": 1, "]": -1, "}": -1}
_QUOTED = re.compile(r"\"(?:\\.|[^\"\\])*\"|'(?:''|[^'])*'")
_COMMENT = re.compile(r"(^|\s)#.*$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Disagreement:
    """Two lines, and what is wrong between them."""

    message: str
    hint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """A line's content at one level; `- name: t` is an item, and a key two columns further."""

    line: int
    indent: int
    text: str
    item: bool = False

    @property
    def complete(self) -> bool:
        """Whether it has its value already, so that nothing may stand below and deeper."""
        key = _KEY.match(self.text)
        rest = self.text[key.end() :] if key else self.text
        return bool(_COMMENT.sub("", rest).strip()) and not self.item


@dataclass(slots=True)
class _Levels:
    """The levels that are open: of each the column, and the row that stood there last."""

    open: list[_Row] = field(default_factory=list)

    def put(self, row: _Row) -> None:
        while self.open and self.open[-1].indent > row.indent:
            self.open.pop()
        if self.open and self.open[-1].indent == row.indent and self.open[-1].item == row.item:
            self.open.pop()
        self.open.append(row)


def disagreement(text: str, line: int) -> Disagreement | None:
    """Return which two lines disagree where a parser gave up at a line; None if none do."""
    levels = _Levels()
    for rows in _rows(text.split("\n")):
        if rows[0].line >= line:
            return _against(levels.open, rows[0])
        wrong = _against(levels.open, rows[0])
        if wrong is not None:
            return wrong
        for row in rows:
            levels.put(row)
    return None


def _against(levels: Sequence[_Row], row: _Row) -> Disagreement | None:
    """Return what is wrong with a row below the levels that are open."""
    last = levels[-1] if levels else None
    if last is None or (row.indent > last.indent and not last.complete):
        return None
    if row.indent > last.indent:
        wrong = _between(row, last)
        message = f"{wrong.message}, and line {last.line} has its value already"
        return Disagreement(message=message, hint=wrong.hint)
    at_level = [level for level in levels if level.indent == row.indent]
    if not at_level:
        deeper = next(level for level in levels if level.indent > row.indent)
        return _between(row, deeper)
    item_level = at_level[-1]
    if row.item and not any(level.item for level in at_level) and item_level.complete:
        message = f"line {row.line} begins with «-», and line {item_level.line} with a key"
        return Disagreement(message=message, hint="a list stands under a key that has no value yet")
    if item_level.item and not row.item and not any(not level.item for level in at_level):
        inner = next((level for level in levels if level.indent > row.indent), item_level)
        return _between(row, inner)
    return None


def _between(row: _Row, other: _Row) -> Disagreement:
    return Disagreement(
        message=f"line {row.line} is indented by {row.indent}, line {other.line} by {other.indent}",
        hint=f"what belongs together begins in one column: indent line {row.line} "
        f"by {other.indent}",
    )


def _rows(lines: Sequence[str]) -> Iterator[list[_Row]]:
    """Yield each line's rows; those inside of brackets, quotes and block texts are passed over."""
    depth, block = 0, -1
    for number, line in enumerate(lines, 1):
        bare = line.strip()
        if not bare or bare.startswith("#"):
            continue
        indent = len(line) - len(line.lstrip(" "))
        if depth == 0 and block >= 0 and indent > block:
            continue
        block = -1
        inside = depth > 0
        depth = max(0, depth + _opened(line))
        if inside or bare in {"---", "..."}:
            continue
        yield list(_of_line(number, indent, line))
        if depth == 0 and _BLOCK.search(_QUOTED.sub("", line)):
            block = indent


def _of_line(number: int, indent: int, line: str) -> Iterator[_Row]:
    rest = line[indent:]
    while rest.startswith("- ") or rest == "-":
        yield _Row(line=number, indent=indent, text=rest, item=True)
        further = len(rest) - len(rest[1:].lstrip(" "))
        indent, rest = indent + further, rest[further:]
    if rest:
        yield _Row(line=number, indent=indent, text=rest)


def _opened(line: str) -> int:
    """Return how many brackets a line opens more than it closes."""
    bare = _COMMENT.sub("", _QUOTED.sub("", line))
    return sum(_BRACKETS.get(sign, 0) for sign in bare)


MAX_BYTES = 10_000_000
"""The largest file that is read."""

_UNPRINTABLE = re.compile("[^\t\n\r -~\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_LIBYAML_DEPTH = "maximum nesting depth"
"""Part of what libyaml says since its version 0.2.6 of more than 1,000 levels."""

_SURROGATE_ESCAPE = re.compile(r"((?<!\\)(?:\\\\)*)\\(?=u[dD][89a-fA-F][0-9a-fA-F]{2})")
"""An escape that is half a character, as JSON writes those beyond U+FFFF in two halves."""

_STAND_INS = range(0xE000, 0xF8FF)

_HINTS = {
    "mapping values are not allowed": "put a text that holds «: » in quotes",
    "expected ':'": "is a «:» missing, or the space after it?",
    "expected <block end>": "check the indentation, and the quotes above",
    "expected ',' or": "is a comma or a closing bracket missing?",
    "cannot start any token": "put the text in quotes",
}

_INDENTATION = (
    "mapping values are not allowed",
    "did not find expected key",
    "did not find expected '-' indicator",
    "expected <block end>",
    "could not find expected ':'",
    "block sequence entries are not allowed",
)
"""What parsers say of a line that is indented otherwise than they expected."""


def read_document(path: Path, *, shown: str = "") -> Document:
    """Return what a YAML file says.

    Args:
        shown: How messages call it; default: its path.

    Raises:
        SpecError: It cannot be read, is no text, is too big, or is not YAML.
    """
    name = shown or str(path)
    try:
        with open_input(path) as file:
            content = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        raise _refused(name, f"cannot be read: {reason(error)}", beside(path)) from None
    return parse_document(decode(content, name=name), name=name)


def decode(content: bytes, *, name: str, limit: int = MAX_BYTES) -> str:
    """Return the text that a file's bytes stand for.

    Raises:
        SpecError: The file is larger than `limit` bytes, or is not text in UTF-8.
    """
    if len(content) > limit:
        raise _refused(name, f"is larger than {limit // 1_000_000} MB")
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise _refused(name, "is written in UTF-16", "save it as UTF-8")
    if b"\0" in content:
        raise _refused(name, "is not a text file (it holds a NUL byte)")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        column = error.start - content.rfind(b"\n", 0, error.start)
        place = Place(file=name, line=line, column=column)
        raise SpecError(
            [Problem(message="is not text in UTF-8", where=str(place), hint="save it as UTF-8")]
        ) from None


def parse_document(text: str, *, name: str) -> Document:
    """Return what a YAML text says; `name` stands in the places of its problems.

    Duplicate keys, unknown tags and values that JSON cannot say are findings of the document, so
    that they are reported together with what else is wrong.

    Raises:
        SpecError: The text is not YAML, holds several documents, or goes over a limit.
    """
    if len(text) > MAX_BYTES:
        raise _refused(name, f"is larger than {MAX_BYTES // 1_000_000} MB")
    text = text.removeprefix("\ufeff")
    if found := _UNPRINTABLE.search(text):
        place = _place_at(text, found.start(), name)
        raise place.error(
            f"the character U+{ord(found.group()):04X} may not stand in YAML",
            'remove it, or write it as an escape in a text in double quotes: "\\u…"',
        )
    fast: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        return _built(text, name, fast)
    except _TooDeepForLibyamlError:
        return _built(text, name, yaml.SafeLoader)  # which gets as far as our own limit


class _TooDeepForLibyamlError(Exception):
    """libyaml gave up reading ahead, before the events of our own limit's level came."""


def _built(text: str, name: str, loader: type[yaml.SafeLoader]) -> Document:
    # libyaml refuses halves of characters, and the pure parser reads other things differently. So
    # the backslashes of halves are hidden: as many characters, so that every place stays right.
    hidden = next((chr(code) for code in _STAND_INS if chr(code) not in text), "")
    if hidden:
        text = _SURROGATE_ESCAPE.sub(rf"\g<1>{hidden}", text)
    builder = _Builder(name, _events(text, name, loader, hidden))
    root = builder.root()
    return Document(name=name, root=root, findings=tuple(builder.findings))


def _shown(event: yaml.ScalarEvent, hidden: str) -> str:
    """Return a scalar's text with what was hidden: halves of characters, if it has escapes."""
    if event.style != '"':
        return str(event.value).replace(hidden, "\\")
    return re.sub(f"{hidden}u([0-9a-fA-F]{{4}})", lambda found: chr(int(found[1], 16)), event.value)


def _events(
    text: str, name: str, loader_class: type[yaml.SafeLoader], hidden: str
) -> Iterator[yaml.Event]:
    loader: Any = loader_class(text)  # its methods have no types
    try:
        while loader.check_event():
            event = loader.get_event()
            if hidden and isinstance(event, yaml.ScalarEvent) and hidden in event.value:
                event.value = _shown(event, hidden)
            yield event
    except yaml.MarkedYAMLError as error:
        if _LIBYAML_DEPTH in (error.problem or "") and loader_class is not yaml.SafeLoader:
            raise _TooDeepForLibyamlError from None
        raise _syntax_error(error, text, name) from None
    except yaml.YAMLError as error:
        raise _refused(name, f"is not YAML: {' '.join(str(error).split())}") from None
    except (ValueError, OverflowError):
        # the pure parser's way to say that `\U…` is no character
        raise place_of(loader.get_mark(), name).error(
            "not valid YAML: an escape that is no character"
        ) from None
    finally:
        loader.dispose()


def _syntax_error(error: yaml.MarkedYAMLError, text: str, name: str) -> SpecError:
    place = place_of(error.problem_mark or error.context_mark, name)
    what = error.problem or error.context or "it cannot be parsed"
    if error.context and error.context != what:
        what = f"{what} ({error.context})"
    hint = next((hint for sign, hint in _HINTS.items() if sign in what), "")
    lines = text.split("\n", place.line)
    if lines[min(place.line, len(lines)) - 1].lstrip(" ").startswith("\t"):
        hint = "indent with spaces, not with tabs"
    elif any(sign in what for sign in _INDENTATION) and (wrong := disagreement(text, place.line)):
        what, hint = wrong.message, wrong.hint
    elif "flow" in (error.context or "") and (begun := error.context_mark) is not None:
        kind = "list" if "sequence" in str(error.context) else "mapping"
        where = f"line {begun.line + 1}, column {begun.column + 1}"
        what = f"{what}: the {kind} that begins in {where} is not closed"
    return place.error(f"not valid YAML: {what}", hint)


def _place_at(text: str, index: int, name: str) -> Place:
    line = text.count("\n", 0, index) + 1
    return Place(file=name, line=line, column=index - text.rfind("\n", 0, index))


def _refused(name: str, message: str, hint: str = "") -> SpecError:
    return SpecError([Problem(message=message, where=name, hint=hint)])


def reason(error: OSError | ValueError) -> str:
    """Return why a file cannot be read, in words."""
    match error:
        case FileNotFoundError():
            return "there is no such file"
        case IsADirectoryError():
            return "it is a folder"
        case OSError(strerror=str(reason)):
            return reason.lower()
        case _:
            return str(error)


def beside(path: Path) -> str:
    """Return a hint that names the file beside a missing one that was probably meant."""
    try:
        names = sorted(entry.name for entry in path.parent.iterdir() if entry.is_file())
    except (OSError, ValueError):
        return ""
    near = get_close_matches(path.name, names, n=1)
    return f"perhaps you meant «{path.with_name(near[0])}»" if near else ""
