"""Ollama's own chat API: requests, replies, streams, and models looked up and made."""

from __future__ import annotations

import asyncio
import json
import re
from collections import deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from matrixbench.backends.http.address import beside
from matrixbench.backends.http.faults import fault_in
from matrixbench.backends.http.openai_chat import CONNECT_TIMEOUT_S, PROBE_TIMEOUT_S, OpenAiChat
from matrixbench.backends.http.openai_reply import (
    NANOSECONDS,
    Answer,
    broken,
    called_name,
    classify,
    count,
    decoded,
    ollama_usage,
    storable,
)
from matrixbench.backends.http.openai_stream import Arrivals, Lines, MalformedError, read_json
from matrixbench.backends.ollama.options import (
    EFFORTS,
    MAX_TOKENS,
    PASSED_ON,
    SAMPLING,
    arguments_of,
    schema_of,
)
from matrixbench.errors import ServerError
from matrixbench.records import ChatReply, ChatRequest, Refusal, Timing, ToolCall

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Mapping
    from pathlib import Path

    import aiohttp

    from matrixbench.backends.http.openai_chat import Listener
    from matrixbench.backends.http.requests import RetryPolicy
    from matrixbench.records import JsonObject

_TEXTS = ("content", "thinking")

REPEATS = 30
"""Ollama gives up a reply in which one token comes more often than this in a row."""


class OllamaStream:
    """The body of one answer of `/api/chat`, as far as it has come.

    Feeding never raises: what is wrong is told by `whole`.

    Args:
        mask: Takes secrets out of a line.
    """

    holds_events = True

    def __init__(self, mask: Callable[[bytes], bytes] | None = None) -> None:
        self.arrivals = Arrivals()
        self.ended = False
        self._mask = mask
        self._lines = Lines()
        self._fields: JsonObject = {}
        self._others: JsonObject = {}
        self._texts: dict[str, list[str]] = {}
        self._calls: list[Any] = []
        self._last: deque[str] = deque(maxlen=REPEATS)
        self._error: JsonObject | None = None
        self._fault: MalformedError | None = None

    @property
    def complete(self) -> bool:
        """Whether the reply has come to its end, also where the body has not."""
        return self.ended

    def feed(self, piece: bytes, at_s: float = 0.0) -> None:
        """Take in the next piece of the body, which came so long after the request was sent."""
        for line in self._lines.feed(piece):
            self._take(line, at_s)

    def close(self, at_s: float = 0.0) -> None:
        """Take in that nothing more comes."""
        self._take(self._lines.rest(), at_s)

    def whole(self) -> JsonObject:
        """Return the reply in the shape of one that was not streamed, or the error that came.

        A reply in which one token repeats is cut off without a word, as without a stream: it is
        not `done`.

        Raises:
            MalformedError: A line has another shape, or the stream ended before the reply did.
        """
        if self._error is not None:
            return self._error
        if self._fault is not None:
            raise self._fault
        repeats = len(self._last) == REPEATS and len(set(self._last)) == 1
        if not self.ended and not repeats:
            raise MalformedError("the stream ended before the reply did")
        texts = {name: "".join(pieces) for name, pieces in self._texts.items()}
        calls = {"tool_calls": self._calls} if self._calls else {}
        message = {"role": "assistant", **self._others, "content": "", **texts, **calls}
        return {**self._fields, "message": message, "done": self.ended}

    def _take(self, line: bytes, at_s: float) -> None:
        if not line.strip():
            return
        if self._mask is not None:
            line = self._mask(line)
        try:
            self._add(read_json(line.decode(errors="replace")), at_s)
        except MalformedError as error:
            self._fault = self._fault or error

    def _add(self, told: object, at_s: float) -> None:
        message = told.get("message", {}) if isinstance(told, dict) else None
        if not isinstance(told, dict) or not isinstance(message, dict):
            raise MalformedError("a line that is no part of a chat")
        if told.get("error"):
            self._error = self._error or told
            return
        self._fields |= {name: value for name, value in told.items() if name != "message"}
        self.ended = self.ended or told.get("done") is True
        calls = message.get("tool_calls") or ()
        if not isinstance(calls, list | tuple):
            raise MalformedError("the tool calls of a line are no list")
        self._calls += calls
        found = bool(calls)
        for name, value in message.items():
            if name in _TEXTS and isinstance(value, str):
                self._texts.setdefault(name, []).append(value)
                found |= bool(value)
            elif name not in {*_TEXTS, "tool_calls"}:
                self._others[name] = value
        if found:
            self._last.append("".join(str(message.get(name) or "") for name in _TEXTS).strip())
            self.arrivals.note(at_s)


