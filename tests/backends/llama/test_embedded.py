"""The embedded server: its flags, its help, and the real thing with a real model."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import matrixbench
from matrixbench.backends.http.openai_chat import OpenAiChat
from matrixbench.backends.llama.embedded_flags import FlagError, apply_flags, flags, help_text
from matrixbench.backends.llama.executable import install_line, parse_help
from matrixbench.backends.process import ServerCommand, free_port, running
from matrixbench.checks.same import difference
from matrixbench.records import ChatReply, ChatRequest
from matrixbench.spec.load import load_experiment

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from http.client import HTTPResponse

PROJECT = Path(matrixbench.__file__).parents[1]
ENV = os.environ | {"PYTHONPATH": str(PROJECT)}
ARGV = (sys.executable, "-m", "matrixbench.backends.llama.embedded")
LONG_S = 60.0


def run(*flags: str) -> subprocess.CompletedProcess[str]:
    """Run the embedded server with flags that end it at once."""
    return subprocess.run(
        [*ARGV, *flags], env=ENV, capture_output=True, text=True, timeout=LONG_S, check=False
    )


def params(*flags: str) -> Any:
    """Return the parameters that flags set."""
    import xllamacpp  # noqa: PLC0415  heavy: 100 MB

    filled = xllamacpp.CommonParams()
    apply_flags(xllamacpp, filled, flags)
    return filled


def test_numbers_reach_their_fields() -> None:
    """Every number goes to the field that llama-server's own parser sets."""
    filled = params(
        *("-c", "2048", "-np", "3", "-t", "1", "-tb", "2", "-b", "64", "-ub", "32", "-n", "9"),
        *("--cache-ram", "0", "--seed", "7", "--port", "18080", "-lv", "4", "--cache-reuse", "5"),
    )
    assert (filled.n_ctx, filled.n_parallel, filled.n_batch, filled.n_ubatch) == (2048, 3, 64, 32)
    assert (filled.cpuparams.n_threads, filled.cpuparams_batch.n_threads) == (1, 2)
    assert (filled.n_predict, filled.cache_ram_mib, filled.n_cache_reuse) == (9, 0, 5)
    assert (filled.sampling.seed, filled.port, filled.verbosity) == (7, 18080, 4)


def test_words_reach_their_fields() -> None:
    """Cache types, flash attention, GPU layers and the reasoning format are words."""
    filled = params(
        *("-ctk", "q8_0", "-ctv", "iq4_nl", "-fa", "on", "-ngl", "all", "--fit", "off"),
        *("--reasoning-format", "none", "-m", "m.gguf", "-a", "a,b", "--host", "127.0.0.2"),
    )
    assert (filled.cache_type_k, filled.cache_type_v) == (8, 20)
    assert (filled.flash_attn_type, filled.n_gpu_layers, filled.fit_params) == (1, -2, False)
    assert filled.reasoning_format == 0
    assert (filled.model.path, filled.model_alias) == ("m.gguf", {"a", "b"})
    assert filled.hostnames == ["127.0.0.2"]


def test_switches_turn_on_and_off() -> None:
    """A switch and its opposite set the same field; the last one holds."""
    filled = params("--no-kv-unified", "--kv-unified", "--no-cache-prompt", "--no-slots", "--props")
    assert (filled.kv_unified, filled.cache_prompt) == (True, False)
    assert (filled.endpoint_slots, filled.endpoint_props) == (False, True)
    assert not params("--no-warmup", "--no-jinja").use_jinja


def test_files_are_read(tmp_path: Path) -> None:
    """Templates and keys come out of files, adapters are files."""
    (tmp_path / "t.jinja").write_text("{{ messages }}")
    (tmp_path / "keys").write_text("one\n\ntwo\n")
    (tmp_path / "a.gguf").touch()
    filled = params(
        *("--chat-template-file", str(tmp_path / "t.jinja")),
        *("--api-key-file", str(tmp_path / "keys")),
        *("--lora", str(tmp_path / "a.gguf")),
    )
    assert filled.chat_template == "{{ messages }}"
    assert filled.api_keys == ["one", "two"]
    assert [adapter.path for adapter in filled.lora_adapters] == [str(tmp_path / "a.gguf")]


def test_models_and_grammars_are_files(tmp_path: Path) -> None:
    """A draft model, a projector, a grammar and scaled adapters, one of them with a comma."""
    (tmp_path / "a,b.gguf").touch()
    (tmp_path / "a.gbnf").write_text('root ::= "a"')
    path = str(tmp_path / "a,b.gguf")
    filled = params(
        *("--model-draft", path, "--mmproj", path, "--grammar-file", str(tmp_path / "a.gbnf")),
        *("--lora-scaled", f'"{path}:0.5","{path}:2"', "--lora", f'"{path}"', "--draft-max", "8"),
    )
    assert (filled.speculative.draft.mparams.path, filled.mmproj.path) == (path, path)
    assert filled.speculative.draft.n_max == 8
    assert filled.sampling.grammar.grammar == 'root ::= "a"'
    assert [(one.path, one.scale) for one in filled.lora_adapters] == [
        (path, 0.5),
        (path, 2.0),
        (path, 1.0),
    ]


