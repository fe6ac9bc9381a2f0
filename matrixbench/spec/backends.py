"""What a kind of backend tells the file and the plan, and which kinds there are."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from functools import cache
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    ClassVar,
    Literal,
    NamedTuple,
    TypeAlias,
    Union,
    get_args,
    get_origin,
)
from urllib.parse import urlsplit

from pydantic import Field, Tag

from matrixbench.extensions import BACKENDS, ExtensionError, extensions
from matrixbench.spec.base import BY_SHAPE, MAPPING, TEXT, GridOrGrids, Part
from matrixbench.spec.checks import ReasoningInContent
from matrixbench.spec.yaml_source import Finding

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from pydantic import GetCoreSchemaHandler
    from pydantic_core import CoreSchema

    from matrixbench.records import JsonObject
    from matrixbench.spec.models import Model, Template
    from matrixbench.spec.yaml_source import Document, Entry, Loc, Node

PositiveInt: TypeAlias = Annotated[int, Field(ge=1)]

Binary: TypeAlias = Annotated[
    Annotated[str, Tag(TEXT)] | Annotated[dict[str, str], Tag(MAPPING)], BY_SHAPE
]
"""An executable, or label → executable, which makes builds an axis."""

OPENAI_FIELDS = frozenset({"temperature", "top_p", "seed", "max_tokens", "stop"})
"""What every server that speaks the chat API is taken to honour."""


class Obstacle(NamedTuple):
    """Why a cell does not apply, and the way out."""

    reason: str
    hint: str


class Backend(Part):
    """What every kind of backend has.

    Some fields mean the same in every kind that has them, and are read by their names: `binary`,
    `context`, `env`, `options`, `slots` and `url`.
    """

    concurrency: PositiveInt | None = None
    """Requests at a time. Default: the server's slots, else 4."""

    replica: PositiveInt = 1
    """Keeps the trials of two otherwise equal backends apart, for an A/A test."""

    reasoning_in_content: ReasoningInContent | None = None
    """Marks of reasoning that this server leaves in the content, by the names of docs/checks.md;
    `true` for all. Checks then see reasoning and answer apart. No part of a cell's identity."""

    kind: str
    """How the server is obtained."""

    page: ClassVar[str] = "docs/servers.md"
    """The page that explains the kind."""

    usual_concurrency: ClassVar[int | None] = None
    """Requests at a time where neither the file nor slots say how many."""

    has_model: ClassVar[bool] = True
    """Whether a model answers, which can be warmed up and looked at first."""

    is_llama_cpp: ClassVar[bool] = False
    """Whether its server takes llama.cpp's own request fields, such as `verbose`."""

    # What the file says.

    @classmethod
    def rule_findings(cls, name: str, entry: Entry, root: Node) -> Iterator[Finding]:
        """Yield what is wrong with a backend of the file though every type is right.

        Args:
            name: The backend's name.
            entry: Its part of the file.
            root: The whole file.
        """
        return iter(())

    @classmethod
    def doubtful_findings(cls, name: str, entry: Entry, url: str | None) -> Iterator[Finding]:
        """Yield what loads and was hardly meant; `url` has its variables filled in."""
        return iter(())

    @classmethod
    def option_meant(cls, key: str) -> str | None:
        """Return the option that a key beside `options` stands for; None where it is none."""
        return None

    def held_context(self, context: int) -> int:
        """Return the tokens of context that a server makes of those that are asked for."""
        return context

    # What applies.

    def launch_obstacle(
        self, model_name: str, model: Model, template: Template, *, faithful: bool
    ) -> Obstacle | None:
        """Return why it cannot serve a model with a chat template, or None.

        Args:
            model_name: The model's name in the file.
            model: The model, its axes filled in.
            template: The chat template.
            faithful: Whether the file asks for replies that no cache can have touched.
        """
        return None

    def request_obstacle(
        self, coordinates: Mapping[str, Any], fields: Mapping[str, Any]
    ) -> Obstacle | None:
        """Return why it cannot honour a choice of request fields, or None.

        Args:
            coordinates: Axis → value, nulls included.
            fields: The fields that would be sent.
        """
        return None

    def messages_obstacle(self, messages: Iterable[JsonObject]) -> Obstacle | None:
        """Return why it cannot be sent a test's messages, or None."""
        return None

    def takes_option(self, name: str) -> bool:
        """Return whether an option that a model names is meant for this kind of server."""
        return True

    # What it is.

    @abstractmethod
    def identity(self, model: Model, template: Template) -> JsonObject:
        """Return what decides the answer, by name, beside options, template and replica.

        What is None does not count, so that a new part with a neutral default keeps every old id.
        """

    def place(self, binary: str | None) -> tuple[str | None, ...]:
        """Return where the server is found, as the file says it."""
        return (binary, self.url_given)

    @property
    def starts_server(self) -> bool:
        """Whether a server is started for each launch."""
        return False

    # Fields that mean the same in every kind.

    @property
    def context_given(self) -> int | None:
        """How many tokens one request may use; None where the file does not say."""
        return getattr(self, "context", None)

    @property
    def slots_given(self) -> int | None:
        """How many requests its server is told to work on at a time; None where it is not told."""
        return getattr(self, "slots", None)

    @property
    def url_given(self) -> str | None:
        """Where the server is, if it runs already."""
        return getattr(self, "url", None)

    @property
    def env_given(self) -> Mapping[str, str]:
        """The environment variables that the file gives a server."""
        return getattr(self, "env", {})

    @property
    def option_grids(self) -> GridOrGrids | None:
        """The options, which are axes; None where the kind has none."""
        return getattr(self, "options", None)

    @property
    def builds(self) -> tuple[tuple[str | None, str | None], ...]:
        """Label and path of each executable; None for what the file does not say."""
        binary = getattr(self, "binary", None)
        return tuple(binary.items()) if isinstance(binary, dict) else ((None, binary),)

    def binary_of(self, chosen: str | None) -> str | None:
        """Return the executable that the file names: the one of its axis, else the only one."""
        binary = getattr(self, "binary", None)
        return chosen or (binary if isinstance(binary, str) else None)


