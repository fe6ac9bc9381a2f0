"""llama-server for one launch: its command line, its life, and what it is held to."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from textwrap import dedent
from typing import TYPE_CHECKING, Any

import pytest

import matrixbench
from matrixbench.backends.build import FileHashes
from matrixbench.backends.llama.arguments import check_props, effective, server_arguments
from matrixbench.backends.llama.backend import LlamaServerBackend
from matrixbench.backends.llama.executable import ServerHelp, embedded_help, parse_help
from matrixbench.backends.llama.server import open_llama_server
from matrixbench.backends.managed import ManagedSession, RestartPolicy
from matrixbench.backends.registry import LaunchRequest, ModelSource
from matrixbench.errors import ExitCode, ServerError
from matrixbench.records import ChatReply, ChatRequest, Kind, Refusal
from matrixbench.spec.models import Template
from tests.backends.fake_binary import FAKE_SERVER, install

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

PROJECT = Path(matrixbench.__file__).parents[1]
LONG_S = 60.0
NATIVE = Template(name="native")


@pytest.fixture
def order(tmp_path: Path) -> LaunchRequest:
    """Return an order for the fake server, with a model file that it does not look into."""
    (tmp_path / "model.gguf").write_bytes(b"weights")
    (tmp_path / "launch").mkdir()
    binary = str(install(tmp_path / "bin"))
    return LaunchRequest(
        name="launch-1",
        backend=LlamaServerBackend(kind="llama-server", binary=binary, context=512, slots=2),
        model=ModelSource(name="tiny", path=tmp_path / "model.gguf"),
        template=NATIVE,
        start_timeout_s=LONG_S,
        folder=tmp_path / "launch",
    )


def with_backend(order: LaunchRequest, **changes: Any) -> LaunchRequest:
    """Return an order whose backend says something else."""
    return replace(order, backend=order.backend.model_copy(update=changes))


@contextlib.asynccontextmanager
async def opened(
    order: LaunchRequest, mode: str = "", *, hung_after_s: float = LONG_S, **env: str
) -> AsyncIterator[ManagedSession]:
    """Open a session with the fake server in a mode of fault."""
    opener = partial(
        open_llama_server,
        environ=os.environ | {"FAKE_MODE": mode} | env,
        hashes=FileHashes(None),
        policy=RestartPolicy(restart_pauses_s=(0.0, 0.0, 0.0), hung_after_s=hung_after_s),
    )
    async with opener(order) as session:
        assert isinstance(session, ManagedSession)
        yield session


def question(seed: int = 1) -> ChatRequest:
    """Return a request."""
    body = {"messages": [{"role": "user", "content": "What is 2 + 2?"}], "max_tokens": 8}
    return ChatRequest(body=body, seed=seed, trial=0, test="t", timeout_s=LONG_S)


def flags_of(order: LaunchRequest, known: ServerHelp | None = None) -> tuple[str, ...]:
    """Return the flags of an order, the model's path and the key's file left as they are."""
    return server_arguments(order, port=1234, key_file=Path("key"), known=known or embedded_help())


def test_command_line(order: LaunchRequest) -> None:
    """Jinja first, context and slots written out, the launch's own options last, no seed."""
    options = {"flash-attn": "on", "threads": 2}
    assert flags_of(replace(order, options=options)) == (
        "--jinja",
        *("--model", str(order.model.path), "--alias", "tiny"),
        *("--host", "127.0.0.1", "--port", "1234", "--api-key-file", "key"),
        *("--ctx-size", "1024", "--parallel", "2", "--no-kv-unified", "--fit", "off"),
        *("--verbosity", "4", "--flash-attn", "on", "--threads", "2"),
    )


def test_faithful_command_line(order: LaunchRequest) -> None:
    """A faithful launch has one slot, no prompt cache and no unified KV."""
    flags = " ".join(flags_of(replace(order, faithful=True)))
    assert "--ctx-size 512 --parallel 1 --no-kv-unified" in flags
    assert flags.endswith("--no-cache-prompt --cache-ram 0")


