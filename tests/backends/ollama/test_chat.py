"""Ollama's wire: what a request becomes, and what its answers mean. The texts are real ones."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from matrixbench.backends.http.openai_reply import Answer
from matrixbench.backends.ollama.chat import Served, native_body, native_messages, understand
from matrixbench.records import ChatReply, ChatRequest, Kind, Outcome, Refusal

SERVED = Served(model="small:1b", options={"num_ctx": 2048, "num_gpu": 0}, keep_alive=-1)
OVERFLOW = (
    '{"error":{"code":400,"message":"request (3010 tokens) exceeds the available context size '
    '(2048 tokens), try increasing it","type":"exceed_context_size_error","n_prompt_tokens":3010,'
    '"n_ctx":2048}}'
)
BAD_SCHEMA = (
    '{"error":{"code":400,"message":"Field \'json_schema\': \\"json_schema\\": JSON schema '
    'conversion failed:\\nJSON schema error at #: unrecognized type banana",'
    '"type":"invalid_request_error"}}'
)
STALE = "error: request (3010 tokens) exceeds the available context size (2048 tokens)"


def body(**fields: Any) -> dict[str, Any]:
    """Return what a request becomes."""
    asked = {"messages": [{"role": "user", "content": "hi"}], **fields}
    request = ChatRequest(body=asked, seed=3, trial=0, test="t", timeout_s=1.0)
    return native_body(request, SERVED)


def heard(data: Any, status: int = 200) -> ChatReply | Refusal:
    """Return what an answer means."""
    content = data if isinstance(data, bytes) else json.dumps(data).encode()
    return understand(
        Answer(status=status, content_type="application/json", body=content, latency_s=2.0)
    )


def refused(text: str, status: int) -> Refusal:
    """Return what an error means."""
    refusal = heard({"error": text}, status)
    assert isinstance(refusal, Refusal)
    return refusal


def reply(**changes: Any) -> ChatReply:
    """Return what a reply of the real server means, changed in part."""
    data = {
        "model": "small:1b",
        "created_at": "2026-11-23T19:50:18.035204522Z",
        "message": {"role": "assistant", "content": "Hello there."},
        "done": True,
        "done_reason": "stop",
        "total_duration": 1257169334,
        "load_duration": 1407281,
        "prompt_eval_count": 12,
        "prompt_eval_duration": 459647000,
        "eval_count": 16,
        "eval_duration": 800000000,
    }
    result = heard(data | changes)
    assert isinstance(result, ChatReply)
    return result


def test_sampling_goes_into_the_options() -> None:
    """Beside the context, the options of the load and the seed; a lone stop becomes a list."""
    sent = body(temperature=0, top_k=4, min_p=0.1, max_tokens=9, stop="\n")
    assert sent["options"] == {
        "num_ctx": 2048,
        "num_gpu": 0,
        "seed": 3,
        "temperature": 0,
        "top_k": 4,
        "min_p": 0.1,
        "num_predict": 9,
        "stop": ["\n"],
    }
    assert sent.keys() == {
        *("model", "stream", "truncate", "shift", "keep_alive", "messages", "options")
    }


@pytest.mark.parametrize(
    ("fields", "name", "value"),
    [
        ({"response_format": {"type": "json_object"}}, "format", "json"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"schema": {"a": 1}}}},
            "format",
            {"a": 1},
        ),
        ({"response_format": {"type": "json_object", "schema": {"a": 1}}}, "format", {"a": 1}),
        ({"response_format": {"type": "text"}}, "format", None),
        ({"think": True}, "think", True),
        ({"reasoning_effort": "none"}, "think", False),
        ({"reasoning_effort": "high"}, "think", "high"),
        ({"logprobs": True}, "logprobs", True),
        ({"tools": [{"type": "function"}]}, "tools", [{"type": "function"}]),
    ],
)
def test_fields_by_ollamas_names(fields: dict[str, Any], name: str, value: object) -> None:
    """What has another name or another shape in Ollama's API is sent as it wants it."""
    assert body(**fields).get(name) == value


