"""A server's log that does not grow without end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matrixbench.backends.process import shorten_log

if TYPE_CHECKING:
    from pathlib import Path


def lines(first: int, last: int) -> bytes:
    """Return numbered lines of ten bytes."""
    return b"".join(b"line %04d\n" % number for number in range(first, last))


def test_the_middle_is_taken_out_while_the_server_writes_on(tmp_path: Path) -> None:
    """Whole lines of the beginning and of the end are kept; what is written later follows."""
    log = tmp_path / "server.log"
    with log.open("ab", buffering=0) as server:
        server.write(lines(0, 1000))
        assert shorten_log(log, longest=5000, kept=105)
        server.write(b"later\n")
    text = log.read_text()
    assert text.startswith("line 0000\n")
    assert "line 0010\n[matrixbench took 9790 bytes out here]\nline 0990\n" in text
    assert text.endswith("line 0999\nlater\n")


def test_a_short_log_is_left_alone(tmp_path: Path) -> None:
    """So is one that is not there."""
    log = tmp_path / "server.log"
    log.write_bytes(lines(0, 10))
    assert not shorten_log(log, longest=100)
    assert log.read_bytes() == lines(0, 10)
    assert not shorten_log(tmp_path / "none.log")
