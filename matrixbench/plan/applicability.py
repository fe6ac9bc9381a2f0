"""What a backend cannot honour: such cells are listed with the reason, never run without it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, assert_never

from matrixbench.spec.backends import (
    OPENAI_FIELDS,
    Backend,
    EndpointBackend,
    LlamaServerBackend,
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
    backend: Backend, model_name: str, model: Model, template: Template
) -> Obstacle | None:
    """Return why a backend cannot serve a model with a chat template, or None."""
    match backend:
        case LlamaServerBackend():
            if model.gguf is None and model.hf is None and model.package is None:
                return Obstacle(
                    f"model {model_name} has no source for a llama-server",
                    "give it gguf:, hf: or package:, or say backends: in the model",
                )
        case EndpointBackend():
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
        case ScriptedBackend():
            return None
        case _:
            assert_never(backend)
    return None


def point_obstacle(backend: Backend, point: RequestPoint) -> Obstacle | None:
    """Return why a backend cannot honour a choice of sampling fields, or None."""
    if not isinstance(backend, EndpointBackend):
        return None
    honoured = OPENAI_FIELDS.union(backend.honours)
    for axis, value in point.coordinates.items():
        if value is not None and not axis.startswith("request.") and axis not in honoured:
            return Obstacle(
                f"{axis} is not known to be honoured by this endpoint",
                f"if it is, say honours: [{axis}]",
            )
    return None


def test_obstacle(backend: Backend, test: TestCase) -> Obstacle | None:
    """Return why a test cannot be asked of a backend, or None."""
    if isinstance(backend, ScriptedBackend) or backend.context is None:
        return None
    needed = test.needs.context
    if needed is None or needed <= backend.context:
        return None
    return Obstacle(
        f"test {test.name} needs a context of {needed} tokens, the backend gives {backend.context}",
        f"raise the backend's context: to {needed} or more",
    )
