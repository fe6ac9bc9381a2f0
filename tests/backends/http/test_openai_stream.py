"""Streams as servers send them, put together again."""

from __future__ import annotations

import contextlib
import json
from itertools import pairwise
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from matrixbench.backends.http.openai_stream import MalformedError, Stream, whole_reply

if TYPE_CHECKING:
    from matrixbench.records import JsonObject

PARIS, OSLO = '{"city": "Paris"}', '{"city": "Oslo"}'


def event(finish: str | None = None, /, **delta: object) -> JsonObject:
    """Return one event of a streamed reply."""
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


def piece(name: str | None = None, arguments: object = None, /, **more: object) -> JsonObject:
    """Return one piece of a call."""
    told = {"name": name, "arguments": arguments}
    return {**more, "function": {key: value for key, value in told.items() if value is not None}}


def calls(*pieces: JsonObject) -> JsonObject:
    """Return an event with pieces of calls."""
    return event(tool_calls=list(pieces))


def sse(*events: object) -> bytes:
    """Return events as they go over the wire; bytes as they are."""
    return b"".join(
        one if isinstance(one, bytes) else b"data: " + json.dumps(one).encode() + b"\n\n"
        for one in events
    )


DONE = b"data: [DONE]\n\n"
END = event("tool_calls")


def message_of(*events: object) -> JsonObject:
    """Return the message that events make, the end left to be added."""
    return dict(whole_reply(sse(*events, END, DONE))["choices"][0]["message"])


def called(*events: object) -> Called:
    """Return id, name and arguments of the calls that events make."""
    found = message_of(*events).get("tool_calls", [])
    return [(c.get("id"), c["function"]["name"], c["function"]["arguments"]) for c in found]


Called: TypeAlias = "list[tuple[str | None, str, str]]"

ONE: Called = [("a", "f", PARIS)]
TWO: Called = [("a", "f", PARIS), ("b", "f", OSLO)]

