"""Ollama for one launch: its tags, its life, and what it is held to. The program is a stand-in."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from matrixbench.backends.build import FileHashes
from matrixbench.backends.http.requests import RetryPolicy
from matrixbench.backends.managed import RestartPolicy
from matrixbench.backends.ollama.backend import OllamaBackend, OllamaSession, open_ollama
from matrixbench.backends.ollama.model import (
    NAMESPACE,
    Owner,
    full_name,
    manifest_path,
    throw_away_tag,
)
from matrixbench.backends.ollama.server import present_build
from matrixbench.backends.process import free_port
from matrixbench.backends.registry import LaunchRequest, ModelSource
from matrixbench.errors import ServerError
from matrixbench.execution.settings import Mode, settings_for
from matrixbench.gated import execute
from matrixbench.records import ChatReply, ChatRequest, Kind, Outcome, Refusal
from matrixbench.spec.load import load_experiment
from matrixbench.spec.models import Template

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from tests.conftest import Write

PROGRAM = Path(__file__).parents[2] / "fake_ollama.py"
PROJECT = PROGRAM.parents[1]
LONG_S = 60.0
WEIGHTS = b"GGUF weights"
TOOLS = "{{ range .Tools }}{{ . }}{{ end }}{{ range .Messages }}{{ .Content }}{{ end }}"
NATIVE = Template(name="native")


@pytest.fixture
def order(tmp_path: Path) -> LaunchRequest:
    """Return an order for the stand-in, with a model file that it does not look into."""
    (tmp_path / "model.gguf").write_bytes(WEIGHTS)
    (tmp_path / "launch").mkdir()
    binary = tmp_path / "bin" / "ollama"
    binary.parent.mkdir()
    binary.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{PROGRAM}" "$@"\n')
    binary.chmod(0o755)
    return LaunchRequest(
        name="launch-1",
        backend=OllamaBackend(
            kind="ollama", binary=str(binary), context=512, models_dir=str(models_of(tmp_path))
        ),
        model=ModelSource(
            name="tiny", path=tmp_path / "model.gguf", sha256=sha256(WEIGHTS).hexdigest()
        ),
        template=NATIVE,
        start_timeout_s=LONG_S,
        folder=tmp_path / "launch",
    )


def models_of(folder: Path) -> Path:
    """Return the models' folder of a test."""
    return folder / "models"


def with_backend(order: LaunchRequest, **changes: Any) -> LaunchRequest:
    """Return an order whose backend says something else."""
    return replace(order, backend=order.backend.model_copy(update=changes))


def with_tag(order: LaunchRequest, tag: str) -> LaunchRequest:
    """Return an order whose model is a tag."""
    return replace(order, model=ModelSource(name="tiny", id=tag))


def opener(mode: str = "", **env: str) -> Any:
    """Return an opener whose servers run in a mode of fault, and which waits for nothing."""
    return partial(
        open_ollama,
        environ=os.environ | {"FAKE_MODE": mode} | env,
        hashes=FileHashes(None),
        policy=RestartPolicy(restart_pauses_s=(0.0, 0.0, 0.0)),
        retries=RetryPolicy(base_s=0.0),
    )


@contextlib.asynccontextmanager
async def opened(order: LaunchRequest, mode: str = "", **env: str) -> AsyncIterator[OllamaSession]:
    """Open a session with the stand-in."""
    async with opener(mode, **env)(order) as session:
        assert isinstance(session, OllamaSession)
        yield session


async def refusal_to_open(order: LaunchRequest, mode: str = "", **env: str) -> ServerError:
    """Return the error with which a launch is refused."""
    with pytest.raises(ServerError) as caught:
        async with opened(order, mode, **env):
            pass
    return caught.value


def question(seed: int = 1, **fields: Any) -> ChatRequest:
    """Return a request."""
    body = {"messages": [{"role": "user", "content": "What is 2 + 2?"}], "max_tokens": 8, **fields}
    return ChatRequest(body=body, seed=seed, trial=0, test="t", timeout_s=LONG_S)


