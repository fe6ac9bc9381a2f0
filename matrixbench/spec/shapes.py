"""What a value should have looked like: allowed shapes, and whole right forms."""

from __future__ import annotations

import re
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Union, get_args, get_origin

from pydantic import Tag

from matrixbench.spec.backends import OfAnyKind, kinds, names_of
from matrixbench.spec.base import TAG, Part
from matrixbench.spec.checks import CHECK_NAMES, Matcher
from matrixbench.spec.experiment import Metric
from matrixbench.spec.slips import key_meant, kind_meant, long_name, words_for
from matrixbench.spec.wording import plain_or_quoted, quoted, written
from matrixbench.spec.yaml_source import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from matrixbench.spec.yaml_source import Document, Entry, Loc, Node


def grid_entries(node: Node | None) -> Iterator[tuple[str, Entry]]:
    """Yield field → entry for every grid that stands at a node: one mapping, or a list of them."""
    if node is None:
        return
    for grid in (node, *node.items):
        yield from grid.entries.items()


def value_nodes(node: Node) -> list[Node]:
    """Return the nodes of the values that a grid's entry stands for; see grid.axis_values."""
    if node.entries.keys() == {"value"}:
        return [node.entries["value"].node]
    if isinstance(node.value, list):
        return list(node.items)
    return [node]


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
                    yield value.told(message, hint)


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


def keys_at(model: type[Part], loc: Loc) -> list[str]:
    """Return the keys that the mapping at one of pydantic's locations may have."""
    return [
        field.alias or name
        for part in _parts(_types_at(model, loc))
        for name, field in part.model_fields.items()
    ]


def parts_at(model: type[Part], loc: Loc) -> list[type[Part]]:
    """Return the parts of the file that the mapping at one of pydantic's locations may be."""
    return _parts(_types_at(model, loc))


def kinds_at(model: type[Part], loc: Loc) -> list[str]:
    """Return the kinds that the mapping at one of pydantic's locations may be of."""
    return [kind for part in _parts(_types_at(model, loc)) for kind in names_of(part)]


def _types_at(model: type[Part], loc: Loc) -> list[Any]:
    types: list[Any] = [model]
    for step in loc:
        types = [below for kind in types for below in _below(kind, step)]
    return types


def _parts(types: Sequence[Any]) -> list[type[Part]]:
    return [member for kind in types for _, member in _members(kind) if _is_part(member)]


