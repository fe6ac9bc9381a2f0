"""Files that are not what they seem, and outputs that are whole or not there."""

from __future__ import annotations

import os
import resource
import signal
import stat
from pathlib import Path

import pytest

from matrixbench.safe_files import open_input, open_own, replaced, write_own, write_whole


def test_a_pipe_or_a_device_is_no_input(tmp_path: Path) -> None:
    """Nothing is waited for; a link to a file is a file."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="it is a pipe, no file"):
        open_input(tmp_path / "pipe")
    (tmp_path / "device").symlink_to("/dev/zero")
    with pytest.raises(OSError, match="it is a device, no file"):
        open_input(tmp_path / "device")
    with pytest.raises(IsADirectoryError):
        open_input(tmp_path)
    (tmp_path / "file").write_bytes(b"x")
    (tmp_path / "link").symlink_to("file")
    with open_input(tmp_path / "link") as file:
        assert file.read() == b"x"


def test_what_is_our_own_is_no_link_and_private(tmp_path: Path) -> None:
    """Whoever puts a link there does not have us write elsewhere."""
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (tmp_path / "log").symlink_to(victim)
    with pytest.raises(OSError, match="a link stands in its place"):
        write_own(tmp_path / "log", "theirs")
    assert victim.read_text() == "mine"
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="No such device"):
        open_own(tmp_path / "pipe", os.O_WRONLY | os.O_CREAT)
    write_own(tmp_path / "new", "x")
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o600


def test_an_output_takes_the_place_of_a_link(tmp_path: Path) -> None:
    """What the link named stays; permissions of a file that was there stay too."""
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (tmp_path / "out").symlink_to(victim)
    write_whole(tmp_path / "out", b"new")
    assert (victim.read_text(), (tmp_path / "out").read_text()) == ("mine", "new")
    assert not (tmp_path / "out").is_symlink()
    (tmp_path / "out").chmod(0o640)
    write_whole(tmp_path / "out", b"newer")
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o640
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "victim"]


def test_a_device_is_written_to_and_stays_one() -> None:
    """`-o /dev/null` replaces nothing."""
    path = Path(os.devnull)
    write_whole(path, b"x")
    assert stat.S_ISCHR(path.stat().st_mode)


def test_what_cannot_be_written_leaves_the_old_file(tmp_path: Path) -> None:
    """As on a full disk: the file stays as it was, and nothing is left beside it."""
    out = tmp_path / "out"
    out.write_bytes(b"old")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            write_whole(out, bytes(100_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert out.read_bytes() == b"old"
    with pytest.raises(TypeError), replaced(out) as file:
        file.write("no bytes")  # type: ignore[call-overload]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