def tags_on_disk(folder: Path) -> list[str]:
    """Return the manifests that are left in a models' folder."""
    root = models_of(folder) / "manifests"
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def blobs_on_disk(folder: Path) -> list[Path]:
    """Return the blobs that are left in a models' folder."""
    return sorted((models_of(folder) / "blobs").glob("*"))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """Run a stand-in that is somebody else's, and return its url."""
    port = free_port()
    env = os.environ | {
        "OLLAMA_HOST": f"127.0.0.1:{port}",
        "OLLAMA_MODELS": str(models_of(tmp_path)),
        "FAKE_LIBRARY": "small:1b",
        "FAKE_MODE": "other_name",
        "FAKE_VERSION": str(tmp_path / "version"),
    }
    argv = [sys.executable, str(PROGRAM), "serve"]
    with subprocess.Popen(argv, env=env, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert "Listening" in process.stderr.readline()
        yield f"http://127.0.0.1:{port}"
        process.terminate()


async def test_a_file_answers_through_a_throw_away_tag(
    order: LaunchRequest, tmp_path: Path
) -> None:
    """While the session is open there is one tag of ours; afterwards neither it nor its blobs."""
    async with opened(order) as session:
        answer = await session.ask(question())
        assert isinstance(answer, ChatReply)
        during = tags_on_disk(tmp_path)
    assert len(during) == 1
    assert f"/{NAMESPACE}" in during[0]
    assert tags_on_disk(tmp_path) == []
    assert blobs_on_disk(tmp_path) == []


async def test_what_is_sent(order: LaunchRequest, tmp_path: Path) -> None:
    """Context, load options and seed go with each request; truncate and shift are turned off."""
    log = tmp_path / "chats"
    asked = replace(order, options={"num_gpu": 0, "kv-cache-type": "q8_0"})
    async with opened(asked, FAKE_LOG=str(log)) as session:
        await session.ask(question(7, top_k=3, stop="x"))
    sent = json.loads(log.read_text())
    assert sent["options"] == {
        "num_ctx": 512,
        "num_gpu": 0,
        "seed": 7,
        "top_k": 3,
        "num_predict": 8,
        "stop": ["x"],
    }
    assert (sent["truncate"], sent["shift"], sent["stream"]) == (False, False, False)
    assert sent["keep_alive"] == -1


@pytest.mark.parametrize("think", [None, "two and two"])
async def test_a_stream_says_what_a_whole_reply_says(
    order: LaunchRequest, tmp_path: Path, think: str | None
) -> None:
    """Text, thoughts, calls, figures and the end; its first token is timed."""
    log = tmp_path / "chats"
    call = {"function": {"name": "add", "arguments": {"a": 2, "b": 2}}}
    message = {"content": "Let me add.", "tool_calls": [call, call]}
    message |= {} if think is None else {"thinking": think}
    env = {"FAKE_LOG": str(log), "FAKE_REPLY": json.dumps(message)}
    async with opened(order, **env) as session:
        whole = await session.ask(question())
        streamed = await session.ask(question(stream=True))
    assert isinstance(whole, ChatReply)
    assert isinstance(streamed, ChatReply)
    sent = [json.loads(line) for line in log.read_text().splitlines()]
    assert [(one["stream"], "stream_options" in one) for one in sent] == [
        (False, False),
        (True, False),
    ]
    assert streamed.message == whole.message
    assert (streamed.content, streamed.reasoning) == ("Let me add.", think)
    assert streamed.tool_calls == whole.tool_calls
    assert (streamed.finish_reason, streamed.completion_tokens) == ("tool_calls", 16)
    first_s = streamed.timing.time_to_first_token_s
    assert first_s is not None
    assert 0 < first_s <= streamed.timing.latency_s


async def test_an_error_in_ollama_s_stream_is_the_answer(order: LaunchRequest) -> None:
    """It comes as a line of a 200, after what was said so far."""
    async with opened(order, "parser_500") as session:
        refusal = await session.ask(question(stream=True))
    assert isinstance(refusal, Refusal)
    assert (refusal.outcome, refusal.kind) == (Outcome.REJECTED, Kind.UNPARSED_OUTPUT)


async def test_a_streamed_reply_that_repeats_itself_was_cut_off(order: LaunchRequest) -> None:
    """Ollama gives it up without a last line; so does it without a stream."""
    async with opened(order, "repeats") as session:
        replies = [await session.ask(question(**more)) for more in ({}, {"stream": True})]
    assert all(isinstance(reply, ChatReply) for reply in replies)
    assert [getattr(reply, "finish_reason", "") for reply in replies] == ["length", "length"]


async def test_what_is_known_of_the_launch(order: LaunchRequest) -> None:
    """The record says the version, the template's source, the context and how the runner runs."""
    asked = replace(order, options={"kv-cache-type": "q8_0", "flash-attention": "on"})
    async with opened(asked) as session:
        info = session.info
    assert info.command[-1] == "serve"
    assert info.concurrency == 1
    assert info.effective["version"] == info.build.version == "0.33.0-fake"
    assert info.effective["template_source"] == "go_template"
    assert info.effective["context_length"] == 512
    assert info.effective["runner"] == {
        "ctx_size": "512",
        "slots": "1",
        "cache_type_k": "q8_0",
        "flash_attn": "on",
        "num_batch": "512",
    }


async def test_the_build_is_known_before_the_start(order: LaunchRequest, tmp_path: Path) -> None:
    """What `plan` reads off the files is the build that runs, for a file and for a tag."""
    backend = order.backend
    assert isinstance(backend, OllamaBackend)
    binary = str(backend.binary)

    def present(model: ModelSource) -> str:
        return present_build(backend, binary, model, environ=os.environ, hashes=FileHashes(None)).id

    async with opened(order) as session:
        assert session.info.build.id == present(order.model)
    tagged = with_tag(order, "small:1b")
    with pytest.raises(ServerError, match="not on this machine"):
        present(tagged.model)
    async with opened(tagged, FAKE_LIBRARY="small:1b") as session:
        assert session.info.build.id == present(tagged.model)
    assert tags_on_disk(tmp_path) == ["registry.example/library/small/1b"]


async def test_files_of_options_are_part_of_the_build(order: LaunchRequest, tmp_path: Path) -> None:
    """Of `{file: …}` the server gets the path, and the content counts."""
    (tmp_path / "library").write_text("one")
    asked = replace(order, here=tmp_path, options={"llm-library": {"file": "./library"}})
    builds = []
    for text in ("one", "two"):
        (tmp_path / "library").write_text(text)
        async with opened(asked) as session:
            builds.append(session.info.build)
    assert len({build.id for build in builds}) == 2
    assert list(builds[0].details["option_files"]) == ["llm-library ./library"]
    backend = order.backend
    assert isinstance(backend, OllamaBackend)
    content = {"llm-library ./library": sha256(b"two").hexdigest()}
    present = present_build(
        backend,
        str(backend.binary),
        order.model,
        environ=os.environ,
        hashes=FileHashes(None),
        contents=content,
    )
    assert present.id == builds[1].id


async def test_a_template_goes_into_a_throw_away_tag(order: LaunchRequest, tmp_path: Path) -> None:
    """A tag with a template of ours can call tools, and the tag that it is made from stays."""
    template = Template(name="tools", ollama_text=TOOLS)
    asked = replace(with_tag(order, "small:1b"), template=template)
    reply = {"tool_calls": [{"function": {"index": 0, "name": "f", "arguments": {"x": "é"}}}]}
    tools = [{"type": "function", "function": {"name": "f", "parameters": {}}}]
    env = {"FAKE_LIBRARY": "small:1b", "FAKE_REPLY": json.dumps(reply)}
    async with opened(asked, "no_ids", **env) as session:
        answer = await session.ask(question(tools=tools))
        assert isinstance(answer, ChatReply)
        assert [(call.name, call.arguments, call.id) for call in answer.tool_calls] == [
            ("f", '{"x":"é"}', None)
        ]
        assert session.info.effective["capabilities"] == ["completion", "tools"]
    assert tags_on_disk(tmp_path) == ["registry.example/library/small/1b"]


async def test_a_bad_template_refuses_the_launch(order: LaunchRequest, tmp_path: Path) -> None:
    """What Ollama says of a template stands in the error, and nothing is left."""
    bad = replace(order, template=Template(name="bad", ollama_text="{{ if }}"))
    assert "missing value for if" in (await refusal_to_open(bad)).message
    assert tags_on_disk(tmp_path) == []
    assert blobs_on_disk(tmp_path) == []


@pytest.mark.parametrize(
    ("mode", "winner"), [("renderer:qwen3", "renderer"), ("gguf_wins", "gguf template")]
)
async def test_a_template_that_is_passed_over_refuses_the_launch(
    order: LaunchRequest, mode: str, winner: str
) -> None:
    """A renderer, or the template in the file, wins silently over the one that was asked for."""
    template = Template(name="tools", ollama_text=TOOLS)
    asked = replace(with_tag(order, "small:1b"), template=template)
    error = await refusal_to_open(asked, mode, FAKE_LIBRARY="small:1b")
    assert f"tools was asked for, Ollama uses the model's {winner}" in error.message


@pytest.mark.parametrize("mode", ["", "other_name"])
async def test_a_smaller_context_refuses_the_launch(order: LaunchRequest, mode: str) -> None:
    """A model trained for less caps the context silently; both values are told."""
    error = await refusal_to_open(order, f"trained:256,{mode}")
    assert "512 tokens was asked for, Ollama gives the model 256" in error.message


async def test_fewer_slots_refuse_the_launch(order: LaunchRequest) -> None:
    """Some models run with one slot, whatever is asked for; both values are told."""
    error = await refusal_to_open(with_backend(order, slots=4), "one_slot")
    assert "slots 4 was asked for, Ollama runs the model with 1" in error.message
    assert "slots: 1" in error.hint


async def test_a_missing_tag_is_pulled(order: LaunchRequest) -> None:
    """Progress is told in bytes, and sizes that are not known are None."""
    told: list[tuple[str, int, int | None]] = []
    asked = replace(with_tag(order, "small:1b"), report=lambda *what: told.append(what))
    async with opened(asked, FAKE_LIBRARY="small:1b"):
        pass
    assert told[0] == ("small:1b: pulling manifest", 0, None)
    assert [(done, total) for _, done, total in told[1:4]] == [(0, 100), (40, 100), (100, 100)]
    assert told[-1][0] == "small:1b: success"


async def test_what_cannot_be_pulled_refuses_the_launch(order: LaunchRequest) -> None:
    """An error inside the stream of a 200 is one; with `pull: never` nothing is asked for."""
    asked = with_tag(order, "nowhere")
    assert "no such host" in (await refusal_to_open(asked)).message
    never = await refusal_to_open(with_backend(asked, pull="never"))
    assert "does not have the model nowhere" in never.message
    assert "ollama pull nowhere" in never.hint


async def test_what_a_killed_process_left_is_removed(order: LaunchRequest, tmp_path: Path) -> None:
    """Tags of processes that are gone go at the next start; those of living ones stay."""
    here = Owner.this()
    gone = throw_away_tag("a" * 24, replace(here, started=here.started + 1))
    kept = [throw_away_tag("b" * 24, here), throw_away_tag("c" * 24, replace(here, host="other"))]
    for tag in (gone, *kept):
        name, _, version = full_name(tag).rpartition(":")
        path = models_of(tmp_path) / "manifests" / "registry.example" / name / version
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps({"layer": "sha256:0", "template": ""}))
    async with opened(order):
        pass
    left = [manifest_path(models_of(tmp_path), tag).is_file() for tag in (gone, *kept)]
    assert left == [False, True, True]


