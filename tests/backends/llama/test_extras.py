"""The line that adds an extra, wherever matrixbench was installed from."""

from __future__ import annotations

import json
import shlex
import sys
from importlib.metadata import PathDistribution
from typing import TYPE_CHECKING, Any

import pytest

from matrixbench.backends.llama.executable import install_line, line_for

if TYPE_CHECKING:
    from pathlib import Path

METADATA = """\
Metadata-Version: 2.4
Name: matrixbench
Version: 0.1.0
Provides-Extra: local
Requires-Dist: aiohttp>=3.11
Requires-Dist: xllamacpp>=2026.10; (python_version >= '3.11') and extra == 'local'
Requires-Dist: other>=1; extra == "cluster"
"""


def installed(folder: Path, origin: dict[str, Any] | str | None) -> PathDistribution:
    """Return an installed package as an installer leaves it."""
    info = folder / "matrixbench-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(METADATA, encoding="utf-8")
    if origin is not None:
        text = origin if isinstance(origin, str) else json.dumps(origin)
        (info / "direct_url.json").write_text(text, encoding="utf-8")
    return PathDistribution(info)


def words(folder: Path, origin: dict[str, Any] | str | None) -> list[str]:
    """Return what comes after `pip install`."""
    line = shlex.split(line_for("local", installed(folder, origin), folder))
    assert line[:4] == [sys.executable, "-m", "pip", "install"]
    return line[4:]


def test_an_index(tmp_path: Path) -> None:
    """Who installed by name may go on so."""
    assert words(tmp_path, None) == ["matrixbench[local]"]


@pytest.mark.parametrize("origin", ["no json", "[]", "{}", '{"url": 3}'])
def test_what_an_installer_did_not_write_down_is_an_index(tmp_path: Path, origin: str) -> None:
    """A file that says nothing is none."""
    assert words(tmp_path, origin) == ["matrixbench[local]"]


def test_a_checkout(tmp_path: Path) -> None:
    """A folder with spaces, editable or not."""
    folder = tmp_path / "my checkout"
    folder.mkdir()
    url = folder.as_uri()
    for editable, first in ((True, ["-e"]), (False, [])):
        place = tmp_path / str(editable)
        place.mkdir()
        origin = {"url": url, "dir_info": {"editable": editable} if editable else {}}
        assert words(place, origin) == [*first, f"{folder}[local]"]


def test_a_repository(tmp_path: Path) -> None:
    """The commit that is installed, its folder; a password is not printed."""
    origin = {
        "url": "https://me:secret@example.test/x/matrixbench.git",
        "vcs_info": {"vcs": "git", "commit_id": "abc123", "requested_revision": "main"},
        "subdirectory": "python",
    }
    (found,) = words(tmp_path, origin)
    assert found == (
        "matrixbench[local] @ git+https://example.test/x/matrixbench.git@abc123#subdirectory=python"
    )


def test_a_wheel(tmp_path: Path) -> None:
    """A file on this machine, or at a url."""
    wheel = tmp_path / "matrixbench-0.1.0-py3-none-any.whl"
    wheel.write_bytes(b"")
    here = tmp_path / "here"
    here.mkdir()
    assert words(here, {"url": wheel.as_uri(), "archive_info": {}}) == [f"{wheel}[local]"]
    url = "https://example.test/matrixbench-0.1.0-py3-none-any.whl"
    there = tmp_path / "there"
    there.mkdir()
    assert words(there, {"url": url, "archive_info": {}}) == [f"matrixbench[local] @ {url}"]


def test_a_source_that_is_gone(tmp_path: Path) -> None:
    """What the extra consists of can still be had from the index."""
    gone = (tmp_path / "gone.whl").as_uri()
    assert words(tmp_path, {"url": gone, "archive_info": {}}) == ["xllamacpp>=2026.10"]


def test_a_tree_that_runs_without_being_installed(tmp_path: Path) -> None:
    """The folder beside the package is what can be installed."""
    (tmp_path / "pyproject.toml").write_text("", encoding="utf-8")
    line = line_for("local", None, tmp_path)
    assert shlex.split(line)[4:] == ["-e", f"{tmp_path}[local]"]
    assert "[local]" in install_line()
