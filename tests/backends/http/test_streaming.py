"""Streamed replies over real connections, from a server in many manners."""

from __future__ import annotations

import asyncio
import json
from contextlib import aclosing, asynccontextmanager, suppress
from typing import TYPE_CHECKING

import pytest

from matrixbench.backends.http.openai_chat import MAX_BODY_BYTES, OpenAiChat, refuses_stream_options
from matrixbench.backends.http.requests import RetryPolicy
from matrixbench.records import ChatReply, ChatRequest, Kind, Outcome, Refusal, ToolCall
from tests.fake_servers import fake_server

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

ASKED = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 8}
PARIS, OSLO = '{"city": "Paris"}', '{"city": "Oslo"}'
MESSAGE = {
    "role": "assistant",
    "content": None,
    "tool_calls": [
        {"id": "a", "type": "function", "function": {"name": "get_weather", "arguments": PARIS}},
        {"id": "b", "type": "function", "function": {"name": "get_weather", "arguments": OSLO}},
    ],
}


def request(*, stream: bool = True, timeout_s: float = 30.0) -> ChatRequest:
    """Return a request as a cell makes it: `stream` is in it where it is true."""
    body = ASKED | ({"stream": True} if stream else {})
    return ChatRequest(body=body, seed=1, trial=0, test="t", timeout_s=timeout_s)


async def ask(base: str, asked: ChatRequest | None = None) -> ChatReply | Refusal:
    """Ask once over a connection of its own."""
    chat = OpenAiChat(base_url=f"{base}/v1", policy=RetryPolicy(tries=1))
    async with aclosing(chat):
        return await chat.ask(asked or request())


async def reply_of(modes: str = "", *, stream: bool = True, **env: str) -> ChatReply:
    """Return a server's reply to one request."""
    with fake_server(modes, **env) as base:
        reply = await ask(base, request(stream=stream))
    assert isinstance(reply, ChatReply), reply
    return reply


async def refusal_of(modes: str, timeout_s: float = 30.0) -> Refusal:
    """Return what a server refuses one request with."""
    with fake_server(modes) as base:
        refusal = await ask(base, request(timeout_s=timeout_s))
    assert isinstance(refusal, Refusal), refusal
    return refusal


@pytest.mark.parametrize(
    ("style", "ids"),
    [
        *((style, ("a", "b")) for style in ("", "zero", "fat", "objects", "summary", "unended")),
        ("bare", (None, None)),
        ("one_id", ("0", "0")),
        ("first_id", ("a", None)),
    ],
)
async def test_calls_come_as_without_a_stream(style: str, ids: tuple[str | None, ...]) -> None:
    """However a server cuts them, and also where it breaks off after the end."""
    reply = await reply_of(f"stream:{style}", FAKE_REPLY=json.dumps(MESSAGE))
    found = [(call.name, json.loads(call.arguments), call.id) for call in reply.tool_calls]
    assert found == [
        ("get_weather", {"city": "Paris"}, ids[0]),
        ("get_weather", {"city": "Oslo"}, ids[1]),
    ]
    assert reply.content is None


async def test_a_stream_and_a_whole_reply_say_the_same() -> None:
    """Message, calls, tokens and the reason of the end."""
    message = {**MESSAGE, "content": "Let me see.", "reasoning_content": "two cities"}
    with fake_server(FAKE_REPLY=json.dumps(message)) as base:
        whole, streamed = [await ask(base, request(stream=one)) for one in (False, True)]
    assert isinstance(whole, ChatReply)
    assert isinstance(streamed, ChatReply)
    assert streamed.message == whole.message == message
    assert (streamed.content, streamed.reasoning) == (whole.content, whole.reasoning)
    assert streamed.tool_calls == whole.tool_calls
    assert streamed.finish_reason == whole.finish_reason == "tool_calls"
    assert (streamed.prompt_tokens, streamed.completion_tokens) == (
        whole.prompt_tokens,
        whole.completion_tokens,
    )


async def test_a_server_may_lose_calls_only_when_it_streams() -> None:
    """That is what streaming is measured for."""
    lost = await reply_of("stream:loses", FAKE_REPLY=json.dumps(MESSAGE))
    kept = await reply_of("stream:loses", stream=False, FAKE_REPLY=json.dumps(MESSAGE))
    assert (lost.tool_calls, lost.finish_reason) == ((), "stop")
    assert len(kept.tool_calls) == 2


