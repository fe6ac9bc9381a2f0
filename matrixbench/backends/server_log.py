"""What a llama-server's log says of its KV cache and its flash attention.

It says so nowhere else, `/props` included; see docs/decisions/0009. Pure, but for the reading.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from matrixbench.errors import ServerError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from matrixbench.backends.executable import ServerHelp
    from matrixbench.backends.protocol import LaunchOrder
    from matrixbench.records import JsonObject

CACHE_TYPE_K, CACHE_TYPE_V, FLASH_ATTN = "cache-type-k", "cache-type-v", "flash-attn"
VERBOSITY = ("log-verbosity", "verbosity", "log-verbose", "verbose")
"""The options by which a user chooses how much the log holds: theirs is left as it is."""

_TRACES_AT_4 = re.compile(r"\b4: trace\b")
_CONTEXT = re.compile(r"\bllama_\w*context\w*: +flash_attn *= *([\w-]+)")
_RESOLVED = re.compile(
    r"\bFlash Attention (?:was auto, set to |not supported, set to )?(enabled|disabled)"
)
_CACHE = re.compile(r"\bK \((\w+)\): +[\d.]+ MiB, V \((\w+)\): +[\d.]+ MiB")

_YES = frozenset({"on", "enabled", "true", "1"})
_NO = frozenset({"off", "disabled", "false", "0"})
"""The words that llama-server takes, and those that its log uses; others are `auto`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """What a log tells of the model's context; empty or None where it does not tell.

    Args:
        cache_type_k: The types of the caches of K, each once: models with windows have several.
        cache_type_v: The same of V.
        flash_attn: Whether flash attention is used, as far as it was decided.
    """

    cache_type_k: tuple[str, ...] = ()
    cache_type_v: tuple[str, ...] = ()
    flash_attn: bool | None = None

    @property
    def complete(self) -> bool:
        """Whether nothing more is to come."""
        return bool(self.cache_type_k) and self.flash_attn is not None

    def effective(self) -> JsonObject:
        """Return what a launch's record keeps of it."""
        found: JsonObject = {}
        if self.cache_type_k:
            found["cache_type_k"] = ", ".join(self.cache_type_k)
            found["cache_type_v"] = ", ".join(self.cache_type_v)
        if self.flash_attn is not None:
            found["flash_attn"] = _word(self.flash_attn)
        return found


def read_log(text: str) -> Loaded:
    """Return what one start's output tells of the model's own context.

    A draft model has a context of its own, which is made later: only the first one is meant.
    """
    opened = False
    flash_attn: bool | None = None
    cache_k: dict[str, None] = {}
    cache_v: dict[str, None] = {}
    for line in text.splitlines():
        if (found := _CONTEXT.search(line)) is not None:
            if opened:
                break
            opened, flash_attn = True, _switched(found[1])
        elif opened and (found := _RESOLVED.search(line)) is not None:
            flash_attn = _switched(found[1])
        elif opened and (found := _CACHE.search(line)) is not None:
            cache_k[found[1]], cache_v[found[2]] = None, None
    return Loaded(cache_type_k=tuple(cache_k), cache_type_v=tuple(cache_v), flash_attn=flash_attn)


def asks(options: Mapping[str, Any]) -> bool:
    """Return whether a launch asks for something that only the log confirms."""
    return any(options.get(name) is not None for name in (CACHE_TYPE_K, CACHE_TYPE_V, FLASH_ATTN))


def telling(options: Mapping[str, Any], known: ServerHelp) -> tuple[str, ...]:
    """Return the flags that make a build tell what the options ask for; none where it does anyway.

    Builds whose help has a level «4: trace» tell it there. Older ones tell it by default, and what
    they call 4 prints every prompt.
    """
    if not asks(options) or any(name in options for name in VERBOSITY):
        return ()
    entry = known.flags.get("--verbosity")
    if entry is None or not _TRACES_AT_4.search(entry.text):
        return ()
    return ("--verbosity", "4")


def check_loaded(order: LaunchOrder, loaded: Loaded) -> None:
    """Compare what the log tells with what was asked for; what it does not tell is passed over.

    Raises:
        ServerError: They differ; with both values.
    """
    for name, given in ((CACHE_TYPE_K, loaded.cache_type_k), (CACHE_TYPE_V, loaded.cache_type_v)):
        asked = order.options.get(name)
        if asked is not None and given and str(asked).lower() not in given:
            raise ServerError(
                f"{order.name}: {name} {asked} was asked for, the server has {', '.join(given)}",
                hint="Leave the option out for this model, or ask for what the server can have.",
            )
    wanted = _switched(order.options.get(FLASH_ATTN))
    if None not in {wanted, loaded.flash_attn} and wanted is not loaded.flash_attn:
        raise ServerError(
            f"{order.name}: flash-attn {_word(wanted)} was asked for, "
            f"the server has it {_word(loaded.flash_attn)}",
            hint="The model or the device cannot have it so: ask for `auto`, or for what it has. "
            "Its log says why.",
        )


def _switched(word: object) -> bool | None:
    """Return what a word switches; None where it leaves it to the server, or says nothing."""
    text = str(word).lower()
    return text in _YES if text in _YES | _NO else None


def _word(switch: bool | None) -> str:
    return "on" if switch else "off"
