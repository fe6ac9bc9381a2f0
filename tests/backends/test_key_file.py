"""Keys in files: private, gone with the run, and removed by the next one if the run was killed."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

from matrixbench.backends.build import FileHashes
from matrixbench.backends.managed import key_file, remove_left_over

if TYPE_CHECKING:
    from pathlib import Path


def test_a_key_lives_as_long_as_its_server_needs_it(tmp_path: Path) -> None:
    """Only this user reads it, and the clean-up of another run leaves it."""
    folder = tmp_path / "exp" / "run"
    folder.mkdir(parents=True)
    left = folder / "one-abc.key"
    left.write_text("of a run that was killed")
    with key_file(folder, "one", "secret") as path:
        assert path.read_text() == "secret\n"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        remove_left_over(tmp_path)
        assert path.exists()
    assert list(folder.iterdir()) == []


def test_a_file_swapped_for_one_of_equal_size_and_time_is_seen(tmp_path: Path) -> None:
    """Times can be set, but not when they were set; what an older version kept costs a reading."""
    import json  # noqa: PLC0415
    import os  # noqa: PLC0415

    binary, cache = tmp_path / "server", tmp_path / "hashes.json"
    binary.write_bytes(b"good")
    first = FileHashes(cache).sha256(binary)
    times = (binary.stat().st_atime_ns, binary.stat().st_mtime_ns)
    kept = json.loads(cache.read_text())
    kept["files"][str(binary)]["stat"].pop()
    cache.write_text(json.dumps(kept))
    assert FileHashes(cache).sha256(binary) == first
    with binary.open("r+b") as file:
        file.write(b"evil")
    os.utime(binary, ns=times)
    assert FileHashes(cache).sha256(binary) != first