STYLES: list[tuple[str, list[JsonObject], Called]] = [
    (
        "OpenAI: id and name first, then the index alone",
        [
            calls(piece("f", "", index=0, id="a")),
            calls(piece(None, PARIS[:5], index=0)),
            calls(piece(None, PARIS[5:], index=0)),
            calls(piece("f", OSLO, index=1, id="b")),
        ],
        TWO,
    ),
    (
        "id and name with every piece",
        [calls(piece("f", part, index=0, id="a")) for part in (PARIS[:5], PARIS[5:])],
        ONE,
    ),
    (
        "an empty id and name with every later piece",
        [
            calls(piece("f", PARIS[:5], index=0, id="a")),
            calls(piece("", PARIS[5:], index=0, id="")),
        ],
        ONE,
    ),
    (
        "all of index 0, ids that differ",
        [calls(piece("f", PARIS, index=0, id="a")), calls(piece("f", OSLO, index=0, id="b"))],
        TWO,
    ),
    (
        "all of index 0 in pieces, ids that differ",
        [
            calls(piece("f", PARIS[:4], index=0, id="a")),
            calls(piece(None, PARIS[4:], index=0)),
            calls(piece("f", OSLO[:4], index=0, id="b")),
            calls(piece(None, OSLO[4:], index=0)),
        ],
        TWO,
    ),
    (
        "no index at all",
        [
            calls(piece("f", PARIS[:4], id="a")),
            calls(piece(None, PARIS[4:])),
            calls(piece("f", OSLO, id="b")),
        ],
        TWO,
    ),
    (
        "neither index nor id",
        [calls(piece("f", PARIS[:4])), calls(piece(None, PARIS[4:])), calls(piece("f", OSLO))],
        [(None, "f", PARIS), (None, "f", OSLO)],
    ),
    (
        "all of index 0 without ids",
        [calls(piece("f", PARIS, index=0)), calls(piece("g", OSLO, index=0))],
        [(None, "f", PARIS), (None, "g", OSLO)],
    ),
    (
        "the second call without an id",
        [calls(piece("f", PARIS, index=0, id="a")), calls(piece("f", OSLO, index=1, id=None))],
        [("a", "f", PARIS), (None, "f", OSLO)],
    ),
    (
        "one id for two indices",
        [
            calls(piece("f", PARIS[:4], index=0, id="0")),
            calls(piece(None, PARIS[4:], index=0, id="0")),
            calls(piece("f", OSLO[:4], index=1, id="0")),
            calls(piece(None, OSLO[4:], index=1, id="0")),
        ],
        [("0", "f", PARIS), ("0", "f", OSLO)],
    ),
    (
        "one id and one index for two whole calls",
        [calls(piece("f", PARIS, index=0, id="0")), calls(piece("f", OSLO, index=0, id="0"))],
        [("0", "f", PARIS), ("0", "f", OSLO)],
    ),
    (
        "an index that is the tool's number",
        [
            calls(piece("g", PARIS, index=3, id="a")),
            calls(piece("f", OSLO[:5], index=1, id="b")),
            calls(piece(None, OSLO[5:], index=1)),
        ],
        [("a", "g", PARIS), ("b", "f", OSLO)],
    ),
    (
        "an index that counts the pieces",
        [calls(piece("f", PARIS[:5], index=0, id="a")), calls(piece(None, PARIS[5:], index=1))],
        ONE,
    ),
    (
        "the same with the id repeated",
        [
            calls(piece("f", PARIS[:5], index=0, id="a")),
            calls(piece(None, PARIS[5:], index=1, id="a")),
        ],
        ONE,
    ),
    (
        "an id of its own for every piece",
        [
            calls(piece("f", PARIS[:5], index=0, id="a")),
            calls(piece(None, PARIS[5:], index=0, id="x1")),
        ],
        ONE,
    ),
    (
        "an id that comes late",
        [calls(piece("f", "", index=0)), calls(piece(None, PARIS, index=0, id="a"))],
        ONE,
    ),
    (
        "an index as a text",
        [calls(piece("f", PARIS[:5], index="0", id="a")), calls(piece(None, PARIS[5:], index="0"))],
        ONE,
    ),
    (
        "an id as a number",
        [calls(piece("f", PARIS[:5], index=0, id=7)), calls(piece(None, PARIS[5:], index=0, id=7))],
        [("7", "f", PARIS)],
    ),
    (
        "several calls in one event",
        [calls(piece("f", PARIS, index=0, id="a"), piece("f", OSLO, index=1, id="b"))],
        TWO,
    ),
    (
        "several calls in one event, with nothing to tell them apart",
        [calls(piece("f", PARIS), piece("f", PARIS))],
        [(None, "f", PARIS), (None, "f", PARIS)],
    ),
    (
        "pieces of several calls in one event",
        [
            calls(piece("f", PARIS[:3], index=0, id="a"), piece("f", OSLO[:3], index=1, id="b")),
            calls(piece(None, PARIS[3:], index=0), piece(None, OSLO[3:], index=1)),
        ],
        TWO,
    ),
    (
        "a name in pieces",
        [
            calls(piece("get_", index=0, id="a")),
            calls(piece("weather", index=0)),
            calls(piece(None, PARIS, index=0)),
        ],
        [("a", "get_weather", PARIS)],
    ),
    (
        "a name that grows",
        [
            calls(piece("get_", index=0, id="a")),
            calls(piece("get_weather", index=0)),
            calls(piece(None, PARIS, index=0)),
        ],
        [("a", "get_weather", PARIS)],
    ),
    (
        "a head without a name",
        [calls({"index": 0, "id": "a", "type": "function"}), calls(piece("f", PARIS, index=0))],
        ONE,
    ),
    (
        "arguments as an object",
        [calls(piece("f", {"city": "Paris"}, index=0, id="a"))],
        [("a", "f", '{"city":"Paris"}')],
    ),
    (
        "arguments as an object that grows",
        [
            calls(piece("f", {}, index=0, id="a")),
            calls(piece("f", {"city": "Paris"}, index=0, id="a")),
        ],
        [("a", "f", '{"city":"Paris"}')],
    ),
    (
        "no arguments, and none in the next call",
        [calls(piece("f", "", index=0, id="a")), calls(piece("g", "", index=1, id="b"))],
        [("a", "f", ""), ("b", "g", "")],
    ),
    (
        "a summary with arguments encoded twice",
        [
            calls(piece("f", PARIS[:4], index=0, id="a")),
            calls(piece(None, PARIS[4:], index=0, id="a")),
            calls(piece("f", json.dumps(PARIS), index=0, id="a")),
        ],
        ONE,
    ),
    (
        "a summary as an object, without a name",
        [
            calls(piece("f", PARIS, index=0, id="a")),
            calls(piece(None, {"city": "Paris"}, index=0, id="a")),
        ],
        ONE,
    ),
    (
        "a summary of two calls without ids",
        [
            calls(piece("f", PARIS, index=0, id="a")),
            calls(piece("f", OSLO, index=1, id="b")),
            calls(piece("f", PARIS), piece("f", OSLO)),
        ],
        TWO,
    ),
    (
        "an empty last piece with the name",
        [calls(piece("f", PARIS, index=0, id="a")), calls(piece("f", "", index=0, id="a"))],
        ONE,
    ),
    (
        "neither index nor id, and the head of the second call without arguments",
        [calls(piece("f", "{}")), calls(piece("f", "")), calls(piece(None, OSLO))],
        [(None, "f", "{}"), (None, "f", OSLO)],
    ),
    (
        "two equal calls with ids of their own",
        [calls(piece("f", PARIS, index=0, id="a")), calls(piece("f", PARIS, index=0, id="b"))],
        [("a", "f", PARIS), ("b", "f", PARIS)],
    ),
    (
        "arguments that are no JSON stay as the model wrote them",
        [calls(piece("f", "{city:", index=0, id="a")), calls(piece(None, " Paris", index=0))],
        [("a", "f", "{city: Paris")],
    ),
    (
        "one call that is no list",
        [event(tool_calls=piece("f", PARIS, id="a"))],
        ONE,
    ),
    (
        "a whole message at the end, which says it all again",
        [
            calls(piece("f", PARIS, index=0, id="a")),
            {"choices": [{"message": {"tool_calls": [piece("f", PARIS, id="a")]}}]},
        ],
        ONE,
    ),
]