async def test_a_cancelled_launch_leaves_nothing(order: LaunchRequest, tmp_path: Path) -> None:
    """Ctrl-C while the session is open ends the server only after the tag is gone."""
    ready = asyncio.Event()

    async def launch() -> None:
        async with opened(order):
            ready.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(launch())
    await ready.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert tags_on_disk(tmp_path) == []


async def test_a_dead_runner_is_a_dead_server(order: LaunchRequest) -> None:
    """Ollama outlives its runner; the trial is lost like one whose server died, and is asked again.

    The error repeats an old line of the log, which speaks of a context overflow.
    """
    async with opened(order, "runner_dies_once") as session:
        lost = await session.ask(question())
        assert isinstance(lost, Refusal)
        assert (lost.outcome, lost.kind) == (Outcome.ERRORED, Kind.NO_CONNECTION)
        assert await session.ensure_alive()
        assert not await session.ensure_alive()
        assert isinstance(await session.ask(question()), ChatReply)


async def test_what_is_asked_while_the_server_is_brought_back_waits_for_it(
    order: LaunchRequest,
) -> None:
    """It is no verdict on anything that a restart is under way."""
    async with opened(order, "server_dies_on:13") as session:
        assert isinstance(await session.ask(question(13)), Refusal)
        reviving = asyncio.create_task(session.ensure_alive())
        await asyncio.sleep(0)
        answers = await asyncio.gather(*(session.ask(question(seed)) for seed in range(1, 5)))
        assert await reviving
    assert [type(answer) for answer in answers] == [ChatReply] * 4


