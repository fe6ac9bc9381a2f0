"""From a file's path to an experiment with everything that it refers to."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from matrixbench.errors import Problem, SpecError, UsageError
from matrixbench.safe_files import open_input
from matrixbench.spec.axes import Coordinates, coordinates_of_test, handles_of_test
from matrixbench.spec.backends import url_findings
from matrixbench.spec.experiment import MAX_SEED, ExperimentFile
from matrixbench.spec.models import Template
from matrixbench.spec.paths import Origin, Places, resolved
from matrixbench.spec.problems import MAX_TOLD, findings_of
from matrixbench.spec.references import reference_findings
from matrixbench.spec.rules import rule_findings
from matrixbench.spec.suites import Cases, Suites
from matrixbench.spec.test_rules import doubtful_findings
from matrixbench.spec.tests import script_of
from matrixbench.spec.wording import found
from matrixbench.spec.yaml_source import (
    Document,
    Finding,
    Loc,
    Node,
    beside,
    decode,
    read_document,
    reason,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from matrixbench.records import JsonObject
    from matrixbench.spec.checks import Check
    from matrixbench.spec.tests import Needs, Script

MAX_TEMPLATE_BYTES = 1_000_000
"""The largest chat template that is read."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TestCase:
    """A test with its parameters filled in; without a script it is one request.

    Each is itself alone: two that are written alike are two, and it may be the key of a dict.
    """

    __test__ = False  # for pytest, whose naming rule this class meets by chance

    name: str
    parameters: JsonObject = field(default_factory=dict)
    messages: tuple[JsonObject, ...]
    tools: tuple[JsonObject, ...] = ()
    script: Script | None = None
    request: JsonObject = field(default_factory=dict)
    needs: Needs
    expect: tuple[Check, ...]
    suite: str = ""
    tags: tuple[str, ...] = ()
    origin: Origin = field(default_factory=Origin)
    coordinates: Coordinates = field(init=False, repr=False)
    handles: Coordinates = field(init=False, repr=False)

    def __post_init__(self) -> None:
        # Once: a million cells ask for them.
        object.__setattr__(self, "coordinates", coordinates_of_test(self))
        object.__setattr__(self, "handles", handles_of_test(self))


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Experiment:
    """An experiment file, checked, with paths made absolute and its references read.

    `environ` is the environment that it was read in; runs, stores and keys follow it. `warnings`
    are what is most likely not meant, though it runs. `seed_offset` is by how much the file's
    `seed` is higher here than as it is written. `variables` are the names that `${…}` stands for
    in its paths and urls.
    """

    path: Path
    file: ExperimentFile
    templates: Mapping[str, Template]
    tests: tuple[TestCase, ...]
    environ: Mapping[str, str] = field(default_factory=dict, compare=False)
    warnings: tuple[Problem, ...] = field(default=(), compare=False)
    seed_offset: int = 0
    variables: tuple[str, ...] = field(default=(), compare=False)

    def with_seed_offset(self, offset: int) -> Experiment:
        """Return the experiment as if its file's `seed` were higher: fresh seeds for another look.

        Choose at least as many as there are trials, for trial i asks for seed + i.

        Raises:
            UsageError: The offset is negative, or seeds would be larger than `MAX_SEED`.
        """
        seed, trials = self.file.seed + offset, self.file.trials
        most = max(trials if isinstance(trials, int) else trials.max, self.file.greedy_trials)
        if offset < 0:
            raise UsageError(f"a seed offset must be at least 0, found {offset}")
        largest = MAX_SEED - most + 1 - self.file.seed
        if offset > largest:
            raise UsageError(
                f"a seed offset of {offset} makes the last trial ask for seed {seed + most - 1}",
                hint=f"{MAX_SEED} is the largest seed: at most {largest} is possible",
            )
        file = self.file.model_copy(update={"seed": seed})
        return replace(self, file=file, seed_offset=self.seed_offset + offset)

    def __repr__(self) -> str:
        """Name it: all of it would fill a notebook, and show its backends' environments."""
        return f"<experiment {self.file.name}: {len(self.tests)} tests, {self.path}>"


