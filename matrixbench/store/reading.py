"""What tables, charts and transcripts read: which attempts count, with their judgements."""

from __future__ import annotations

import json
from array import array
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING

from matrixbench.errors import StoreError
from matrixbench.plan.cells import CellProgress, LaunchRun, Origin, load_in, plain_id
from matrixbench.plan.seeds import SPAN
from matrixbench.records import Attempt, Outcome
from matrixbench.spec.axes import name_as_now
from matrixbench.store.encoding import (
    ATTEMPT_COLUMNS,
    MEASURED_COLUMNS,
    NOTE,
    Row,
    build_from,
    kind_from,
    launch_from,
    notes_from,
    reply_from,
    verdicts_from,
)
from matrixbench.store.experiments import UNKNOWN_LOADS
from matrixbench.store.rows import KeptReply, LaunchNote, StoredLaunch, Transcript, TrialRow
from matrixbench.store.turns import Turns

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Container, Iterable, Iterator, Sequence

    from matrixbench.records import Build, ChatReply, JsonObject
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
    runs: RunLoads,
) -> Iterator[Row]:
    """Yield the rows of a query, those that matter less first."""
    parameters = wanted.parameters(floors)
    for condition in runs.passes():
        text = query.format(index=wanted.index, wanted=wanted.condition, runs=condition)
        yield from connection.execute(text, parameters)


def read_progress(
    connection: sqlite3.Connection, floors: Floors, wanted: WantedAttempts, runs: RunLoads
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
    wanted: WantedAttempts,
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
    connection: sqlite3.Connection, floors: Floors, wanted: WantedAttempts, runs: RunLoads
) -> Iterator[Row]:
    for condition in reversed(runs.passes()):
        yield from connection.execute(
            _KEYS.format(wanted=wanted.condition, runs=condition), wanted.parameters(floors)
        )


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

_MEASURED = ", ".join(f"trial.{name}" for name in MEASURED_COLUMNS)

_ASKED_AGAIN = """
    SELECT group_concat(kind, ' ') FROM (
        SELECT coalesce(attempt.kind, 'reply') AS kind FROM attempt
        WHERE attempt.trial = trial.id ORDER BY attempt.turn, attempt.number
    )
"""
"""The kinds of all answers that are kept; a refusal's own is the last of them."""

_TRIALS = f"""
    SELECT trial.id, trial.cell, build.id, trial.seed, trial.trial_index, trial.generation,
        trial.launch, trial.order_index, trial.request, trial.started_at,
        coalesce(trial.outcome, verdict.outcome),
        CASE WHEN trial.outcome IS NULL THEN verdict.kind ELSE trial.kind END,
        coalesce(trial.reason, verdict.reason, ''),
        trial.by_request, coalesce(verdict.checks, ''), verdict.score,
        trial.reply_digest, launch.imported,
        max(1, (SELECT count(*) FROM turn WHERE turn.trial = trial.id)),
        trial.asked, trial.concurrency,
        CASE WHEN instr(verdict.verdicts, '"{NOTE}":') THEN verdict.verdicts END,
        CASE WHEN trial.asked > 1 THEN ({_ASKED_AGAIN}) END,
        {_MEASURED}
    {_WANTED}
    CROSS JOIN build ON build.number = trial.build
    CROSS JOIN launch ON launch.id = trial.launch
    {_COUNTING}
"""

_REPLIES = f"""
    SELECT trial.id, trial.cell, trial.launch, reply.message, reply.reading, {_MEASURED}
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
    SELECT trial.id, trial.cell, trial.launch, verdict.checks, verdict.kind IS 'check_raised'
    {_WANTED} {_COUNTING}
    WHERE trial.outcome IS NULL
"""

_UNJUDGED = f"""
    SELECT trial.id {_WANTED}
    WHERE trial.outcome IS NULL AND coalesce(
        (
            SELECT kind IS 'check_raised' FROM verdict
            WHERE verdict.trial = trial.id AND verdict.checks = wanted.checks
            ORDER BY turn DESC LIMIT 1
        ),
        1
    )
"""

_LAUNCHES = """
    SELECT launch.id, ended_at, error,
        build.id, build.kind, server, model, device, version, details,
        experiment, digest, name, started_at, request_timeout_s, order_seed,
        command, effective, host, versions, log, imported, origin
    FROM launch LEFT JOIN build ON build.number = launch.build
"""

_DURATIONS = """
    SELECT cell, {sums} FROM trial
    WHERE launch IN (SELECT value FROM json_each(?))
        AND latency_s IS NOT NULL AND outcome IS NOT 'errored'
    GROUP BY cell{by}
"""

_ID, _CELL, _RUN, _CHECKS = 0, 1, 6, 14
"""Where they stand in a row of `_TRIALS`."""

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
        rows = _fetch(connection, _TRIALS, [(number, "") for number in piece])
        others: list[tuple[int, str]] = []
        for row in rows:
            if judged_by := row[_CHECKS]:
                present = checks.get(runs.cell(row[_CELL], row[_RUN]), judged_by)
                if present != judged_by:
                    others.append((row[_ID], present))
        by_present = {row[_ID]: row for row in _fetch(connection, _TRIALS, others)}
        for row in rows:
            yield _trial_row(by_present.get(row[_ID], row), first_seed, runs)


def _asked_again(kinds: str | None, *, beyond: int) -> str | None:
    """Return the kinds of the answers after which it was asked again: the first so many."""
    return " ".join((kinds or "").split()[:beyond]) or None if beyond > 0 else None


def _fetch(
    connection: sqlite3.Connection, query: str, wanted: Sequence[tuple[int, str]]
) -> list[Row]:
    """Run a query over pairs of attempt and checks."""
    return connection.execute(query, (json.dumps(wanted),)).fetchall() if wanted else []


