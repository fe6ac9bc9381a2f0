"""Suites of tests: shipped ones, files beside the experiment, and files in packages."""

from __future__ import annotations

import re
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING

from pydantic import ValidationError

from matrixbench.errors import Problem, SpecError
from matrixbench.spec.nodes import Document, Finding, Node
from matrixbench.spec.packaged import SUFFIXES, packaged_file, read_packaged
from matrixbench.spec.problems import findings_of
from matrixbench.spec.source import decode, parse_document, read_document
from matrixbench.spec.tests import Suite
from matrixbench.spec.wording import choose, found, quoted

if TYPE_CHECKING:
    from matrixbench.spec.paths import Places

_PACKAGE = "matrixbench.suites"
_LINE_AND_COLUMN = re.compile(r":[0-9]+:[0-9]+$")


@cache
def shipped_suites() -> tuple[str, ...]:
    """Return the names of the suites that ship with matrixbench, sorted."""
    files = resources.files(_PACKAGE).iterdir()
    return tuple(sorted(file.name[:-5] for file in files if file.name.endswith(".yaml")))


def read_shipped(name: str) -> Document:
    """Return what a shipped suite says.

    Raises:
        SpecError: It is not YAML.
    """
    file = resources.files(_PACKAGE).joinpath(f"{name}.yaml")
    shown = f"{_PACKAGE.replace('.', '/')}/{name}.yaml"
    return parse_document(decode(file.read_bytes(), name=shown), name=shown)


def is_file(reference: str) -> bool:
    """Return whether a reference names a file: it has a suffix, a slash, `~` or `$` in it."""
    return reference.endswith(SUFFIXES) or any(sign in reference for sign in "/\\~$")


class Suites:
    """The suites that an experiment refers to, each read once; keeps what is wrong with them."""

    def __init__(self, places: Places) -> None:
        self._places = places
        self._read: dict[str, Document | None] = {}
        self.findings: list[Finding] = []
        self.problems: list[Problem] = []

    def load(self, node: Node) -> Document | None:
        """Return the suite that `suite:` names; None, with what is wrong, where there is none."""
        reference = node.value
        if not isinstance(reference, str):
            return None
        if reference not in self._read:
            document = self._document(reference, node)
            self._read[reference] = self._checked(document) if document else None
        return self._read[reference]

    def _document(self, reference: str, node: Node) -> Document | None:
        try:
            if (file := packaged_file(reference)) is not None:
                return read_packaged(file)
            if is_file(reference):
                path = self._places.path(node)
                return read_document(path) if path else None
            if reference in shipped_suites():
                return read_shipped(reference)
        except SpecError as error:
            self._tell(error, node)
            return None
        message = f"no suite called {quoted(reference)} ships with matrixbench"
        hint = choose(reference, shipped_suites(), what="shipped")
        if beside := self._file_beside(reference):
            hint = f"write suite: {beside}; {hint}"
        self.findings.append(Finding(place=node.place, message=message, hint=hint))
        return None

    def _file_beside(self, reference: str) -> str:
        """Return the file that a name without its suffix stands for, where there is one."""
        if not reference or "/" in reference:
            return ""
        named = (f"{reference}{suffix}" for suffix in SUFFIXES)
        return next((name for name in named if (self._places.base / name).is_file()), "")

    def _tell(self, error: SpecError, node: Node) -> None:
        """Tell of a suite that cannot be read where it is named, else where it is wrong."""
        for problem in error.problems:
            if not _LINE_AND_COLUMN.search(problem.where):
                message = f"the suite {problem.where} {problem.message}"
                found_here = Finding(place=node.place, message=message, hint=problem.hint)
                self.findings.append(found_here)
            else:
                self.problems.append(problem)

    def _checked(self, document: Document) -> Document | None:
        self.findings += document.findings
        if not isinstance(document.root.value, dict):
            message = f"a suite is a mapping with name and tests, found {found(document.root)}"
            self.findings.append(Finding(place=document.root.place, message=message))
            return None
        if backends := document.root.entries.get("backends"):
            message = "this is an experiment, not a suite: a suite has no backends"
            hint = "put the tests that both need into a file of their own, with name and tests"
            self.findings.append(Finding(place=backends.place, message=message, hint=hint))
            return None
        try:
            Suite.model_validate(document.data())
        except ValidationError as error:
            self.findings += findings_of(error, document, Suite)
        return document