@pytest.mark.parametrize(
    ("events", "expected"), [style[1:] for style in STYLES], ids=[style[0] for style in STYLES]
)
def test_calls_are_put_together_as_servers_send_them(
    events: list[JsonObject], expected: Called
) -> None:
    """Ids and indices repeated or missing, one index for all, summaries, names in pieces."""
    assert called(*events) == expected


def test_a_legacy_call_is_put_together() -> None:
    """`function_call` was the one call of a message before there could be several."""
    message = message_of(
        event(function_call={"name": "f", "arguments": ""}),
        event(function_call={"arguments": PARIS}),
    )
    assert message["function_call"] == {"name": "f", "arguments": PARIS}


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning", "thinking"])
def test_reasoning_keeps_the_name_that_the_server_gives_it(name: str) -> None:
    """Its pieces are joined apart from the content."""
    message = message_of(event(**{name: "h"}), event(**{name: "m", "content": "yes"}))
    assert (message[name], message["content"]) == ("hm", "yes")


def test_content_may_come_as_parts() -> None:
    """Texts are content, and what is marked as thought is reasoning."""
    message = message_of(
        event(content=[{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}]),
        event(content=[{"type": "text", "text": "Par"}]),
        event(content=[{"type": "text", "text": "is"}, {"type": "image_url", "image_url": {}}]),
    )
    assert (message["reasoning_content"], message["content"]) == ("hm", "Paris")


@pytest.mark.parametrize(
    ("texts", "expected"),
    [(["Paris"], "Paris"), (["Par", "Paris"], "Paris"), (["Par", "is"], "Paris")],
)
def test_whole_messages_in_a_stream_are_taken(texts: list[str], expected: str) -> None:
    """All at once, growing from event to event, or in pieces under the wrong name."""
    events = [{"choices": [{"index": 0, "message": {"content": text}}]} for text in texts]
    assert message_of(*events)["content"] == expected


def test_a_whole_message_after_its_pieces_adds_nothing() -> None:
    """Some servers say at the end what they said."""
    last = {"choices": [{"index": 0, "delta": {}, "message": {"content": "Paris"}}]}
    assert message_of(event(content="Par"), event(content="is"), last)["content"] == "Paris"


def test_what_is_not_text_is_not_joined() -> None:
    """A role or a name that each event repeats stays one, and lists grow."""
    message = message_of(
        event(role="assistant", name="bot", annotations=[1], content="a"),
        event(role="assistant", name="bot", annotations=[2], content="b"),
    )
    assert message == {
        "role": "assistant",
        "name": "bot",
        "annotations": [1, 2],
        "content": "ab",
    }