def test_messages_of_a_tool_call() -> None:
    """Arguments become an object, null content an empty text, and the answer names its tool."""
    call = {"name": "calculate", "arguments": '{"expression":"1 + 1"}'}
    messages: list[dict[str, Any]] = [
        {"role": "assistant", "content": None, "tool_calls": [{"id": "call_1", "function": call}]},
        {"role": "tool", "tool_call_id": "call_1", "content": "2"},
        {"role": "tool", "name": "other", "content": "3"},
    ]
    ours = {"name": "calculate", "arguments": {"expression": "1 + 1"}}
    assert native_messages(messages) == [
        {"role": "assistant", "content": "", "tool_calls": [{"id": "call_1", "function": ours}]},
        {"role": "tool", "content": "2", "tool_call_id": "call_1", "tool_name": "calculate"},
        {"role": "tool", "content": "3", "tool_name": "other"},
    ]


def test_content_in_parts() -> None:
    """Texts are joined, and images are sent as base64 alone."""
    content = [
        {"type": "text", "text": "What "},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,QUJD"}},
        {"type": "text", "text": "is this?"},
    ]
    assert native_messages([{"role": "user", "content": content}]) == [
        {"role": "user", "content": "What is this?", "images": ["QUJD"]}
    ]


def test_a_reply() -> None:
    """Times come in nanoseconds; no rate of the prompt, in whose count the cache hides."""
    answer = reply()
    assert (answer.content, answer.reasoning, answer.finish_reason) == (
        "Hello there.",
        None,
        "stop",
    )
    assert (answer.prompt_tokens, answer.completion_tokens) == (12, 16)
    assert answer.timing.latency_s == 2.0
    assert answer.timing.time_to_first_token_s == pytest.approx(0.459647)
    assert answer.timing.completion_tokens_per_s == pytest.approx(20.0)
    assert answer.timing.prompt_tokens_per_s is None


def test_one_token_has_no_rate() -> None:
    """Ollama says 1 µs for a reply of one token, which would be a million tokens per second."""
    answer = reply(eval_count=1, eval_duration=1000)
    assert answer.timing.completion_tokens_per_s is None


def test_a_tool_call() -> None:
    """Arguments come as an object and are kept as compact JSON text; an id may be missing."""
    function = {"index": 0, "name": "f", "arguments": {"b": "ü", "a": [1, 2]}}
    calls = [{"id": "call_k6ifeui4", "function": function}, {"function": {"name": "g"}}]
    answer = reply(message={"role": "assistant", "content": "", "tool_calls": calls})
    assert [(call.id, call.name, call.arguments) for call in answer.tool_calls] == [
        ("call_k6ifeui4", "f", '{"b":"ü","a":[1,2]}'),
        (None, "g", "{}"),
    ]
    assert (answer.content, answer.finish_reason) == (None, "tool_calls")


def test_thinking_is_reasoning() -> None:
    """What Ollama calls thinking is kept apart from the content."""
    answer = reply(message={"role": "assistant", "content": "4", "thinking": "2 + 2"})
    assert (answer.content, answer.reasoning) == ("4", "2 + 2")


@pytest.mark.parametrize("end", [{"done_reason": "length"}, {"done": False, "done_reason": None}])
def test_a_reply_that_was_cut_off(end: dict[str, Any]) -> None:
    """At the cap, or where Ollama ends a reply that repeats itself, which is then not «done»."""
    assert reply(**end).finish_reason == "length"


