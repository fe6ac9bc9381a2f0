"""A server that runs already and speaks the OpenAI chat API: never started, never stopped."""

from __future__ import annotations

import json
import shlex
import socket
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import Field

from matrixbench.backends.http.address import (
    address_of,
    base_of,
    beside,
    other_form,
    root_of,
    shown_url,
)
from matrixbench.backends.http.openai_chat import (
    PROBE_TIMEOUT_S,
    AddressedChat,
    ask_watching,
    context_in,
    look_at,
    of_model,
    other_told,
    reported,
    takes_chats,
)
from matrixbench.backends.http.requests import Pace, RetryPolicy
from matrixbench.backends.http.served_names import (
    ANSWER_TIMEOUT_S,
    LOOPBACK,
    LocalPage,
    has_id,
    ids_told,
    listed_names,
    local_page,
    nearest_ids,
    unlisted,
)
from matrixbench.backends.registry import (
    ServerKind,
    SessionInfo,
    not_asked,
    not_honoured,
    ok,
    problem,
    unknown,
    warning,
)
from matrixbench.backends.secrecy import told_query
from matrixbench.errors import ServerError
from matrixbench.identity import canonical_json, digest
from matrixbench.records import Build
from matrixbench.spec.backends import Obstacle, PositiveInt
from matrixbench.spec.yaml_source import Finding

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager

    from matrixbench.backends.http.address import Address
    from matrixbench.backends.http.openai_chat import OpenAiChat
    from matrixbench.backends.registry import Asked, Examined, LaunchRequest, Surroundings
    from matrixbench.plan.cells import Launch, Origin, PresentBuild
    from matrixbench.records import ChatReply, ChatRequest, JsonObject, Refusal
    from matrixbench.spec.models import Model, Template
    from matrixbench.spec.yaml_source import Entry


KIND = "endpoint"
DEFAULT_CONCURRENCY = 4
"""Where neither the file nor the server says how many requests at a time."""

MAX_CONNECTIONS = 256
"""Where the file does not say how many; a server may claim to work on thirty millions."""


_NOT_READY = frozenset({502, 503, 504})
_NO_PAGE = frozenset({200, 301, 302, 307, 308, 404, 405})
"""What a url answers that has no list of models: nothing, another place, or a page for people."""

ANY_MODEL = "llamacpp"
"""The owner of a model that llama.cpp lists: its server answers whatever id is asked for."""

_REFUSED = frozenset({401, 403})