@pytest.mark.parametrize(
    ("contents", "expected"), [([None], None), ([None, ""], ""), ([], None), (["", "a"], "a")]
)
def test_no_content_and_an_empty_one_are_told_apart(
    contents: list[str | None], expected: str | None
) -> None:
    """As without a stream: null where nothing but null came."""
    assert message_of(*(event(content=one) for one in contents))["content"] == expected


def test_beside_calls_an_empty_content_is_none() -> None:
    """Streams begin with an empty content that the whole reply has not."""
    assert message_of(event(content=""), calls(piece("f", PARIS)))["content"] is None


def test_other_choices_are_left_out() -> None:
    """A trial is one reply, whatever a server makes of it."""
    other = {"choices": [{"index": 1, "delta": {"content": "no"}, "finish_reason": "stop"}]}
    assert message_of(event(content="yes"), other)["content"] == "yes"
    assert whole_reply(sse(other))["choices"][0]["message"]["content"] == "no"


def test_what_stands_beside_the_choices_is_kept() -> None:
    """Of usage and the like the last that says something counts."""
    whole = whole_reply(
        sse(
            {**event(content="a"), "model": "m", "usage": None},
            {**event("stop"), "model": "", "usage": {"completion_tokens": 1}},
            {"choices": [], "usage": {"completion_tokens": 2}, "timings": {"predicted_n": 2}},
            DONE,
        )
    )
    assert (whole["model"], whole["usage"]) == ("m", {"completion_tokens": 2})
    assert whole["timings"] == {"predicted_n": 2}


def test_a_raw_output_that_is_empty_was_not_told() -> None:
    """With `verbose`, llama.cpp tells the prompt of a stream, and leaves the output empty."""
    told = {"prompt": "<|user|>hi", "content": ""}
    whole = whole_reply(sse({**event("stop", content="a"), "__verbose": told}, DONE))
    assert whole["__verbose"] == {"prompt": "<|user|>hi", "content": None}


def test_a_completion_s_shape_is_read() -> None:
    """Some servers stream `text` where a chat has a delta."""
    events = [{"choices": [{"index": 0, "text": text}]} for text in ("Par", "is")]
    assert message_of(*events)["content"] == "Paris"


A, B = (json.dumps(event(content=text)).encode() for text in "ab")
STOP = json.dumps(event("stop")).encode()


@pytest.mark.parametrize(
    "body",
    [
        b"data: " + A + b"\r\n\r\ndata: " + B + b"\r\n\r\ndata: [DONE]\r\n\r\n",
        b"data:" + A + b"\n\ndata:" + B + b"\n\ndata:[DONE]\n\n",
        b"data: " + A + b"\r\rdata: " + B + b"\r\rdata: [DONE]\r\r",
        b"\xef\xbb\xbfdata: " + A + b"\n\ndata: " + B + b"\n\ndata: [DONE]\n\n",
        b"\n\n  \ndata: " + A + b"\n\ndata: " + B + b"\n\ndata: [DONE]",
        b"data: " + A + b"\ndata: " + B + b"\ndata: [DONE]\n",
        b": ping\n\nid: 1\nevent: result\nretry: 9\ndata: "
        + A
        + b"\n\n:\n\ndata: "
        + B
        + b"\n\ndata: [DONE]\n\n",
        b"event: ping\ndata: {}\n\ndata: ping\n\ndata:\n\ndata\n\ndata: "
        + A
        + b"\n\ndata: "
        + B
        + b"\n\n"
        + DONE,
        b"data: " + A + b"\n\ndata: " + B + b"\n\ndata: " + STOP + b"\n\n",
        b"data: " + A + b"\n\ndata: " + B + b"\n\ndata: " + STOP,
        b": OPENROUTER PROCESSING\n\n" + A + b"\n" + B + b"\ndata: [DONE]\n\n",
        b"data: "
        + json.dumps(json.loads(A), indent=1).replace("\n", "\ndata: ").encode()
        + b"\n\ndata: "
        + B
        + b"\n\n"
        + DONE,
        b"data: " + A + b'\n\ndata: {"type": "ping"}\n\ndata: ' + B + b'\n\ndata: "[DONE]"\n\n',
    ],
)
def test_events_are_read_however_they_are_written(body: bytes) -> None:
    """CRLF, no space, no blank lines, a mark of UTF-8, comments, names, several lines of data."""
    assert whole_reply(body)["choices"][0]["message"]["content"] == "ab"


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_pieces_may_be_cut_anywhere(size: int) -> None:
    """Inside a character, a CRLF or the name of a field."""
    body = b": hi\r\n\r\ndata: " + json.dumps(event(content="é😀"), ensure_ascii=False).encode()
    body += b"\r\n\r\ndata: " + STOP + b"\r\n\r\n"
    stream = Stream("text/event-stream")
    for start in range(0, len(body), size):
        stream.feed(body[start : start + size])
    stream.close()
    assert stream.holds_events
    assert stream.whole()["choices"][0]["message"]["content"] == "é😀"