def _trial_row(row: Row, first_seed: int | Mapping[str, int] | None, runs: RunLoads) -> TrialRow:
    kind, by_request, imported = row[11], row[13], row[17]
    cell = runs.cell(row[1], row[6])
    if isinstance(first_seed, Mapping):
        first_seed = first_seed[cell]
    return TrialRow(
        id=row[0],
        cell=cell,
        build=row[2],
        seed=row[3],
        trial=row[4] if first_seed is None else row[3] - first_seed,
        generation=row[5],
        launch=row[6],
        order=row[7],
        request=row[8],
        started_at=row[9],
        outcome=_OUTCOMES[row[10]],
        kind=None if kind is None else kind_from(kind),
        reason=row[12],
        by_request=by_request == 1,
        checks=row[14],
        score=row[15],
        reply_digest=row[16],
        imported=imported == 1,
        turns=row[18],
        asked=row[19],
        concurrency=row[20],
        noted="" if row[21] is None else _noted(row[21]),
        load=runs.keys.get(row[6]),
        asked_again=_asked_again(row[22], beyond=(row[19] or 0) - row[18]),
        **dict(zip(MEASURED_COLUMNS, row[23:], strict=True)),
    )


@lru_cache(maxsize=1024)
def _noted(verdicts: str) -> str:
    """Return the kinds of the notes that stand behind verdicts, each once."""
    return " ".join(dict.fromkeys(note.kind.value for note in notes_from(verdicts)))


def replies(
    connection: sqlite3.Connection, ids: list[int], runs: RunLoads = UNKNOWN_LOADS
) -> list[tuple[int, str, ChatReply]]:
    """Return id, cell and reply of those attempts that have one, with the turns before it."""
    turns = Turns(connection, ids)
    return [
        (
            number,
            runs.cell(cell, run),
            turns.whole(number, reply_from(message, reading, tuple(measured))),
        )
        for number, cell, run, message, reading, *measured in _fetch(
            connection, _REPLIES, [(number, "") for number in ids]
        )
    ]


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
    found = _fetch(connection, _TRIALS, [(number, checks)])
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


def builds(connection: sqlite3.Connection) -> dict[str, Build]:
    """Return every build by its id, oldest first."""
    rows = connection.execute(
        "SELECT id, kind, server, model, device, version, details FROM build ORDER BY number"
    )
    return {row[0]: build_from(row) for row in rows}


def launches(connection: sqlite3.Connection, experiment: str | None) -> list[StoredLaunch]:
    """Return the launch runs of an experiment, or all, oldest first."""
    rows = connection.execute(
        _LAUNCHES + "WHERE :experiment IS NULL OR experiment = :experiment ORDER BY launch.id",
        {"experiment": experiment},
    ).fetchall()
    return [_stored_launch(connection, row) for row in rows]


def durations(connection: sqlite3.Connection, launches: str, runs: RunLoads) -> dict[str, float]:
    """Return cell id → mean seconds of its measured trials; `launches` is a list of them, JSON."""
    if not runs.marks:
        return dict(connection.execute(_DURATIONS.format(sums="avg(latency_s)", by=""), [launches]))
    means: dict[str, tuple[float, int]] = {}
    sums = "launch, sum(latency_s), count(latency_s)"
    for plain, run, total, count in connection.execute(
        _DURATIONS.format(sums=sums, by=", launch"), [launches]
    ):
        cell = runs.cell(plain, run)
        before, times = means.get(cell, (0.0, 0))
        means[cell] = (before + total, times + count)
    return {cell: total / count for cell, (total, count) in means.items()}


def launch_runs(connection: sqlite3.Connection) -> list[LaunchRun]:
    """Return all launch runs whose server answered, equal ones once, the newest first."""
    rows = connection.execute(
        """SELECT experiment, name, digest, build.id, origin
        FROM launch JOIN build ON build.number = launch.build
        GROUP BY experiment, name, digest, build.id, origin ORDER BY max(launch.id) DESC"""
    )
    return [
        LaunchRun(experiment, name_as_now(name), digest, build, Origin.from_text(origin))
        for experiment, name, digest, build, origin in rows
    ]


def failed_starts(connection: sqlite3.Connection, experiment: str) -> set[tuple[str, str]]:
    """Return name and digest of the launches whose newest run ended before its server answered."""
    rows = connection.execute(
        """SELECT name, digest, build IS NULL AND error IS NOT NULL FROM launch
        WHERE experiment = ? ORDER BY id""",
        (experiment,),
    )
    newest = {(name_as_now(name), digest): failed for name, digest, failed in rows}
    return {launch for launch, failed in newest.items() if failed}


def noted(connection: sqlite3.Connection, name: str) -> list[LaunchNote]:
    """Return the notes of a name of all launch runs, the oldest first."""
    rows = connection.execute(
        """SELECT digest, build.id, started_at, value FROM note
        JOIN launch ON launch.id = note.launch LEFT JOIN build ON build.number = launch.build
        WHERE note.name = ? ORDER BY launch.id""",
        (name,),
    )
    return [
        LaunchNote(launch_digest=row[0], build=row[1], started_at=row[2], value=json.loads(row[3]))
        for row in rows
    ]


def _stored_launch(connection: sqlite3.Connection, row: Row) -> StoredLaunch:
    number, ended_at, error = row[:3]
    build = build_from(row[3:10]) if row[3] is not None else None
    notes = connection.execute("SELECT name, value FROM note WHERE launch = ?", (number,))
    return StoredLaunch(
        id=number,
        record=launch_from(row[10:], build),
        ended_at=ended_at,
        error=error,
        notes={name: json.loads(value) for name, value in notes},
    )
