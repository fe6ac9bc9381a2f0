"""The OpenAI chat API over HTTP: a request in, a reply or a refusal out."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import re
import time
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol
from urllib.parse import urlsplit

from matrixbench.backends.http.address import beside, other_form, shown_url
from matrixbench.backends.http.openai_reply import Answer, classify, storable, too_deep_reply
from matrixbench.backends.http.openai_stream import Stream
from matrixbench.backends.http.requests import Answers, Heard, RetryPolicy
from matrixbench.backends.http.served_names import has_id, ids_in, ids_told, nearest_ids
from matrixbench.backends.registry import STREAM_OPTIONS
from matrixbench.backends.secrecy import Secrets
from matrixbench.identity import digest, too_deep
from matrixbench.records import Attempt, ChatReply, Kind, Outcome, Refusal

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import aiohttp

    from matrixbench.backends.http.openai_stream import Arrivals
    from matrixbench.backends.http.requests import Pace
    from matrixbench.records import ChatRequest, JsonObject

FIRST_LOOK = 0.8
SECOND_LOOK = 0.95
"""When to look, as shares of the request's time."""

LEAST_LOOK_S = 0.25
ANSWERS_WITHIN_S = 5.0
"""How long a server may take for a second request before it is held to be frozen."""

_OK = 200


async def ask_watching(
    chat: OpenAiChat, request: ChatRequest, *, pages: Sequence[str], root: str | None = None
) -> ChatReply | Refusal:
    """Return what a server answers; one that timed out and is frozen is said to hang.

    Args:
        pages: Urls of pages that the server answers at once, whatever it says, while it lives.
        root: Its url without `/v1` where it may have llama.cpp's `/slots`; None where not.
    """
    looks: list[Any] = []
    heard = chat.heard
    if root is None:
        result = await chat.ask(request)
    else:
        result = await _looking(chat, request, root, looks)
    if not isinstance(result, Refusal) or result.kind is not Kind.TIMEOUT:
        return result
    if len(looks) == len((FIRST_LOOK, SECOND_LOOK)) and looks[0] == looks[1] is not None:
        return _hung(result, "no token was flowing")
    if result.pieces == 0 and chat.heard > heard:
        return _hung(result, "other requests of its launch went on meanwhile")
    if await _answers(chat, pages):
        return result
    return _hung(result, f"the server answers nothing else within {ANSWERS_WITHIN_S:g} s")


async def _looking(
    chat: OpenAiChat, request: ChatRequest, root: str, looks: list[Any]
) -> ChatReply | Refusal:
    asking = asyncio.ensure_future(chat.ask(request))
    began = asyncio.get_running_loop().time()
    try:
        for share in (FIRST_LOOK, SECOND_LOOK):
            left = began + share * request.timeout_s - asyncio.get_running_loop().time()
            await asyncio.wait({asking}, timeout=max(0.0, left))
            if asking.done():
                break
            looks.append(await _look(chat, root, request.timeout_s * (1 - SECOND_LOOK)))
        return await asking
    finally:
        if not asking.done():
            asking.cancel()
            await asyncio.wait({asking})


async def _look(chat: OpenAiChat, root: str, timeout_s: float) -> Any:
    """Return what the slots are doing; None where the server does not say."""
    try:
        status, page = await chat.get(beside(root, "/slots"), max(LEAST_LOOK_S, timeout_s))
    except ConnectionError:
        return None
    return page if status == _OK else None


async def _answers(chat: OpenAiChat, pages: Sequence[str]) -> bool:
    """Return whether any of a server's pages comes, whatever its status."""
    looking = [asyncio.ensure_future(chat.get(page, ANSWERS_WITHIN_S)) for page in pages]
    try:
        for answer in asyncio.as_completed(looking):
            try:
                await answer
            except ConnectionError:
                continue
            return True
        return False
    finally:
        for one in looking:
            one.cancel()
        await asyncio.gather(*looking, return_exceptions=True)


def _hung(result: Refusal, why: str) -> Refusal:
    return replace(
        result,
        outcome=Outcome.ERRORED,
        kind=Kind.SERVER_HUNG,
        reason=f"{result.reason}, and {why}",
    )


_NAMED = re.compile(r"stream_options|include_usage", re.IGNORECASE)
_SOME_FIELD = re.compile(
    r"(unknown|unrecogni[sz]ed|unsupported|not supported|unexpected|extra|additional|forbidden"
    r"|not permitted|not allowed)\b.{0,60}\b(field|parameter|argument|propert|key|input|option)"
    r"|\b(field|parameter|argument|propert(y|ies)|key|input|option)s?\b.{0,60}\b(unknown"
    r"|unrecogni[sz]ed|unsupported|not supported|unexpected|forbidden|not permitted|not allowed)",
    re.IGNORECASE | re.DOTALL,
)
_ALWAYS_KNOWN = frozenset({"messages", "model"})


