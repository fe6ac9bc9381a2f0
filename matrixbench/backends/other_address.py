"""What to write where a chat API is asked at the wrong url, or for a model that it lacks.

A url is tried in its other form once, and only to say what to write: no trial is ever sent to a url
that the file does not name.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from matrixbench.backends.address import beside, shown_url
from matrixbench.backends.model_ids import has_id, ids_in, ids_told, nearest_ids
from matrixbench.backends.openai_chat import OpenAiChat
from matrixbench.backends.reported import PROBE_TIMEOUT_S
from matrixbench.backends.url_forms import other_form
from matrixbench.records import Kind, Refusal

if TYPE_CHECKING:
    from matrixbench.records import ChatReply, ChatRequest

MODELS, CHAT = "/models", "/chat/completions"
_OK, _LOST = 200, frozenset({301, 302, 307, 308, 404, 405})


class Page(NamedTuple):
    """What a page of a server answered; status 0 where nothing came."""

    status: int
    data: Any

    @property
    def lists_models(self) -> bool:
        """Whether it is a list of models."""
        return self.status == _OK and bool(ids_in(self.data))


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

    def __init__(self, *, base_url: str, words: Words | None = None, **more: Any) -> None:  # noqa: ANN401  as the class that it extends
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
