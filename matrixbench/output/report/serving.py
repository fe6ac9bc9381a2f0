"""Serves the report of a run that goes on, to this machine alone, until the run has ended."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Lock, Thread
from typing import TYPE_CHECKING, Self

from matrixbench.output.report.making import packed
from matrixbench.output.report.pack import json_bytes
from matrixbench.output.report.page import watching_page

if TYPE_CHECKING:
    from collections.abc import Callable

    from matrixbench.output.report.content import Source
    from matrixbench.records import JsonObject

_MAX_MB = 20
"""What a browser is sent again and again is small; `report` has all of it in the end."""

_POLL_S = 0.5
_PATIENCE = 5
"""A report is made anew only after so many times as long as it took."""

_GRACE_S = 15.0
"""How long after the end of the run a browser may still fetch what it has not yet."""


@dataclass(slots=True, eq=False)
class Live:
    """The newest report of a run, made when a browser asks and something has been stored.

    Args:
        opened: Opens the experiment's results, and closes them afterwards.
        newest: Gives the number of the newest trial that is stored.
        running: Says whether the run goes on.
    """

    opened: Callable[[Callable[[Source], None]], None]
    newest: Callable[[], int]
    running: Callable[[], bool]
    index: JsonObject = field(default_factory=dict)
    blocks: list[bytes] = field(default_factory=list)
    _made: int = -1
    _due: float = 0.0
    _lock: Lock = field(default_factory=Lock)
    asked: bool = False
    fetched: Event = field(default_factory=Event)
    """Set once a browser has all of the last report."""

    def fresh(self) -> JsonObject:
        """Return the index of the newest report."""
        with self._lock:
            self.asked = True
            running, newest = self.running(), self.newest()
            if newest != self._made and (time.monotonic() >= self._due or not running):
                started = time.monotonic()
                self.opened(self._make)
                self._made = newest
                ended = time.monotonic()
                self._due = ended + _PATIENCE * (ended - started)
            self.index = {**self.index, "revision": self._made, "running": running}
            return self.index

    def block(self, number: int) -> bytes | None:
        """Return a block of the report whose index was fetched last; None where there is none."""
        with self._lock:
            if not 0 <= number < len(self.blocks):
                return None
            if number == len(self.blocks) - 1 and self.index.get("running") is False:
                self.fetched.set()
            return self.blocks[number]

    def _make(self, source: Source) -> None:
        index, pack = packed([source], max_mb=_MAX_MB)
        self.index, self.blocks = index, pack.blocks


class Server:
    """Serves a live report on loopback, at an address that nobody guesses. A context manager."""

    def __init__(self, live: Live, *, title: str, port: int = 0) -> None:
        token = secrets.token_urlsafe(24)
        self._live = live
        self._http = ThreadingHTTPServer(("127.0.0.1", port), _handler(live, token, title))
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}/{token}/"

    def __enter__(self) -> Self:
        Thread(target=self._http.serve_forever, args=(_POLL_S,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()

    def until_the_run_ends(self) -> None:
        """Return when the run has ended and the browser, if there is one, has its last state."""
        while self._live.running():
            time.sleep(_POLL_S)
        if self._live.asked:
            self._live.fetched.wait(_GRACE_S)


def _handler(live: Live, token: str, title: str) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        """Answers GET, with the token in the path, and nothing else."""

        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            start = f"/{token}/"
            if not secrets.compare_digest(path[: len(start)].encode(), start.encode()):
                self.send_error(404)
                return
            match path.removeprefix(start).split("/"):
                case [""]:
                    self._answer("text/html; charset=utf-8", watching_page(title))
                case ["index"]:
                    self._answer("application/json", json_bytes(live.fresh()))
                case ["block", _, number] if number.isdecimal():
                    block = live.block(int(number))
                    if block is None:
                        self.send_error(404)
                    else:
                        self._answer("text/plain", block)
                case _:
                    self.send_error(404)

        def _answer(self, kind: str, body: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Cache-Control", "no-store")
            # The address is the key: no other page is told of it.
            self.send_header("Referrer-Policy", "no-referrer")
            self.send_header("X-Content-Type-Options", "nosniff")
            self.send_header("X-Frame-Options", "DENY")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing: the address is the key."""

    return Handler
