"""What servers count, in their words, without a server."""

from __future__ import annotations

import json
from dataclasses import astuple, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from matrixbench.backends.http.openai_reply import MOST, Answer, classify, ollama_usage, usage_of
from matrixbench.backends.ollama.chat import understand
from matrixbench.records import NO_USAGE, ChatReply, Usage

LLAMA = {
    "cache_n": 90,
    "prompt_n": 10,
    "prompt_ms": 250.0,
    "predicted_n": 7,
    "predicted_ms": 500,
    "draft_n": 6,
    "draft_n_accepted": 4,
}
OPENAI = {
    "prompt_tokens": 100,
    "completion_tokens": 12,
    "prompt_tokens_details": {"cached_tokens": 64, "audio_tokens": 0},
    "completion_tokens_details": {
        "reasoning_tokens": 5,
        "accepted_prediction_tokens": 3,
        "rejected_prediction_tokens": 2,
    },
}

SERVERS: list[tuple[str, dict[str, Any], Usage]] = [
    (
        "llama-server",
        {"timings": LLAMA, "usage": {"prompt_tokens": 100, "completion_tokens": 7}},
        Usage(
            cached_tokens=90,
            computed_tokens=10,
            predicted_tokens=7,
            prompt_s=0.25,
            predicted_s=0.5,
            draft_tokens=6,
            draft_accepted_tokens=4,
        ),
    ),
    (
        "llama-server before it told what was cached",
        {"timings": {"prompt_n": 10, "predicted_n": 7}, "usage": {"prompt_tokens": 100}},
        Usage(cached_tokens=90, computed_tokens=10, predicted_tokens=7),
    ),
    (
        "OpenAI, vLLM, SGLang, OpenRouter",
        {"usage": OPENAI},
        Usage(
            cached_tokens=64,
            computed_tokens=36,
            reasoning_tokens=5,
            accepted_prediction_tokens=3,
            rejected_prediction_tokens=2,
        ),
    ),
    (
        "vLLM without the details",
        {"usage": {"prompt_tokens": 100, "completion_tokens": 7, "prompt_tokens_details": None}},
        NO_USAGE,
    ),
    (
        "SGLang's reasoning",
        {"usage": {"prompt_tokens": 9, "completion_tokens": 7, "reasoning_tokens": 4}},
        Usage(reasoning_tokens=4),
    ),
    (
        "DeepSeek",
        {
            "usage": {
                "prompt_tokens": 100,
                "prompt_cache_hit_tokens": 64,
                "prompt_cache_miss_tokens": 36,
            }
        },
        Usage(cached_tokens=64, computed_tokens=36),
    ),
    (
        "Moonshot",
        {"usage": {"prompt_tokens": 100, "cached_tokens": 0}},
        Usage(cached_tokens=0, computed_tokens=100),
    ),
    (
        "a proxy before Anthropic",
        {"usage": {"prompt_tokens": 100, "cache_read_input_tokens": 30}},
        Usage(cached_tokens=30, computed_tokens=70),
    ),
    (
        "LM Studio",
        {
            "usage": {"prompt_tokens": 66, "completion_tokens": 300},
            "stats": {"total_draft_tokens_count": 492, "accepted_draft_tokens_count": 176},
        },
        Usage(draft_tokens=492, draft_accepted_tokens=176),
    ),
    (
        "LM Studio, newer",
        {"usage": {"total_draft_tokens_count": 492, "accepted_draft_tokens_count": 176}},
        Usage(draft_tokens=492, draft_accepted_tokens=176),
    ),
    (
        "Groq, TabbyAPI",
        {"usage": {"prompt_time": 0.25, "completion_time": 0.5, "completion_tokens": 7}},
        Usage(prompt_s=0.25, predicted_s=0.5, predicted_tokens=7),
    ),
    ("a server that counts nothing", {}, NO_USAGE),
]


@pytest.mark.parametrize(
    ("data", "wanted"), [row[1:] for row in SERVERS], ids=[row[0] for row in SERVERS]
)
def test_each_servers_words_are_understood(data: dict[str, Any], wanted: Usage) -> None:
    """What is told of prompt, drafts and reasoning is kept; what is not told is not known."""
    assert usage_of(data) == wanted


def test_ollama_does_not_tell_what_was_cached() -> None:
    """Its count of the prompt has both in it, so neither is known; its times are."""
    told = {
        "prompt_eval_count": 12,
        "prompt_eval_duration": 250_000_000,
        "eval_count": 7,
        "eval_duration": 500_000_000,
    }
    assert ollama_usage(told) == Usage(prompt_s=0.25, predicted_s=0.5, predicted_tokens=7)
    assert ollama_usage({"done": True}) is NO_USAGE