ERRORS: list[tuple[bytes, object]] = [
    (b'data: {"error": {"message": "no"}}\n\n', {"message": "no"}),
    (b'event: error\ndata: {"error": {"message": "no"}, "message": "no"}\n\n', {"message": "no"}),
    (b'event: error\ndata: {"message": "no"}\n\n', {"message": "no"}),
    (b"event: error\ndata: it broke\ndata: badly\n\n", "it broke\nbadly"),
    (b'error: {"message": "no"}\n\n', {"message": "no"}),
    (b"error: it broke\n\n", "it broke"),
    (b'data: {"choices": [{"error": {"message": "no"}, "delta": {}}]}\n\n', {"message": "no"}),
    (
        b'data: {"type": "error", "message": "no"}\n\n',
        {"type": "error", "message": "no"},
    ),
]


@pytest.mark.parametrize(("body", "error"), ERRORS)
@pytest.mark.parametrize("before", [b"", sse(event(content="a"), b": ping\n\n"), b"data: {no\n\n"])
def test_an_error_in_a_stream_is_the_answer(body: bytes, error: object, before: bytes) -> None:
    """Whatever field it stands in, and whatever came before or after it."""
    found = whole_reply(before + body + sse(event("stop"), DONE))
    assert found["error"] == error


def test_an_error_that_ends_the_connection_is_the_answer() -> None:
    """Nothing need come after its text, not even the end of its line."""
    assert whole_reply(b"event: error\ndata: it broke") == {"error": "it broke"}


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "the stream ended before a reply began"),
        (DONE, "a stream without a reply"),
        (b": ping\n\n", "the stream ended before a reply began"),
        (b"<html>\n\n", "the stream ended before a reply began"),
        (sse({"choices": [], "usage": {}}, DONE), "a stream without a reply"),
        (sse(event(content="a")), "the stream ended before the reply did"),
        (b"data: {nope\n\n" + DONE, "an event that is not JSON"),
        (b"data: " + b"[" * 100_000 + b"\n\n", "an event that is nested too deeply"),
        (sse(3, DONE), "an event that is no part of a chat"),
        (sse({"choices": "a"}, DONE), "the choices of an event are no list"),
        (sse({"choices": [3]}, DONE), "a choice that is no object"),
        (sse({"choices": [{"delta": 3}]}, DONE), "a delta that is no object"),
        (sse(event(content=3), DONE), "content is neither text nor null nor a list of parts"),
        (sse(event(tool_calls=[3]), DONE), "a piece of a tool call that is no object"),
        (sse(calls({"function": 3}), DONE), "a piece of a tool call that is no object"),
        (
            sse(calls({"name": "f", "arguments": "{}"}), DONE),
            "a piece of a tool call without a function",
        ),
        (sse(calls(piece(None, "{}")), DONE), "a streamed tool call without a name"),
        (
            sse(calls({"function": {"name": 3}}), DONE),
            "a streamed tool call whose name is no text",
        ),
        (
            sse(calls(piece("f", PARIS[:4], id="a")), calls(piece(None, {"a": 1}, id="a")), DONE),
            "arguments of a tool call as an object and as text, which differ",
        ),
    ],
)
def test_what_cannot_be_put_together_says_why(body: bytes, reason: str) -> None:
    """A reader of the error need not see the stream."""
    with pytest.raises(MalformedError) as raised:
        whole_reply(body)
    assert str(raised.value) == reason


