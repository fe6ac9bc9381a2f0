"""A small package index (PEP 503) on loopback: `python fake_index.py FOLDER [--stall N]`.

FOLDER holds wheels. With `--stall` a wheel stands still after N bytes: `GET /stalled` answers once
one does, and `GET /release` lets it, and all later ones, go on. It prints `ready PORT`; `GET /log`
returns the paths that were asked for.
"""

from __future__ import annotations

import argparse
import json
import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote


@dataclass
class Index:
    """What the handlers share."""

    folder: Path
    stall: int
    paths: list[str] = field(default_factory=list)
    stalled: threading.Event = field(default_factory=threading.Event)
    released: threading.Event = field(default_factory=threading.Event)


class Handler(BaseHTTPRequestHandler):
    """The index's pages, its wheels, and the tests' own questions."""

    protocol_version = "HTTP/1.1"
    index: Index

    def log_message(self, *_: object) -> None:
        """Keep quiet: the log is asked for."""

    def do_GET(self) -> None:
        """Answer."""
        path = unquote(self.path)
        match path.strip("/").split("/"):
            case ["log"]:
                self.reply(json.dumps(self.index.paths).encode())
            case ["stalled"]:
                self.index.stalled.wait()
                self.reply(b"")
            case ["release"]:
                self.index.released.set()
                self.reply(b"")
            case ["simple", name]:
                self.index.paths.append(path)
                self.reply(self.page(name))
            case ["wheels", name]:
                self.index.paths.append(path)
                self.send_wheel((self.index.folder / name).read_bytes())
            case _:
                self.send_error(404)

    def page(self, name: str) -> bytes:
        """Return the list of a package's wheels."""
        wheels = [
            wheel.name
            for wheel in sorted(self.index.folder.glob("*.whl"))
            if re.sub(r"[-_.]+", "-", wheel.name.split("-")[0]).lower() == name
        ]
        links = "".join(f'<a href="/wheels/{wheel}">{wheel}</a>' for wheel in wheels)
        return f"<!DOCTYPE html><html><body>{links}</body></html>".encode()

    def reply(self, body: bytes) -> None:
        """Send a whole answer."""
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def send_wheel(self, body: bytes) -> None:
        """Send a wheel, standing still on the way if that is wanted."""
        self.send_response(200)
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        first = self.index.stall
        if first:
            self.wfile.write(body[:first])
            self.wfile.flush()
            self.index.stalled.set()
            self.index.released.wait()
        self.wfile.write(body[first:])


def main() -> None:
    """Serve until the process is ended."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--stall", type=int, default=0)
    told = parser.parse_args()
    index = Index(folder=told.folder, stall=told.stall)
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"index": index}))
    print(f"ready {server.server_port}", flush=True)  # noqa: T201  the protocol
    server.serve_forever()


if __name__ == "__main__":
    main()
