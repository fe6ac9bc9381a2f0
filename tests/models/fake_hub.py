"""A small Hugging Face hub on loopback: `python fake_hub.py FOLDER [--cut N] [--stall N]`.

FOLDER holds `user/repo/file…`; a file `.token` in a repository makes it gated: it is listed for
everybody and served to who sends that token. Files are kept elsewhere, as on the real hub: the
hub answers with a redirect to a second server. It prints `ready HUB_PORT STORAGE_PORT`, and `GET
/log` on the hub returns all requests to both. The log waits for nothing; `GET /stalled` answers
once a download stands still.
"""

from __future__ import annotations

import argparse
import json
import re
import threading
from dataclasses import dataclass, field
from hashlib import sha1, sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

COMMIT = "c0ffee" + "0" * 34


@dataclass
class Hub:
    """What both servers share.

    Args:
        folder: The repositories.
        cut: After so many bytes the first download is cut off; 0 for never.
        stall: After so many bytes downloads stand still; 0 for never.
    """

    folder: Path
    cut: int
    stall: int
    storage_port: int = 0
    requests: list[dict[str, str | None]] = field(default_factory=list)
    stalled: threading.Event = field(default_factory=threading.Event)


class Handler(BaseHTTPRequestHandler):
    """What both servers do alike."""

    protocol_version = "HTTP/1.1"
    hub: Hub
    role: str

    def log_message(self, *_: object) -> None:
        """Keep quiet: the log is asked for."""

    def note(self) -> str:
        """Write the request down and return its path."""
        path = unquote(urlsplit(self.path).path)
        self.hub.requests.append(
            {
                "role": self.role,
                "method": self.command,
                "path": path,
                "authorization": self.headers.get("Authorization"),
                "range": self.headers.get("Range"),
            }
        )
        return path

    def reply(self, status: int, body: bytes = b"", **headers: str) -> None:
        """Send a whole answer."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if "Content_Length" not in headers:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


class HubHandler(Handler):
    """The hub itself: the API, and redirects to the storage."""

    role = "hub"

    def do_GET(self) -> None:
        """Answer the API and the tests' own questions."""
        path = urlsplit(self.path).path
        if path == "/log":
            self.reply(200, json.dumps(self.hub.requests).encode())
            return
        if path == "/stalled":
            self.hub.stalled.wait()
            self.reply(200)
            return
        path = self.note()
        if match := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/revision/main)?", path):
            self.tell_repository(match[1])
        elif match := re.fullmatch(r"/([^/]+/[^/]+)/resolve/(?:main|[0-9a-f]{40})/(.+)", path):
            self.redirect(match[1], match[2])
        else:
            self.reply(404)

    do_HEAD = do_GET  # noqa: N815  http.server names it

    def tell_repository(self, repo: str) -> None:
        """Answer what a repository holds."""
        folder = self.hub.folder / repo
        if not folder.is_dir():
            # To somebody unknown the real hub does not tell missing from private.
            known = self.headers.get("Authorization") is not None
            self.reply(404 if known else 401, X_Error_Code="RepoNotFound")
            return
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        siblings = [
            described(path, folder) for path in files if path.name not in {".token", ".broken"}
        ]
        told = {"id": repo, "modelId": repo, "sha": COMMIT, "siblings": siblings, "tags": []}
        self.reply(200, json.dumps(told).encode(), Content_Type="application/json")

    def redirect(self, repo: str, name: str) -> None:
        """Answer where a file is kept, if the client may have it."""
        path = self.hub.folder / repo / name
        token = self.hub.folder / repo / ".token"
        if token.exists() and self.headers.get("Authorization") != f"Bearer {token.read_text()}":
            message = f"Access to model {repo} is restricted."
            self.reply(401, X_Error_Code="GatedRepo", X_Error_Message=message)
        elif not path.is_file():
            self.reply(404, X_Error_Code="EntryNotFound", X_Repo_Commit=COMMIT)
        else:
            told = described(path, self.hub.folder / repo)
            self.reply(
                302,
                Location=f"http://127.0.0.1:{self.hub.storage_port}/{repo}/{name}",
                X_Repo_Commit=COMMIT,
                X_Linked_Size=str(told["size"]),
                X_Linked_Etag=f'"{told["etag"]}"',
                ETag=f'"{told["etag"]}"',
            )


def described(path: Path, folder: Path) -> dict[str, object]:
    """Return what the hub tells of a file; all but small texts are kept by their sha256."""
    body = path.read_bytes()
    digest = sha256(body).hexdigest()
    blob = sha1(b"blob %d\0" % len(body) + body, usedforsecurity=False).hexdigest()
    lfs = {"sha256": digest, "size": len(body), "pointerSize": 130}
    told = {"rfilename": path.relative_to(folder).as_posix(), "size": len(body), "blobId": blob}
    return {**told, "etag": blob} if path.suffix == ".md" else {**told, "lfs": lfs, "etag": digest}


class StorageHandler(Handler):
    """Where the files are kept; it can fail as networks do."""

    role = "storage"

    def do_GET(self) -> None:
        """Send a file, or the rest of it, as far as it is meant to come."""
        path = self.hub.folder / self.note().lstrip("/")
        body = path.read_bytes()
        if path.with_name(".broken").exists():
            # A byte went wrong on the way: the size is right, the content is not.
            body = body[:-1] + bytes([body[-1] ^ 1])
        start = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or "")
        first = int(start[1]) if start else 0
        last = len(body) - 1
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(body)}")
        self.send_header("Content-Length", str(len(body) - first))
        self.end_headers()
        if self.command == "HEAD":
            return
        if self.hub.stall:
            self.wfile.write(body[first : self.hub.stall])
            self.wfile.flush()
            self.hub.stalled.set()
            threading.Event().wait()
        if self.hub.cut:
            cut, self.hub.cut = self.hub.cut, 0
            self.wfile.write(body[first:cut])
            self.close_connection = True
            return
        self.wfile.write(body[first:])

    do_HEAD = do_GET  # noqa: N815  http.server names it


def main() -> None:
    """Serve until the process is ended."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--cut", type=int, default=0)
    parser.add_argument("--stall", type=int, default=0)
    told = parser.parse_args()
    hub = Hub(folder=told.folder, cut=told.cut, stall=told.stall)
    servers = [
        ThreadingHTTPServer(("127.0.0.1", 0), type(kind.__name__, (kind,), {"hub": hub}))
        for kind in (HubHandler, StorageHandler)
    ]
    hub.storage_port = servers[1].server_port
    threading.Thread(target=servers[1].serve_forever, daemon=True).start()
    print(f"ready {servers[0].server_port} {servers[1].server_port}", flush=True)  # noqa: T201  the protocol
    servers[0].serve_forever()


if __name__ == "__main__":
    main()
