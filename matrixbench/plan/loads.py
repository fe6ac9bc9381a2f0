"""Under which load a launch is measured, and which launches of a file only the load tells apart.

The load decides how fast a server answers, not what it is asked, so it is no part of a cell's id:
whoever changes it keeps their results. Where a file compares loads, each has trials of its own: the
launch's cells then carry the load behind their id, and so does every stored trial of theirs when it
is read, for each launch run has its load written down. What is stored has the plain id, so that
nothing runs again because such a backend came, went or changed places.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, assert_never

from matrixbench.spec.backends import (
    CommandBackend,
    EndpointBackend,
    LlamaServerBackend,
    OllamaBackend,
    ScriptedBackend,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from matrixbench.plan.cells import Launch
    from matrixbench.spec.backends import Backend

SCRIPTED_CONCURRENCY = 4

_MARK = "@"
"""Between a cell's id and its load; no digest has it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What a server is set to work on at a time, and what it is sent at a time.

    Args:
        concurrency: Requests at a time that it is sent; None: as many as it says it has slots.
        slots: Requests at a time that it works on; None where that is not ours to set.
    """

    concurrency: int | None = None
    slots: int | None = None

    @property
    def key(self) -> str:
        """A short word that stands for it: `c8s4`."""
        concurrency = "auto" if self.concurrency is None else f"c{self.concurrency}"
        return concurrency if self.slots is None else f"{concurrency}s{self.slots}"


def load_of(backend: Backend, *, faithful: bool) -> Load:
    """Return the load that a backend is measured under."""
    match backend:
        case LlamaServerBackend() | CommandBackend() | OllamaBackend():
            if faithful:
                return Load(concurrency=1, slots=1)
            return Load(concurrency=backend.concurrency or backend.slots, slots=backend.slots)
        case EndpointBackend():
            return Load(concurrency=1 if faithful else backend.concurrency)
        case ScriptedBackend():
            return Load(concurrency=1 if faithful else backend.concurrency or SCRIPTED_CONCURRENCY)
        case _:
            assert_never(backend)


def load_text(key: str) -> str:
    """Return what a load's key means, for people."""
    concurrency, _, slots = key.partition("s")
    sent = "one for each slot" if concurrency == "auto" else f"{concurrency[1:]} at a time"
    return f"{sent} ({slots} slot{'' if slots == '1' else 's'})" if slots else sent


@dataclass(frozen=True, slots=True, kw_only=True)
class Loads:
    """The loads of an experiment.

    Args:
        keys: Those of its launches.
        of: Digest → those of the launches that have it; where it is missing, all of `keys`.
        apart: Digest of launches that only their load tells apart → name of each of them → key, in
            the file's order.
    """

    keys: frozenset[str] = frozenset()
    of: Mapping[str, frozenset[str]] = field(default_factory=dict)
    apart: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def mark(self, launch: Launch) -> str:
        """Return what stands behind the ids of a launch's cells: its load where loads differ."""
        return mark_of(launch.load.key) if launch.digest in self.apart else ""


ANY_LOAD = Loads()
"""Whatever load a trial ran under, it is taken for what it is."""


def mark_of(key: str) -> str:
    """Return what stands behind a cell's id for a load."""
    return f"{_MARK}{key}"


def plain_id(cell: str) -> str:
    """Return a cell's id without its load, as the store has it."""
    return cell.partition(_MARK)[0]


def load_in(cell: str) -> str | None:
    """Return the key of the load that a cell's id carries; None where it carries none."""
    return cell.partition(_MARK)[2] or None


def loads_of(launches: Iterable[Launch]) -> Loads:
    """Return the loads of all launches of an experiment.

    Launches that differ in their binary or url have servers of their own, and share nothing anyway:
    their loads set none apart.
    """
    groups: dict[str, dict[tuple[str | None, ...], dict[str, str]]] = {}
    of: dict[str, set[str]] = {}
    for launch in launches:
        of.setdefault(launch.digest, set()).add(launch.load.key)
        servers = groups.setdefault(launch.digest, {})
        servers.setdefault(_server(launch), {})[launch.name] = launch.load.key
    return Loads(
        keys=frozenset().union(*of.values()),
        of={digest: frozenset(keys) for digest, keys in of.items()},
        apart={
            digest: {name: key for names in servers.values() for name, key in names.items()}
            for digest, servers in groups.items()
            if any(len(set(names.values())) > 1 for names in servers.values())
        },
    )


_NAMED = 4


def load_notes(loads: Loads) -> list[str]:
    """Return what should be known of launches that only their load tells apart."""
    groups = [list(names) for names in loads.apart.values()]
    if not groups:
        return []
    first = groups[0]
    named = ", ".join(first[:_NAMED]) + (", …" if len(first) > _NAMED else "")
    more = "" if len(groups) == 1 else f" (and {len(groups) - 1:,} more such groups)"
    return [f"only their load tells {named} apart{more}: each is measured by itself"]


def _server(launch: Launch) -> tuple[str | None, ...]:
    """Return where a launch's server is found, as the file says it."""
    match launch.spec:
        case LlamaServerBackend():
            return (launch.binary,)
        case OllamaBackend():
            return (launch.binary, launch.spec.url)
        case CommandBackend():
            return (launch.spec.argv[0],)
        case EndpointBackend():
            return (launch.spec.url,)
        case ScriptedBackend():
            return ()
        case _:
            assert_never(launch.spec)
