"""What a backend cannot honour: such cells are listed with the reason, never run without it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, assert_never

from matrixbench.plan.ollama_limits import (
    fields_limit,
    messages_limit,
    model_is_missing,
    template_limit,
)
from matrixbench.spec.backends import (
    OPENAI_FIELDS,
    Backend,
    CommandBackend,
    EndpointBackend,
    LlamaServerBackend,
    OllamaBackend,
    ScriptedBackend,
)

if TYPE_CHECKING:
    from matrixbench.plan.cells import RequestPoint
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
    from matrixbench.spec.command_line import names_in  # noqa: PLC0415  heavy: jinja2

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
        if value is not None and not axis.startswith("request.") and axis not in honoured:
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
