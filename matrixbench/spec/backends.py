"""How servers are obtained: one model a kind, with their command lines and urls."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias
from urllib.parse import urlsplit

from jinja2 import Environment, TemplateSyntaxError, meta, nodes
from pydantic import Field, Tag

from matrixbench.spec.base import BY_SHAPE, LIST, MAPPING, TEXT, GridOrGrids, Part
from matrixbench.spec.checks import ReasoningInContent
from matrixbench.spec.templating import METHODS, Renderer, TemplateProblem
from matrixbench.spec.yaml_source import Document, Finding, Loc, Node

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


# ruff: noqa: RUF012  pydantic copies mutable defaults


PositiveInt: TypeAlias = Annotated[int, Field(ge=1)]

PATH = r"^(/[^\s?#]*)?$"
"""A path on a server: empty, or from a slash on."""

OPENAI_FIELDS = frozenset({"temperature", "top_p", "seed", "max_tokens", "stop"})
"""What every server that speaks the chat API is taken to honour."""


class BackendPart(Part):
    """What every kind of backend has."""

    concurrency: PositiveInt | None = None
    """Requests at a time. Default: the server's slots, else 4."""

    replica: PositiveInt = 1
    """Keeps the trials of two otherwise equal backends apart, for an A/A test."""

    reasoning_in_content: ReasoningInContent | None = None
    """Marks of reasoning that this server leaves in the content, by the names of docs/checks.md;
    `true` for all. Checks then see reasoning and answer apart. No part of a cell's identity."""


class LlamaServerBackend(BackendPart):
    """llama.cpp's `llama-server`, started, watched and stopped for each launch."""

    kind: Literal["llama-server"]
    """How the server is obtained: started here, from a binary."""

    binary: (
        Annotated[
            Annotated[str, Tag(TEXT)] | Annotated[dict[str, str], Tag(MAPPING)],
            BY_SHAPE,
        ]
        | None
    ) = None
    """The executable; `{label: PATH, …}` makes builds an axis. Default: `$LLAMA_SERVER_BIN_PATH`,
    then `llama-server` on PATH, then the embedded server of the extra `local`."""

    context: PositiveInt = 4096
    """Tokens that one request may use, prompt and reply together."""

    slots: PositiveInt = 4
    """Requests that the server works on at a time."""

    env: dict[str, str] = {}
    """Environment variables for the server."""

    options: GridOrGrids = {}
    """llama-server's own long flags without the dashes; a list is an axis, `{value: [...]}` a list
    that is one value. A list of mappings means their union. Paths are relative to the file."""


class Ready(Part):
    """How a server tells that it is ready."""

    path: Annotated[str, Field(pattern=PATH)] = "/health"
    """A page that answers 200 once the server is ready."""

    timeout_s: Annotated[float, Field(gt=0)] | None = None
    """How long that may take, in seconds. Default: `timeouts.start_s`."""


class CommandBackend(BackendPart):
    """Any server that speaks the chat API, started by a command line for each launch."""

    kind: Literal["command"]
    """How the server is obtained: started here, by a command line."""

    argv: Annotated[list[str], Field(min_length=1)]
    """The program and its arguments, each a Jinja2 template over `host`, `port`, `model`,
    `model_id`, `alias`, `chat_template`, `options`, `api_key_file`, `context`, `slots`, `faithful`
    and `here`. One that renders to nothing is left out. No shell reads them."""

    ready: Ready = Ready()
    """When the server is taken to be ready."""

    base_path: Annotated[str, Field(pattern=PATH)] = "/v1"
    """Where its chat API begins, before `/chat/completions`."""

    env: dict[str, str] = {}
    """Environment variables for the server."""

    options: GridOrGrids = {}
    """Values for the command line's `options.NAME`; a list is an axis, `{value: [...]}` a list that
    is one value. A list of mappings means their union. `{file: PATH}` is a path, relative to the
    file, whose content belongs to the build."""

    honours: list[str] = []
    """Sampling fields that this server honours beyond temperature, top_p, seed, max_tokens and
    stop."""

    strict_model: bool = False
    """Whether the launch ends where the server lists other models than the `id` that is asked for,
    or another model answers. Without it that is said once."""

    chat_template: bool = False
    """Whether the command line can give it a chat template."""

    api_key: bool = False
    """Whether the command line gives it a file with a key; a random one is made for each start."""

    context: PositiveInt | None = None
    """Tokens that one request may use, prompt and reply together."""

    slots: PositiveInt = 4
    """Requests that the server works on at a time."""


