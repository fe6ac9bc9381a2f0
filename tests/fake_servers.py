"""Servers for tests that talk to one: the fake server as a process, and raw bytes."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator, Sequence

FAKE_SERVER = Path(__file__).with_name("fake_server.py")


@contextmanager
def fake_server(modes: str = "", flags: Sequence[str] = (), **env: str) -> Iterator[str]:
    """Start a fake server and yield its root url, without `/v1`; afterwards its group is gone.

    Raises:
        RuntimeError: It left before it was ready; the message holds what it said.
    """
    command = [sys.executable, str(FAKE_SERVER), "--host", "127.0.0.1", "--port", "0", *flags]
    process = subprocess.Popen(
        command,
        env=os.environ | {"FAKE_MODE": modes} | env,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stderr is not None
    with process, process.stderr as log:
        try:
            yield listening_url(log)
        finally:
            os.killpg(process.pid, signal.SIGKILL)


def listening_url(log: Iterator[str]) -> str:
    """Return the url that a server says it listens on.

    Raises:
        RuntimeError: It left before; the message holds what it said.
    """
    said = []
    for line in log:
        if match := re.search(r"listening on (http://\S+)", line):
            return match[1]
        said.append(line)
    raise RuntimeError("".join(said))


def free_port() -> int:
    """Return a port on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@asynccontextmanager
async def raw_server(answer: bytes) -> AsyncGenerator[str]:
    """Serve these bytes to each request, then close; `KEY` stands for the header that came."""

    async def serve(inp: asyncio.StreamReader, out: asyncio.StreamWriter) -> None:
        head = await inp.readuntil(b"\r\n\r\n")
        key = next((x.split()[-1] for x in head.split(b"\r\n") if x.startswith(b"Auth")), b"")
        out.write(answer.replace(b"KEY", key))
        out.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
