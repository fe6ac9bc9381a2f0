"""What a chat server's answer means: bytes in, a reply or a refusal out. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from matrixbench.backends.bodies import decoded, is_cut, is_html
from matrixbench.backends.faults import fault_in, fault_of_text, without_prompt
from matrixbench.backends.openai_stream import REASONING, MalformedError, content_texts
from matrixbench.backends.refusals import row_of
from matrixbench.backends.usage import usage_of
from matrixbench.nesting import DEEPEST
from matrixbench.records import ChatReply, Kind, Outcome, Refusal, ServerView, Timing, ToolCall

if TYPE_CHECKING:
    from matrixbench.backends.arrivals import Arrivals
    from matrixbench.backends.faults import Fault
    from matrixbench.records import JsonObject

EXCERPT_CHARACTERS = 200
BROKEN = "bad reply: "
"""How the reason begins of a body that holds no reply, and no error either."""

KEPT_BYTES = 64 * 1024
"""So much of a body is kept with a trial that it refused."""

_LARGEST = 2.0**53
"""No count or rate comes near it; NaN, infinity and overlong integers are taken as missing."""


class Streamed(Protocol):
    """A reply that came as a stream, put together."""

    arrivals: Arrivals

    def whole(self) -> JsonObject:
        """Return it in the shape of one that was not streamed, or the error that came.

        Raises:
            MalformedError: It cannot be put together.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came over the wire for one request.

    Args:
        status: The HTTP status.
        content_type: The header's value; empty where it is missing.
        body: All of the body, without secrets.
        latency_s: From the first byte sent to the last byte received.
        streamed: What was put together while a stream came; None where the body is read as it is.
        proxied: Whether a proxy may stand before the server, whose words may be in the body.
        unbounded: Whether nothing but the end of the connection tells where the body ends.
        asked: The request's body, whose words are not the server's.
    """

    status: int
    content_type: str
    body: bytes
    latency_s: float
    streamed: Streamed | None = None
    proxied: bool = False
    unbounded: bool = False
    asked: JsonObject | None = None


def classify(answer: Answer) -> ChatReply | Refusal:
    """Return what an answer means.

    Bodies are looked at before headers and statuses: what parses as JSON or as an event stream is
    that, whatever its content type. An error inside a 200, also inside its stream, is the error
    that it says it is, and the status that an error's body names outranks the header's.
    """
    try:
        data = decoded(answer)
        if (fault := fault_in(answer.status, data)) is not None:
            return refusal_of(fault, answer)
        if answer.status < 300:  # noqa: PLR2004  the statuses of success
            return _reply(data, answer)
    except (ValueError, RecursionError) as error:
        if answer.status < 300:  # noqa: PLR2004  the statuses of success
            return broken(answer, error)
    html = is_html(answer.body)
    return refusal_of(fault_of_text(answer.status, answer.body, html=html), answer)


def too_deep_reply(answer: Answer) -> Refusal:
    """Return what a body means that nobody can go down into."""
    reason = f"{BROKEN}JSON nested more than {DEEPEST} levels deep: {excerpt(answer.body)}"
    return _refusal(Kind.UNPARSED_OUTPUT, reason, answer, outcome=Outcome.REJECTED)


def excerpt(body: bytes) -> str:
    """Return the beginning of a body as one line that can be shown."""
    text = " ".join(body[: 4 * EXCERPT_CHARACTERS].decode(errors="replace").split())
    shown = "".join(char if char.isprintable() else "�" for char in text)
    return shown if len(shown) <= EXCERPT_CHARACTERS else shown[:EXCERPT_CHARACTERS] + "…"


def refusal_of(fault: Fault, answer: Answer) -> Refusal:
    """Return what an error means, with the body that told it."""
    own = replace(fault, text=without_prompt(fault.text, answer.asked))
    row = row_of(own, proxied=answer.proxied)
    status = answer.status if fault.guessed else fault.status
    reason = f"HTTP {status}: {excerpt(fault.text.encode(errors='replace'))}"
    if row is None:  # a status of success or of none
        return _refusal(Kind.BAD_REPLY, reason, answer, outcome=Outcome.ERRORED)
    return replace(
        _refusal(row.kind, reason, answer, outcome=row.outcome),
        by_request=row.by_request,
        stops_launch=row.stops_launch,
        alone=row.alone,
        unexplained=row.unexplained,
    )


def broken(answer: Answer, error: Exception) -> Refusal:
    """Return what a 200 means that holds no reply.

    A server that sends one was asked, and has answered: whoever uses it gets nothing. A web page
    is no word of the server's. And where only the end of the connection ends a body, one that is
    cut off may be a lost connection.
    """
    what = str(error) if isinstance(error, MalformedError) else "not JSON"
    reason = f"{BROKEN}{what}: {excerpt(answer.body) or 'an empty body'}"
    if is_html(answer.body):
        return _refusal(Kind.BAD_REPLY, reason, answer, outcome=Outcome.ERRORED)
    refusal = _refusal(Kind.UNPARSED_OUTPUT, reason, answer, outcome=Outcome.REJECTED)
    return replace(refusal, unexplained=answer.unbounded and is_cut(answer.body))


def kept(body: bytes) -> str:
    """Return a body as it is kept beside a trial: text, and no more than is looked at."""
    text = body[:KEPT_BYTES].decode(errors="replace")
    return text if len(body) <= KEPT_BYTES else f"{text}… ({len(body):,} bytes in all)"


def _refusal(kind: Kind, reason: str, answer: Answer, *, outcome: Outcome) -> Refusal:
    return Refusal(
        outcome=outcome,
        kind=kind,
        reason=reason,
        latency_s=answer.latency_s,
        body=kept(answer.body),
    )


def _reply(data: Any, answer: Answer) -> ChatReply:  # noqa: ANN401  JSON from outside
    choice, message = _first_choice(data)
    timings = data.get("timings")
    prompt_tokens, completion_tokens = _tokens(data.get("usage"), timings)
    return ChatReply(
        message=message,
        content=_content(message.get("content")),
        reasoning=_reasoning(message),
        tool_calls=_tool_calls(message.get("tool_calls") or _legacy_call(message)),
        finish_reason=_text_or_none(choice.get("finish_reason")),
        prompt_tokens=prompt_tokens,
        completion_tokens=completion_tokens,
        timing=_timing(timings, answer, completion_tokens),
        fingerprint=_text_or_none(data.get("system_fingerprint")),
        model=_text_or_none(data.get("model")),
        usage=usage_of(data),
        view=_view(data.get("__verbose")),
    )


def _first_choice(data: Any) -> tuple[JsonObject, JsonObject]:  # noqa: ANN401  JSON from outside
    try:
        choice = data["choices"][0]
        message = choice.get("message")
        if message is None and isinstance(choice.get("text"), str):  # a completion's shape
            message = {"role": "assistant", "content": choice["text"]}
    except (KeyError, IndexError, TypeError, AttributeError):
        raise MalformedError("no choices with a message") from None
    if not isinstance(message, dict):
        raise MalformedError("the message is no object")
    if choice.get("finish_reason") == "error":
        raise MalformedError("the reply ended with an error")
    return choice, message


def _view(told: object) -> ServerView | None:
    """Return what llama.cpp adds to a reply when it is asked for one that is `verbose`."""
    if not isinstance(told, dict):
        return None
    prompt, output = _text_or_none(told.get("prompt")), _text_or_none(told.get("content"))
    return ServerView(prompt=prompt, output=output)


def _text_or_none(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _content(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return "".join(text for field, text in content_texts(value) if field == "content")


def _reasoning(message: JsonObject) -> str | None:
    told = next(filter(None, map(message.get, REASONING)), None)
    content = message.get("content")
    if told is None and isinstance(content, list):
        told = "".join(text for field, text in content_texts(content) if field != "content")
    return told if isinstance(told, str) and told else None


def _tool_calls(calls: Any) -> tuple[ToolCall, ...]:  # noqa: ANN401  JSON from outside
    if not calls:
        return ()
    try:
        return tuple(_tool_call(call, call["function"]) for call in calls)
    except (KeyError, TypeError, AttributeError):
        raise MalformedError("a tool call without a function") from None


def _legacy_call(message: JsonObject) -> list[JsonObject]:
    """Return the call of a message as it was written before there could be several."""
    function = message.get("function_call")
    return [{"function": function}] if function else []


def called_name(function: JsonObject) -> str:
    """Return the name of the function that a call calls.

    Raises:
        MalformedError: It has none.
    """
    name = function.get("name")
    if not isinstance(name, str) or not name:
        raise MalformedError("a tool call without a name")
    return name


def _tool_call(call: JsonObject, function: JsonObject) -> ToolCall:
    arguments, call_id = function.get("arguments"), call.get("id")
    if arguments is None:
        arguments = ""
    elif not isinstance(arguments, str):
        arguments = json.dumps(arguments, separators=(",", ":"), ensure_ascii=False)
    return ToolCall(
        name=called_name(function),
        arguments=arguments,
        id=call_id if isinstance(call_id, str) and call_id else None,
    )


def _tokens(usage: object, timings: object) -> tuple[int | None, int | None]:
    """Return prompt and completion tokens; llama.cpp streams its timings also without a usage."""
    prompt, completion = _count(usage, "prompt_tokens"), _count(usage, "completion_tokens")
    if prompt is None and (new := _count(timings, "prompt_n")) is not None:
        prompt = new + (_count(timings, "cache_n") or 0)
    return prompt, _count(timings, "predicted_n") if completion is None else completion


def _timing(timings: object, answer: Answer, completion_tokens: int | None) -> Timing:
    arrivals = None if answer.streamed is None else answer.streamed.arrivals
    first_token_s = None if arrivals is None else arrivals.first_s
    if first_token_s is None and (prompt_ms := _number(timings, "prompt_ms")) is not None:
        first_token_s = prompt_ms / 1000
    rate = _number(timings, "predicted_per_second")
    if rate is None and completion_tokens is not None and answer.latency_s > 0:
        rate = completion_tokens / answer.latency_s
    return Timing(
        latency_s=answer.latency_s,
        time_to_first_token_s=first_token_s,
        prompt_tokens_per_s=_number(timings, "prompt_per_second"),
        completion_tokens_per_s=rate,
        token_gap_p50_s=None if arrivals is None else arrivals.gap_p50_s,
        token_gap_max_s=None if arrivals is None else arrivals.gap_max_s,
    )


def _number(holder: object, name: str) -> float | None:
    value = holder.get(name) if isinstance(holder, dict) else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 <= value < _LARGEST else None


def _count(holder: object, name: str) -> int | None:
    number = _number(holder, name)
    return None if number is None else int(number)
