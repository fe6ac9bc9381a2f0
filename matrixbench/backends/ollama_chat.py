"""Ollama's own chat API: what a request becomes on its wire, and what an answer means. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from matrixbench.backends.bodies import decoded, storable
from matrixbench.backends.faults import fault_in
from matrixbench.backends.ollama_stream import whole_chat
from matrixbench.backends.openai_reply import Answer, broken, called_name, classify
from matrixbench.backends.openai_stream import MalformedError
from matrixbench.backends.usage import NANOSECONDS, count, ollama_usage
from matrixbench.plan.ollama_limits import arguments_of, schema_of
from matrixbench.records import ChatReply, Refusal, Timing, ToolCall
from matrixbench.spec.ollama_names import EFFORTS, MAX_TOKENS, PASSED_ON, SAMPLING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from matrixbench.records import ChatRequest, JsonObject

_SUCCESS = range(200, 300)


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """How a model is asked, the same for every request of a launch.

    Args:
        model: The tag.
        options: The context and the options that the model is loaded with. A request without
            them would load it again.
        keep_alive: How long it stays loaded: -1 is for ever, None what the server says.
    """

    model: str
    options: Mapping[str, Any]
    keep_alive: int | None = None

    def body(self) -> JsonObject:
        """Return the fields that every request to the model has.

        `truncate` and `shift` are on by default, and silent: a prompt that is too long loses its
        oldest messages or its middle, and the answer is a 200. They are turned off, so that it is
        an error. A different `shift` would also load the model again.
        """
        kept = {} if self.keep_alive is None else {"keep_alive": self.keep_alive}
        return {"model": self.model, "stream": False, "truncate": False, "shift": False, **kept}


def native_body(request: ChatRequest, served: Served) -> JsonObject:
    """Return the body for `/api/chat` of a request that the plan found applicable."""
    fields = request.body
    options: JsonObject = {**served.options, "seed": request.seed}
    options |= {name: fields[name] for name in (*SAMPLING, "num_keep") if name in fields}
    for name in MAX_TOKENS:
        if name in fields:
            options["num_predict"] = fields[name]
    if (stop := fields.get("stop")) is not None:
        options["stop"] = [stop] if isinstance(stop, str) else stop
    body = {**served.body(), "messages": native_messages(fields["messages"]), "options": options}
    body |= {name: fields[name] for name in (*PASSED_ON, "tools") if name in fields}
    if fields.get("stream"):
        body["stream"] = True
    if (effort := fields.get("reasoning_effort")) is not None:
        body["think"] = EFFORTS[effort]
    if (form := _format(fields.get("response_format"))) is not None:
        body["format"] = form
    return body


def _format(response_format: Mapping[str, Any] | None) -> str | JsonObject | None:
    if response_format is None or response_format.get("type") == "text":
        return None
    return schema_of(response_format) or "json"


def native_messages(messages: Iterable[JsonObject]) -> list[JsonObject]:
    """Return OpenAI's messages as Ollama's: arguments as objects, a tool's answer by its name."""
    called: dict[str, str] = {}
    native: list[JsonObject] = []
    for message in messages:
        text, images = _content(message.get("content"))
        ours: JsonObject = {"role": message["role"], "content": text}
        if images:
            ours["images"] = images
        if calls := message.get("tool_calls"):
            ours["tool_calls"] = [_native_call(call) for call in calls]
            called |= {call["id"]: call["function"]["name"] for call in calls if call.get("id")}
        if thinking := message.get("reasoning_content"):
            ours["thinking"] = thinking
        if call_id := message.get("tool_call_id"):
            ours["tool_call_id"] = call_id
        if message["role"] == "tool" and (name := message.get("name") or called.get(call_id or "")):
            ours["tool_name"] = name
        native.append(ours)
    return native


def _content(content: str | list[JsonObject] | None) -> tuple[str, list[str]]:
    """Return a message's text, and its images in base64 without what stands before the data."""
    if not isinstance(content, list):
        return content or "", []
    texts = [part["text"] for part in content if part.get("type") == "text"]
    images = [part["image_url"] for part in content if part.get("type") != "text"]
    urls = [image["url"] if isinstance(image, dict) else image for image in images]
    return "".join(texts), [url.partition(";base64,")[2] for url in urls]


