"""What answers mean, without a server."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from matrixbench.backends.http.openai_reply import Answer, classify, excerpt
from matrixbench.records import ChatReply, Kind, Outcome, Refusal, ServerView, ToolCall

PARSER = "The model produced output that does not match the expected peg-native format"
TEMPLATE = "Unable to generate parser for this template. Automatic parser generation failed"


def error(code: object, message: object, kind: str | None = None, **more: object) -> bytes:
    """Return llama-server's error body."""
    return json.dumps({"error": {"code": code, "message": message, "type": kind, **more}}).encode()


def sse(*events: object) -> bytes:
    """Return a stream of events."""
    lines = [f"data: {event if event == '[DONE]' else json.dumps(event)}\n\n" for event in events]
    return "".join(lines).encode()


def delta(finish: str | None = None, **fields: object) -> dict[str, object]:
    """Return one event of a streamed reply."""
    return {"choices": [{"index": 0, "delta": fields, "finish_reason": finish}]}


def answer(body: bytes, status: int = 200, kind: str = "application/json") -> Answer:
    """Return an answer that took two seconds."""
    return Answer(status=status, content_type=kind, body=body, latency_s=2.0)


def reply(message: object, **more: object) -> ChatReply:
    """Return what a whole reply with this message means."""
    body = {"choices": [{"message": message, "finish_reason": "stop"}], **more}
    result = classify(answer(json.dumps(body).encode()))
    assert isinstance(result, ChatReply), result
    return result


def refusal(body: bytes, status: int = 200, kind: str = "application/json") -> Refusal:
    """Return what an answer means that is no reply."""
    result = classify(answer(body, status, kind))
    assert isinstance(result, Refusal), result
    return result


BY_REQUEST, STOPS, ALONE, UNEXPLAINED = (
    {"by_request"},
    {"stops_launch"},
    {"alone"},
    {"unexplained"},
)
REJECTED, ERRORED = Outcome.REJECTED, Outcome.ERRORED

