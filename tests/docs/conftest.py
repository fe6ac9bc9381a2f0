"""The documentation as a site, built once for all tests that look at it."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """The site that the README's line builds, where every warning is an error."""
    folder = tmp_path_factory.getbasetemp()
    if worker_id != "master":
        folder = folder.parent  # shared by all workers of one run
    built = folder / "site"
    with FileLock(folder / "site.lock"):
        if not (built / "index.html").exists():
            _build(built)
    return built


def _build(built: Path) -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    (line,) = re.findall(r"<!-- site -->\n```sh\n(.*)\n```", readme)
    program, *arguments = shlex.split(line.rpartition(" && ")[2])
    assert program == ".venv/bin/mkdocs"
    # Not --quiet: it hides the warnings from --strict too.
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", *arguments, "--site-dir", str(built)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