class EndpointBackend(ServerKind):
    """A running server that speaks the OpenAI chat API. Never started, never stopped."""

    kind: Literal["endpoint"]
    """How the server is obtained: it is there already, at a url."""

    url: str
    """The API's base, usually ending in `/v1`; `${VAR}` expands."""

    strict_model: bool = False
    """Whether the launch ends where the server lists other models than the `id` that is asked for,
    or another model answers. Without it that is said once."""

    api_key_env: str | None = None
    """The name of the environment variable that holds the key. The key itself is never stored."""

    context: PositiveInt | None = None
    """Tokens that one request may use, where you know it; tests that need more do not apply."""

    requests_per_minute: Annotated[float, Field(gt=0)] | None = None
    """How many requests it is sent in a minute at most, over all that are under way, retries
    included."""

    honours: list[str] = []
    """Request fields that this server honours beyond temperature, top_p, seed, max_tokens and
    stop."""

    page: ClassVar[str] = "docs/servers.md#endpoint"

    @classmethod
    def doubtful_findings(cls, name: str, entry: Entry, url: str | None) -> Iterator[Finding]:
        """Yield that the url is a page of the API."""
        node = entry.node.child("url")
        base = None if url is None else base_of(url)
        if node is None or base is None or url is None:
            return
        message = f"the url of the backend «{name}» names a page of the API, not its base"
        hint = f"write url: {base}" if node.text == url and "@" not in url else "leave it out"
        yield Finding(place=node.place, message=message, hint=hint)

    def launch_obstacle(
        self, model_name: str, model: Model, template: Template, *, faithful: bool
    ) -> Obstacle | None:
        """Return that a model has no id, or that there is a template to be given."""
        if model.id is None:
            return Obstacle(
                f"model {model_name} has no id for an endpoint",
                "give it id:, or say backends: in the model",
            )
        if not template.is_native:
            return Obstacle(
                f"an endpoint cannot be given the chat template {template.name}",
                "its server decides; use a template that is {}, or exclude these cells",
            )
        return None

    def request_obstacle(
        self, coordinates: Mapping[str, Any], fields: Mapping[str, Any]
    ) -> Obstacle | None:
        """Return the first sampling field that its server may drop."""
        return not_honoured(coordinates, self.honours, "endpoint")

    def identity(self, model: Model, template: Template) -> JsonObject:
        """Return the model's id: what its url stands for is in the build."""
        return {"model": model.id}

    def present(self, launch: Launch, origin: Origin, around: Surroundings) -> PresentBuild:
        """Return that only a run asks."""
        return unknown(origin, "an endpoint is asked only when it runs")

    def open(
        self, order: LaunchRequest, around: Surroundings
    ) -> AbstractAsyncContextManager[EndpointSession]:
        """Return a context in which the endpoint can be asked."""
        return open_endpoint(order, around.environ)

    def examine(
        self, what: str, ids: Mapping[str, str], around: Surroundings
    ) -> Iterator[Examined]:
        """Yield what there is to say of the endpoint and of the models that it is asked for.

        Only a server on this machine is asked, for its list of models and nothing else.
        """
        try:
            address = address_of(self.url, self.api_key_env, around.environ)
        except ServerError as error:
            where = f"{error.where}: " if error.where else ""
            yield problem(what, f"{where}{error.message}", error.hint)
            return
        key = "" if address.key_env is None else f", the key in {address.key_env} is set"
        parts = urlsplit(address.url)
        if not around.trust.allows(self.uses((), around)):
            yield not_asked(what, address.shown, around, key=key)
            return
        if parts.hostname not in LOOPBACK:
            yield ok(what, f"{address.shown}{key}; not asked: it is not on this machine")
            return
        port = parts.port or (443 if parts.scheme == "https" else 80)
        try:
            with socket.create_connection((parts.hostname, port), ANSWER_TIMEOUT_S):
                pass
        except OSError as error:
            found = f"{address.shown} takes no connection ({error.strerror or 'no answer'}){key}"
            yield problem(what, found, "start the server, or correct the url's port")
            return
        yield from _examined(what, address, ids, key)

    @classmethod
    def chat_url(cls, asked: Asked) -> str:
        """Return its url, as its build has it: without secrets."""
        base = "" if asked.build is None else json.loads(asked.build.server).get("url", "")
        return shlex.quote(f"{base.rstrip('/')}/chat/completions")

    @classmethod
    def key_variable(cls, asked: Asked) -> str | None:
        """Return the variable that the experiment's file names."""
        spec = None if asked.launch is None else asked.launch.spec
        return spec.api_key_env if isinstance(spec, cls) else None


class EndpointSession:
    """A session with a server that runs already."""

    def __init__(
        self,
        chat: OpenAiChat,
        address: Address,
        info: SessionInfo,
        policy: RetryPolicy,
        model: str | None,
    ) -> None:
        self._chat = chat
        self._model = model
        self._address = address
        self._root = root_of(address.url)
        self._info = info
        self._policy = policy

    @property
    def info(self) -> SessionInfo:
        """What is known of the server."""
        return self._info

    async def ask(self, request: ChatRequest) -> ChatReply | Refusal:
        """Return the model's reply, or what came instead; raises nothing but cancellation."""
        pages = (beside(self._root, "/health"), beside(self._address.url, "/models"))
        slots = self._root if "build_info" in self._info.effective else None  # llama.cpp's
        return await ask_watching(self._chat, request, pages=pages, root=slots)

    def forgive(self, deaths: int) -> None:
        """Do nothing: nobody counts the deaths of a server that is not ours."""

    async def ensure_alive(self) -> bool:
        """Return False once the server answers: it is not ours to start.

        Raises:
            ServerError: It stays away, or is another one by now.
        """
        for tried in range(1, self._policy.tries):
            try:
                await _models(self._chat, self._address)
            except ServerError:
                await self._policy.sleep(self._policy.wait_s(tried, None))
            else:
                break
        said, _ = await _reported(self._chat, self._address, self._model)
        self._check(said)
        return False

    def _check(self, said: JsonObject) -> None:
        """Hold what the server says against what it said at first, as far as it says it again.

        Raises:
            ServerError: Its trials would be another build's.
        """
        known = self._info.effective
        for name in sorted(said.keys() & known.keys()):
            if said[name] != known[name]:
                was, now = (canonical_json(one[name])[:60] for one in (known, said))
                raise ServerError(
                    f"the server came back as another one: {name} was {was}, is {now}",
                    where=self._address.shown,
                    hint="--resume runs what is left with what is there now",
                )


