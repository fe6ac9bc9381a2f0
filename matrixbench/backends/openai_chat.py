"""The OpenAI chat API over HTTP: a request in, a reply or a refusal out.

aiohttp's exceptions end here, and so does the API key: neither gets into a reason. The module
imports aiohttp, which is heavy: import it where a session is opened.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import aiohttp

from matrixbench.backends.address import beside
from matrixbench.backends.answers import Answers, Heard
from matrixbench.backends.bodies import storable
from matrixbench.backends.openai_reply import Answer, classify, too_deep_reply
from matrixbench.backends.openai_stream import Stream
from matrixbench.backends.retry import RetryPolicy
from matrixbench.backends.secrecy import Secrets
from matrixbench.backends.stream_options import (
    STREAM_OPTIONS,
    names_stream_options,
    refuses_stream_options,
)
from matrixbench.nesting import too_deep
from matrixbench.records import Attempt, ChatReply, Kind, Outcome, Refusal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matrixbench.backends.arrivals import Arrivals
    from matrixbench.backends.pacing import Pace
    from matrixbench.records import ChatRequest, JsonObject

_UNREACHED = (aiohttp.ClientError, OSError, UnicodeError)
"""What a request that got no answer raises; host names that IDNA cannot encode, the last."""

MAX_BODY_BYTES = 32 * 1024 * 1024
"""No reply is larger; what is, is not read to its end."""

CONNECT_TIMEOUT_S = 10.0
"""For the connection alone: one that is never made says nothing of the model's speed."""

KEEPALIVE_S = 4.0
"""Idle connections are closed after this long, before llama-server (5 s) or uvicorn (5 s) does."""

END_GRACE_S = 0.25
"""How long the end of a body is waited for after a stream has said that it is done. Some servers
never close it; the connection is given up then."""


class Listener(Protocol):
    """What puts a body together as it comes: `Stream`, or Ollama's."""

    arrivals: Arrivals
    ended: bool

    @property
    def holds_events(self) -> bool:
        """Whether it is a stream at all; known once it is closed."""

    @property
    def complete(self) -> bool:
        """Whether the reply has come to its end, also where the body has not."""

    def feed(self, piece: bytes, at_s: float) -> None:
        """Take in the next piece, which came so long after the request was sent."""

    def close(self, at_s: float) -> None:
        """Take in that nothing more comes."""

    def whole(self) -> JsonObject:
        """Return the reply in the shape of one that was not streamed, or the error that came."""


@dataclass(slots=True, kw_only=True)
class _Asked:
    """A request under way.

    Args:
        body: What it asks.
        started: When it was sent.
        listener: What has heard of its answer so far; None where none has begun.
    """

    body: JsonObject
    started: float
    listener: Listener | None = None

    @property
    def streams(self) -> bool:
        """Whether it asks for a stream."""
        return bool(self.body.get("stream"))

    def timed_out(self, timeout_s: float) -> Refusal:
        """Return what to say of a request whose time is up."""
        latency_s = time.perf_counter() - self.started
        reason = f"no whole reply within {timeout_s:g} s"
        arrivals = None if self.listener is None else self.listener.arrivals
        pieces = 0 if arrivals is None else arrivals.pieces
        if self.streams and arrivals is not None and arrivals.last_s is not None:
            several = "piece" if pieces == 1 else "pieces"
            reason += (
                f"; {pieces:,} {several} of it had come, the last after {arrivals.last_s:.3g} s"
            )
        elif self.streams:
            reason += "; no token had come"
        return Refusal(
            outcome=Outcome.FAILED,
            kind=Kind.TIMEOUT,
            reason=reason,
            latency_s=latency_s,
            pieces=pieces if self.streams else None,
        )


class _TooLargeError(Exception):
    """A body over the bound."""


class _StaleError(Exception):
    """A kept connection that the server had closed; no reply had begun."""


