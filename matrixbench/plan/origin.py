"""Where a launch's server comes from: its full key, of which the launch's digest is a part.

The digest stands for what decides the answer as the file says it, and leaves out urls and paths: a
build that was recorded elsewhere under the same digest may be another server's. The origin is what
tells these apart.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, NamedTuple, Self

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matrixbench.records import Build, JsonObject


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a launch's server comes from. What is not known, or does not apply, is empty.

    Args:
        kind: The backend's kind.
        replica: The backend's replica.
        url: Where a server is that runs already, without user, password and query.
        url_rest: Digest of these three, where the url has one of them.
        binary: The executable's resolved path; of one that is not there, as it was named.
        size: Its size in bytes.
        modified_ns: When it was modified.
        program: What stands for the content of the server's code, as its builds say it.
        model: Digest of the model's content.
        device: What it computes on.
        argv: The command line, without what changes from start to start, and without the model.
        env: Variable → digest of its value, of what the file gives the server.
        missing: What of it is not on this machine, in a line; empty where all is there.
    """

    kind: str
    replica: int = 1
    url: str = ""
    url_rest: str = ""
    binary: str = ""
    size: int = 0
    modified_ns: int = 0
    program: str = ""
    model: str = ""
    device: str = ""
    argv: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    missing: str = ""

    def same_as(self, other: Origin) -> bool:
        """Return whether two launches of one digest would ask the same server.

        Of a program whose content is known, size and time say nothing more: a file that was
        copied or touched is what it was.
        """
        return not (self.missing or other.missing) and self._telling() == other._telling()

    def _telling(self) -> tuple[Any, ...]:
        file = () if self.program else (self.size, self.modified_ns)
        place = (self.kind, self.replica, self.url, self.url_rest, self.binary)
        content = (self.program, self.model, self.device)
        return *place, *content, *file, self.argv, dict(self.env)

    def same_place(self, other: Origin) -> bool:
        """Return whether two servers are at one place, whatever is there now."""
        place, others = ((one.url, one.url_rest, one.binary) for one in (self, other))
        return self.kind == other.kind and any(place) and place == others

    def could_be(self, build: Build) -> bool:
        """Return whether nothing that is known of it speaks against a build."""
        told = _told_by(build)
        known = {"url": self.url, "program": self.program, "model": self.model}
        known["device"] = self.device
        return self.kind == build.kind and all(
            not value or value == told[name] for name, value in known.items()
        )

    def of_build(self, build: Build) -> Self:
        """Return it with what a build says, which was read off what is there."""
        if self.url:
            return replace(self, missing="")
        told = _told_by(build)
        return replace(
            self,
            program=told["program"],
            model=told["model"],
            device=told["device"],
            missing="",
        )

    def to_json(self) -> JsonObject:
        """Return it as data, without what is empty."""
        named = {part.name: getattr(self, part.name) for part in fields(self)}
        return {name: value for name, value in named.items() if value}

    def to_text(self) -> str:
        """Return it as the store keeps it."""
        # In ASCII: a path may hold bytes that are no UTF-8.
        return json.dumps(self.to_json(), sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_text(cls, text: str) -> Self | None:
        """Return what `to_text` wrote; None for nothing, which older versions kept.

        Fields that a newer version may have added are passed over.
        """
        if not text:
            return None
        said: JsonObject = json.loads(text)
        known = {part.name for part in fields(cls)}
        kept = {name: value for name, value in said.items() if name in known}
        return cls(**kept | {"argv": tuple(said.get("argv", ()))})


def url_of(build: Build) -> str:
    """Return the url of the server that a build is; empty where it was started here."""
    return _told_by(build)["url"]


def _told_by(build: Build) -> dict[str, str]:
    """Return what a build says of its origin; what it does not say is empty."""
    server: Any = None
    if build.server.startswith("{"):
        server = json.loads(build.server)
    url, program = "", build.server
    if isinstance(server, dict):
        url, program = str(server.get("url", "")), str(server.get("program", ""))
    return {"url": url, "program": program, "model": build.model, "device": build.device}


class LaunchRun(NamedTuple):
    """A run of a launch whose server answered, as far as finding its builds again needs it.

    `origin` is None where an older version stored it.
    """

    experiment: str
    name: str
    digest: str
    build: str
    origin: Origin | None = None
