"""What a chat server's answer means: bytes in, a reply or a refusal out. Pure."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from matrixbench.backends.openai_stream import MalformedError, whole_reply
from matrixbench.records import ChatReply, Kind, Outcome, Refusal, ServerView, Timing, ToolCall

if TYPE_CHECKING:
    from matrixbench.records import JsonObject

EXCERPT_CHARACTERS = 200
_LARGEST = 2.0**53
"""No count or rate comes near it; NaN, infinity and overlong integers are taken as missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came over the wire for one request.

    Args:
        status: The HTTP status.
        content_type: The header's value; empty where it is missing.
        body: All of the body.
        latency_s: From the first byte sent to the last byte received.
        first_token_s: When the first token arrived; None when not streamed.
    """

    status: int
    content_type: str
    body: bytes
    latency_s: float
    first_token_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fault:
    """An error as the body tells it: the body's own status where it names one."""

    status: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rule:
    """Which faults mean what: statuses from `low` to `high`, and a text where one must match."""

    low: int
    high: int
    text: re.Pattern[str] | None = None
    outcome: Outcome = Outcome.ERRORED
    kind: Kind
    by_request: bool = False
    stops_launch: bool = False
    alone: bool = False

    def matches(self, fault: _Fault) -> bool:
        return self.low <= fault.status <= self.high and (
            self.text is None or self.text.search(fault.text) is not None
        )


def _text(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE | re.DOTALL)


_REJECTED = Outcome.REJECTED
_RULES = (
    # llama.cpp names the error's type; OpenAI's code and vLLM's wording say the same.
    _Rule(
        low=400,
        high=599,
        text=_text(
            r"exceed_context_size|context_length_exceeded|maximum context length"
            r"|exceeds the available context size"
        ),
        outcome=_REJECTED,
        kind=Kind.CONTEXT_OVERFLOW,
        by_request=True,
    ),
    # The model failed, not the server. Only the message tells it from a fault.
    _Rule(
        low=500,
        high=599,
        text=_text(r"does not match the expected .{0,80}format|failed to parse input"),
        outcome=_REJECTED,
        kind=Kind.UNPARSED_OUTPUT,
    ),
    # Under unified KV the slots fight for one cache: this is load.
    _Rule(
        low=500,
        high=599,
        text=_text(r"context size has been exceeded"),
        kind=Kind.OVERLOADED,
        alone=True,
    ),
    # A bad schema comes as a template error too, and only its text tells it.
    _Rule(
        low=400,
        high=422,
        text=_text(r"JSON schema error"),
        outcome=_REJECTED,
        kind=Kind.BAD_REQUEST,
        by_request=True,
    ),
    _Rule(
        low=400,
        high=422,
        text=_text(r"generate parser for this template|\bchat[ _]template\b|\bjinja\b"),
        outcome=_REJECTED,
        kind=Kind.TEMPLATE_ERROR,
        by_request=True,
    ),
    # Older builds let an exception of the template engine through as a 500 with its place.
    _Rule(
        low=400,
        high=599,
        text=_text(r"\bat row \d+, column \d+"),
        outcome=_REJECTED,
        kind=Kind.TEMPLATE_ERROR,
        by_request=True,
    ),
    # Servers refuse a model that they lack with 404, proxies with 400: no request can succeed.
    _Rule(
        low=400,
        high=499,
        text=_text(
            r"model_not_found|\b(unknown|invalid|no such) model\b|not a valid model\b"
            r"|\bmodel\b[^.]{0,120}?\b(does not exist|doesn't exist|not found|is not available)\b"
        ),
        kind=Kind.NOT_FOUND,
        stops_launch=True,
    ),
    # Redirects are not followed: the key must not travel, and a POST would become a GET.
    _Rule(low=300, high=399, kind=Kind.NOT_FOUND, stops_launch=True),
    _Rule(low=401, high=403, kind=Kind.UNAUTHORIZED, stops_launch=True),
    _Rule(low=404, high=405, kind=Kind.NOT_FOUND, stops_launch=True),
    _Rule(low=408, high=408, kind=Kind.SERVER_ERROR),
    _Rule(low=429, high=429, kind=Kind.RATE_LIMITED),
    _Rule(low=400, high=499, outcome=_REJECTED, kind=Kind.BAD_REQUEST, by_request=True),
    _Rule(low=501, high=501, outcome=_REJECTED, kind=Kind.BAD_REQUEST, by_request=True),
    _Rule(low=500, high=599, kind=Kind.SERVER_ERROR),
)

