"""A launch as llama-server's command line, and what the server says of itself."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from matrixbench.errors import ServerError
from matrixbench.identity import canonical_json, digest_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from matrixbench.backends.llama.executable import HelpEntry, ServerHelp
    from matrixbench.backends.registry import LaunchRequest
    from matrixbench.records import JsonObject

CACHE_TYPE_K, CACHE_TYPE_V, FLASH_ATTN = "cache-type-k", "cache-type-v", "flash-attn"
VERBOSITY = ("log-verbosity", "verbosity", "log-verbose", "verbose")
"""The options by which a user chooses how much the log holds: theirs is left as it is."""

_TRACES_AT_4 = re.compile(r"\b4: trace\b")
_CONTEXT = re.compile(r"\bllama_\w*context\w*: +flash_attn *= *([\w-]+)")
_RESOLVED = re.compile(
    r"\bFlash Attention (?:was auto, set to |not supported, set to )?(enabled|disabled)"
)
_CACHE = re.compile(r"\bK \((\w+)\): +[\d.]+ MiB, V \((\w+)\): +[\d.]+ MiB")

_YES = frozenset({"on", "enabled", "true", "1"})
_NO = frozenset({"off", "disabled", "false", "0"})
"""The words that llama-server takes, and those that its log uses; others are `auto`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """What a log tells of the model's context; empty or None where it does not tell.

    Args:
        cache_type_k: The types of the caches of K, each once: models with windows have several.
        cache_type_v: The same of V.
        flash_attn: Whether flash attention is used, as far as it was decided.
    """

    cache_type_k: tuple[str, ...] = ()
    cache_type_v: tuple[str, ...] = ()
    flash_attn: bool | None = None

    @property
    def complete(self) -> bool:
        """Whether nothing more is to come."""
        return bool(self.cache_type_k) and self.flash_attn is not None

    def effective(self) -> JsonObject:
        """Return what a launch's record keeps of it."""
        found: JsonObject = {}
        if self.cache_type_k:
            found["cache_type_k"] = ", ".join(self.cache_type_k)
            found["cache_type_v"] = ", ".join(self.cache_type_v)
        if self.flash_attn is not None:
            found["flash_attn"] = _word(self.flash_attn)
        return found


def read_log(text: str) -> Loaded:
    """Return what one start's output tells of the model's own context.

    A draft model has a context of its own, which is made later: only the first one is meant.
    """
    opened = False
    flash_attn: bool | None = None
    cache_k: dict[str, None] = {}
    cache_v: dict[str, None] = {}
    for line in text.splitlines():
        if (found := _CONTEXT.search(line)) is not None:
            if opened:
                break
            opened, flash_attn = True, _switched(found[1])
        elif opened and (found := _RESOLVED.search(line)) is not None:
            flash_attn = _switched(found[1])
        elif opened and (found := _CACHE.search(line)) is not None:
            cache_k[found[1]], cache_v[found[2]] = None, None
    return Loaded(cache_type_k=tuple(cache_k), cache_type_v=tuple(cache_v), flash_attn=flash_attn)


def asks(options: Mapping[str, Any]) -> bool:
    """Return whether a launch asks for something that only the log confirms."""
    return any(options.get(name) is not None for name in (CACHE_TYPE_K, CACHE_TYPE_V, FLASH_ATTN))


def telling(options: Mapping[str, Any], known: ServerHelp) -> tuple[str, ...]:
    """Return the flags that make a build tell what the options ask for; none where it does anyway.

    Builds whose help has a level «4: trace» tell it there. Older ones tell it by default, and what
    they call 4 prints every prompt.
    """
    if not asks(options) or any(name in options for name in VERBOSITY):
        return ()
    entry = known.flags.get("--verbosity")
    if entry is None or not _TRACES_AT_4.search(entry.text):
        return ()
    return ("--verbosity", "4")


