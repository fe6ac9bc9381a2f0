"""The chat API over real connections to a real, misbehaving server."""

from __future__ import annotations

import asyncio
import json
from contextlib import aclosing
from typing import TYPE_CHECKING

import pytest

from matrixbench.backends.http.openai_chat import OpenAiChat
from matrixbench.backends.http.requests import Pace, RetryPolicy
from matrixbench.records import ChatReply, ChatRequest, Kind, Outcome, Refusal, ToolCall
from tests.fake_servers import fake_server, free_port, raw_server

if TYPE_CHECKING:
    from pathlib import Path

BODY = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 8}


class Waits:
    """Remembers what it was to wait for, and does not wait."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    async def sleep(self, seconds: float) -> None:
        """Note it."""
        self.seconds.append(seconds)


def request(seed: int = 1, timeout_s: float = 30.0, **more: object) -> ChatRequest:
    """Return a request for a short reply."""
    return ChatRequest(body=BODY | more, seed=seed, trial=0, test="t", timeout_s=timeout_s)


async def ask(
    base: str, asked: ChatRequest | None = None, *, key: str | None = None, tries: int = 1
) -> ChatReply | Refusal:
    """Ask once over a connection of its own."""
    policy = RetryPolicy(tries=tries, sleep=Waits().sleep)
    chat = OpenAiChat(base_url=f"{base}/v1", model="m", api_key=key, policy=policy)
    async with aclosing(chat):
        return await chat.ask(asked or request())


def asked_of(log: Path) -> list[dict[str, object]]:
    """Return what the fake server was asked."""
    return [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]


async def test_a_reply_comes_back_with_its_times() -> None:
    """The fake's words, tokens and timings arrive, and the latency was measured."""
    with fake_server() as base:
        reply = await ask(base)
    assert isinstance(reply, ChatReply)
    assert len((reply.content or "").split()) == reply.completion_tokens == 8
    assert reply.timing.latency_s > 0
    assert reply.timing.completion_tokens_per_s == 100.0
    assert reply.fingerprint == "b9626-fa4e5e7"


async def test_seed_model_and_stream_are_added_to_the_body(tmp_path: Path) -> None:
    """The server sees the body as it was given, and three fields more."""
    log = tmp_path / "log"
    with fake_server(FAKE_LOG=str(log)) as base:
        await ask(base, request(seed=2**32 - 2))
    [asked] = asked_of(log)
    assert asked["body"] == BODY | {"seed": 2**32 - 2, "model": "m", "stream": False}


async def test_a_seed_repeats_and_two_seeds_differ() -> None:
    """The fake server is deterministic in the seed."""
    with fake_server() as base:
        one, same, other = [await ask(base, request(seed=seed)) for seed in (1, 1, 2)]
    assert isinstance(one, ChatReply)
    assert isinstance(same, ChatReply)
    assert isinstance(other, ChatReply)
    assert one.content == same.content != other.content


@pytest.mark.parametrize(
    ("modes", "outcome", "kind"),
    [
        ("parser_500", Outcome.REJECTED, Kind.UNPARSED_OUTPUT),
        ("error_in_stream", Outcome.REJECTED, Kind.UNPARSED_OUTPUT),
        ("context_400", Outcome.REJECTED, Kind.CONTEXT_OVERFLOW),
        ("template_400", Outcome.REJECTED, Kind.TEMPLATE_ERROR),
        ("context_500", Outcome.ERRORED, Kind.OVERLOADED),
        ("unauthorized", Outcome.ERRORED, Kind.UNAUTHORIZED),
        ("not_found", Outcome.ERRORED, Kind.NOT_FOUND),
        ("garbage", Outcome.REJECTED, Kind.UNPARSED_OUTPUT),
        ("truncated_json", Outcome.REJECTED, Kind.UNPARSED_OUTPUT),
        ("huge:40", Outcome.ERRORED, Kind.BAD_REPLY),
        ("die_mid_request", Outcome.ERRORED, Kind.NO_CONNECTION),
        ("die_after:0", Outcome.ERRORED, Kind.NO_CONNECTION),
    ],
)
async def test_a_fault_is_asked_once_and_named(
    modes: str, outcome: Outcome, kind: Kind, tmp_path: Path
) -> None:
    """What a repeat would not mend is not repeated."""
    log = tmp_path / "log"
    with fake_server(modes, FAKE_LOG=str(log)) as base:
        refusal = await ask(base, tries=5)
    assert isinstance(refusal, Refusal)
    assert (refusal.outcome, refusal.kind) == (outcome, kind)
    assert refusal.latency_s is not None
    assert len(asked_of(log)) == 1


