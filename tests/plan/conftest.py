"""Fixtures of the planner's tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from matrixbench.plan.matrix import Matrix, build_matrix
from matrixbench.spec.load import load_experiment

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def load_hot(tmp_path_factory: pytest.TempPathFactory) -> Matrix:
    """Return a matrix of a greedy and a hot cell; frozen, so that property tests may share it."""
    path: Path = tmp_path_factory.mktemp("hot") / "exp.yaml"
    path.write_text(
        "name: demo\n"
        "backends: {s: {kind: llama-server}}\n"
        "models: {a: {gguf: a.gguf}}\n"
        "sampling: {temperature: [0, 1]}\n"
        "tests: [{name: hi, messages: [{role: user, content: hi}], expect: [{content: a}]}]\n",
        encoding="utf-8",
    )
    return build_matrix(load_experiment(path, environ={}))