def _members(annotation: Any, tag: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the members of a union with their tags; a type that is no union is its one member."""
    origin = get_origin(annotation)
    if origin is Annotated:
        inner, *metadata = get_args(annotation)
        if any(isinstance(item, OfAnyKind) for item in metadata):
            yield from ((tag, kind) for kind in kinds().known.values())
            return
        own = next((item.tag for item in metadata if isinstance(item, Tag)), tag)
        yield from _members(inner, own)
    elif origin in {Union, UnionType}:
        for member in get_args(annotation):
            yield from _members(member)
    elif annotation is not NoneType:
        yield tag, annotation


def _below(annotation: Any, step: str | int) -> Iterator[Any]:
    members = list(_members(annotation))
    if isinstance(step, str) and step.startswith(TAG):
        yield from (member for tag, member in members if tag == step)
        return
    chosen = [member for _, member in members if _is_part(member) and step in names_of(member)]
    if chosen and len(members) > 1:
        yield from chosen
        return
    for _, member in members:
        yield from _inside(member, step)


def _inside(member: Any, step: str | int) -> Iterator[Any]:
    if _is_part(member):
        yield from (
            field.annotation
            for name, field in member.model_fields.items()
            if (field.alias or name) == step
        )
    elif get_origin(member) in {dict, list}:
        yield get_args(member)[-1]


def _is_part(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Part)


ROLES = ("system", "developer", "user", "assistant", "tool")
"""Who speaks in a conversation, as chat APIs and templates know it."""

_WORD = re.compile(r"(?:\{\{.*?\}\}|\{%.*?%\}|\"[^\"]*\"|'[^']*'|[^\s\"'{]|\{)+")
"""One word of a command line; what stands in braces or quotes holds together."""

_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+(:[\w.-]+)?")
_TAG = re.compile(r"[\w.-]+(/[\w.-]+)*:[\w.-]+")
_PATH = re.compile(r"^(~|\.{0,2}/|\$\{)")
_URL = re.compile(r"^https?://")
_FLAG = re.compile(r"--?[A-Za-z][\w-]*")


def whole_form(loc: Loc, node: Node | None) -> str:  # noqa: C901, PLR0911, PLR0912  one a place
    """Return what to write at a place of the file instead of a value of the wrong shape.

    Empty where nothing can be said beyond its type.
    """
    if node is None or node.value is None:
        return ""
    match loc:
        case (*_, "messages"):
            return _listed(_message(node))
        case (*_, "messages", int()):
            return _message(node)
        case (*_, "expect" | "all" | "any"):
            return _listed(check_form(node))
        case (*_, "turns" | "honours" | "tags" | "only" | "skip") if _is_scalar(node):
            return f"[{written(node)}]"
        case (*_, "turns"):
            return _listed(written(node))
        case ("backends", str()):
            return _backend(node)
        case ("models", str()):
            return _model(node)
        case ("chat_templates", str()):
            return _template(node)
        case ("charts", str()) if node.text in set(Metric):
            return f"{{metric: {node.text}}}"
        case ("backends" | "models" | "chat_templates" | "charts" as container,):
            return _container(container, node)
        case ("tests", int()) if isinstance(node.value, str):
            return f"{{suite: {written(node)}}}"
        case ("tests",):
            return _tests(node)
        case (*_, "argv"):
            return _argv(node)
        case _:
            return _smaller(loc, node)


def _against(node: Node) -> str:
    """Return a baseline as the file writes it, from how the command line does: AXIS=VALUE."""
    axis, sign, value = node.text.partition("=")
    return f"{{{axis.strip()}: {value.strip()}}}" if sign else f"{{backend: {axis.strip()}}}"


def _smaller(loc: Loc, node: Node) -> str:  # noqa: C901, PLR0911, PLR0912  one for each place
    """Return the form of a value that is small: a number where a mapping is due, and the like."""
    number = isinstance(node.value, int | float) and not isinstance(node.value, bool)
    match loc:
        case (*_, "env"):
            return _pairs(node, separator="=")
        case (*_, "options") if not isinstance(node.value, dict):
            return _flags(node)
        case (*_, "ready"):
            return f"{{{'timeout_s' if number else 'path'}: {written(node)}}}"
        case ("timeouts",) if number:
            return f"{{request_s: {written(node)}}}"
        case ("limits",) if number:
            return f"{{cells: {written(node)}}}"
        case (*_, "needs") if number:
            return f"{{context: {written(node)}}}"
        case ("trials", "until", "gate") if isinstance(node.value, str):
            return f"{{baseline: {_against(node)}, max_drop: 0.1}}"
        case ("trials", "until", "gate", "baseline") if isinstance(node.value, str):
            return _against(node)
        case ("trials", "until") if number:
            return f"{{half_width: {written(node)}}}"
        case ("trials",) if len(node.items) == 2:  # noqa: PLR2004  from and to
            least, most = map(written, node.items)
            return f"{{min: {least}, max: {most}, until: {{half_width: 0.1}}}}"
        case ("sampling",) if number:
            return f"{{temperature: {written(node)}}}"
        case (*_, "latency_s" | "completion_tokens") if number:
            return f"{{max: {written(node)}}}"
        case (*_, "tool_calls"):
            return _listed(f"{{name: {written(node)}}}" if _is_scalar(node) else written(node))
        case (*_, "tool_calls" | "calls", int()) if isinstance(node.value, str):
            return f"{{name: {written(node)}}}"
        case (*_, "tools", int()) if isinstance(node.value, str):
            return f"{{type: function, function: {{name: {written(node)}}}}}"
        case (*_, "returns"):
            return _listed(f"{{content: {written(node)}}}" if _is_scalar(node) else written(node))
        case (*_, "returns", int()) if _is_scalar(node):
            return f"{{content: {written(node)}}}"
        case (*_, "package") if isinstance(node.value, str):
            return "{name: …, version: …, file: PATH/IN/THE/WHEEL.gguf, sha256: …}"
        case (*_, "exclude" | "include" | "tools") if node.entries:
            return _listed(written(node))
        case _:
            return ""


def _is_scalar(node: Node) -> bool:
    return not isinstance(node.value, list | dict)


def _listed(form: str) -> str:
    return f"[{form}]" if form else ""


def _message(node: Node) -> str:
    """Return a message: a text is what the user says, `{user: hi}` says who speaks by its key."""
    if _is_scalar(node):
        return f"{{role: user, content: {written(node)}}}"
    said = [f"{{role: {role}, content: {written(e.node)}}}" for role, e in node.entries.items()]
    if node.entries and node.entries.keys() <= set(ROLES):
        return ", ".join(said)
    return written(node) if "role" in node.entries else ""


def check_form(node: Node | None) -> str:
    """Return the check that is meant: a text is to be contained, a condition is the content's."""
    if node is None:
        return ""
    if _is_scalar(node):
        return f"{{content: {{contains: {written(node)}}}}}"
    for key, entry in node.entries.items():
        if key in CHECK_NAMES:
            return written(node)
        if condition := _condition(key):
            return f"{{content: {{{condition}: {written(entry.node)}}}}}"
        if check := words_for("checks").get(key):
            return f"{{{check}: {written(entry.node)}}}"
    return ""


def _condition(key: str) -> str | None:
    """Return the condition of a matcher that a key is, or stands for."""
    if key in words_for("checks"):
        return None
    return key if key in Matcher.model_fields else key_meant("Matcher", key)


def _backend(node: Node) -> str:
    text = node.text
    if not isinstance(node.value, str):
        return ""
    if _URL.match(text):
        return f"{{kind: endpoint, url: {written(node)}}}"
    if text in kinds().known:
        return f"{{kind: {text}}}"
    if (meant := kind_meant(text)) is not None:
        return f"{{kind: {meant.kind}}}"
    if _PATH.match(text) or "/" in text:
        return f"{{kind: llama-server, binary: {written(node)}}}"
    return ""


def _model(node: Node) -> str:
    """Return where a model is: a file, a repository on a hub, a tag, else its name on a server."""
    text = node.text
    if not isinstance(node.value, str):
        return ""
    if text.endswith(".gguf") or _PATH.match(text):
        return f"{{gguf: {written(node)}}}"
    if _REPOSITORY.fullmatch(text):
        return f"{{hf: {written(node)}}}"
    if _TAG.fullmatch(text):
        return f"{{ollama: {written(node)}}}, or {{id: {written(node)}}} for an endpoint"
    return f"{{id: {written(node)}}}" if text else ""


def _template(node: Node) -> str:
    text = node.text
    if not isinstance(node.value, str) or not text:
        return ""
    is_file = "/" in text or text.endswith((".jinja", ".jinja2", ".j2", ".txt", ".tmpl"))
    return f"{{{'file' if is_file else 'name'}: {written(node)}}}"


_EXAMPLES = {
    "backends": "{NAME: {kind: …}}",
    "models": "{NAME: {hf: user/repo}}",
    "chat_templates": "{NAME: {file: …}}",
    "charts": "{NAME: {x: …, y: …}}",
}


def _container(container: str, node: Node) -> str:
    """Return a mapping of names for a list, or for a single value without a name."""
    one = {"backends": _backend, "models": _model, "chat_templates": _template}.get(container)
    if isinstance(node.value, str) and one is not None and (form := one(node)):
        return f"{{NAME: {form.partition(', or ')[0]}}}"
    return _EXAMPLES[container]


def _tests(node: Node) -> str:
    if isinstance(node.value, str):
        return f"[{{suite: {written(node)}}}]"
    if {"name", "messages", "expect", "suite"} & node.entries.keys():
        return f"begin each test with «- », or write {_listed(written(node))}"
    if node.entries:
        name = next(iter(node.entries))
        return f"begin each test with «- » and its name: - name: {plain_or_quoted(name)}"
    return ""


def _argv(node: Node) -> str:
    if not isinstance(node.value, str):
        return ""
    return f"each argument is an element: {argument_list(node.text)}"


def argument_list(text: str) -> str:
    """Return the arguments of a command line, as a list that may be copied."""
    words = [word.replace('"', "").replace("'", "") for word in _WORD.findall(text)]
    return f"[{', '.join(map(plain_or_quoted, words))}]"


def _pairs(node: Node, *, separator: str) -> str:
    """Return a mapping for `[A=b]` or `A=b`."""
    texts = [item.text for item in node.items] or [node.text]
    pairs = [text.partition(separator) for text in texts]
    if not all(sign and name for name, sign, _ in pairs):
        return ""
    inner = ", ".join(f"{name}: {plain_or_quoted(value)}" for name, _, value in pairs)
    return f"{{{inner}}}"


def _flags(node: Node) -> str:
    """Return a mapping for a command line's flags: `-ngl 99 -fa on`, as a text or as a list."""
    texts = [item.text for item in node.items] or [node.text]
    words = [word for text in texts for word in text.replace("=", " ").split()]
    if not words or not _FLAG.fullmatch(words[0]):
        return ""
    told: dict[str, str] = {}
    for word in words:
        if _FLAG.fullmatch(word):
            told[long_name(word) or word.lstrip("-")] = "true"
        else:
            told[next(reversed(told))] = word if word.isdecimal() else plain_or_quoted(word)
    return f"{{{', '.join(f'{name}: {value}' for name, value in told.items())}}}"


def sentence(form: str) -> str:
    """Return a form as a hint: `write …`, unless it says more by itself."""
    return form if not form or form.startswith(("begin", "each", "write")) else f"write {form}"