async def test_a_dead_server_is_started_again(order: LaunchRequest, tmp_path: Path) -> None:
    """Until it died more often than it may; even then none of our tags is left."""
    async with opened(order, "server_dies_on:13") as session:
        for _ in range(3):
            lost = await session.ask(question(13))
            assert isinstance(lost, Refusal)
            assert lost.kind is Kind.NO_CONNECTION
            assert await session.ensure_alive()
            assert isinstance(await session.ask(question()), ChatReply)
        await session.ask(question(13))
        with pytest.raises(ServerError, match="after 3 restarts"):
            await session.ensure_alive()
    assert tags_on_disk(tmp_path) == []
    assert blobs_on_disk(tmp_path) == []


async def test_a_taken_port_is_another_try(order: LaunchRequest, tmp_path: Path) -> None:
    """A server that cannot bind its port is started on another one."""
    state = tmp_path / "starts"
    async with opened(order, "port_taken:2", FAKE_STATE=str(state)) as session:
        assert isinstance(await session.ask(question()), ChatReply)
    assert state.read_text() == "xxx"


async def test_a_server_that_dies_at_start_shows_its_log(order: LaunchRequest) -> None:
    """The command line and the log's tail stand in the hint."""
    error = await refusal_to_open(order, "exit_at_start")
    assert "died at start: exit code 1" in error.message
    assert "could not read the models' folder" in error.hint


