"""A model made ready in a running Ollama: its names, pulled or made, loaded and checked."""

from __future__ import annotations

import contextlib
import os
import platform
import re
from dataclasses import dataclass, field
from glob import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matrixbench.backends.http.served_names import ids_told
from matrixbench.backends.ollama.chat import Served
from matrixbench.backends.ollama.options import LOAD_OPTIONS
from matrixbench.errors import ServerError
from matrixbench.identity import digest, digest_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from matrixbench.backends.ollama.chat import OllamaApi
    from matrixbench.backends.ollama.options import OllamaPart
    from matrixbench.backends.registry import LaunchRequest
    from matrixbench.records import JsonObject

NAMESPACE = "matrixbench/"
NO_REGISTRY = "unknown"
HOST_LENGTH = 8
MODEL_LENGTH = 16


def full_name(tag: str) -> str:
    """Return a model's name as Ollama lists it: with its tag, `latest` where none is said."""
    return tag if ":" in tag.rsplit("/", 1)[-1] else f"{tag}:latest"


def find_digest(tag: str, listed: dict[str, str]) -> str | None:
    """Return the digest of a tag among those that a server lists; names have no case."""
    wanted = full_name(tag).lower()
    return next((found for name, found in listed.items() if name.lower() == wanted), None)


def manifest_path(models: Path, tag: str) -> Path:
    """Return where Ollama keeps the manifest of a tag, whose sha256 is the model's digest.

    A short name lies in the folder of the registry that it came from, whichever that is; where none
    has it, the path leads nowhere.
    """
    name, _, version = full_name(tag).rpartition(":")
    parts = name.split("/")
    if len(parts) > 2:  # noqa: PLR2004  host, owner, model
        return models.joinpath("manifests", *parts, version)
    short = name if len(parts) == 2 else f"library/{name}"  # noqa: PLR2004  owner, model
    found = sorted(models.glob(f"manifests/*/{escape(short)}/{escape(version)}"))
    return found[0] if found else models / "manifests" / NO_REGISTRY / short / version


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """The process that a throw-away tag belongs to, told apart from a later one of its number."""

    host: str
    pid: int
    started: int

    @classmethod
    def this(cls) -> Owner:
        """Return this process."""
        return cls(host=_this_host(), pid=os.getpid(), started=_started(os.getpid()))

    @property
    def is_gone(self) -> bool:
        """Whether it ran on this machine and does not any more."""
        if self.host != _this_host():
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            return False
        return _started(self.pid) != self.started


def throw_away_tag(content: str, owner: Owner) -> str:
    """Return the name of a throw-away tag.

    Args:
        content: Digest of the model and the template that it stands for.
        owner: The process that will remove it.
    """
    return f"{NAMESPACE}{content[:MODEL_LENGTH]}:{owner.host}-{owner.pid}-{owner.started}"


def left_behind(tags: Iterable[str]) -> list[str]:
    """Return the throw-away tags whose process is gone: it was killed before it removed them."""
    return [tag for tag in tags if (owner := _owner(tag)) is not None and owner.is_gone]


def _owner(tag: str) -> Owner | None:
    if not tag.startswith(NAMESPACE):
        return None
    parts = tag.rpartition(":")[2].split("-")
    if len(parts) != 3 or not (parts[1].isdigit() and parts[2].isdigit()):  # noqa: PLR2004  of a tag
        return None
    return Owner(host=parts[0], pid=int(parts[1]), started=int(parts[2]))


def _this_host() -> str:
    return digest(platform.node())[:HOST_LENGTH]


