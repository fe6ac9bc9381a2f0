"""The fake server itself: what other tests take for granted."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError

import pytest

from tests.fake_servers import FAKE_SERVER, fake_server

if TYPE_CHECKING:
    from pathlib import Path


def run(*flags: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run the fake server to its end."""
    command = [sys.executable, str(FAKE_SERVER), *flags]
    return subprocess.run(
        command, env=os.environ | env, capture_output=True, text=True, timeout=30, check=False
    )


def start(modes: str, *flags: str, **env: str) -> subprocess.Popen[str]:
    """Start the fake server on a free port, in a group of its own."""
    return subprocess.Popen(
        [sys.executable, str(FAKE_SERVER), "--port", "0", *flags],
        env=os.environ | {"FAKE_MODE": modes} | env,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def said(process: subprocess.Popen[str], words: str) -> str:
    """Wait until the server says this, and return the line."""
    assert process.stderr is not None
    return next(line for line in process.stderr if words in line)


def get(url: str, body: object = None, **headers: str) -> tuple[int, Any]:
    """Return status and JSON of a request: a POST where there is a body."""
    data = None if body is None else json.dumps(body).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data, headers)) as response:
            return response.status, json.load(response)
    except HTTPError as error:
        with error:
            return error.code, json.load(error)


def test_help_and_version_look_like_llama_server_s() -> None:
    """Help is on stdout in two columns, the version on stderr, both with exit 0."""
    shown, version = run("--help"), run("--version")
    assert (shown.returncode, version.returncode) == (0, 0)
    assert "-ctk,  --cache-type-k TYPE              KV cache data type for K" in shown.stdout
    assert "chatml" in shown.stdout
    assert version.stderr.startswith("version: 0.6.0-dev (build 9626, commit ")


@pytest.mark.parametrize(
    ("flags", "modes", "code", "text"),
    [
        (["--no-such-flag"], "", 1, "invalid argument: --no-such-flag"),
        (["--model", "missing.gguf"], "", 1, "failed to open"),
        (["--flash-attn", "off", "--cache-type-v", "q8_0"], "", 1, "requires flash_attn"),
        ([], "exit_at_start:7", 7, "the roof is on fire"),
        (["--port", "1"], "port_taken", 1, "couldn't bind"),
    ],
)
def test_what_cannot_start_says_why(flags: list[str], modes: str, code: int, text: str) -> None:
    """The exit code and the last words are llama-server's."""
    done = run(*flags, FAKE_MODE=modes)
    assert done.returncode == code
    assert text in done.stderr


def test_props_follow_the_flags() -> None:
    """The context is per slot when the cache is split, and whole when it is unified."""
    split = ["--ctx-size", "8192", "--parallel", "4", "--no-kv-unified", "--jinja"]
    with fake_server(flags=split) as base:
        status, props = get(f"{base}/props")
        assert len(get(f"{base}/slots")[1]) == 4
    assert (status, props["total_slots"]) == (200, 4)
    assert props["default_generation_settings"]["n_ctx"] == 2048
    with fake_server(flags=["--ctx-size", "8192"]) as base:
        assert get(f"{base}/props")[1]["default_generation_settings"]["n_ctx"] == 8192


def test_the_environment_counts_like_flags() -> None:
    """As with llama-server, so that forgetting to scrub it shows."""
    with fake_server(LLAMA_ARG_CTX_SIZE="1024", LLAMA_ARG_PARALLEL="1") as base:
        assert get(f"{base}/props")[1]["default_generation_settings"]["n_ctx"] == 1024


def test_an_unknown_template_name_is_taken_as_the_template() -> None:
    """A known name gives a built-in one."""
    with fake_server(flags=["--chat-template", "nosuch"]) as base:
        assert get(f"{base}/props")[1]["chat_template"] == "nosuch"
    with fake_server(flags=["--chat-template", "chatml"]) as base:
        assert "for message in messages" in get(f"{base}/props")[1]["chat_template"]