@pytest.mark.parametrize(
    ("body", "content_type", "holds"),
    [
        (b"data: {}\n\n", "application/json", True),
        (b"\n \nevent: x\n", "text/plain", True),
        (b"\xef\xbb\xbf: ping\n", "", True),
        (b'{"choices": []}', "text/event-stream", False),
        (b'\n\n{"choices": []}', "text/event-stream; charset=utf-8", False),
        (b"<html>", "text/html", False),
        (b"da", "", False),
        (b"", "text/event-stream", True),
        (b"oops", "text/event-stream", True),
    ],
)
@pytest.mark.parametrize("size", [1, 100])
def test_the_body_outranks_the_header(
    body: bytes, content_type: str, holds: bool, size: int
) -> None:
    """How it begins says whether it is a stream, however few bytes come at a time."""
    stream = Stream(content_type)
    for start in range(0, len(body), size):
        stream.feed(body[start : start + size])
    stream.close()
    assert stream.holds_events is holds


def test_the_first_token_is_what_the_model_wrote() -> None:
    """Neither a role, nor a comment, nor half a line; gaps are between reads that held tokens."""
    stream = Stream()
    role, first, second = (
        sse(one) for one in (event(role="assistant", content=""), event(content="a"), event("stop"))
    )
    call = sse(calls(piece("f", PARIS)))
    for at_s, read in [
        (1.0, b": ping\n\n" + role),
        (2.0, first[:20]),
        (3.0, first[20:]),
        (3.5, first + call),
        (5.5, first + first),
        (9.0, second + DONE),
    ]:
        stream.feed(read, at_s)
    arrivals = stream.arrivals
    assert (arrivals.first_s, arrivals.last_s) == (3.0, 5.5)
    assert (arrivals.gap_p50_s, arrivals.gap_max_s) == (1.25, 2.0)
    assert stream.ended


def test_tokens_without_blank_lines_arrive_when_they_come() -> None:
    """A line of data that is whole is noted at its own time, not at the next one's."""
    stream = Stream()
    for at_s, text in ((1.0, "a"), (2.0, "b")):
        stream.feed(b"data: " + json.dumps(event(content=text)).encode() + b"\n", at_s)
    stream.close(9.0)
    assert (stream.arrivals.first_s, stream.arrivals.last_s) == (1.0, 2.0)


def test_a_secret_that_the_network_cut_is_masked() -> None:
    """Lines are whole before anything is read of them."""
    stream = Stream("", lambda line: line.replace(b"sk-very-secret", b"***"))
    body = sse(event(content="my key is sk-very-secret"), DONE)
    at = body.index(b"-secret")
    stream.feed(body[:at])
    stream.feed(body[at:])
    stream.close()
    assert stream.whole()["choices"][0]["message"]["content"] == "my key is ***"