def test_old_builds_get_only_what_they_know(order: LaunchRequest) -> None:
    """A flag that a build's help does not list is not passed to it."""
    old = parse_help("-m,    --model FNAME                    x\n--threads N   y\n")
    flags = flags_of(replace(order, options={"threads": 1}), old)
    assert not {"--jinja", "--fit", "--no-kv-unified"} & set(flags)
    with pytest.raises(ServerError, match="cannot be faithful"):
        flags_of(replace(order, faithful=True), old)


def test_templates_on_the_command_line(order: LaunchRequest) -> None:
    """A known name goes as a name, a text as a file."""
    by_name = flags_of(replace(order, template=Template(name="c", known_as="chatml")))
    assert by_name[-2:] == ("--chat-template", "chatml")
    by_text = flags_of(replace(order, template=Template(name="c", text="{{ x }}")))
    file = str(order.folder / "launch-1.chat-template.jinja")
    assert by_text[-2:] == ("--chat-template-file", file)


def test_an_unknown_template_name_is_refused(order: LaunchRequest) -> None:
    """A name that the server would take for a template's text is refused, with those it knows."""
    with pytest.raises(ServerError, match="no chat template 'nosuch'") as caught:
        flags_of(replace(order, template=Template(name="x", known_as="nosuch")))
    assert "It knows: chatml" in str(caught.value)


HELP = """\
--metrics                               enable metrics
--mmap, --no-mmap                       map
--flash-attn [on|off|auto]              x
--lora FNAME                            (use comma-separated values)
--override-kv KEY=TYPE:VALUE            may be repeated
--chat-template-kwargs STRING           x
--top-n N                               x
--lora-scaled FNAME SCALE               may be repeated
"""


@pytest.mark.parametrize(
    ("option", "value", "flags"),
    [
        ("metrics", True, ("--metrics",)),
        ("metrics", False, ()),
        ("mmap", False, ("--no-mmap",)),
        ("no-mmap", True, ("--no-mmap",)),
        ("no-mmap", False, ("--mmap",)),
        ("mmap", None, ()),
        ("flash-attn", "on", ("--flash-attn", "on")),
        ("flash-attn", True, ("--flash-attn", "on")),
        ("flash-attn", False, ("--flash-attn", "off")),
        ("lora", ["a.gguf", "b.gguf"], ("--lora", "a.gguf,b.gguf")),
        (
            "override-kv",
            ["a=int:1", "b=int:2"],
            ("--override-kv", "a=int:1", "--override-kv", "b=int:2"),
        ),
        ("chat-template-kwargs", {"b": True}, ("--chat-template-kwargs", '{"b":true}')),
        ("lora-scaled", "/a:b.gguf:0.5", ("--lora-scaled", "/a:b.gguf", "0.5")),
        (
            "lora-scaled",
            ["a.gguf:1", "b.gguf:2"],
            ("--lora-scaled", "a.gguf", "1", "--lora-scaled", "b.gguf", "2"),
        ),
        ("top-n", 4, ("--top-n", "4")),
        ("top-n", 0.5, ("--top-n", "0.5")),
    ],
)
def test_options_become_flags(
    order: LaunchRequest, option: str, value: object, flags: tuple[str, ...]
) -> None:
    """Switches, values, lists and mappings go to the command line as llama-server takes them."""
    plain = flags_of(order, parse_help(HELP))
    assert flags_of(replace(order, options={option: value}), parse_help(HELP)) == plain + flags


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"ctx-size": 1}, "option ctx-size: not an option to set\n.*`context`"),
        ({"parallel": 1}, "`slots`"),
        ({"seed": 1}, "`seed`"),
        ({"model": "x"}, "`models:`"),
        ({"chat-template": "x"}, "`chat_templates:`"),
        ({"api-key": "x"}, "matrixbench chooses it"),
        ({"cache-typ-k": "q8_0"}, r"does not know --cache-typ-k \(perhaps cache-type-k\)"),
    ],
)
def test_options_that_are_refused(
    order: LaunchRequest, options: dict[str, Any], problem: str
) -> None:
    """What matrixbench sets itself names the key to use instead; an unknown flag the nearest."""
    with pytest.raises(ServerError, match=problem):
        flags_of(replace(order, options=options))