def _native_call(call: JsonObject) -> JsonObject:
    given = {"id": call["id"]} if call.get("id") else {}
    function = {"name": call["function"]["name"], "arguments": arguments_of(call)}
    return {**given, "function": function}


def understand(answer: Answer) -> ChatReply | Refusal:
    """Return what an answer of `/api/chat` means.

    Its errors are `{"error": TEXT}`, and mean what they mean of any other server.
    """
    try:
        data = _data(answer)
    except (ValueError, RecursionError):
        return classify(answer)
    if answer.status not in _SUCCESS or fault_in(answer.status, data) is not None:
        return classify(answer)
    message = data.get("message") if isinstance(data, dict) else None
    if not isinstance(message, dict):
        return broken(answer, MalformedError("no message"))
    try:
        return _reply(data, message, answer)
    except MalformedError as error:
        return broken(answer, error)
    except (KeyError, TypeError, AttributeError):
        return broken(answer, MalformedError("a tool call without a function"))


def _data(answer: Answer) -> Any:  # noqa: ANN401  JSON from outside
    """Return what an answer holds, in the shape of one that was not streamed.

    An error is one object, also where a stream was asked for.
    """
    try:
        data = json.loads(answer.body)
    except ValueError:
        if answer.streamed is not None:
            return storable(answer.streamed.whole())
        try:
            return storable(whole_chat(answer.body))
        except ValueError:
            return decoded(answer)
    if answer.streamed is None or answer.status not in _SUCCESS:
        return storable(data)
    return storable(answer.streamed.whole())


def _reply(data: JsonObject, message: JsonObject, answer: Answer) -> ChatReply:
    calls = tuple(_tool_call(call) for call in message.get("tool_calls") or ())
    content = message.get("content")
    thinking = message.get("thinking")
    return ChatReply(
        message=message,
        content=content if isinstance(content, str) and content else None,
        reasoning=thinking if isinstance(thinking, str) and thinking else None,
        tool_calls=calls,
        finish_reason=_finish_reason(data, called=bool(calls)),
        prompt_tokens=count(data, "prompt_eval_count"),
        completion_tokens=count(data, "eval_count"),
        timing=_timing(data, answer),
        model=model if isinstance(model := data.get("model"), str) else None,
        usage=ollama_usage(data),
    )


def _tool_call(call: JsonObject) -> ToolCall:
    function, call_id = call["function"], call.get("id")
    arguments = function.get("arguments")
    if not isinstance(arguments, str):
        arguments = json.dumps(
            {} if arguments is None else arguments, separators=(",", ":"), ensure_ascii=False
        )
    return ToolCall(
        name=called_name(function),
        arguments=arguments,
        id=call_id if isinstance(call_id, str) and call_id else None,
    )


def _finish_reason(data: JsonObject, *, called: bool) -> str | None:
    """Return why the reply ended, in OpenAI's words.

    Ollama ends a reply that repeats one token more than thirty times without a word: it is a 200
    that is not `done`. It was cut off, so this says so.
    """
    if data.get("done") is False:
        return "length"
    reason = data.get("done_reason")
    if reason == "stop" and called:
        return "tool_calls"
    return reason if isinstance(reason, str) else None


def _timing(data: JsonObject, answer: Answer) -> Timing:
    """Return the times that Ollama measured, which it gives in nanoseconds.

    The prompt's rate is left out: its tokens are counted with those that came from the cache, the
    time without.
    """
    prompt_ns, ns = count(data, "prompt_eval_duration"), count(data, "eval_duration")
    tokens = count(data, "eval_count")
    rate = None
    if tokens is not None and tokens > 1 and ns:
        rate = tokens * NANOSECONDS / ns
    arrivals = None if answer.streamed is None else answer.streamed.arrivals
    first_s = None if arrivals is None else arrivals.first_s
    if first_s is None and prompt_ns is not None:
        first_s = prompt_ns / NANOSECONDS
    return Timing(
        latency_s=answer.latency_s,
        time_to_first_token_s=first_s,
        completion_tokens_per_s=rate,
        token_gap_p50_s=None if arrivals is None else arrivals.gap_p50_s,
        token_gap_max_s=None if arrivals is None else arrivals.gap_max_s,
    )
