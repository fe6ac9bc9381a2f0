"""A program that speaks Ollama's HTTP surface as the real one (0.33) was seen to, without a model.

`fake_ollama.py serve` reads OLLAMA_HOST, OLLAMA_MODELS and OLLAMA_NUM_PARALLEL, and keeps manifests
and blobs where the real one does. `FAKE_MODE` is a comma list of `name` or `name:argument`:

At start: `port_taken:N` (the first N starts fail to bind; counted in FAKE_STATE), `exit_at_start`.

Models: `trained:N` (their context, default 8192), `renderer:NAME` (tags that are pulled have it),
`gguf_wins` (Go templates are passed over), `one_slot` (whatever was asked for), `other_name` (a
loaded model is listed under the tag that its file was loaded for first).

Chats: `runner_dies_on:SEED` (also again), `runner_dies_once`, `server_dies_on:SEED`, `busy:N`,
`repeats` (the reply is cut off without `done`), `no_ids`, `parser_500`, `old` (does not know
`_debug_render_only`).

Replies: FAKE_TURNS, a JSON list of messages, taken by how many replies the request holds;
FAKE_REPLY, a JSON message; else words that follow from the seed. FAKE_LOG gets a JSON line for each
chat. FAKE_LIBRARY lists what can be pulled, with commas.
"""

from __future__ import annotations

import json
import os
import re
import sys
import threading
import time
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

VERSION = "0.33.0-fake"


def version() -> str:
    """Return the version: what the file FAKE_VERSION holds, where there is one."""
    file = Path(os.environ.get("FAKE_VERSION", "/nowhere"))
    return file.read_text(encoding="utf-8") if file.is_file() else VERSION


CHATML = "{{- range .Messages }}<|im_start|>{{ .Role }}\n{{ .Content }}<|im_end|>\n{{ end }}"
GGUF_TEMPLATE = "{% for message in messages %}{{ message.content }}{% endfor %}"
WORDS = ("alder", "birch", "cedar", "elm", "fir", "hazel", "larch", "maple", "oak", "pine", "yew")
STALE = "error: request (3010 tokens) exceeds the available context size (2048 tokens)"


def modes() -> dict[str, str]:
    """Return the modes that were asked for → their arguments."""
    said = os.environ.get("FAKE_MODE", "")
    return {name: value for name, _, value in (mode.partition(":") for mode in said.split(","))}


