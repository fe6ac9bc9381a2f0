"""What refusals mean: each row of the table, the shapes that errors come in, and what is quoted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from matrixbench.backends.http.faults import Fault, alike, fault_in, without_quotes
from matrixbench.backends.http.openai_reply import Answer, classify
from matrixbench.backends.http.refusals import STATUSES, TEXTS, Row, row_of
from matrixbench.backends.http.refusals_page import page
from matrixbench.backends.ollama.chat import understand
from matrixbench.records import ChatReply, Kind, Outcome, Refusal

ROOT = Path(__file__).parents[3]
EXAMPLES = [(row, text) for row in TEXTS for text in row.examples]
OVERFLOW = "Input does not fit in the context window of 512 tokens"
R, E = Outcome.REJECTED, Outcome.ERRORED


def meant(status: int, data: object, *, asked: str = "hi", proxied: bool = False) -> Refusal:
    """Return what an error in JSON means, to a request with this message."""
    answer = Answer(
        status=status,
        content_type="application/json",
        body=json.dumps(data).encode(),
        latency_s=1.0,
        proxied=proxied,
        asked={"messages": [{"role": "user", "content": asked}]},
    )
    result = classify(answer)
    assert isinstance(result, Refusal)
    return result


@pytest.mark.parametrize(("row", "text"), EXAMPLES, ids=[text[:40] for _, text in EXAMPLES])
def test_each_row_is_the_first_to_match_its_examples(row: Row, text: str) -> None:
    """No row before it takes them away, under a 400 as under a 500."""
    for status in (400, 422, 500, 503):
        assert row_of(Fault(status=status, text=text)) is row


@pytest.mark.parametrize("row", TEXTS, ids=lambda row: f"{row.kind}: {row.servers[:30]}")
def test_each_row_holds_for_both_dialects(row: Row) -> None:
    """Ollama's own API and the chat API have one table."""
    body = json.dumps({"error": row.examples[0]}).encode()
    answer = Answer(status=500, content_type="application/json", body=body, latency_s=1.0)
    one, other = classify(answer), understand(answer)
    assert one == other
    assert isinstance(one, Refusal)
    assert (one.outcome, one.kind) == (row.outcome, row.kind)
    assert one.body == body.decode()


@pytest.mark.parametrize("row", STATUSES, ids=lambda row: row.examples[0])
def test_each_status_has_its_row(row: Row) -> None:
    """Where no words are known, the status decides."""
    for example in row.examples:
        status = int(example.split()[1])
        assert row_of(Fault(status=status, text="pardon?"), proxied=row.proxied) is row


@pytest.mark.parametrize(
    ("text", "outcome", "kind"),
    [
        # The same kinds of fault in words that no row has as its example.
        ("Error parsing tool call: unexpected EOF", R, Kind.UNPARSED_OUTPUT),
        ("could not parse the function call that the model wrote", R, Kind.UNPARSED_OUTPUT),
        ("tool_call arguments are not valid JSON", R, Kind.UNPARSED_OUTPUT),
        ("Extra data: line 1 column 12 (char 11)", R, Kind.UNPARSED_OUTPUT),
        ("Expecting property name enclosed in double quotes", R, Kind.UNPARSED_OUTPUT),
        ("unexpected token while parsing: got } at 12", R, Kind.UNPARSED_OUTPUT),
        ("Output did not match the expected JSON schema", R, Kind.UNPARSED_OUTPUT),
        ("The prompt has too many tokens: 9000 > 4096", R, Kind.CONTEXT_OVERFLOW),
        ("This model's context window is 4096 tokens, your prompt exceeds it", R, None),
        ("max_tokens (5000) exceeds what is left of the window", R, Kind.CONTEXT_OVERFLOW),
        ("prompt tokens (700) must not exceed n_ctx (512)", R, Kind.CONTEXT_OVERFLOW),
        ("TemplateError: Conversation roles must alternate", R, Kind.TEMPLATE_ERROR),
        ("raise_exception: System role not supported", R, Kind.TEMPLATE_ERROR),
        ("minja: Undefined filter at row 3, column 9", R, Kind.TEMPLATE_ERROR),
        ("Unsupported schema: oneOf", R, Kind.BAD_REQUEST),
        ("xgrammar failed to compile: invalid regex", R, Kind.BAD_REQUEST),
        ("tool_choice is only supported with --jinja", R, Kind.BAD_REQUEST),
        ("llama-server process has terminated: signal: killed", E, Kind.SERVER_CRASHED),
        ("The model has crashed. (Exit code: 6)", E, Kind.SERVER_CRASHED),
        ("EngineDeadError", E, Kind.SERVER_CRASHED),
        ("torch.OutOfMemoryError: CUDA out of memory", E, Kind.SERVER_ERROR),
        ("model has been unloaded", E, Kind.SERVER_ERROR),
        ("no slot available, slot unavailable", E, Kind.SERVER_ERROR),
    ],
)
def test_other_words_of_the_same_kind(text: str, outcome: Outcome, kind: Kind | None) -> None:
    """A row holds for a kind of fault, not for one server's words."""
    refusal = meant(500, {"error": {"message": text}})
    assert refusal.outcome is outcome
    assert kind is None or refusal.kind is kind
    assert not refusal.unexplained


