"""A small chat API that runs in a thread, and tells which of its pages were asked for."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MESSAGE = {"role": "assistant", "content": "Paris"}
REPLY = {"choices": [{"message": MESSAGE, "finish_reason": "stop"}], "usage": {}}
NO_MODEL = {"error": {"message": "The model `x` does not exist.", "code": 404}}


@contextmanager
def chat_server(
    prefix: str = "/v1",
    *,
    ids: Sequence[str] = ("m",),
    models: int = 200,
    reply: dict[str, Any] = REPLY,
    refusal: tuple[int, dict[str, Any]] = (404, NO_MODEL),
) -> Iterator[tuple[str, list[str]]]:
    """Run a chat API; yield its root, and the pages that are asked for, as they come.

    Args:
        prefix: Where its pages begin.
        ids: The models that it lists, and answers for.
        models: The status of the list.
        reply: What is answered.
        refusal: Status and body for any other model.
    """
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def answer(self, status: int, data: object) -> None:
            body = json.dumps(data).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self) -> None:
            asked.append(f"GET {self.path}")
            if self.path == f"{prefix}/models":
                self.answer(models, {"data": [{"id": name} for name in ids]})
            else:
                self.answer(404, {"detail": "Not Found"})

        def do_POST(self) -> None:
            asked.append(f"POST {self.path}")
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if self.path != f"{prefix}/chat/completions":
                self.answer(404, {"detail": "Not Found"})
            elif body.get("model") in ids:
                self.answer(200, reply)
            else:
                self.answer(*refusal)

        def log_message(self, *_: object) -> None:
            """Stay silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
