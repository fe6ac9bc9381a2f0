"""Replies that ended because prompt and reply filled the context, not because of `max_tokens`.

Servers call both `length`. Which of the two it was decides what to change, so it is kept with the
reply.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias

from matrixbench.records import ChatReply
from matrixbench.spec.doubtful import context_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from matrixbench.backends.protocol import Session, SessionInfo
    from matrixbench.records import ChatRequest, JsonObject, Refusal
    from matrixbench.spec.backends import Backend

Ask: TypeAlias = "Callable[[ChatRequest], Awaitable[ChatReply | Refusal]]"

LENGTH = "length"

_LEFT = 1
"""Tokens that may be left of a full context: some builds stop before they write the last one."""


def noticing_full_context(session: Session, declared: int | None) -> Ask:
    """Return what asks a session, and marks the replies that filled its context.

    Args:
        session: The server.
        declared: The context that the file says, where the server does not say its own.
    """

    async def ask(request: ChatRequest) -> ChatReply | Refusal:
        answer = await session.ask(request)
        if not isinstance(answer, ChatReply) or answer.finish_reason != LENGTH:
            return answer
        return marked(answer, request.body.get("max_tokens"), context_in(session.info) or declared)

    return ask


def marked(reply: ChatReply, most: object, context: int | None) -> ChatReply:
    """Return a reply that was cut off, with the context if that is what it filled.

    Args:
        reply: The reply.
        most: The `max_tokens` that it was asked for with.
        context: Tokens that one request may use; None where nobody says.
    """
    prompt, completion = reply.prompt_tokens, reply.completion_tokens
    if context is None or prompt is None or completion is None:
        return reply
    reached = isinstance(most, int) and completion >= most
    if reached or prompt + completion < context - _LEFT:
        return reply
    return replace(reply, filled_context=context)


def context_in(info: SessionInfo) -> int | None:
    """Return how many tokens one request may use, where the server says so."""
    said: JsonObject = info.effective
    model = said.get("model")
    listed = model.get("max_model_len") if isinstance(model, dict) else None
    found = said.get("n_ctx") or said.get("context_length") or listed
    return found if isinstance(found, int) and not isinstance(found, bool) else None


def rounded_context(backend: Backend, info: SessionInfo) -> str:
    """Return that a server made more of the context than was asked for; empty where it did not."""
    asked, has = context_of(backend), context_in(info)
    if asked is None or has is None or has <= asked or not info.command:
        return ""
    return f"context: {asked} was asked for, and the server rounded it up to {has:,} tokens a slot"
