"""A check that any experiment can name."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matrixbench import ChatReply

SPECIAL = re.compile(r"<\|[\w-]+\|>")


def no_special_tokens(reply: ChatReply, *, allowed: Sequence[str] = ()) -> bool | str:
    """Return whether a reply is free of special tokens; else a text that says which it holds."""
    found = [token for token in SPECIAL.findall(reply.content or "") if token not in allowed]
    return f"the reply holds {found[0]}" if found else True