TABLE: list[tuple[int, bytes, Outcome, Kind, set[str]]] = [
    (500, error(500, PARSER, "server_error"), REJECTED, Kind.UNPARSED_OUTPUT, set()),
    (500, error(500, "Failed to parse input at pos 3"), REJECTED, Kind.UNPARSED_OUTPUT, set()),
    (200, error(500, PARSER, "server_error"), REJECTED, Kind.UNPARSED_OUTPUT, set()),
    (400, error(400, "Failed to parse input: not JSON"), REJECTED, Kind.UNPARSED_OUTPUT, set()),
    (500, error(500, "Context size has been exceeded."), ERRORED, Kind.OVERLOADED, ALONE),
    (
        400,
        error(400, "too long", "exceed_context_size_error", n_ctx=9),
        REJECTED,
        Kind.CONTEXT_OVERFLOW,
        BY_REQUEST,
    ),
    (
        400,
        error("context_length_exceeded", "This model's maximum context length is 9 tokens"),
        REJECTED,
        Kind.CONTEXT_OVERFLOW,
        BY_REQUEST,
    ),
    (400, error(400, TEMPLATE), REJECTED, Kind.TEMPLATE_ERROR, BY_REQUEST),
    (
        400,
        error(400, f"{TEMPLATE}: JSON schema error at #"),
        REJECTED,
        Kind.BAD_REQUEST,
        BY_REQUEST,
    ),
    (400, error(400, "the chat template raised"), REJECTED, Kind.TEMPLATE_ERROR, BY_REQUEST),
    (
        500,
        error(500, "Value is not callable: null at row 58, column 9:"),
        REJECTED,
        Kind.TEMPLATE_ERROR,
        BY_REQUEST,
    ),
    (
        400,
        error(400, "invalid chat_template_kwargs"),
        REJECTED,
        Kind.BAD_REQUEST,
        BY_REQUEST,
    ),
    (422, b'{"detail": [{"loc": ["top_k"]}]}', REJECTED, Kind.BAD_REQUEST, BY_REQUEST),
    (501, error(501, "no", "not_supported_error"), REJECTED, Kind.BAD_REQUEST, BY_REQUEST),
    (401, error(401, "Invalid API Key"), ERRORED, Kind.UNAUTHORIZED, STOPS),
    (403, b"<html>Forbidden</html>", ERRORED, Kind.UNAUTHORIZED, STOPS),
    (200, error(None, "no", "authentication_error"), ERRORED, Kind.UNAUTHORIZED, STOPS),
    (404, error(404, "File Not Found"), ERRORED, Kind.NOT_FOUND, STOPS),
    (404, b'{"object":"error","message":"no such model"}', ERRORED, Kind.NOT_FOUND, STOPS),
    (301, b"", ERRORED, Kind.NOT_FOUND, STOPS),
    (429, error("rate_limit_exceeded", "slow down"), ERRORED, Kind.RATE_LIMITED, set()),
    (500, error(500, "the roof is on fire"), REJECTED, Kind.SERVER_ERROR, UNEXPLAINED),
    (500, b"", REJECTED, Kind.SERVER_ERROR, UNEXPLAINED),
    (400, error(400, "the roof is on fire"), REJECTED, Kind.BAD_REQUEST, UNEXPLAINED),
    (413, b"<html>Request Entity Too Large</html>", REJECTED, Kind.BAD_REQUEST, BY_REQUEST),
    (502, b"<html>Bad Gateway</html>", ERRORED, Kind.SERVER_ERROR, set()),
    (503, error(503, "Loading model", "unavailable_error"), ERRORED, Kind.SERVER_ERROR, set()),
    (200, b'{"error": "something broke"}', REJECTED, Kind.SERVER_ERROR, UNEXPLAINED),
    (200, b" <!DOCTYPE html><html><body>Sign in</body></html>", ERRORED, Kind.BAD_REPLY, set()),
    (200, b"", REJECTED, Kind.UNPARSED_OUTPUT, set()),
    (200, b"\x00\xff<<<", REJECTED, Kind.UNPARSED_OUTPUT, set()),
    (200, b'{"choices": [{"mess', REJECTED, Kind.UNPARSED_OUTPUT, set()),
    (200, b"{}", REJECTED, Kind.UNPARSED_OUTPUT, set()),
    (200, b'{"choices": null, "error": null}', REJECTED, Kind.UNPARSED_OUTPUT, set()),
    (200, b"data: [DONE]\n\n", REJECTED, Kind.UNPARSED_OUTPUT, set()),
    (200, b'{"choices": []}', REJECTED, Kind.UNPARSED_OUTPUT, set()),
    (200, b'{"choices": [{"message": 3}]}', REJECTED, Kind.UNPARSED_OUTPUT, set()),
    (200, b'{"choices": [{"message": {"content": 3}}]}', REJECTED, Kind.UNPARSED_OUTPUT, set()),
    (
        200,
        b'{"choices": [{"message": {"tool_calls": [3]}}]}',
        REJECTED,
        Kind.UNPARSED_OUTPUT,
        set(),
    ),
    (200, b"[" * 100_000, REJECTED, Kind.UNPARSED_OUTPUT, set()),
    (200, sse(delta(content="a")), REJECTED, Kind.UNPARSED_OUTPUT, set()),
    (200, b"data: {nope\n\n", REJECTED, Kind.UNPARSED_OUTPUT, set()),
    (200, sse(3), REJECTED, Kind.UNPARSED_OUTPUT, set()),
    (
        200,
        sse(delta(content="a")) + b"data: " + error(500, PARSER) + b"\n\n",
        REJECTED,
        Kind.UNPARSED_OUTPUT,
        set(),
    ),
    (
        200,
        b"error: " + error(500, "it broke")[10:-1] + b"\n\n",
        REJECTED,
        Kind.SERVER_ERROR,
        UNEXPLAINED,
    ),
]


