"""Names of models in Ollama, and the throw-away tags that matrixbench makes and removes."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from glob import escape
from pathlib import Path
from typing import TYPE_CHECKING

from matrixbench.identity import digest

if TYPE_CHECKING:
    from collections.abc import Iterable

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