async def test_the_usage_of_a_stream_is_asked_for(tmp_path: Path) -> None:
    """Servers send it only to those who ask."""
    log = tmp_path / "log"
    await reply_of(FAKE_LOG=str(log))
    await reply_of(stream=False, FAKE_LOG=str(log))
    streamed, whole = (json.loads(line)["body"] for line in log.read_text().splitlines())
    assert streamed == {
        **ASKED,
        "seed": 1,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    assert whole == {**ASKED, "seed": 1, "stream": False}


async def test_a_server_without_stream_options_is_asked_without_them(tmp_path: Path) -> None:
    """Once; the refusal is kept with the reply, and later requests do without at once."""
    log = tmp_path / "log"
    with fake_server("stream:no_usage_field", FAKE_LOG=str(log)) as base:
        chat = OpenAiChat(base_url=f"{base}/v1")
        async with aclosing(chat):
            first, second = [await chat.ask(request()) for _ in range(2)]
    assert isinstance(first, ChatReply)
    assert isinstance(second, ChatReply)
    assert [one.kind for one in first.attempts] == [Kind.BAD_REQUEST]
    assert "stream_options" in first.attempts[0].reason
    assert second.attempts == ()
    asked = [json.loads(line)["body"] for line in log.read_text().splitlines()]
    assert ["stream_options" in body for body in asked] == [True, False, False]
    assert first.completion_tokens == 8  # llama.cpp's timings tell it as well


@pytest.mark.parametrize(
    ("reason", "kind", "refuses"),
    [
        ("HTTP 400: stream_options is not supported", Kind.BAD_REQUEST, True),
        ("HTTP 500: include_usage: no such option", Kind.SERVER_ERROR, True),
        ("HTTP 400: Unrecognized request argument supplied", Kind.BAD_REQUEST, True),
        ("HTTP 422: Extra inputs are not permitted", Kind.BAD_REQUEST, True),
        ("HTTP 400: unknown field: tool_choice", Kind.BAD_REQUEST, False),
        ("HTTP 400: the model's output could not be parsed", Kind.BAD_REQUEST, False),
        ("HTTP 500: unexpected field in the output", Kind.SERVER_ERROR, False),
        ("HTTP 400: prompt is too long", Kind.CONTEXT_OVERFLOW, False),
    ],
)
def test_only_a_refusal_of_our_own_field_is_asked_again(
    reason: str, kind: Kind, *, refuses: bool
) -> None:
    """What may be an answer about the user's request, or about the model's output, stands."""
    refusal = Refusal(outcome=Outcome.REJECTED, kind=kind, reason=reason)
    assert refuses_stream_options(refusal, ["messages", "tool_choice"]) is refuses


async def test_a_body_that_nothing_ends_is_done_when_the_stream_is() -> None:
    """`[DONE]` is the end, also where the connection stays open; the next request works."""
    with fake_server("stream:open") as base:
        chat = OpenAiChat(base_url=f"{base}/v1")
        async with aclosing(chat):
            replies = [await chat.ask(request(timeout_s=20.0)) for _ in range(2)]
    assert all(isinstance(reply, ChatReply) for reply in replies)


async def test_tokens_have_their_times() -> None:
    """The first before the whole, and gaps as long as the server paused."""
    timing = (await reply_of("stream_pause:0.02")).timing
    assert timing.time_to_first_token_s is not None
    assert timing.token_gap_p50_s is not None
    assert timing.token_gap_max_s is not None
    assert 0 < timing.time_to_first_token_s < timing.latency_s
    assert 0.01 < timing.token_gap_p50_s <= timing.token_gap_max_s < timing.latency_s


async def test_a_reply_that_is_not_streamed_has_no_gaps() -> None:
    """And its time to the first token is the server's."""
    timing = (await reply_of(stream=False)).timing
    assert (timing.token_gap_p50_s, timing.token_gap_max_s) == (None, None)
    assert timing.time_to_first_token_s is not None


async def test_a_stream_that_goes_silent_says_how_far_it_came() -> None:
    """The request's time is for the whole reply; what came of it tells a slow model from none."""
    refusal = await refusal_of("stream_silent_after:4", timeout_s=0.6)
    assert (refusal.outcome, refusal.kind, refusal.pieces) == (Outcome.FAILED, Kind.TIMEOUT, 3)
    assert "no whole reply within 0.6 s; 3 pieces of it had come, the last after" in refusal.reason


@pytest.mark.parametrize("modes", ["stream_silent_after:0", "stream_silent_after:1", "hang"])
async def test_a_stream_of_nothing_says_so(modes: str) -> None:
    """A role alone is no token."""
    refusal = await refusal_of(modes, timeout_s=0.4)
    assert (refusal.kind, refusal.pieces) == (Kind.TIMEOUT, 0)
    assert refusal.reason == "no whole reply within 0.4 s; no token had come"


async def test_a_timeout_without_a_stream_says_nothing_of_pieces() -> None:
    """Nobody knows how far it came."""
    with fake_server("drip:60") as base:
        refusal = await ask(base, request(stream=False, timeout_s=0.3))
    assert isinstance(refusal, Refusal)
    assert (refusal.pieces, refusal.reason) == (None, "no whole reply within 0.3 s")


@pytest.mark.parametrize(
    ("style", "said"),
    [
        ("done", "a stream without a reply"),
        ("cut", "the stream ended before the reply did"),
    ],
)
async def test_a_stream_without_a_whole_reply_is_refused(style: str, said: str) -> None:
    """It is no empty reply, which a test that wants no call would pass."""
    assert said in (await refusal_of(f"stream:{style}")).reason


async def test_an_error_that_an_event_is_named_for_is_the_answer() -> None:
    """A bare text, after tokens, in a 200, with `[DONE]` behind it."""
    refusal = await refusal_of("stream:event_error")
    assert (refusal.outcome, refusal.kind) == (Outcome.REJECTED, Kind.CONTEXT_OVERFLOW)


async def test_a_whole_reply_to_a_request_for_a_stream_is_taken() -> None:
    """Some servers do not stream; what counts is what they said."""
    body = json.dumps({"choices": [{"message": MESSAGE, "finish_reason": "tool_calls"}]}).encode()
    for kind in (b"application/json", b"text/event-stream"):
        async with serving([b"Content-Type: " + kind + b"\r\n\r\n" + body]) as base:
            reply = await ask(base)
        assert isinstance(reply, ChatReply)
        assert reply.tool_calls[0] == ToolCall(name="get_weather", arguments=PARIS, id="a")


@asynccontextmanager
async def serving(pieces: list[bytes]) -> AsyncGenerator[str]:
    """Serve these pieces to each request, each in a write of its own, then close."""

    async def serve(inp: asyncio.StreamReader, out: asyncio.StreamWriter) -> None:
        await inp.readuntil(b"\r\n\r\n")
        out.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n")
        with suppress(ConnectionError):
            for piece in pieces:
                out.write(piece)
                await out.drain()
                await asyncio.sleep(0)
        out.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


def sse(*deltas: object) -> bytes:
    """Return a whole stream of deltas."""
    events = [{"choices": [{"index": 0, "delta": delta}]} for delta in deltas]
    return b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events)


