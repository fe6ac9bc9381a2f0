"""The names that `import matrixbench` gives."""

from __future__ import annotations

import pkgutil
from importlib import import_module
from types import ModuleType

import pytest

import matrixbench


@pytest.mark.parametrize("name", matrixbench.__all__)
def test_a_public_name_is_no_room_of_the_same_name(name: str) -> None:
    """It stays what it is, though a room is imported that is called the same: `run` runs."""
    if name in {room.name for room in pkgutil.iter_modules(matrixbench.__path__)}:
        assert isinstance(import_module(f"matrixbench.{name}"), ModuleType)
    assert not isinstance(getattr(matrixbench, name), ModuleType)


def test_a_room_is_reached_by_its_path() -> None:
    """Importing from a room that shares its name with a function works."""
    assert import_module("matrixbench.run.settings").Mode is matrixbench.Mode


def test_there_are_no_other_names() -> None:
    """`dir` lists the public names; any other is an error."""
    assert dir(matrixbench) == sorted(matrixbench.__all__)
    with pytest.raises(AttributeError, match="nothing_of_ours"):
        _ = matrixbench.nothing_of_ours
