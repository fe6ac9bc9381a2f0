"""Servers that a command line starts: the fake one, as a program, with its faults at start."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import select
import signal
import socket
import stat
import sys
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from matrixbench.backends.build import FileHashes
from matrixbench.backends.command import CommandBackend, open_command, prepare
from matrixbench.backends.managed import ManagedSession, RestartPolicy
from matrixbench.backends.registry import LaunchRequest, ModelSource
from matrixbench.errors import ServerError
from matrixbench.records import ChatReply, ChatRequest, Kind, Refusal
from matrixbench.spec.models import Template
from tests.backends.fake_binary import install
from tests.fake_servers import FAKE_SERVER

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from matrixbench.records import Build

LONG_S = 60.0
PLAIN = [sys.executable, str(FAKE_SERVER), "--host", "{{ host }}", "--port", "{{ port }}"]
WHOLE = [
    *PLAIN,
    "--model={{ model }}",
    "--alias={{ alias }}",
    "--ctx-size={{ context * slots }}",
    "--parallel={{ slots }}",
    "--api-key-file={{ api_key_file }}",
    "{% if chat_template %}--chat-template-file{% endif %}",
    "{{ chat_template }}",
    "{% if options.metrics %}--metrics{% endif %}",
    "--cache-type-k={{ options.kv }}",
]


@pytest.fixture
def order(tmp_path: Path) -> LaunchRequest:
    """Return an order for the fake server, all that a command line can say on it."""
    (tmp_path / "model.gguf").write_bytes(b"weights")
    (tmp_path / "launch").mkdir()
    backend = {"kind": "command", "argv": WHOLE, "context": 512, "slots": 2}
    backend |= {"chat_template": True, "api_key": True}
    return LaunchRequest(
        name="launch-1",
        backend=CommandBackend.model_validate(backend),
        options={"kv": "q8_0", "metrics": True},
        model=ModelSource(name="tiny", path=tmp_path / "model.gguf", sha256="f" * 64),
        template=Template(name="native"),
        start_timeout_s=LONG_S,
        folder=tmp_path / "launch",
        here=tmp_path,
    )


def with_backend(order: LaunchRequest, **changes: Any) -> LaunchRequest:
    """Return an order whose backend says something else."""
    return replace(order, backend=order.backend.model_copy(update=changes))


def plain(order: LaunchRequest, *more: str, **changes: Any) -> LaunchRequest:
    """Return an order without a key, options and a context."""
    changes = {"argv": [*PLAIN, *more], "api_key": False, "context": None} | changes
    return replace(with_backend(order, **changes), options={})


@contextlib.asynccontextmanager
async def opened(order: LaunchRequest, mode: str = "", **env: str) -> AsyncIterator[ManagedSession]:
    """Open a session with the fake server in a mode of fault."""
    opener = partial(
        open_command,
        environ=os.environ | {"FAKE_MODE": mode} | env,
        hashes=FileHashes(None),
        policy=RestartPolicy(restart_pauses_s=(0.0, 0.0, 0.0), hung_after_s=LONG_S),
    )
    async with opener(order) as session:
        assert isinstance(session, ManagedSession)
        yield session


def question(seed: int = 1) -> ChatRequest:
    """Return a request."""
    body = {"messages": [{"role": "user", "content": "What is 2 + 2?"}], "max_tokens": 8}
    return ChatRequest(body=body, seed=seed, trial=0, test="t", timeout_s=LONG_S)


def build_of(order: LaunchRequest, **said: str) -> Any:
    """Return the build that an order would run, as far as it is known before it runs."""
    return prepare(order, os.environ, FileHashes(None)).build(said)


async def test_a_server_is_started_asked_and_stopped(order: LaunchRequest) -> None:
    """What the command line asks for arrives; afterwards the process is gone."""
    async with opened(order) as session:
        reply = await session.ask(question())
        info, pid = session.info, session.pid
    assert isinstance(reply, ChatReply)
    assert (info.effective["n_ctx"], info.effective["total_slots"]) == (512, 2)
    assert info.effective["model"]["id"] == "tiny"
    assert info.concurrency == 2
    assert info.build.version == "b9626-fa4e5e7"
    assert {"--metrics", "--cache-type-k=q8_0"} <= set(info.command)
    assert not any("chat-template" in argument for argument in info.command)
    assert pid is not None
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_a_program_that_was_rebuilt_meanwhile_does_not_come_back(
    order: LaunchRequest, tmp_path: Path
) -> None:
    """What is there by now is another build than the launch's trials belong to."""
    binary = install(tmp_path / "bin")
    asked = plain(order, argv=[str(binary), *PLAIN[2:]])
    async with opened(asked) as session:
        assert session.pid is not None
        os.kill(session.pid, signal.SIGKILL)
        assert isinstance(await session.ask(question()), Refusal)
        install(tmp_path / "bin", f"# rebuilt\nexec '{sys.executable}' '{FAKE_SERVER}' \"$@\"")
        with pytest.raises(ServerError, match="files have changed since the launch began"):
            await session.ensure_alive()
        assert session.pid is None


