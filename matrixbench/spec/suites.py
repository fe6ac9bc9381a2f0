"""Suites of tests, wherever they are; and from the entries of `tests:` to test cases."""

from __future__ import annotations

import pkgutil
import re
import sys
from dataclasses import dataclass, field, replace
from functools import cache
from importlib import resources
from importlib.util import find_spec, module_from_spec
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from matrixbench.errors import Problem, SpecError
from matrixbench.spec.axes import any_fits, fits
from matrixbench.spec.base import grid_points, grid_size
from matrixbench.spec.paths import Origin, Places, origin_of
from matrixbench.spec.problems import findings_of
from matrixbench.spec.rules import empty_axis, name_findings
from matrixbench.spec.shapes import grid_entries
from matrixbench.spec.test_rules import (
    conversation_findings,
    doubtful_test,
    own_request_findings,
    test_findings,
)
from matrixbench.spec.tests import Suite, Test
from matrixbench.spec.wording import choose, found, listed, nearest, quoted
from matrixbench.spec.yaml_source import (
    MAX_BYTES,
    Document,
    Finding,
    Loc,
    Node,
    Place,
    Spot,
    decode,
    parse_document,
    read_document,
    reason,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from importlib.resources.abc import Traversable
    from pathlib import Path

    from matrixbench.records import JsonObject

MAX_POINTS = 10_000
"""Test cases that the parameters of one test may make."""

SUFFIXES = (".yaml", ".yml", ".json")
"""What the name of a suite's file ends with."""

# One letter before a colon is a drive (`C:\evals`), and a path has a slash before any colon of its.
_REFERENCE = re.compile(r"(?P<package>[A-Za-z_][\w.-]+):(?P<path>.*)", re.DOTALL)
_FILES_LISTED = 200
_DEPTH_LISTED = 6

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
        self.findings.append(node.told(message, hint))
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
                found_here = node.told(message, problem.hint)
                self.findings.append(found_here)
            else:
                self.problems.append(problem)

    def _checked(self, document: Document) -> Document | None:
        self.findings += document.findings
        if not isinstance(document.root.value, dict):
            message = f"a suite is a mapping with name and tests, found {found(document.root)}"
            self.findings.append(document.root.told(message))
            return None
        if backends := document.root.entries.get("backends"):
            message = "this is an experiment, not a suite: a suite has no backends"
            hint = "put the tests that both need into a file of their own, with name and tests"
            self.findings.append(backends.told(message, hint))
            return None
        try:
            Suite.model_validate(document.data())
        except ValidationError as error:
            self.findings += findings_of(error, document, Suite)
        return document


@dataclass(frozen=True, slots=True, kw_only=True)
class PackagedFile:
    """A file in an installed package.

    Args:
        package: The package's import name; dots lead into its folders.
        path: The file's path in the package, with slashes.
    """

    package: str
    path: str

    def __str__(self) -> str:
        return f"{self.package}:{self.path}"


def packaged_file(reference: str) -> PackagedFile | None:
    """Return the file in a package that a reference names; None where it names something else."""
    found = _REFERENCE.fullmatch(reference)
    return PackagedFile(package=found["package"], path=found["path"]) if found else None


def read_packaged(file: PackagedFile) -> Document:
    """Return what a YAML file in an installed package says.

    Raises:
        SpecError: There is no such package or file, the path leads out of the package, or the file
            is not YAML.
    """
    parts = _parts(file)
    content = _content(_folder(file), parts, file)
    return parse_document(decode(content, name=str(file)), name=str(file))


def _parts(file: PackagedFile) -> list[str]:
    """Return the folders and the file's name on the way from the top package to the file."""
    if file.path.startswith("//"):
        raise _refused(file, "cannot be read: suites are not fetched", "save it, and name the file")
    if "\\" in file.path:
        raise _refused(file, "has a backslash in its path", "write / between folders")
    parts = [*file.package.split(".")[1:], *file.path.split("/")]
    if ".." in parts or file.path.startswith("/"):
        raise _refused(file, "leads out of its package", "write a path inside of it")
    if not file.path.endswith(SUFFIXES):
        raise _refused(file, f"does not end with {', '.join(SUFFIXES)}", "name the file of a suite")
    return [part for part in parts if part not in {"", "."}]


def _folder(file: PackagedFile) -> Traversable:
    """Return the top package's folder, without importing it."""
    top = file.package.partition(".")[0]
    try:
        spec = find_spec(top)
    except ValueError:  # what runs as a program, such as `__main__`, has no spec
        spec = None
    if spec is None:
        what = f"cannot be read: no Python package called {quoted(top)} is installed"
        raise _refused(file, what, _how_to_install(top))
    if spec.submodule_search_locations is None:
        raise _refused(file, f"cannot be read: {quoted(top)} is a single module, without files")
    return resources.files(module_from_spec(spec))


def _how_to_install(package: str) -> str:
    near = nearest(package, {module.name for module in pkgutil.iter_modules() if module.ispkg})
    meant = f"perhaps you meant «{near}»; " if near else ""
    install = f"install it for this Python: {sys.executable} -m pip install {package}"
    return f"{meant}{install}; a file whose name holds a colon is written ./{package}:…"


def _content(folder: Traversable, parts: list[str], file: PackagedFile) -> bytes:
    found = folder
    for part in parts:  # a namespace package's folder takes one step at a time before Python 3.12
        found = found.joinpath(part)
    if not found.is_file():
        begun = "".join(f"{part}/" for part in file.package.split(".")[1:])
        there = sorted(islice(_suites_in(folder), _FILES_LISTED))
        choices = [path.removeprefix(begun) for path in there if path.startswith(begun)]
        hint = choose(file.path, choices, what="its YAML files")
        raise _refused(file, "cannot be read: the package has no such file", hint)
    try:
        with found.open("rb") as opened:
            return opened.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        why = reason(error)
        raise _refused(file, f"cannot be read: {why}") from None


def _suites_in(folder: Traversable, way: str = "", depth: int = 0) -> Iterator[str]:
    """Yield the paths of what may be suites in a package."""
    for entry in folder.iterdir():
        if entry.is_file() and entry.name.endswith(SUFFIXES):
            yield f"{way}{entry.name}"
        elif entry.is_dir() and depth < _DEPTH_LISTED:
            yield from _suites_in(entry, f"{way}{entry.name}/", depth + 1)


def _refused(file: PackagedFile, message: str, hint: str = "") -> SpecError:
    return SpecError([Problem(message=message, where=str(file), hint=hint)])


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A test with its parameters filled in, and the place of its name."""

    test: Test
    parameters: JsonObject
    suite: str
    place: Place
    origin: Origin

    @property
    def name(self) -> str:
        """The test's name."""
        return self.test.name

    @property
    def tags(self) -> Sequence[str]:
        """The test's tags."""
        return self.test.tags


@dataclass(slots=True, kw_only=True)
class Cases:
    """The test cases of an experiment, and what is wrong with them.

    Args:
        suites: Where suites are read.
        cases: The cases in the file's order.
        complete: Whether every entry could be read, so that a name not found is a wrong name.
        findings: What is wrong.
        warnings: What is most likely not meant.
    """

    suites: Suites
    cases: list[Case] = field(default_factory=list)
    complete: bool = True
    findings: list[Finding] = field(default_factory=list)
    warnings: list[Finding] = field(default_factory=list)
    _of_suite: dict[str, list[Case]] = field(default_factory=dict)
    _broken: set[str] = field(default_factory=set)

    def read(self, document: Document) -> None:
        """Take the cases of every entry of an experiment's `tests:`."""
        for index, entry in enumerate(document.root.child_items("tests")):
            suite = entry.child("suite")
            if suite is None:
                self.cases += self._of_test(document, ("tests", index), "")
            else:
                cases = self.of_suite(suite)
                self._tell_unmatched(entry, suite.text, cases)
                self.findings += own_request_findings(entry.child("request"))
                self.cases += self._chosen(entry, cases)
        self._tell_duplicates()

    def of_suite(self, node: Node) -> list[Case]:
        """Return the cases of the suite that a text names; none, with findings, for no suite."""
        document = self.suites.load(node)
        if document is None:
            self._broken.add(node.text)
            self.complete = False
            return []
        if document.name not in self._of_suite:
            name = document.root.child("name")
            before, self.complete = self.complete, True
            self._of_suite[document.name] = [
                case
                for index in range(len(document.root.child_items("tests")))
                for case in self._of_test(document, ("tests", index), name.text if name else "")
            ]
            if not self.complete:
                self._broken.add(node.text)
            self.complete = self.complete and before
        return self._of_suite[document.name]

    def _chosen(self, entry: Node, cases: Sequence[Case]) -> list[Case]:
        """Return a suite's cases that `only`, `tags` and `skip` leave.

        Their place is the entry's, whose request fields win over theirs.
        """
        fields = {
            name: field.node.plain() for name, field in entry.child_entries("request").items()
        }
        only, tags, skip = (_texts(entry, key) for key in ("only", "tags", "skip"))
        return [
            replace(case, test=_with_fields(case.test, fields), place=entry.place)
            for case in cases
            if (only is None or any_fits(only, case.test.name))
            and (tags is None or any(any_fits(tags, tag) for tag in case.test.tags))
            and not any_fits(skip or (), case.test.name)
        ]

    def _tell_unmatched(self, entry: Node, suite: str, cases: Sequence[Case]) -> None:
        """Tell of names in `only` and `skip`, and of tags, that no test of the suite has."""
        if suite in self._broken:
            return
        names = [case.test.name for case in cases]
        tags = sorted({tag for case in cases for tag in case.test.tags})
        for key, known, says, what in (
            ("only", names, "is called", "its tests"),
            ("skip", names, "is called", "its tests"),
            ("tags", tags, "has the tag", "its tags"),
        ):
            for glob in entry.child_items(key):
                if not any(fits(glob.text, name) for name in known):
                    message = f"no test of the suite {says} {quoted(glob.text)}"
                    hint = choose(glob.text, known, what=what)
                    self._fail(glob.told(message, hint))

    def _of_test(self, document: Document, at: Loc, suite: str) -> list[Case]:
        node = document.node_at(at)
        try:
            test = Test.model_validate(node.plain() if node else None)
        except ValidationError:  # told of where the whole file is validated
            self.complete = False
            return []
        place = document.place_of((*at, "name"))
        spot, origin = Spot(document, at), origin_of(document, at)
        points = self._points(document, at, test)
        found: dict[tuple[Place, str], Finding] = {}
        doubtful: dict[Place, Finding] = {}
        cases: list[Case] = []
        for point, data in self._filled(document, at, points):
            filled = Test.model_validate(data) if point else test
            for finding in chain(
                test_findings(spot, data),
                conversation_findings(spot, data),
                name_findings(place, filled.name, *filled.tags),
            ):
                found.setdefault((finding.place, finding.message), finding)
            for finding in doubtful_test(spot, data):
                doubtful.setdefault(finding.place, finding)
            cases.append(
                Case(test=filled, parameters=point, suite=suite, place=place, origin=origin)
            )
        self.findings += found.values()
        self.warnings += doubtful.values()
        return cases

    def _points(self, document: Document, at: Loc, test: Test) -> Sequence[Mapping[str, Any]]:
        node = document.node_at((*at, "parameters"))
        for name, entry in grid_entries(node):
            if entry.node.value == []:
                self._fail(empty_axis(name, entry))
            if not name.isidentifier():
                message = f"the parameter {quoted(name)} cannot stand in {{{{ … }}}}"
                hint = "use letters, digits and _ in its name"
                self._fail(entry.told(message, hint))
        size = grid_size(test.parameters)
        if node and size > MAX_POINTS:
            message = f"the parameters make {size:,} tests, more than {MAX_POINTS:,}"
            self._fail(node.told(message))
            return ()
        return grid_points(test.parameters)

    def _fail(self, finding: Finding) -> None:
        self.findings.append(finding)
        self.complete = False

    def _filled(
        self, document: Document, at: Loc, points: Sequence[Mapping[str, Any]]
    ) -> Iterator[tuple[JsonObject, JsonObject]]:
        """Yield the parameters and the test's data with them filled in, for each point."""
        node = document.node_at(at)
        if node is None:
            return
        if not any(points):
            yield from (({}, node.plain()) for _ in points)
            return
        from matrixbench.spec.templating import Filler  # noqa: PLC0415  heavy: jinja2, seldom needed

        filler = Filler()
        for point in points:
            data = filler.mapping(node, point)
            if filler.findings:
                self.findings += filler.findings
                self.complete = False
                return
            yield dict(point), data

    def _tell_duplicates(self) -> None:
        first: dict[str, Case] = {}
        doubles: dict[Place, list[str]] = {}
        for case in self.cases:
            if first.setdefault(case.test.name, case) is not case:
                doubles.setdefault(case.place, []).append(case.test.name)
        for place, names in doubles.items():
            earlier = first[names[0]]
            same = earlier.place == place and bool(earlier.parameters)
            hint = "write {{ PARAMETER }} into its name" if same else f"see {earlier.place}"
            message = f"duplicate test name{'s' if len(names) > 1 else ''} {listed(names)}"
            self.findings.append(Finding(place=place, message=message, hint=hint))


def _with_fields(test: Test, fields: JsonObject) -> Test:
    return test.model_copy(update={"request": {**test.request, **fields}}) if fields else test


def _texts(entry: Node, key: str) -> list[str] | None:
    """Return the texts of a list; None where it is not there, or is null."""
    node = entry.child(key)
    return None if node is None or node.value is None else [item.text for item in node.items]


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedSuite:
    """A suite that was read without a mistake.

    Args:
        reference: What an experiment writes under `suite:` to mean it.
        name: What it calls itself.
        description: What it says of itself.
        cases: Its tests, parameters filled in.
    """

    reference: str
    name: str
    description: str
    cases: tuple[Case, ...]

    @property
    def tags(self) -> tuple[str, ...]:
        """The tags of its tests, each once, in order of appearance."""
        return tuple(dict.fromkeys(tag for case in self.cases for tag in case.test.tags))


def list_suite(reference: str, *, base: Path, environ: Mapping[str, str]) -> ListedSuite:
    """Return the suite that a reference names: a shipped one, a file, or a file in a package.

    Raises:
        SpecError: There is no such suite, or something is wrong with it; every problem at once.
    """
    here = Place(file="", line=0, column=0)
    node = Node(place=here, value=reference, text=reference)
    places = Places(base=base, environ=environ)
    suites = Suites(places)
    cases = Cases(suites=suites)
    found = cases.of_suite(node)
    findings = (*cases.findings, *places.findings, *suites.findings)
    # What is wrong with the reference itself has no place in any file.
    told = [
        Problem(message=each.message, hint=each.hint) if each.place == here else each.problem
        for each in sorted(findings, key=lambda finding: finding.place)
    ]
    document = suites.load(node)
    if told or suites.problems or document is None:
        raise SpecError([*dict.fromkeys(told), *suites.problems])
    description = document.root.child("description")
    return ListedSuite(
        reference=reference,
        name=str(document.data()["name"]),
        description=str(description.value) if description else "",
        cases=tuple(found),
    )
