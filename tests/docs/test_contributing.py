"""CONTRIBUTING says where things are."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
NAMED = re.findall(r"`([\w/]+): (\w+)`", PAGE)
MOST_MODULES = 12
"""As many as a walk may pass, for somebody who is new here."""


def names_in(module: str) -> set[str]:
    """Return what a module defines at its top."""
    tree = ast.parse((ROOT / "matrixbench" / f"{module}.py").read_text("utf-8"))
    found: set[str] = set()
    for node in tree.body:
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                found.add(name)
            case ast.ClassDef(name=name):
                found.add(name)
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                found.add(name)
    return found


def test_what_is_named_is_there() -> None:
    """Each module that the page names has what the page says that it has."""
    assert NAMED
    missing = [f"{module}: {name}" for module, name in NAMED if name not in names_in(module)]
    assert missing == []


def test_the_walks_are_short() -> None:
    """From the file to the request, and from a row to a square, it is twelve modules at most."""
    walks = PAGE.partition("### Two walks")[2].partition("### ")[0].split("**A ")[1:]
    assert len(walks) == 2
    for walk in walks:
        assert len({module for module, _ in re.findall(r"`([\w/]+): (\w+)`", walk)}) <= MOST_MODULES