async def test_json_under_another_content_type_is_read() -> None:
    """A header does not decide what a body is."""
    with fake_server("wrong_content_type") as base:
        assert isinstance(await ask(base), ChatReply)


async def test_retry_after_is_waited_out() -> None:
    """The seconds that a 429 names are waited, with a little jitter on top."""
    waits = Waits()
    policy = RetryPolicy(sleep=waits.sleep, base_s=0.5, draw=lambda: 0.5)
    with fake_server("rate_limit:2", FAKE_RETRY_AFTER="7") as base:
        chat = OpenAiChat(base_url=base, policy=policy)
        async with aclosing(chat):
            assert isinstance(await chat.ask(request()), ChatReply)
    assert waits.seconds == [7.25, 7.25]


async def test_a_wait_beyond_the_bound_is_not_waited() -> None:
    """A server that wants an hour is given up at once, as rate-limited."""
    waits = Waits()
    with fake_server("rate_limit:2", FAKE_RETRY_AFTER="3600") as base:
        chat = OpenAiChat(base_url=base, policy=RetryPolicy(sleep=waits.sleep))
        async with aclosing(chat):
            refusal = await chat.ask(request())
    assert isinstance(refusal, Refusal)
    assert refusal.kind is Kind.RATE_LIMITED
    assert waits.seconds == []


@pytest.mark.parametrize("modes", ["hang", "drip:60"])
async def test_a_reply_that_takes_too_long_is_a_failed_timeout(modes: str) -> None:
    """The whole reply counts, also one that has begun."""
    with fake_server(modes) as base:
        refusal = await ask(base, request(timeout_s=0.3))
    assert isinstance(refusal, Refusal)
    assert (refusal.outcome, refusal.kind) == (Outcome.FAILED, Kind.TIMEOUT)
    assert refusal.latency_s is not None
    assert refusal.latency_s >= 0.3


async def test_a_reply_in_drips_arrives_whole() -> None:
    """Hundreds of small pieces are one reply."""
    with fake_server("drip:0.2") as base:
        assert isinstance(await ask(base), ChatReply)


async def test_a_stale_kept_connection_costs_nothing() -> None:
    """A server that closes each connection at its second request is asked over fresh ones."""
    with fake_server("close_keepalive") as base:
        chat = OpenAiChat(base_url=base)
        async with aclosing(chat):
            replies = [await chat.ask(request(seed)) for seed in range(4)]
    assert all(isinstance(reply, ChatReply) for reply in replies)


async def test_a_request_sent_anew_waits_for_its_turn() -> None:
    """Of four requests two meet a connection that was closed: six are sent, each in its turn."""
    waits = Waits()
    pace = Pace(60, clock=lambda: 0.0, sleep=waits.sleep)
    with fake_server("close_keepalive") as base:
        chat = OpenAiChat(base_url=base, pace=pace)
        async with aclosing(chat):
            replies = [await chat.ask(request(seed)) for seed in range(4)]
    assert all(isinstance(reply, ChatReply) for reply in replies)
    assert waits.seconds == [1.0, 2.0, 3.0, 4.0, 5.0]


async def test_nobody_there_is_no_connection() -> None:
    """A refused connection measured nothing."""
    refusal = await ask(f"http://127.0.0.1:{free_port()}")
    assert isinstance(refusal, Refusal)
    assert (refusal.outcome, refusal.kind) == (Outcome.ERRORED, Kind.NO_CONNECTION)


@pytest.mark.parametrize("host", ["a..b", "x" * 70, "1.2.3.4.5"])
async def test_a_host_that_cannot_be_is_no_connection(host: str) -> None:
    """Nothing is raised for names that no resolver takes."""
    refusal = await ask(f"http://{host}")
    assert isinstance(refusal, Refusal)
    assert refusal.kind is Kind.NO_CONNECTION


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: " + b"y" * 100_000 + b"\r\n\r\n",
    ],
)
async def test_what_is_not_http_is_a_bad_reply(answer: bytes) -> None:
    """Another protocol on the port is told as such."""
    async with raw_server(answer) as base:
        refusal = await ask(base)
    assert isinstance(refusal, Refusal)
    assert refusal.kind is Kind.BAD_REPLY


