"""Puts a fault into a copy of the tree and runs the tests that have to notice it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from tests.mutations.places import SpotError, change

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from tests.mutations.spots import Spot

ROOT = Path(__file__).parents[2]
COPIED = ("matrixbench", "tests", "docs", "experiments", "schemas")
"""Folders that tests look at; of the root's files all are copied."""

PASSED, FAILED = 0, 1
"""Exit codes of pytest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What became of a spot.

    Args:
        spot: The spot.
        by: The test that noticed it; empty where none did.
        seconds: How long that took.
    """

    spot: Spot
    by: str
    seconds: float


def copy_tree(folder: Path) -> None:
    """Copy what tests need of the tree into a folder."""
    unwanted = shutil.ignore_patterns("*.jsonl", ".matrixbench", ".hypothesis", "*_cache")
    for name in COPIED:
        shutil.copytree(ROOT / name, folder / name, ignore=unwanted)
    for file in ROOT.iterdir():
        if file.is_file() and file.name != ".git":
            shutil.copy2(file, folder / file.name)


def run_tests(folder: Path, words: Iterable[str]) -> subprocess.CompletedProcess[str]:
    """Run tests of a copy, each in the same order and with the same examples every time."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:cov"]
    return subprocess.run(
        [*command, "--hypothesis-seed=0", *words],
        cwd=folder,
        env=_environment() | {"PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )


def try_spot(spot: Spot) -> Found:
    """Put a spot's fault into a copy, and return which test noticed it.

    Raises:
        SpotError: The spot is not in the package, or its tests could not be run.
    """
    began = time.monotonic()
    with TemporaryDirectory(prefix="matrixbench-mutation-") as name:
        folder = Path(name)
        copy_tree(folder)
        change(spot, folder / "matrixbench")
        words = ("-x", "-n", "0", *spot.noticed_by)
        done = run_tests(folder, words)
    if done.returncode not in {PASSED, FAILED}:
        raise SpotError(f"{spot.within}: {spot.becomes!r}: {done.stdout[-2000:]}{done.stderr}")
    failed = re.search(r"^FAILED (\S+)", done.stdout, re.MULTILINE)
    by = "" if done.returncode == PASSED else failed[1] if failed else "a test that hung"
    return Found(spot=spot, by=by, seconds=time.monotonic() - began)


def try_spots(spots: Sequence[Spot], jobs: int) -> Iterator[Found]:
    """Yield what became of spots, in their order; several are tried at a time."""
    with ThreadPoolExecutor(jobs) as pool:
        yield from pool.map(try_spot, spots)


def broken_before(spots: Sequence[Spot], jobs: int) -> str:
    """Return what pytest says of the spots' tests without any fault; empty where all pass."""
    files = sorted({file for spot in spots for file in spot.noticed_by})
    with TemporaryDirectory(prefix="matrixbench-mutation-") as name:
        copy_tree(Path(name))
        done = run_tests(Path(name), ["-n", str(jobs), *files])
    return "" if done.returncode == PASSED else done.stdout + done.stderr


def _environment() -> dict[str, str]:
    """Return this process's environment; a changed copy's lines are nobody's coverage."""
    return {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
