"""From the entries of `tests:` to test cases: suites read, parameters filled in, names unique."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import chain
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from matrixbench.spec.conversation_rules import conversation_findings
from matrixbench.spec.doubtful import doubtful_test
from matrixbench.spec.expectations import own_request_findings, test_findings
from matrixbench.spec.grid import grid_points
from matrixbench.spec.grids import grid_entries, grid_size
from matrixbench.spec.matching import any_fits, fits
from matrixbench.spec.nodes import Document, Finding, Loc, Node, Place
from matrixbench.spec.origin import Origin, origin_of
from matrixbench.spec.rules import empty_axis, name_findings
from matrixbench.spec.tests import Test
from matrixbench.spec.wording import choose, listed, quoted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from matrixbench.records import JsonObject
    from matrixbench.spec.suites import Suites

MAX_POINTS = 10_000
"""Test cases that the parameters of one test may make."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A test with its parameters filled in, and the place of its name."""

    test: Test
    parameters: JsonObject
    suite: str
    place: Place
    origin: Origin


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
                    self._fail(Finding(place=glob.place, message=message, hint=hint))

    def _of_test(self, document: Document, at: Loc, suite: str) -> list[Case]:
        node = document.node_at(at)
        try:
            test = Test.model_validate(node.plain() if node else None)
        except ValidationError:  # told of where the whole file is validated
            self.complete = False
            return []
        place = document.place_of((*at, "name"))
        origin = origin_of(document, at)
        points = self._points(document, at, test)
        found: dict[tuple[Place, str], Finding] = {}
        doubtful: dict[Place, Finding] = {}
        cases: list[Case] = []
        for point, data in self._filled(document, at, points):
            filled = Test.model_validate(data) if point else test
            for finding in chain(
                test_findings(document, at, data),
                conversation_findings(document, at, data),
                name_findings(place, filled.name, *filled.tags),
            ):
                found.setdefault((finding.place, finding.message), finding)
            for finding in doubtful_test(document, at, data):
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
                self._fail(Finding(place=entry.place, message=message, hint=hint))
        size = grid_size(node)
        if node and size > MAX_POINTS:
            message = f"the parameters make {size:,} tests, more than {MAX_POINTS:,}"
            self._fail(Finding(place=node.place, message=message))
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
        from matrixbench.spec.filling import Filler  # noqa: PLC0415  heavy: jinja2, seldom needed

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
