"""The page on extending shows the package as it stands here, file by file."""

from __future__ import annotations

import re
from pathlib import Path

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "extending.md"
BLOCK = re.compile(r"<!-- (\S+) -->\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def lines(text: str) -> list[str]:
    """Return the lines of a text that are not empty."""
    return [line for line in text.splitlines() if line]


def test_the_page_shows_every_file_whole() -> None:
    """Its parts, one after the other, are the files."""
    shown: dict[str, list[str]] = {}
    for name, text in BLOCK.findall(PAGE.read_text("utf-8")):
        shown.setdefault(name, []).extend(lines(text))
    package = [HERE / "pyproject.toml", HERE / "experiment.yaml"]
    package += (HERE / "matrixbench_mlx_lm").glob("*.py")
    files = {str(path.relative_to(HERE)): lines(path.read_text("utf-8")) for path in package}
    assert shown == files
