"""Texts that models and servers wrote, made safe for a terminal."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from matrixbench.checks.excerpt import one_line

if TYPE_CHECKING:
    from matrixbench.records import ChatReply, ToolCall

_KEPT = "\n\t"


def visible(text: str) -> str:
    """Return a text with every character that is not printable written as an escape.

    Line breaks and tabs stay. No terminal control, direction override or lone surrogate is left.
    """
    if text.isprintable():
        return text
    return "".join(
        sign if sign.isprintable() or sign in _KEPT else sign.encode("unicode_escape").decode()
        for sign in text.replace("\r\n", "\n")
    )


def excerpt(reply: ChatReply | None, limit: int) -> str:
    """Return one short line that says what a reply is: its calls, else its text."""
    if reply is None:
        return ""
    if reply.tool_calls:
        return one_line(
            ", ".join(f"{call.name}({call.arguments})" for call in reply.tool_calls), limit
        )
    return one_line(json.dumps(reply.content, ensure_ascii=False), limit)


def arguments_text(call: ToolCall) -> str:
    """Return a call's arguments as indented JSON, or as they are where they are none."""
    try:
        return visible(json.dumps(json.loads(call.arguments), indent=2, ensure_ascii=False))
    except (ValueError, RecursionError):
        return visible(call.arguments)
