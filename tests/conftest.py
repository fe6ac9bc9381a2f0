"""Fixtures that all tests share."""

from __future__ import annotations

from textwrap import dedent
from typing import TYPE_CHECKING, Protocol

import pytest

from matrixbench.spec.load import Experiment, load_experiment

if TYPE_CHECKING:
    from pathlib import Path


class Write(Protocol):
    """Writes an experiment file and returns its path."""

    def __call__(self, text: str, name: str = "exp.yaml") -> Path:
        """Write the text, its indentation taken off."""


class Load(Protocol):
    """Loads an experiment from the text of its file."""

    def __call__(self, text: str) -> Experiment:
        """Load the text as a file."""


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Return a function that writes an experiment file into an empty folder."""

    def written(text: str, name: str = "exp.yaml") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text), encoding="utf-8")
        return path

    return written


@pytest.fixture
def load(write: Write) -> Load:
    """Return a function that loads an experiment from its text, with an empty environment."""

    def loaded(text: str) -> Experiment:
        return load_experiment(write(text), environ={})

    return loaded
