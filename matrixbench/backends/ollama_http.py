"""Ollama over HTTP: its chat, and the requests by which models are looked up, made and removed.

The module imports aiohttp, which is heavy: import it where a session is opened.
"""

from __future__ import annotations

import asyncio
import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import aiohttp

from matrixbench.backends.address import beside
from matrixbench.backends.ollama_chat import Served, native_body, understand
from matrixbench.backends.ollama_stream import OllamaStream
from matrixbench.backends.openai_chat import CONNECT_TIMEOUT_S, OpenAiChat
from matrixbench.backends.reported import PROBE_TIMEOUT_S
from matrixbench.errors import ServerError
from matrixbench.records import ChatReply, ChatRequest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping
    from pathlib import Path

    from matrixbench.backends.openai_chat import Listener
    from matrixbench.backends.openai_reply import Answer
    from matrixbench.backends.retry import RetryPolicy
    from matrixbench.records import JsonObject, Refusal

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
            path: The file.
            report: Is told how many bytes of how many are sent.

        Raises:
            ServerError: It is not taken.
        """
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
            body: What is asked.
            failed: What to say if it fails.

        Raises:
            ServerError: It fails; also in the middle of a 200.
        """
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
