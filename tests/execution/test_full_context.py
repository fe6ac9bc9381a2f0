"""Replies that filled the context, and those that reached `max_tokens`."""

from __future__ import annotations

import pytest

from matrixbench.backends.endpoint import EndpointBackend
from matrixbench.backends.llama.backend import LlamaServerBackend
from matrixbench.backends.registry import SessionInfo
from matrixbench.checks.judge import compile_checks
from matrixbench.execution.trials import context_in, marked, rounded_context
from matrixbench.records import Build, ChatReply, Kind, Outcome, Timing
from matrixbench.spec.checks import ContentCheck, FinishReasonCheck
from matrixbench.store.encoding import (
    MEASURED_COLUMNS,
    measured_values,
    reply_from,
    reply_values,
)

BUILD = Build(id="b", kind="llama-server", server="s")


def reply(prompt: int | None, completion: int | None, finish: str = "length") -> ChatReply:
    """Return a reply with so many tokens."""
    return ChatReply(
        message={"role": "assistant", "content": "Once upon"},
        content="Once upon",
        finish_reason=finish,
        prompt_tokens=prompt,
        completion_tokens=completion,
        timing=Timing(latency_s=1.0),
    )


@pytest.mark.parametrize(
    ("prompt", "completion", "most", "context", "full"),
    [
        (45, 211, 512, 256, True),
        (45, 210, 512, 256, True),  # some builds stop one token before
        (45, 209, 512, 256, False),
        (45, 211, None, 256, True),
        (45, 211, 211, 256, False),  # both at once: max_tokens is what was asked for
        (45, 16, 16, 256, False),
        (45, 211, 512, None, False),
        (None, 211, 512, 256, False),
        (45, None, 512, 256, False),
    ],
)
def test_what_filled_the_context(
    prompt: int | None, completion: int | None, most: int | None, context: int | None, *, full: bool
) -> None:
    """Prompt and reply reach the context, and the reply does not reach max_tokens."""
    found = marked(reply(prompt, completion), most, context)
    assert found.filled_context == (context if full else None)


def test_it_has_a_kind_of_its_own() -> None:
    """The checks decide, as for `truncated`; what says no to it is called context_full."""
    full = marked(reply(45, 211), 512, 256)
    no = compile_checks([ContentCheck(content="x")]).judge(full)
    assert (no.outcome, no.kind) == (Outcome.FAILED, Kind.CONTEXT_FULL)
    assert no.reason.startswith("filled the context of 256 tokens: expected")
    assert compile_checks([FinishReasonCheck(finish_reason="length")]).judge(full).kind is None
    cut = compile_checks([ContentCheck(content="x")]).judge(reply(45, 16))
    assert cut.kind is Kind.TRUNCATED


def test_it_is_kept_in_the_store() -> None:
    """A stored reply that is judged again is still context_full; others are stored as before."""
    for one in (marked(reply(45, 211), 512, 256), reply(45, 16)):
        message, reading = reply_values(one)
        assert (reading is None) is (one.filled_context is None)
        row = dict(zip(MEASURED_COLUMNS, measured_values(one), strict=True))
        assert reply_from({**row, "message": message, "reading": reading}) == one


@pytest.mark.parametrize(
    ("said", "context"),
    [
        ({"n_ctx": 256}, 256),
        ({"context_length": 4096}, 4096),
        ({"model": {"max_model_len": 8192}}, 8192),
        ({"n_ctx": None, "model": None}, None),
        ({"n_ctx": "x"}, None),
        ({"n_ctx": True}, None),
        ({}, None),
    ],
)
def test_where_servers_say_their_context(said: dict[str, object], context: int | None) -> None:
    """llama.cpp, Ollama and vLLM; anything else is nothing."""
    assert context_in(SessionInfo(build=BUILD, concurrency=1, effective=said)) == context


def test_what_a_server_rounded_up_is_told() -> None:
    """Of a server that was started here; one that runs already has what it has."""
    info = SessionInfo(build=BUILD, concurrency=1, command=("x",), effective={"n_ctx": 256})
    asked = LlamaServerBackend(kind="llama-server", context=64)
    assert rounded_context(asked, info).endswith("rounded it up to 256 tokens a slot")
    assert not rounded_context(LlamaServerBackend(kind="llama-server", context=256), info)
    running = SessionInfo(build=BUILD, concurrency=1, effective={"n_ctx": 256})
    assert not rounded_context(EndpointBackend(kind="endpoint", url="x", context=64), running)