async def test_a_template_s_text_goes_as_a_file(order: LaunchRequest) -> None:
    """The server reads the text that the experiment named."""
    text = "{{ messages[0].content }}"
    async with opened(replace(order, template=Template(name="t", text=text))) as session:
        position = session.info.command.index("--chat-template-file")
        file = session.info.command[position + 1]
    assert [text] == [one.read_text() for one in order.folder.iterdir() if str(one) == file]


async def test_a_template_s_name_goes_as_it_is(order: LaunchRequest) -> None:
    """A server that knows templates by name gets the name."""
    named = plain(order, "{% if chat_template %}--chat-template={{ chat_template }}{% endif %}")
    async with opened(replace(named, template=Template(name="c", known_as="chatml"))) as session:
        assert "--chat-template=chatml" in session.info.command


async def test_the_key_is_asked_for_and_stands_nowhere(order: LaunchRequest) -> None:
    """Its file is gone once the server is ready, and no argument holds it."""
    async with opened(order, FAKE_LOG=str(order.folder / "asked")) as session:
        assert isinstance(await session.ask(question()), ChatReply)
        assert not list(order.folder.glob("*.key"))
        named = next(text for text in session.info.command if text.startswith("--api-key-file="))
    assert named.startswith(f"--api-key-file={order.folder}")


async def test_a_shell_s_signs_mean_nothing(order: LaunchRequest) -> None:
    """Each element is one argument, whatever it holds."""
    text = "a b;$(touch x)`id`*"
    async with opened(plain(order, "--alias", text)) as session:
        assert session.info.effective["model"]["id"] == text


async def test_faithful_is_one_request_at_a_time(order: LaunchRequest) -> None:
    """The command line is told, and gets one slot."""
    asked = plain(order, "--parallel={{ slots }}", "{% if faithful %}--no-cache-prompt{% endif %}")
    async with opened(replace(asked, faithful=True)) as session:
        assert session.info.concurrency == 1
        assert session.info.effective["total_slots"] == 1
        assert session.info.command[-1] == "--no-cache-prompt"


async def test_settings_from_the_environment_do_not_reach_the_server(
    order: LaunchRequest, tmp_path: Path
) -> None:
    """What other servers read as settings is left out; `env` is given, and so are hub tokens."""
    shown = tmp_path / "environ"
    script = tmp_path / "server"
    script.write_text(f"#!/bin/sh\nenv > '{shown}'\nexit 3\n")
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    asked = plain(order, argv=[str(script), "{{ port }}"], env={"VLLM_B": "2"})
    asked = replace(asked, model=ModelSource(name="m", id="org/m"))
    environ = {"VLLM_A": "1", "SGLANG_X": "1", "LLAMA_ARG_X": "1", "HF_TOKEN": "hub"}
    with pytest.raises(ServerError, match="died at start: exit code 3"):
        async with opened(asked, **environ):
            raise AssertionError
    seen = dict(line.partition("=")[::2] for line in shown.read_text().splitlines())
    assert not {"VLLM_A", "SGLANG_X", "LLAMA_ARG_X"} & seen.keys()
    assert (seen["VLLM_B"], seen["HF_TOKEN"]) == ("2", "hub")


async def test_a_program_that_is_not_there_is_named(order: LaunchRequest) -> None:
    """A bare name is looked for on PATH, a path as it is."""
    for name, what in (("no-such-server", "no program «no-such-server»"), ("/no/such", "no such")):
        with pytest.raises(ServerError, match=what):
            async with opened(plain(order, argv=[name, "{{ port }}"])):
                raise AssertionError