@pytest.mark.parametrize(
    ("status", "text", "kind"),
    [
        (400, OVERFLOW, Kind.CONTEXT_OVERFLOW),
        (
            400,
            "the prompt is longer than the context length currently available to the model",
            Kind.CONTEXT_OVERFLOW,
        ),
        (400, BAD_SCHEMA, Kind.BAD_REQUEST),
        (400, "registry.example/library/base:1 does not support tools", Kind.TEMPLATE_ERROR),
        (400, '"base:1" does not support thinking', Kind.BAD_REQUEST),
        (500, 'option "temperature" must be of type float32', Kind.BAD_REQUEST),
        (500, 'invalid format: "\\"xml\\""; expected "json" or a valid', Kind.BAD_REQUEST),
        (400, "Value looks like object, but can't find closing '}' symbol", Kind.BAD_REQUEST),
        (
            500,
            'template: :1:29: executing "" at <.Nope.X>: can\'t evaluate field Nope in type',
            Kind.TEMPLATE_ERROR,
        ),
    ],
)
def test_what_the_request_decides(status: int, text: str, kind: Kind) -> None:
    """It is rejected whatever the status, and every repeat would be."""
    refusal = refused(text, status)
    assert (refusal.outcome, refusal.kind, refusal.by_request) == (Outcome.REJECTED, kind, True)
    assert refusal.reason.startswith(f"HTTP {status}: ")


@pytest.mark.parametrize(
    "text",
    [
        'llama-server returned invalid tool call arguments for "f": unexpected end of JSON input',
        "error parsing tool call: raw='{', err=unexpected end of JSON input",
        "llama-server chat error: map[code:500 message:Failed to parse input at pos 12]",
        "incomplete GLM tool call: EOF",
    ],
)
def test_what_the_model_got_wrong(text: str) -> None:
    """A parser's 500 is the model's: rejected, though another seed may do better."""
    refusal = refused(text, 500)
    assert (refusal.outcome, refusal.kind) == (Outcome.REJECTED, Kind.UNPARSED_OUTPUT)
    assert not refusal.by_request


@pytest.mark.parametrize(
    "text",
    [
        f"an error was encountered while running the model: {STALE}",
        "an error was encountered while running the model: unexpected EOF",
        "model runner has unexpectedly stopped, this may be due to resource limitations",
    ],
)
def test_a_dead_runner(text: str) -> None:
    """Whatever old line of the log stands behind it: the runner died, and nothing was measured."""
    refusal = refused(text, 500)
    assert (refusal.outcome, refusal.kind) == (Outcome.ERRORED, Kind.SERVER_CRASHED)


@pytest.mark.parametrize(
    ("status", "text", "kind", "stops"),
    [
        (404, "model 'nope:latest' not found", Kind.NOT_FOUND, True),
        (401, "unauthorized", Kind.UNAUTHORIZED, True),
        (503, "server busy, please try again.  maximum pending", Kind.SERVER_ERROR, False),
        (500, "model requires more system memory (9 GiB)", Kind.SERVER_ERROR, False),
    ],
)
def test_what_is_no_fault_of_the_request(
    status: int, text: str, kind: Kind, *, stops: bool
) -> None:
    """Nothing was measured; a model that is gone stops the launch."""
    refusal = refused(text, status)
    assert (refusal.outcome, refusal.kind) == (Outcome.ERRORED, kind)
    assert refusal.stops_launch == stops


@pytest.mark.parametrize(
    "data", [b"", b"hello", {}, [], {"message": "hi"}, {"message": {"tool_calls": [1]}}]
)
def test_a_bad_reply(data: object) -> None:
    """A 200 that holds no reply measured nothing."""
    refusal = heard(data)
    assert isinstance(refusal, Refusal)
    assert (refusal.outcome, refusal.kind) == (Outcome.REJECTED, Kind.UNPARSED_OUTPUT)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@given(message=JSON, error=JSON, status=st.integers(200, 599))
def test_no_answer_raises(message: object, error: object, status: int) -> None:
    """Whatever comes over the wire becomes a reply or a refusal."""
    for data in (message, {"message": message}, {"error": error, "message": message}):
        assert isinstance(heard(data, status), ChatReply | Refusal)