class OpenAiChat:
    """One server's chat API. Belongs to the event loop in which it is first asked.

    Args:
        base_url: What comes before `/chat/completions`, usually ending in `/v1`.
        model: The model's name, sent with each request; None leaves the field out.
        api_key: Sent as a bearer token; never part of a reason.
        connections: How many connections are kept at most.
        policy: How to retry.
        pace: How fast requests may follow one another, retries included; None is without bound.
        proxied: Whether a proxy may stand before the server: some errors are then its words.
    """

    path: ClassVar[str] = "/chat/completions"
    stream_options: ClassVar[Mapping[str, Any]] = STREAM_OPTIONS
    asks_after_crash: ClassVar[bool] = True

    def __init__(
        self,
        *,
        base_url: str,
        model: str | None = None,
        api_key: str | None = None,
        connections: int = 4,
        policy: RetryPolicy | None = None,
        pace: Pace | None = None,
        proxied: bool = False,
    ) -> None:
        self._secrets = Secrets.of(base_url, api_key)
        self._pace = pace
        self._proxied = proxied
        self._url = beside(base_url, self.path)
        self._model = model
        self._api_key = api_key
        self._connections = connections
        self._policy = policy or RetryPolicy()
        self._sends_options = True
        self._kept: aiohttp.ClientSession | None = None
        self._fresh: aiohttp.ClientSession | None = None

    async def ask(self, request: ChatRequest) -> ChatReply | Refusal:
        """Return the model's reply, or what came instead; raises nothing but cancellation.

        `timeout_s` bounds each try on its own; the latency is that of the last try. Every other
        answer to the request is kept with the one that counts. A server that refuses
        `stream_options` is asked again without it, and not sent it any more.
        """
        options = self.stream_options if request.body.get("stream") and self._sends_options else {}
        if not options:
            return await self._ask(request)
        refused = await self._ask(replace(request, body={**request.body, **options}))
        if isinstance(refused, ChatReply) or not refuses_stream_options(refused, request.body):
            return refused
        answer = await self._ask(request)
        if isinstance(answer, ChatReply) or names_stream_options(refused):
            self._sends_options = False
        first = Attempt(
            kind=refused.kind,
            reason=refused.reason,
            latency_s=refused.latency_s,
            body=refused.body,
        )
        return replace(answer, attempts=(*refused.attempts, first, *answer.attempts))

    async def _ask(self, request: ChatRequest) -> ChatReply | Refusal:
        payload = self._payload(request)
        answers = Answers(self._policy, after_crash=self.asks_after_crash)
        while True:
            heard = await self._try(payload, request, answers)
            wait_s = answers.wait_s(heard)
            if wait_s is None:
                return answers.settled(heard)
            await self._policy.sleep(wait_s)

    async def get(self, url: str, timeout_s: float) -> tuple[int, Any]:
        """Return the status of a GET with the same key, and its JSON (None where it has none).

        Raises:
            ConnectionError: There was no whole answer in time; the text says why.
        """
        return await self._page("GET", url, None, timeout_s)

    async def post(self, url: str, body: JsonObject, timeout_s: float) -> tuple[int, Any]:
        """Return the status of a POST with the same key, and its JSON (None where it has none).

        Raises:
            ConnectionError: There was no whole answer in time; the text says why.
        """
        return await self._page("POST", url, json.dumps(body).encode(), timeout_s)

    async def _page(
        self, method: str, url: str, data: bytes | None, timeout_s: float
    ) -> tuple[int, Any]:
        session = self._session()
        try:
            async with (
                asyncio.timeout(timeout_s),
                session.request(method, url, data=data, allow_redirects=False) as response,
            ):
                body, _ = await _read(response)
        except TimeoutError:
            raise ConnectionError(f"no answer within {timeout_s:g} s") from None
        except (*_UNREACHED, _TooLargeError) as error:
            raise ConnectionError(_brief(error)) from None
        try:
            data = None if too_deep(body) else storable(_finite_json(body))
            return response.status, self._secrets.taken_out(data)
        except (ValueError, RecursionError):
            return response.status, None

    async def aclose(self) -> None:
        """Close all connections. May be called more than once."""
        sessions, self._kept, self._fresh = (self._kept, self._fresh), None, None
        for session in sessions:
            if session is not None:
                await session.close()

    def _understand(self, answer: Answer) -> ChatReply | Refusal:
        """Return what an answer means; another dialect means something else."""
        return classify(answer)

    def _listener(self, content_type: str, *, streams: bool) -> Listener | None:
        """Return what puts a body together as it comes; None where it is read when it is whole."""
        del streams  # servers send a stream also where none was asked for
        return Stream(content_type, self._secrets.masked)

    def _payload(self, request: ChatRequest) -> bytes:
        body: JsonObject = {"stream": False, **request.body, "seed": request.seed}
        if self._model is not None:
            body["model"] = self._model
        return json.dumps(body, separators=(",", ":")).encode()

    async def _try(self, payload: bytes, request: ChatRequest, answers: Answers) -> Heard:
        """Send a request, over a new connection as well where a kept one was closed meanwhile.

        Each time it waits for its turn, which does not count towards the time for the reply.
        """
        try:
            return await self._in_turn(payload, request, fresh=False)
        except _StaleError:
            answers.lost("the server had closed the connection")
            return await self._in_turn(payload, request, fresh=True)

    async def _in_turn(self, payload: bytes, request: ChatRequest, *, fresh: bool) -> Heard:
        if self._pace is not None:
            await self._pace.wait()
        asked = _Asked(body=request.body, started=time.perf_counter())
        try:
            async with asyncio.timeout(request.timeout_s):
                return await self._exchange(payload, asked, fresh=fresh)
        except TimeoutError:
            return Heard(result=asked.timed_out(request.timeout_s))

    async def _exchange(self, payload: bytes, asked: _Asked, *, fresh: bool) -> Heard:
        try:
            async with await self._begin(payload, fresh=fresh) as response:
                return await self._hear(response, asked)
        except _TooLargeError:
            kind = Kind.BAD_REPLY
            reason = f"bad reply: more than {MAX_BODY_BYTES >> 20} MB"
        except aiohttp.ClientResponseError as error:
            kind, reason = Kind.BAD_REPLY, f"bad reply: not HTTP: {_brief(error)}"
        except aiohttp.ClientPayloadError:
            kind, reason = Kind.NO_CONNECTION, "the connection broke inside the reply"
        except _UNREACHED as error:
            kind, reason = Kind.NO_CONNECTION, f"no connection: {_brief(error)}"
        except _StaleError:
            raise
        except Exception as error:  # noqa: BLE001  nothing that a server sends ends a run
            kind, reason = Kind.BAD_REPLY, f"bad reply: reading it raised {type(error).__name__}"
        return _heard(kind, reason, time.perf_counter() - asked.started)

    async def _begin(self, payload: bytes, *, fresh: bool) -> aiohttp.ClientResponse:
        """Send the request; return when the reply's head is there.

        Raises:
            _StaleError: The server may have closed the kept connection while the request was on its
                way; aiohttp does not send a POST again by itself.
        """
        session = self._session(fresh=fresh)
        try:
            return await session.post(self._url, data=payload, allow_redirects=False)
        except aiohttp.ClientConnectorError:
            raise
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError, ConnectionResetError):
            if fresh:
                raise
            raise _StaleError from None

    async def _hear(self, response: aiohttp.ClientResponse, asked: _Asked) -> Heard:
        content_type = response.headers.get("Content-Type", "").lower()
        asked.listener = listener = self._listener(content_type, streams=asked.streams)
        body, latency_s = await _read(response, listener, asked.started)
        answer = Answer(
            status=response.status,
            content_type=content_type,
            body=self._secrets.masked(body),  # some servers echo the key
            latency_s=latency_s,
            streamed=listener if listener is not None and listener.holds_events else None,
            proxied=self._proxied,
            unbounded=_is_unbounded(response),
            asked=asked.body,
        )
        if too_deep(answer.body):
            return Heard(result=too_deep_reply(answer), body=answer.body)
        return Heard(
            result=self._secrets.left_out(self._understand(answer)),
            body=answer.body,
            retry_after=response.headers.get("Retry-After"),
        )

    def _session(self, *, fresh: bool = False) -> aiohttp.ClientSession:
        session = self._fresh if fresh else self._kept
        if session is None:
            session = self._open(fresh=fresh)
            if fresh:
                self._fresh = session
            else:
                self._kept = session
        return session

    def _open(self, *, fresh: bool) -> aiohttp.ClientSession:
        headers = {
            "Content-Type": "application/json",
            "Accept": "application/json, text/event-stream",
            "Accept-Encoding": "identity",
            "User-Agent": "matrixbench",
        }
        if self._api_key is not None:
            headers["Authorization"] = f"Bearer {self._api_key}"
        connector = (
            aiohttp.TCPConnector(limit=self._connections, force_close=True)
            if fresh
            else aiohttp.TCPConnector(limit=self._connections, keepalive_timeout=KEEPALIVE_S)
        )
        return aiohttp.ClientSession(
            connector=connector,
            headers=headers,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S),
        )