_STATUS_OF_TYPE = {
    "invalid_request_error": 400,
    "exceed_context_size_error": 400,
    "authentication_error": 401,
    "permission_error": 403,
    "not_found_error": 404,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "not_supported_error": 501,
    "unavailable_error": 503,
}


def classify(answer: Answer) -> ChatReply | Refusal:
    """Return what an answer means.

    Bodies are looked at before statuses: an error inside a 200, also inside its stream, is the
    error that it says it is, and the status that an error's body names outranks the header's.
    """
    try:
        data = _decoded(answer)
        if (fault := _fault(answer.status, data)) is not None:
            return _refusal(fault, answer.latency_s)
        if answer.status < 300:  # noqa: PLR2004  the statuses of success
            return _reply(data, answer)
    except (ValueError, RecursionError) as error:
        if answer.status < 300:  # noqa: PLR2004  the statuses of success
            return _bad_reply(answer, error)
    text = excerpt(answer.body) or "no further word"
    return _refusal(_Fault(status=answer.status, text=text), answer.latency_s)


def excerpt(body: bytes) -> str:
    """Return the beginning of a body as one line that can be shown."""
    text = " ".join(body[: 4 * EXCERPT_CHARACTERS].decode(errors="replace").split())
    shown = "".join(char if char.isprintable() else "�" for char in text)
    return shown if len(shown) <= EXCERPT_CHARACTERS else shown[:EXCERPT_CHARACTERS] + "…"


def storable(data: Any) -> Any:  # noqa: ANN401  JSON from outside
    """Return JSON with its surrogates joined to characters, and `?` for those that have no mate.

    A lone surrogate is valid JSON, but no UTF-8 text, file or database can hold it.
    """
    joined = json.loads(json.dumps(data))
    return json.loads(json.dumps(joined, ensure_ascii=False).encode(errors="replace"))


def _decoded(answer: Answer) -> Any:  # noqa: ANN401  JSON from outside
    body, kind = answer.body, answer.content_type
    if "event-stream" in kind or body.startswith((b"data:", b"error:")):
        return storable(whole_reply(body))
    if answer.status < 300 and kind and "json" not in kind:  # noqa: PLR2004  success
        raise MalformedError(f"content type {kind.split(';')[0]!r} instead of JSON")
    data = json.loads(body)
    return storable(data) if b"\\ud" in body or b"\\uD" in body else data


def _fault(status: int, data: Any) -> _Fault | None:  # noqa: ANN401  JSON from outside
    if not isinstance(data, dict):
        return None
    error = data.get("error")
    if not error:  # vLLM's older shape, and FastAPI's
        if data.get("object") != "error" and (status < 400 or "choices" in data):  # noqa: PLR2004
            return None
        error = data if "message" in data else {"message": data.get("detail", data)}
    if not isinstance(error, dict):
        error = {"message": error}
    code, kind, message = error.get("code"), error.get("type"), error.get("message") or error
    names = [name for name in (kind, code) if isinstance(name, str)]
    if isinstance(code, int) and 400 <= code <= 599:  # noqa: PLR2004  the statuses of errors
        status = code
    elif status < 400:  # noqa: PLR2004  the statuses of errors
        status = next((_STATUS_OF_TYPE[name] for name in names if name in _STATUS_OF_TYPE), 500)
    if not isinstance(message, str):
        message = json.dumps(message, ensure_ascii=False)
    return _Fault(status=status, text=" ".join([message, *(f"({name})" for name in names)]))


