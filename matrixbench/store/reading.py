"""What tables, charts and transcripts read: which attempts count, with their judgements."""

from __future__ import annotations

import json
from array import array
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from matrixbench.errors import StoreError
from matrixbench.plan.cells import CellProgress, load_in, plain_id
from matrixbench.plan.seeds import SPAN
from matrixbench.records import Attempt, Outcome
from matrixbench.store.encoding import (
    ATTEMPT_COLUMNS,
    MEASURED_COLUMNS,
    NOTE,
    Row,
    kind_from,
    notes_from,
    reply_from,
    verdicts_from,
)
from matrixbench.store.experiments import UNKNOWN_LOADS
from matrixbench.store.rows import KeptReply, Transcript, TrialRow
from matrixbench.store.turns import Turns

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Container, Iterable, Iterator, Sequence

    from matrixbench.records import ChatReply, JsonObject
    from matrixbench.store.experiments import RunLoads

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
"""
"""What a trial's newest attempt is worth. A reply is kept whatever its checks say: when one of
them raises, the reply is judged again, not asked for again."""

_ATTEMPTS = f"""
    SELECT build.id, trial.cell, {{index}}, trial.generation, {WORTH}, trial.launch
    FROM trial INDEXED BY trial_generation
    CROSS JOIN build ON build.number = trial.build
    WHERE trial.generation >= :floor AND {{wanted}} AND {{runs}}
    ORDER BY trial.generation, trial.id
"""

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


class TrialMasks(NamedTuple):
    """What the newest attempts at a cell's trials are worth: masks, bit i stands for trial i."""

    kept: int = 0
    errored: int = 0
    short: int = 0
    stood: int = 0


_SHARED = 1 << 16
"""How many tallies are remembered: a million cells share a few."""


@lru_cache(maxsize=_SHARED)
def then(tally: TrialMasks, index: int, worth: int) -> TrialMasks:
    """Return a tally after a newer attempt at one trial."""
    bit = 1 << index
    kept, errored, short, stood = (mask & ~bit for mask in tally)
    if worth == ERRORED:
        errored |= bit
    elif worth == SHORT:
        short |= bit
    else:
        kept |= bit
        stood |= bit if worth == STANDS else 0
    return TrialMasks(kept, errored, short, stood)


@lru_cache(maxsize=_SHARED)
def progress_of(tally: TrialMasks) -> CellProgress:
    """Return what the plan sees of a tally."""
    return CellProgress(
        kept=tally.kept, errored=tally.errored, short=tally.short, stands=tally.stood != 0
    )


NO_TRIAL = TrialMasks()


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedAttempts:
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
    connection: sqlite3.Connection,
    query: str,
    floors: Floors,
    wanted: WantedAttempts,
    passes: Iterable[str],
) -> Iterator[Row]:
    """Yield the rows of a query, pass by pass."""
    for condition in passes:
        text = query.format(index=wanted.index, wanted=wanted.condition, runs=condition)
        yield from connection.execute(text, wanted.parameters(floors))


def read_progress(
    connection: sqlite3.Connection, floors: Floors, wanted: WantedAttempts, runs: RunLoads
) -> dict[str, dict[str, CellProgress]]:
    """Return build id → cell id → what is known of its trials."""
    rows = rows_by_pass(connection, _ATTEMPTS, floors, wanted, runs.passes())
    tallies: dict[str, dict[str, TrialMasks]] = {}
    for build, plain, index, generation, worth, run in rows:
        cell = runs.cell(plain, run) if runs.marks else plain
        if floors.cells and floors.hide(cell, generation):
            continue
        cells = tallies.get(build)
        if cells is None:
            cells = tallies[build] = {}
        cells[cell] = then(cells.get(cell, NO_TRIAL), index, worth)
    return {
        build: {cell: progress_of(tally) for cell, tally in cells.items()}
        for build, cells in tallies.items()
    }