@pytest.mark.parametrize(
    ("flags", "problem"),
    [
        (("--ctxsize", "1"), r"unknown argument: --ctxsize \(did you mean --ctx-size\?\)"),
        (("model.gguf",), "unknown argument: model.gguf"),
        (("-c",), "-c needs a value"),
        (("-c", "many"), "-c: bad value 'many'; a whole number from 0"),
        (("-np", "-1"), "-np: bad value '-1'; a whole number from 1"),
        (("-fa", "yes"), "bad value 'yes'; allowed are: on, off, auto"),
        (("-ctk", "q2_k"), "allowed are: f32, f16, bf16, q8_0"),
        (("--chat-template", "nosuch"), "bad value 'nosuch'; allowed are: chatml"),
        (("--chat-template-file", "/nowhere/t"), "cannot be read"),
        (("--lora", "/nowhere/a"), "there is no file /nowhere/a"),
        (("--model-draft", "/nowhere/d"), "there is no file /nowhere/d"),
        (("--lora-scaled", "/nowhere/a"), "FNAME:SCALE is expected"),
        (("--grammar-file", "/nowhere/g"), "cannot be read"),
        (("--props=on",), "--props takes no value"),
    ],
)
def test_what_is_wrong_is_named(flags: tuple[str, ...], problem: str) -> None:
    """An unknown flag is named with the nearest one, a bad value with those allowed."""
    with pytest.raises(FlagError, match=problem) as caught:
        params(*flags)
    assert "\n" not in str(caught.value)


def test_help_is_read_by_the_parser_of_llama_servers_help() -> None:
    """Every flag, and whether it takes a value, survives the way through `--help`."""
    known = parse_help(help_text())
    for flag in flags():
        for name in (*flag.names, *flag.off):
            assert known.flags[name].takes_value == bool(flag.value)
    assert known.templates == {"chatml"}
    assert "comma-separated" in known.flags["--lora"].text


def test_help_and_version_of_the_program() -> None:
    """`--help` goes to standard output, `--version` to standard error as llama-server's does."""
    assert run("--help").stdout == help_text() + "\n"
    version = run("--version")
    assert version.returncode == 0
    assert version.stderr.startswith("version: ")


@pytest.mark.parametrize(
    ("flags", "code", "said"),
    [
        (("--nosuch",), 2, "error: unknown argument: --nosuch"),
        ((), 2, "error: no model: say --model FILE"),
        (("-m", "gone.gguf"), 1, "failed to open GGUF file 'gone.gguf'"),
    ],
)
def test_what_cannot_run_exits(flags: tuple[str, ...], code: int, said: str) -> None:
    """Wrong flags exit 2, a model that cannot be loaded exits 1, both with the reason."""
    done = run(*flags)
    assert done.returncode == code
    assert said in done.stderr


def test_a_broken_model_exits(tmp_path: Path) -> None:
    """A file that is no model ends the server with the reason in its log."""
    (tmp_path / "broken.gguf").write_bytes(b"GGUF" + bytes(100))
    done = run("-m", str(tmp_path / "broken.gguf"))
    assert done.returncode == 1
    assert "failed to load model" in done.stderr


def test_without_the_wheel_it_says_what_to_install() -> None:
    """Without xllamacpp the program is one line long."""
    code = (
        "import sys; sys.path[:] = [p for p in sys.path if 'site-packages' not in p];"
        "from matrixbench.backends.llama.embedded import main; sys.exit(main(['-m', 'x']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=ENV, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert install_line() in done.stderr


class Embedded:
    """A running embedded server."""

    def __init__(self, url: str) -> None:
        self.url = url

    def call(self, path: str, body: object = None, key: str = "sesame") -> tuple[int, Any]:
        """Return the status and the JSON of a request."""
        try:
            with self.send(path, body, key) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)

    def send(self, path: str, body: object = None, key: str = "sesame") -> HTTPResponse:
        """Return the response to a request as soon as it begins."""
        request = urllib.request.Request(
            self.url + path,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {key}", "Content-Type": "application/json"},
        )
        response: HTTPResponse = urllib.request.urlopen(request, timeout=LONG_S)
        return response

    async def up(self) -> bool:
        """Say whether the server is ready."""
        try:
            return self.call("/health")[0] == 200
        except OSError:
            return False


