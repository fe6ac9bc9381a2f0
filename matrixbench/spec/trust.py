"""What a file uses that somebody may have to trust, and what of it may run."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar
from urllib.parse import urlsplit

from matrixbench.identity import digest

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable

Found = TypeVar("Found")


class UseKind(StrEnum):
    """What is used."""

    PROGRAM = "program"
    ARGUMENTS = "arguments"
    MODULE = "module"
    OPTION = "option"
    """An option by which a server loads code or starts programs."""

    SETS = "sets"
    """A variable that is set for a program."""

    VARIABLE = "variable"
    """A variable of this process whose value goes where the file says."""

    URL = "url"
    FETCHES = "fetches"


class Key(NamedTuple):
    """What is compared with what was accepted."""

    kind: str
    name: str
    content: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """One thing that a file uses.

    Args:
        kind: What it is.
        name: By what it is known: a path, a variable's name, the host of a url.
        content: Digest of what counts beside the name; empty where nothing does.
        shown: What people are shown; without it the name.
        by: Who uses it.
        free: Why nobody has to trust it; empty where somebody has to.
        at_look: Whether commands that only look would run it too.
    """

    kind: UseKind
    name: str
    content: str = ""
    shown: str = ""
    by: str = ""
    free: str = ""
    at_look: bool = False

    @property
    def key(self) -> Key:
        """What is compared with what was accepted."""
        return Key(self.kind.value, self.name, self.content)

    @property
    def told(self) -> str:
        """It as people are shown it, on one line: a value must not look like lines of the list."""
        return "\\n".join((self.shown or self.name).splitlines())


def program(path: str, *, at_look: bool = False, free: str = "") -> Use:
    """Return a program. It counts by its path: a new build in its place is no other program."""
    return Use(kind=UseKind.PROGRAM, name=path, at_look=at_look, free=free)


def variable_set(name: str, value: str, *, secret: bool) -> Use:
    """Return a variable that is set for a program; a value that may be secret is not shown."""
    shown = name if secret else f"{name}={value}"
    return Use(kind=UseKind.SETS, name=name, content=digest(value), shown=shown)


def url(text: str) -> Use:
    """Return a url that is asked. Its host counts: the rest may hold what is secret."""
    try:
        parts = urlsplit(text)
        port = f":{parts.port}" if parts.port else ""
        host = f"{parts.scheme}://{parts.hostname or ''}{port}"
    except ValueError:
        host = ""
    return Use(kind=UseKind.URL, name=host)


@dataclass(frozen=True, slots=True, eq=False)
class Trust:
    """What of a file may run. Without `accepted` all may: code that calls this is trusted itself.

    Args:
        accepted: What may; None for all.
        say: Is told what is left open for want of trust.
    """

    accepted: frozenset[Key] | None = None
    say: Callable[[str], None] = lambda _: None
    _left: dict[str, None] = field(default_factory=dict, repr=False)
    _seen: dict[Hashable, Any] = field(default_factory=dict, repr=False)

    def once(self, key: Hashable, look: Callable[[], Found]) -> Found:
        """Return what a look finds, which many tests may share."""
        if key not in self._seen:
            self._seen[key] = look()
        found: Found = self._seen[key]
        return found

    def allows(self, uses: Iterable[Use]) -> bool:
        """Return whether all of some uses may run."""
        accepted = self.accepted
        return accepted is None or all(use.free or use.key in accepted for use in uses)

    def leave(self, what: str) -> None:
        """Say what is left open, each once."""
        if what not in self._left:
            self._left[what] = None
            self.say(what)


TRUSTED = Trust()