def current_ids(
    connection: sqlite3.Connection,
    floors: Floors,
    wanted: WantedAttempts,
    cells: Container[str] | None,
    runs: RunLoads,
) -> array[int]:
    """Return the ids of the attempts that count, oldest first; `cells` None means all."""
    ids = array("q")
    # One mask a cell for each block of seeds: nearly always one block, whatever the first seed.
    blocks: dict[tuple[int, int], dict[str, int]] = {}
    by_cell = isinstance(wanted.first_seed, Mapping)
    newest_first = rows_by_pass(connection, _KEYS, floors, wanted, reversed(runs.passes()))
    for number, build, plain, seed, generation, run in newest_first:
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


CHUNK = 512
"""Attempts read by one query. Between queries no read transaction is open, so that a slow reader
never keeps the log from being checkpointed."""

# The judgement that counts is the newest one by the present checks; where there is none (or
# nobody said what they are), the newest.
_COUNTING = """
    LEFT JOIN verdict ON verdict.trial = trial.id AND verdict.turn = coalesce(
        (SELECT max(turn) FROM verdict AS v WHERE v.trial = trial.id AND v.checks = wanted.checks),
        (SELECT max(turn) FROM verdict AS v WHERE v.trial = trial.id)
    )
"""

_WANTED = """
    FROM (
        SELECT json_extract(value, '$[0]') AS id, json_extract(value, '$[1]') AS checks
        FROM json_each(?)
    ) AS wanted
    CROSS JOIN trial ON trial.id = wanted.id
"""

_ASKED_AGAIN = """
    SELECT group_concat(kind, ' ') FROM (
        SELECT coalesce(attempt.kind, 'reply') AS kind FROM attempt
        WHERE attempt.trial = trial.id ORDER BY attempt.turn, attempt.number
    )
"""
"""The kinds of all answers that are kept; a refusal's own is the last of them."""

_ROW = {
    "id": "trial.id",
    "cell": "trial.cell",
    "build": "build.id",
    "seed": "trial.seed",
    "trial": "trial.trial_index",
    "generation": "trial.generation",
    "launch": "trial.launch",
    "order": "trial.order_index",
    "request": "trial.request",
    "started_at": "trial.started_at",
    "outcome": "coalesce(trial.outcome, verdict.outcome)",
    "kind": "CASE WHEN trial.outcome IS NULL THEN verdict.kind ELSE trial.kind END",
    "reason": "coalesce(trial.reason, verdict.reason, '')",
    "by_request": "trial.by_request",
    "checks": "coalesce(verdict.checks, '')",
    "score": "verdict.score",
    "reply_digest": "trial.reply_digest",
    "imported": "launch.imported",
    "turns": "max(1, (SELECT count(*) FROM turn WHERE turn.trial = trial.id))",
    "asked": "trial.asked",
    "concurrency": "trial.concurrency",
    "noted": f"CASE WHEN instr(verdict.verdicts, '\"{NOTE}\":') THEN verdict.verdicts END",
    "asked_again": f"CASE WHEN trial.asked > 1 THEN ({_ASKED_AGAIN}) END",
    **{name: f"trial.{name}" for name in MEASURED_COLUMNS},
}
"""Field of a `TrialRow` → where it comes from; what is there as text is turned over afterwards."""

_TRIALS = f"""
    SELECT {", ".join(_ROW.values())}
    {_WANTED}
    CROSS JOIN build ON build.number = trial.build
    CROSS JOIN launch ON launch.id = trial.launch
    {_COUNTING}
"""

_REPLY = ("message", "reading", *MEASURED_COLUMNS)
_REPLIES = f"""
    SELECT trial.id, trial.cell, trial.launch, {", ".join(_REPLY)}
    {_WANTED}
    CROSS JOIN reply ON reply.trial = trial.id
"""

