"""Which models a server lists, and whether it is the one that is asked for."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
from difflib import SequenceMatcher
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from matrixbench.backends.registry import Remark
from matrixbench.spec.slips import folded
from matrixbench.spec.wording import choose

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

IDS_SHOWN = 8
"""How many ids a message names; a hub lists thousands."""

_COMPARED = 200


def ids_in(listed: Any) -> tuple[str, ...]:
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
    wanted, last = folded(asked), folded(asked.rsplit("/", 1)[-1])

    def distance(name: str) -> tuple[int, float]:
        known, base = folded(name), folded(name.rsplit("/", 1)[-1])
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


_ADDED = re.compile(r"[-@:](\d{3,8}(-\d\d-\d\d)?|latest|v\d+(\.\d+)*)")
"""What servers add to a name that they resolve: a date, a version."""


def listed_names(page: object) -> tuple[str, ...]:
    """Return the ids and aliases of a `/models` page, in its order; empty where it has none."""
    entries = page.get("data") if isinstance(page, dict) else None
    names: dict[str, None] = {}
    for entry in entries if isinstance(entries, list) else ():
        if isinstance(entry, dict):
            aliases = entry.get("aliases")
            several = [entry.get("id"), *(aliases if isinstance(aliases, list) else ())]
            names |= dict.fromkeys(name for name in several if isinstance(name, str) and name)
    return tuple(names)


def same_model(asked: str, named: str) -> bool:
    """Return whether two names stand for one model as far as names tell.

    Case, folders before the name, the suffix of a file, and a date or version that a server adds do
    not count: `gpt-x` is served by `gpt-x-2026-01-31`, `small` by `/models/small.gguf`.
    """
    one, other = _bare(asked), _bare(named)
    if len(one) > len(other):
        one, other = other, one
    return other.startswith(one) and (
        one == other or _ADDED.fullmatch(other[len(one) :]) is not None
    )


def _bare(name: str) -> str:
    last = name.strip().replace("\\", "/").rstrip("/").rpartition("/")[2]
    return last.casefold().removesuffix(".gguf")


def unlisted(asked: str | None, names: tuple[str, ...]) -> Remark | None:
    """Return what to say where a server's list lacks the model; None where it says nothing."""
    if asked is None or not names or any(same_model(asked, name) for name in names):
        return None
    return Remark(
        f"the server does not list the model «{asked}»: another one may answer",
        f"{choose(asked, names, what='it has')}. Write the right one as the model's id:, or "
        "strict_model: true to stop here.",
    )


def misnamed(asked: str | None, named: str | None) -> Remark | None:
    """Return what to say where a reply bears another model's name; None where it does not."""
    if asked is None or not named or same_model(asked, named):
        return None
    return Remark(
        f"«{asked}» was asked for, and «{named[:200]}» answered",
        "Write the model's id: as the server calls it, or strict_model: true to stop here.",
    )


ANSWER_TIMEOUT_S = 2.0
MOST_BYTES = 1 << 20
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
_OK = 200


class LocalPage(NamedTuple):
    """What a page answered: its status, 0 where nothing came, and its JSON."""

    status: int
    data: Any

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of the models that it lists."""
        return ids_in(self.data) if self.status == _OK else ()


def local_page(url: str, key: str | None = None) -> LocalPage:
    """Return what a page on this machine answers, asked without any proxy.

    For `doctor`: aiohttp takes longer to import than all of this takes to run.
    """
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(str(parts.hostname), parts.port, timeout=ANSWER_TIMEOUT_S)
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    path = parts._replace(scheme="", netloc="", fragment="").geturl()
    with (
        contextlib.closing(connection),
        contextlib.suppress(OSError, http.client.HTTPException, ValueError, RecursionError),
    ):
        connection.request("GET", path or "/", headers=headers)
        answer = connection.getresponse()
        body = answer.read(MOST_BYTES)
        with contextlib.suppress(ValueError, RecursionError):
            return LocalPage(answer.status, json.loads(body))
        return LocalPage(answer.status, None)
    return LocalPage(0, None)
