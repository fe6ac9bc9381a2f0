"""The cells and replies of a report: what fits, failures first, then each different reply once."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from matrixbench.execution.reproduce import reproduction
from matrixbench.execution.servers import Servers
from matrixbench.output.report.content import plain
from matrixbench.output.transcript import transcript_json
from matrixbench.records import Outcome
from matrixbench.results.tables import TRIAL_COLUMNS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from matrixbench.output.report.content import Part
    from matrixbench.output.report.pack import Pack
    from matrixbench.records import JsonObject
    from matrixbench.results.tally import ResultCell
    from matrixbench.store.rows import StoredLaunch, Transcript, TrialRow

_OF_CELL = {"cell", "build", "unverified", "reply_digest", "imported", "load", "by_request"}
"""What the cell's own row says, or nobody reads here."""

_MORE = ("started_at", "finish_reason", "generation")
_TENTHS = {"started_at"}
_SEED = 123_456_789_123_456
"""Stands for the seed in a request's line until the page puts the trial's own there."""

_USUAL = {"role", "content", "tool_calls", "reasoning_content", "function_call", "refusal"}
"""Parts of a message that are shown anyway, and `null` ones that servers add."""


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """Trials of a cell that gave one reply.

    Args:
        part: The experiment's place in the report.
        cell: The cell's place in its table.
        trials: The places of the trials among the cell's.
    """

    part: int
    cell: int
    trials: list[int]


def groups_of(parts: Sequence[Part]) -> list[Group]:
    """Return the different replies of all cells, those first that a small report should have.

    These are all that did not pass. Then comes each different reply once, whichever cell gave it.
    Trials are grouped by what their rows say, without their texts: equal calls and content, judged
    alike, of as many tokens.
    """
    found: list[tuple[int, Group]] = []
    known: set[tuple[int, str | None]] = set()
    for place, part in enumerate(parts):
        for cell, rows in enumerate(part.trials):
            groups: dict[tuple[object, ...], list[int]] = {}
            for at, row in enumerate(rows):
                groups.setdefault(_alike(row), []).append(at)
            # The most frequent first, then by their first trial.
            for trials in sorted(groups.values(), key=lambda one: (-len(one), one[0])):
                first = rows[trials[0]]
                again = (place, first.reply_digest) in known
                known.add((place, first.reply_digest))
                rank = 0 if first.outcome is not Outcome.PASSED else 2 if again else 1
                found.append((rank, Group(place, cell, trials)))
    found.sort(key=lambda one: one[0])
    return [group for _, group in found]


def _alike(row: TrialRow) -> tuple[object, ...]:
    judged = row.outcome, row.kind, row.reason, row.score, row.noted
    sent = row.finish_reason, row.completion_tokens, row.turns, row.asked_again, row.request
    return row.reply_digest, *judged, *sent


def pack_cells(parts: Sequence[Part], groups: Sequence[Group], pack: Pack) -> None:
    """Pack a record for each cell; their replies get the numbers that follow, in this order."""
    first = pack.records + sum(len(part.cells) for part in parts)
    of_cell: dict[tuple[int, int], list[JsonObject]] = {}
    for rank, group in enumerate(groups):
        told = {"record": first + rank, "trials": group.trials}
        of_cell.setdefault((group.part, group.cell), []).append(told)
    for place, part in enumerate(parts):
        runs = {run.id: run for run in part.results.opened_store.launches()}
        part.index["records"] = []
        for number, (cell, rows) in enumerate(zip(part.cells, part.trials, strict=True)):
            requests, whose = _requests(part, cell, rows, runs)
            shown = of_cell.get((place, number), [])
            record = {
                "experiment": place,
                "cell": number,
                "row": {name: v for name, v in part.rows[number].items() if v not in (None, "")},
                "trials": {**_columns(rows), **({"request": whose} if rows else {})},
                "groups": sorted(shown, key=lambda one: (-len(one["trials"]), one["trials"][0])),
                "texts": {"requests": requests},
            }
            part.index["records"].append(pack.add(part.secrets.masked(record)))


def _columns(rows: Sequence[TrialRow]) -> JsonObject:
    """Return column → the values of trials; those of which nothing is known are left out."""
    names = [*(name for name in TRIAL_COLUMNS if name not in _OF_CELL), *_MORE]
    columns: JsonObject = {}
    for name in names:
        if name in {"outcome", "kind", "reason"} or name in _TENTHS:
            values = [_brief(name, getattr(row, name)) for row in rows]
        else:
            values = [plain(getattr(row, name)) for row in rows]
            if not any(value not in (None, "") for value in values):
                continue
        columns[name] = values
    return columns


def _brief(name: str, value: Any) -> Any:
    return round(value, 1) if name in _TENTHS else plain(value)


def _requests(
    part: Part, cell: ResultCell | None, rows: Sequence[TrialRow], runs: dict[int, StoredLaunch]
) -> tuple[list[JsonObject], list[int]]:
    """Return what was sent, each body once with its lines by launch, and which each trial sent."""
    sent: dict[str, JsonObject] = {}
    lines: set[tuple[str, int]] = set()
    for row in rows:
        if cell is None or (row.request, row.launch) in lines:
            continue
        lines.add((row.request, row.launch))
        transcript = part.results.opened_store.transcript(row.id, checks=cell.checks)
        told = sent.setdefault(row.request, {"body": transcript.body, "lines": {}})
        told["lines"][str(row.launch)] = _lines(part, cell, transcript, runs.get(row.launch))
    places = {request: place for place, request in enumerate(sent)}
    return list(sent.values()), [places[row.request] for row in rows] if sent else []


def _lines(
    part: Part, cell: ResultCell, transcript: Transcript, run: StoredLaunch | None
) -> JsonObject:
    given = replace(transcript, trial=replace(transcript.trial, seed=_SEED))
    prepared = part.results.prepared
    found = reproduction(
        given,
        run.record if run else None,
        cell.of_plan.launch if cell.of_plan else None,
        Servers(prepared.settings).around if prepared else None,
    )
    around = found.request.split(str(_SEED)) if found.request else None
    return {"server": found.server, "request": around, "note": found.note}


def pack_replies(
    parts: Sequence[Part], groups: Sequence[Group], pack: Pack, limit: int
) -> Iterable[Group]:
    """Pack the texts of replies until the page is full; return those that are left out."""
    for rank, group in enumerate(groups):
        if pack.so_far >= limit:
            return groups[rank:]
        part = parts[group.part]
        cell = part.cells[group.cell]
        row = part.trials[group.cell][group.trials[0]]
        checks = cell.checks if cell else ""
        transcript = part.results.opened_store.transcript(row.id, checks=checks)
        record = {
            "experiment": group.part,
            "cell": group.cell,
            "trial": row.trial,
            "texts": _texts(transcript),
        }
        pack.add(part.secrets.masked(record))
    return ()


def _texts(transcript: Transcript) -> JsonObject:
    message = transcript.reply.message if transcript.reply else None
    odd = message and any(value for name, value in message.items() if name not in _USUAL)
    return {**transcript_json(transcript), "message": message if odd else None}