def test_tools_are_rendered_unless_the_template_has_no_place() -> None:
    """`/apply-template` and the template's capabilities agree."""
    asked = {"messages": [{"role": "user", "content": "hi"}], "tools": [{"name": "weather"}]}
    for modes, has_tools in (("", True), ("no_tools", False)):
        with fake_server(modes) as base:
            prompt = get(f"{base}/apply-template", asked)[1]["prompt"]
            caps = get(f"{base}/props")[1]["chat_template_caps"]
        assert ("weather" in prompt, caps["supports_tools"]) == (has_tools, has_tools)


def test_health_is_503_while_loading() -> None:
    """The first probes are refused, whatever else is asked is too, then all is well."""
    with start("loading:2") as process:
        try:
            base = said(process, "bound to").split()[3].rstrip(",")
            seen = [get(f"{base}/health") for _ in range(3)]
        finally:
            process.kill()
    assert [status for status, _ in seen] == [503, 503, 200]
    assert seen[0][1]["error"]["message"] == "Loading model"


def test_without_the_key_only_health_and_models_answer(tmp_path: Path) -> None:
    """Keys come from the file, a line each."""
    keys = tmp_path / "keys"
    keys.write_text("one\ntwo\n", encoding="utf-8")
    with fake_server(flags=["--api-key-file", str(keys)]) as base:
        assert [get(f"{base}/{page}")[0] for page in ("health", "v1/models", "props")] == [
            200,
            200,
            401,
        ]
        assert get(f"{base}/props", Authorization="Bearer two")[0] == 200


def test_a_share_of_seeds_meets_the_parser_and_always_the_same(tmp_path: Path) -> None:
    """Half of the seeds fail, on every try; the log has each of them."""
    log = tmp_path / "log"
    with fake_server("parser_500_ratio:0.5", FAKE_LOG=str(log)) as base:
        url = f"{base}/v1/chat/completions"
        first, again = ([get(url, {"seed": seed})[0] for seed in range(40)] for _ in range(2))
    assert first == again
    assert 10 <= first.count(500) <= 30
    lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    assert [line["seed"] for line in lines] == [*range(40)] * 2
    assert len({line["digest"] for line in lines}) == 1


def test_replies_can_be_given_by_seed() -> None:
    """The list is taken round and round."""
    replies = json.dumps([{"role": "assistant", "content": text} for text in "ab"])
    with fake_server(FAKE_REPLIES=replies) as base:
        said = [get(f"{base}/v1/chat/completions", {"seed": seed})[1] for seed in (2, 3)]
    assert [reply["choices"][0]["message"]["content"] for reply in said] == ["a", "b"]


def test_sigterm_ends_it_politely() -> None:
    """Exit 0, as llama-server does."""
    with start("") as process:
        said(process, "listening on")
        process.terminate()
    assert process.returncode == 0


def test_it_can_ignore_sigterm() -> None:
    """Only SIGKILL helps then."""
    with start("ignore_sigterm") as process:
        said(process, "listening on")
        process.terminate()
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.2)
        process.kill()
    assert process.returncode == -signal.SIGKILL


def test_a_worker_outlives_its_leader(tmp_path: Path) -> None:
    """The child is in the same group, and SIGTERM does not end it."""
    pidfile = tmp_path / "pid"
    with start("fork_worker", FAKE_PIDFILE=str(pidfile)) as process:
        said(process, "listening on")
        worker = int(pidfile.read_text(encoding="utf-8"))
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()
        assert os.getpgid(worker) == process.pid
        os.killpg(process.pid, signal.SIGKILL)


def test_it_dies_once_and_not_again(tmp_path: Path) -> None:
    """The state file tells a restarted server that it has died before."""
    state = str(tmp_path / "state")
    for dies in (True, False):
        with fake_server("die_once", FAKE_STATE=state) as base:
            url = f"{base}/v1/chat/completions"
            if dies:
                with pytest.raises(ConnectionError):
                    get(url, {"seed": 1})
            else:
                assert get(url, {"seed": 1})[0] == 200
