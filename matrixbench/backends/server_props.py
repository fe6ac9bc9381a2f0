"""What a llama-server says of itself in `/props`, held against what was asked for."""

from __future__ import annotations

from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from matrixbench.backends.server_arguments import context_of, slots_of
from matrixbench.errors import ServerError
from matrixbench.identity import digest_bytes
from matrixbench.spec.doubtful import CONTEXT_STEP

if TYPE_CHECKING:
    from matrixbench.backends.protocol import LaunchOrder
    from matrixbench.records import JsonObject

PATCHED_MARK = "<|channel|>"
"""llama.cpp rewrites templates of this family while it loads them, so their text differs."""


def effective(props: JsonObject) -> JsonObject:
    """Return what a launch's record keeps of `/props`: no prompts, no paths, templates as digests.

    `n_ctx` is the context of one slot, in tokens.
    """
    kept: JsonObject = {
        name: props[name]
        for name in ("total_slots", "build_info", "model_ftype", "chat_template_caps")
        if name in props
    }
    for name in ("chat_template", "chat_template_tool_use"):
        if isinstance(text := props.get(name), str):
            kept[name] = digest_bytes(text.encode())
    if isinstance(path := props.get("model_path"), str):
        kept["model_path"] = PurePath(path).name
    return {"n_ctx": _context(props), **kept}


def check_props(order: LaunchOrder, props: JsonObject) -> None:
    """Compare what the server reports with what was asked for: context, slots, template, model.

    Raises:
        ServerError: They differ; with both values.
    """
    asked = context_of(order)
    rounded = -(-asked // CONTEXT_STEP) * CONTEXT_STEP
    given = _context(props)
    shared = order.options.get("kv-unified") is True
    if given is None or given < asked or (given > rounded and not shared):
        raise _differs(
            order,
            f"context of {asked} tokens a slot was asked for, the server has {given}",
            "A model trained for less caps it: set the backend's `context` to what the server has.",
        )
    slots = props.get("total_slots")
    if slots != slots_of(order):
        raise _differs(
            order,
            f"{slots_of(order)} slots were asked for, the server has {slots}",
            "Set the backend's `slots` to what the server can have.",
        )
    _check_template(order, props.get("chat_template"))
    _check_model(order, props.get("model_path"))


def _check_model(order: LaunchOrder, given: Any) -> None:  # noqa: ANN401  the server's JSON
    """Compare file names alone: a wrapper script may know the folder by another name."""
    if not isinstance(given, str) or not given or order.model.path is None:
        return
    asked, has = order.model.path.name, PurePath(given).name
    if asked != has:
        raise _differs(
            order,
            f"the model {asked} was asked for, the server has {has}",
            "Does the `binary` pass its arguments on?",
        )


def _check_template(order: LaunchOrder, given: Any) -> None:  # noqa: ANN401  the server's JSON
    name, text = order.template.known_as, order.template.text
    if name is not None and given == name:
        raise _differs(
            order,
            f"the server took the chat template's name {name!r} for its text",
            "With Jinja llama.cpp knows `chatml` by name and hardly another; give the template "
            "as a file.",
        )
    if text is None or PATCHED_MARK in text or not isinstance(given, str):
        return
    if given.strip() != text.strip():
        raise _differs(
            order,
            f"the chat template {order.template.name} was asked for "
            f"({len(text)} characters), the server uses another ({len(given)})",
            "Does this build read `--chat-template-file`?",
        )


def _context(props: JsonObject) -> int | None:
    settings = props.get("default_generation_settings")
    found = settings.get("n_ctx") if isinstance(settings, dict) else None
    return found if isinstance(found, int) else None


def _differs(order: LaunchOrder, message: str, hint: str) -> ServerError:
    return ServerError(f"{order.name}: {message}", hint=hint)