def _started(pid: int) -> int:
    """Return when a process began, in the kernel's ticks since boot; 0 where that is not told."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        return int(stat.rpartition(")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return 0


HARMONY_FAMILIES = frozenset({"gptoss", "gpt-oss"})
HARMONY_MARKS = ("<|start|>", "<|end|>")
SPLIT_FILE = re.compile(r"-\d{5}-of-\d{5}\.gguf$")


@dataclass(slots=True, kw_only=True)
class OllamaModel:
    """The model of one launch in one server.

    Args:
        attached: Whether the server is somebody else's.
        owner: The process that throw-away tags belong to.
        made: The throw-away tag that stands for the model, once it was made.
        source: The digest of the tag, or of the file, that the model comes from.
    """

    api: OllamaApi
    order: LaunchRequest
    backend: OllamaPart
    attached: bool
    owner: Owner = field(default_factory=Owner.this)
    made: str | None = None
    source: str = ""

    @property
    def served(self) -> Served:
        """How the model is asked."""
        return Served(
            model=self.made or full_name(self.order.model.id or ""),
            options=load_options(self.backend, self.order.options),
            keep_alive=None if self.attached else -1,
        )

    async def prepare(self) -> JsonObject:
        """Make the model answer; return what the server says of it, for the launch's record.

        Raises:
            ServerError: It cannot be had, made or loaded, or is not what was asked for.
        """
        listed = await self.api.tags()
        for tag in left_behind(listed):
            with contextlib.suppress(ServerError):  # somebody else's launch may just remove it
                await self.api.delete(tag)
        self.source = await self._source(listed)
        template = self.order.template.ollama_text
        if self.order.model.path is not None or template is not None:
            await self._make(template)
        said = await self.api.show(self.served.model)
        self._check_said(said)
        await self.api.load(self.served, self.order.start_timeout_s)
        loaded = await self._loaded(said)
        self._check_context(loaded.get("context_length"), more_is_fine=False)
        return {**described(said), **_of_loaded(loaded)}

    async def remove(self) -> None:
        """Remove the throw-away tag, if one was made.

        Raises:
            ServerError: The server does not answer.
        """
        if self.made is not None:
            if self.attached and any(
                one.get("name") == self.made for one in await self.api.running()
            ):
                await self.api.unload(self.made)
            await self.api.delete(self.made)
            self.made = None

    async def _source(self, listed: dict[str, str]) -> str:
        """Return the digest of what the model is made of, pulled where it is missing."""
        model = self.order.model
        if model.path is not None:
            return model.sha256 or ""
        tag = model.id or ""
        found = find_digest(tag, listed)
        if found is None:
            if self.backend.pull == "never":
                has = f"it has {ids_told(tag, list(listed))}; " if listed else ""
                raise ServerError(
                    f"Ollama does not have the model {tag}, and pull is never",
                    hint=f"{has}ollama pull {tag}, or say pull: missing",
                )
            await self._pull(tag)
            found = find_digest(tag, await self.api.tags())
        if found is None:
            raise ServerError(f"the model {tag} was pulled, but Ollama does not list it")
        return found

    async def _pull(self, tag: str) -> None:
        failed = f"the model {tag} cannot be pulled"
        async for status in self.api.statuses("/api/pull", {"model": tag}, failed):
            what = str(status.get("status", "pulling"))
            self._report(f"{tag}: {what}", status.get("completed"), status.get("total"))

    def _report(self, what: str, done: object, total: object) -> None:
        if self.order.report is not None:
            self.order.report(
                what,
                done if isinstance(done, int) else 0,
                total if isinstance(total, int) else None,
            )

    async def _make(self, template: str | None) -> None:
        """Make the throw-away tag: from the GGUF file or the tag, with the template given."""
        name = throw_away_tag(digest([self.source, template]), self.owner)
        self.made = name  # before it is: half a tag is removed as well
        origin: JsonObject = {"from": full_name(self.order.model.id or "")}
        if self.order.model.path is not None:
            await self._upload()
            origin = {"files": {"model.gguf": f"sha256:{self.source}"}}
        given = {} if template is None else {"template": template}
        body = {"model": name, **origin, **given}
        failed = f"Ollama cannot make a tag for {self.order.model.name}"
        async for status in self.api.statuses("/api/create", body, failed):
            what = str(status.get("status", ""))
            self._report(
                f"{self.order.model.name}: {what}", status.get("completed"), status.get("total")
            )

    async def _upload(self) -> None:
        path = self.order.model.path
        if path is None:
            return
        if SPLIT_FILE.search(path.name):
            raise ServerError(
                "Ollama makes no model from split files",
                where=str(path),
                hint="join them with llama-gguf-split --merge, or give the model ollama:",
            )
        what = f"giving Ollama {path.name}"
        await self.api.upload(
            self.source, path, lambda done, total: self._report(what, done, total)
        )

    def _check_said(self, said: JsonObject) -> None:
        """Hold what the server says of the tag against what was asked for.

        Raises:
            ServerError: They differ; with both values.
        """
        if said.get("remote_host"):
            raise ServerError(
                f"{self.served.model} runs on {said['remote_host']}, not here",
                hint="use a model that runs on this machine",
            )
        self._check_template(said)
        self._check_context(trained_context(said), more_is_fine=True)

    async def _loaded(self, said: JsonObject) -> JsonObject:
        """Return what `/api/ps` says of the model; empty where it does not say.

        Tags of one file share one runner, which is listed under the tag that it was started for.
        """
        running = await self.api.running()
        for one in running:
            if str(one.get("name")).lower() == self.served.model.lower():
                return one
        for one in running:
            with contextlib.suppress(ServerError):
                other = await self.api.show(str(one.get("name")))
                if weights(other) is not None and weights(other) == weights(said):
                    return one
        return {}

    def _check_context(self, has: int | None, *, more_is_fine: bool) -> None:
        asked = self.backend.context
        if has is None or has == asked or (more_is_fine and has > asked):
            return
        raise ServerError(
            f"{self.order.name}: a context of {asked} tokens was asked for, "
            f"Ollama gives the model {has}",
            hint="a model trained for less caps it: set the backend's `context` to what it has",
        )

    def _check_template(self, said: JsonObject) -> None:
        wanted = self.order.template.ollama_text
        if wanted is None:
            return
        source, has = template_source(said), said.get("template")
        if source != "go_template" or not isinstance(has, str) or has.strip() != wanted.strip():
            raise ServerError(
                f"{self.order.name}: the chat template {self.order.template.name} was asked for, "
                f"Ollama uses the model's {source.replace('_', ' ')}",
                hint="a built-in renderer wins over any template: take the model from a GGUF file; "
                "for a server that runs already OLLAMA_GO_TEMPLATE=1 makes the template win",
            )


def load_options(backend: OllamaPart, options: Mapping[str, Any]) -> JsonObject:
    """Return the options that a model is loaded with, which every request repeats."""
    chosen = {
        name: value for name, value in options.items() if name in LOAD_OPTIONS and value is not None
    }
    return {"num_ctx": backend.context, **chosen}


def described(said: JsonObject) -> JsonObject:
    """Return what a launch's record keeps of `/api/show`: no texts, the template as a digest."""
    details = said.get("details") or {}
    kept: JsonObject = {
        "template_source": template_source(said),
        "renderer": _line(said, "renderer"),
        "parser": _line(said, "parser"),
        "parameters": said.get("parameters"),
        "system": said.get("system"),
        "capabilities": said.get("capabilities"),
        "quantization": details.get("quantization_level"),
        "family": details.get("family"),
    }
    if isinstance(template := said.get("template"), str):
        kept["chat_template"] = digest_bytes(template.encode())
    return {name: value for name, value in kept.items() if value}


