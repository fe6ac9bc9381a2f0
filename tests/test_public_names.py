"""The names that `import matrixbench` gives."""

from __future__ import annotations

import pkgutil
from importlib import import_module
from types import ModuleType

import pytest

import matrixbench


def test_no_room_has_a_public_name() -> None:
    """Importing a room sets it on the package: it would hide what is called the same."""
    rooms = {room.name for room in pkgutil.iter_modules(matrixbench.__path__)}
    assert not rooms & set(matrixbench.__all__)


@pytest.mark.parametrize("name", matrixbench.__all__)
def test_a_public_name_is_no_module(name: str) -> None:
    """It is what the page about Python says that it is."""
    assert not isinstance(getattr(matrixbench, name), ModuleType)


def test_a_room_is_reached_by_its_path() -> None:
    """What is public is one and the same there."""
    assert import_module("matrixbench.execution.settings").Mode is matrixbench.Mode


def test_there_are_no_other_names() -> None:
    """`dir` lists the public names; any other is an error."""
    assert dir(matrixbench) == sorted(matrixbench.__all__)
    with pytest.raises(AttributeError, match="nothing_of_ours"):
        _ = matrixbench.nothing_of_ours