async def test_an_option_that_only_some_launches_have_is_named(order: LaunchRequest) -> None:
    """The element's number and the option stand in the message."""
    with pytest.raises(ServerError, match=r"argv\[14\].*kv"):
        async with opened(replace(order, options={"metrics": False})):
            raise AssertionError


async def test_a_slow_start_is_waited_for(order: LaunchRequest) -> None:
    """Before it binds and while it answers 503, the server is not ready."""
    async with opened(order, "slow_start:0.3,loading:3") as session:
        assert isinstance(await session.ask(question()), ChatReply)


async def test_a_start_that_takes_too_long_ends_with_the_log(order: LaunchRequest) -> None:
    """`ready.timeout_s` of the backend goes before the file's; nothing is left."""
    hurried = plain(order)
    ready = hurried.backend.ready.model_copy(update={"timeout_s": 0.2})
    with pytest.raises(ServerError, match=r"not ready after 0\.2 s"):
        async with opened(with_backend(hurried, ready=ready), "slow_start:60"):
            raise AssertionError


async def test_a_server_that_dies_at_start_shows_its_log(order: LaunchRequest) -> None:
    """The exit code, the command line and the last lines."""
    with pytest.raises(ServerError, match="exit code 3") as caught:
        async with opened(order, "exit_at_start:3"):
            raise AssertionError
    assert "the roof is on fire" in caught.value.hint
    assert "--alias=tiny" in caught.value.hint


async def test_a_taken_port_is_changed_for_another(order: LaunchRequest) -> None:
    """Who loses the race for a port starts again on the next; a few times, then it is an error."""
    with pytest.raises(ServerError, match="died at start"):
        async with opened(order, "port_taken"):
            raise AssertionError
    log = (order.folder / "launch-1.log").read_text(encoding="utf-8")
    ports = [line.rpartition(" ")[2] for line in log.splitlines() if "couldn't bind" in line]
    assert len(ports) == len(set(ports)) == 4


