"""A folder with an experiment file in it, and what loading it says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import pytest

from matrixbench.errors import SpecError
from matrixbench.spec.load import Experiment, load_experiment

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MINIMAL = """\
name: x
backends: {s: {kind: scripted, replies: [hello]}}
tests: [{name: t, messages: [{role: user, content: hi}], expect: []}]
"""


class Load(Protocol):
    """Loads an experiment from text."""

    def __call__(self, text: str, **environ: str) -> Experiment:
        """Return the experiment, or raise SpecError."""


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Load an experiment from text, as `exp.yaml` in the test's folder."""

    def load(text: str, **environ: str) -> Experiment:
        path = tmp_path / "exp.yaml"
        path.write_text(text, encoding="utf-8")
        return load_experiment(path, environ=environ)

    return load


@pytest.fixture
def problems(load: Load, tmp_path: Path) -> Callable[[str], list[str]]:
    """Return what is wrong with a text, as messages show it, the folder left out."""

    def problems(text: str) -> list[str]:
        try:
            load(text)
        except SpecError as error:
            return [str(problem).replace(f"{tmp_path}/", "") for problem in error.problems]
        return []

    return problems


@pytest.fixture
def minimal() -> str:
    """Return the smallest experiment; more top-level keys may be appended to it."""
    return MINIMAL
