"""Endpoints: servers that run already."""

from __future__ import annotations

import asyncio
import json
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest

from matrixbench.backends.endpoint import EndpointBackend, endpoint_build, open_endpoint
from matrixbench.backends.http.requests import Pace, RetryPolicy
from matrixbench.backends.registry import LaunchRequest, ModelSource
from matrixbench.errors import ExitCode, ServerError
from matrixbench.records import ChatReply, ChatRequest, Kind, Outcome, Refusal
from matrixbench.spec.models import Template
from tests.fake_servers import fake_server, free_port, raw_server

CHAT = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 8}
REQUEST = ChatRequest(body=CHAT, seed=1, trial=0, test="t", timeout_s=30.0)


async def at_once(_: float) -> None:
    """Do not wait."""


OPENER = partial(
    open_endpoint, environ={"KEY": "right\n"}, policy=RetryPolicy(tries=2, sleep=at_once)
)


def order(
    url: str, model: str | None = None, *, faithful: bool = False, **more: object
) -> LaunchRequest:
    """Return an order for an endpoint."""
    return LaunchRequest(
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


async def test_the_only_model_of_a_server_needs_no_id(tmp_path: Path) -> None:
    """A file without `models` asks for the one that is listed; the build stays what it was."""
    log = tmp_path / "log"
    with fake_server(flags=["--alias", "tiny"], FAKE_LOG=str(log)) as base:
        async with OPENER(order(f"{base}/v1")) as session:
            await session.ask(REQUEST)
            assert session.info.asked_model is None
    assert json.loads(log.read_text(encoding="utf-8"))["body"]["model"] == "tiny"


async def test_of_several_models_none_is_chosen() -> None:
    """Where a list has two, only the file can say which."""
    models = json.dumps({"data": [{"id": "a"}, {"id": "b"}]}).encode()
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: "
    answer = head + str(len(models)).encode() + b"\r\n\r\n" + models
    async with raw_server(answer) as base, OPENER(order(f"{base}/v1")) as session:
        assert "model" not in session.info.effective


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


async def test_a_server_that_comes_back_as_another_one_is_not_used() -> None:
    """The same one may come back; of another one the trials would be another build's."""
    place = ["--port", str(free_port()), "--parallel", "2", "--ctx-size"]
    with ExitStack() as first:
        base = first.enter_context(fake_server(flags=[*place, "4096"]))
        async with OPENER(order(f"{base}/v1")) as session:
            first.close()
            with fake_server(flags=[*place, "4096"]):
                assert not await session.ensure_alive()
            with (
                fake_server(flags=[*place, "8192"]),
                pytest.raises(ServerError, match="came back as another one: model was"),
            ):
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


class Waits:
    """Sleeps that are noted and end at once, on a clock that stands still."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    async def __call__(self, seconds: float) -> None:
        """Note how long it would have been."""
        self.slept.append(seconds)

    def policy(self, tries: int) -> RetryPolicy:
        """Return a policy that waits here, for as long as it may at most."""
        return RetryPolicy(tries=tries, sleep=self, draw=lambda: 1.0)

    def pace(self, per_minute: float) -> Pace:
        """Return a pace that waits here."""
        return Pace(per_minute, clock=lambda: 0.0, sleep=self)


async def test_retry_after_is_honoured() -> None:
    """After a 429 the server's own time is waited out, and a moment more."""
    waits = Waits()
    opener = partial(open_endpoint, environ={}, policy=waits.policy(tries=5))
    with fake_server("rate_limit:2", FAKE_RETRY_AFTER="7") as base:
        async with opener(order(f"{base}/v1")) as session:
            assert isinstance(await session.ask(REQUEST), ChatReply)
    assert waits.slept == [7.5, 7.5]


async def test_a_wait_that_is_asked_for_has_a_bound() -> None:
    """A server that wants more than two minutes in all is not waited for."""
    waits = Waits()
    opener = partial(open_endpoint, environ={}, policy=waits.policy(tries=5))
    with fake_server("rate_limit:99", FAKE_RETRY_AFTER="100") as base:
        async with opener(order(f"{base}/v1")) as session:
            refusal = await session.ask(REQUEST)
    assert isinstance(refusal, Refusal)
    assert (refusal.outcome, refusal.kind) == (Outcome.ERRORED, Kind.RATE_LIMITED)
    assert waits.slept == [100.5]


async def test_a_busy_server_is_asked_again_with_growing_waits_and_then_given_up(
    tmp_path: Path,
) -> None:
    """Bounded in number and in length; the reason says how often."""
    waits, log = Waits(), tmp_path / "log"
    opener = partial(open_endpoint, environ={}, policy=waits.policy(tries=4))
    with fake_server("busy_503:99", FAKE_LOG=str(log)) as base:
        async with opener(order(f"{base}/v1")) as session:
            refusal = await session.ask(REQUEST)
    assert isinstance(refusal, Refusal)
    assert (refusal.outcome, refusal.kind) == (Outcome.ERRORED, Kind.SERVER_ERROR)
    assert refusal.reason.endswith("(asked 4 times)")
    assert waits.slept == [0.5, 1.0, 2.0]
    assert len(log.read_text(encoding="utf-8").splitlines()) == 4


async def test_requests_per_minute_hold_over_all_requests_and_retries() -> None:
    """What is under way at a time shares one pace, and a retry waits for its turn as well."""
    waits = Waits()
    opener = partial(open_endpoint, environ={}, policy=RetryPolicy(sleep=at_once), paced=waits.pace)
    with fake_server("busy_503:3") as base:
        async with opener(order(f"{base}/v1", requests_per_minute=60)) as session:
            await asyncio.gather(*(session.ask(REQUEST) for _ in range(3)))
    assert waits.slept == [1.0, 2.0, 3.0, 4.0, 5.0]  # three answers, three refusals