async def test_a_key_that_the_network_cuts_is_masked() -> None:
    """In a reply and in what is kept of a refusal: neither half of it gets through."""
    key = "sk-very-secret-indeed"
    good = sse({"content": f"your key is {key}, thanks"}) + b"data: [DONE]\n\n"
    bad = b'event: error\ndata: {"message": "wrong key ' + key.encode() + b'"}\n\n'
    for body in (good, bad):
        at = body.index(b"-secret")
        head = b"Content-Type: text/event-stream\r\n\r\n"
        async with serving([head + body[:at], body[at:]]) as base:
            chat = OpenAiChat(base_url=f"{base}/v1", api_key=key, policy=RetryPolicy(tries=1))
            async with aclosing(chat):
                answer = await chat.ask(request())
        assert "very" not in repr(answer)
        assert "***" in repr(answer)


async def test_a_stream_over_the_bound_is_not_read_to_its_end() -> None:
    """A server that writes without end is stopped."""
    piece = sse({"content": "x" * (1 << 20)})
    pieces = [b"Content-Type: text/event-stream\r\n\r\n", *[piece] * (MAX_BODY_BYTES >> 20)]
    async with serving(pieces) as base:
        refusal = await ask(base)
    assert isinstance(refusal, Refusal)
    assert refusal.reason == "bad reply: more than 32 MB"


async def test_a_stream_under_way_can_be_cancelled() -> None:
    """As an interruption does; the session goes on."""
    with fake_server("stream_silent_after:3") as base:
        chat = OpenAiChat(base_url=base)
        async with aclosing(chat):
            task = asyncio.create_task(chat.ask(request()))
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            status, _ = await chat.get(f"{base}/health", 5.0)
    assert status == 200