def test_faithful_owns_the_cache(order: LaunchRequest) -> None:
    """Options that would undo `faithful` are refused."""
    with pytest.raises(ServerError, match="faithful: true"):
        flags_of(replace(order, faithful=True, options={"kv-unified": True}))


def props(**changes: object) -> dict[str, Any]:
    """Return what a server with two slots of 512 tokens says."""
    return {
        "default_generation_settings": {"n_ctx": 512},
        "total_slots": 2,
        "chat_template": "{{ x }}",
        "model_path": "/somewhere/secret/model.gguf",
        "build_info": "b1-x",
    } | changes


def test_context_is_rounded_up_by_the_server(order: LaunchRequest) -> None:
    """llama.cpp's rounding to 256 is allowed, a smaller or a much larger context is not."""
    check_props(with_backend(order, context=300), props())
    for context, given in ((513, 512), (256, 512)):
        with pytest.raises(ServerError, match=f"{context} tokens .* has {given}"):
            check_props(with_backend(order, context=context), props())
    shared = replace(with_backend(order, context=256), options={"kv-unified": True})
    check_props(shared, props())


def test_templates_are_compared(order: LaunchRequest) -> None:
    """A name taken for the text, and a text that the server does not use, stop the launch."""
    named = replace(order, template=Template(name="l", known_as="llama3"))
    with pytest.raises(ServerError, match="took the chat template's name 'llama3' for its text"):
        check_props(named, props(chat_template="llama3"))
    text = replace(order, template=Template(name="l", text="{{ y }}\n"))
    check_props(text, props(chat_template="{{ y }}"))
    with pytest.raises(ServerError, match="uses another"):
        check_props(text, props())


def test_models_are_compared_by_their_file(order: LaunchRequest) -> None:
    """A server that loaded another file stops the launch; its folder may have another name."""
    check_props(order, props(model_path="/mnt/model.gguf"))
    check_props(order, props(model_path=None))
    with pytest.raises(ServerError, match=r"model model\.gguf was asked .* has other"):
        check_props(order, props(model_path="/somewhere/other.gguf"))


def test_effective_holds_no_paths() -> None:
    """What is recorded of `/props` holds the model's file name, and templates as digests."""
    kept = effective(props())
    assert kept["model_path"] == "model.gguf"
    assert kept["n_ctx"] == 512
    assert len(kept["chat_template"]) == 24
    assert "secret" not in json.dumps(kept)


async def test_a_session_answers_and_leaves_nothing(order: LaunchRequest) -> None:
    """A session tells what runs, answers, and its server and its key are gone afterwards."""
    async with opened(order) as session:
        assert isinstance(await session.ask(question()), ChatReply)
        assert not await session.ensure_alive()
        info = session.info
        assert list(order.folder.glob("*.key")) == []
    assert info.concurrency == 2
    assert info.effective["n_ctx"] == 512
    assert info.build.version.startswith("0.6.0-dev")
    assert info.log == order.folder / "launch-1.log"
    assert "listening" in info.log.read_text()
    assert [path.name for path in order.folder.iterdir()] == ["launch-1.log"]
    assert isinstance(refusal := await session.ask(question()), Refusal)
    assert refusal.kind is Kind.NO_CONNECTION


async def test_cache_types_and_flash_attention_are_recorded(order: LaunchRequest) -> None:
    """Of a launch that asks for one of them, the record says what the server has of all."""
    asking = replace(order, options={"cache-type-k": "q8_0"})
    async with opened(asking) as session:
        found = session.info.effective
    assert (found["cache_type_k"], found["cache_type_v"], found["flash_attn"]) == (
        *("q8_0", "f16"),
        "on",
    )
    async with opened(order) as session:
        assert "flash_attn" not in session.info.effective


