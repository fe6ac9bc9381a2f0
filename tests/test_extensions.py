"""What installed packages bring is found by its entry points, and what is ours beside the code."""

from __future__ import annotations

import ast
import re
import tomllib
from configparser import ConfigParser
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from matrixbench.backends.registry import ServerKind
from matrixbench.extensions import BACKENDS, Extension, ExtensionError, extensions
from matrixbench.spec.backends import kinds

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "matrixbench"

ALLOWED = {
    ("models", "endpoint"): "a key of huggingface_hub's",
    ("output", "command"): "a heading, and a key of the JSON",
    ("plan", "ollama"): "a key of a model",
    ("spec", "ollama"): "the same",
    ("spec", "ollama_file"): "a key of a chat template",
    ("spec", "{kind: llama-server, binary: "): "what a path alone is likely to mean",
    ("spec", "{ollama: "): "a key of a model",
    ("store", "command"): "a column, and a key of a lock's file",
}
"""Room and text of what is no kind's name though it reads like it, and why."""

WORDS = "spec/slips.py"
"""Holds what people write for the names of our kinds."""


def test_our_kinds_are_the_same_in_the_metadata() -> None:
    """Tools that list entry points see what the code has."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    ours = ConfigParser(delimiters=("=",))
    ours.read(PACKAGE / "entry_points.txt", encoding="utf-8")
    assert {group: dict(ours.items(group)) for group in ours.sections()} == project["entry-points"]


def test_each_kind_of_ours_can_be_run() -> None:
    """It is called as its entry point, and has all that the protocol asks."""
    own = [name for name, found in extensions(BACKENDS).items() if not found.package]
    assert [*kinds().known][: len(own)] == own
    assert all(issubclass(kinds().known[name], ServerKind) for name in own)


def test_a_name_that_two_packages_bring_is_neithers() -> None:
    """Which one is meant cannot be told, so both are named."""
    both = Extension(name="x", value="a:b", package="one", rivals=("other",))
    with pytest.raises(ExtensionError, match="brought by one and other: uninstall all but one"):
        both.load()


def texts(path: Path) -> Iterator[str]:
    """Yield the texts of a module that are no documentation, and the modules that it imports."""
    tree = ast.parse(path.read_text("utf-8"))
    alone = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in alone:
            yield node.value
        if isinstance(node, ast.ImportFrom):
            yield node.module or ""
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def test_nothing_but_its_own_room_names_a_kind() -> None:
    """Elsewhere neither a kind's name stands nor its module is imported."""
    names = {*(name for name, kind in extensions(BACKENDS).items() if not kind.package)}
    modules = {found.value.partition(":")[0] for found in extensions(BACKENDS).values()}
    rooms = {module.removesuffix(".backend") for module in modules}
    named = [
        (path.relative_to(PACKAGE).parts[0], text)
        for path in sorted(PACKAGE.rglob("*.py"))
        if not path.is_relative_to(PACKAGE / "backends") and path != PACKAGE / WORDS
        for text in texts(path)
        if text in names
        or re.search(r"llama-server|ollama", text, re.IGNORECASE)
        or any(text == room or text.startswith(f"{room}.") for room in rooms)
    ]
    assert set(named) <= ALLOWED.keys()