def _of_loaded(loaded: JsonObject) -> JsonObject:
    """Return what the record keeps of `/api/ps`; sizes in bytes."""
    names = ("context_length", "size", "size_vram")
    return {name: loaded[name] for name in names if name in loaded}


def weights(said: JsonObject) -> str | None:
    """Return which file a tag's weights are in, as told by `/api/show`."""
    found = re.search(r"^FROM (\S.*)$", str(said.get("modelfile") or ""), re.MULTILINE)
    return found[1] if found else None


def trained_context(said: JsonObject) -> int | None:
    """Return for how many tokens a model was trained, which Ollama never goes beyond."""
    known = said.get("model_info") or {}
    found = known.get(f"{known.get('general.architecture')}.context_length")
    return found if isinstance(found, int) else None


def template_source(said: JsonObject) -> str:
    """Return which of its sources Ollama renders prompts with, as told by `/api/show`.

    In this order: a renderer or a parser that is built in, harmony, the Go template, the template
    in the GGUF file. Ollama shows the template that it uses, and in the Modelfile the Go template,
    used or not.
    """
    renderer, parser = _line(said, "renderer"), _line(said, "parser")
    if renderer or parser:
        return "renderer" if renderer else "parser"
    template = str(said.get("template") or "")
    family = (said.get("details") or {}).get("family")
    if family in HARMONY_FAMILIES and all(mark in template for mark in HARMONY_MARKS):
        return "harmony"
    return "go_template" if template in str(said.get("modelfile") or "") else "gguf_template"


def _line(said: JsonObject, name: str) -> Any:
    """Return what is said of a renderer or a parser; some versions say it in the Modelfile only."""
    if said.get(name):
        return said[name]
    found = re.search(rf"^{name.upper()} (\S+)$", str(said.get("modelfile") or ""), re.MULTILINE)
    return found[1] if found else None