@pytest.mark.parametrize(
    ("mode", "difference"),
    [
        ("flash_attn:disabled", "flash-attn on was asked for, the server has it off"),
        ("cache_type_v:f16", "cache-type-v q8_0 was asked for, the server has f16"),
    ],
)
async def test_a_server_that_loads_otherwise_than_asked_is_not_used(
    order: LaunchRequest, mode: str, difference: str
) -> None:
    """The launch ends with both values, and nothing is left of its server."""
    asking = replace(order, options={"flash-attn": "on", "cache-type-v": "q8_0"})
    with pytest.raises(ServerError, match=difference):
        async with opened(asking, mode):
            pass
    assert list(order.folder.glob("*.key")) == []


async def test_only_the_newest_start_is_read(order: LaunchRequest) -> None:
    """A log that an earlier start wrote to says nothing of this one."""
    (order.folder / "launch-1.log").write_text(
        "llama_context: flash_attn = disabled\nK (f32): 1.00 MiB, V (f32): 1.00 MiB\n"
    )
    async with opened(replace(order, options={"flash-attn": "on"})) as session:
        assert session.info.effective["flash_attn"] == "on"


async def test_the_environment_is_scrubbed(order: LaunchRequest) -> None:
    """`LLAMA_ARG_*` of the user's shell does not change the server; the backend's `env` counts."""
    async with opened(order, LLAMA_ARG_ALIAS="other", LLAMA_ARG_KV_UNIFIED="1") as session:
        assert session.info.effective["n_ctx"] == 512
    slow = with_backend(order, env={"FAKE_MODE": "exit_at_start:9"})
    with pytest.raises(ServerError, match="exit code 9"):
        async with opened(slow):
            pass


async def test_concurrency(order: LaunchRequest) -> None:
    """The backend's concurrency goes before its slots; a faithful launch has one."""
    async with opened(with_backend(order, concurrency=7)) as session:
        assert session.info.concurrency == 7
    async with opened(replace(with_backend(order, concurrency=7), faithful=True)) as session:
        assert session.info.concurrency == 1
        assert session.info.effective["total_slots"] == 1


async def test_a_template_s_text_reaches_the_server(order: LaunchRequest) -> None:
    """A template file is written for the server, which then reports its text."""
    text = "{% for m in messages %}«{{ m.content }}»{% endfor %}\n"
    async with opened(replace(order, template=Template(name="own", text=text))) as session:
        assert "--chat-template-file" in session.info.command


async def test_a_server_that_dies_at_start_shows_its_log(order: LaunchRequest) -> None:
    """The error ends the launch with exit code 4, the command line and the log; never the key."""
    with pytest.raises(ServerError, match="died at start: exit code 3") as caught:
        async with opened(order, "exit_at_start:3"):
            pass
    text = str(caught.value)
    assert "error loading model: the roof is on fire" in text
    assert "--ctx-size 1024" in text
    assert caught.value.exit_code == ExitCode.NO_SERVER
    assert list(order.folder.glob("*.key")) == []


async def test_a_server_that_loads_slowly_is_waited_for(order: LaunchRequest) -> None:
    """503 while the model loads is not ready, and not an error."""
    async with opened(order, "loading:4") as session:
        assert isinstance(await session.ask(question()), ChatReply)


async def test_a_start_has_its_time(order: LaunchRequest) -> None:
    """A server that never gets ready is given up."""
    with pytest.raises(ServerError, match=r"not ready after 0\.5 s"):
        async with opened(replace(order, start_timeout_s=0.5), "slow_start:60"):
            pass


async def test_a_taken_port_is_tried_again_a_few_times(order: LaunchRequest) -> None:
    """When the port is gone another one is tried, but not for ever."""
    with pytest.raises(ServerError, match="died at start"):
        async with opened(order, "port_taken"):
            pass
    assert (order.folder / "launch-1.log").read_text().count("couldn't bind") == 4


@pytest.mark.parametrize(
    ("mode", "problem"),
    [("n_ctx:256", "512 tokens .* has 256"), ("slots:1", "2 slots .* has 1")],
)
async def test_what_the_server_has_is_compared(
    order: LaunchRequest, mode: str, problem: str
) -> None:
    """A server with another context or other slots than asked for stops the launch."""
    with pytest.raises(ServerError, match=problem):
        async with opened(order, mode):
            pass


