"""Endpoints: servers that run already."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from matrixbench.backends.endpoint import EndpointOpener, endpoint_build
from matrixbench.backends.protocol import LaunchOrder, ModelSource
from matrixbench.backends.retry import RetryPolicy
from matrixbench.errors import ExitCode, ServerError
from matrixbench.records import ChatReply, ChatRequest
from matrixbench.spec.backends import EndpointBackend, ScriptedBackend
from matrixbench.spec.load import Template
from tests.fake_servers import fake_server, free_port, raw_server

CHAT = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 8}
REQUEST = ChatRequest(body=CHAT, seed=1, trial=0, test="t", timeout_s=30.0)


async def at_once(_: float) -> None:
    """Do not wait."""


OPENER = EndpointOpener({"KEY": "right\n"}, RetryPolicy(tries=2, sleep=at_once))


def order(
    url: str, model: str | None = None, *, faithful: bool = False, **more: object
) -> LaunchOrder:
    """Return an order for an endpoint."""
    return LaunchOrder(
        name="endpoint",
        backend=EndpointBackend.model_validate({"kind": "endpoint", "url": url, **more}),
        model=ModelSource(name="model", id=model),
        template=Template(name="native"),
        faithful=faithful,
        folder=Path(),
    )


async def test_an_endpoint_answers_and_says_what_it_is() -> None:
    """The build holds the url and what the server says; slots and model are known."""
    with fake_server(flags=["--alias", "tiny", "--ctx-size", "4096", "--parallel", "2"]) as base:
        async with OPENER(order(f"{base}/v1/", "tiny")) as session:
            reply = await session.ask(REQUEST)
            assert not await session.ensure_alive()
            info = session.info
    assert isinstance(reply, ChatReply)
    assert info.concurrency == 2
    assert info.effective["n_ctx"] == 2048
    assert info.effective["model"] == {
        "id": "tiny",
        "owned_by": "llamacpp",
        "meta": {"n_ctx": 2048},
    }
    assert info.build.version == info.effective["build_info"] == "b9626-fa4e5e7"
    assert json.loads(info.build.server)["url"] == f"{base}/v1"


async def test_the_build_stays_while_the_server_does() -> None:
    """Opening twice gives one build."""
    with fake_server() as base:
        builds = []
        for _ in range(2):
            async with OPENER(order(f"{base}/v1")) as session:
                builds.append(session.info.build)
    assert builds[0] == builds[1]


async def test_the_model_s_id_is_sent(tmp_path: Path) -> None:
    """Each request names the model as the file does."""
    log = tmp_path / "log"
    with fake_server(FAKE_LOG=str(log)) as base:
        async with OPENER(order(f"{base}/v1", "org/model")) as session:
            await session.ask(REQUEST)
    assert json.loads(log.read_text(encoding="utf-8"))["body"]["model"] == "org/model"


@pytest.mark.parametrize(
    ("more", "faithful", "concurrency"),
    [({}, False, 4), ({"concurrency": 9}, False, 9), ({"concurrency": 9}, True, 1)],
)
async def test_the_file_says_how_many_requests_at_a_time(
    more: dict[str, object], *, faithful: bool, concurrency: int
) -> None:
    """The file's number goes before the server's slots, and `faithful` before both."""
    with fake_server() as base:
        async with OPENER(order(f"{base}/v1", None, faithful=faithful, **more)) as session:
            assert session.info.concurrency == concurrency


async def test_a_server_without_a_list_of_models_will_do() -> None:
    """A 404 there is a sign of life; the build is then the url."""
    with fake_server("not_found:all") as base:
        async with OPENER(order(f"{base}/v1")) as session:
            build = session.info.build
            assert session.info.concurrency == 4
    assert json.loads(build.server) == {"url": f"{base}/v1"}


async def test_nobody_there_ends_with_the_url_and_a_hint() -> None:
    """A refused connection is exit 4, and says where."""
    url = f"http://127.0.0.1:{free_port()}/v1"
    with pytest.raises(ServerError, match="does not answer") as caught:
        async with OPENER(order(url)):
            raise AssertionError
    assert caught.value.exit_code is ExitCode.NO_SERVER
    assert caught.value.where == url
    assert caught.value.hint


async def test_a_server_that_goes_away_is_looked_for_and_given_up() -> None:
    """`ensure_alive` cannot start it, so it raises."""
    with fake_server("die_after:0") as base:
        async with OPENER(order(f"{base}/v1")) as session:
            await session.ask(REQUEST)
            with pytest.raises(ServerError, match="does not answer"):
                await session.ensure_alive()


async def test_a_server_that_wants_a_key_says_how_to_give_one() -> None:
    """Without `api_key_env` in the file, the hint names it."""
    with fake_server("unauthorized:all") as base, pytest.raises(ServerError) as caught:
        async with OPENER(order(f"{base}/v1")):
            raise AssertionError
    assert "api_key_env" in caught.value.hint


async def test_a_server_that_is_loading_is_not_ready() -> None:
    """After a 503 to the list of models, trials would measure nothing."""
    async with raw_server(b"HTTP/1.1 503 Loading\r\ncontent-length: 0\r\n\r\n") as base:
        with pytest.raises(ServerError, match="not ready"):
            async with OPENER(order(f"{base}/v1")):
                raise AssertionError


async def test_a_refused_key_names_its_variable() -> None:
    """The message holds the variable's name, never what is in it."""
    with fake_server("unauthorized:all") as base, pytest.raises(ServerError) as caught:
        async with OPENER(order(f"{base}/v1", api_key_env="KEY")):
            raise AssertionError
    assert "KEY" in str(caught.value)
    assert "right" not in str(caught.value)


async def test_the_key_is_taken_from_the_named_variable() -> None:
    """White space around it is dropped."""
    with fake_server(flags=["--api-key", "right"]) as base:
        async with OPENER(order(f"{base}/v1", api_key_env="KEY")) as session:
            assert isinstance(await session.ask(REQUEST), ChatReply)


async def test_a_smaller_context_than_the_file_says_stops_the_launch() -> None:
    """Both values are named."""
    with fake_server("n_ctx:512") as base, pytest.raises(ServerError, match=r"8192.*512"):
        async with OPENER(order(f"{base}/v1", context=8192)):
            raise AssertionError


async def test_another_kind_of_backend_is_a_mistake_of_ours() -> None:
    """The opener is for endpoints alone."""
    scripted = ScriptedBackend(kind="scripted", replies=["a"])
    wrong = LaunchOrder(
        name="x",
        backend=scripted,
        model=ModelSource(name="m"),
        template=Template(name="native"),
        folder=Path(),
    )
    with pytest.raises(TypeError):
        OPENER(wrong)


def test_another_url_or_report_is_another_build() -> None:
    """The build is the url and what is reported, and nothing else."""
    first = endpoint_build("http://a/v1", {"version": "1"})
    assert first == endpoint_build("http://a/v1", {"version": "1"})
    others = {
        endpoint_build("http://b/v1", {"version": "1"}).id,
        endpoint_build("http://a/v1", {}).id,
    }
    assert first.id not in others
    assert (first.kind, first.version, len(first.id)) == ("endpoint", "1", 24)
