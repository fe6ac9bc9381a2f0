"""From a file's path to an experiment with everything that it refers to."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from matrixbench.records import JsonObject
    from matrixbench.spec.experiment import ExperimentFile
    from matrixbench.spec.tests import Check, Needs


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """A chat template with its text read. The model's own has neither `known_as` nor `text`."""

    name: str
    known_as: str | None = None
    text: str | None = None
    path: Path | None = None

    @property
    def is_native(self) -> bool:
        """Whether this is the template that the model carries."""
        return self.known_as is None and self.text is None


@dataclass(frozen=True, slots=True, kw_only=True)
class TestCase:
    """A test with its parameters filled in."""

    __test__ = False  # for pytest, whose naming rule this class meets by chance

    name: str
    parameters: JsonObject = field(default_factory=dict)
    messages: tuple[JsonObject, ...]
    tools: tuple[JsonObject, ...] = ()
    request: JsonObject = field(default_factory=dict)
    needs: Needs
    expect: tuple[Check, ...]
    suite: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """An experiment file, checked, with paths made absolute and its references read."""

    path: Path
    file: ExperimentFile
    templates: Mapping[str, Template]
    tests: tuple[TestCase, ...]