def whole_chat(body: bytes) -> JsonObject:
    """Return a streamed reply in the shape of one that was not streamed, or its error.

    Raises:
        MalformedError: `OllamaStream.whole` says when.
    """
    stream = OllamaStream()
    stream.feed(body)
    stream.close()
    return stream.whole()


_SUCCESS = range(200, 300)


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """How a model is asked, the same for every request of a launch.

    Args:
        model: The tag.
        options: The context and the options that the model is loaded with. A request without
            them would load it again.
        keep_alive: How long it stays loaded: -1 is for ever, None what the server says.
    """

    model: str
    options: Mapping[str, Any]
    keep_alive: int | None = None

    def body(self) -> JsonObject:
        """Return the fields that every request to the model has.

        `truncate` and `shift` are on by default, and silent: a prompt that is too long loses its
        oldest messages or its middle, and the answer is a 200. They are turned off, so that it is
        an error. A different `shift` would also load the model again.
        """
        kept = {} if self.keep_alive is None else {"keep_alive": self.keep_alive}
        return {"model": self.model, "stream": False, "truncate": False, "shift": False, **kept}


def native_body(request: ChatRequest, served: Served) -> JsonObject:
    """Return the body for `/api/chat` of a request that the plan found applicable."""
    fields = request.body
    options: JsonObject = {**served.options, "seed": request.seed}
    options |= {name: fields[name] for name in (*SAMPLING, "num_keep") if name in fields}
    for name in MAX_TOKENS:
        if name in fields:
            options["num_predict"] = fields[name]
    if (stop := fields.get("stop")) is not None:
        options["stop"] = [stop] if isinstance(stop, str) else stop
    body = {**served.body(), "messages": native_messages(fields["messages"]), "options": options}
    body |= {name: fields[name] for name in (*PASSED_ON, "tools") if name in fields}
    if fields.get("stream"):
        body["stream"] = True
    if (effort := fields.get("reasoning_effort")) is not None:
        body["think"] = EFFORTS[effort]
    if (form := _format(fields.get("response_format"))) is not None:
        body["format"] = form
    return body


def _format(response_format: Mapping[str, Any] | None) -> str | JsonObject | None:
    if response_format is None or response_format.get("type") == "text":
        return None
    return schema_of(response_format) or "json"


def native_messages(messages: Iterable[JsonObject]) -> list[JsonObject]:
    """Return OpenAI's messages as Ollama's: arguments as objects, a tool's answer by its name."""
    called: dict[str, str] = {}
    native: list[JsonObject] = []
    for message in messages:
        text, images = _content(message.get("content"))
        ours: JsonObject = {"role": message["role"], "content": text}
        if images:
            ours["images"] = images
        if calls := message.get("tool_calls"):
            ours["tool_calls"] = [_native_call(call) for call in calls]
            called |= {call["id"]: call["function"]["name"] for call in calls if call.get("id")}
        if thinking := message.get("reasoning_content"):
            ours["thinking"] = thinking
        if call_id := message.get("tool_call_id"):
            ours["tool_call_id"] = call_id
        if message["role"] == "tool" and (name := message.get("name") or called.get(call_id or "")):
            ours["tool_name"] = name
        native.append(ours)
    return native


def _content(content: str | list[JsonObject] | None) -> tuple[str, list[str]]:
    """Return a message's text, and its images in base64 without what stands before the data."""
    if not isinstance(content, list):
        return content or "", []
    texts = [part["text"] for part in content if part.get("type") == "text"]
    images = [part["image_url"] for part in content if part.get("type") != "text"]
    urls = [image["url"] if isinstance(image, dict) else image for image in images]
    return "".join(texts), [url.partition(";base64,")[2] for url in urls]


def _native_call(call: JsonObject) -> JsonObject:
    given = {"id": call["id"]} if call.get("id") else {}
    function = {"name": call["function"]["name"], "arguments": arguments_of(call)}
    return {**given, "function": function}


