"""A suite by itself, without an experiment: what it is called, and what its tests probe."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from matrixbench.errors import Problem, SpecError
from matrixbench.spec.cases import Case, Cases
from matrixbench.spec.nodes import Node, Place
from matrixbench.spec.paths import Places
from matrixbench.spec.suites import Suites

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


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

    Args:
        reference: As an experiment writes it under `suite:`.
        base: The folder that a relative path starts from.
        environ: The environment variables that `${VAR}` and `~` stand for.

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
