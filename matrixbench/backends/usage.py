"""What a server counted of a request, in whatever words it says so. Pure.

Servers agree on prompt and completion tokens and on little else. Each figure has the names under
which servers are known to give it, the most telling first. What is no number of its kind is not
known: a server may send anything, and none of it may end a run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from matrixbench.records import NO_USAGE, Usage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matrixbench.records import JsonObject

MOST = 2**53
"""No figure comes near it: so the sum over a conversation fits the store's 63 bits, and seconds are
exact. What is larger is not known."""

NANOSECONDS = 1e9
_MILLISECONDS = 1e3

_NOTHING: Mapping[str, Any] = {}


def usage_of(data: JsonObject) -> Usage:
    """Return what a reply of the OpenAI chat API counts beside prompt and completion tokens.

    - llama.cpp's servers: `timings`.
    - OpenAI's details of `usage`, which vLLM, SGLang, OpenRouter and most others send as well.
    - DeepSeek's `prompt_cache_hit_tokens`, Moonshot's `cached_tokens`, Anthropic's
      `cache_read_input_tokens` as proxies hand it on.
    - LM Studio's `…_draft_tokens_count`, in `usage` or in `stats`.
    - Groq's and TabbyAPI's `prompt_time` and `completion_time`.
    """
    timings, usage, stats = (_object(data, name) for name in ("timings", "usage", "stats"))
    if not (timings or usage or stats):
        return NO_USAGE
    prompt = _object(usage, "prompt_tokens_details") or _object(usage, "input_tokens_details")
    written = _object(usage, "completion_tokens_details") or _object(usage, "output_tokens_details")
    cached, computed = _prompt(timings, usage, prompt)
    predicted, predicted_s = count(timings, "predicted_n"), _ms(timings, "predicted_ms")
    if predicted_s is None and (predicted_s := amount(usage, "completion_time")) is not None:
        predicted = count(usage, "completion_tokens")
    found = Usage(
        cached_tokens=cached,
        computed_tokens=computed,
        predicted_tokens=predicted,
        prompt_s=_first(_ms(timings, "prompt_ms"), amount(usage, "prompt_time")),
        predicted_s=predicted_s,
        draft_tokens=_first(
            count(timings, "draft_n"),
            count(usage, "total_draft_tokens_count"),
            count(stats, "total_draft_tokens_count"),
        ),
        draft_accepted_tokens=_first(
            count(timings, "draft_n_accepted"),
            count(usage, "accepted_draft_tokens_count"),
            count(stats, "accepted_draft_tokens_count"),
        ),
        reasoning_tokens=_first(
            count(written, "reasoning_tokens"),
            count(usage, "reasoning_tokens"),
            count(stats, "reasoning_output_tokens"),
        ),
        accepted_prediction_tokens=count(written, "accepted_prediction_tokens"),
        rejected_prediction_tokens=count(written, "rejected_prediction_tokens"),
    )
    return NO_USAGE if found == NO_USAGE else found


def _prompt(
    timings: Mapping[str, Any], usage: Mapping[str, Any], details: Mapping[str, Any]
) -> tuple[int | None, int | None]:
    """Return how many tokens of the prompt came from the cache, and how many were computed.

    Where one is told with the whole prompt, the other is the rest: older llama-servers tell what
    was computed alone, hosted ones what was cached alone.
    """
    cached = _first(
        count(timings, "cache_n"),
        count(details, "cached_tokens"),
        count(usage, "prompt_cache_hit_tokens"),
        count(usage, "cached_tokens"),
        count(usage, "cache_read_input_tokens"),
    )
    computed = _first(count(timings, "prompt_n"), count(usage, "prompt_cache_miss_tokens"))
    whole = _first(count(usage, "prompt_tokens"), count(usage, "input_tokens"))
    if whole is not None:
        if cached is None:
            cached = _rest(whole, computed)
        elif computed is None:
            computed = _rest(whole, cached)
    return cached, computed


def _rest(whole: int, part: int | None) -> int | None:
    return None if part is None or part > whole else whole - part


def ollama_usage(data: JsonObject) -> Usage:
    """Return what a reply of Ollama's own API counts.

    `prompt_eval_count` has the tokens from the cache in it, and nothing says how many they were: so
    neither these nor those that were computed are known.
    """
    found = Usage(
        predicted_tokens=count(data, "eval_count"),
        prompt_s=_ns(data, "prompt_eval_duration"),
        predicted_s=_ns(data, "eval_duration"),
    )
    return NO_USAGE if found == NO_USAGE else found


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


def _object(holder: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = holder.get(name)
    return value if isinstance(value, dict) else _NOTHING


def _first(*values: Any) -> Any:  # noqa: ANN401  counts or seconds
    return next((value for value in values if value is not None), None)


def _ms(holder: Mapping[str, Any], name: str) -> float | None:
    value = amount(holder, name)
    return None if value is None else value / _MILLISECONDS


def _ns(holder: Mapping[str, Any], name: str) -> float | None:
    value = amount(holder, name)
    return None if value is None else value / NANOSECONDS
