"""`stream_options`, which asks for the token counts of a stream, and servers that refuse it. Pure.

It is not the user's field but ours, and a server that does not know it would otherwise reject every
streamed request. So the request is sent once more without it; what was said before is kept as an
attempt. No answer of the model is passed over thereby: only what speaks of this field, or of a
field that is unknown and none of the user's, is taken for such a refusal.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from matrixbench.records import Kind

if TYPE_CHECKING:
    from collections.abc import Iterable

    from matrixbench.records import JsonObject, Refusal

STREAM_OPTIONS: JsonObject = {"stream_options": {"include_usage": True}}
"""What is added to a request that asks for a stream."""

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