def refuses_stream_options(refusal: Refusal, fields: Iterable[str]) -> bool:
    """Return whether a refusal is of `stream_options`, and not of anything that the user asked for.

    Args:
        refusal: What came instead of a reply.
        fields: The names of all other fields that were sent.
    """
    said = f"{refusal.reason} {refusal.body or ''}"
    if names_stream_options(refusal):
        return True
    if refusal.kind is not Kind.BAD_REQUEST or not _SOME_FIELD.search(said):
        return False
    theirs = set(fields) - _ALWAYS_KNOWN
    return not any(re.search(rf"\b{re.escape(name)}\b", said) for name in theirs)


def names_stream_options(refusal: Refusal) -> bool:
    """Return whether a refusal speaks of `stream_options` by its name."""
    return _NAMED.search(f"{refusal.reason} {refusal.body or ''}") is not None


PROBE_TIMEOUT_S = 10.0

_MODEL_FIELDS = ("id", "aliases", "owned_by", "root", "max_model_len", "meta")
"""Of `/models`, what does not change with the time of day (`created` is often the present)."""

_PROPS_FIELDS = ("build_info", "model_path", "model_ftype", "chat_template_caps")


async def reported(chat: OpenAiChat, root: str) -> JsonObject:
    """Return what the pages beside a chat API say; empty where there are none.

    Args:
        chat: The server's API, for its key and its connections.
        root: The server's url, without `/v1`.
    """
    pages = await asyncio.gather(
        *(page(chat, beside(root, path)) for path in ("/props", "/version"))
    )
    return {**_of_props(pages[0]), **_of_version(pages[1])}


def context_in(said: JsonObject) -> int | None:
    """Return how many tokens one request may use, where the server says so."""
    has = said.get("n_ctx") or said.get("model", {}).get("max_model_len")
    return has if isinstance(has, int) else None


async def page(chat: OpenAiChat, url: str) -> Any:
    """Return the JSON of a page; None where it cannot be had."""
    try:
        status, data = await chat.get(url, PROBE_TIMEOUT_S)
    except ConnectionError:
        return None
    return data if status == HTTPStatus.OK else None


async def rendered(chat: OpenAiChat, root: str, body: JsonObject) -> str | None:
    """Return the prompt that a request becomes, as llama.cpp's `/apply-template` shows it.

    Args:
        chat: The server's API, for its key and its connections.
        root: The server's url, without `/v1`.
        body: Messages, tools and whatever else decides the prompt.

    None where the server has no such page, or cannot render it.
    """
    try:
        status, data = await chat.post(beside(root, "/apply-template"), body, PROBE_TIMEOUT_S)
    except ConnectionError:
        return None
    prompt = data.get("prompt") if isinstance(data, dict) else None
    return prompt if status == HTTPStatus.OK and isinstance(prompt, str) else None


def of_model(listed: object, model: str | None) -> JsonObject:
    """Return what a list of models says of one of them, or of its only one."""
    entries = listed.get("data") if isinstance(listed, dict) else None
    entries = [e for e in entries if isinstance(e, dict)] if isinstance(entries, list) else []
    if model is not None:
        entries = [e for e in entries if e.get("id") == model or _is_alias(model, e)]
    if len(entries) != 1:
        return {}
    return {"model": {name: entries[0][name] for name in _MODEL_FIELDS if entries[0].get(name)}}


def _is_alias(name: str, entry: JsonObject) -> bool:
    aliases = entry.get("aliases")
    return isinstance(aliases, list) and name in aliases


def _of_props(props: object) -> JsonObject:
    if not isinstance(props, dict) or "build_info" not in props:
        return {}
    known = {name: props[name] for name in _PROPS_FIELDS if name in props}
    settings = props.get("default_generation_settings")
    if isinstance(settings, dict) and isinstance(settings.get("n_ctx"), int):
        known["n_ctx"] = settings["n_ctx"]
    if isinstance(props.get("total_slots"), int) and props["total_slots"] > 0:
        known["total_slots"] = props["total_slots"]
    if isinstance(props.get("chat_template"), str):
        known["chat_template"] = digest(props["chat_template"])
    return known


def _of_version(page: object) -> JsonObject:
    version = page.get("version") if isinstance(page, dict) else None
    return {"version": version} if isinstance(version, str) else {}