class OllamaBackend(BackendPart):
    """Ollama, by its own API: `ollama serve` started for each launch, or one that runs already."""

    kind: Literal["ollama"]
    """How the server is obtained: started here from a binary, or at a url."""

    binary: (
        Annotated[
            Annotated[str, Tag(TEXT)] | Annotated[dict[str, str], Tag(MAPPING)],
            BY_SHAPE,
        ]
        | None
    ) = None
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


class EndpointBackend(BackendPart):
    """A running server that speaks the OpenAI chat API. Never started, never stopped."""

    kind: Literal["endpoint"]
    """How the server is obtained: it is there already, at a url."""

    url: str
    """The API's base, usually ending in `/v1`; `${VAR}` expands."""

    strict_model: bool = False
    """Whether the launch ends where the server lists other models than the `id` that is asked for,
    or another model answers. Without it that is said once."""

    api_key_env: str | None = None
    """The name of the environment variable that holds the key. The key itself is never stored."""

    context: PositiveInt | None = None
    """Tokens that one request may use, where you know it; tests that need more do not apply."""

    requests_per_minute: Annotated[float, Field(gt=0)] | None = None
    """How many requests it is sent in a minute at most, over all that are under way, retries
    included."""

    honours: list[str] = []
    """Request fields that this server honours beyond temperature, top_p, seed, max_tokens and
    stop."""


class ScriptedReply(Part):
    """One reply of the scripted backend; a bare string is its content."""

    content: str | None = None
    """The text."""

    tool_calls: list[dict[str, Any]] = []
    """Calls as `{name: …, arguments: {…}}`; arguments may be a mapping or JSON text."""

    finish_reason: str | None = None
    """Default: `tool_calls` where there are calls, else `stop`."""

    error: Literal["rejected", "errored"] | None = None
    """Answer with a refusal of this outcome instead of a reply."""


Spoken: TypeAlias = Annotated[
    Annotated[str, Tag(TEXT)] | Annotated[ScriptedReply, Tag(MAPPING)], BY_SHAPE
]

Reply: TypeAlias = Annotated[
    Annotated[str, Tag(TEXT)]
    | Annotated[ScriptedReply, Tag(MAPPING)]
    | Annotated[list[Spoken], Field(min_length=1), Tag(LIST)],
    BY_SHAPE,
]
"""One reply of the scripted backend, or a list of them for the turns of a conversation."""


class ScriptedBackend(BackendPart):
    """Replies from the file, without a server or a model: for trying an experiment out."""

    kind: Literal["scripted"]
    """How the server is obtained: there is none, replies stand in the file."""

    replies: Annotated[
        Annotated[list[Reply], Tag(LIST)] | Annotated[dict[str, list[Reply]], Tag(MAPPING)],
        BY_SHAPE,
    ]
    """Taken in turn, trial by trial, by each test; or test name (a glob may be used) → its
    replies. A list in a list are the turns of one conversation; its last reply repeats."""

    delay_s: Annotated[float, Field(ge=0)] = 0.0
    """How long each reply takes, in seconds."""


Backend: TypeAlias = Annotated[
    LlamaServerBackend | OllamaBackend | CommandBackend | EndpointBackend | ScriptedBackend,
    Field(discriminator="kind"),
]


VARIABLES: Mapping[str, str] = {
    "host": "the address to listen on",
    "port": "the port to listen on, another one for every start",
    "model": "the model's file, or its id where it has none",
    "model_id": "the model's id",
    "alias": "the name by which requests call the model",
    "chat_template": "a file with the chat template's text, or its name; empty for the model's own",
    "options": "the options of this launch, name → value",
    "api_key_file": "a file with the key that the server must ask for",
    "context": "the backend's context, in tokens",
    "slots": "requests at a time",
    "faithful": "whether the experiment asks for reruns that are bit-equal",
    "here": "the folder of the experiment file",
}
"""What a command line may name → what it stands for."""

_OPTIONS = "options"


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """What templates refer to.

    Args:
        variables: Names of variables.
        options: Options that are named one by one.
        whole: Whether `options` is used as a whole, so that every option is meant.
    """

    variables: frozenset[str] = frozenset()
    options: frozenset[str] = frozenset()
    whole: bool = False

    def __or__(self, other: Names) -> Names:
        return Names(
            variables=self.variables | other.variables,
            options=self.options | other.options,
            whole=self.whole or other.whole,
        )


