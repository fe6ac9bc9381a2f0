"""What Ollama cannot honour. It answers 200 to nearly all of it, and drops it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from matrixbench.spec.ollama_names import EFFORTS, MAX_TOKENS, REQUEST_FIELDS, SAMPLING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from matrixbench.records import JsonObject
    from matrixbench.spec.load import Template
    from matrixbench.spec.models import Model

ROLES = frozenset({"system", "user", "assistant", "tool"})
MESSAGE_KEYS = frozenset({"role", "content", "tool_calls", "tool_call_id", "reasoning_content"})
"""What `/api/chat` has of OpenAI's messages; `name` too, where a tool answers."""

IMAGE_PREFIX = "data:image/"


def model_is_missing(model: Model) -> bool:
    """Return whether a model has neither a tag nor a file that a tag could be made from."""
    return model.ollama is None and not has_file(model)


def has_file(model: Model) -> bool:
    """Return whether a model has a GGUF file, here or to be fetched."""
    return model.gguf is not None or model.hf is not None or model.package is not None


def template_limit(template: Template) -> tuple[str, str] | None:
    """Return why Ollama cannot be given a chat template and the way out, or None."""
    if template.is_native or template.ollama_text is not None:
        return None
    return (
        f"Ollama cannot take the chat template {template.name}, a name or a Jinja file",
        "give the template ollama_file: as well, in Ollama's own language, or exclude these cells",
    )


def fields_limit(fields: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return why Ollama cannot honour the fields of a request and the way out, or None.

    Args:
        fields: The fields that would be sent, nulls left out.
    """
    for name, value in fields.items():
        if name not in REQUEST_FIELDS:
            return _unknown(name)
        if name == "response_format" and not _is_format(value):
            return (
                "Ollama's format is JSON or a JSON schema, not this response_format",
                "use {type: json_object} or {type: json_schema, json_schema: {schema: …}}",
            )
        if name == "reasoning_effort" and value not in EFFORTS:
            return f"Ollama knows no reasoning_effort {value}", f"known: {', '.join(EFFORTS)}"
    for names in (MAX_TOKENS, ("think", "reasoning_effort")):
        if all(name in fields for name in names):
            return f"{' and '.join(names)} mean the same to Ollama", "give one of them"
    return None


def _unknown(name: str) -> tuple[str, str]:
    reason = f"Ollama's API has no {name}: it would answer without it"
    match name:
        case "tool_choice":
            return reason, "null leaves it out, which to Ollama is what `auto` is to others"
        case "chat_template_kwargs":
            return reason, "for thinking say think: true or false, else give ollama_file:"
        case _:
            return reason, f"null leaves it out; sampling fields it has: {listed(SAMPLING)}"


def listed(names: Iterable[str]) -> str:
    """Return names in order, with commas."""
    return ", ".join(sorted(names))


def _is_format(value: object) -> bool:
    return isinstance(value, dict) and (
        value.get("type") in {"text", "json_object"}
        or (value.get("type") == "json_schema" and isinstance(schema_of(value), dict))
    )


def schema_of(response_format: Mapping[str, Any]) -> JsonObject | None:
    """Return the JSON schema of a `response_format`, or None where it has none."""
    named = response_format.get("json_schema")
    schema = named.get("schema") if isinstance(named, dict) else response_format.get("schema")
    return schema if isinstance(schema, dict) else None


def messages_limit(messages: Iterable[JsonObject]) -> tuple[str, str] | None:
    """Return why Ollama cannot be sent a test's messages and the way out, or None."""
    for message in messages:
        role = message.get("role")
        if role not in ROLES:
            return f"Ollama has no role {role}", "exclude this test for this backend"
        allowed = MESSAGE_KEYS | ({"name"} if role == "tool" else set())
        if dropped := {key for key, value in message.items() if value is not None} - allowed:
            return f"Ollama's messages have no {listed(dropped)}", "leave it out of the message"
        if not _is_content(message.get("content")):
            return (
                "Ollama's messages hold text and images given as data: urls, nothing else",
                "exclude this test for this backend",
            )
        for call in message.get("tool_calls") or ():
            if not isinstance(arguments_of(call), dict):
                return (
                    "Ollama takes a tool call's arguments as an object, and these are none",
                    "make them JSON text of an object",
                )
    return None


def _is_content(content: object) -> bool:
    if content is None or isinstance(content, str):
        return True
    return isinstance(content, list) and all(_is_part(part) for part in content)


def _is_part(part: object) -> bool:
    if not isinstance(part, dict):
        return False
    if part.get("type") == "text":
        return isinstance(part.get("text"), str)
    image = part.get("image_url")
    url = image.get("url") if isinstance(image, dict) else image
    return isinstance(url, str) and url.startswith(IMAGE_PREFIX) and ";base64," in url


def arguments_of(call: object) -> object:
    """Return the arguments of a tool call in a message, read where they are JSON text."""
    function = call.get("function") if isinstance(call, dict) else None
    arguments = function.get("arguments") if isinstance(function, dict) else None
    if not isinstance(arguments, str):
        return arguments
    try:
        return json.loads(arguments)
    except ValueError:
        return None