async def test_no_binary(order: LaunchRequest) -> None:
    """Without `binary:` and without `ollama` on PATH the way out is told."""
    error = await refusal_to_open(with_backend(order, binary=None), PATH="/nowhere")
    assert "PATH has no `ollama`" in error.message


async def test_a_busy_server_is_asked_again(order: LaunchRequest) -> None:
    """503 passes; the reply that comes then counts."""
    async with opened(order, "busy:2") as session:
        assert isinstance(await session.ask(question()), ChatReply)


async def test_a_long_prompt_is_rejected(order: LaunchRequest) -> None:
    """Ollama would cut it and answer 200; it is told not to, and says so."""
    long = [{"role": "user", "content": "word " * 600}]
    async with opened(order) as session:
        refused = await session.ask(question(messages=long))
    assert isinstance(refused, Refusal)
    assert (refused.outcome, refused.kind) == (Outcome.REJECTED, Kind.CONTEXT_OVERFLOW)
    assert refused.by_request


async def test_tools_that_the_template_lacks_are_rejected(order: LaunchRequest) -> None:
    """The reason names the model as the file does, not its throw-away tag."""
    async with opened(order) as session:
        refused = await session.ask(question(tools=[{"type": "function", "function": {}}]))
    assert isinstance(refused, Refusal)
    assert refused.kind is Kind.TEMPLATE_ERROR
    assert refused.reason == "HTTP 400: tiny does not support tools"


async def test_an_attached_server_that_was_replaced_is_another_build(
    order: LaunchRequest, server: str, tmp_path: Path
) -> None:
    """It counts as died, so that the launch sees that its build is gone."""
    asked = with_backend(with_tag(order, "small:1b"), binary=None, models_dir=None, url=server)
    async with opened(asked) as session:
        before = session.info.build
        assert not await session.ensure_alive()
        replace_version(tmp_path)
        assert await session.ensure_alive()
        assert session.info.build.id != before.id
        assert session.info.build.version == "0.34.0-fake"
        assert not await session.ensure_alive()


def replace_version(folder: Path) -> None:
    """Let the stand-in be another version from now on."""
    (folder / "version").write_text("0.34.0-fake")