def reply(body: object, *, streamed: bool = False) -> ChatReply:
    """Return what a whole body means."""
    text = json.dumps(body)
    raw = "".join(f"data: {json.dumps(event)}\n\n" for event in body) if streamed else text  # type: ignore[attr-defined]
    kind = "text/event-stream" if streamed else "application/json"
    found = classify(Answer(status=200, content_type=kind, body=raw.encode(), latency_s=2.0))
    assert isinstance(found, ChatReply)
    return found


def test_a_reply_keeps_its_usage_and_the_models_name() -> None:
    """Both come with the reply; a name that is no text is none."""
    choices = [{"message": {"content": "Paris"}, "finish_reason": "stop"}]
    said = reply({"choices": choices, "timings": LLAMA, "model": "smollm2"})
    assert (said.model, said.usage.cached_share) == ("smollm2", 0.9)
    assert said.usage.draft_accepted_share == pytest.approx(4 / 6)
    assert reply({"choices": choices, "model": ["smollm2"]}).model is None


def test_a_streamed_reply_keeps_what_its_last_event_counts() -> None:
    """Usage and timings come behind the text, in an event without choices."""
    events = [
        {"choices": [{"index": 0, "delta": {"content": "Paris"}}], "model": "smollm2"},
        {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
        {"choices": [], "timings": LLAMA, "usage": OPENAI},
    ]
    said = reply(events, streamed=True)
    assert (said.model, said.usage.cached_tokens, said.usage.reasoning_tokens) == ("smollm2", 90, 5)


ODD: list[Any] = [
    *(None, True, "7", "many", -1, -0.5, 7.5, [7], {"n": 7}),
    *(float("nan"), float("inf"), -float("inf"), 1e300, 2**53, 2**63, 10**400),
]
NUMBERS = st.one_of(
    st.sampled_from(ODD), st.integers(), st.floats(), st.text(max_size=3), st.none()
)
LEAVES = st.recursive(NUMBERS, lambda inner: st.lists(inner, max_size=2), max_leaves=3)
NAMES = (
    *LLAMA,
    *OPENAI,
    *OPENAI["completion_tokens_details"],  # type: ignore[misc]
    *("cached_tokens", "prompt_cache_hit_tokens", "prompt_cache_miss_tokens", "prompt_time"),
    *("completion_time", "total_draft_tokens_count", "accepted_draft_tokens_count"),
)
HOLDERS = st.dictionaries(
    st.sampled_from(NAMES),
    st.one_of(LEAVES, st.dictionaries(st.sampled_from(NAMES), LEAVES, max_size=4)),
    max_size=8,
)
ANYTHING = st.dictionaries(
    st.sampled_from(("timings", "usage", "stats")), st.one_of(HOLDERS, LEAVES), max_size=3
)


@given(ANYTHING)
def test_nothing_that_a_server_counts_is_more_than_a_count(data: dict[str, Any]) -> None:
    """Whatever stands there, each figure is None or a number that the store can hold and add up."""
    usage = usage_of(data)
    for value in astuple(usage):
        assert value is None or 0 <= value < MOST
    for share in (usage.cached_share, usage.draft_accepted_share):
        assert share is None or 0 <= share <= 1


@given(st.dictionaries(st.sampled_from(("eval_count", "eval_duration", "model")), LEAVES))
def test_nothing_that_ollama_counts_is_more_than_a_count(data: dict[str, Any]) -> None:
    """Ollama's own words are read with the same care."""
    try:
        body = json.dumps({"message": {"content": "a"}, **data}).encode()
    except ValueError:  # more digits than Python writes
        return
    found = understand(Answer(status=200, content_type="", body=body, latency_s=1.0))
    if isinstance(found, ChatReply):
        assert all(value is None or 0 <= value < MOST for value in astuple(found.usage))
        assert found.completion_tokens is None or 0 <= found.completion_tokens < MOST


@pytest.mark.parametrize("value", ODD, ids=repr)
def test_what_is_no_count_is_not_known(value: Any) -> None:
    """Text, NaN, negative and overlong numbers leave the others as they are."""
    usage = usage_of({"timings": {**LLAMA, "draft_n": value}})
    whole = usage_of({"timings": LLAMA})
    assert usage == replace(whole, draft_tokens=None)
