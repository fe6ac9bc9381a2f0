"""A key's bytes are looked for in everything that was written, though the server echoes them."""

from __future__ import annotations

import json
import sqlite3
from base64 import b64encode
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING, Any

import pytest

from tests.output.report.reading import read_report

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.cli.conftest import CommandLine
    from tests.conftest import Write

KEY = "sk-very-secret/0123456789"
EXPERIMENT = """
name: demo
trials: 1
backends:
  far: {{kind: endpoint, url: "{url}", concurrency: 1{more}}}
models: {{m: {{id: fake}}}}
tests:
  - name: case-{{{{ case }}}}
    parameters: {{case: [0, 1, 2, 3, 4, 5, 6]}}
    messages: [{{role: user, content: "{{{{ case }}}}"}}]
    expect: [{{content: {{equals: nothing}}}}]
"""


LATER = [
    ("plan", "exp.yaml", "--cells"),
    ("status", "exp.yaml"),
    ("show", "exp.yaml"),
    ("show", "exp.yaml", "--launch"),
    ("export", "exp.yaml", "-o", "rows.jsonl"),
    ("export", "exp.yaml", "-o", "rows.csv"),
    ("export", "exp.yaml", "--replies", "-o", "replies.jsonl"),
    ("chart", "exp.yaml", "-o", "chart.svg"),
    ("report", "exp.yaml", "-o", "report.html"),
    ("doctor", "exp.yaml", "--json"),
    # Nobody answers any more.
    ("execute", "exp.yaml", "--fresh"),
]


class Echo(BaseHTTPRequestHandler):
    """Tells whoever asks what they sent: path and headers, in each kind of answer."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """List a model that is described by the request."""
        told = self.told()
        self.answer(200, {"data": [{"id": "fake", "owned_by": told, "root": [told]}], told: told})

    def do_POST(self) -> None:
        """Answer with content, a tool call, refusals, no JSON, or a stream that cuts the key."""
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        told = self.told()
        call = {"id": told, "function": {"name": told, "arguments": json.dumps({"a": told})}}
        match int(asked["messages"][0]["content"]):
            case 0:
                self.reply({"role": "assistant", "content": told})
            case 1:
                self.reply({"role": "assistant", "content": None, "tool_calls": [call]})
            case 2:
                self.answer(422, {"error": {"message": told, "type": told, "code": 422}})
            case 3:
                self.answer(418, told)
            case 4:
                self.answer(200, f"<<< {told}", "text/plain")
            case 5:
                self.answer(200, {"error": {"message": told, "type": "invalid_request_error"}})
            case _:
                deltas = [{"content": told[start : start + 10]} for start in range(0, 400, 10)]
                events = [{"choices": [{"delta": delta}]} for delta in deltas]
                lines = [f"data: {json.dumps(event)}\n\n" for event in events]
                self.answer(200, "".join([*lines, "data: [DONE]\n\n"]), "text/event-stream")

    def told(self) -> str:
        """Return what was sent."""
        return f"{'x' * 150} {self.path} {self.headers.get('authorization', '')}"

    def reply(self, message: dict[str, Any]) -> None:
        """Answer as a model does."""
        self.answer(200, {"choices": [{"message": message, "finish_reason": self.told()}]})

    def answer(self, status: int, body: object, kind: str = "application/json") -> None:
        """Answer with JSON, or what is called so."""
        data = (body if isinstance(body, str) else json.dumps(body)).encode()
        self.send_response(status, self.told()[:60])
        for name, value in (("Content-Type", kind), ("X-Echo", self.told())):
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def echo() -> Iterator[str]:
    """Serve echoes, and yield where."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    server.daemon_threads = True
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("url", "more"),
    [
        ("http://{host}/v1", ", api_key_env: FAR_KEY"),
        pytest.param("http://{host}/v1", ", api_key_env: FAR_KEY", marks=pytest.mark.process),
        ("http://me:${{FAR_KEY_QUOTED}}@{host}/v1", ""),
        ("http://${{FAR_KEY_QUOTED}}@{host}/v1", ""),
        ("http://{host}/v1?k=${{FAR_KEY_QUOTED}}", ""),
    ],
    ids=["header", "header-process", "password", "user", "query"],
)
def test_a_key_is_written_nowhere(cli: CommandLine, write: Write, url: str, more: str) -> None:
    """Not in the store, a log, an export, a transcript, a picture or a word that is printed."""
    quoted = KEY.replace("/", "%2F")
    cli = replace(cli, env={"FAR_KEY": KEY, "FAR_KEY_QUOTED": quoted})
    with echo() as host:
        url = url.replace("{host}", host).replace("${{", "${").replace("}}", "}")
        write(EXPERIMENT.format(url=url, more=more))
        said = [cli("execute", "exp.yaml", "--json")]
        said += [cli("try", "exp.yaml", "--test", "*", *words) for words in ((), ("--json",))]
    assert "***" in said[1].stdout
    # Whether anything was echoed at all: what took a secret's place is there.
    assert b"***" in (cli.folder / ".matrixbench" / "results.db").read_bytes() + wal(cli)
    if "api_key_env" in more and not cli.apart:
        said += [cli(*words) for words in LATER]
    assert len(trials(cli)) == 7
    everything = "".join(done.stdout + done.stderr for done in said).encode()
    everything += b"".join(path.read_bytes() for path in cli.folder.rglob("*") if path.is_file())
    if "api_key_env" in more and not cli.apart:
        everything += json.dumps(read_report(cli.folder / "report.html").records).encode()
    header = b64encode(f"me:{KEY}".encode())
    for secret in (KEY.encode(), quoted.encode(), KEY[3:20].encode(), header):
        assert secret not in everything


def wal(cli: CommandLine) -> bytes:
    """Return what is not yet in the store's main file."""
    log = cli.folder / ".matrixbench" / "results.db-wal"
    return log.read_bytes() if log.exists() else b""


def trials(cli: CommandLine) -> list[tuple[Any, ...]]:
    """Return the trials that are stored."""
    connection = sqlite3.connect(cli.folder / ".matrixbench" / "results.db")
    try:
        return connection.execute("SELECT outcome, kind, reason FROM trial").fetchall()
    finally:
        connection.close()