async def test_another_server_on_the_port_is_not_taken_for_ours(
    order: LaunchRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first port that is tried has a listener already; the second serves."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        ports = [taken.getsockname()[1]]
        real = __import__("matrixbench.backends.managed", fromlist=["free_port"]).free_port
        monkeypatch.setattr(
            "matrixbench.backends.managed.free_port",
            lambda host: ports.pop() if ports else real(host),
        )
        async with opened(order) as session:
            assert isinstance(await session.ask(question()), ChatReply)


async def test_a_server_that_ignores_sigterm_is_killed(order: LaunchRequest) -> None:
    """The forced stop comes after the grace."""
    async with opened(order, "ignore_sigterm") as session:
        pid = session.pid
    assert pid is not None
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_a_worker_does_not_outlive_its_server(order: LaunchRequest, tmp_path: Path) -> None:
    """The whole group is ended, also where its leader went first."""
    pidfile = tmp_path / "worker"
    async with opened(order, "fork_worker", FAKE_PIDFILE=str(pidfile)):
        worker = os.pidfd_open(int(pidfile.read_text(encoding="utf-8")))
    try:
        assert select.select([worker], [], [], LONG_S)[0]
    finally:
        os.close(worker)


async def test_what_is_asked_during_a_restart_waits_for_it(order: LaunchRequest) -> None:
    """Whoever asks then is answered by the server that comes back."""
    async with opened(order) as session:
        assert session.pid is not None
        os.kill(session.pid, signal.SIGKILL)
        reviving = asyncio.create_task(session.ensure_alive())
        await asyncio.sleep(0)
        answers = await asyncio.gather(*(session.ask(question()) for _ in range(4)))
        assert await reviving
    assert [type(answer) for answer in answers] == [ChatReply] * 4


async def test_a_dead_server_is_started_again_and_given_up_at_last(order: LaunchRequest) -> None:
    """Its restarts are counted; after the last one the log's tail is shown."""
    async with opened(order, "die_after:0") as session:
        for _ in range(3):
            refusal = await session.ask(question())
            assert isinstance(refusal, Refusal)
            assert refusal.kind is Kind.NO_CONNECTION
            assert await session.ensure_alive()
        await session.ask(question())
        with pytest.raises(ServerError, match="after 3 restarts") as caught:
            await session.ensure_alive()
    assert "GGML_ASSERT" in caught.value.hint


async def test_a_server_that_lives_is_left_alone(order: LaunchRequest) -> None:
    """There is nothing to do where it answers."""
    async with opened(order) as session:
        pid = session.pid
        assert not await session.ensure_alive()
        assert session.pid == pid


@pytest.mark.parametrize(
    ("mode", "message"),
    [("n_ctx:256", "512 tokens was asked for, the server has 256"), ("slots:7", "server has 7")],
)
async def test_a_server_that_does_not_do_what_was_asked_is_stopped(
    order: LaunchRequest, mode: str, message: str
) -> None:
    """Both values are said."""
    with pytest.raises(ServerError, match=message):
        async with opened(order, mode):
            raise AssertionError


def test_the_build_is_the_program_its_packages_and_its_files(
    order: LaunchRequest, tmp_path: Path
) -> None:
    """An edited script or configuration, or another model, is another build; a port is not."""
    script = tmp_path / "serve.py"
    script.write_text("a")
    asked = plain(order, argv=[sys.executable, "{{ here }}/serve.py", "{{ port }}", "{{ model }}"])
    first = build_of(asked)
    assert build_of(asked) == first
    assert first.details["python_packages"] > 0
    assert first.details["files"] == 1
    script.write_text("b")
    other = build_of(asked)
    model = replace(order.model, sha256="0" * 64)
    assert len({first.id, other.id, build_of(replace(asked, model=model)).id}) == 3
    assert program_of(first) != program_of(other)


def program_of(build: Build) -> str:
    """Return what a build says of its program, without the server's own words."""
    return str(json.loads(build.server)["program"])


def test_a_script_is_found_from_the_present_folder_too(
    order: LaunchRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An edited one is another build; a file that the server may write to is not looked at."""
    monkeypatch.chdir(tmp_path)
    script, log = tmp_path / "serve.py", tmp_path / "server.log"
    script.write_text("a")
    log.write_text("a")
    asked = plain(order, argv=[sys.executable, "serve.py", "--log=server.log", "{{ port }}"])
    first = build_of(asked)
    log.write_text("b")
    assert build_of(asked) == first
    script.write_text("b")
    assert program_of(build_of(asked)) != program_of(first)


def test_files_of_options_are_part_of_the_build(order: LaunchRequest, tmp_path: Path) -> None:
    """Of `{file: …}` the path reaches the command line, and the content counts, once."""
    (tmp_path / "adapter").write_text("one")
    asked = replace(
        plain(order, "--lora=x={{ options.lora }}", "{{ options.lora }}"),
        options={"lora": {"file": "./adapter"}},
    )
    recipe = prepare(asked, os.environ, FileHashes(None))
    path = str(tmp_path / "adapter")
    assert recipe.command(1, tmp_path / "key").argv[-2:] == (f"--lora=x={path}", path)
    first = recipe.build({})
    assert first.details["files"] == build_of(plain(order)).details["files"]
    assert list(first.details["option_files"]) == ["lora ./adapter"]
    (tmp_path / "adapter").write_text("two")
    second = build_of(asked)
    assert second.id != first.id
    assert second.details["program"] == first.details["program"]
    (tmp_path / "adapter").unlink()
    with pytest.raises(ServerError, match="option lora: there is no file"):
        build_of(asked)


def test_what_the_server_says_is_part_of_the_build(order: LaunchRequest) -> None:
    """A new version behind the same program is another build, though the program is the same."""
    first, second = build_of(order, version="1"), build_of(order, version="2")
    assert first.id != second.id
    assert (second.version, json.loads(second.server)["version"]) == ("2", "2")
    assert program_of(first) == program_of(second)


def test_packages_of_a_script_s_interpreter_count(order: LaunchRequest, tmp_path: Path) -> None:
    """An upgrade beside an unchanged entry point is another build."""
    venv = tmp_path / "venv"
    packages = venv / "lib" / "python3.12" / "site-packages"
    (packages / "torch-2.9.0.dist-info").mkdir(parents=True)
    (venv / "bin").mkdir()
    for name, text in (("python3", "#!/bin/sh\n"), ("vllm", f"#!{venv}/bin/python3\nmain()\n")):
        (venv / "bin" / name).write_text(text)
        (venv / "bin" / name).chmod(0o755)
    asked = plain(order, argv=[str(venv / "bin" / "vllm"), "{{ port }}"])
    before = build_of(asked)
    assert before.details["python_packages"] == 1
    (packages / "torch-2.9.0.dist-info").rename(packages / "torch-2.9.1.dist-info")
    assert build_of(asked).id != before.id
