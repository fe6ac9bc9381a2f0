"""What Ollama cannot honour. It answers 200 to nearly all of it, and drops it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple, assert_never

from matrixbench.spec.axes import REQUEST
from matrixbench.spec.backends import (
    OPENAI_FIELDS,
    Backend,
    CommandBackend,
    EndpointBackend,
    LlamaServerBackend,
    OllamaBackend,
    ScriptedBackend,
)
from matrixbench.spec.slips import EFFORTS, MAX_TOKENS, REQUEST_FIELDS, SAMPLING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from matrixbench.plan.cells import RequestPoint
    from matrixbench.records import JsonObject
    from matrixbench.spec.load import Template, TestCase
    from matrixbench.spec.models import Model


class Obstacle(NamedTuple):
    """Why a cell does not apply, and the way out."""

    reason: str
    hint: str


def launch_obstacle(
    backend: Backend, model_name: str, model: Model, template: Template, *, faithful: bool = False
) -> Obstacle | None:
    """Return why a backend cannot serve a model with a chat template, or None.

    Args:
        backend: The backend.
        model_name: The model's name in the file.
        model: The model's part of the file.
        template: The chat template.
        faithful: Whether the file asks for replies that no cache can have touched.
    """
    match backend:
        case LlamaServerBackend():
            return _llama_server_obstacle(model_name, model, template)
        case OllamaBackend():
            return _ollama_obstacle(model_name, model, template, faithful=faithful)
        case CommandBackend():
            if faithful and "faithful" not in _named(backend):
                return Obstacle(
                    "this command line cannot be told to be faithful",
                    "pass it on, such as '{% if faithful %}--no-prefix-cache{% endif %}'",
                )
            return _command_obstacle(backend, model_name, model, template)
        case EndpointBackend():
            return _endpoint_obstacle(model_name, model, template)
        case ScriptedBackend():
            return None
        case _:
            assert_never(backend)


def _llama_server_obstacle(model_name: str, model: Model, template: Template) -> Obstacle | None:
    if model.gguf is None and model.hf is None and model.package is None:
        return Obstacle(
            f"model {model_name} has no source for a llama-server",
            "give it gguf:, hf: or package:, or say backends: in the model",
        )
    return _language_obstacle(template)


def _endpoint_obstacle(model_name: str, model: Model, template: Template) -> Obstacle | None:
    if model.id is None:
        return Obstacle(
            f"model {model_name} has no id for an endpoint",
            "give it id:, or say backends: in the model",
        )
    if not template.is_native:
        return Obstacle(
            f"an endpoint cannot be given the chat template {template.name}",
            "its server decides; use a template that is {}, or exclude these cells",
        )
    return None


def _language_obstacle(template: Template) -> Obstacle | None:
    if template.is_native or template.text is not None or template.known_as is not None:
        return None
    return Obstacle(
        f"the chat template {template.name} is written in Ollama's language only",
        "give it file: as well, in Jinja, or exclude these cells",
    )


def _ollama_obstacle(
    model_name: str, model: Model, template: Template, *, faithful: bool
) -> Obstacle | None:
    if faithful:
        return Obstacle(
            "Ollama always uses its prompt cache, so it cannot be faithful",
            "take faithful out, or say backends: in the model",
        )
    if model_is_missing(model):
        return Obstacle(
            f"model {model_name} has no source for Ollama",
            "give it ollama: or a GGUF file, or say backends: in the model",
        )
    limit = template_limit(template)
    return None if limit is None else Obstacle(*limit)


def takes_file(backend: CommandBackend, model: Model) -> bool:
    """Return whether a command line is given the model as a file, which must then be here."""
    has_file = model.gguf is not None or model.hf is not None or model.package is not None
    return has_file and "model" in _named(backend)


def _named(backend: CommandBackend) -> frozenset[str]:
    from matrixbench.spec.backends import names_in  # noqa: PLC0415  heavy: jinja2

    return names_in(*backend.argv).variables


def _command_obstacle(
    backend: CommandBackend, model_name: str, model: Model, template: Template
) -> Obstacle | None:
    named = _named(backend)
    if "model_id" in named and model.id is None:
        return Obstacle(
            f"model {model_name} has no id for {{{{ model_id }}}} in the command line",
            "give it id:, or say backends: in the model",
        )
    if "model" in named and model.id is None and not takes_file(backend, model):
        return Obstacle(
            f"model {model_name} has neither a file nor an id for the command line",
            "give it gguf:, hf:, package: or id:, or say backends: in the model",
        )
    if not template.is_native and not backend.chat_template:
        return Obstacle(
            f"this command line takes no chat template, so not {template.name}",
            "if the server can be given one, pass {{ chat_template }} on and say "
            "chat_template: true",
        )
    return _language_obstacle(template)


def point_obstacle(backend: Backend, point: RequestPoint) -> Obstacle | None:
    """Return why a backend cannot honour a choice of sampling fields, or None."""
    if isinstance(backend, OllamaBackend):
        limit = fields_limit(point.fields)
        return None if limit is None else Obstacle(*limit)
    if not isinstance(backend, EndpointBackend | CommandBackend):
        return None
    server = "endpoint" if isinstance(backend, EndpointBackend) else "server"
    honoured = OPENAI_FIELDS.union(backend.honours)
    for axis, value in point.coordinates.items():
        if value is not None and not axis.startswith(REQUEST) and axis not in honoured:
            return Obstacle(
                f"{axis} is not known to be honoured by this {server}",
                f"if it is, say honours: [{axis}]",
            )
    return None


def test_obstacle(backend: Backend, test: TestCase) -> Obstacle | None:
    """Return why a test cannot be asked of a backend, or None."""
    said = (*test.messages, *(test.script.turns if test.script else ()))
    if isinstance(backend, OllamaBackend) and (limit := messages_limit(said)):
        return Obstacle(*limit)
    if isinstance(backend, ScriptedBackend) or backend.context is None:
        return None
    needed = test.needs.context
    if needed is None or needed <= backend.context:
        return None
    return Obstacle(
        f"test {test.name} needs a context of {needed} tokens, the backend gives {backend.context}",
        f"raise the backend's context: to {needed} or more",
    )


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
