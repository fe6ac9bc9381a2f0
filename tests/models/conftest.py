"""What the tests of models share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.models.services import Told, lone_environ

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """Return a model cache that does not exist yet."""
    return tmp_path / "cache"


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """Return an environment without the user's settings."""
    return lone_environ(tmp_path / "home")


@pytest.fixture
def told() -> Told:
    """Return a report that keeps what it is told."""
    return Told()