def understand(answer: Answer) -> ChatReply | Refusal:
    """Return what an answer of `/api/chat` means.

    Its errors are `{"error": TEXT}`, and mean what they mean of any other server.
    """
    try:
        data = _data(answer)
    except (ValueError, RecursionError):
        return classify(answer)
    if answer.status not in _SUCCESS or fault_in(answer.status, data) is not None:
        return classify(answer)
    message = data.get("message") if isinstance(data, dict) else None
    if not isinstance(message, dict):
        return broken(answer, MalformedError("no message"))
    try:
        return _reply(data, message, answer)
    except MalformedError as error:
        return broken(answer, error)
    except (KeyError, TypeError, AttributeError):
        return broken(answer, MalformedError("a tool call without a function"))


def _data(answer: Answer) -> Any:
    """Return what an answer holds, in the shape of one that was not streamed.

    An error is one object, also where a stream was asked for.
    """
    try:
        data = json.loads(answer.body)
    except ValueError:
        if answer.streamed is not None:
            return storable(answer.streamed.whole())
        try:
            return storable(whole_chat(answer.body))
        except ValueError:
            return decoded(answer)
    if answer.streamed is None or answer.status not in _SUCCESS:
        return storable(data)
    return storable(answer.streamed.whole())


def _reply(data: JsonObject, message: JsonObject, answer: Answer) -> ChatReply:
    calls = tuple(_tool_call(call) for call in message.get("tool_calls") or ())
    content = message.get("content")
    thinking = message.get("thinking")
    return ChatReply(
        message=message,
        content=content if isinstance(content, str) and content else None,
        reasoning=thinking if isinstance(thinking, str) and thinking else None,
        tool_calls=calls,
        finish_reason=_finish_reason(data, called=bool(calls)),
        prompt_tokens=count(data, "prompt_eval_count"),
        completion_tokens=count(data, "eval_count"),
        timing=_timing(data, answer),
        model=model if isinstance(model := data.get("model"), str) else None,
        usage=ollama_usage(data),
    )


def _tool_call(call: JsonObject) -> ToolCall:
    function, call_id = call["function"], call.get("id")
    arguments = function.get("arguments")
    if not isinstance(arguments, str):
        arguments = json.dumps(
            {} if arguments is None else arguments, separators=(",", ":"), ensure_ascii=False
        )
    return ToolCall(
        name=called_name(function),
        arguments=arguments,
        id=call_id if isinstance(call_id, str) and call_id else None,
    )


def _finish_reason(data: JsonObject, *, called: bool) -> str | None:
    """Return why the reply ended, in OpenAI's words.

    Ollama ends a reply that repeats one token more than thirty times without a word: it is a 200
    that is not `done`. It was cut off, so this says so.
    """
    if data.get("done") is False:
        return "length"
    reason = data.get("done_reason")
    if reason == "stop" and called:
        return "tool_calls"
    return reason if isinstance(reason, str) else None


def _timing(data: JsonObject, answer: Answer) -> Timing:
    """Return the times that Ollama measured, which it gives in nanoseconds.

    The prompt's rate is left out: its tokens are counted with those that came from the cache, the
    time without.
    """
    prompt_ns, ns = count(data, "prompt_eval_duration"), count(data, "eval_duration")
    tokens = count(data, "eval_count")
    rate = None
    if tokens is not None and tokens > 1 and ns:
        rate = tokens * NANOSECONDS / ns
    arrivals = None if answer.streamed is None else answer.streamed.arrivals
    first_s = None if arrivals is None else arrivals.first_s
    if first_s is None and prompt_ns is not None:
        first_s = prompt_ns / NANOSECONDS
    return Timing(
        latency_s=answer.latency_s,
        time_to_first_token_s=first_s,
        completion_tokens_per_s=rate,
        token_gap_p50_s=None if arrivals is None else arrivals.gap_p50_s,
        token_gap_max_s=None if arrivals is None else arrivals.gap_max_s,
    )


ANSWER_TIMEOUT_S = 30.0
"""For requests that only look something up, or remove a tag."""

SILENCE_S = 900.0
"""How long a pull or a conversion may say nothing; a large file's check takes minutes."""

MAX_LINE_BYTES = 1024 * 1024
UPLOAD_BYTES = 1024 * 1024
_OK = 200
_NOT_FOUND = 404