@asynccontextmanager
async def open_endpoint(
    order: LaunchRequest,
    environ: Mapping[str, str],
    policy: RetryPolicy | None = None,
    paced: Callable[[float], Pace] = Pace,
) -> AsyncGenerator[EndpointSession]:
    """Ask a server that runs already.

    Args:
        environ: Where the API key is looked up.
        policy: How to retry requests, and how long to look for a server that went away.
        paced: Makes the pace of so many requests per minute.

    Raises:
        ServerError: The key is missing or refused, the url is none, nobody answers there, or the
            server has a smaller context than the file says.
    """
    backend, policy = order.backend, policy or RetryPolicy()
    asked_at = backend.requests_per_minute
    pace = None if asked_at is None else paced(asked_at)
    address = address_of(backend.url, backend.api_key_env, environ)
    connections = 1 if order.faithful else backend.concurrency
    chat = AddressedChat(
        base_url=address.url,
        model=order.model.id,
        api_key=address.key,
        connections=connections or MAX_CONNECTIONS,
        policy=policy,
        pace=pace,
        proxied=True,
    )
    try:
        said, names = await _reported(chat, address, order.model.id)
        if "model" not in said:
            await _check_url(chat, address)
        elif order.model.id is None and isinstance(only := said["model"].get("id"), str):
            chat.call_model(only)  # some servers refuse requests that name none
        _check_context(address, backend.context, said)
        remark = unlisted(order.model.id, names)
        if remark is not None and backend.strict_model:
            raise ServerError(remark.message, where=address.shown, hint=remark.hint)
        info = SessionInfo(
            build=endpoint_build(address.shown, said, told_query(address.url)),
            concurrency=connections or _at_a_time(said),
            effective=said,
            asked_model=order.model.id,
            strict_model=backend.strict_model,
            noticed=(remark,) if remark else (),
        )
        yield EndpointSession(chat, address, info, policy, order.model.id)
    finally:
        await chat.aclose()


def _at_a_time(said: JsonObject) -> int:
    """Return how many requests a server says it works on, up to what can be kept open."""
    return min(said.get("total_slots") or DEFAULT_CONCURRENCY, MAX_CONNECTIONS)


async def _models(chat: OpenAiChat, address: Address) -> Any:
    """Return what `/models` says, or None where the server does not have it.

    Raises:
        ServerError: Nobody answers, the server is not ready, or it refuses the key.
    """
    try:
        status, data = await chat.get(beside(address.url, "/models"), PROBE_TIMEOUT_S)
    except ConnectionError as error:
        raise ServerError(
            f"the endpoint does not answer ({error})",
            where=address.shown,
            hint="is the server running, and is the url right, with its port and /v1?",
        ) from None
    if status in {401, 403}:
        held = f"the key in {address.key_env}" if address.key_env else "a request without a key"
        raise ServerError(
            f"the endpoint refuses {held} (HTTP {status})",
            where=address.shown,
            hint=f"check {address.key_env}" if address.key_env else "name it with api_key_env",
        )
    if status in _NOT_READY and not await _takes_chats(chat, address):
        raise ServerError(
            f"the endpoint is not ready (HTTP {status})",
            where=address.shown,
            hint="wait until its model is loaded, then run again",
        )
    return data if status == HTTPStatus.OK else None


async def _takes_chats(chat: OpenAiChat, address: Address) -> bool:
    """Return whether a server whose list of models fails takes chats: some proxies have no list."""
    url = beside(address.url, "/chat/completions")
    try:
        status, _ = await chat.post(url, {}, PROBE_TIMEOUT_S)
    except ConnectionError:
        return False
    return status not in _NOT_READY


