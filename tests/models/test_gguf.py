"""GGUF files on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from matrixbench.errors import ModelError
from matrixbench.models.gguf import check_magic, locate_gguf, require_gguf, split_names
from tests.models.services import gguf

if TYPE_CHECKING:
    from pathlib import Path


def write_parts(folder: Path, *indexes: int, count: int) -> None:
    """Write some of the parts of a model called `m`."""
    for index in indexes:
        (folder / f"m-{index:05}-of-{count:05}.gguf").write_bytes(gguf(str(index)))


def test_single_file(tmp_path: Path) -> None:
    """A model that is not split is its one file."""
    path = tmp_path / "m.gguf"
    path.write_bytes(gguf())
    files = require_gguf(path)
    assert files.paths == (path,)
    assert files.sha256 is None
    check_magic(files.paths)


@pytest.mark.parametrize("named", [1, 2, 3])
def test_split_by_any_part(tmp_path: Path, named: int) -> None:
    """A split model is found by any of its parts, and its first is the one to load."""
    write_parts(tmp_path, 1, 2, 3, count=3)
    files = require_gguf(tmp_path / f"m-{named:05}-of-00003.gguf")
    assert [path.name for path in files.paths] == [f"m-{i:05}-of-00003.gguf" for i in (1, 2, 3)]


def test_missing_part_is_named(tmp_path: Path) -> None:
    """A missing part is an error that names it, and the model is not on this machine."""
    write_parts(tmp_path, 1, 3, count=3)
    first = tmp_path / "m-00001-of-00003.gguf"
    assert locate_gguf(first) is None
    with pytest.raises(ModelError, match="m-00002-of-00003") as caught:
        require_gguf(first)
    assert "m-00003" not in caught.value.message


def test_missing_file(tmp_path: Path) -> None:
    """A path that does not exist is nothing to a plan, and an error to a fetch."""
    path = tmp_path / "none.gguf"
    assert locate_gguf(path) is None
    with pytest.raises(ModelError, match="no such file") as caught:
        require_gguf(path)
    assert caught.value.where == str(path)


def test_folder(tmp_path: Path) -> None:
    """A folder is not taken for a model."""
    assert locate_gguf(tmp_path) is None
    with pytest.raises(ModelError, match="folder"):
        require_gguf(tmp_path)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "not a GGUF file"),
        (b"GGUF", "not a GGUF file"),
        (b"<!DOCTYPE html><html><body>", "not a GGUF file"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS pointer"),
    ],
)
def test_broken_file_is_named(tmp_path: Path, body: bytes, said: str) -> None:
    """A file of another kind, or cut off in its header, is an error that names it."""
    good, broken = tmp_path / "good.gguf", tmp_path / "broken.gguf"
    good.write_bytes(gguf())
    broken.write_bytes(body)
    with pytest.raises(ModelError, match=said) as caught:
        check_magic([good, broken])
    assert caught.value.where == str(broken)


def test_unreadable_file(tmp_path: Path) -> None:
    """A file that vanished meanwhile is an error of the model, not of the program."""
    with pytest.raises(ModelError, match="cannot be read"):
        check_magic([tmp_path / "gone.gguf"])


@given(st.from_regex(r"[a-z.-]{1,9}", fullmatch=True), st.integers(1, 200), st.data())
def test_split_names_round_trip(prefix: str, count: int, data: st.DataObject) -> None:
    """Any part's name gives the same names, of all parts in order."""
    index = data.draw(st.integers(1, count))
    names = split_names(f"{prefix}-{index:05}-of-{count:05}.gguf")
    assert len(names) == count
    assert names[index - 1] == f"{prefix}-{index:05}-of-{count:05}.gguf"
    assert all(split_names(name) == names for name in names[:3])


@pytest.mark.parametrize("name", ["m-00000-of-00000.gguf", "m-00004-of-00003.gguf", "m.gguf"])
def test_no_part(name: str) -> None:
    """A name that no part can have is a single file's."""
    assert split_names(name) == (name,)