class OllamaChat(OpenAiChat):
    """One model of an Ollama, asked by its own chat API."""

    path: ClassVar[str] = "/api/chat"
    stream_options: ClassVar[Mapping[str, Any]] = {}
    asks_after_crash: ClassVar[bool] = False
    """Its session finds out whether the request is what its runner died of."""

    def __init__(
        self, *, url: str, served: Served, name: str, connections: int, policy: RetryPolicy
    ) -> None:
        super().__init__(base_url=url, connections=connections, policy=policy)
        self.root = url
        self._served = served
        self._name = name

    async def rendered(self, body: JsonObject) -> str | None:
        """Return the prompt that a request becomes; None where the server does not show it.

        A version that does not know the question takes it for a chat: it gets to write one token.
        """
        request = ChatRequest(body=body, seed=0, trial=0, test="", timeout_s=PROBE_TIMEOUT_S)
        asked = {**native_body(request, self._served), "_debug_render_only": True}
        asked["options"] |= {"num_predict": 1}
        asked["stream"] = False
        try:
            _, data = await self.post(self._url, asked, PROBE_TIMEOUT_S)
        except ConnectionError:
            return None
        told = data.get("_debug_info") if isinstance(data, dict) else None
        prompt = told.get("rendered_template") if isinstance(told, dict) else None
        return prompt if isinstance(prompt, str) else None

    def _listener(self, content_type: str, *, streams: bool) -> Listener | None:
        return OllamaStream(self._secrets.masked) if streams or "ndjson" in content_type else None

    def _payload(self, request: ChatRequest) -> bytes:
        return json.dumps(native_body(request, self._served), separators=(",", ":")).encode()

    def _understand(self, answer: Answer) -> ChatReply | Refusal:
        result = understand(answer)
        if isinstance(result, ChatReply):
            return result
        # A throw-away tag means nothing to people, and differs from run to run.
        named = re.sub(rf"(\S+/)?{re.escape(self._served.model)}", self._name, result.reason)
        return replace(result, reason=named)


