"""Which attempts count: of several with the same cell, build and seed the newest one.

Newest is the highest (generation, id); one under the launch's own load comes before all others.
For an experiment only the generations from its floor on count, which `--fresh` raises, for all of
its cells or for some.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from matrixbench.plan.cells import CellProgress
from matrixbench.plan.loads import load_in, plain_id
from matrixbench.plan.seeds import SPAN

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Container, Iterator

    from matrixbench.store.encoding import Row
    from matrixbench.store.loads import RunLoads

KEPT, STANDS, ERRORED, SHORT = range(4)

WORTH = f"""
    CASE
        WHEN trial.outcome IS NULL THEN {KEPT}
        WHEN trial.outcome = 'errored' THEN {ERRORED}
        WHEN trial.kind = 'timeout' AND launch IN (
            SELECT id FROM launch WHERE request_timeout_s < :request_timeout_s
        ) THEN {SHORT}
        WHEN by_request THEN {STANDS}
        ELSE {KEPT}
    END
"""  # noqa: S608  only our own constants are put in
"""What a trial's newest attempt is worth. A reply is kept whatever its checks say: when one of
them raises, the reply is judged again, not asked for again."""

_ATTEMPTS = f"""
    SELECT build.id, trial.cell, {{index}}, trial.generation, {WORTH}, trial.launch
    FROM trial INDEXED BY trial_generation
    CROSS JOIN build ON build.number = trial.build
    WHERE trial.generation >= :floor AND {{wanted}} AND {{runs}}
    ORDER BY trial.generation, trial.id
"""  # noqa: S608  only our own constants are put in

_KEYS = """
    SELECT id, build, cell, seed, generation, launch
    FROM trial INDEXED BY trial_generation
    WHERE generation >= :floor AND {wanted} AND {runs}
    ORDER BY generation DESC, id DESC
"""

_IN_RANGE = "trial.seed >= :first_seed AND trial.seed < :seed_end"

_ASKED_FROM = """
    trial.trial_index < :trials
    AND trial.seed - trial.trial_index IN (SELECT value FROM json_each(:first_seeds))
"""

SEED_END = 2**63 - 1
"""Above every seed."""

_BLOCK = 256


@dataclass(frozen=True, slots=True)
class Floors:
    """From which generation on trials count: for all cells, and for some a higher one."""

    base: int
    cells: dict[str, int]

    def hide(self, cell: str, generation: int) -> bool:
        """Whether trials of that generation are too old for the cell, whatever its load."""
        if generation < self.base or generation < self.cells.get(cell, 0):
            return True
        return load_in(cell) is not None and generation < self.cells.get(plain_id(cell), 0)


def floors_of(connection: sqlite3.Connection, experiment: str) -> Floors:
    """Return where trials begin to count for an experiment."""
    rows = connection.execute(
        "SELECT cell, generation FROM floor WHERE experiment = ?", (experiment,)
    )
    cells: dict[str, int] = dict(rows)
    return Floors(cells.pop("", 0), cells)


@dataclass(frozen=True, slots=True)
class _Tally:
    kept: int = 0
    errored: int = 0
    short: int = 0
    stood: int = 0

    def then(self, bit: int, worth: int) -> _Tally:
        """Return the tally after a newer attempt at one trial."""
        kept, errored, short, stood = (
            mask & ~bit for mask in (self.kept, self.errored, self.short, self.stood)
        )
        if worth == ERRORED:
            errored |= bit
        elif worth == SHORT:
            short |= bit
        else:
            kept |= bit
            stood |= bit if worth == STANDS else 0
        return _Tally(kept, errored, short, stood)


class Tallies:
    """Every tally that occurs, once, and what the plan sees of it: a million cells share a few."""

    def __init__(self) -> None:
        self._seen: dict[_Tally, CellProgress] = {}
        self._tallies: dict[int, _Tally] = {}
        self._steps: dict[tuple[int, int, int], CellProgress] = {}
        self.nothing = self._share(_Tally())

    def step(self, before: CellProgress, index: int, worth: int) -> CellProgress:
        """Return what is known after an attempt at trial `index`; `before` came from here."""
        try:
            return self._steps[id(before), index, worth]
        except KeyError:
            after = self._share(self._tallies[id(before)].then(1 << index, worth))
            self._steps[id(before), index, worth] = after
            return after

    def _share(self, tally: _Tally) -> CellProgress:
        if tally not in self._seen:
            progress = CellProgress(
                kept=tally.kept, errored=tally.errored, short=tally.short, stands=tally.stood != 0
            )
            self._seen[tally] = progress
            # By identity: two tallies may look the same to the plan, and differ in what stood.
            self._tallies[id(progress)] = tally
        return self._seen[tally]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """The trials that an experiment asks about.

    Args:
        first_seed: The seed of trial 0 of all cells, or of each, or those from which any cell was
            asked: then a trial's own index counts, and must fit.
        trials: How many of a cell are asked about; None for all.
        request_timeout_s: The present limit, under which shorter ones were short.
    """

    first_seed: int | Mapping[str, int] | frozenset[int]
    trials: int | None = None
    request_timeout_s: float = 0.0

    @property
    def index(self) -> str:
        """What a trial's index is."""
        return "trial.seed - :first_seed" if isinstance(self.first_seed, int) else "trial_index"

    @property
    def condition(self) -> str:
        """Which trials are asked about; where it depends on their cell, all."""
        match self.first_seed:
            case int():
                return _IN_RANGE
            case frozenset():
                return _ASKED_FROM
            case _:
                return "1"

    def parameters(self, floors: Floors) -> dict[str, float | str]:
        """Return what a query is given."""
        first, trials = self.first_seed, SEED_END if self.trials is None else self.trials
        given: dict[str, float | str] = {"floor": floors.base, "trials": trials}
        given["request_timeout_s"] = self.request_timeout_s
        if isinstance(first, int):
            given["first_seed"] = first
            given["seed_end"] = min(SEED_END, first + trials)
        elif isinstance(first, frozenset):
            given["first_seeds"] = json.dumps(sorted(first))
        return given

    def has(self, cell: str, seed: int) -> bool:
        """Return whether a trial that fulfils the condition is asked about."""
        if not isinstance(self.first_seed, Mapping):
            return True
        first = self.first_seed.get(cell)
        return first is not None and 0 <= seed - first < (self.trials or SPAN)