@pytest.mark.parametrize(("status", "body", "outcome", "kind", "flags"), TABLE)
def test_each_refusal_has_its_outcome_and_kind(
    status: int, body: bytes, outcome: Outcome, kind: Kind, flags: set[str]
) -> None:
    """Bodies and statuses decide outcome, kind, and what may be repeated."""
    result = refusal(body, status)
    flags_known = ("by_request", "stops_launch", "alone", "unexplained")
    raised = {flag for flag in flags_known if getattr(result, flag)}
    assert (result.outcome, result.kind, raised) == (outcome, kind, flags)
    assert result.latency_s == 2.0
    assert "\n" not in result.reason


def test_the_status_in_the_body_outranks_the_header() -> None:
    """A body that says 401 under a 200 is a 401."""
    assert refusal(error(401, "who are you?")).stops_launch


@pytest.mark.parametrize("kind", ["text/html; charset=utf-8", "text/plain", "text/event-stream"])
def test_the_body_outranks_its_content_type(kind: str) -> None:
    """JSON is read as JSON, whatever the header says that it is."""
    body = b'{"choices": [{"message": {"content": "a"}}]}'
    assert isinstance(classify(answer(body, kind=kind)), ChatReply)


def test_a_missing_content_type_is_no_obstacle() -> None:
    """JSON without a content type is read."""
    body = b'{"choices": [{"message": {"content": "a"}}]}'
    assert isinstance(classify(answer(body, kind="")), ChatReply)


def test_a_reply_is_read_with_its_tokens_and_times() -> None:
    """Usage and llama.cpp's timings are taken over."""
    result = reply(
        {"role": "assistant", "content": "Paris", "reasoning_content": "hm"},
        usage={"prompt_tokens": 7, "completion_tokens": 4},
        timings={"prompt_ms": 250, "prompt_per_second": 28.0, "predicted_per_second": 40.5},
        system_fingerprint="b9626",
    )
    assert (result.content, result.reasoning, result.finish_reason) == ("Paris", "hm", "stop")
    assert (result.prompt_tokens, result.completion_tokens) == (7, 4)
    assert result.fingerprint == "b9626"
    timing = result.timing
    assert (timing.latency_s, timing.time_to_first_token_s) == (2.0, 0.25)
    assert (timing.prompt_tokens_per_s, timing.completion_tokens_per_s) == (28.0, 40.5)


def test_without_usage_llama_cpp_s_timings_tell_the_tokens() -> None:
    """What came from the cache is part of the prompt."""
    result = reply({"content": "a"}, timings={"prompt_n": 3, "cache_n": 30, "predicted_n": 5})
    assert (result.prompt_tokens, result.completion_tokens) == (33, 5)


def test_without_timings_the_rate_is_tokens_over_latency() -> None:
    """Eight tokens in two seconds are four a second; the first token's time stays unknown."""
    timing = reply({"content": "a"}, usage={"completion_tokens": 8}).timing
    assert timing.completion_tokens_per_s == 4.0
    assert timing.time_to_first_token_s is None


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 10**400, -1, True, "7", None])
def test_numbers_that_cannot_be_are_missing(value: object) -> None:
    """A count or rate that is no finite number is taken as not given."""
    result = reply(
        {"content": "a"},
        usage={"completion_tokens": value},
        timings={"predicted_per_second": value},
    )
    assert result.completion_tokens is None
    assert result.timing.completion_tokens_per_s is None


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (None, None),
        ("", ""),
        ([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}, {"type": "image"}], "ab"),
    ],
)
def test_content_may_be_null_or_a_list_of_parts(content: object, text: str | None) -> None:
    """The parts' texts are joined; null stays null."""
    assert reply({"content": content}).content == text


