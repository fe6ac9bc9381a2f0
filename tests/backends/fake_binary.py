"""The fake server as an executable file, for tests that start `llama-server` themselves."""

from __future__ import annotations

import sys
from pathlib import Path

FAKE_SERVER = Path(__file__).parents[1] / "fake_server.py"


def install(folder: Path, script: str | None = None) -> Path:
    """Write an executable `llama-server` into a folder: the fake one, or a shell script."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "llama-server"
    line = script or f"exec '{sys.executable}' '{FAKE_SERVER}' \"$@\""
    path.write_text(f"#!/bin/sh\n{line}\n", encoding="utf-8")
    path.chmod(0o755)
    return path
