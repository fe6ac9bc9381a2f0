"""Under which load each launch run was measured, and what its trials' cells are called for it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from matrixbench.plan.loads import Load, mark_of

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Mapping

    from matrixbench.plan.loads import Loads
    from matrixbench.store.encoding import Row

LOAD = "load"
"""The name of the note that holds a launch run's load. Versions before it noted none."""

_SAID = "/"
"""In a note, between the key of a load that leaves it to the server, and what the server said."""

_RUNS = """
    SELECT launch.id, digest, launch.name, note.value
    FROM launch LEFT JOIN note ON note.launch = launch.id AND note.name = ?
"""

_EVERY = "1"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunLoads:
    """What the loads of launch runs mean for an experiment.

    Args:
        keys: Launch run → the key of its load; those of which it is not known are missing.
        marks: Launch run → what stands behind the ids of its trials' cells.
        others: Runs under a load that the experiment has none of. For one that compares no loads
            their trials count as well, but those of its own load come first.
    """

    keys: Mapping[int, str] = field(default_factory=dict)
    marks: Mapping[int, str] = field(default_factory=dict)
    others: frozenset[int] = frozenset()

    def cell(self, plain: str, run: int) -> str:
        """Return what a cell is called in a launch run."""
        return plain + self.marks.get(run, "") if self.marks else plain

    def passes(self) -> tuple[str, ...]:
        """Return conditions on `trial`, each for one pass: the trials that matter less first."""
        if not self.others:
            return (_EVERY,)
        listed = ", ".join(map(str, sorted(self.others)))
        return f"trial.launch IN ({listed})", f"trial.launch NOT IN ({listed})"


def load_note(load: Load, at_a_time: int) -> str:
    """Return what a launch run notes of its load, under which so many requests are sent."""
    return load.key if load.concurrency is not None else f"{load.key}{_SAID}{at_a_time}"


UNKNOWN_LOADS = RunLoads()
"""Nothing of them is known, or asked about."""


def run_loads(connection: sqlite3.Connection, loads: Loads) -> RunLoads:
    """Return what the loads of all launch runs mean for an experiment.

    The trials of a run whose load is not known belong to the launch under whose name they ran;
    where the experiment has none of that name, to the first of those that their load tells apart.
    A run that left it to the server is also one of the load that came of it.
    """
    keys: dict[int, str] = {}
    marks: dict[int, str] = {}
    others: set[int] = set()
    for run, digest, name, noted in _known(connection):
        own = loads.of.get(digest, loads.keys)
        key = None if noted is None else _key_of(noted, own)
        if key is not None:
            keys[run] = key
        names = loads.apart.get(digest)
        if names is not None:
            marks[run] = mark_of(key or names.get(name) or next(iter(names.values())))
        elif key is not None and own and key not in own:
            others.add(run)
    return RunLoads(keys=keys, marks=marks, others=frozenset(others))


def newest_keys(connection: sqlite3.Connection) -> dict[tuple[str, str], str]:
    """Return name and digest of a launch → the key of the load that it ran under last."""
    return {
        (name, digest): _key_of(noted, frozenset())
        for _, digest, name, noted in _known(connection)
        if noted is not None
    }


def _key_of(noted: str, own: frozenset[str]) -> str:
    """Return the key of the load that a run noted; one that the experiment has, where it can be."""
    key, _, said = noted.partition(_SAID)
    came = Load(concurrency=int(said)).key if said.isdecimal() else key
    return came if key not in own and came in own else key


def _known(connection: sqlite3.Connection) -> Iterator[Row]:
    """Yield number, digest and name of each launch run, and what it noted of its load, or None."""
    for run, digest, name, value in connection.execute(f"{_RUNS} ORDER BY launch.id", (LOAD,)):
        noted = None if value is None else json.loads(value)
        yield run, digest, name, noted if isinstance(noted, str) else None
