"""Which files a check in Python would run is known before any of them is run."""

from __future__ import annotations

from importlib.machinery import EXTENSION_SUFFIXES
from typing import TYPE_CHECKING

import pytest

from matrixbench.checks.own import load_own
from matrixbench.checks.own_files import files_before, foreseen_source, module_uses
from matrixbench.spec.checks import PythonCheck
from matrixbench.spec.trust import Trust, variable_set

if TYPE_CHECKING:
    from pathlib import Path

CHECK = "def check(reply): return True\n"
LAYOUTS = {
    "alone": {"own.py": CHECK},
    "beside": {
        "own.py": f"from . import a\nfrom .b import x, y\n{CHECK}",
        "a.py": "",
        "b.py": "x = y = 1",
    },
    "through": {
        "own.py": f"from .a import x\n{CHECK}",
        "a.py": "from .b import x",
        "b.py": "x = 1",
    },
    "circle": {"own.py": f"from . import a\n{CHECK}", "a.py": "from . import own"},
    "package": {
        "own/__init__.py": f"from .a import x\n{CHECK}",
        "own/a.py": "from ..b import x\nfrom . import c",
        "own/c/__init__.py": "from .d import *",
        "own/c/d.py": "",
        "b.py": "x = 1",
    },
    "condition": {"own.py": f"if True:\n    from . import a\n{CHECK}", "a.py": ""},
}


def laid_out(folder: Path, files: dict[str, str]) -> None:
    """Write some files."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_is_foreseen_is_what_is_loaded(layout: str, tmp_path: Path) -> None:
    """So that whoever has not trusted a check sees what it said, if it is the same."""
    laid_out(tmp_path, LAYOUTS[layout])
    check = PythonCheck(python="own:check")
    closed = load_own(check, tmp_path, Trust(frozenset()))
    assert closed.closed
    assert closed.source == foreseen_source(tmp_path, "own") == load_own(check, tmp_path).source
    names = {use.name for use in module_uses("own", tmp_path)}
    assert names == {str(tmp_path / name) for name in LAYOUTS[layout]}


def test_what_a_function_imports_later_counts_too(tmp_path: Path) -> None:
    """It runs with the check, though nothing stands for it in a verdict."""
    laid_out(tmp_path, {"own.py": "def check(reply):\n    from . import a\n", "a.py": "x = 1"})
    assert set(files_before(tmp_path, "own", later=True)) == {"own", "a"}
    assert set(files_before(tmp_path, "own", later=False)) == {"own"}


def test_a_library_before_a_module_of_its_name_counts(tmp_path: Path) -> None:
    """Python takes it first."""
    library = f"own{EXTENSION_SUFFIXES[0]}"
    laid_out(tmp_path, {"own.py": CHECK, library: "no code"})
    assert files_before(tmp_path, "own", later=True) == {"own": tmp_path / library}


def test_what_a_module_lies_in_counts(tmp_path: Path) -> None:
    """Importing it runs them; a folder without a file runs nothing."""
    laid_out(tmp_path, {"a/__init__.py": "", "a/b/c.py": CHECK})
    assert set(files_before(tmp_path, "a.b.c", later=True)) == {"a", "a.b.c"}


@pytest.mark.parametrize(
    "text", ["def", "(" * 5000, "from .... import a", "x = '\ud800'", "\0", "from . import *"]
)
def test_a_module_that_cannot_be_parsed_is_a_file_all_the_same(text: str, tmp_path: Path) -> None:
    """What it would import is not known, and nothing fails."""
    (tmp_path / "own.py").write_bytes(text.encode("utf-8", "surrogatepass"))
    assert set(files_before(tmp_path, "own", later=True)) == {"own"}


def test_a_module_of_a_package_is_trusted(tmp_path: Path) -> None:
    """It is not the file's."""
    (use,) = module_uses("json", tmp_path)
    assert use.free
    assert Trust(frozenset()).allows([use])


def test_a_value_does_not_look_like_lines_of_the_list() -> None:
    """A variable with lines of its own is one line."""
    assert variable_set("A", "b\nruns nothing", secret=False).told == r"A=b\nruns nothing"