@contextlib.asynccontextmanager
async def embedded(model: Path, folder: Path, *flags: str) -> AsyncIterator[Embedded]:
    """Run the real server; its end by SIGTERM is clean."""
    port = free_port()
    (folder / "key").write_text("sesame\n")
    command = ServerCommand(
        name="embedded",
        argv=(
            *(*ARGV, "-m", str(model), "--port", str(port), "-t", "1", "--fit", "off"),
            *("--no-warmup", "-c", "1024", "--api-key-file", str(folder / "key"), *flags),
        ),
        env=ENV,
        log=folder / "log",
    )
    async with running(command) as process:
        server = Embedded(f"http://127.0.0.1:{port}")
        await process.ready(server.up, LONG_S)
        yield server
    assert process.returncode == 0, process.how_it_ended()


@pytest.mark.real
async def test_the_real_server_does_what_its_flags_say(smollm2_path: Path, tmp_path: Path) -> None:
    """Slots, context per slot, alias, key and a template by name hold; SIGTERM ends it with 0."""
    flags = ("-np", "2", "--no-kv-unified", "-a", "smol", "--jinja", "--chat-template", "chatml")
    async with embedded(smollm2_path, tmp_path, *flags) as server:
        status, props = server.call("/props")
        assert status == 200
        assert props["total_slots"] == 2
        assert props["default_generation_settings"]["n_ctx"] == 512
        assert props["model_alias"] == "smol"
        assert server.call("/props", key="wrong")[0] == 401
        asked = {"messages": [{"role": "user", "content": "hi"}]}
        prompt = server.call("/apply-template", asked)[1]["prompt"]
        assert prompt == "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"
        status, reply = server.call("/v1/chat/completions", asked | {"max_tokens": 4, "seed": 1})
        assert status == 200
        assert reply["usage"]["completion_tokens"] == 4


@pytest.mark.real
async def test_a_template_file_is_used_and_a_request_does_not_hold_up_the_end(
    smollm2_path: Path, tmp_path: Path
) -> None:
    """The file's text is the template; a long generation under way does not delay SIGTERM."""
    template = "{% for m in messages %}[{{ m.content }}]{% endfor %}"
    (tmp_path / "t.jinja").write_text(template)
    flags = ("--chat-template-file", str(tmp_path / "t.jinja"))
    async with embedded(smollm2_path, tmp_path, *flags) as server:
        assert server.call("/props")[1]["chat_template"] == template
        long = {"prompt": "x", "n_predict": 900, "ignore_eos": True, "stream": True}
        stream = await asyncio.to_thread(server.send, "/completion", long)
        assert stream.readline()
    stream.close()


def weather() -> dict[str, Any]:
    """Return a request after which a very small model calls a tool: it has seen how."""
    path = PROJECT / "experiments" / "conversation.yaml"
    test = load_experiment(path, environ={}).tests[0]
    return {"messages": list(test.messages), "tools": list(test.tools)}


@pytest.mark.real
@pytest.mark.parametrize(
    "more",
    [
        {},
        weather(),
        {"response_format": {"type": "json_object"}, "verbose": True},
    ],
    ids=["text", "calls", "json"],
)
async def test_the_real_server_streams_what_it_says_at_once(
    smollm2_path: Path, tmp_path: Path, more: dict[str, Any]
) -> None:
    """At temperature 0 the message is the same, and its tokens have their times."""
    body = {"messages": [{"role": "user", "content": "What is the weather in Paris?"}]} | more
    body |= {"max_tokens": 40, "temperature": 0, "cache_prompt": False}
    template = PROJECT / "experiments" / "templates" / "tools.jinja"
    flags = ("-np", "1", "--jinja", "--chat-template-file", str(template))
    async with embedded(smollm2_path, tmp_path, *flags) as server:
        chat = OpenAiChat(base_url=f"{server.url}/v1", api_key="sesame")
        async with contextlib.aclosing(chat):
            whole, streamed = [
                await chat.ask(ChatRequest(body=asked, seed=1, trial=0, test="t", timeout_s=LONG_S))
                for asked in (body, body | {"stream": True})
            ]
    assert isinstance(whole, ChatReply), whole
    assert isinstance(streamed, ChatReply), streamed
    assert difference(whole, streamed) is None
    assert bool(streamed.tool_calls) == ("tools" in more)
    assert streamed.finish_reason == whole.finish_reason
    assert (streamed.prompt_tokens, streamed.completion_tokens) == (
        whole.prompt_tokens,
        whole.completion_tokens,
    )
    timing = streamed.timing
    assert timing.time_to_first_token_s is not None
    assert 0 < timing.time_to_first_token_s < timing.latency_s
    assert timing.token_gap_p50_s is not None
    assert timing.token_gap_max_s is not None
    assert 0 < timing.token_gap_p50_s <= timing.token_gap_max_s < timing.latency_s
    assert streamed.attempts == ()
