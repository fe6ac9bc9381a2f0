"""Stands for mlx_lm.server where there is no Apple machine: its flags and its API, no model."""

from __future__ import annotations

import argparse
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Handler(BaseHTTPRequestHandler):
    """Answers as mlx_lm.server does."""

    protocol_version = "HTTP/1.1"
    model = ""

    def do_GET(self) -> None:
        """Say that it is well, and which model it has."""
        if self.path == "/health":
            self._send({"status": "ok"})
        elif self.path == "/v1/models":
            self._send({"object": "list", "data": [{"id": self.model, "object": "model"}]})
        else:
            self.send_error(404)

    def do_POST(self) -> None:
        """Say where Paris is; warm, it forgets to stop in time."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        warm = body.get("temperature")
        content = f"Paris, {body['seed']} times<|im_end|>" if warm else "Paris<|assistant|>"
        self._send(
            {
                "id": "chatcmpl-1",
                "object": "chat.completion",
                "model": body["model"],
                "choices": [
                    {
                        "index": 0,
                        "finish_reason": "stop",
                        "message": {"role": "assistant", "content": content},
                    }
                ],
                "usage": {"prompt_tokens": 8, "completion_tokens": 1, "total_tokens": 9},
            }
        )

    def _send(self, answer: dict[str, Any]) -> None:
        data = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def main() -> None:
    """Serve until it is ended."""
    parser = argparse.ArgumentParser()
    for flag in ("--model", "--host", "--port", "--decode-concurrency", "--num-draft-tokens"):
        parser.add_argument(flag, required=True)
    flags = parser.parse_args()
    Handler.model = flags.model
    ThreadingHTTPServer((flags.host, int(flags.port)), Handler).serve_forever()


if __name__ == "__main__":
    main()
