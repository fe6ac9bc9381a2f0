"""Short views of what models wrote, for a terminal."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from matrixbench.checks.excerpt import one_line
from matrixbench.safe_text import visible

if TYPE_CHECKING:
    from matrixbench.records import ChatReply, ToolCall


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