async def test_a_length_over_the_bound_is_not_read() -> None:
    """A body that announces gigabytes is refused by its announcement."""
    async with raw_server(b"HTTP/1.1 200 OK\r\ncontent-length: 9999999999\r\n\r\n{") as base:
        refusal = await ask(base)
    assert isinstance(refusal, Refusal)
    assert refusal.reason == "bad reply: more than 32 MB"


async def test_redirects_are_not_followed() -> None:
    """The key does not travel to where a server points."""
    async with raw_server(
        b"HTTP/1.1 307 Over There\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n"
    ) as base:
        refusal = await ask(base, key="sk-1")
    assert isinstance(refusal, Refusal)
    assert (refusal.kind, refusal.stops_launch) == (Kind.NOT_FOUND, True)


async def test_a_key_that_the_server_echoes_stays_out_of_the_reason() -> None:
    """Servers put the wrong key into their message; the reason has stars there."""
    body = b'{"error": {"code": 401, "message": "wrong key KEY"}}'
    key = "sk-very-secret"
    answer = b"HTTP/1.1 401 No\r\nconnection: close\r\n\r\n" + body
    async with raw_server(answer) as base:
        refusal = await ask(base, key=key)
    assert isinstance(refusal, Refusal)
    assert refusal.reason == "HTTP 401: wrong key ***"


async def test_the_key_opens_the_server(tmp_path: Path) -> None:
    """With the key there is a reply, with another the launch stops."""
    keys = tmp_path / "keys"
    keys.write_text("right\n", encoding="utf-8")
    with fake_server(flags=["--api-key-file", str(keys)]) as base:
        good, bad = await ask(base, key="right"), await ask(base, key="wrong")
    assert isinstance(good, ChatReply)
    assert isinstance(bad, Refusal)
    assert bad.stops_launch


async def test_a_streamed_reply_has_its_first_token_measured() -> None:
    """`stream: true` in the body is honoured, calls and all."""
    call = {"id": "c", "function": {"name": "f", "arguments": '{"city": "Paris"}'}}
    message = {"role": "assistant", "content": "one two", "tool_calls": [call]}
    with fake_server(FAKE_REPLY=json.dumps(message)) as base:
        reply = await ask(base, request(stream=True))
    assert isinstance(reply, ChatReply)
    assert (reply.content, reply.completion_tokens) == ("one two", 2)
    assert reply.tool_calls == (ToolCall(name="f", arguments='{"city": "Paris"}', id="c"),)
    first_token_s = reply.timing.time_to_first_token_s
    assert first_token_s is not None
    assert 0 < first_token_s <= reply.timing.latency_s


async def test_no_more_connections_are_used_than_allowed(tmp_path: Path) -> None:
    """Six requests over two connections are never more than two at a time."""
    log = tmp_path / "log"
    with fake_server("delay:0.02", FAKE_LOG=str(log)) as base:
        chat = OpenAiChat(base_url=base, connections=2)
        async with aclosing(chat):
            await asyncio.gather(*(chat.ask(request(seed)) for seed in range(6)))
    assert {line["in_flight"] for line in asked_of(log)} == {1, 2}


async def test_cancelling_leaves_the_session_usable() -> None:
    """A request that is cancelled under way does not spoil the next."""
    with fake_server("hang_after:0") as base:
        chat = OpenAiChat(base_url=base)
        async with aclosing(chat):
            task = asyncio.create_task(chat.ask(request()))
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            status, data = await chat.get(f"{base}/health", 5.0)
    assert (status, data) == (200, {"status": "ok"})


async def test_closing_twice_is_harmless() -> None:
    """Also before anything was asked."""
    chat = OpenAiChat(base_url="http://127.0.0.1:1")
    await chat.aclose()
    await chat.aclose()


async def test_the_query_of_the_base_stays() -> None:
    """Some servers want a version there."""
    with fake_server() as base:
        chat = OpenAiChat(base_url=f"{base}/v1/?api-version=1")
        async with aclosing(chat):
            assert isinstance(await chat.ask(request()), ChatReply)