@pytest.mark.parametrize(
    "data",
    [
        {"error": OVERFLOW},
        {"error": {"message": OVERFLOW}},
        {"error": {"code": 400, "detail": OVERFLOW}},
        {"error": [{"message": OVERFLOW}]},
        {"errors": [{"msg": OVERFLOW}]},
        {"error": True, "message": OVERFLOW},
        {"error": "Internal Server Error", "message": OVERFLOW, "statusCode": 500},
        {"detail": OVERFLOW},
        {"detail": {"error": OVERFLOW}},
        {"object": "error", "message": OVERFLOW, "code": 400},
        {"type": "error", "error": {"type": "x", "message": OVERFLOW}},
        {"error": {"message": "upstream said no", "metadata": {"raw": OVERFLOW}}},
        {"error": {"message": "no", "metadata": {"raw": json.dumps({"error": OVERFLOW})}}},
        {"error": {"message": f"litellm.BadRequestError: X - {json.dumps({'error': OVERFLOW})}"}},
        {"error": {"message": f"Error code: 400 - { ({'error': {'message': OVERFLOW}})!r}"}},
        {"error": json.dumps({"error": {"message": OVERFLOW}})},
        [{"error": {"message": OVERFLOW}}],
    ],
)
@pytest.mark.parametrize("status", [200, 400, 500])
def test_an_error_may_have_any_shape(data: object, status: int) -> None:
    """Text, object, list, FastAPI's, and what a proxy quotes: it means what it says."""
    refusal = meant(status, data)
    assert (refusal.outcome, refusal.kind) == (R, Kind.CONTEXT_OVERFLOW)
    assert OVERFLOW in refusal.reason


@pytest.mark.parametrize(
    "events",
    [
        f"event: error\ndata: {json.dumps({'error': {'message': OVERFLOW}})}\n\n",
        f"event: error\ndata: {json.dumps({'message': OVERFLOW})}\n\n",
        f"event: error\ndata: {OVERFLOW}\n\n",
        f"error: {json.dumps({'message': OVERFLOW})}\n\n",
        f"data: {json.dumps({'object': 'error', 'message': OVERFLOW})}\n\n",
        f"data: {json.dumps({'detail': OVERFLOW})}\n\ndata: [DONE]\n\n",
        (
            'data: {"choices": [{"delta": {"content": "a"}}]}\n\n'
            f"data: {json.dumps({'error': OVERFLOW})}\n\n"
        ),
        (
            'data: {"choices": [{"delta": {}, "finish_reason": "error", '
            f'"error": {json.dumps({"code": 502, "message": OVERFLOW})}}}]}}\n\n'
        ),
    ],
)
@pytest.mark.parametrize("kind", ["text/event-stream", "text/plain"])
def test_an_error_may_be_an_event(events: str, kind: str) -> None:
    """Also after parts of a reply, and under a name of its own."""
    result = classify(Answer(status=200, content_type=kind, body=events.encode(), latency_s=1.0))
    assert isinstance(result, Refusal)
    assert (result.outcome, result.kind) == (R, Kind.CONTEXT_OVERFLOW)
    assert result.body == events


