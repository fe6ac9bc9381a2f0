"""A request whose time is up: whose fault that was."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest

from matrixbench.backends.http import openai_chat
from matrixbench.backends.http.openai_chat import OpenAiChat, ask_watching
from matrixbench.records import ChatReply, ChatRequest, Kind, Outcome, Refusal
from tests.fake_servers import fake_server

SHORT_S = 0.6


async def asked(url: str, timeout_s: float = SHORT_S, *, slots: bool = True) -> ChatReply | Refusal:
    """Return what a server answers to one request."""
    body = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 8}
    request = ChatRequest(body=body, seed=1, trial=0, test="t", timeout_s=timeout_s)
    async with aclosing(OpenAiChat(base_url=f"{url}/v1")) as chat:
        pages = (f"{url}/health", f"{url}/v1/models")
        return await ask_watching(chat, request, pages=pages, root=url if slots else None)


@pytest.mark.parametrize(
    ("mode", "outcome", "kind", "reason"),
    [
        ("drip:60", Outcome.FAILED, Kind.TIMEOUT, "no whole reply within 0.6 s"),
        ("hang", Outcome.ERRORED, Kind.SERVER_HUNG, "and no token was flowing"),
        # Who does not say what the slots do is not suspected.
        ("hang,unauthorized:all", Outcome.ERRORED, Kind.UNAUTHORIZED, "HTTP 401"),
    ],
)
async def test_the_slots_tell_a_slow_model_from_a_server_that_hangs(
    mode: str, outcome: Outcome, kind: Kind, reason: str
) -> None:
    """A timeout counts as the model's only while tokens were flowing."""
    with fake_server(mode) as url:
        refusal = await asked(url)
    assert isinstance(refusal, Refusal)
    assert (refusal.outcome, refusal.kind) == (outcome, kind)
    assert reason in refusal.reason


@pytest.mark.parametrize("slots", [True, False])
async def test_a_server_that_answers_nothing_any_more_hangs(
    slots: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even its pages come, whether or not it is a kind of server that shows its slots."""
    monkeypatch.setattr(openai_chat, "ANSWERS_WITHIN_S", 0.3)

    async def silent(inp: asyncio.StreamReader, out: asyncio.StreamWriter) -> None:
        await inp.read()
        out.close()

    async with await asyncio.start_server(silent, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        refusal = await asked(url, slots=slots)
    assert isinstance(refusal, Refusal)
    assert (refusal.outcome, refusal.kind) == (Outcome.ERRORED, Kind.SERVER_HUNG)
    assert "answers nothing" in refusal.reason


@pytest.mark.parametrize("slots", [True, False])
async def test_a_server_that_answers_a_second_request_is_slow(slots: bool) -> None:
    """Whatever that answer is: then the time that the file allows is what was measured."""

    async def slow(inp: asyncio.StreamReader, out: asyncio.StreamWriter) -> None:
        head = await inp.readuntil(b"\r\n\r\n")
        if head.startswith(b"GET"):
            out.write(b"HTTP/1.1 404 No\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")
        else:
            await inp.read()
        out.close()

    async with await asyncio.start_server(slow, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        refusal = await asked(url, slots=slots)
    assert isinstance(refusal, Refusal)
    assert (refusal.outcome, refusal.kind) == (Outcome.FAILED, Kind.TIMEOUT)


async def test_a_reply_in_time_is_passed_on() -> None:
    """And nothing is looked at."""
    with fake_server() as url:
        assert isinstance(await asked(url, 30.0), ChatReply)


async def test_a_cancelled_request_leaves_nothing() -> None:
    """The request under way is cancelled with its watcher."""
    with fake_server("hang") as url:
        asking = asyncio.create_task(asked(url, 30.0))
        await asyncio.sleep(0)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.parametrize(("streams", "kind"), [(True, Kind.SERVER_HUNG), (False, Kind.TIMEOUT)])
async def test_a_stream_that_brings_nothing_while_others_go_on_was_forgotten(
    streams: bool, kind: Kind
) -> None:
    """The server answers, so that nothing but the silence of a stream tells."""
    body = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 8, "stream": streams}
    silent, *others = [
        ChatRequest(body=body, seed=seed, trial=0, test="t", timeout_s=SHORT_S)
        for seed in (13, 1, 2)
    ]
    with fake_server("hang_on_seed:13") as url:
        pages = (f"{url}/health",)
        async with aclosing(OpenAiChat(base_url=f"{url}/v1")) as chat:
            asking = asyncio.create_task(ask_watching(chat, silent, pages=pages))
            await asyncio.sleep(0)
            for other in others:
                assert isinstance(await ask_watching(chat, other, pages=pages), ChatReply)
            refusal = await asking
    assert isinstance(refusal, Refusal)
    assert refusal.kind is kind
    assert ("other requests of its launch went on" in refusal.reason) is streams


async def test_a_stream_that_waits_alone_is_slow() -> None:
    """Nothing else went on: then there is nothing to hold it against."""
    body = {"messages": [{"role": "user", "content": "hi"}], "stream": True}
    request = ChatRequest(body=body, seed=13, trial=0, test="t", timeout_s=SHORT_S)
    with fake_server("hang_on_seed:13") as url:
        async with aclosing(OpenAiChat(base_url=f"{url}/v1")) as chat:
            refusal = await ask_watching(chat, request, pages=(f"{url}/health",))
    assert isinstance(refusal, Refusal)
    assert (refusal.outcome, refusal.kind) == (Outcome.FAILED, Kind.TIMEOUT)
