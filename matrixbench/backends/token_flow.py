"""A request whose time is up: was the model still writing, or did the server hang?

The first says something of the model, the second nothing. llama.cpp's `/slots` tells them apart: it
is looked at twice shortly before the time is up. A server without that page is not suspected.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from matrixbench.backends.address import beside
from matrixbench.records import ChatReply, Kind, Outcome, Refusal

if TYPE_CHECKING:
    from matrixbench.backends.openai_chat import OpenAiChat
    from matrixbench.records import ChatRequest

FIRST_LOOK = 0.8
SECOND_LOOK = 0.95
"""When to look, as shares of the request's time."""

LEAST_LOOK_S = 0.25
_NO_ANSWER = "no answer"
_OK = 200


async def ask_watching(chat: OpenAiChat, root: str, request: ChatRequest) -> ChatReply | Refusal:
    """Return what a server answers; one that timed out without a token flowing is said to hang.

    Args:
        chat: The server's chat API.
        root: The server's url, without `/v1`.
        request: The request.
    """
    asking = asyncio.ensure_future(chat.ask(request))
    looks: list[Any] = []
    began = asyncio.get_running_loop().time()
    try:
        for share in (FIRST_LOOK, SECOND_LOOK):
            left = began + share * request.timeout_s - asyncio.get_running_loop().time()
            await asyncio.wait({asking}, timeout=max(0.0, left))
            if asking.done():
                break
            looks.append(await _look(chat, root, request.timeout_s * (1 - SECOND_LOOK)))
        result = await asking
    finally:
        if not asking.done():
            asking.cancel()
            await asyncio.wait({asking})
    return _judged(result, looks)


async def _look(chat: OpenAiChat, root: str, timeout_s: float) -> Any:  # noqa: ANN401  JSON
    """Return what the slots are doing; None where the server does not say."""
    try:
        status, page = await chat.get(beside(root, "/slots"), max(LEAST_LOOK_S, timeout_s))
    except ConnectionError:
        return _NO_ANSWER
    return page if status == _OK else None


def _judged(result: ChatReply | Refusal, looks: list[Any]) -> ChatReply | Refusal:
    if not isinstance(result, Refusal) or result.kind is not Kind.TIMEOUT:
        return result
    silent = _NO_ANSWER in looks
    still = len(looks) == len((FIRST_LOOK, SECOND_LOOK)) and looks[0] == looks[1] is not None
    if not silent and not still:
        return result
    why = "the server answers nothing" if silent else "no token was flowing"
    return replace(
        result,
        outcome=Outcome.ERRORED,
        kind=Kind.SERVER_HUNG,
        reason=f"{result.reason}, and {why}",
    )