def _refusal(fault: _Fault, latency_s: float) -> Refusal:
    rule = next((rule for rule in _RULES if rule.matches(fault)), None)
    reason = f"HTTP {fault.status}: {excerpt(fault.text.encode(errors='replace'))}"
    if rule is None:
        return Refusal(
            outcome=Outcome.ERRORED, kind=Kind.BAD_REPLY, reason=reason, latency_s=latency_s
        )
    return Refusal(
        outcome=rule.outcome,
        kind=rule.kind,
        reason=reason,
        by_request=rule.by_request,
        stops_launch=rule.stops_launch,
        alone=rule.alone,
        latency_s=latency_s,
    )


def _bad_reply(answer: Answer, error: Exception) -> Refusal:
    what = str(error) if isinstance(error, MalformedError) else "not JSON"
    return Refusal(
        outcome=Outcome.ERRORED,
        kind=Kind.BAD_REPLY,
        reason=f"bad reply: {what}: {excerpt(answer.body) or 'an empty body'}",
        latency_s=answer.latency_s,
    )


def _reply(data: Any, answer: Answer) -> ChatReply:  # noqa: ANN401  JSON from outside
    try:
        choice = data["choices"][0]
        message = choice["message"]
    except (KeyError, IndexError, TypeError):
        raise MalformedError("no choices with a message") from None
    if not isinstance(message, dict):
        raise MalformedError("the message is no object")
    timings = data.get("timings")
    prompt_tokens, completion_tokens = _tokens(data.get("usage"), timings)
    return ChatReply(
        message=message,
        content=_content(message.get("content")),
        reasoning=_text_or_none(message.get("reasoning_content") or message.get("reasoning")),
        tool_calls=_tool_calls(message.get("tool_calls") or ()),
        finish_reason=_text_or_none(choice.get("finish_reason")),
        prompt_tokens=prompt_tokens,
        completion_tokens=completion_tokens,
        timing=_timing(timings, answer, completion_tokens),
        fingerprint=_text_or_none(data.get("system_fingerprint")),
        view=_view(data.get("__verbose")),
    )


def _view(told: object) -> ServerView | None:
    """Return what llama.cpp adds to a reply when it is asked for one that is `verbose`."""
    if not isinstance(told, dict):
        return None
    prompt, output = _text_or_none(told.get("prompt")), _text_or_none(told.get("content"))
    return ServerView(prompt=prompt, output=output)


def _text_or_none(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _content(value: object) -> str | None:
    match value:
        case None | str():
            return value
        case list():
            texts = [part.get("text") for part in value if isinstance(part, dict)]
            return "".join(text for text in texts if isinstance(text, str))
        case _:
            raise MalformedError("content is neither text nor null nor a list of parts")


def _tool_calls(calls: Any) -> tuple[ToolCall, ...]:  # noqa: ANN401  JSON from outside
    if not calls:
        return ()
    try:
        return tuple(_tool_call(call, call["function"]) for call in calls)
    except (KeyError, TypeError, AttributeError):
        raise MalformedError("a tool call without a function") from None


def _tool_call(call: JsonObject, function: JsonObject) -> ToolCall:
    arguments, call_id = function.get("arguments"), call.get("id")
    if arguments is None:
        arguments = ""
    elif not isinstance(arguments, str):
        arguments = json.dumps(arguments, separators=(",", ":"), ensure_ascii=False)
    return ToolCall(
        name=str(function.get("name") or ""),
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
    first_token_s = answer.first_token_s
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
    )


def _number(holder: object, name: str) -> float | None:
    value = holder.get(name) if isinstance(holder, dict) else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 <= value < _LARGEST else None


def _count(holder: object, name: str) -> int | None:
    number = _number(holder, name)
    return None if number is None else int(number)
