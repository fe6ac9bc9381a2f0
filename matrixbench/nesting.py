"""How deep JSON is nested: what is read has to be masked, judged, stored and shown as well.

Each of those goes down level by level, and Python ends a program that goes down a thousand. No chat
server has a reason to send a reply that comes near; what does is refused as a whole.
"""

from __future__ import annotations

import re

DEEPEST = 128
"""How many lists and objects may stand within each other."""

_OUTSIDE_TEXTS = re.compile(rb'"(?:[^"\\]|\\.)*+"?|([\[{])|([\]}])', re.DOTALL)


def too_deep(body: bytes) -> bool:
    """Return whether JSON text, or a stream of it, is nested deeper than `DEEPEST`.

    Nearly always it is enough to count brackets; brackets within texts do not count.
    """
    if body.count(b"[") + body.count(b"{") <= DEEPEST:
        return False
    level = 0
    for found in _OUTSIDE_TEXTS.finditer(body):
        if found[1]:
            level += 1
            if level > DEEPEST:
                return True
        elif found[2]:
            level = max(0, level - 1)
    return False