class OllamaApi:
    """What else an Ollama can be asked. Belongs to the event loop in which it is first used.

    Args:
        url: The server's root.
        shown: The same without secrets, for messages.
    """

    def __init__(self, url: str, shown: str) -> None:
        self.url = url
        self._shown = shown
        self._session: aiohttp.ClientSession | None = None

    async def aclose(self) -> None:
        """Close all connections. May be called more than once."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def version(self) -> str | None:
        """Return the server's version; None where no Ollama answers."""
        try:
            status, data = await self._ask("GET", "/api/version", None, ANSWER_TIMEOUT_S)
        except ServerError:
            return None
        version = data.get("version")
        return version if status == _OK and isinstance(version, str) else None

    async def tags(self) -> dict[str, str]:
        """Return the tags that the server has → their digests.

        Raises:
            ServerError: It does not say.
        """
        data = await self._required("GET", "/api/tags", None)
        return {
            str(entry.get("name")): str(entry.get("digest", ""))
            for entry in data.get("models") or ()
        }

    async def show(self, tag: str) -> JsonObject:
        """Return what the server says of a tag.

        Raises:
            ServerError: It does not say.
        """
        return await self._required("POST", "/api/show", {"model": tag})

    async def running(self) -> list[JsonObject]:
        """Return the models that are loaded.

        Raises:
            ServerError: The server does not say.
        """
        return list((await self._required("GET", "/api/ps", None)).get("models") or ())

    async def load(self, served: Served, timeout_s: float) -> None:
        """Load a model, if it is not, as its requests will want it.

        Raises:
            ServerError: It cannot be loaded; the message says why.
        """
        body = {**served.body(), "messages": [], "options": dict(served.options)}
        await self._required("POST", "/api/chat", body, timeout_s)

    async def unload(self, tag: str) -> None:
        """Have a model unloaded.

        Raises:
            ServerError: The server does not answer.
        """
        body = {"model": tag, "messages": [], "stream": False, "keep_alive": 0}
        await self._ask("POST", "/api/chat", body, ANSWER_TIMEOUT_S)

    async def delete(self, tag: str) -> None:
        """Remove a tag, if it is there.

        Raises:
            ServerError: It stays.
        """
        status, data = await self._ask("DELETE", "/api/delete", {"model": tag}, ANSWER_TIMEOUT_S)
        if status not in {_OK, _NOT_FOUND}:
            raise self._refused(f"the tag {tag} cannot be removed", status, data)

    async def upload(self, digest: str, path: Path, report: Callable[[int, int], None]) -> bool:
        """Send a file, unless the server has it already; return whether it had to be sent.

        Args:
            digest: The file's sha256.
            report: Is told how many bytes of how many are sent.

        Raises:
            ServerError: It is not taken.
        """
        import aiohttp

        page = beside(self.url, f"/api/blobs/sha256:{digest}")
        try:
            async with self._http().head(page) as response:
                if response.status == _OK:
                    return False
            size = await asyncio.to_thread(lambda: path.stat().st_size)
            headers = {"Content-Length": str(size)}
            pieces = _pieces(path, size, report)
            async with self._http().post(page, data=pieces, headers=headers) as response:
                status, text = response.status, await response.text()
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise ServerError(
                f"the model's file could not be sent: {type(error).__name__}", where=self._shown
            ) from None
        if status not in {_OK, 201}:
            raise self._refused("the model's file is not taken", status, {"error": text})
        return True

    async def statuses(self, path: str, body: JsonObject, failed: str) -> AsyncIterator[JsonObject]:
        """Yield what the server tells while it pulls or makes a model.

        Args:
            path: `/api/pull` or `/api/create`.
            failed: What to say if it fails.

        Raises:
            ServerError: It fails; also in the middle of a 200.
        """
        import aiohttp

        try:
            async with self._http().post(beside(self.url, path), json=body) as response:
                if response.status != _OK:
                    raise self._refused(failed, response.status, _json(await response.text()))
                async for line in response.content:
                    status = _json(line.decode(errors="replace"))
                    if status.get("error"):
                        raise self._refused(failed, response.status, status)
                    yield status
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            raise ServerError(f"{failed}: {type(error).__name__}", where=self._shown) from None

    async def _required(
        self, method: str, path: str, body: JsonObject | None, timeout_s: float = ANSWER_TIMEOUT_S
    ) -> JsonObject:
        status, data = await self._ask(method, path, body, timeout_s)
        if status != _OK or data.get("error"):
            raise self._refused(f"{path} fails", status, data)
        return data

    async def _ask(
        self, method: str, path: str, body: JsonObject | None, timeout_s: float
    ) -> tuple[int, JsonObject]:
        import aiohttp

        try:
            async with (
                asyncio.timeout(timeout_s),
                self._http().request(method, beside(self.url, path), json=body) as response,
            ):
                return response.status, _json(await response.text())
        except TimeoutError:
            reason = f"no answer within {timeout_s:g} s"
        except (aiohttp.ClientError, OSError, ValueError) as error:
            reason = type(error).__name__
        raise ServerError(
            f"no Ollama answers: {reason}",
            where=self._shown,
            hint="is it running? `ollama serve` starts it",
        )

    def _refused(self, what: str, status: int, data: JsonObject) -> ServerError:
        reason = data.get("error") or f"HTTP {status}"
        return ServerError(f"{what}: {reason}", where=self._shown)

    def _http(self) -> aiohttp.ClientSession:
        import aiohttp

        if self._session is None:
            self._session = aiohttp.ClientSession(
                cookie_jar=aiohttp.DummyCookieJar(),
                read_bufsize=MAX_LINE_BYTES,
                timeout=aiohttp.ClientTimeout(
                    total=None, sock_connect=CONNECT_TIMEOUT_S, sock_read=SILENCE_S
                ),
            )
        return self._session


async def _pieces(
    path: Path, size: int, report: Callable[[int, int], None]
) -> AsyncIterator[bytes]:
    """Yield a file in pieces, read in another thread."""
    sent = 0
    with path.open("rb") as file:
        while piece := await asyncio.to_thread(file.read, UPLOAD_BYTES):
            yield piece
            sent += len(piece)
            report(sent, size)


def _json(text: str) -> dict[str, Any]:
    """Return a JSON object; an empty one for anything else."""
    try:
        data = json.loads(text) if text.strip() else {}
    except ValueError:
        return {}
    return data if isinstance(data, dict) else {}