_KEPT = f"""
    SELECT trial.id, trial.cell, trial.launch, build.id, trial.seed
    {_WANTED}
    CROSS JOIN build ON build.number = trial.build
    WHERE EXISTS (SELECT 1 FROM reply WHERE reply.trial = trial.id)
"""

_VERDICTS = f"""
    SELECT verdict.verdicts {_WANTED} {_COUNTING}
"""

_NEWEST = f"""
    SELECT trial.id, trial.cell, trial.launch, verdict.checks,
        coalesce(verdict.kind IN ('check_raised', 'check_timeout'), 0)
    {_WANTED} {_COUNTING}
    WHERE trial.outcome IS NULL
"""

_UNJUDGED = f"""
    SELECT trial.id {_WANTED}
    WHERE trial.outcome IS NULL AND coalesce(
        (
            SELECT coalesce(kind IN ('check_raised', 'check_timeout'), 0) FROM verdict
            WHERE verdict.trial = trial.id AND verdict.checks = wanted.checks
            ORDER BY turn DESC LIMIT 1
        ),
        1
    )
"""

_OUTCOMES = {outcome.value: outcome for outcome in Outcome}


def chunks(ids: Iterable[int]) -> Iterator[list[int]]:
    """Split ids into pieces of one query each."""
    remaining = iter(ids)
    while piece := list(islice(remaining, CHUNK)):
        yield piece


def trial_rows(
    connection: sqlite3.Connection,
    ids: Iterable[int],
    checks: Mapping[str, str],
    first_seed: int | Mapping[str, int] | None,
    runs: RunLoads,
) -> Iterator[TrialRow]:
    """Yield attempts by id, in the order of the ids.

    `checks` gives the digest of a cell's present checks. The rows' `trial` counts from
    `first_seed`, that of all cells or of each; with None it is the index as it was stored.
    """
    for piece in chunks(ids):
        rows = _named(connection, [(number, "") for number in piece], runs)
        others: list[tuple[int, str]] = []
        for row in rows if checks else ():
            judged_by = row["checks"]
            present = checks.get(row["cell"], judged_by)
            if judged_by and present != judged_by:
                others.append((row["id"], present))
        by_present = {row["id"]: row for row in _named(connection, others, runs)}
        for row in rows:
            yield _trial_row(by_present.get(row["id"], row), first_seed, runs)


def _named(
    connection: sqlite3.Connection, wanted: Sequence[tuple[int, str]], runs: RunLoads
) -> list[dict[str, Any]]:
    """Return the rows of some attempts by name, as `_ROW` says, with their cells' whole ids."""
    rows = [dict(zip(_ROW, row, strict=True)) for row in _fetch(connection, _TRIALS, wanted)]
    for row in rows if runs.marks else ():
        row["cell"] = runs.cell(row["cell"], row["launch"])
    return rows


def _asked_again(kinds: str, *, beyond: int) -> str | None:
    """Return the kinds of the answers after which it was asked again: the first so many."""
    return " ".join(kinds.split()[: max(0, beyond)]) or None


def _fetch(
    connection: sqlite3.Connection, query: str, wanted: Sequence[tuple[int, str]]
) -> list[Row]:
    """Run a query over pairs of attempt and checks."""
    return connection.execute(query, (json.dumps(wanted),)).fetchall() if wanted else []


def _trial_row(
    row: dict[str, Any], first_seed: int | Mapping[str, int] | None, runs: RunLoads
) -> TrialRow:
    kind, noted, again = row["kind"], row["noted"], row["asked_again"]
    if isinstance(first_seed, Mapping):
        first_seed = first_seed[row["cell"]]
    if first_seed is not None:
        row["trial"] = row["seed"] - first_seed
    row["outcome"] = _OUTCOMES[row["outcome"]]
    row["by_request"] = row["by_request"] == 1
    row["imported"] = row["imported"] == 1
    row["noted"] = "" if noted is None else _noted(noted)
    if kind is not None:
        row["kind"] = kind_from(kind)
    if again is not None:
        row["asked_again"] = _asked_again(again, beyond=row["asked"] - row["turns"])
    return TrialRow(**row, load=runs.keys.get(row["launch"]))


