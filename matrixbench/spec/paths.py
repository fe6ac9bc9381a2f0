"""Where things stand: `~`, `${VAR}` and relative paths, and for code beside a test its file."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from matrixbench.spec.wording import choose, dotted, quoted
from matrixbench.spec.yaml_source import Document, Finding, Loc, Node, Place

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PLACED = ("python", "same_as", "check")
"""Checks whose places are kept: what they name is looked for only when they are compiled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a test stands.

    Args:
        folder: The folder of its file; None where it is no file of its own, such as a suite that
            ships.
        places: Way to a check's value from the test on, such as `expect[0].python` → its place;
            of a mapping's entries too.
    """

    folder: Path | None = None
    places: Mapping[str, Place] = field(default_factory=dict)


def origin_of(document: Document, at: Loc) -> Origin:
    """Return where the test at a place of a document stands."""
    file = Path(document.name)
    expect = document.node_at((*at, "expect"))
    return Origin(
        folder=file.absolute().parent if file.is_file() else None,
        places={} if expect is None else dict(_places(expect, ("expect",))),
    )


def _places(node: Node, at: Loc) -> Iterator[tuple[str, Place]]:
    for name, entry in node.entries.items():
        if name in PLACED:
            yield dotted((*at, name)), entry.node.place
            for key, inner in entry.node.entries.items():
                yield dotted((*at, name, key)), inner.place
        elif name in {"all", "any", "not"}:
            yield from _places(entry.node, (*at, name))
    for index, item in enumerate(node.items):
        yield from _places(item, (*at, index))


_DOLLAR = re.compile(r"\$\$|\$\{(?P<name>[^}]*)\}?")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(slots=True, kw_only=True)
class Places:
    """Resolves what a file says of places outside of it, and keeps what is wrong with that.

    Args:
        base: The folder that relative paths start from, absolute.
        environ: The environment variables; `HOME` gives the meaning of `~`.
        findings: What is wrong.
        variables: Names of the variables that were filled in, in their order.
    """

    base: Path
    environ: Mapping[str, str]
    findings: list[Finding] = field(default_factory=list)
    variables: dict[str, None] = field(default_factory=dict)

    def path(self, node: Node) -> Path | None:
        """Return the absolute path that a text stands for; None, with a finding, for none."""
        expanded = self.text(node)
        if expanded is None:
            return None
        if not expanded.strip():
            self._tell(node, "the path is empty")
            return None
        if expanded.startswith("~"):
            return self._home(node, expanded)
        return self.base / expanded

    def text(self, node: Node) -> str | None:
        """Return a text with its variables filled in; None, with findings, where one is unset."""
        if not isinstance(node.value, str):
            return None
        failed = False

        def fill(match: re.Match[str]) -> str:
            nonlocal failed
            if match.group() == "$$":
                return "$"
            value = self._variable(node, match)
            failed = failed or value is None
            return value or ""

        filled = _DOLLAR.sub(fill, node.value)
        return None if failed else filled

    def _variable(self, node: Node, match: re.Match[str]) -> str | None:
        name = match["name"]
        if not match.group().endswith("}") or not _NAME.fullmatch(name):
            hint = "a variable is written ${NAME}, a dollar sign before a brace $$"
            self._tell(node, f"{quoted(match.group())} is no variable", hint)
            return None
        if name not in self.environ:
            near = choose(name, list(self.environ)).partition("; ")
            meant = f"{near[0]}, or set it" if near[1] else "set it"
            self._tell(node, f"the environment variable {quoted(name)} is not set", meant)
            return None
        self.variables[name] = None
        return self.environ[name]

    def _home(self, node: Node, expanded: str) -> Path | None:
        first, _, rest = expanded.partition("/")
        if first != "~":
            self._tell(
                node, f"{quoted(first)} does not expand", f"write ./{first} for a file's name"
            )
            return None
        home = self.environ.get("HOME")
        if not home:
            self._tell(node, "«~» cannot be expanded: the environment variable «HOME» is not set")
            return None
        return Path(home) / rest

    def _tell(self, node: Node, message: str, hint: str = "") -> None:
        self.findings.append(node.told(message, hint))


class UnresolvedPathError(ValueError):
    """A text that stands for no path: why, and the way out."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


def path_of(text: str, *, base: Path, environ: Mapping[str, str]) -> Path:
    """Return the absolute path that a text stands for, as `Places.path` does.

    It is for texts of which only a server's `--help` tells that they are paths.

    Raises:
        UnresolvedPathError: It stands for none.
    """
    places = Places(base=base, environ=environ)
    path = places.path(Node(place=Place(file="", line=0, column=0), value=text))
    if path is None:
        found = places.findings[0]
        raise UnresolvedPathError(found.message, found.hint)
    return path


def resolved(document: Document, places: Places) -> dict[Loc, str]:
    """Return where → what is really meant, for every path and url of an experiment file.

    What is wrong with one is told to `places`; chat templates and suites are read, and so
    resolved, elsewhere.
    """
    found: dict[Loc, str] = {}
    for loc, node in _paths(document):
        if (path := places.path(node)) is not None:
            found[loc] = str(path)
    for name, entry in document.root.child_entries("backends").items():
        url = entry.node.child("url")
        if url and (text := places.text(url)) is not None:
            found["backends", name, "url"] = text
    return found


def _paths(document: Document) -> Iterator[tuple[Loc, Node]]:
    for name, entry in document.root.child_entries("backends").items():
        binary = entry.node.child("binary")
        if binary and isinstance(binary.value, str):
            yield ("backends", name, "binary"), binary
        for label, build in (binary.entries if binary else {}).items():
            if isinstance(build.node.value, str):
                yield ("backends", name, "binary", label), build.node
    for name, entry in document.root.child_entries("backends").items():
        argv = entry.node.child_items("argv")
        if argv and _is_path(argv[0].value):
            yield ("backends", name, "argv", 0), argv[0]
        models_dir = entry.node.child("models_dir")
        if models_dir and isinstance(models_dir.value, str):
            yield ("backends", name, "models_dir"), models_dir
    for name, entry in document.root.child_entries("models").items():
        gguf = entry.node.child("gguf")
        if gguf and isinstance(gguf.value, str):
            yield ("models", name, "gguf"), gguf


def _is_path(program: object) -> bool:
    """Return whether a program is named by its path; a bare name is looked up on PATH."""
    if not isinstance(program, str) or program.startswith("{"):
        return False
    return "/" in program or program.startswith(("~", "${"))