@dataclass(frozen=True, slots=True)
class Kinds:
    """The kinds that can be used, and why others cannot.

    Args:
        known: Name → the kind, in the order of the schema.
        broken: Name → why its package's kind cannot be used.
    """

    known: Mapping[str, type[Backend]]
    broken: Mapping[str, str]


@cache
def kinds() -> Kinds:
    """Return every kind of backend that is installed."""
    known: dict[str, type[Backend]] = {}
    broken: dict[str, str] = {}
    for name, extension in extensions(BACKENDS).items():
        try:
            kind = extension.load()
        except ExtensionError as error:
            broken[name] = str(error)
            continue
        if isinstance(kind, type) and issubclass(kind, Backend) and names_of(kind) == (name,):
            known[name] = kind
        else:
            broken[name] = (
                f"the package {extension.package} brings «{name}», but {extension.value} is no "
                f'Backend with kind: Literal["{name}"]'
            )
    return Kinds(known, broken)


def names_of(kind: type[Part]) -> tuple[str, ...]:
    """Return how the file calls a kind; nothing for a part of the file that is none."""
    field = kind.model_fields.get("kind")
    return get_args(field.annotation) if field and get_origin(field.annotation) is Literal else ()


def kind_at(node: Node) -> type[Backend] | None:
    """Return the kind that a backend of the file says it is; None where it is none."""
    said = node.child("kind")
    name = None if said is None else said.value
    return kinds().known.get(name) if isinstance(name, str) else None


class OfAnyKind:
    """Makes pydantic read a backend as the kind that it says it is.

    Which kinds there are is asked when a file is read for the first time: they are modules that
    stand above this one.
    """

    @staticmethod
    def __get_pydantic_core_schema__(_: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Return the schema of the union of all kinds."""
        several: Any = Union[tuple(kinds().known.values())]  # noqa: UP007  made while it runs
        return handler.generate_schema(Annotated[several, Field(discriminator="kind")])


AnyBackend: TypeAlias = Annotated[Backend, OfAnyKind()]
"""A backend of any kind."""


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
