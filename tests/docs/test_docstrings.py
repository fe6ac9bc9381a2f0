"""What docstrings name is where they say that it is."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "matrixbench"
TREES = {path: ast.parse(path.read_text("utf-8")) for path in PACKAGE.rglob("*.py")}
QUALIFIED = re.compile(r"`(?:[a-z_]+\.)*([a-z_]+)\.(?!NAME`)([A-Za-z_]+)`")
"""A name behind a module's. `NAME` stands for any: `options.NAME`."""


def homes() -> dict[str, set[str]]:
    """Return what modules define at their top → the modules."""
    found: dict[str, set[str]] = defaultdict(set)
    for path, tree in TREES.items():
        for node in tree.body:
            match node:
                case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                    found[name].add(path.stem)
                case ast.ClassDef(name=name):
                    found[name].add(path.stem)
                case ast.Assign(targets=[ast.Name(id=name)]):
                    found[name].add(path.stem)
                case ast.AnnAssign(target=ast.Name(id=name)):
                    found[name].add(path.stem)
    return found


def test_modules_are_named_as_they_are() -> None:
    """A name of ours that stands behind a module's is in that module."""
    known = homes()
    wrong = [
        f"{path.relative_to(PACKAGE)}: {module}.{name}"
        for path, tree in TREES.items()
        for text in ast.walk(tree)
        if isinstance(text, ast.Constant) and isinstance(text.value, str)
        for module, name in QUALIFIED.findall(text.value)
        if name in known and module not in known[name]
    ]
    assert wrong == []