NAMES = st.sampled_from(["get_weather", "f", "add_numbers", "search", "städte"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=4,
)
ARGUMENTS = st.dictionaries(st.text(max_size=4), VALUES, max_size=3).map(json.dumps)


@st.composite
def cut(draw: st.DrawFn, text: str) -> list[str]:
    """Draw the pieces of a text."""
    ends = sorted({*draw(st.lists(st.integers(0, len(text)), max_size=4)), len(text)})
    starts = [0, *ends[:-1]]
    return [text[start:end] for start, end in zip(starts, ends, strict=True)]


def deltas_of(style: str, number: int, name: str, parts: list[str]) -> list[JsonObject]:
    """Return a call's deltas in the manner of one kind of server."""
    call_id = f"call_{number}"
    index = {"zero": 0, "backwards": 9 - number, "text": str(number)}.get(style, number)
    head: JsonObject = {"index": index, "id": call_id}
    again: JsonObject = {"index": index}
    match style:
        case "no index":
            head, again = {"id": call_id}, {}
        case "repeated" | "fat":
            again = head
        case "no id":
            head = {"index": index}
        case "nothing":
            head, again = {}, {}
        case "ids of pieces":
            again = {"index": index, "id": f"piece_{number}"}
        case _:
            pass
    first = {**head, "type": "function", "function": {"name": name, "arguments": parts[0]}}
    named = {"name": name} if style == "fat" else {}
    return [
        first,
        *({**again, "function": {**named, "arguments": part}} for part in parts[1:]),
    ]


STYLE_NAMES = (
    "plain",
    "zero",
    "backwards",
    "text",
    "no index",
    "repeated",
    "fat",
    "no id",
    "nothing",
    "ids of pieces",
)


@given(
    data=st.data(),
    style=st.sampled_from(STYLE_NAMES),
    content=st.none() | st.text(min_size=1, max_size=20),
    reasoning=st.none() | st.text(min_size=1, max_size=20),
    wanted=st.lists(st.tuples(NAMES, ARGUMENTS), max_size=3, unique=True),
)
def test_a_message_survives_being_streamed(
    data: st.DataObject,
    style: str,
    content: str | None,
    reasoning: str | None,
    wanted: list[tuple[str, str]],
) -> None:
    """Cut into deltas in each manner, and into reads anywhere, it comes back.

    But for calls of one name in a row without ids: nothing tells where the second one begins.
    """
    names = [name for name, _ in wanted]
    told_apart = style not in {"no id", "nothing"}
    assume(told_apart or all(one != other for one, other in pairwise(names)))
    deltas: list[Any] = [{"role": "assistant", "content": None if wanted else ""}]
    if reasoning:
        deltas += [{"reasoning_content": part} for part in data.draw(cut(reasoning))]
    if content:
        deltas += [{"content": part} for part in data.draw(cut(content))]
    for number, (name, arguments) in enumerate(wanted):
        parts = data.draw(cut(arguments))
        deltas += [{"tool_calls": [one]} for one in deltas_of(style, number, name, parts)]
    body = sse(*(event(**delta) for delta in deltas), event("stop"), DONE)
    stream = Stream("text/event-stream")
    for part in data.draw(cut(body.decode("latin-1"))):
        stream.feed(part.encode("latin-1"))
    stream.close()
    message = stream.whole()["choices"][0]["message"]
    found = [call["function"] for call in message.get("tool_calls", [])]
    assert [(call["name"], call["arguments"]) for call in found] == wanted
    assert message["content"] == (content or (None if wanted else ""))
    assert message.get("reasoning_content") == reasoning
    told = style not in {"no id", "nothing"}
    ids = [f"call_{number}" if told else None for number in range(len(wanted))]
    assert [call.get("id") for call in message.get("tool_calls", [])] == ids


WORDS = st.sampled_from(
    [
        *(b"data:", b"data: ", b"event: error\n", b"error: ", b": x", b"\n", b"\r\n", b"\r"),
        *(b"[DONE]", b"{", b"}", b'"', b"\xef\xbb\xbf", b"\xff", b"\x00"),
        json.dumps(event(content="a")).encode(),
        json.dumps(calls(piece("f", PARIS, index=0, id="a"))).encode(),
        json.dumps(calls(piece(None, {}, index=1))).encode(),
        json.dumps(event("stop")).encode(),
        b'{"choices": [{"message": {"tool_calls": [{"function": {"name": "g"}}]}}]}',
    ]
)


@given(st.lists(WORDS | st.binary(max_size=4), max_size=14).map(b"".join), st.integers(1, 9))
def test_any_bytes_are_a_reply_or_malformed(body: bytes, size: int) -> None:
    """Nothing else is raised, and how the network cuts it changes nothing."""
    streams = Stream("text/event-stream"), Stream("text/event-stream")
    streams[0].feed(body)
    for start in range(0, len(body), size):
        streams[1].feed(body[start : start + size])
    told = []
    for stream in streams:
        stream.close()
        try:
            told.append(json.dumps(stream.whole()))
        except MalformedError as error:
            told.append(str(error))
    assert told[0] == told[1]


FIELDS = st.sampled_from(
    [
        *("choices", "delta", "message", "content", "tool_calls", "function", "name", "arguments"),
        *("index", "id", "error", "type", "finish_reason", "function_call", "text", "reasoning"),
    ]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(FIELDS, inner, max_size=4),
    max_leaves=12,
)


@given(st.lists(st.dictionaries(FIELDS, JSON, max_size=4), max_size=4), st.lists(JSON, max_size=4))
def test_any_events_are_a_reply_or_malformed(deltas: list[JsonObject], others: list[Any]) -> None:
    """Whatever JSON stands in them."""
    with contextlib.suppress(MalformedError):
        whole_reply(sse(*others, *(event(**delta) for delta in deltas), event("stop"), DONE))


def test_nobody_reads_beyond_the_end() -> None:
    """What comes after `[DONE]` reaches no user, so it is no part of the reply."""
    late = b'data: {"choices": [{"delta": {"content": "late"}, "finish_reason": "stop"}]}\n\n'
    with pytest.raises(MalformedError, match="a stream without a reply"):
        whole_reply(b"data: [DONE]\n\n" + late)
