"""What a server counted of a request, in whatever words it says so. Pure.

Servers agree on prompt and completion tokens and on little else. Each figure has the names under
which servers are known to give it, the most telling first. What is no number of its kind is not
known: a server may send anything, and none of it may end a run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from matrixbench.records import NO_USAGE, Usage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matrixbench.records import JsonObject

MOST = 2**53
"""No figure comes near it: so the sum over a conversation fits the store's 63 bits, and seconds are
exact. What is larger is not known."""

NANOSECONDS = 1e9
_MILLISECONDS = 1e3
_SECONDS = 1.0

_Names: TypeAlias = "Mapping[str, tuple[str, float | None]]"
"""A server's word → the field of `Usage`, and for a time the units in a second."""

_TIMINGS: _Names = {
    "cache_n": ("cached_tokens", None),
    "prompt_n": ("computed_tokens", None),
    "prompt_ms": ("prompt_s", _MILLISECONDS),
    "predicted_n": ("predicted_tokens", None),
    "predicted_ms": ("predicted_s", _MILLISECONDS),
    "draft_n": ("draft_tokens", None),
    "draft_n_accepted": ("draft_accepted_tokens", None),
}
"""llama.cpp's servers."""

_PROMPT: _Names = {"cached_tokens": ("cached_tokens", None)}
_WRITTEN: _Names = {
    "reasoning_tokens": ("reasoning_tokens", None),
    "accepted_prediction_tokens": ("accepted_prediction_tokens", None),
    "rejected_prediction_tokens": ("rejected_prediction_tokens", None),
}
_DETAILS: Mapping[str, _Names] = {
    "prompt_tokens_details": _PROMPT,
    "input_tokens_details": _PROMPT,
    "completion_tokens_details": _WRITTEN,
    "output_tokens_details": _WRITTEN,
}
"""OpenAI's, which vLLM, SGLang, OpenRouter and most others send as well."""

_DRAFTS: _Names = {
    "total_draft_tokens_count": ("draft_tokens", None),
    "accepted_draft_tokens_count": ("draft_accepted_tokens", None),
}
"""LM Studio's."""

_USAGE: _Names = {
    "prompt_cache_hit_tokens": ("cached_tokens", None),  # DeepSeek
    "prompt_cache_miss_tokens": ("computed_tokens", None),
    "cached_tokens": ("cached_tokens", None),  # Moonshot
    "cache_read_input_tokens": ("cached_tokens", None),  # Anthropic, as proxies hand it on
    "reasoning_tokens": ("reasoning_tokens", None),  # SGLang
    "prompt_time": ("prompt_s", _SECONDS),  # Groq, TabbyAPI
    "completion_time": ("predicted_s", _SECONDS),
    **_DRAFTS,
}
_STATS: _Names = {"reasoning_output_tokens": ("reasoning_tokens", None), **_DRAFTS}
_OLLAMA: _Names = {
    "eval_count": ("predicted_tokens", None),
    "prompt_eval_duration": ("prompt_s", NANOSECONDS),
    "eval_duration": ("predicted_s", NANOSECONDS),
}


def usage_of(data: JsonObject) -> Usage:
    """Return what a reply of the OpenAI chat API counts beside prompt and completion tokens.

    Where a figure stands under several names, the first of the tables above is taken.
    """
    found: dict[str, Any] = {}
    _take(found, data.get("timings"), _TIMINGS)
    usage = data.get("usage")
    if isinstance(usage, dict):
        for name, names in _DETAILS.items():
            if name in usage:
                _take(found, usage[name], names)
        timed = "predicted_s" in found
        _take(found, usage, _USAGE)
        if "predicted_s" in found and not timed:
            found["predicted_tokens"] = count(usage, "completion_tokens")
        _rest_of_prompt(found, usage)
    if "stats" in data:
        _take(found, data["stats"], _STATS)
    return Usage(**found) if found else NO_USAGE


def _take(found: dict[str, Any], holder: object, names: _Names) -> None:
    """Add the figures that a part of a reply has, of those that are not known yet."""
    if not isinstance(holder, dict):
        return
    for name, (field, units) in names.items():
        if name not in holder or field in found:
            continue
        value = count(holder, name) if units is None else amount(holder, name)
        if value is not None:
            found[field] = value if units is None else value / units


def _rest_of_prompt(found: dict[str, Any], usage: JsonObject) -> None:
    """Work out which tokens of the prompt were cached, or computed, where one of both is told.

    Older llama-servers tell what was computed alone, hosted ones what was cached alone.
    """
    cached, computed = found.get("cached_tokens"), found.get("computed_tokens")
    part = computed if cached is None else cached
    if part is None or (cached is not None and computed is not None):
        return
    whole = count(usage, "prompt_tokens")
    if whole is not None and part <= whole:
        found["cached_tokens" if cached is None else "computed_tokens"] = whole - part


def ollama_usage(data: JsonObject) -> Usage:
    """Return what a reply of Ollama's own API counts.

    `prompt_eval_count` has the tokens from the cache in it, and nothing says how many they were: so
    neither these nor those that were computed are known.
    """
    found: dict[str, Any] = {}
    _take(found, data, _OLLAMA)
    return Usage(**found) if found else NO_USAGE


def amount(holder: Mapping[str, Any], name: str) -> float | None:
    """Return a number that is not negative; None where there is none that makes sense."""
    value = holder.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 <= value < MOST else None


def count(holder: Mapping[str, Any], name: str) -> int | None:
    """Return a whole number that is not negative; None where there is none that makes sense."""
    value = amount(holder, name)
    return int(value) if value is not None and value.is_integer() else None