def rows_by_pass(
    connection: sqlite3.Connection, query: str, floors: Floors, wanted: Wanted, runs: RunLoads
) -> Iterator[Row]:
    """Yield the rows of a query, those that matter less first."""
    parameters = wanted.parameters(floors)
    for condition in runs.passes():
        text = query.format(index=wanted.index, wanted=wanted.condition, runs=condition)
        yield from connection.execute(text, parameters)


def read_progress(
    connection: sqlite3.Connection, floors: Floors, wanted: Wanted, runs: RunLoads
) -> dict[str, dict[str, CellProgress]]:
    """Return build id → cell id → what is known of its trials."""
    rows = rows_by_pass(connection, _ATTEMPTS, floors, wanted, runs)
    tallies = Tallies()
    progress: dict[str, dict[str, CellProgress]] = {}
    for build, plain, index, generation, worth, run in rows:
        cell = runs.cell(plain, run) if runs.marks else plain
        if floors.cells and floors.hide(cell, generation):
            continue
        cells = progress.get(build)
        if cells is None:
            cells = progress[build] = {}
        cells[cell] = tallies.step(cells.get(cell, tallies.nothing), index, worth)
    return progress


def current_ids(
    connection: sqlite3.Connection,
    floors: Floors,
    wanted: Wanted,
    cells: Container[str] | None,
    runs: RunLoads,
) -> array[int]:
    """Return the ids of the attempts that count, oldest first; `cells` None means all."""
    ids = array("q")
    # One mask a cell for each block of seeds: nearly always one block, whatever the first seed.
    blocks: dict[tuple[int, int], dict[str, int]] = {}
    by_cell = isinstance(wanted.first_seed, Mapping)
    for number, build, plain, seed, generation, run in _newest_first(
        connection, floors, wanted, runs
    ):
        cell = runs.cell(plain, run) if runs.marks else plain
        if (cells is not None and cell not in cells) or floors.hide(cell, generation):
            continue
        if by_cell and not wanted.has(cell, seed):
            continue
        block, place = divmod(seed, _BLOCK)
        masks = blocks.setdefault((build, block), {})
        mask = masks.get(cell, 0)
        if not mask >> place & 1:
            masks[cell] = mask | 1 << place
            ids.append(number)
    if runs.others:
        return array("q", sorted(ids))
    ids.reverse()
    return ids


def _newest_first(
    connection: sqlite3.Connection, floors: Floors, wanted: Wanted, runs: RunLoads
) -> Iterator[Row]:
    for condition in reversed(runs.passes()):
        yield from connection.execute(
            _KEYS.format(wanted=wanted.condition, runs=condition), wanted.parameters(floors)
        )
