"""From a YAML file to data in which every key and every value knows its line and column.

The text is read as YAML 1.2 (core schema), so JSON is read as what it says, and `NO`, `on` and
`1:30` are texts. The tree is built from parse events without recursion, under limits on size, depth
and alias expansion: no file, however strange, does more than raise SpecError.
"""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import yaml

from matrixbench.errors import Problem, SpecError
from matrixbench.spec.indentation import disagreement
from matrixbench.spec.nodes import Document, Node, Place
from matrixbench.spec.tree import TreeBuilder, place_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

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
        path: The file.
        shown: How messages call it; default: its path.

    Raises:
        SpecError: It cannot be read, is no text, is too big, or is not YAML.
    """
    name = shown or str(path)
    try:
        with path.open("rb") as file:
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
        builder = _built(text, name, fast)
    except _TooDeepForLibyamlError:
        builder = _built(text, name, yaml.SafeLoader)  # which gets as far as our own limit
    root = builder.root or Node(place=Place(file=name, line=1, column=1), value=None)
    return Document(name=name, root=root, findings=tuple(builder.findings))


class _TooDeepForLibyamlError(Exception):
    """libyaml gave up reading ahead, before the events of our own limit's level came."""


def _built(text: str, name: str, loader: type[yaml.SafeLoader]) -> TreeBuilder:
    # libyaml refuses halves of characters, and the pure parser reads other things differently. So
    # the backslashes of halves are hidden: as many characters, so that every place stays right.
    hidden = next((chr(code) for code in _STAND_INS if chr(code) not in text), "")
    if hidden:
        text = _SURROGATE_ESCAPE.sub(rf"\g<1>{hidden}", text)
    builder = TreeBuilder(name)
    for event in _events(text, name, loader):
        if hidden and isinstance(event, yaml.ScalarEvent) and hidden in event.value:
            event.value = _shown(event, hidden)
        builder.take(event)
    return builder


def _shown(event: yaml.ScalarEvent, hidden: str) -> str:
    """Return a scalar's text with what was hidden: halves of characters, if it has escapes."""
    if event.style != '"':
        return str(event.value).replace(hidden, "\\")
    return re.sub(f"{hidden}u([0-9a-fA-F]{{4}})", lambda found: chr(int(found[1], 16)), event.value)


def _events(text: str, name: str, loader_class: type[yaml.SafeLoader]) -> Iterator[yaml.Event]:
    loader: Any = loader_class(text)  # its methods have no types
    try:
        while loader.check_event():
            yield loader.get_event()
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