@pytest.mark.parametrize("error", [None, False, "", {}, [], {"code": 0, "message": ""}, [{}]])
def test_an_error_that_says_nothing_is_none(error: object) -> None:
    """Beside a good reply it is passed over; alone it is a reply whose structure is broken."""
    message = {"role": "assistant", "content": "Paris"}
    body = json.dumps({"choices": [{"message": message}], "error": error}).encode()
    assert isinstance(
        classify(Answer(status=200, content_type="", body=body, latency_s=1.0)), ChatReply
    )
    assert meant(200, {"error": error}).kind is Kind.UNPARSED_OUTPUT


@pytest.mark.parametrize(
    "text",
    [
        'Internal error while handling "why does the prompt exceed the context length of my model"',
        "Unhandled: 'the CUDA device is out of memory and the runner process has terminated'",
        "Cannot serve `Conversation roles must alternate, said the jinja chat template to me`",
    ],
)
def test_what_is_quoted_says_nothing(text: str) -> None:
    """Prompts and replies may speak of anything."""
    refusal = meant(500, {"error": text})
    assert (refusal.outcome, refusal.kind, refusal.unexplained) == (R, Kind.SERVER_ERROR, True)


def test_the_own_prompt_says_nothing() -> None:
    """Also without quotes, since it is known."""
    prompt = "Explain what CUDA out of memory means, and why a context length exceeded error comes"
    refusal = meant(500, {"error": f"worker could not handle: {prompt}"}, asked=prompt)
    assert (refusal.kind, refusal.unexplained) == (Kind.SERVER_ERROR, True)


def test_an_error_that_stands_in_quotes_as_a_whole_is_read() -> None:
    """Python prints some so."""
    assert without_quotes(repr("Conversation roles must alternate, as they do")) == (
        "Conversation roles must alternate, as they do"
    )
    assert meant(500, {"error": f'ValueError: "{OVERFLOW}"'}).kind is Kind.CONTEXT_OVERFLOW


def test_words_go_before_statuses_and_the_bodys_status_before_the_headers() -> None:
    """A 404 can be the template's, and a 500 that calls itself a 429 is one."""
    assert meant(404, {"error": "Only user and assistant roles are supported!"}).kind is (
        Kind.TEMPLATE_ERROR
    )
    assert meant(404, {"error": "nope"}).stops_launch
    assert meant(500, {"error": {"message": "slower", "code": "429"}}).kind is Kind.RATE_LIMITED
    # What is said about a key may hold any word.
    assert meant(401, {"error": OVERFLOW}).kind is Kind.UNAUTHORIZED


@pytest.mark.parametrize(("proxied", "outcome"), [(True, E), (False, R)])
def test_a_proxys_words_are_no_answer_where_one_may_stand(
    *, proxied: bool, outcome: Outcome
) -> None:
    """520 and web pages before an endpoint; a server of our own that sends them has answered."""
    assert meant(520, {}, proxied=proxied).outcome is outcome
    html = Answer(
        status=500,
        content_type="text/html",
        body=b"<html><body>Internal Server Error</body></html>",
        latency_s=1.0,
        proxied=proxied,
    )
    refusal = classify(html)
    assert isinstance(refusal, Refusal)
    assert refusal.outcome is outcome
    for status in (502, 503, 504):
        assert meant(status, {}, proxied=proxied).outcome is E


def test_ids_and_numbers_make_no_other_fault() -> None:
    """The same fault has another request id each time."""
    assert alike("HTTP 500: no luck (req_3f9a21bc77de)", "HTTP 500: no luck (req_88aa21bc77ff)")
    assert not alike("HTTP 500: no luck", "HTTP 500: no more luck")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["error", "message", "detail", "loc", "msg", "code", "type", "raw"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=10,
)


@given(data=JSON, status=st.integers(200, 599))
def test_any_json_has_a_fault_or_none(data: object, status: int) -> None:
    """Whatever is sent, a fault has words and a status, and a meaning."""
    fault = fault_in(status, data)
    if fault is not None:
        assert fault.text
        assert row_of(fault) is not None or fault.status < 300