async def test_a_server_that_dies_comes_back(order: LaunchRequest) -> None:
    """After a crash the request is refused, and the next one goes to a new server."""
    async with opened(order) as session:
        killed = session.pid
        assert killed is not None
        os.kill(killed, signal.SIGKILL)
        assert isinstance(await session.ask(question()), Refusal)
        assert await session.ensure_alive()
        assert not await session.ensure_alive()
        assert isinstance(await session.ask(question()), ChatReply)
        assert session.pid != killed


async def test_a_server_that_was_rebuilt_meanwhile_does_not_come_back(order: LaunchRequest) -> None:
    """What is there by now is another build, to which the launch's trials would not belong."""
    async with opened(order) as session:
        assert session.pid is not None
        os.kill(session.pid, signal.SIGKILL)
        assert isinstance(await session.ask(question()), Refusal)
        install(
            order.folder.parent / "bin",
            f"# rebuilt\nexec '{sys.executable}' '{FAKE_SERVER}' \"$@\"",
        )
        with pytest.raises(ServerError, match="files have changed since the launch began"):
            await session.ensure_alive()
        assert session.pid is None


async def test_files_of_options_are_found_beside_the_experiment(
    order: LaunchRequest, tmp_path: Path
) -> None:
    """The server gets the absolute path, whatever folder this process is in."""
    here = tmp_path / "experiment"
    here.mkdir()
    (here / "a.gguf").write_text("from the adapter\n")
    asked = replace(order, here=here, options={"lora": "./a.gguf", "slot-save-path": "slots"})
    async with opened(asked, "lora_reply") as session:
        answer = await session.ask(question())
        assert isinstance(answer, ChatReply)
        assert answer.content == "from the adapter"
        command = session.info.command
        assert command[command.index("--lora") + 1] == str(here / "a.gguf")
        assert command[command.index("--slot-save-path") + 1] == str(here / "slots")
        assert list(session.info.build.details["option_files"]) == ["lora ./a.gguf"]


async def test_a_file_of_an_option_that_is_gone_ends_the_launch(
    order: LaunchRequest, tmp_path: Path
) -> None:
    """Before the server starts, with the option and the place."""
    asked = replace(order, here=tmp_path, options={"model-draft": "gone.gguf"})
    with pytest.raises(ServerError, match=r"option model-draft: there is no file .*/gone\.gguf"):
        async with opened(asked):
            raise AssertionError


async def test_a_file_of_an_option_that_changed_meanwhile_ends_the_launch(
    order: LaunchRequest, tmp_path: Path
) -> None:
    """A server that is started again would read what is there by now: another build."""
    (tmp_path / "a.gguf").write_text("one")
    asked = replace(order, here=tmp_path, options={"lora": {"file": "a.gguf"}})
    async with opened(asked) as session:
        assert session.pid is not None
        os.kill(session.pid, signal.SIGKILL)
        assert isinstance(await session.ask(question()), Refusal)
        (tmp_path / "a.gguf").write_text("trained again")
        with pytest.raises(ServerError, match=r"has changed since the launch began: lora a\.gguf"):
            await session.ensure_alive()


async def test_a_server_that_hangs_is_replaced(order: LaunchRequest) -> None:
    """A server that answers no health probe any more is ended and started again."""
    async with opened(order, hung_after_s=0.3) as session:
        assert session.pid is not None
        os.kill(session.pid, signal.SIGSTOP)
        assert await session.ensure_alive()
        assert isinstance(await session.ask(question()), ChatReply)


async def test_a_server_that_keeps_dying_is_given_up(order: LaunchRequest) -> None:
    """After three restarts the launch is over, with the reason and the log's tail."""
    async with opened(order, "die_after:0") as session:
        for _ in range(3):
            assert isinstance(await session.ask(question()), Refusal)
            assert await session.ensure_alive()
        await session.ask(question())
        with pytest.raises(
            ServerError, match="died: killed by SIGKILL, after 3 restarts"
        ) as caught:
            await session.ensure_alive()
        assert "GGML_ASSERT failed" in str(caught.value)
        assert isinstance(await session.ask(question()), Refusal)