def check_loaded(order: LaunchRequest, loaded: Loaded) -> None:
    """Compare what the log tells with what was asked for; what it does not tell is passed over.

    Raises:
        ServerError: They differ; with both values.
    """
    for name, given in ((CACHE_TYPE_K, loaded.cache_type_k), (CACHE_TYPE_V, loaded.cache_type_v)):
        asked = order.options.get(name)
        if asked is not None and given and str(asked).lower() not in given:
            raise ServerError(
                f"{order.name}: {name} {asked} was asked for, the server has {', '.join(given)}",
                hint="Leave the option out for this model, or ask for what the server can have.",
            )
    wanted = _switched(order.options.get(FLASH_ATTN))
    if None not in {wanted, loaded.flash_attn} and wanted is not loaded.flash_attn:
        raise ServerError(
            f"{order.name}: flash-attn {_word(wanted)} was asked for, "
            f"the server has it {_word(loaded.flash_attn)}",
            hint="The model or the device cannot have it so: ask for `auto`, or for what it has. "
            "Its log says why.",
        )


def _switched(word: object) -> bool | None:
    """Return what a word switches; None where it leaves it to the server, or says nothing."""
    text = str(word).lower()
    return text in _YES if text in _YES | _NO else None


def _word(switch: bool | None) -> str:
    return "on" if switch else "off"


HOST = "127.0.0.1"

CONTEXT_STEP = 256
"""llama.cpp rounds the context of a slot up to a multiple of this."""

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


def server_arguments(
    order: LaunchRequest, *, port: int, key_file: Path, known: ServerHelp
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
    slots = order.slots
    return (
        *_if_known(known, "--jinja"),
        *("--model", str(order.model.path)),
        *("--alias", alias(order)),
        *("--host", HOST, "--port", str(port)),
        *("--api-key-file", str(key_file)),
        *("--ctx-size", str(order.backend.context * slots)),
        *("--parallel", str(slots)),
        *_if_known(known, "--no-kv-unified"),
        *_if_known(known, "--fit", "off"),
        *_faithful(order, known),
        *_template(order, known),
        *telling(order.options, known),
        *option_arguments(order, known),
    )


def alias(order: LaunchRequest) -> str:
    """Return the name by which requests call the model; a comma would make it several."""
    return order.model.name.replace(",", "_")


def _if_known(known: ServerHelp, flag: str, *values: str) -> tuple[str, ...]:
    return (flag, *values) if flag in known.flags else ()


def _faithful(order: LaunchRequest, known: ServerHelp) -> tuple[str, ...]:
    if not order.faithful:
        return ()
    if "--no-cache-prompt" not in known.flags:
        raise ServerError(
            f"{order.name}: this build cannot be faithful, it does not know --no-cache-prompt",
            hint="Use a newer llama-server, or leave `faithful` out.",
        )
    return ("--no-cache-prompt", *_if_known(known, "--cache-ram", "0"))


def _template(order: LaunchRequest, known: ServerHelp) -> tuple[str, ...]:
    template = order.template
    if (file := order.template_file) is not None:
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


def option_arguments(order: LaunchRequest, known: ServerHelp) -> tuple[str, ...]:
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


def _check_name(order: LaunchRequest, name: str, known: ServerHelp) -> None:
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


def _option(name: str, value: Any, known: ServerHelp) -> list[str]:
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


def _text(value: Any) -> str:
    return value if isinstance(value, str) else canonical_json(value)


def _nearest(name: str, known: frozenset[str] | set[str]) -> str:
    found = difflib.get_close_matches(name, sorted(known), n=1)
    return f" (perhaps {found[0]})" if found else ""


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


def check_props(order: LaunchRequest, props: JsonObject) -> None:
    """Compare what the server reports with what was asked for: context, slots, template, model.

    Raises:
        ServerError: They differ; with both values.
    """
    asked = order.backend.context
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
    if slots != order.slots:
        raise _differs(
            order,
            f"{order.slots} slots were asked for, the server has {slots}",
            "Set the backend's `slots` to what the server can have.",
        )
    _check_template(order, props.get("chat_template"))
    _check_model(order, props.get("model_path"))


def _check_model(order: LaunchRequest, given: Any) -> None:
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


def _check_template(order: LaunchRequest, given: Any) -> None:
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


def _differs(order: LaunchRequest, message: str, hint: str) -> ServerError:
    return ServerError(f"{order.name}: {message}", hint=hint)
