"""The short form of the fuzzer: some seconds of damaged files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.soak.fuzz_commands import fuzz

if TYPE_CHECKING:
    from pathlib import Path


def test_no_damaged_file_breaks_a_command(tmp_path: Path) -> None:
    """Whatever is in a file, a command ends, and with an exit code of its own."""
    commands, broken = fuzz(tmp_path, seed=20, seconds=10)
    assert broken == []
    assert commands >= 10
