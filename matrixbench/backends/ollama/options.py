"""What the experiment file may say of an Ollama, and what Ollama cannot honour.

It answers 200 to nearly all of what it cannot, and drops it.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from matrixbench.backends.registry import ServerKind
from matrixbench.spec.backends import Binary, Obstacle, PositiveInt
from matrixbench.spec.base import GridOrGrids
from matrixbench.spec.shapes import grid_entries, value_nodes
from matrixbench.spec.wording import choose, found, quoted
from matrixbench.spec.yaml_source import Finding

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from matrixbench.records import JsonObject
    from matrixbench.spec.models import Model, Template
    from matrixbench.spec.yaml_source import Entry, Node


SERVER_OPTIONS: Mapping[str, str] = {
    "flash-attention": "OLLAMA_FLASH_ATTENTION",
    "go-template": "OLLAMA_GO_TEMPLATE",
    "gpu-overhead": "OLLAMA_GPU_OVERHEAD",
    "igpu": "OLLAMA_IGPU_ENABLE",
    "kv-cache-type": "OLLAMA_KV_CACHE_TYPE",
    "llm-library": "OLLAMA_LLM_LIBRARY",
    "sched-spread": "OLLAMA_SCHED_SPREAD",
    "vulkan": "OLLAMA_VULKAN",
}
"""Options of the whole server → the environment variables that they become."""

SWITCHES = frozenset({"flash-attention", "go-template", "igpu", "sched-spread", "vulkan"})
"""Those that are on or off. Ollama takes every word that it does not know for «on», `off` too."""

LOAD_OPTIONS = frozenset(
    {"num_batch", "num_gpu", "main_gpu", "use_mmap", "num_thread", "draft_num_predict"}
)
"""Options that a model is loaded with; they travel with every request, since a request without
them would load the model again."""

OPTION_NAMES = frozenset(SERVER_OPTIONS) | LOAD_OPTIONS

OPTIONS_MEANT: Mapping[str, str] = {
    **dict.fromkeys(("ngl", "n-gpu-layers", "gpu-layers", "n_gpu_layers", "gpu_layers"), "num_gpu"),
    **dict.fromkeys(("t", "threads", "n_threads", "num_threads"), "num_thread"),
    **dict.fromkeys(("b", "batch-size", "batch_size", "n_batch"), "num_batch"),
    **dict.fromkeys(("mg", "main-gpu"), "main_gpu"),
    **dict.fromkeys(("fa", "flash-attn", "flash_attn", "flash_attention"), "flash-attention"),
    **dict.fromkeys(
        ("ctk", "ctv", "cache-type-k", "cache-type-v", "kv_cache_type", "kv-cache-dtype"),
        "kv-cache-type",
    ),
    **dict.fromkeys(("mmap", "no-mmap"), "use_mmap"),
    **{variable: name for name, variable in SERVER_OPTIONS.items()},
}
"""What llama.cpp, Ollama's own variables and others call an option → its name here."""

SAID_ELSEWHERE: Mapping[str, str] = {
    **dict.fromkeys(
        ("num_ctx", "ctx-size", "c", "n_ctx", "context_length", "OLLAMA_CONTEXT_LENGTH"),
        "say it with the backend's `context:`, the tokens that one request may use",
    ),
    **dict.fromkeys(
        ("num_parallel", "parallel", "np", "OLLAMA_NUM_PARALLEL"),
        "say it with the backend's `slots:`",
    ),
    **dict.fromkeys(("num_predict", "max_tokens"), "say it with `max_tokens:` at the top level"),
    "seed": "say it with `seed:` at the top level",
    "stop": "say it under `request:`",
}
"""What is no option here → where it is said."""

OWNED_VARIABLES: Mapping[str, str] = {
    "OLLAMA_HOST": "matrixbench chooses the port",
    "OLLAMA_MODELS": "say it with the backend's `models_dir:`",
    "OLLAMA_CONTEXT_LENGTH": "say it with the backend's `context:`",
    "OLLAMA_NUM_PARALLEL": "say it with the backend's `slots:`",
    "OLLAMA_MAX_LOADED_MODELS": "say it with the backend's `loaded_models:`",
    "OLLAMA_KEEP_ALIVE": "the model stays loaded while its launch runs",
    "OLLAMA_NOPRUNE": "matrixbench never lets its server prune what another one may be writing",
    **{
        variable: f"say it with `options: {{{name}: …}}`"
        for name, variable in SERVER_OPTIONS.items()
    },
}
"""Variables that matrixbench sets itself, and the way to say what is meant."""

