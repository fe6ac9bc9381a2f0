"""What a chat server's answer means, whatever its headers say. Pure."""

from __future__ import annotations

import codecs
import json
import re
import zlib
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from matrixbench.backends.http.faults import fault_in, fault_of_text, without_prompt
from matrixbench.backends.http.openai_stream import (
    REASONING,
    MalformedError,
    content_texts,
    whole_reply,
)
from matrixbench.backends.http.refusals import row_of
from matrixbench.identity import DEEPEST
from matrixbench.records import (
    NO_USAGE,
    ChatReply,
    Kind,
    Outcome,
    Refusal,
    ServerView,
    Timing,
    ToolCall,
    Usage,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from matrixbench.backends.http.faults import Fault
    from matrixbench.backends.http.openai_stream import Arrivals
    from matrixbench.records import JsonObject

_LARGEST_UNPACKED = 32 * 1024 * 1024
_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_GZIP = b"\x1f\x8b"
_CHARSET = re.compile(r"charset=[\"']?([\w-]+)")
_EVENT = re.compile(rb"(?:data|event|error|id|retry)\s*:|:", re.IGNORECASE)
_HTML = re.compile(rb"<(?:!doctype\s+html|html|head|body|title|center|h1)\b", re.IGNORECASE)
_ERROR_WORDS = (b"error", b"detail", b"message", b"Error")
_DONE = b"[DONE]"


def decoded(answer: Answer) -> Any:
    """Return a body's JSON; of an event stream, the reply that it adds up to or its error.

    Raises:
        ValueError: It is neither.
        MalformedError: It is a stream that is no chat.
    """
    body = answer.body
    if not body.startswith(b"{"):  # most replies begin so, and need none of this
        body = _plain(body, answer.content_type)
        if _EVENT.match(body):
            return storable(_of_stream(body, answer.streamed))
        if not body and "event-stream" in answer.content_type:
            raise MalformedError("a stream of no event")
    try:
        data = json.loads(body)
    except UnicodeDecodeError:
        body = _in_utf8(body, answer.content_type)
        data = json.loads(body)
    except json.JSONDecodeError:
        if (lines := _json_lines(body)) is None:
            raise
        return storable(_of_stream(lines, None))
    return storable(data) if b"\\ud" in body or b"\\uD" in body else data


def storable(data: Any) -> Any:
    """Return JSON with its surrogates joined to characters, and `?` for those that have no mate.

    A lone surrogate is valid JSON, but no UTF-8 text, file or database can hold it.
    """
    joined = json.loads(json.dumps(data))
    return json.loads(json.dumps(joined, ensure_ascii=False).encode(errors="replace"))


def is_html(body: bytes) -> bool:
    """Return whether a body is a web page."""
    return _HTML.match(re.sub(rb"^(?:\s|\xef\xbb\xbf|<!--.*?-->)*", b"", body[:2048])) is not None


def is_cut(body: bytes) -> bool:
    """Return whether a body is the beginning of JSON or of a stream, or nothing at all."""
    text = body.strip()
    if not text:
        return True
    if _EVENT.match(text):
        return _DONE not in text[-64:]
    return text.startswith((b"{", b"[")) and not text.endswith((b"}", b"]"))


def _plain(body: bytes, content_type: str) -> bytes:
    """Return a body without what may stand before its first character, in UTF-8."""
    if body.startswith(_GZIP):  # packed, though nobody asked for it, and no header says so
        try:
            body = zlib.decompressobj(wbits=31).decompress(body, _LARGEST_UNPACKED)
        except zlib.error:
            raise MalformedError("gzip that cannot be unpacked") from None
    for mark, encoding in _BOMS:
        if body.startswith(mark):
            body = body.decode(encoding, errors="replace").encode(errors="replace")
            break
    stripped = body.lstrip()
    try:
        stripped.decode()
    except UnicodeDecodeError:
        return _in_utf8(stripped, content_type)
    return stripped


def _in_utf8(body: bytes, content_type: str) -> bytes:
    """Return a body that is not in UTF-8, in it: by its header, else as Latin-1."""
    named = _CHARSET.search(content_type)
    try:
        text = body.decode(named[1] if named else "latin-1")
    except (LookupError, UnicodeDecodeError):
        text = body.decode("latin-1")
    return text.encode(errors="replace")


def _of_stream(body: bytes, streamed: Streamed | None) -> Any:
    """Return the error that a stream holds, else the reply that it adds up to.

    Args:
        body: The stream.
        streamed: The same, put together as it came; None where nobody listened.
    """
    if any(word in body for word in _ERROR_WORDS):
        for event in _suspects(body):
            if fault_in(200, event) is not None:
                return event
    return whole_reply(body) if streamed is None else streamed.whole()


def _suspects(body: bytes) -> Iterator[JsonObject]:
    """Yield the events that may be an error: those that say so, or are no part of a chat.

    Some servers name the event `error` and send a bare text.
    """
    named = False
    for line in body.splitlines():
        name, _, rest = line.partition(b":")
        text = rest.strip()
        match name.strip().lower():
            case b"event":
                named = text.lower() == b"error"
            case b"error" if text:
                yield {"error": _json_or_text(text)}
            case b"data" if named and text and text != _DONE:
                data = _json_or_text(text)
                yield data if isinstance(data, dict) and "error" in data else {"error": data}
            case b"data" if any(word in text for word in _ERROR_WORDS):
                data = _json_or_text(text)
                if isinstance(data, dict):
                    yield data
            case b"":
                named = named and bool(line.strip())


def _json_or_text(text: bytes) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text.decode(errors="replace")


def _json_lines(body: bytes) -> bytes | None:
    """Return objects that stand one on each line as the events that they are; None for others."""
    lines = [line for line in body.splitlines() if line.strip()]
    if len(lines) < 2 or not all(line.lstrip().startswith(b"{") for line in lines):  # noqa: PLR2004  several
        return None
    return b"".join(b"data: " + line.strip() + b"\n\n" for line in lines)


MOST = 2**53
"""No figure comes near it: so the sum over a conversation fits the store's 63 bits, and seconds are
exact. What is larger, or not a number, is not known."""

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


EXCERPT_CHARACTERS = 200
BROKEN = "bad reply: "
"""How the reason begins of a body that holds no reply, and no error either."""

KEPT_BYTES = 64 * 1024
"""So much of a body is kept with a trial that it refused."""


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
        if answer.status < HTTPStatus.MULTIPLE_CHOICES:
            return _reply(data, answer)
    except (ValueError, RecursionError) as error:
        if answer.status < HTTPStatus.MULTIPLE_CHOICES:
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


def _reply(data: Any, answer: Answer) -> ChatReply:
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


def _first_choice(data: Any) -> tuple[JsonObject, JsonObject]:
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


def _tool_calls(calls: Any) -> tuple[ToolCall, ...]:
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
    return amount(holder, name) if isinstance(holder, dict) else None


def _count(holder: object, name: str) -> int | None:
    number = _number(holder, name)
    return None if number is None else int(number)
