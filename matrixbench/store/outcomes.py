"""What checks made of stored trials: their outcomes, and judging them again."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING, Any

from matrixbench.plan.cells import CellProgress, Judged
from matrixbench.plan.seeds import SPAN
from matrixbench.records import Outcome
from matrixbench.store.connection import one_transaction
from matrixbench.store.encoding import JUDGEMENT_COLUMNS, judgement_values
from matrixbench.store.reading import (
    ERRORED,
    NO_TRIAL,
    SHORT,
    WORTH,
    Floors,
    TrialMasks,
    WantedAttempts,
    chunks,
    current_ids,
    progress_of,
    replies,
    rows_by_pass,
    then,
    unjudged,
)

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from matrixbench.records import ChatReply, Judgement
    from matrixbench.store.experiments import RunLoads

_JUDGED = f"""
    SELECT trial.cell, trial.generation, trial.launch,
        trial.id, build.id, {{index}}, {WORTH},
        trial.outcome IS NOT NULL, verdict.checks, verdict.outcome
    FROM trial INDEXED BY trial_generation
    CROSS JOIN build ON build.number = trial.build
    LEFT JOIN verdict ON verdict.trial = trial.id
    WHERE trial.generation >= :floor AND {{wanted}} AND {{runs}}
    ORDER BY trial.generation, trial.id, verdict.turn
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judges:
    """The present checks.

    Args:
        cells: Cell id → the digests of the checks that judge its trials; cells that nobody asks
            about are missing.
        judge: Digest of checks and a reply → what they make of it.
    """

    cells: Mapping[str, tuple[str, ...]]
    judge: Callable[[str, ChatReply], Outcome]


def read_judged_progress(
    connection: sqlite3.Connection,
    floors: Floors,
    wanted: WantedAttempts,
    judges: Judges,
    runs: RunLoads,
) -> dict[str, dict[str, CellProgress]]:
    """Return what `reading.read_progress` does, with what the present checks make of it."""
    reading = _Reading(judges, wanted.trials or SPAN)
    for row in rows_by_pass(connection, _JUDGED, floors, wanted, runs.passes()):
        plain, generation, run, *rest = row
        cell = runs.cell(plain, run) if runs.marks else plain
        if not (floors.cells and floors.hide(cell, generation)):
            reading.add(cell, rest)
    reading.judge_rest(connection)
    return reading.progress()


class _Reading:
    """Adds up attempts, oldest first.

    The outcomes of a cell are one whole number: for each set of checks a mask of the trials that
    were measured, and one of those that passed.
    """

    def __init__(self, judges: Judges, width: int) -> None:
        self._judges = judges
        self._width = width
        self._tallies: dict[str, dict[str, TrialMasks]] = {}
        self._outcomes: dict[str, dict[str, int]] = {}
        self._unjudged: dict[tuple[str, str, int], int] = {}
        self._first_bits: dict[int, tuple[int, int]] = {}
        self._number = -1

    def add(self, cell: str, row: Sequence[Any]) -> None:
        """Take the rest of a row into account: an attempt, and one judgement of its reply."""
        number, build, index, worth, refused, checks, outcome = row
        digests = self._judges.cells.get(cell)
        first = number != self._number
        if first:
            self._number = number
            cells = self._tallies.setdefault(build, {})
            cells[cell] = then(cells.get(cell, NO_TRIAL), index, worth)
        if digests is None:
            return
        place = build, cell, index
        if first and not self._set_alone(place, digests, checks, outcome):
            counts = refused and worth not in {ERRORED, SHORT}
            self._forget(place, len(digests), counts=bool(counts))
        elif first:
            return
        if refused:
            return
        if checks in digests:
            self._set(place, digests.index(checks), outcome)
        if not self._all_judged(place, len(digests)):
            self._unjudged[place] = number
        elif self._unjudged:
            self._unjudged.pop(place, None)

    def judge_rest(self, connection: sqlite3.Connection) -> None:
        """Judge the replies that the present checks have not judged, or raised at."""
        places = {number: place for place, number in self._unjudged.items()}
        for ids in chunks(places):
            for number, _, reply in replies(connection, ids):
                cell = places[number][1]
                for position, digest in enumerate(self._judges.cells[cell]):
                    self._set(places[number], position, self._judges.judge(digest, reply))

    def _set_alone(
        self,
        place: tuple[str, str, int],
        digests: tuple[str, ...],
        checks: str | None,
        outcome: str | None,
    ) -> bool:
        """Set what the only checks of a cell made of a reply; return whether it was that easy.

        Nearly always it is; a million cells are told in half the time.
        """
        if len(digests) != 1 or digests[0] != checks or outcome == Outcome.ERRORED:
            return False
        build, cell, index = place
        outcomes = self._outcomes.get(build)
        if outcomes is None:
            outcomes = self._outcomes[build] = {}
        measured = 1 << index
        known = outcomes.get(cell, 0) | measured
        passed = measured << self._width
        outcomes[cell] = known | passed if outcome == Outcome.PASSED else known & ~passed
        if self._unjudged:
            self._unjudged.pop(place, None)
        return True

    def _forget(self, place: tuple[str, str, int], count: int, *, counts: bool) -> None:
        """Forget older attempts at a trial; a refusal that counts does so under all checks."""
        build, cell, index = place
        outcomes = self._outcomes.setdefault(build, {})
        every, measured = self._places(count)
        known = outcomes.get(cell, 0) & ~(every << index)
        outcomes[cell] = known | measured << index if counts else known
        if self._unjudged:
            self._unjudged.pop(place, None)

    def _places(self, count: int) -> tuple[int, int]:
        """Return the first bit of every mask of so many sets of checks, and of those measured."""
        if count not in self._first_bits:
            bits = [1 << mask * self._width for mask in range(2 * count)]
            self._first_bits[count] = (sum(bits), sum(bits[::2]))
        return self._first_bits[count]

    def _set(self, place: tuple[str, str, int], position: int, outcome: str | None) -> None:
        build, cell, index = place
        measured = 1 << 2 * position * self._width + index
        passed = measured << self._width
        known = self._outcomes[build][cell] & ~(measured | passed)
        if outcome != Outcome.ERRORED:
            known |= measured
        if outcome == Outcome.PASSED:
            known |= passed
        self._outcomes[build][cell] = known

    def _all_judged(self, place: tuple[str, str, int], count: int) -> bool:
        build, cell, index = place
        measured = self._places(count)[1] << index
        return self._outcomes[build][cell] & measured == measured

    def progress(self) -> dict[str, dict[str, CellProgress]]:
        """Return what is known of cells; equal ones are kept once."""
        told = lru_cache(maxsize=None)(self._told)
        return {
            build: {
                cell: told(tally, self._outcomes.get(build, {}).get(cell), self._count(cell))
                for cell, tally in cells.items()
            }
            for build, cells in self._tallies.items()
        }

    def _count(self, cell: str) -> int:
        return len(self._judges.cells.get(cell, ()))

    def _told(self, tally: TrialMasks, packed: int | None, count: int) -> CellProgress:
        known = progress_of(tally)
        if packed is None:
            return known
        return replace(known, judged=tuple(self._unpacked(packed, at) for at in range(count)))

    def _unpacked(self, packed: int, position: int) -> Judged:
        whole = (1 << self._width) - 1
        measured = packed >> 2 * position * self._width & whole
        return Judged(measured=measured, passed=packed >> (2 * position + 1) * self._width & whole)


