"""A launch's order as llama-server's command line. Pure: nothing is read, written or started."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any

from matrixbench.backends.server_log import telling
from matrixbench.errors import ServerError
from matrixbench.identity import canonical_json
from matrixbench.spec.backends import LlamaServerBackend

if TYPE_CHECKING:
    from pathlib import Path

    from matrixbench.backends.executable import HelpEntry, ServerHelp
    from matrixbench.backends.protocol import LaunchOrder

HOST = "127.0.0.1"

_CHOSEN = "matrixbench chooses it for every start."
_MODELS = "Name the model under `models:`."
_TEMPLATES = "Name chat templates under `chat_templates:`."
OWNED = {
    "model": _MODELS,
    "model-url": _MODELS,
    "hf-repo": _MODELS,
    "hf-file": _MODELS,
    "docker-repo": _MODELS,
    "models-dir": _MODELS,
    "models-preset": _MODELS,
    "alias": "The model's name under `models:` is its alias.",
    "host": _CHOSEN,
    "port": _CHOSEN,
    "api-key": _CHOSEN,
    "api-key-file": _CHOSEN,
    "api-prefix": _CHOSEN,
    "ssl-key-file": "A managed server is asked over loopback, without TLS.",
    "ssl-cert-file": "A managed server is asked over loopback, without TLS.",
    "ctx-size": "Set the backend's `context`: tokens that one request may use.",
    "parallel": "Set the backend's `slots`.",
    "seed": "Set the file's `seed`: every request carries its own.",
    "chat-template": _TEMPLATES,
    "chat-template-file": _TEMPLATES,
    "jinja": "Templates are always rendered with Jinja.",
    "no-jinja": "Templates are always rendered with Jinja.",
    "log-file": "The log belongs to the launch's folder.",
    "log-disable": "The log belongs to the launch's folder.",
}
"""Flags that matrixbench sets itself → what to do instead."""

UNFAITHFUL = frozenset(
    {"kv-unified", "no-kv-unified", "cache-prompt", "no-cache-prompt", "cache-ram"}
)
"""Flags that `faithful: true` sets itself."""


def slots_of(order: LaunchOrder) -> int:
    """Return how many slots a launch has."""
    return 1 if order.faithful else _backend(order).slots


def context_of(order: LaunchOrder) -> int:
    """Return how many tokens one request of a launch may use."""
    return _backend(order).context


def template_file(order: LaunchOrder) -> Path | None:
    """Return where the template's text goes; None where the launch has no text of its own."""
    if order.template.text is None:
        return None
    return order.folder / f"{order.name}.chat-template.jinja"


def server_arguments(
    order: LaunchOrder, *, port: int, key_file: Path, known: ServerHelp
) -> tuple[str, ...]:
    """Return the flags of a launch, without the executable.

    `--jinja` comes first, since older builds judge `--chat-template` by it; context, slots and the
    kind of KV cache are always written out, since their defaults move from build to build; the
    launch's own options come last, so that they win. `--seed` is never among them.

    Raises:
        ServerError: An option that is not the launch's to set or that this build does not know; a
            template name that it does not know; no model file.
    """
    if order.model.path is None:
        raise ServerError(
            f"the model {order.model.name} has no file for llama-server", hint=_MODELS
        )
    slots = slots_of(order)
    return (
        *_if_known(known, "--jinja"),
        *("--model", str(order.model.path)),
        *("--alias", alias(order)),
        *("--host", HOST, "--port", str(port)),
        *("--api-key-file", str(key_file)),
        *("--ctx-size", str(context_of(order) * slots)),
        *("--parallel", str(slots)),
        *_if_known(known, "--no-kv-unified"),
        *_if_known(known, "--fit", "off"),
        *_faithful(order, known),
        *_template(order, known),
        *telling(order.options, known),
        *option_arguments(order, known),
    )


def alias(order: LaunchOrder) -> str:
    """Return the name by which requests call the model; a comma would make it several."""
    return order.model.name.replace(",", "_")


def _backend(order: LaunchOrder) -> LlamaServerBackend:
    if not isinstance(order.backend, LlamaServerBackend):
        raise ServerError(f"{order.name}: not a backend of kind llama-server")
    return order.backend