def names_in(*texts: str) -> Names:
    """Return what some templates refer to; what is no template refers to nothing."""
    found = Names()
    for text in texts:
        if "{" in text:
            found |= _names(text)
    return found


def _names(text: str) -> Names:
    try:
        tree = Environment(autoescape=False).parse(text)  # noqa: S701  arguments, not HTML
    except TemplateSyntaxError:
        return Names()
    named = [
        *(name for node in tree.find_all(nodes.Getattr) for name in _one(node)),
        *(name for node in tree.find_all(nodes.Getitem) for name in _one(node)),
    ]
    mentioned = [node for node in tree.find_all(nodes.Name) if node.name == _OPTIONS]
    return Names(
        variables=frozenset(meta.find_undeclared_variables(tree)) - {"range"},
        options=frozenset(named),
        whole=len(mentioned) > len(named),
    )


def _one(node: nodes.Getattr | nodes.Getitem) -> list[str]:
    """Return the option that a node names: `options.NAME`, or `options["NAME"]`."""
    if not isinstance(node.node, nodes.Name) or node.node.name != _OPTIONS:
        return []
    if isinstance(node, nodes.Getattr):
        return [] if node.attr in METHODS else [node.attr]
    return [str(node.arg.value)] if isinstance(node.arg, nodes.Const) else []


def check_element(text: str) -> None:
    """Check one element by itself.

    Raises:
        TemplateProblem: It is not in the language, or no argument can hold it.
    """
    _refuse_nul(text)
    Renderer(finalize=_written).check(text)


def render_argv(argv: Sequence[str], values: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the arguments that a command line stands for.

    An element whose template renders to nothing is left out, so that `{% if … %}` can add or drop
    an argument; one that is written as an empty text stays. `true` and `false` are written as in
    YAML, lists and mappings as JSON.

    Raises:
        TemplateProblem: An element fails, names what there is not, or a value of it is null; the
            text says which one.
    """
    renderer = Renderer(finalize=_written)
    arguments: list[str] = []
    for number, element in enumerate(argv):
        try:
            text = renderer.render(element, values)
            _refuse_nul(text)
        except TemplateProblem as problem:
            raise TemplateProblem(f"argv[{number}]: {problem}") from None
        if text or not element:
            arguments.append(text)
    return tuple(arguments)


def _refuse_nul(text: str) -> None:
    if "\0" in text:
        raise TemplateProblem("it holds a NUL character, which no argument can")


def _written(value: Any) -> Any:
    """Return a value as an argument holds it."""
    match value:
        case None:
            raise ValueError("the value is null; ask for it with {% if … %}")
        case bool():
            return "true" if value else "false"
        case Mapping() | list() | tuple():
            return json.dumps(value, ensure_ascii=False)
        case _:
            return value


SCHEMES = ("http", "https")
EXAMPLE = "write it like http://127.0.0.1:8080/v1"


def url_findings(document: Document, meant: Mapping[Loc, str]) -> Iterator[Finding]:
    """Yield what is wrong with the backends' urls.

    Args:
        document: The file.
        meant: Where → a text with its variables filled in; urls that are not there were told of.
    """
    for name, entry in document.root.child_entries("backends").items():
        url, node = meant.get(("backends", name, "url")), entry.node.child("url")
        if url is not None and node is not None and (wrong := _trouble(url)):
            yield Finding(
                place=node.place,
                message=f"the url of the backend «{name}» {wrong}",
                hint=_hint(url, node),
            )


def _trouble(url: str) -> str:
    """Return what is wrong with a url, without the url: it may hold a secret."""
    if not url.strip():
        return "is empty"
    if not url.isprintable() or " " in url:
        return "holds a space, or a sign that cannot be printed"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:  # its text may quote from the url
        return "has a host or a port that is none"
    if parts.scheme not in SCHEMES or "://" not in url:
        return "does not begin with http:// or https://"
    if not parts.hostname:
        return "names no host"
    return "has the port 0" if port == 0 else ""


def _hint(url: str, node: Node) -> str:
    """Return how it may be meant; never what a variable stands for, or what may be a password."""
    if ":/" in url or url != node.text or "@" in url or not url.strip():
        return EXAMPLE
    return f"perhaps http://{url}"
