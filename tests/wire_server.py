"""A chat server that plays what a file says, byte by byte: `wire_server.py SCRIPT PORT`.

SCRIPT is JSON, name → a list of answers. A chat names its script in the field `user`, and gets the
answers of that script in turn, from the first again after the last. An answer has `status` (200),
`type` (its content type, application/json), and one of `json`, `events` (of a stream: JSON, or text
as it is), `text` and `hex`. `http` 1.0 sends no length, `short: N` leaves out the last N bytes that
were announced, and `drop` closes the connection without a word. The file that WIRE_LOG names gets a
line for each chat.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections import Counter
from pathlib import Path
from typing import Any


def body_of(answer: dict[str, Any]) -> bytes:
    """Return an answer's body."""
    if "hex" in answer:
        return bytes.fromhex(answer["hex"])
    if "events" in answer:
        events = [
            event if isinstance(event, str) else f"data: {json.dumps(event)}\n\n"
            for event in answer["events"]
        ]
        return "".join(events).encode()
    if "json" in answer:
        return json.dumps(answer["json"]).encode()
    return str(answer.get("text", "")).encode()


def page(answer: dict[str, Any]) -> bytes:
    """Return an answer as it goes over the wire."""
    body, http = body_of(answer), answer.get("http", "1.1")
    head = [f"HTTP/{http} {answer.get('status', 200)} Played"]
    head.append(f"Content-Type: {answer.get('type', 'application/json')}")
    head += [f"{name}: {value}" for name, value in answer.get("headers", {}).items()]
    if http == "1.1":
        head.append(f"Content-Length: {len(body)}")
    sent = body[: len(body) - int(answer.get("short", 0))]
    return "\r\n".join([*head, "", ""]).encode() + sent


class Player:
    """The scripts, and how far each has been played."""

    def __init__(self, scripts: dict[str, list[dict[str, Any]]], log: Path | None) -> None:
        self.scripts = scripts
        self.log = log
        self.played: Counter[str] = Counter()

    def answer(self, path: str, body: bytes) -> dict[str, Any]:
        """Return what a request gets."""
        if not path.endswith("/chat/completions"):
            known = path == "/health"
            return {"json": {}} if known else {"status": 404, "json": {"detail": "Not Found"}}
        asked = json.loads(body)
        name = asked.get("user", "")
        if self.log is not None:
            with self.log.open("a", encoding="utf-8") as file:
                file.write(json.dumps([name, asked.get("seed")]) + "\n")
        script = self.scripts[name]
        answer = script[self.played[name] % len(script)]
        self.played[name] += 1
        return answer

    async def serve(self, inp: asyncio.StreamReader, out: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection."""
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = (await inp.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
                length = head.partition("content-length:")[2].split("\r\n")[0].strip()
                answer = self.answer(head.split(" ", 2)[1], await inp.readexactly(int(length or 0)))
                if answer.get("drop"):
                    break
                out.write(page(answer))
                await out.drain()
                if answer.get("http") == "1.0" or answer.get("short"):
                    break
        out.close()


async def play(player: Player, port: int) -> None:
    """Listen, say where, and answer until killed."""
    server = await asyncio.start_server(player.serve, "127.0.0.1", port, limit=1 << 22)
    sys.stderr.write(f"listening on http://127.0.0.1:{server.sockets[0].getsockname()[1]}\n")
    sys.stderr.flush()
    await server.serve_forever()


if __name__ == "__main__":
    written = os.environ.get("WIRE_LOG")
    scripts = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    asyncio.run(play(Player(scripts, Path(written) if written else None), int(sys.argv[2])))