def load_experiment(path: str | Path, *, environ: Mapping[str, str] | None = None) -> Experiment:
    """Return the experiment that a file describes, with everything that it refers to read.

    Args:
        path: The YAML file. What it says of paths is relative to its folder.
        environ: The environment variables that `${VAR}` and `~` stand for, in which servers run
            and keys are looked up. Default: those of this process.

    Raises:
        SpecError: Something is wrong; it holds every problem at once, in the file's order (a file
            that is not YAML has that one problem).
    """
    path = Path(path)
    environ = os.environ if environ is None else environ
    document = read_document(path)
    if not isinstance(document.root.value, dict):
        what = "it is empty" if document.root.value is None else f"found {found(document.root)}"
        message = f"an experiment is a mapping with name, backends and tests: {what}"
        raise document.root.place.error(message)
    loading = _Loading(document, Places(base=path.absolute().parent, environ=environ))
    return replace(loading.experiment(path), environ=environ)


class _Loading:
    """Reads one file and what it refers to, collecting what is wrong."""

    def __init__(self, document: Document, places: Places) -> None:
        self._document = document
        self._places = places
        self._suites = Suites(places)
        self._findings: list[Finding] = list(document.findings)

    def experiment(self, path: Path) -> Experiment:
        """Return the experiment, or raise everything that is wrong with it."""
        document = self._document
        meant = resolved(document, self._places)
        templates = self._templates(document.root)
        cases = Cases(suites=self._suites)
        cases.read(document)
        file = self._file(meant)
        self._findings += rule_findings(document)
        self._findings += url_findings(document, meant)
        self._findings += islice(reference_findings(document, cases), MAX_TOLD)
        self._findings += cases.findings
        self._findings += self._places.findings
        self._findings += self._suites.findings
        problems = (*_sorted(self._findings, document.name), *self._suites.problems)
        if problems or file is None:
            raise SpecError(problems)
        doubtful = doubtful_findings(document, file, (case.test for case in cases.cases), meant)
        return Experiment(
            warnings=tuple(_sorted([*cases.warnings, *doubtful], document.name)),
            path=path.absolute(),
            file=file,
            variables=tuple(self._places.variables),
            templates=templates or {name: Template(name=name) for name in file.chat_templates},
            tests=tuple(
                TestCase(
                    name=case.test.name,
                    parameters=case.parameters,
                    messages=tuple(case.test.messages),
                    tools=tuple(tool.sent for tool in case.test.tools),
                    script=script_of(case.test.tools, case.test.turns, case.test.max_turns),
                    request=case.test.request,
                    needs=case.test.needs,
                    expect=tuple(case.test.expect),
                    suite=case.suite,
                    tags=tuple(case.test.tags),
                    origin=case.origin,
                )
                for case in cases.cases
            ),
        )

    def _file(self, meant: Mapping[Loc, str]) -> ExperimentFile | None:
        data = self._document.data()
        for loc, text in meant.items():
            _put(data, loc, text)
        try:
            return ExperimentFile.model_validate(data)
        except ValidationError as error:
            self._findings += findings_of(error, self._document, ExperimentFile)
            return None

    def _templates(self, root: Node) -> dict[str, Template]:
        templates: dict[str, Template] = {}
        for name, entry in root.child_entries("chat_templates").items():
            known_as, file = entry.node.child("name"), entry.node.child("file")
            path = self._places.path(file) if file else None
            ollama_file = entry.node.child("ollama_file")
            ollama_path = self._places.path(ollama_file) if ollama_file else None
            templates[name] = Template(
                name=name,
                known_as=known_as.text if known_as else None,
                text=self._text(path, file) if path and file else None,
                path=path,
                ollama_text=(
                    self._text(ollama_path, ollama_file) if ollama_path and ollama_file else None
                ),
            )
        return templates

    def _text(self, path: Path, node: Node) -> str | None:
        try:
            with open_input(path) as file:
                content = file.read(MAX_TEMPLATE_BYTES + 1)
            return decode(content, name=str(path), limit=MAX_TEMPLATE_BYTES)
        except SpecError as error:
            message = f"the chat template {error.where} {error.message}"
            self._findings.append(node.told(message, error.hint))
        except (OSError, ValueError) as error:
            message = f"the chat template {path} cannot be read: {reason(error)}"
            self._findings.append(node.told(message, beside(path)))
        return None


def _put(data: Any, loc: Loc, value: str) -> None:
    *way, last = loc
    for step in way:
        data = data[step]
    data[last] = value


def _sorted(findings: Iterable[Finding], name: str) -> list[Problem]:
    """Return problems in the file's order, those of other files after it; each once."""
    ordered = sorted(findings, key=lambda finding: (finding.place.file != name, finding.place))
    return list(dict.fromkeys(finding.problem for finding in ordered))
