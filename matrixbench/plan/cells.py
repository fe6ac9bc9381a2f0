"""The plan's values: launches, cells, their origin and load, and how values of axes are written."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple, Self, TypeAlias

from matrixbench.safe_text import for_line
from matrixbench.spec.axes import cell_name
from matrixbench.spec.checks import marks_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from matrixbench.records import Build, JsonObject
    from matrixbench.spec.axes import Coordinates
    from matrixbench.spec.backends import Backend
    from matrixbench.spec.load import TestCase
    from matrixbench.spec.models import Model, Template


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
    slots = backend.slots_given
    if faithful:
        return Load(concurrency=1, slots=None if slots is None else 1)
    usual = slots or backend.usual_concurrency
    return Load(concurrency=backend.concurrency or usual, slots=slots)


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
        servers.setdefault(launch.spec.place(launch.binary), {})[launch.name] = launch.load.key
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


class Why(StrEnum):
    """Why trials of a cell will run."""

    NEW = "new"
    MORE_TRIALS = "more trials wanted"
    SERVER_CHANGED = "server changed"
    MODEL_CHANGED = "model changed"
    FILES_CHANGED = "files of options changed"
    FILES_UNKNOWN = "files of options were not recorded"
    ERRORED = "errored before"
    TIMEOUT_RAISED = "timeout raised"
    FRESH = "fresh start"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Launch:
    """One server configuration: what all cells that can share a running server have in common.

    Args:
        digest: What decides the answer at this level; the first part of its cells' ids.
        backend: The backend's name in the file.
        spec: The backend's part of the file.
        binary: The executable that the binary axis chose; None where there is no such axis.
        options: Server options, flag → value.
        model: The model's name in the file.
        source: The model's part of the file, its axes filled in.
        template: The chat template.
        coordinates: The axes of this level.
        load: What its server is sent at a time; no part of the digest.
    """

    digest: str
    backend: str
    spec: Backend
    binary: str | None = None
    options: JsonObject = field(default_factory=dict)
    model: str
    source: Model
    template: Template
    coordinates: Coordinates
    load: Load = field(default_factory=Load)

    @property
    def reasoning_marks(self) -> tuple[str, ...]:
        """Marks of reasoning that are taken out of the content before checks see a reply."""
        return marks_of(self.source.reasoning_in_content, self.spec.reasoning_in_content)

    @property
    def name(self) -> str:
        """A short name for people: the values of its axes."""
        return for_line(cell_name(self.coordinates))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RequestPoint:
    """One choice of sampling and request fields: its coordinates, and the fields that are sent."""

    coordinates: Coordinates
    fields: JsonObject


@dataclass(slots=True, eq=False)
class Cell:
    """One point of the matrix. Small, for there may be a million."""

    id: str
    launch: Launch
    point: RequestPoint
    test: TestCase

    def coordinates(self) -> Coordinates:
        """Return axis → value."""
        return {**self.launch.coordinates, **self.point.coordinates, **self.test.coordinates}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class NotApplicable:
    """A point of the matrix that cannot be measured as asked: why, and the way out."""

    coordinates: Coordinates
    reason: str
    hint: str


@dataclass(frozen=True, slots=True)
class Judged:
    """What one set of checks makes of a cell's trials; bit i of a mask stands for trial i.

    Args:
        measured: Trials that count: kept ones, less those at which a check raised.
        passed: Those of them that passed.
    """

    measured: int = 0
    passed: int = 0

    @property
    def n(self) -> int:
        """How many trials count."""
        return self.measured.bit_count()

    @property
    def passes(self) -> int:
        """How many of them passed."""
        return self.passed.bit_count()

    def then(self, other: Judged) -> Judged:
        """Return both, where of a trial that both have this one's counts."""
        return Judged(
            measured=self.measured | other.measured,
            passed=self.passed | (other.passed & ~self.measured),
        )


@dataclass(frozen=True, slots=True)
class CellProgress:
    """What the store knows of one cell under one build; bit i of a mask stands for trial i.

    Args:
        kept: Trials that are measured and count.
        errored: Trials whose newest attempt measured nothing.
        short: Trials that timed out under a shorter limit than the present one.
        stands: One trial stands for the whole cell: the request alone decided it.
        judged: What the present checks make of the kept ones, one entry for each set of checks
            (tests that differ in their checks alone share their trials); empty where nobody asked.
    """

    kept: int = 0
    errored: int = 0
    short: int = 0
    stands: bool = False
    judged: tuple[Judged, ...] = ()


NOTHING = CellProgress()
"""What is known of a cell that never ran."""


Progress: TypeAlias = "Mapping[str, Mapping[str, CellProgress]]"
"""Build id → cell id → what is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PresentBuild:
    """The build that a launch has now, or had last.

    Args:
        build: The build, or None where nothing is known.
        verified: Whether it is no guess: it was read off what is there now, or trials of the same
            origin recorded it.
        recorded: It is the latter, so that only asking the server can tell what it is by now.
        note: Why it could not be verified.
        last: The build that ran last; None where nothing has run.
        origin: Where the server comes from; None where nobody looked.
    """

    build: Build | None
    verified: bool
    recorded: bool = False
    note: str = ""
    last: Build | None = None
    origin: Origin | None = None

    @property
    def read(self) -> bool:
        """Whether it was read off what is there now."""
        return self.verified and not self.recorded