SAMPLING = frozenset(
    {
        "temperature",
        "top_p",
        "top_k",
        "min_p",
        "typical_p",
        "repeat_penalty",
        "repeat_last_n",
        "presence_penalty",
        "frequency_penalty",
    }
)
"""Sampling fields that `/api/chat` takes among its `options`, by the same names. Of any other one
it logs a warning, and answers without it."""

MAX_TOKENS = ("max_tokens", "max_completion_tokens")
"""What `num_predict` is called in OpenAI's API."""

PASSED_ON = frozenset({"logprobs", "top_logprobs", "think"})
"""Request fields that `/api/chat` has by the same name."""

EFFORTS: Mapping[str, bool | str] = {
    "none": False,
    "low": "low",
    "medium": "medium",
    "high": "high",
    "max": "max",
}
"""`reasoning_effort` → `think`."""

REQUEST_FIELDS = (
    SAMPLING
    | PASSED_ON
    | {*MAX_TOKENS, "stop", "num_keep", "response_format", "reasoning_effort", "stream"}
)
"""Every field of a request that reaches the model."""

MANAGED_ONLY = ("binary", "models_dir", "env", "loaded_models")
"""Keys that mean something only for a server that is started here."""

ROLES = frozenset({"system", "user", "assistant", "tool"})
MESSAGE_KEYS = frozenset({"role", "content", "tool_calls", "tool_call_id", "reasoning_content"})
"""What `/api/chat` has of OpenAI's messages; `name` too, where a tool answers."""

IMAGE_PREFIX = "data:image/"


class OllamaPart(ServerKind):
    """What the file may say of an Ollama."""

    kind: Literal["ollama"]
    """How the server is obtained: started here from a binary, or at a url."""

    binary: Binary | None = None
    """The executable; `{label: PATH, …}` makes builds an axis. Default: `ollama` on PATH."""

    url: str | None = None
    """A server that runs already, such as `http://127.0.0.1:11434`; it is never started or stopped.
    `${VAR}` expands."""

    context: PositiveInt = 4096
    """Tokens that one request may use, prompt and reply together."""

    slots: PositiveInt = 1
    """Requests that the server works on at a time (`OLLAMA_NUM_PARALLEL`; Ollama's own default is
    1). For a server that runs already: how many it is sent at a time."""

    loaded_models: PositiveInt = 1
    """Models that the server keeps loaded (`OLLAMA_MAX_LOADED_MODELS`)."""

    models_dir: str | None = None
    """Where models are kept (`OLLAMA_MODELS`). Default: where the user's own Ollama keeps them."""

    env: dict[str, str] = {}
    """Environment variables for the server."""

    options: GridOrGrids = {}
    """Server settings (`kv-cache-type`, `flash-attention`, …) and load options (`num_gpu`, …) by
    the names of docs/servers-ollama.md; a list is an axis. A list of mappings means their union."""

    pull: Literal["missing", "never"] = "missing"
    """Whether a model's tag that the server lacks is pulled."""

    page: ClassVar[str] = "docs/servers-ollama.md"
    looking_runs: ClassVar[bool] = False

    @classmethod
    def rule_findings(cls, name: str, entry: Entry, root: Node) -> Iterator[Finding]:
        """Yield options and variables that Ollama does not have, or that are not the file's."""
        return _rule_findings(name, entry.node)

    @classmethod
    def option_meant(cls, key: str) -> str | None:
        """Return the option that a key is."""
        return key if key in OPTION_NAMES else None

    def launch_obstacle(
        self, model_name: str, model: Model, template: Template, *, faithful: bool
    ) -> Obstacle | None:
        """Return that it has a cache, or no model, or cannot be given the template."""
        if faithful:
            return Obstacle(
                "Ollama always uses its prompt cache, so it cannot be faithful",
                "take faithful out, or say backends: in the model",
            )
        if model.ollama is None and not model.has_file:
            return Obstacle(
                f"model {model_name} has no source for Ollama",
                "give it ollama: or a GGUF file, or say backends: in the model",
            )
        if template.is_native or template.ollama_text is not None:
            return None
        return Obstacle(
            f"Ollama cannot take the chat template {template.name}, a name or a Jinja file",
            "give the template ollama_file: as well, in Ollama's own language, or exclude these "
            "cells",
        )

    def request_obstacle(
        self, coordinates: Mapping[str, Any], fields: Mapping[str, Any]
    ) -> Obstacle | None:
        """Return the first field that it would drop."""
        return fields_limit(fields)

    def messages_obstacle(self, messages: Iterable[JsonObject]) -> Obstacle | None:
        """Return what of the messages it does not have."""
        return messages_limit(messages)

    def takes_option(self, name: str) -> bool:
        """Return whether it has an option; others belong to a model's other servers."""
        return name in OPTION_NAMES

    def identity(self, model: Model, template: Template) -> JsonObject:
        """Return what the file says beside options; a template's Jinja text is not given to it."""
        usual = type(self).model_fields["context"].default
        return {
            "context": None if self.context == usual else self.context,
            "env": self.env or None,
            "model": model.ollama or model.file_reference,
            "template": None,
            "ollama_template": template.ollama_text,
        }

    @property
    def starts_server(self) -> bool:
        """It is started for each launch, unless it is at a url."""
        return self.url is None


