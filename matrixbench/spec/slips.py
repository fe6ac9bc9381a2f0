"""What people write for our names: keys, checks, metrics, flags, settings of Ollama.

The words stand in `slips.yaml`, which is read only once something in a file is wrong.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from matrixbench.spec.experiment import SAMPLING_FIELDS
from matrixbench.spec.yaml_source import decode, parse_document

if TYPE_CHECKING:
    from collections.abc import Mapping


@cache
def _slips() -> Mapping[str, Any]:
    file = resources.files(__package__).joinpath("slips.yaml")
    return parse_document(decode(file.read_bytes(), name=file.name), name=file.name).data()


def _by_word(ours: Mapping[str, str]) -> dict[str, str]:
    """Return word → what is meant, from what is meant → the words for it."""
    return {word: meant for meant, words in ours.items() for word in words.split()}


@cache
def words_for(what: str) -> Mapping[str, str]:
    """Return what people write → what is meant, for `sampling`, `checks`, `metrics` or `flags`."""
    return _by_word(_slips()[what])


@cache
def words_for_keys() -> Mapping[str, Mapping[str, str]]:
    """Return the name of a part of the file → what people write there → the key that is meant."""
    return {part: _by_word(keys) for part, keys in _slips()["keys"].items()}


def folded(name: str) -> str:
    """Return a name without case and separators: `Llama.cpp`, `llama_cpp` and `llamacpp` agree."""
    return re.sub(r"[\W_]+", "", name.casefold())


@dataclass(frozen=True, slots=True, kw_only=True)
class KindAlias:
    """A kind that is meant, the page that explains it, and what it is for."""

    kind: str
    page: str
    why: str


_FITTING = frozenset({"command", "endpoint"})
"""Kinds that may serve the same program: what else a backend says tells which."""


@cache
def _kinds() -> Mapping[str, tuple[KindAlias, frozenset[str]]]:
    return {
        kind: (
            KindAlias(kind=kind, page=told["page"], why=told["why"]),
            frozenset(told["words"].split()),
        )
        for kind, told in _slips()["kinds"].items()
    }


def kind_meant(name: str, keys: frozenset[str] = frozenset()) -> KindAlias | None:
    """Return the kind of backend that a name stands for, if it is a known one.

    Args:
        name: What stands after `kind:`; may be empty.
        keys: What else the backend says: vLLM at a `url:` runs already, so it is an endpoint.
    """
    kinds = _kinds()
    meant = next((kind for kind, words in kinds.values() if folded(name) in words), None)
    if meant is not None and meant.kind not in _FITTING:
        return meant
    by_key = _slips()["kinds_by_key"]
    told = next((kinds[by_key[key]][0] for key in by_key if key in keys), None)
    if meant is None:
        return None if name else told
    return told if told is not None and told.kind in _FITTING else meant


def key_meant(part: str, key: str) -> str | None:
    """Return the key of a part that a word stands for there, if it is a known one."""
    known = words_for_keys().get(part, {})
    return known.get(key) or known.get(key.replace("-", "_").casefold())


_OWN_KEYS: Mapping[str, str] = {
    **dict.fromkeys(
        ("ctx-size", "n-ctx", "num-ctx", "context", "context-size", "context-length", "ctx"),
        "say it with the backend's `context:`, the tokens that one request may use",
    ),
    **dict.fromkeys(
        ("parallel", "n-parallel", "num-parallel", "slots-number", "n-slots"),
        "say it with the backend's `slots:`",
    ),
    **{
        name: f"{name.replace('-', '_')} is a key of the backend: write it beside options"
        for name in ("binary", "env", "concurrency", "replica", "kind")
    },
    **dict.fromkeys(
        ("max-tokens", "num-predict", "max-new-tokens"),
        "say it with `max_tokens:` at the top level",
    ),
}

_VARIABLE = "LLAMA_ARG_"


@cache
def usual_flags() -> frozenset[str]:
    """Return long flags that are recognised without a binary, where they stand wrong."""
    return frozenset(_slips()["flags"]) | frozenset(_slips()["flags_alone"].split())


@cache
def request_fields() -> frozenset[str]:
    """Return fields of a chat request that people look for a place for."""
    return frozenset(_slips()["request_fields"].split())


def long_name(name: str, own: Mapping[str, str] | None = None) -> str | None:
    """Return the long name of the option that another name stands for, without dashes.

    Args:
        name: What was written, with or without dashes.
        own: Short → long, both without dashes, as the binary's own help has them.
    """
    bare = name.lstrip("-")
    if own is not None and bare in own:
        return own[bare]
    if is_short(bare):
        return words_for("flags")[bare]
    if bare.startswith(_VARIABLE):
        return bare.removeprefix(_VARIABLE).lower().replace("_", "-")
    return words_for("flags_elsewhere").get(bare.casefold().replace("-", "_"))


def is_short(name: str) -> bool:
    """Return whether a name is one of llama-server's short flags and none of its long ones."""
    return name in words_for("flags")


def said_elsewhere(name: str) -> str:
    """Return where what a name means is said in the file, if not among options; else nothing."""
    bare = name.lstrip("-").casefold().replace("_", "-")
    if bare in _OWN_KEYS:
        return _OWN_KEYS[bare]
    field = bare.replace("-", "_")
    field = words_for("sampling").get(bare) or words_for("sampling").get(field, field)
    return f"say it under `sampling:`, as {field}" if field in SAMPLING_FIELDS else ""