@given(st.text(max_size=300))
def test_any_text_is_looked_at(text: str) -> None:
    """No text makes the patterns fail."""
    assert row_of(Fault(status=500, text=text)) is not None


def test_the_page_is_the_table() -> None:
    """The documentation is written from the code: `python -m …refusals_page docs/refusals.md`."""
    assert (ROOT / "docs" / "refusals.md").read_text(encoding="utf-8") == page()


UNPARSED = [
    (502, 'upstream: {"error":{"message":"tool call extraction gave up","code":500}}'),
    (503, "litellm.ServiceUnavailableError: Could not extract function call from output text"),
    (429, "model output invalid: tool call missing name"),
    (502, "Model returned an empty response"),
    (503, "Structured output backend: token rejected by FSM"),
    (504, "Grammar sampler rejected every token"),
    (500, 'error parsing tool call: raw=\'{"cmd":"rate limit"\', err=unexpected end'),
    (500, 'error parsing tool call: raw=\'{"f":"jinja"}\', err=invalid character'),
    (500, 'error parsing tool call: raw={"cmd": "kill", "signal": "x"} err: signal: kill'),
    (500, "CUDA is great but error parsing tool call: raw='{\"city\": CUDA error'"),
    (500, 'Unexpected output: <tool_call>{"cmd": "fix segmentation fault"}'),
    (500, "Could not read call: {name: restart, reason: out of memory}"),
    (500, 'tool call invalid: server is busy {"x":'),
    (400, "Generated tool call exceeds the context window argument"),
    (502, 'Upstream said: "Failed to parse tool call arguments as JSON"'),
    (503, "backend replied 'Failed to parse tool call arguments as JSON' (500)"),
]


@pytest.mark.parametrize(("status", "text"), UNPARSED, ids=[text[:40] for _, text in UNPARSED])
def test_what_the_model_wrote_is_never_taken_for_load(status: int, text: str) -> None:
    """Whatever its words are, and under whatever status: no retry may hide that answer."""
    refusal = meant(status, {"error": {"message": text}}, proxied=True)
    assert (refusal.outcome, refusal.kind) == (R, Kind.UNPARSED_OUTPUT)
    assert not refusal.by_request


def test_the_status_behind_a_proxy_outranks_the_proxys() -> None:
    """A proxy says 502 of whatever the server behind it answered."""
    behind = json.dumps({"error": {"message": "a fault of its own", "code": 500}})
    told = {"message": "Provider returned error", "code": 502, "metadata": {"raw": behind}}
    refusal = meant(502, {"error": told}, proxied=True)
    assert (refusal.outcome, refusal.kind, refusal.unexplained) == (R, Kind.SERVER_ERROR, True)
    busy = json.dumps({"error": {"message": "a fault of its own", "code": 503}})
    refusal = meant(502, {"error": {**told, "metadata": {"raw": busy}}}, proxied=True)
    assert refusal.outcome is E


@pytest.mark.parametrize("status", [200, 422, 500])
def test_a_fault_in_the_response_is_the_models(status: int) -> None:
    """FastAPI names the place: what is wrong with the response says nothing of the request."""
    detail = [{"loc": ["response", "tool_calls", 0], "msg": "field required", "type": "missing"}]
    refusal = meant(status, {"detail": detail})
    assert (refusal.kind, refusal.by_request) == (Kind.UNPARSED_OUTPUT, False)


def test_a_reply_that_ended_with_an_error_is_none() -> None:
    """A proxy ends a reply so where the server behind it broke off, also after a whole call."""
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    refusal = meant(200, {"choices": [{"message": message, "finish_reason": "error"}]})
    assert (refusal.outcome, refusal.kind) == (R, Kind.UNPARSED_OUTPUT)
    error = {"code": 502, "message": "Upstream idle timeout exceeded"}
    choice = {"message": message, "finish_reason": "error", "error": error}
    named = {**choice, "native_finish_reason": "MALFORMED_FUNCTION_CALL"}
    assert meant(200, {"choices": [named]}).kind is Kind.UNPARSED_OUTPUT