@lru_cache(maxsize=1024)
def _noted(verdicts: str) -> str:
    """Return the kinds of the notes that stand behind verdicts, each once."""
    return " ".join(dict.fromkeys(note.kind.value for note in notes_from(verdicts)))


def replies(
    connection: sqlite3.Connection, ids: list[int], runs: RunLoads = UNKNOWN_LOADS
) -> list[tuple[int, str, ChatReply]]:
    """Return id, cell and reply of those attempts that have one, with the turns before it."""
    turns, found = Turns(connection, ids), []
    for number, cell, run, *row in _fetch(connection, _REPLIES, [(one, "") for one in ids]):
        reply = reply_from(dict(zip(_REPLY, row, strict=True)))
        found.append((number, runs.cell(cell, run), turns.whole(number, reply)))
    return found


def kept(connection: sqlite3.Connection, ids: Iterable[int], runs: RunLoads) -> Iterator[KeptReply]:
    """Yield those attempts that have a reply, in the order of their ids' list."""
    for piece in chunks(ids):
        for row in _fetch(connection, _KEPT, [(id_, "") for id_ in piece]):
            number, cell, run, build, seed = row
            yield KeptReply(id=number, cell=runs.cell(cell, run), build=build, seed=seed)


def unjudged(
    connection: sqlite3.Connection, ids: list[int], checks: Mapping[str, str], runs: RunLoads
) -> list[int]:
    """Return those attempts whose reply the present checks have not judged, or raised at."""
    newest = _fetch(connection, _NEWEST, [(number, "") for number in ids])
    others = []
    for number, plain, run, judged_by, raised in newest:
        present = checks[runs.cell(plain, run)]
        if raised or judged_by != present:
            others.append((number, present))
    return [number for (number,) in _fetch(connection, _UNJUDGED, others)]


def transcript(connection: sqlite3.Connection, number: int, checks: str) -> Transcript | None:
    """Return one attempt with its texts, or None where there is no such attempt."""
    found = _named(connection, [(number, checks)], UNKNOWN_LOADS)
    if not found:
        return None
    trial = _trial_row(found[0], None, UNKNOWN_LOADS)
    body = connection.execute(
        "SELECT body FROM request WHERE digest = ?", (trial.request,)
    ).fetchone()
    ((verdicts,),) = _fetch(connection, _VERDICTS, [(number, checks)])
    reply = replies(connection, [number])
    return Transcript(
        trial=trial,
        body=_object(body[0]) if body else None,
        reply=reply[0][2] if reply else None,
        earlier=reply[0][2].earlier if reply else Turns(connection, [number]).earlier(number),
        verdicts=verdicts_from(verdicts) if verdicts else (),
        attempts=_attempts(connection, number),
        notes=notes_from(verdicts) if verdicts else (),
    )


def _attempts(connection: sqlite3.Connection, number: int) -> dict[int, tuple[Attempt, ...]]:
    """Return turn → the answers that are kept beside the replies that count, oldest first."""
    found: dict[int, tuple[Attempt, ...]] = {}
    rows = connection.execute(
        f"SELECT {', '.join(ATTEMPT_COLUMNS)} FROM attempt WHERE trial = ? ORDER BY turn, number",
        (number,),
    )
    for turn, _, kind, reason, latency_s, body in rows:
        one = Attempt(kind=kind_from(kind), reason=reason, latency_s=latency_s, body=body)
        found[turn] = (*found.get(turn, ()), one)
    return found


def _object(text: str) -> JsonObject:
    value = json.loads(text)
    if not isinstance(value, dict):
        raise StoreError("a stored request is not a JSON object", hint="The store is damaged.")
    return value