def _rule_findings(name: str, node: Node) -> Iterator[Finding]:
    attached = "url" in node.entries
    for key in MANAGED_ONLY if attached else ():
        if key in node.entries:
            message = f"the backend «{name}» has a url, so its server is not started here: {key}"
            hint = f"leave {key} out, or leave url out to have a server started"
            yield Finding(place=node.entries[key].place, message=message, hint=hint)
    for option, entry in grid_entries(node.child("options")):
        yield from _option(option, entry, attached=attached)
    for variable, entry in node.child_entries("env").items():
        if variable in OWNED_VARIABLES:
            message = f"the variable {quoted(variable)} is not given here"
            yield Finding(place=entry.place, message=message, hint=OWNED_VARIABLES[variable])


def _meant(option: str) -> str:
    """Return what to write for an option that Ollama does not have."""
    bare = option.lstrip("-")
    if bare in OPTIONS_MEANT:
        return f"write {OPTIONS_MEANT[bare]}"
    if bare in SAMPLING:
        return f"say it under `sampling:`, as {bare}"
    return SAID_ELSEWHERE.get(bare) or choose(option, sorted(OPTION_NAMES), what="known")


def _option(option: str, entry: Entry, *, attached: bool) -> Iterator[Finding]:
    if option not in OPTION_NAMES:
        message = f"ollama has no option {quoted(option)}"
        hint = _meant(option)
        yield Finding(place=entry.place, message=message, hint=hint)
    elif attached and option in SERVER_OPTIONS:
        message = f"the option {quoted(option)} belongs to the whole server, which runs already"
        hint = f"set {SERVER_OPTIONS[option]} where it is started, or leave url out"
        yield Finding(place=entry.place, message=message, hint=hint)
    elif option in SWITCHES:
        for value in value_nodes(entry.node):
            if value.value not in (True, False, None, "on", "off"):
                message = f"{option}: expected on or off, found {found(value)}"
                yield Finding(place=value.place, message=message)


def fields_limit(fields: Mapping[str, Any]) -> Obstacle | None:
    """Return why Ollama cannot honour the fields of a request and the way out, or None.

    Args:
        fields: The fields that would be sent, nulls left out.
    """
    for name, value in fields.items():
        if name not in REQUEST_FIELDS:
            return _no_field(name)
        if name == "response_format" and not _is_format(value):
            return Obstacle(
                "Ollama's format is JSON or a JSON schema, not this response_format",
                "use {type: json_object} or {type: json_schema, json_schema: {schema: …}}",
            )
        if name == "reasoning_effort" and value not in EFFORTS:
            known = ", ".join(EFFORTS)
            return Obstacle(f"Ollama knows no reasoning_effort {value}", f"known: {known}")
    for names in (MAX_TOKENS, ("think", "reasoning_effort")):
        if all(name in fields for name in names):
            both = " and ".join(names)
            return Obstacle(f"{both} mean the same to Ollama", "give one of them")
    return None


def _no_field(name: str) -> Obstacle:
    reason = f"Ollama's API has no {name}: it would answer without it"
    match name:
        case "tool_choice":
            hint = "null leaves it out, which to Ollama is what `auto` is to others"
        case "chat_template_kwargs":
            hint = "for thinking say think: true or false, else give ollama_file:"
        case _:
            hint = f"null leaves it out; sampling fields it has: {listed(SAMPLING)}"
    return Obstacle(reason, hint)


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


def messages_limit(messages: Iterable[JsonObject]) -> Obstacle | None:
    """Return why Ollama cannot be sent a test's messages and the way out, or None."""
    for message in messages:
        role = message.get("role")
        if role not in ROLES:
            return Obstacle(f"Ollama has no role {role}", "exclude this test for this backend")
        allowed = MESSAGE_KEYS | ({"name"} if role == "tool" else set())
        if dropped := {key for key, value in message.items() if value is not None} - allowed:
            reason = f"Ollama's messages have no {listed(dropped)}"
            return Obstacle(reason, "leave it out of the message")
        if not _is_content(message.get("content")):
            return Obstacle(
                "Ollama's messages hold text and images given as data: urls, nothing else",
                "exclude this test for this backend",
            )
        for call in message.get("tool_calls") or ():
            if not isinstance(arguments_of(call), dict):
                return Obstacle(
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
