"""What tables, charts and transcripts read: attempts with the judgement that counts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING

from matrixbench.errors import StoreError
from matrixbench.plan.origin import LaunchRun, Origin
from matrixbench.records import Attempt, Outcome
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
from matrixbench.store.loads import UNKNOWN_LOADS
from matrixbench.store.rows import KeptReply, LaunchNote, StoredLaunch, Transcript, TrialRow
from matrixbench.store.turns import Turns

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator, Sequence

    from matrixbench.records import Build, ChatReply, JsonObject
    from matrixbench.store.loads import RunLoads

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
"""  # noqa: S608  only our own constants are put in

_REPLIES = f"""
    SELECT trial.id, trial.cell, trial.launch, reply.message, reply.reading, {_MEASURED}
    {_WANTED}
    CROSS JOIN reply ON reply.trial = trial.id
"""

_KEPT = f"""
    SELECT trial.id, trial.cell, trial.launch, build.id, trial.seed
    {_WANTED}
    CROSS JOIN build ON build.number = trial.build
    WHERE trial.outcome IS NULL
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
"""  # noqa: S608  only our own constants are put in

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
        f"SELECT {', '.join(ATTEMPT_COLUMNS)} FROM attempt WHERE trial = ? ORDER BY turn, number",  # noqa: S608  only our own constants are put in
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
        LaunchRun(experiment, name, digest, build, Origin.from_text(origin))
        for experiment, name, digest, build, origin in rows
    ]


def failed_starts(connection: sqlite3.Connection, experiment: str) -> set[tuple[str, str]]:
    """Return name and digest of the launches whose newest run ended before its server answered."""
    rows = connection.execute(
        """SELECT name, digest FROM launch
        WHERE build IS NULL AND error IS NOT NULL AND id IN (
            SELECT max(id) FROM launch WHERE experiment = ? GROUP BY name, digest
        )""",
        (experiment,),
    )
    return set(rows)


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
