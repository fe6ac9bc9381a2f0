"""The ids of the models that a server lists, and which of them is nearest to the one asked for."""

from __future__ import annotations

import re
from difflib import SequenceMatcher
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

IDS_SHOWN = 8
"""How many ids a message names; a hub lists thousands."""

_COMPARED = 200


def ids_in(listed: Any) -> tuple[str, ...]:  # noqa: ANN401  JSON from outside
    """Return the ids in a page of models, aliases too, each once, in the server's order.

    OpenAI's shape is `{"data": [{"id": …}]}`; others say `models`, a bare list, or only names.
    """
    entries = listed
    if isinstance(listed, dict):
        entries = listed.get("data") or listed.get("models")
    found = (name for entry in entries for name in _names(entry)) if _is_list(entries) else ()
    return tuple(dict.fromkeys(found))


def _is_list(entries: object) -> bool:
    return isinstance(entries, list)


def _names(entry: object) -> Iterator[str]:
    if isinstance(entry, str):
        yield entry
    if not isinstance(entry, dict):
        return
    name = next((entry[key] for key in ("id", "model", "name") if entry.get(key)), None)
    if isinstance(name, str):
        yield name
    aliases = entry.get("aliases")
    if isinstance(aliases, list):
        yield from (alias for alias in aliases if isinstance(alias, str) and alias)


def nearest_ids(asked: str, ids: Sequence[str]) -> list[str]:
    """Return ids, the likest to one asked for first; equals keep the server's order.

    Case, owner and separators count little: `qwen2.5-0.5b` is nearest to
    `Qwen/Qwen2.5-0.5B-Instruct`, whatever shares more letters.
    """
    wanted, last = _folded(asked), _folded(asked.rsplit("/", 1)[-1])

    def distance(name: str) -> tuple[int, float]:
        known, base = _folded(name), _folded(name.rsplit("/", 1)[-1])
        within = bool(last and base) and (last in known or base in wanted)
        ratio = max(
            SequenceMatcher(None, wanted[:_COMPARED], known[:_COMPARED]).ratio(),
            SequenceMatcher(None, last[:_COMPARED], base[:_COMPARED]).ratio(),
        )
        return (0 if within else 1), -ratio

    return sorted(ids, key=distance)


def has_id(asked: str, ids: Sequence[str]) -> bool:
    """Return whether a server lists an id; Ollama's `name` is its `name:latest`."""
    return asked in ids or f"{asked}:latest" in ids


def ids_told(asked: str, ids: Sequence[str]) -> str:
    """Return the ids as a message names them, the nearest first."""
    near = nearest_ids(asked, ids)
    shown = ", ".join(" ".join(name.split())[:_COMPARED] for name in near[:IDS_SHOWN])
    more = len(near) - IDS_SHOWN
    return f"{shown} and {more:,} more" if more > 0 else shown


def _folded(name: str) -> str:
    return re.sub(r"[\W_]+", "", name.casefold())