def _if_known(known: ServerHelp, flag: str, *values: str) -> tuple[str, ...]:
    return (flag, *values) if flag in known.flags else ()


def _faithful(order: LaunchOrder, known: ServerHelp) -> tuple[str, ...]:
    if not order.faithful:
        return ()
    if "--no-cache-prompt" not in known.flags:
        raise ServerError(
            f"{order.name}: this build cannot be faithful, it does not know --no-cache-prompt",
            hint="Use a newer llama-server, or leave `faithful` out.",
        )
    return ("--no-cache-prompt", *_if_known(known, "--cache-ram", "0"))


def _template(order: LaunchOrder, known: ServerHelp) -> tuple[str, ...]:
    template = order.template
    if (file := template_file(order)) is not None:
        return ("--chat-template-file", str(file))
    if template.known_as is None:
        return ()
    if template.known_as not in known.templates:
        listed = ", ".join(sorted(known.templates)) or "none"
        near = _nearest(template.known_as, known.templates)
        raise ServerError(
            f"{order.name}: the server knows no chat template {template.known_as!r}{near}; "
            "it would take the name for the template's text",
            hint=f"It knows: {listed}. Any other goes into a file: `chat_templates: "
            f"{{{template.name}: {{file: …}}}}`.",
        )
    return ("--chat-template", template.known_as)


def option_arguments(order: LaunchOrder, known: ServerHelp) -> tuple[str, ...]:
    """Return the launch's options as flags.

    `null` leaves a flag out. A switch is turned on by `true`; by `false` it becomes `--no-FLAG`, or
    is left out where there is no such flag. A flag with a value takes `true` and `false` as `on`
    and `off`. A list is joined by commas where the help speaks of them, else the flag is repeated.
    A mapping becomes JSON.

    Raises:
        ServerError: The option is not the launch's to set, or this build does not know it.
    """
    arguments: list[str] = []
    for name, value in order.options.items():
        _check_name(order, name, known)
        arguments += _option(name, value, known)
    return tuple(arguments)


def _check_name(order: LaunchOrder, name: str, known: ServerHelp) -> None:
    where = f"{order.name}: option {name}"
    if name in OWNED:
        raise ServerError("not an option to set", where=where, hint=OWNED[name])
    if order.faithful and name in UNFAITHFUL:
        raise ServerError(
            "cannot be set together with `faithful: true`, which sets it itself", where=where
        )
    if f"--{name}" not in known.flags:
        long = {flag[2:] for flag in known.flags if flag.startswith("--")}
        raise ServerError(
            f"this llama-server does not know --{name}{_nearest(name, long)}",
            where=where,
            hint="`llama-server --help` lists the flags of a build; they differ between builds.",
        )


def _option(name: str, value: Any, known: ServerHelp) -> list[str]:  # noqa: ANN401  YAML's values
    flag, entry = f"--{name}", known.flags[f"--{name}"]
    match value:
        case None:
            return []
        case bool() if entry.takes_value:
            return [flag, "on" if value else "off"]
        case bool():
            opposite = f"--{name[3:]}" if name.startswith("no-") else f"--no-{name}"
            return [flag] if value else list(_if_known(known, opposite))
        case list() | tuple() if "comma-separated" in entry.text:
            return [flag, ",".join(_text(item) for item in value)]
        case list() | tuple():
            return [word for item in value for word in (flag, *_words(_text(item), entry))]
        case _:
            return [flag, *_words(_text(value), entry)]


def _words(text: str, entry: HelpEntry) -> list[str]:
    """Return a value as the arguments that it is: older builds take `FNAME SCALE`, as two."""
    path, colon, scale = text.rpartition(":")
    apart = colon and entry.value.split()[1:] in (["SCALE"], ["S"])
    return [path, scale] if apart else [text]


def _text(value: Any) -> str:  # noqa: ANN401  YAML's values
    return value if isinstance(value, str) else canonical_json(value)


def _nearest(name: str, known: frozenset[str] | set[str]) -> str:
    found = difflib.get_close_matches(name, sorted(known), n=1)
    return f" (perhaps {found[0]})" if found else ""