async def _read(
    response: aiohttp.ClientResponse, listener: Listener | None = None, started: float = 0.0
) -> tuple[bytes, float]:
    """Return the body, and how long after `started` its last byte came."""
    if (response.content_length or 0) > MAX_BODY_BYTES:
        response.close()
        raise _TooLargeError
    body = _Body(response, listener, started)
    try:
        await body.read()
        if listener is not None and listener.ended:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(END_GRACE_S):
                    await body.read(to_the_end=True)
    except aiohttp.ClientPayloadError:
        if listener is None or not listener.complete:
            raise
    if listener is not None:
        listener.close(body.last_s)
    return body.whole(), body.last_s


class _Body:
    """A body that is read piece by piece, and shown to a listener as it comes."""

    def __init__(
        self, response: aiohttp.ClientResponse, listener: Listener | None, started: float
    ) -> None:
        self._response = response
        self._listener = listener
        self._started = started
        self._pieces: list[bytes] = []
        self._size = 0
        self.last_s = time.perf_counter() - started

    async def read(self, *, to_the_end: bool = False) -> None:
        """Read until the body ends, or until the listener has heard that it is done.

        Raises:
            _TooLargeError: It is over the bound.
            aiohttp.ClientPayloadError: It breaks off.
        """
        listener = self._listener
        async for piece in self._response.content.iter_any():
            self.last_s = time.perf_counter() - self._started
            self._pieces.append(piece)
            self._size += len(piece)
            if self._size > MAX_BODY_BYTES:
                self._response.close()
                raise _TooLargeError
            if listener is not None:
                listener.feed(piece, self.last_s)
                if listener.ended and not to_the_end:
                    return

    def whole(self) -> bytes:
        """Return all of it that came."""
        return self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)


def _finite_json(body: bytes) -> Any:  # noqa: ANN401  JSON from outside
    """Return JSON in which NaN, the infinities and what is as large as those are missing."""
    return json.loads(body, parse_constant=_missing, parse_float=_finite)


def _finite(text: str) -> float | None:
    return number if math.isfinite(number := float(text)) else None


def _is_unbounded(response: aiohttp.ClientResponse) -> bool:
    """Return whether only the end of the connection ends the body."""
    chunked = "chunked" in response.headers.get("Transfer-Encoding", "").lower()
    return not chunked and "Content-Length" not in response.headers


def _missing(_: str) -> None:
    """Stand for NaN and the infinities, which are no JSON."""


def _heard(kind: Kind, reason: str, latency_s: float, outcome: Outcome = Outcome.ERRORED) -> Heard:
    return Heard(result=Refusal(outcome=outcome, kind=kind, reason=reason, latency_s=latency_s))


def _brief(error: Exception) -> str:
    """Return an exception's type, and the system's word where there is one.

    aiohttp's own texts may hold urls and headers; they are left out.
    """
    system = error.strerror if isinstance(error, OSError) else None
    return f"{type(error).__name__}: {system}" if system else type(error).__name__
