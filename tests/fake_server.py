#!/usr/bin/env python3
"""A program that speaks llama-server's HTTP surface, flags and faults, without a model.

`FAKE_MODE` is a comma list of `name` or `name:argument`:

At start: `slow_start:SECONDS` (before it binds), `loading:N` (503 to the first N health probes;
with nobody probing it is loaded after a second), `exit_at_start:CODE`, `port_taken`,
`ignore_sigterm`, `fork_worker` (a child in the same group that ignores SIGTERM; its pid goes to
FAKE_PIDFILE), `n_ctx:N`, `slots:N` (what `/props` says), `no_tools` (the template has no place for
tools), `no_models` (no list of them), `cache_type_k:TYPE`, `cache_type_v:TYPE`,
`flash_attn:enabled|disabled` (what the log says from verbosity 4).

Chats: `die_mid_request`, `die_after:N`, `die_once` (until the file FAKE_STATE is there),
`die_at_turn:N` (once, likewise, with N replies in the messages), `die_on_seed:SEED`,
`freeze_after:N` (it stops itself as SIGSTOP does, once, likewise), `hang`, `hang_after:N`,
`hang_on_seed:SEED`, `delay:SECONDS`, `drip:SECONDS`, `garbage`, `truncated_json`,
`wrong_content_type`, `huge:MB`, `parser_500`, `parser_500_ratio:P` (by seed), `context_400`
(`context_400:N`: from N replies in the messages on), `context_500` (`context_500:busy`: only
beside another chat), `template_400`, `server_500:N`, `busy_503:N`, `rate_limit:N`
(FAKE_RETRY_AFTER, default 1), `unauthorized`, `not_found` (`:all`: everywhere but `/health`),
`error_in_stream`, `close_keepalive` (the second request of a connection gets no answer),
`same_reply` (whatever the seed), `long_reply:WORDS`, `random_reply`, `lora_reply` (the first line
of the file that `--lora` names).

Streams: `stream:STYLE`, how calls are cut into deltas: `zero` (every index is 0), `fat` (id and
name with every piece), `bare` (neither id nor index), `objects` (arguments as objects), `summary`
(the call once more at the end, its arguments encoded twice), `one_id` (the same for all calls),
`first_id` (only the first call has one), `loses` (the calls do not come),
`done` (`[DONE]` alone), `cut` (no end), `event_error` (an error by the event's name),
`no_usage_field` (`stream_options` is refused with a 400), `open` (nothing ends the body after
`[DONE]`), `unended` (the connection breaks after it). `stream_pause:SECONDS` before each event,
`stream_silent_after:N` events for ever.

Replies: FAKE_REPLY, a JSON assistant message; FAKE_REPLIES, a JSON list of them, taken by seed;
FAKE_TURNS, a JSON list of them, taken by how many replies the messages hold (the last repeats);
else words that follow from the seed and the last user message. FAKE_LOG gets a JSON line per chat.

It says `bound to URL` once it answers at all, and `listening on URL` once the model is loaded.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from hashlib import blake2b
from pathlib import Path
from typing import Any, NoReturn

VERSION = "version: 0.6.0-dev (build 9626, commit fa4e5e7)\nbuilt with FakeC 1.0 for x86_64-linux"
BUILD_INFO = "b9626-fa4e5e7"
TEMPLATES = ("bailing", "chatglm3", "chatml", "deepseek", "gemma", "llama2", "llama3", "zephyr")
NATIVE = "{% for message in messages %}<|{{ message.role }}|>{{ message.content }}{% endfor %}"
PARSER_ERROR = "The model produced output that does not match the expected peg-native format"
CONTEXT_ERROR = "the request exceeds the available context size. try increasing the context size"
WORDS = ("alder", "birch", "cedar", "elm", "fir", "hazel", "larch", "maple", "oak", "pine", "yew")
ON_OFF = "[on|off|auto]"
KV_TYPES = ("f32", "f16", "bf16", "q8_0", "q4_0", "q4_1", "iq4_nl", "q5_0", "q5_1")

CHAT_TEMPLATE_HELP = f"""\
set custom jinja chat template (default: template taken from model's metadata)
only commonly used templates are accepted (unless --jinja is set before this flag):
list of built-in templates:
{", ".join(TEMPLATES)}"""

VERBOSITY_HELP = """\
Set the verbosity threshold. Values:
 - 3: info
 - 4: trace (more info)
 - 5: debug
(default: 3)"""

FLAGS: tuple[tuple[str, str, str], ...] = (
    ("-t, --threads", "N", "number of CPU threads to use during generation (default: -1)"),
    ("-tb, --threads-batch", "N", "number of threads to use during batch processing"),
    ("-c, --ctx-size", "N", "size of the prompt context (default: 0, 0 = loaded from model)"),
    ("-n, --predict, --n-predict", "N", "number of tokens to predict (default: -1)"),
    ("-b, --batch-size", "N", "logical maximum batch size (default: 2048)"),
    ("-ub, --ubatch-size", "N", "physical maximum batch size (default: 512)"),
    ("-fa, --flash-attn", ON_OFF, "set Flash Attention use (default: 'auto')"),
    ("-kvu, --kv-unified, -no-kvu, --no-kv-unified", "", "use single unified KV buffer"),
    ("-ctk, --cache-type-k", "TYPE", f"KV cache data type for K\nallowed: {', '.join(KV_TYPES)}"),
    ("-ctv, --cache-type-v", "TYPE", f"KV cache data type for V\nallowed: {', '.join(KV_TYPES)}"),
    ("--mlock", "", "force system to keep model in RAM"),
    ("--mmap, --no-mmap", "", "whether to memory-map model (default: enabled)"),
    ("-dev, --device", "<dev1,dev2,..>", "comma-separated list of devices to use for offloading"),
    ("-ngl, --gpu-layers, --n-gpu-layers", "N", "max. number of layers to store in VRAM"),
    ("-fit, --fit", "[on|off]", "whether to adjust unset arguments to fit in device memory"),
    ("--lora", "FNAME", "path to LoRA adapter"),
    ("-m, --model", "FNAME", "model path to load"),
    ("-md, --model-draft", "FNAME", "draft model for speculative decoding (default: unused)"),
    ("--slot-save-path", "PATH", "path to save slot kv cache (default: disabled)"),
    ("--offline", "", "Offline mode: forces use of cache, prevents network access"),
    ("--log-file", "FNAME", "Log to file"),
    ("--log-colors", ON_OFF, "Set colored logging ('on', 'off', or 'auto')"),
    ("-lv, --verbosity, --log-verbosity", "N", VERBOSITY_HELP),
    ("--log-timestamps, --no-log-timestamps", "", "Enable timestamps in log messages"),
    ("-s, --seed", "SEED", "RNG seed (default: -1, use random seed for -1)"),
    ("--temp, --temperature", "N", "temperature (default: 0.8)"),
    ("--top-k", "N", "top-k sampling (default: 40, 0 = disabled)"),
    ("--top-p", "N", "top-p sampling (default: 0.95, 1.0 = disabled)"),
    ("--min-p", "N", "min-p sampling (default: 0.05, 0.0 = disabled)"),
    ("-np, --parallel", "N", "number of server slots (default: -1, -1 = auto)"),
    ("-cram, --cache-ram", "N", "set the maximum cache size in MiB (default: 8192)"),
    ("--cache-prompt, --no-cache-prompt", "", "whether to enable prompt caching"),
    ("--cache-idle-slots, --no-cache-idle-slots", "", "save idle slots to the prompt cache"),
    ("--cache-reuse", "N", "min chunk size to attempt reusing from the cache (default: 0)"),
    ("--context-shift, --no-context-shift", "", "whether to use context shift"),
    ("-ctxcp, --ctx-checkpoints", "N", "max number of context checkpoints per slot"),
    ("-cb, --cont-batching, -nocb, --no-cont-batching", "", "continuous batching"),
    ("--warmup, --no-warmup", "", "whether to perform warmup with an empty run"),
    ("-a, --alias", "STRING", "set model name aliases, comma-separated"),
    ("--host", "HOST", "ip address to listen (default: 127.0.0.1)"),
    ("--port", "PORT", "port to listen (default: 8080)"),
    ("--ui, --no-ui", "", "whether to enable the Web UI"),
    ("--api-key", "KEY", "API key to use for authentication, comma-separated"),
    ("--api-key-file", "FNAME", "path to file containing API keys (default: none)"),
    ("--chat-template-kwargs", "STRING", "sets additional params for the json template parser"),
    ("-to, --timeout", "N", "server read/write timeout in seconds (default: 3600)"),
    ("--metrics", "", "enable prometheus compatible metrics endpoint (default: disabled)"),
    ("--props", "", "enable changing global properties via POST /props"),
    ("--slots, --no-slots", "", "expose slots monitoring endpoint (default: enabled)"),
    ("--jinja, --no-jinja", "", "whether to use jinja template engine for chat"),
    ("--reasoning-format", "FORMAT", "controls whether thought tags are extracted (default: auto)"),
    ("--reasoning-budget", "N", "controls the amount of thinking allowed (default: -1)"),
    (
        "--chat-template",
        "JINJA_TEMPLATE",
        CHAT_TEMPLATE_HELP,
    ),
    ("--chat-template-file", "JINJA_TEMPLATE_FILE", "set custom jinja chat template file"),
)


def help_text() -> str:
    """Return the flags in llama-server's layout: flags to column 40, then the text."""
    lines = ["----- common params -----", "", f"{'-h,    --help, --usage':<40}print usage and exit"]
    lines.append(f"{'--version':<40}show version and build info")
    for names, metavar, text in FLAGS:
        head = f"{names} {metavar}".strip()
        if head.startswith("-") and not head.startswith("--"):
            short, rest = head.split(", ", 1)
            head = f"{short + ',':<6} {rest}"
        rows = [*text.split("\n"), f"(env: LLAMA_ARG_{env_name(names)})"]
        lines += [head] if len(head) >= 40 else [f"{head:<40}{rows.pop(0)}"]
        lines += [f"{'':<40}{row}" for row in rows]
    return "\n".join(lines)


def env_name(names: str) -> str:
    """Return the end of the environment variable that stands for a flag."""
    long = next(name for name in names.split(", ") if name.startswith("--"))
    return long.removeprefix("--").replace("-", "_").upper()


def parse_flags(argv: list[str]) -> argparse.Namespace:
    """Return the flags, those of the environment below them; exit 1 on one that is unknown."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for names, metavar, _ in FLAGS:
        target = env_name(names).lower()
        split = names.split(", ")
        default = os.environ.get(f"LLAMA_ARG_{env_name(names)}")
        if metavar:
            parser.add_argument(*split, dest=target, default=default)
        for name in () if metavar else split:
            turns_on = not name.startswith(("--no-", "-no"))
            parser.add_argument(
                name, dest=target, action="store_const", const=turns_on, default=default
            )
    parser.add_argument("-h", "--help", "--usage", action="store_true")
    parser.add_argument("--version", action="store_true")
    flags, unknown = parser.parse_known_args(argv)
    if unknown:
        leave(f"error: invalid argument: {unknown[0]}", 1)
    return flags


def say(text: str) -> None:
    """Write a line to the log, which is stderr."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def leave(text: str, code: int) -> NoReturn:
    """Say why, and exit."""
    say(text)
    sys.exit(code)


def share(*values: object) -> float:
    """Return a number in [0, 1) that follows from the values."""
    return int.from_bytes(blake2b(repr(values).encode(), digest_size=4).digest()) / 2**32


def error_body(code: int, message: str, kind: str, **more: object) -> bytes:
    """Return llama-server's error body."""
    return json.dumps({"error": {"code": code, "message": message, "type": kind, **more}}).encode()


def first_line(path: str) -> str:
    """Return the first line of a file; a text of its own where there is none."""
    return Path(path).read_text().partition("\n")[0] if path else "no adapter"


class Reply(Exception):  # noqa: N818  a reply that ends the handling of a request
    """A status, a body, and what goes with them."""

    def __init__(
        self, status: int, body: object, kind: str = "application/json", **headers: str
    ) -> None:
        super().__init__(status)
        self.status = status
        self.body = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.headers = {"content-type": kind, **headers}


class FakeServer:
    """The server's state: its flags, its faults, and what was asked so far."""

    def __init__(self, flags: argparse.Namespace, modes: dict[str, str]) -> None:
        self.modes = modes
        self.alias = (flags.alias or Path(flags.model or "fake-model").name).split(",")[0]
        self.model_path = flags.model or ""
        self.lora = flags.lora or ""
        self.keys = api_keys(flags)
        auto = int(flags.parallel or -1) < 0
        unified = flags.kv_unified if flags.kv_unified is not None else auto
        parallel = 4 if auto else int(flags.parallel)
        self.slots = int(modes.get("slots") or parallel)
        whole = int(flags.ctx_size or 0) or 2048
        self.n_ctx = int(modes.get("n_ctx") or (whole if unified else whole // parallel))
        self.template = template_text(flags)
        self.tools = "no_tools" not in modes
        self.unanswered_probes = int(modes.get("loading") or 0)
        self.loaded = asyncio.Event()
        self.probed = False
        self.chats = self.in_flight = self.decoded = 0

    def route(self, method: str, path: str, headers: dict[str, str], body: bytes) -> dict[str, Any]:
        """Return the chat that is asked for; everything else is raised as a `Reply`."""
        if path in {"/health", "/v1/health"}:
            self.probe()
            raise Reply(200, {"status": "ok"})
        if not self.loaded.is_set():
            raise Reply(503, error_body(503, "Loading model", "unavailable_error"))
        chat = path.endswith("/chat/completions")
        try:
            asked = json.loads(body) if method == "POST" else {}
        except ValueError:
            raise Reply(400, error_body(400, "not JSON", "invalid_request_error")) from None
        if chat:
            note(asked, self.in_flight + 1)
        self.check_key(path, headers)
        if (mode := self.modes.get("not_found")) is not None and (chat or mode == "all"):
            raise Reply(404, error_body(404, "File Not Found", "not_found_error"))
        if method == "GET" and path in (pages := self.pages()):
            raise Reply(200, pages[path])
        if method != "POST" or not (chat or path == "/apply-template"):
            raise Reply(404, error_body(404, "File Not Found", "not_found_error"))
        if path == "/apply-template":
            raise Reply(200, {"prompt": self.render(asked)})
        return dict(asked)

    def probe(self) -> None:
        """Count a health probe, and refuse it while the model is loading."""
        self.probed = True
        if not self.loaded.is_set() and self.unanswered_probes > 0:
            self.unanswered_probes -= 1
            if not self.unanswered_probes:
                self.loaded.set()
            raise Reply(503, error_body(503, "Loading model", "unavailable_error"))

    def check_key(self, path: str, headers: dict[str, str]) -> None:
        """Refuse a request without a key that is accepted; lists of models need none."""
        chat = path.endswith("/chat/completions")
        mode = self.modes.get("unauthorized")
        given = headers.get("authorization", "").removeprefix("Bearer ")
        wrong = self.keys and given not in self.keys and path not in {"/models", "/v1/models"}
        if wrong or (mode is not None and (chat or mode == "all")):
            raise Reply(401, error_body(401, "Invalid API Key", "authentication_error"))

    def pages(self) -> dict[str, object]:
        """Return path → JSON of everything that is only read."""
        model = {"id": self.alias, "object": "model", "owned_by": "llamacpp", "created": 1}
        busy = min(self.in_flight, self.slots)
        self.decoded += 0 if self.hangs() else 1
        models = {"object": "list", "data": [model | {"meta": {"n_ctx": self.n_ctx}}]}
        caps = {"supports_tools": self.tools, "supports_tool_calls": self.tools}
        lists = {} if "no_models" in self.modes else {"/v1/models": models, "/models": models}
        return {
            **lists,
            "/slots": [
                {
                    "id": slot,
                    "n_ctx": self.n_ctx,
                    "is_processing": slot < busy,
                    "next_token": [{"n_decoded": self.decoded if slot < busy else 0}],
                }
                for slot in range(self.slots)
            ],
            "/props": {
                "default_generation_settings": {"params": {"seed": 2**32 - 1}, "n_ctx": self.n_ctx},
                "total_slots": self.slots,
                "model_alias": self.alias,
                "model_path": self.model_path,
                "chat_template": self.template,
                "chat_template_caps": caps | {"supports_system_role": True},
                "build_info": BUILD_INFO,
            },
        }

    def render(self, asked: dict[str, Any]) -> str:
        """Return the prompt: the template's head, the tools where it has room, the messages."""
        head = json.dumps(asked["tools"]) + "\n" if self.tools and asked.get("tools") else ""
        lines = [f"<|{m['role']}|>{m.get('content') or ''}" for m in asked.get("messages", [])]
        return self.template[:20] + "\n" + head + "\n".join(lines)

    def refuse(self, n: int, seed: int, turn: int) -> None:
        """Raise the refusal that the modes ask for of the n-th chat."""
        modes = self.modes
        if n <= int(modes.get("rate_limit") or 0):
            wait = os.environ.get("FAKE_RETRY_AFTER", "1")
            raise Reply(429, error_body(429, "Slow down", "rate_limit"), **{"retry-after": wait})
        if n <= int(modes.get("busy_503") or 0):
            raise Reply(503, error_body(503, "the roof is full", "unavailable_error"))
        if n <= int(modes.get("server_500") or 0):
            raise Reply(500, error_body(500, "the roof is on fire", "server_error"))
        if "parser_500" in modes or share("parser", seed) < float(
            modes.get("parser_500_ratio") or 0
        ):
            raise Reply(500, error_body(500, PARSER_ERROR, "server_error"))
        if modes.get("context_500") == "" or ("context_500" in modes and self.in_flight > 1):
            raise Reply(500, error_body(500, "Context size has been exceeded.", "server_error"))
        if "context_400" in modes and turn >= int(modes["context_400"] or 0):
            more = {"n_prompt_tokens": self.n_ctx + 1, "n_ctx": self.n_ctx}
            kind = "exceed_context_size_error"
            raise Reply(400, error_body(400, CONTEXT_ERROR, kind, **more))
        if "template_400" in modes:
            text = "Unable to generate parser for this template. Automatic parser failed."
            raise Reply(400, error_body(400, text, "invalid_request_error"))

    def refuse_options(self, asked: dict[str, Any]) -> None:
        """Refuse a field that an older server does not know."""
        if self.modes.get("stream") == "no_usage_field" and "stream_options" in asked:
            text = "[{'type': 'extra_forbidden', 'loc': ('body', 'stream_options')}]"
            raise Reply(400, error_body(400, text, "BadRequestError"))

    def message(self, asked: dict[str, Any], seed: int) -> dict[str, Any]:
        """Return the assistant's message."""
        if one := os.environ.get("FAKE_REPLY"):
            return dict(json.loads(one))
        if "lora_reply" in self.modes:
            return {"role": "assistant", "content": first_line(self.lora)}
        if several := os.environ.get("FAKE_REPLIES"):
            choices = json.loads(several)
            return dict(choices[seed % len(choices)])
        if turns := os.environ.get("FAKE_TURNS"):
            choices = json.loads(turns)
            return dict(choices[min(turn_of(asked), len(choices) - 1)])
        user = [m.get("content") for m in asked.get("messages", []) if m.get("role") == "user"]
        luck: object = time.perf_counter_ns() if "random_reply" in self.modes else seed
        key = (0 if "same_reply" in self.modes else luck, user[-1:])
        words = [
            WORDS[int(share(key, i) * len(WORDS))]
            for i in range(int(self.modes.get("long_reply", 8)))
        ]
        return {"role": "assistant", "content": " ".join(words)}

    def completion(self, asked: dict[str, Any], seed: int) -> dict[str, Any]:
        """Return a whole reply with usage and llama.cpp's timings."""
        message = self.message(asked, seed)
        rendered = self.render(asked)
        prompt = len(rendered.split())
        raw = f"<|raw|>{message.get('content') or json.dumps(message.get('tool_calls'))}<|end|>"
        verbose = (
            {"__verbose": {"prompt": rendered, "content": raw}} if asked.get("verbose") else {}
        )
        tokens = max(1, len(str(message.get("content") or "").split()))
        finish = "tool_calls" if message.get("tool_calls") else "stop"
        return {
            "id": f"chatcmpl-{seed}",
            "object": "chat.completion",
            "created": 1,
            "model": self.alias,
            "system_fingerprint": BUILD_INFO,
            "choices": [{"index": 0, "message": message, "finish_reason": finish}],
            "usage": {
                "prompt_tokens": prompt,
                "completion_tokens": tokens,
                "total_tokens": prompt + tokens,
            },
            "timings": {
                "cache_n": 0,
                "prompt_n": prompt,
                "prompt_ms": prompt * 2.0,
                "prompt_per_second": 500.0,
                "predicted_n": tokens,
                "predicted_ms": tokens * 10.0,
                "predicted_per_second": 100.0,
            },
            **verbose,
        }

    async def chat(self, asked: dict[str, Any], out: asyncio.StreamWriter) -> None:
        """Answer a chat, or do what the modes say."""
        seed = int(asked.get("seed", -1))
        self.chats += 1
        number = self.chats
        self.in_flight += 1
        try:
            await self.misbehave(seed, turn_of(asked))
            self.refuse(number, seed, turn_of(asked))
            self.refuse_options(asked)
            done = self.completion(asked, seed)
            if asked.get("stream") or "error_in_stream" in self.modes:
                options = asked.get("stream_options") or {}
                await self.stream(done, out, usage=bool(options.get("include_usage")))
                return
            await self.answer(done, out)
        finally:
            self.in_flight -= 1

    def hangs(self) -> bool:
        """Return whether chats get no answer by now."""
        after = self.modes.get("hang_after")
        return "hang" in self.modes or (after is not None and self.chats > int(after))

    async def misbehave(self, seed: int, turn: int) -> None:
        """Hang, wait or die where the modes ask for it."""
        modes = self.modes
        if self.hangs() or modes.get("hang_on_seed") == str(seed):
            await asyncio.Event().wait()
        await asyncio.sleep(float(modes.get("delay") or 0))
        dies = "die_after" in modes and self.chats > int(modes["die_after"])
        dies = dies or modes.get("die_on_seed") == str(seed)
        if "freeze_after" in modes and self.chats > int(modes["freeze_after"]) and first_time():
            os.kill(os.getpid(), signal.SIGSTOP)
        once = "die_once" in modes or modes.get("die_at_turn") == str(turn)
        if dies or (once and first_time()):
            say("GGML_ASSERT failed: the roof is on fire")
            os.kill(os.getpid(), signal.SIGKILL)

    async def answer(self, done: dict[str, Any], out: asyncio.StreamWriter) -> None:
        """Send a reply in one piece, or spoil it."""
        modes, body = self.modes, json.dumps(done).encode()
        if "garbage" in modes:
            body = b"\x00\xff<<<not json at all>>>"
        if "truncated_json" in modes:
            body = body[: len(body) // 2]
        if "huge" in modes:
            await self.flood(out, int(modes["huge"] or 64))
            return
        if "die_mid_request" in modes:
            out.write(head(200, len(body), {}) + body[: len(body) // 2])
            await out.drain()
            os._exit(1)
        if "drip" in modes:
            out.write(head(200, len(body), {"content-type": "application/json"}))
            step = len(body) // 50 + 1
            for start in range(0, len(body), step):
                out.write(body[start : start + step])
                await out.drain()
                await asyncio.sleep(float(modes["drip"] or 5) / 50)
            return
        kind = "text/html" if "wrong_content_type" in modes else "application/json"
        raise Reply(200, body, kind)

    async def flood(self, out: asyncio.StreamWriter, megabytes: int) -> None:
        """Send a reply of so many megabytes, whose length is not announced."""
        out.write(head(200, None, {"content-type": "application/json"}))
        out.write(chunk(b'{"choices": [{"message": {"content": "'))
        for _ in range(megabytes):
            out.write(chunk(b"x" * (1 << 20)))
            await out.drain()
        out.write(chunk(b'"}}]}') + chunk(b""))

    async def stream(self, done: dict[str, Any], out: asyncio.StreamWriter, *, usage: bool) -> None:
        """Send a reply as server-sent events."""
        modes, style = self.modes, self.modes.get("stream", "")
        out.write(head(200, None, {"content-type": "text/event-stream"}))
        events = [] if style == "done" else pieces(done, style, usage=usage)
        if "error_in_stream" in modes:
            events = [*events[:2], json.loads(error_body(500, PARSER_ERROR, "server_error"))]
        for number, event in enumerate(events):
            if number == int(modes.get("stream_silent_after") or -1):
                await asyncio.Event().wait()
            await asyncio.sleep(float(modes.get("stream_pause") or 0))
            out.write(chunk(b"data: " + json.dumps(event).encode() + b"\n\n"))
            await out.drain()
        if style == "event_error":
            out.write(chunk(b"event: error\ndata: " + CONTEXT_ERROR.encode() + b"\n\n"))
        if style != "cut":
            out.write(chunk(b"data: [DONE]\n\n"))
        await out.drain()
        if style == "open":
            await asyncio.Event().wait()
        if style == "unended":
            out.close()
            return
        out.write(chunk(b""))

    async def serve(self, inp: asyncio.StreamReader, out: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection."""
        served = 0
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while (request := await read_request(inp)) and not (
                served and "close_keepalive" in self.modes
            ):
                served += 1
                try:
                    await self.chat(self.route(*request), out)
                except Reply as reply:
                    out.write(head(reply.status, len(reply.body), reply.headers) + reply.body)
                await out.drain()
        out.close()


def turn_of(asked: dict[str, Any]) -> int:
    """Return how many replies the messages hold already."""
    return sum(message.get("role") == "assistant" for message in asked.get("messages", []))


def first_time() -> bool:
    """Return whether the file FAKE_STATE was missing until now."""
    state = Path(os.environ["FAKE_STATE"])
    known = state.exists()
    state.touch()
    return not known


def api_keys(flags: argparse.Namespace) -> frozenset[str]:
    """Return the keys that are accepted; none means that every request is."""
    keys = [*(flags.api_key or "").split(",")]
    if flags.api_key_file:
        keys += Path(flags.api_key_file).read_text(encoding="utf-8").split()
    return frozenset(filter(None, keys))


def template_text(flags: argparse.Namespace) -> str:
    """Return the chat template; as with llama-server, an unknown name is taken as the text."""
    if flags.chat_template_file:
        return Path(flags.chat_template_file).read_text(encoding="utf-8")
    name = flags.chat_template or ""
    return f"{{# built-in template {name} #}}{NATIVE}" if name in TEMPLATES else name or NATIVE


def note(asked: dict[str, Any], in_flight: int) -> None:
    """Append what was asked to FAKE_LOG, in one write."""
    if not (log := os.environ.get("FAKE_LOG")):
        return
    rest = {key: value for key, value in asked.items() if key != "seed"}
    body = blake2b(json.dumps(rest, sort_keys=True).encode(), digest_size=12).hexdigest()
    line = {"seed": asked.get("seed"), "digest": body, "time": time.time(), "in_flight": in_flight}
    line |= {"pid": os.getpid(), "body": asked}
    file = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(file, json.dumps(line).encode() + b"\n")
    os.close(file)


def pieces(done: dict[str, Any], style: str, *, usage: bool) -> list[dict[str, Any]]:
    """Return the events of a streamed reply: timings come last, with no choices.

    A usage is there where it was asked for.
    """
    common = {key: done[key] for key in ("id", "created", "model", "system_fingerprint")}
    common["object"] = "chat.completion.chunk"
    choice = done["choices"][0]
    message = choice["message"]
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": None}]
    for field in ("reasoning_content", "content"):
        words = (message.get(field) or "").split(" ")
        deltas += [{field: (" " if i else "") + word} for i, word in enumerate(words) if word]
    calls = [] if style == "loses" else message.get("tool_calls") or []
    for index, call in enumerate(calls):
        deltas += [{"tool_calls": [delta]} for delta in call_deltas(index, call, style)]
    choices: list[dict[str, Any]] = [
        {"index": 0, "delta": delta, "finish_reason": None} for delta in deltas
    ]
    finish = "stop" if style == "loses" else choice["finish_reason"]
    if style != "cut":
        choices.append({"index": 0, "delta": {}, "finish_reason": finish})
    end: dict[str, Any] = {"choices": [], "timings": done["timings"]}
    if usage:
        end["usage"] = done["usage"]
    return [*({**common, "choices": [one]} for one in choices), {**common, **end}]


def call_deltas(index: int, call: dict[str, Any], style: str) -> list[dict[str, Any]]:
    """Return a call in pieces, in the manner of one kind of server."""
    name, text = call["function"]["name"], call["function"]["arguments"]
    place: dict[str, Any] = {} if style == "bare" else {"index": 0 if style == "zero" else index}
    no_id = style == "bare" or (style == "first_id" and index)
    known: dict[str, Any] = {} if no_id else {"id": "0" if style == "one_id" else call.get("id")}
    if style == "objects":
        function = {"name": name, "arguments": json.loads(text)}
        return [{**place, **known, "type": "function", "function": function}]
    again: dict[str, Any] = {**known, "type": "function"} if style == "fat" else {}
    named = {"name": name} if style == "fat" else {}
    deltas: list[dict[str, Any]] = [
        {**place, **known, "type": "function", "function": {"name": name, "arguments": text[:3]}},
        {**place, **again, "function": {**named, "arguments": text[3:]}},
    ]
    if style == "summary":
        function = {"name": name, "arguments": json.dumps(text)}
        deltas.append({**place, **known, "type": "function", "function": function})
    return deltas


def head(status: int, length: int | None, headers: dict[str, str]) -> bytes:
    """Return a response's head; without a length its body comes in chunks."""
    size = "transfer-encoding: chunked" if length is None else f"content-length: {length}"
    lines = [f"HTTP/1.1 {status} Fake", size, *(f"{k}: {v}" for k, v in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode()


def chunk(data: bytes) -> bytes:
    """Return one chunk of a body; an empty one ends it."""
    return b"%x\r\n%b\r\n" % (len(data), data)


async def read_request(
    inp: asyncio.StreamReader,
) -> tuple[str, str, dict[str, str], bytes] | None:
    """Return method, path, headers and body of the next request, or None at the end."""
    if not (first := await inp.readline()):
        return None
    method, path, _ = first.decode().split(" ", 2)
    headers: dict[str, str] = {}
    while line := (await inp.readline()).decode().strip():
        name, value = line.split(":", 1)
        headers[name.strip().lower()] = value.strip()
    body = await inp.readexactly(int(headers.get("content-length", "0")))
    return method, path.split("?", 1)[0], headers, body


def fork_worker() -> None:
    """Start a child in the same group that ignores SIGTERM and outlives its leader.

    Its pid is written when this returns. An alarm ends it after two minutes, so that a failing
    test leaves nothing for long.
    """
    ready, written = os.pipe()
    if os.fork():
        os.close(written)
        os.read(ready, 1)
        return
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    signal.alarm(120)
    if pidfile := os.environ.get("FAKE_PIDFILE"):
        Path(pidfile).write_text(str(os.getpid()), encoding="utf-8")
    os.write(written, b"!")
    while True:
        signal.pause()


def tell_context(flags: argparse.Namespace, modes: dict[str, str]) -> None:
    """Print what llama.cpp does of its context; the modes are what it has instead."""
    asked = {"on": "enabled", "off": "disabled"}.get(flags.flash_attn or "auto", "auto")
    say(f"llama_context: flash_attn            = {modes.get('flash_attn', asked)}")
    k, v = (
        modes.get(name) or getattr(flags, name) or "f16"
        for name in ("cache_type_k", "cache_type_v")
    )
    say(
        "llama_kv_cache: size =    1.00 MiB (   512 cells,  30 layers,  2/2 seqs), "
        f"K ({k}):    0.50 MiB, V ({v}):    0.50 MiB"
    )
    if asked == "auto" and "flash_attn" not in modes:
        say("resolve_fused_ops: Flash Attention enabled")


async def run(flags: argparse.Namespace, modes: dict[str, str]) -> None:
    """Bind, load, answer until SIGTERM or SIGINT."""
    fake = FakeServer(flags, modes)
    host, wanted = flags.host or "127.0.0.1", int(flags.port or 8080)
    failure = f"couldn't bind HTTP server socket, hostname: {host}, port: {wanted}"
    if "port_taken" in modes:
        leave(failure, 1)
    try:
        server = await asyncio.start_server(fake.serve, host, wanted, limit=1 << 24)
    except OSError:
        leave(failure, 1)
    url = f"http://{host}:{server.sockets[0].getsockname()[1]}"
    say(f"main: bound to {url}, loading model")
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        if "ignore_sigterm" not in modes:
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
    if not fake.unanswered_probes:
        fake.loaded.set()
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(fake.loaded.wait(), 1)
    if not fake.probed:
        fake.loaded.set()
    await fake.loaded.wait()
    say(f"main: listening on {url}")
    await stop.wait()
    server.close()


def main() -> None:
    """Do what the flags and FAKE_MODE say."""
    modes = dict(
        mode.partition(":")[::2] for mode in os.environ.get("FAKE_MODE", "").split(",") if mode
    )
    flags = parse_flags(sys.argv[1:])
    if flags.help:
        sys.stdout.write(help_text() + "\n")
        return
    if flags.version:
        say(VERSION)
        return
    if "ignore_sigterm" in modes:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    if "exit_at_start" in modes:
        leave("error loading model: the roof is on fire", int(modes["exit_at_start"] or 1))
    if flags.model and not Path(flags.model).is_file():
        leave(f"error loading model: failed to open GGUF file '{flags.model}'", 1)
    if flags.flash_attn == "off" and (flags.cache_type_v or "f16") not in {"f32", "f16", "bf16"}:
        leave("llama_init_from_model: V cache quantization requires flash_attn", 1)
    if int(flags.verbosity or 3) >= 4:
        tell_context(flags, modes)
    if "fork_worker" in modes:
        fork_worker()
    time.sleep(float(modes.get("slow_start") or 0))
    asyncio.run(run(flags, modes))


if __name__ == "__main__":
    main()