class State:
    """What the server has: its folder, its loaded models, its counters."""

    def __init__(self) -> None:
        self.models = Path(os.environ["OLLAMA_MODELS"])
        self.loaded: dict[str, dict[str, Any]] = {}
        self.counts: dict[str, int] = {}
        self.lock = threading.Lock()

    def count(self, name: str) -> int:
        """Return how often this was asked, now included."""
        with self.lock:
            self.counts[name] = self.counts.get(name, 0) + 1
            return self.counts[name]

    def manifest(self, tag: str) -> Path:
        """Return where a tag's manifest is."""
        name, _, version = (tag if ":" in tag.rsplit("/", 1)[-1] else f"{tag}:latest").rpartition(
            ":"
        )
        parts = name.split("/")
        host = {1: ["registry.example", "library"], 2: ["registry.example"]}.get(len(parts), [])
        return self.models.joinpath("manifests", *host, *parts, version)

    def read(self, tag: str) -> dict[str, Any] | None:
        """Return a tag's manifest."""
        path = self.manifest(tag)
        return json.loads(path.read_text()) if path.is_file() else None

    def write(self, tag: str, manifest: dict[str, Any]) -> None:
        """Keep a tag's manifest."""
        path = self.manifest(tag)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(manifest))

    def blob(self, digest: str) -> Path:
        """Return where a blob is, given `sha256:…`."""
        return self.models / "blobs" / digest.replace(":", "-")

    def tags(self) -> dict[str, str]:
        """Return every tag → its digest."""
        root = self.models / "manifests"
        found = {}
        for path in sorted(root.rglob("*")):
            if path.is_file():
                *name, version = path.relative_to(root).parts
                short = "/".join(name).removeprefix("registry.example/").removeprefix("library/")
                found[f"{short}:{version}"] = sha256(path.read_bytes()).hexdigest()
        return found


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    state: ClassVar[State]

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def reply(self, data: object, status: int = 200) -> None:
        """Send JSON."""
        body = json.dumps(data).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def stream(self, lines: list[dict[str, Any]]) -> None:
        """Send JSON lines, in chunks as the real one does."""
        self.send_response(200)
        self.send_header("Content-Type", "application/x-ndjson")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for line in lines:
            piece = json.dumps(line).encode() + b"\n"
            self.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
        self.wfile.write(b"0\r\n\r\n")

    def body(self) -> bytes:
        """Return what came, also in chunks."""
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        pieces = []
        while size := int(self.rfile.readline(), 16):
            pieces.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(pieces)

    def do_HEAD(self) -> None:
        """Say whether a blob is here."""
        there = self.state.blob(self.path.rsplit("/", 1)[-1]).is_file()
        self.reply({}, 200 if there else 404)

    def do_GET(self) -> None:
        """Answer what is looked up."""
        match self.path:
            case "/api/version":
                self.reply({"version": version()})
            case "/api/tags":
                tags = self.state.tags().items()
                self.reply({"models": [{"name": name, "digest": found} for name, found in tags]})
            case "/api/ps":
                self.reply({"models": list(self.state.loaded.values())})
            case _:
                self.reply({"error": "404 page not found"}, 404)

    def do_DELETE(self) -> None:
        """Remove a tag, and the layers that no other one has."""
        tag = json.loads(self.body())["model"]
        manifest = self.state.read(tag)
        if manifest is None:
            self.reply({"error": f"model '{tag}' not found"}, 404)
            return
        self.state.manifest(tag).unlink()
        others = [self.state.read(name) or {} for name in self.state.tags()]
        if all(other.get("layer") != manifest["layer"] for other in others):
            self.state.blob(manifest["layer"]).unlink(missing_ok=True)
        self.reply({})

    def do_POST(self) -> None:
        """Answer everything else."""
        body = self.body()
        if self.path.startswith("/api/blobs/"):
            path = self.state.blob(self.path.rsplit("/", 1)[-1])
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(body)
            self.reply({}, 201)
            return
        asked = json.loads(body)
        match self.path:
            case "/api/show":
                self.show(asked["model"])
            case "/api/create":
                self.create(asked)
            case "/api/pull":
                self.pull(asked["model"])
            case "/api/chat":
                self.chat(asked)
            case _:
                self.reply({"error": "404 page not found"}, 404)

    def show(self, tag: str) -> None:
        """Describe a tag."""
        manifest = self.state.read(tag)
        if manifest is None:
            self.reply({"error": f"model '{tag}' not found"}, 404)
            return
        blob, template = self.state.blob(manifest["layer"]), manifest["template"]
        modelfile = f'# FROM {tag}\n\nFROM {blob}\nTEMPLATE """{template}"""\n'
        if manifest.get("renderer"):
            modelfile += f"RENDERER {manifest['renderer']}\n"
        self.reply(
            {
                "modelfile": modelfile,
                "template": GGUF_TEMPLATE if "gguf_wins" in modes() else template,
                "parameters": 'stop                           "<|im_end|>"',
                "details": {"family": "llama", "quantization_level": "Q4_1"},
                "model_info": {
                    "general.architecture": "llama",
                    "llama.context_length": int(modes().get("trained", "8192")),
                },
                "capabilities": ["completion", *(["tools"] if ".Tools" in template else [])],
            }
        )

    def create(self, asked: dict[str, Any]) -> None:
        """Make a tag from a file that was sent, or from another tag."""
        template = asked.get("template")
        if template is not None and "{{ if }}" in template:
            self.reply({"error": "template error: template: :1: missing value for if"}, 400)
            return
        if "files" in asked:
            self.create_from_file(asked, template or CHATML)
            return
        base = self.state.read(asked["from"])
        if base is None:
            self.stream([{"status": "pulling manifest"}, {"error": "pull model manifest: no such"}])
            return
        self.state.write(asked["model"], {**base, "template": template or base["template"]})
        self.stream([{"status": "writing manifest"}, {"status": "success"}])

    def create_from_file(self, asked: dict[str, Any], template: str) -> None:
        """Rewrite the file, as llama-quantize does for the real one, which keeps both."""
        (sent,) = asked["files"].values()
        source = self.state.blob(sent)
        if not source.is_file():
            error = {"error": f"open {source}: no such file or directory"}
            self.stream([{"status": "parsing GGUF"}, error])
            return
        content = b"rewritten " + source.read_bytes()
        layer = f"sha256:{sha256(content).hexdigest()}"
        self.state.blob(layer).write_bytes(content)
        self.state.write(asked["model"], {"layer": layer, "template": template})
        steps = ("parsing GGUF", "verifying conversion", f"creating new layer {layer}", "success")
        self.stream([{"status": step} for step in steps])

    def pull(self, tag: str) -> None:
        """Fetch a tag."""
        if tag not in os.environ.get("FAKE_LIBRARY", "").split(","):
            error = 'pull model manifest: Get "https://registry": dial tcp: no such host'
            self.stream([{"status": "pulling manifest"}, {"error": error}])
            return
        layer = f"sha256:{sha256(tag.encode()).hexdigest()}"
        blob = self.state.blob(layer)
        blob.parent.mkdir(parents=True, exist_ok=True)
        blob.write_bytes(tag.encode())
        manifest = {"layer": layer, "template": CHATML, "renderer": modes().get("renderer", "")}
        self.state.write(tag, manifest)
        progress = {"status": f"pulling {layer[7:19]}", "digest": layer, "total": 100}
        self.stream(
            [
                {"status": "pulling manifest"},
                progress,
                {**progress, "completed": 40},
                {**progress, "completed": 100},
                {"status": "verifying sha256 digest"},
                {"status": "writing manifest"},
                {"status": "success"},
            ]
        )

    def chat(self, asked: dict[str, Any]) -> None:
        """Load a model, and answer with it."""
        tag, options = asked["model"], asked.get("options") or {}
        manifest = self.state.read(tag)
        if manifest is None:
            self.reply({"error": f"model '{tag}' not found"}, 404)
            return
        if asked.get("tools") and ".Tools" not in manifest["template"]:
            self.reply({"error": f"registry.example/{tag} does not support tools"}, 400)
            return
        if asked.get("think"):
            self.reply({"error": f'"{tag}" does not support thinking'}, 400)
            return
        if isinstance(options.get("temperature"), str):
            self.reply({"error": 'option "temperature" must be of type float32'}, 500)
            return
        if asked.get("keep_alive") == 0 and not asked["messages"]:
            self.state.loaded.pop(tag, None)
            self.reply({"model": tag, "message": {}, "done": True, "done_reason": "unload"})
            return
        self.load(tag, manifest, options)
        if asked.get("_debug_render_only") and "old" not in modes():
            prompt = "".join(f"<|{m['role']}|>{m['content']}" for m in asked["messages"])
            self.reply({"done": False, "message": {}, "_debug_info": {"rendered_template": prompt}})
        elif asked["messages"]:
            self.answer(asked, options)
        else:
            self.reply({"model": tag, "message": {}, "done": True, "done_reason": "load"})

    def load(self, tag: str, manifest: dict[str, Any], options: dict[str, Any]) -> None:
        """Load a model with its options, unless it is."""
        context = min(options.get("num_ctx", 4096), int(modes().get("trained", "8192")))
        layer = manifest["layer"]
        same = [one for one in self.state.loaded.values() if one["layer"] == layer]
        if any(one["context_length"] == context for one in same):
            return
        name = "first/of-all:1" if "other_name" in modes() else tag
        if name != tag:
            self.state.write(name, manifest)
        slots = 1 if "one_slot" in modes() else os.environ.get("OLLAMA_NUM_PARALLEL", "1")
        words = f"/lib/ollama/llama-server --model /blob -c {context} -np {slots}"
        if kv_type := os.environ.get("OLLAMA_KV_CACHE_TYPE"):
            words += f" --cache-type-k {kv_type} --cache-type-v {kv_type}"
        flash = {"1": "on", "0": "off"}.get(os.environ.get("OLLAMA_FLASH_ATTENTION", ""), "auto")
        say(f'level=INFO msg="starting llama-server" cmd="{words} --flash-attn {flash} -b 512"')
        entry = {"name": name, "context_length": context, "size": 1000, "size_vram": 0}
        self.state.loaded[name] = {**entry, "layer": layer}

    def answer(self, asked: dict[str, Any], options: dict[str, Any]) -> None:
        """Answer a chat, or fail as was asked for."""
        if log := os.environ.get("FAKE_LOG"):
            with Path(log).open("a") as file:
                file.write(json.dumps(asked) + "\n")
        seed, said = options.get("seed", -1), modes()
        if said.get("server_dies_on") == str(seed):
            os._exit(1)
        once = "runner_dies_once" in said and self.state.count("deaths") == 1
        if once or said.get("runner_dies_on") == str(seed):
            self.state.loaded.clear()
            error = f"an error was encountered while running the model: {STALE}"
            self.reply({"error": error}, 500)
            return
        if self.state.count("chats") <= int(said.get("busy") or 0):
            self.reply({"error": "server busy, please try again.  maximum pending requests"}, 503)
            return
        if "parser_500" in said:
            error = 'llama-server returned invalid tool call arguments for "f": unexpected end'
            if asked.get("stream"):
                begun = {"message": {"role": "assistant", "content": "hm"}, "done": False}
                self.stream([begun, {"error": error}])
            else:
                self.reply({"error": error}, 500)
            return
        tokens = sum(len(re.findall(r"\w+", m["content"])) for m in asked["messages"])
        context = options.get("num_ctx", 4096)
        if tokens > context and asked.get("truncate") is False:
            message = f"request ({tokens} tokens) exceeds the available context size"
            inner = {
                "error": {"code": 400, "message": message, "type": "exceed_context_size_error"}
            }
            self.reply({"error": json.dumps(inner)}, 400)
            return
        done = reply(asked, seed, min(tokens, context // 2))
        if asked.get("stream"):
            self.stream(streamed(done))
        else:
            self.reply(done)


def reply(asked: dict[str, Any], seed: int, tokens: int) -> dict[str, Any]:
    """Return a reply in the real one's shape."""
    words = sha256(f"{seed} {asked['messages'][-1]['content']}".encode()).digest()[:4]
    turn = sum(message["role"] == "assistant" for message in asked["messages"])
    turns = json.loads(os.environ.get("FAKE_TURNS", "[]"))
    one = turns[min(turn, len(turns) - 1)] if turns else None
    message = (
        one
        or json.loads(os.environ.get("FAKE_REPLY", "null"))
        or {"content": " ".join(WORDS[word % len(WORDS)] for word in words)}
    )
    calls = message.get("tool_calls") or []
    if "no_ids" not in modes():
        calls = [{"id": f"call_{index}", **call} for index, call in enumerate(calls)]
    message = {"role": "assistant", "content": "", **message}
    return {
        "model": asked["model"],
        "created_at": "2026-11-23T19:50:18.035204522Z",
        "message": message | ({"tool_calls": calls} if calls else {}),
        **({"done": False} if "repeats" in modes() else {"done": True, "done_reason": "stop"}),
        "total_duration": 1257169334,
        "load_duration": 1407281,
        "prompt_eval_count": tokens,
        "prompt_eval_duration": 459647000,
        "eval_count": 16,
        "eval_duration": 800000000,
    }


def streamed(done: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the lines of a streamed reply: a word each, calls each whole, the figures last.

    A reply that repeats a token is given up without a last line.
    """
    common = {key: done[key] for key in ("model", "created_at")}
    message = done["message"]
    parts: list[dict[str, Any]] = []
    for field in ("thinking", "content"):
        words = (message.get(field) or "").split(" ")
        parts += [
            {"content": "", field: (" " if i else "") + word}
            for i, word in enumerate(words)
            if word
        ]
    parts += [{"content": "", "tool_calls": [call]} for call in message.get("tool_calls") or []]
    lines = [{**common, "message": {"role": "assistant", **part}, "done": False} for part in parts]
    if not done["done"]:
        again = {**common, "message": {"role": "assistant", "content": " again"}, "done": False}
        return [*lines, *[again] * 31]
    return [*lines, {**done, "message": {"role": "assistant", "content": ""}}]


def say(line: str) -> None:
    """Write a line to the log, as the real one does."""
    sys.stderr.write(f"time={time.time():.3f} {line}\n")
    sys.stderr.flush()


def refused_ports() -> int:
    """Return how many more starts shall fail to bind, this one included."""
    wanted = int(modes().get("port_taken") or 0)
    if not wanted:
        return 0
    state = Path(os.environ["FAKE_STATE"])
    done = len(state.read_text()) if state.exists() else 0
    state.write_text("x" * (done + 1))
    return wanted - done


def main() -> int:
    """Serve until a signal comes."""
    if "exit_at_start" in modes():
        say("Error: could not read the models' folder")
        return 1
    host, _, port = os.environ["OLLAMA_HOST"].rpartition(":")
    if refused_ports() > 0:
        say(f"Error: listen tcp {host}:{port}: bind: address already in use")
        return 1
    Handler.state = State()
    server = ThreadingHTTPServer((host, int(port)), Handler)
    server.daemon_threads = True
    say(f'level=INFO msg="Listening on {host}:{server.server_port} (version {VERSION})"')
    server.serve_forever(poll_interval=0.05)
    return 0


if __name__ == "__main__":
    sys.exit(main())
