"""A request whose time is up: was the model still writing, or did the server hang?

The first says something of the model, the second nothing. llama.cpp's `/slots` tells them apart: it
is looked at twice shortly before the time is up. A server without that page is sent a second
request: one that answers it is slow, one that does not is frozen.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from matrixbench.backends.address import beside
from matrixbench.records import ChatReply, Kind, Outcome, Refusal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matrixbench.backends.openai_chat import OpenAiChat
    from matrixbench.records import ChatRequest

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
        chat: The server's chat API.
        request: The request.
        pages: Urls of pages that the server answers at once, whatever it says, while it lives.
        root: Its url without `/v1` where it may have llama.cpp's `/slots`; None where not.
    """
    looks: list[Any] = []
    if root is None:
        result = await chat.ask(request)
    else:
        result = await _looking(chat, request, root, looks)
    if not isinstance(result, Refusal) or result.kind is not Kind.TIMEOUT:
        return result
    if len(looks) == len((FIRST_LOOK, SECOND_LOOK)) and looks[0] == looks[1] is not None:
        return _hung(result, "no token was flowing")
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


async def _look(chat: OpenAiChat, root: str, timeout_s: float) -> Any:  # noqa: ANN401  JSON
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