async def test_a_server_that_does_not_come_back(order: LaunchRequest) -> None:
    """When every restart fails, its own error is the reason."""
    state = order.folder.parent / "started"
    starts = (
        f'if [ "$1" = --jinja ]; then [ -e {state} ] && exit 5; touch {state}; fi; '
        f"exec '{sys.executable}' '{FAKE_SERVER}' \"$@\""
    )
    binary = str(install(order.folder.parent / "once", starts))
    async with opened(with_backend(order, binary=binary), "die_after:0") as session:
        await session.ask(question())
        with pytest.raises(ServerError, match="died at start: exit code 5"):
            await session.ensure_alive()


SUPERVISOR = """
    import asyncio, os, sys
    from pathlib import Path
    from matrixbench.backends.build import FileHashes
    from matrixbench.backends.llama.server import open_llama_server
    from matrixbench.backends.registry import LaunchRequest, ModelSource
    from matrixbench.backends.llama.backend import LlamaServerBackend
    from matrixbench.spec.models import Template

    async def main():
        folder, model = Path(sys.argv[1]), Path(sys.argv[2])
        order = LaunchRequest(
            name="real",
            backend=LlamaServerBackend(kind="llama-server", context=512, slots=1),
            model=ModelSource(name="m", path=model, sha256="0" * 64),
            template=Template(name="native"),
            options={"threads": 1, "warmup": False},
            folder=folder,
        )
        environ = {key: value for key, value in os.environ.items() if key != "PATH"}
        async with open_llama_server(order, environ, FileHashes(None)) as session:
            print(session.info.effective["model_ftype"], flush=True)
            await asyncio.Event().wait()

    asyncio.run(main())
"""


@pytest.mark.real
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_the_real_server_goes_with_the_program(
    smollm2_path: Path, tmp_path: Path, number: signal.Signals
) -> None:
    """The embedded server is gone when the program that runs it is killed."""
    script = tmp_path / "supervisor.py"
    script.write_text(dedent(SUPERVISOR))
    os.mkfifo(tmp_path / "real.log")
    end = os.open(tmp_path / "real.log", os.O_RDONLY | os.O_NONBLOCK)
    other = subprocess.Popen(
        [sys.executable, script, tmp_path, smollm2_path],
        env=os.environ | {"PYTHONPATH": str(PROJECT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    with other:
        try:
            assert other.stdout is not None
            assert other.stdout.readline() == "Q4_1\n"
            other.send_signal(number)
            other.wait(LONG_S)
        finally:
            other.kill()
    assert is_over(end)
    os.close(end)


def is_over(end: int) -> bool:
    """Return whether everybody who held a FIFO lets go of it."""
    while select.select([end], [], [], LONG_S)[0]:
        if not os.read(end, 4096):
            return True
    return False


@pytest.mark.real
async def test_the_real_server_answers_and_comes_back(
    order: LaunchRequest, smollm2_path: Path
) -> None:
    """The embedded server answers the same for a seed, before and after it was killed."""
    real = replace(
        with_backend(order, binary=None, context=300),
        model=ModelSource(name="smol", path=smollm2_path),
        template=Template(name="chatml", known_as="chatml"),
        options={"threads": 1, "flash-attn": "on", "cache-type-k": "q8_0", "warmup": False},
        faithful=True,
    )
    opener = partial(
        open_llama_server,
        environ={"PYTHONPATH": str(PROJECT)},
        hashes=FileHashes(None),
        policy=RestartPolicy(restart_pauses_s=(0.0,)),
    )
    async with opener(real) as session:
        first = await session.ask(question())
        assert isinstance(first, ChatReply)
        assert session.info.effective["n_ctx"] == 512
        assert session.info.effective["total_slots"] == 1
        assert isinstance(session, ManagedSession)
        assert session.pid is not None
        os.kill(session.pid, signal.SIGKILL)
        assert await session.ensure_alive()
        again = await session.ask(question())
        assert isinstance(again, ChatReply)
        assert again.content == first.content