def test_tool_calls_keep_the_text_of_their_arguments() -> None:
    """Text stays as the model wrote it, objects become compact JSON, a missing id is None."""
    calls = [
        {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1'}},
        {"function": {"name": "g", "arguments": {"é": [1, 2]}}},
        {"id": "", "function": {"name": "h"}},
    ]
    assert reply({"content": None, "tool_calls": calls}).tool_calls == (
        ToolCall(name="f", arguments='{"a": 1', id="c1"),
        ToolCall(name="g", arguments='{"é":[1,2]}'),
        ToolCall(name="h", arguments=""),
    )


def test_null_for_tool_calls_means_none() -> None:
    """Some servers always send the field."""
    assert reply({"content": "a", "tool_calls": None}).tool_calls == ()


def test_lone_surrogates_are_replaced() -> None:
    r"""A `\ud83d` without its mate is no text that a file could hold."""
    result = classify(answer(rb'{"choices":[{"message":{"content":"a\ud83d \ud83d\ude00"}}]}'))
    assert isinstance(result, ChatReply)
    assert result.content == "a? 😀"
    assert result.message == {"content": "a? 😀"}


def test_a_stream_is_put_together() -> None:
    """Text, reasoning and the pieces of calls are joined; the last event brings the usage."""
    first = {"index": 0, "id": "c1", "function": {"name": "f", "arguments": '{"a'}}
    stream = b": ping\n\n" + sse(
        delta(role="assistant", content=None),
        delta(reasoning_content="h"),
        delta(reasoning_content="m"),
        delta(content="Pa"),
        delta(content="ris"),
        delta(tool_calls=[first]),
        delta(tool_calls=[{"index": 0, "function": {"arguments": '": 1}'}}]),
        delta(tool_calls=[{"index": 1, "function": {"name": "g", "arguments": "{}"}}]),
        delta(finish="tool_calls"),
        {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2}},
        "[DONE]",
    )
    result = classify(answer(stream, kind="text/event-stream"))
    assert isinstance(result, ChatReply)
    assert (result.content, result.reasoning) == ("Paris", "hm")
    assert result.tool_calls == (
        ToolCall(name="f", arguments='{"a": 1}', id="c1"),
        ToolCall(name="g", arguments="{}"),
    )
    assert (result.finish_reason, result.completion_tokens) == ("tool_calls", 2)


def test_surrogates_split_over_events_are_joined() -> None:
    """A character may come in two halves."""
    stream = rb'data: {"choices":[{"delta":{"content":"\ud83d"}}]}' + b"\n\n"
    stream += rb'data: {"choices":[{"delta":{"content":"\ude00"},"finish_reason":"stop"}]}' + b"\n"
    result = classify(answer(stream, kind="text/event-stream"))
    assert isinstance(result, ChatReply)
    assert result.content == "😀"


def test_excerpts_are_one_short_printable_line() -> None:
    """Control characters cannot reach a terminal, and nothing is long."""
    shown = excerpt(b"a\n\n  b\x1b[31m\xff" + b"x" * 10_000)
    assert shown.startswith("a b�[31m�x")
    assert len(shown) == 201


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "choices",
                    "message",
                    "delta",
                    "content",
                    "tool_calls",
                    "function",
                    "arguments",
                    "error",
                    "code",
                    "type",
                    "usage",
                    "timings",
                    "prompt_ms",
                    "index",
                    "object",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(value=JSON, status=st.integers(200, 599), streamed=st.booleans())
def test_any_json_is_a_reply_or_a_refusal(value: object, status: int, *, streamed: bool) -> None:
    """Whatever JSON comes, also as an event, nothing is raised, and the result can be stored."""
    text = json.dumps(value)
    body = f"data: {text}\n\ndata: [DONE]\n\n" if streamed else text
    result = classify(answer(body.encode(), status))
    assert isinstance(result, ChatReply | Refusal)
    repr(result).encode()


@given(st.binary(max_size=60), st.sampled_from(["", "application/json", "text/event-stream"]))
def test_any_bytes_are_a_reply_or_a_refusal(body: bytes, kind: str) -> None:
    """Whatever bytes come, nothing is raised."""
    assert isinstance(classify(answer(body, 200, kind)), ChatReply | Refusal)


def test_a_verbose_reply_tells_prompt_and_raw_output() -> None:
    """llama.cpp adds them when it is asked to; odd ones count as missing."""
    message = {"content": "4"}
    told = reply(message, __verbose={"prompt": "<|user|>2+2", "content": "<think>4", "tokens": []})
    assert told.view == ServerView(prompt="<|user|>2+2", output="<think>4")
    assert reply(message, __verbose={"prompt": 3}).view == ServerView()
    assert reply(message, __verbose="yes").view is None
    assert reply(message).view is None