async def _check_url(chat: OpenAiChat, address: Address) -> None:
    """Look whether it is the other form of the url that answers, where this one lists no models.

    A url that takes chats is right without a list.

    Raises:
        ServerError: The other form lists models, and there are no chats at this one.
    """
    asked = beside(address.url, "/models")
    page, other = await look_at(chat, asked), other_form(address.url)
    if page.lists_models or page.status not in _NO_PAGE:
        return
    if not (await look_at(chat, beside(other, "/models"))).lists_models:
        return
    if not await takes_chats(chat, address.url):
        raise ServerError(
            f"there is no chat API at this url: {shown_url(asked)} answers HTTP {page.status}",
            where=address.shown,
            hint=other_told(other, "url"),
        )


async def _reported(
    chat: OpenAiChat, address: Address, model: str | None
) -> tuple[JsonObject, tuple[str, ...]]:
    """Return what the server says of itself and of the model, without what changes by itself.

    With it come the names of the models that it lists.
    """
    listed = await _models(chat, address)
    said = {**of_model(listed, model), **await reported(chat, root_of(address.url))}
    return said, listed_names(listed)


def _check_context(address: Address, wanted: int | None, said: JsonObject) -> None:
    has = context_in(said)
    if wanted is not None and has is not None and has < wanted:
        raise ServerError(
            f"the file says context {wanted}, the server has {has} tokens per request",
            where=address.shown,
            hint=f"say context: {has}, or start the server with a larger one",
        )


def endpoint_build(url: str, reported: JsonObject, query: Sequence[tuple[str, str]] = ()) -> Build:
    """Return the build of an attached server: its url and what it reports of itself.

    Args:
        url: Without user, password and query.
        reported: What the server says that stays the same while the server does.
        query: What of the url's query says which server answers, without secrets.
    """
    asked = {"query": [list(pair) for pair in query]} if query else {}
    server = canonical_json({"url": url, **asked, **reported})
    version = reported.get("build_info") or reported.get("version") or ""
    return Build(
        id=digest({"kind": KIND, "server": server, "model": "", "device": ""}),
        kind=KIND,
        server=server,
        version=str(version),
        details=reported,
    )


def _examined(what: str, address: Address, ids: Mapping[str, str], key: str) -> Iterator[Examined]:
    """Yield what the list of models tells."""
    asked = beside(address.url, "/models")
    page = local_page(asked, address.key)
    if page.ids:
        count = f"{len(page.ids)} model" + ("" if len(page.ids) == 1 else "s")
        yield ok(what, f"{address.shown} answers: {count}{key}")
        for name, wanted in ids.items():
            yield from _examined_model(f"{what}, model {name}", wanted, page)
        return
    shown = shown_url(asked)
    if page.status in _REFUSED:
        todo = "check the key" if address.key_env else "name the key with api_key_env"
        yield problem(what, f"{shown} answers HTTP {page.status}{key}", todo)
        return
    other = other_form(address.url)
    if page.status and local_page(beside(other, "/models"), address.key).ids:
        found = f"{shown} answers HTTP {page.status}, and {shown_url(other)} as a chat API does"
        yield problem(what, found, f"write url: {shown_url(other)}")
        return
    if not page.status:
        yield ok(what, f"{address.shown} takes connections{key}")
        return
    found = f"{address.shown} takes connections{key}; {shown} answers HTTP {page.status}"
    yield warning(what, found, "some servers list no models; is the url right, with its /v1?")


def _examined_model(what: str, wanted: str, page: LocalPage) -> Iterator[Examined]:
    if has_id(wanted, page.ids):
        return
    found = f"the server does not list «{wanted}»; it has {ids_told(wanted, page.ids)}"
    todo = f"write id: {nearest_ids(wanted, page.ids)[0]}, or load the model there"
    entries = page.data.get("data") if isinstance(page.data, dict) else None
    owners = {entry.get("owned_by") for entry in entries or () if isinstance(entry, dict)}
    say = warning if owners == {ANY_MODEL} else problem
    yield say(what, found, todo)