_UNREACHED = (OSError, UnicodeError)
"""What a request that got no answer raises beside aiohttp's own errors; host names that IDNA cannot
encode, the last."""

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
        self._listeners: list[Listener | None] = []
        self._heard = 0
        self._kept: aiohttp.ClientSession | None = None
        self._fresh: aiohttp.ClientSession | None = None

    def call_model(self, name: str) -> None:
        """Name the model in each request from here on."""
        self._model = name

    @property
    def heard(self) -> int:
        """How much has been answered so far, to whatever request: it grows while any goes on."""
        return self._heard + sum(map(_pieces, self._listeners))

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
        import aiohttp

        session = self._session()
        try:
            async with (
                asyncio.timeout(timeout_s),
                session.request(method, url, data=data, allow_redirects=False) as response,
            ):
                body, _ = await _read(response)
        except TimeoutError:
            raise ConnectionError(f"no answer within {timeout_s:g} s") from None
        except (aiohttp.ClientError, *_UNREACHED, _TooLargeError) as error:
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
        import aiohttp

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
        except (aiohttp.ClientError, *_UNREACHED) as error:
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
        import aiohttp

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
        self._listeners.append(listener)
        try:
            body, latency_s = await _read(response, listener, asked.started)
        finally:
            self._listeners.remove(listener)
            self._heard += 1 + _pieces(listener)
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
        import aiohttp

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


def _pieces(listener: Listener | None) -> int:
    return 0 if listener is None else listener.arrivals.pieces


async def _read(
    response: aiohttp.ClientResponse, listener: Listener | None = None, started: float = 0.0
) -> tuple[bytes, float]:
    """Return the body, and how long after `started` its last byte came."""
    import aiohttp

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


def _finite_json(body: bytes) -> Any:
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


MODELS, CHAT = "/models", "/chat/completions"
_FOUND, _LOST = 200, frozenset({301, 302, 307, 308, 404, 405})


class Page(NamedTuple):
    """What a page of a server answered; status 0 where nothing came."""

    status: int
    data: Any

    @property
    def lists_models(self) -> bool:
        """Whether it is a list of models."""
        return self.status == _FOUND and bool(ids_in(self.data))


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """How the file says what may be wrong.

    Args:
        url: The key of the url, or of the part of it that the file gives.
        id: What gives the model another id.
    """

    url: str = "url"
    id: str = "id"


class AddressedChat(OpenAiChat):
    """A chat API that says what to write where its address or the model's id is refused.

    Args:
        base_url: As `OpenAiChat`.
        words: How the file says it.
        more: As `OpenAiChat`.
    """

    def __init__(self, *, base_url: str, words: Words | None = None, **more: Any) -> None:
        super().__init__(base_url=base_url, **more)
        self._base = base_url
        self._words = words or Words()
        self._asked_for: str | None = more.get("model")
        self._finding = asyncio.Lock()
        self._found: str | None = None

    async def ask(self, request: ChatRequest) -> ChatReply | Refusal:
        """Return the model's reply, or what came instead; raises nothing but cancellation."""
        answer = await super().ask(request)
        if not (isinstance(answer, Refusal) and answer.stops_launch):
            return answer
        if answer.kind is not Kind.NOT_FOUND:
            return answer
        async with self._finding:
            if self._found is None:
                self._found = await self._way_out()
        asked = shown_url(beside(self._base, CHAT))
        return replace(answer, reason=f"{answer.reason} (asked: {asked}){self._found}")

    async def _way_out(self) -> str:
        """Return what to write instead; empty where nothing helps."""
        listed = await look_at(self, beside(self._base, MODELS))
        ids, asked = ids_in(listed.data), self._asked_for
        if listed.lists_models and asked is not None and not has_id(asked, ids):
            nearest = nearest_ids(asked, ids)[0]
            told = ids_told(asked, ids)
            return f"; the server has {told}: write {self._words.id}: {nearest}"
        other = other_form(self._base)
        if not listed.lists_models and await answers(self, other):
            return f"; {other_told(other, self._words.url)}"
        return ""


async def look_at(chat: OpenAiChat, url: str) -> Page:
    """Return what a page answers."""
    try:
        return Page(*await chat.get(url, PROBE_TIMEOUT_S))
    except ConnectionError:
        return Page(0, None)


async def takes_chats(chat: OpenAiChat, base: str) -> bool:
    """Return whether there is a page for chats under a base: an empty request is no chat."""
    try:
        status, data = await chat.post(beside(base, CHAT), {}, PROBE_TIMEOUT_S)
    except ConnectionError:
        return False
    return status not in _LOST or "model" in str(data).lower()


async def answers(chat: OpenAiChat, base: str) -> bool:
    """Return whether a chat API is at a base: it lists models there, or takes chats."""
    listed = await look_at(chat, beside(base, MODELS))
    return listed.lists_models or await takes_chats(chat, base)


def other_told(url: str, key: str) -> str:
    """Return what to write for a url that answers."""
    shown = shown_url(url)
    value = shown if key == "url" else urlsplit(shown).path or '""'
    return f"{shown} answers: write {key}: {value}"
