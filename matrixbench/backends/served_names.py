"""Which model a server says that it is, held against the one that it is asked for. Pure.

Many servers have one model and answer for whatever name is asked: `/models` and the replies tell.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from matrixbench.spec.wording import choose

_ADDED = re.compile(r"[-@:](\d{3,8}(-\d\d-\d\d)?|latest|v\d+(\.\d+)*)")
"""What servers add to a name that they resolve: a date, a version."""


class Remark(NamedTuple):
    """What the results of a launch should be read with, and what to do about it."""

    message: str
    hint: str


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