_GROUP = 512

_INSERT = f"""
    INSERT INTO verdict (trial, turn, {", ".join(JUDGEMENT_COLUMNS)})
    VALUES (?, ?, {", ".join("?" * len(JUDGEMENT_COLUMNS))})
"""

_TURNS = f"""
    SELECT turn, {", ".join(JUDGEMENT_COLUMNS)} FROM verdict WHERE trial = ? ORDER BY turn
"""


def stale_replies(
    connection: sqlite3.Connection, checks: Mapping[str, str], runs: RunLoads
) -> Iterator[tuple[int, str, ChatReply]]:
    """Yield id, cell and reply of the newest attempts that the present checks have not judged."""
    everything = WantedAttempts(first_seed=0)
    for piece in chunks(current_ids(connection, Floors(0, {}), everything, checks, runs)):
        ids = unjudged(connection, piece, checks, runs)
        if ids:
            yield from replies(connection, ids, runs)


def add_judgements(path: Path, judgements: Iterable[tuple[int, str, Judgement]]) -> int:
    """Keep judgements, in groups of one transaction each; return how many outcomes changed.

    Raises:
        StoreError: The store cannot be written; groups before that are kept.
    """
    remaining = iter(judgements)
    changed = 0
    # The group is drawn before the lock is taken: judging may take its time.
    while group := list(islice(remaining, _GROUP)):
        with one_transaction(path) as connection:
            changed += sum(_add(connection, *item) for item in group)
    return changed


def add_for_now(
    connection: sqlite3.Connection, judgements: Iterable[tuple[int, str, Judgement]]
) -> int:
    """Have a connection see judgements that the store does not keep; return what changed.

    They stand in a temporary copy of the table, which has its name for this connection alone.
    SQLite keeps it outside of the store, and on the disk where it is large.
    """
    several = list(judgements)
    if not several:
        return 0
    columns = ", ".join(("trial", "turn", *JUDGEMENT_COLUMNS))
    connection.execute("BEGIN")
    try:
        made = connection.execute("SELECT 1 FROM temp.sqlite_master WHERE name = 'verdict'")
        if made.fetchone() is None:
            connection.execute(
                f"CREATE TEMP TABLE verdict ({columns}, PRIMARY KEY (trial, turn)) WITHOUT ROWID"
            )
            connection.execute(f"INSERT INTO temp.verdict SELECT {columns} FROM main.verdict")
        changed = sum(_add(connection, *item) for item in several)
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
    return changed


def _add(connection: sqlite3.Connection, trial: int, checks: str, judgement: Judgement) -> bool:
    values = judgement_values(judgement, checks)
    turns = connection.execute(_TURNS, (trial,)).fetchall()
    by_these = [row for row in turns if row[1] == checks]
    if by_these and by_these[-1][1:] == values:
        return False
    before = (by_these or turns)[-1] if turns else None
    connection.execute(_INSERT, (trial, len(turns), *values))
    return before is not None and before[2] != values[1]