async def test_an_attached_server_is_left_as_it_was(
    order: LaunchRequest, server: str, tmp_path: Path
) -> None:
    """It answers, its build is its url and version, and afterwards it runs and has no tag more."""
    asked = with_backend(with_tag(order, "small:1b"), binary=None, models_dir=None, url=server)
    template = Template(name="tools", ollama_text=TOOLS)
    async with opened(replace(asked, template=template)) as session:
        assert isinstance(await session.ask(question()), ChatReply)
        info = session.info
    assert json.loads(info.build.server) == {"url": server, "version": "0.33.0-fake"}
    assert info.command == ()
    assert info.log is None
    assert info.effective["context_length"] == 512
    async with opened(asked) as session:
        assert not await session.ensure_alive()
    ours = [tag for tag in tags_on_disk(tmp_path) if NAMESPACE in tag]
    assert ours == []


async def test_an_attached_server_that_is_not_there(order: LaunchRequest) -> None:
    """The error names the url without the password that it holds."""
    url = f"http://me:secret@127.0.0.1:{free_port()}"
    error = await refusal_to_open(with_backend(order, url=url))
    assert "no Ollama answers" in error.message
    assert "secret" not in str(error)


def test_sigkill_of_matrixbench_leaves_no_server(order: LaunchRequest, tmp_path: Path) -> None:
    """The server goes with its guardian; its tag goes at the next start."""
    backend = order.backend.model_dump_json(exclude_defaults=False)
    script = f"""
import asyncio, os, sys
from pathlib import Path
from matrixbench.backends.build import FileHashes
from matrixbench.backends.ollama.backend import open_ollama
from matrixbench.backends.registry import LaunchRequest, ModelSource
from matrixbench.backends.ollama.backend import OllamaBackend
from matrixbench.spec.models import Template

async def main():
    order = LaunchRequest(
        name="launch-1", backend=OllamaBackend.model_validate_json({backend!r}),
        model=ModelSource(name="tiny", path=Path({str(order.model.path)!r}),
                          sha256={order.model.sha256!r}),
        template=Template(name="native"), folder=Path({str(order.folder)!r}))
    async with open_ollama(order, os.environ, FileHashes(None)):
        print("open", flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""
    argv = [sys.executable, "-c", script]
    with subprocess.Popen(argv, cwd=PROJECT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        process.send_signal(signal.SIGKILL)
    assert len(tags_on_disk(tmp_path)) == 1

    async def next_start() -> None:
        async with opened(order):
            pass

    asyncio.run(next_start())
    assert tags_on_disk(tmp_path) == []


async def test_a_run_is_continued(order: LaunchRequest, write: Write, tmp_path: Path) -> None:
    """What is done under this build is known before the server starts, and is not done again."""
    backend = order.backend
    assert isinstance(backend, OllamaBackend)
    path = write(
        f"""
        name: demo
        trials: 3
        backends:
          o: {{kind: ollama, binary: '{backend.binary}', models_dir: '{backend.models_dir}'}}
        models: {{a: {{ollama: "small:1b"}}}}
        sampling: {{temperature: 0.7}}
        tests:
          - name: hi
            messages: [{{role: user, content: hi}}]
            expect: [{{content: {{matches: "[a-z]"}}}}]
        """
    )
    environ = os.environ | {"FAKE_LIBRARY": "small:1b", "HOME": str(tmp_path)}
    environ |= {"MATRIXBENCH_CACHE": str(tmp_path / "cache")}
    experiment = load_experiment(path, environ=environ)
    settings = settings_for(experiment, environ)
    assert (await execute(experiment, settings)).outcomes == {Outcome.PASSED: 3}
    more = await execute(experiment, settings, mode=Mode.RESUME, trials=5)
    assert more.ran == 2


async def test_the_prompt_is_shown_without_a_reply(order: LaunchRequest) -> None:
    """The server renders the messages; an old one, which would answer, shows nothing."""
    body = {"messages": [{"role": "user", "content": "hi"}]}
    async with opened(order) as session:
        assert await session.rendered(body) == "<|user|>hi"
    log = order.folder / "asked"
    async with opened(order, "old", FAKE_LOG=str(log)) as session:
        assert await session.rendered(body) is None
    assert json.loads(log.read_text())["options"]["num_predict"] == 1
