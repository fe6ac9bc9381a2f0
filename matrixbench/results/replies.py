"""What the selected cells answered, and the launch runs behind them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from matrixbench.errors import NothingSelectedError, UsageError
from matrixbench.execution.reproduce import reproduction
from matrixbench.execution.servers import Servers
from matrixbench.records import Outcome
from matrixbench.results.tally import tallied
from matrixbench.spec.axes import varying_axes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from matrixbench.backends.registry import Reproduction
    from matrixbench.results.experiment import Results
    from matrixbench.results.tally import ResultCell, Tally
    from matrixbench.store.rows import StoredLaunch, Transcript, TrialRow

_CELLS_NAMED = 5


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ShownReply:
    """One reply, or several that are equal, with the texts of the first.

    Args:
        trials: The trials that gave it, by index.
    """

    trials: tuple[TrialRow, ...]
    transcript: Transcript


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ShownCell:
    """A cell and its replies.

    Args:
        trials: How many of its trials are shown, before the limit.
        replies: How many of them have a reply whose text is known.
        distinct: How many different replies these gave.
        one_reply: Whether several trials gave one reply although the sampling is not greedy.
        seeds_ignored: What shows that its launch ignores seeds, so that its trials are one draw;
            empty where nothing does, and where the sampling is greedy.
        shown: The replies; with equal ones together the most frequent first. Each is read from the
            store when its turn comes, once: all of them need not fit into memory.
    """

    cell: ResultCell
    trials: int
    outcomes: dict[Outcome, int]
    replies: int
    distinct: int
    one_reply: bool
    seeds_ignored: str
    shown: Iterator[ShownReply]
    left_out: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ShownTrial:
    """One trial whole."""

    cell: ResultCell
    row: TrialRow
    transcript: Transcript
    launch: StoredLaunch | None
    reproduction: Reproduction


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyFilter:
    """What is to be shown of each cell.

    Args:
        outcomes: Only trials with these outcomes; none: all.
        distinct: Equal replies once, with their count.
    """

    outcomes: tuple[Outcome, ...] = ()
    distinct: bool = False
    limit: int | None = None


def shown_cells(results: Results, wanted: ReplyFilter) -> list[ShownCell]:
    """Return the cells that have a trial to show, in the file's order.

    Raises:
        NothingSelectedError: No trial is selected.
        StoreError: The store cannot be read.
    """
    rows: dict[ResultCell, list[TrialRow]] = {}
    for cell, row in results.rows():
        if not wanted.outcomes or row.outcome in wanted.outcomes:
            rows.setdefault(cell, []).append(row)
    if not rows:
        found = f"no {' or '.join(wanted.outcomes)} trial" if wanted.outcomes else "no trial"
        raise _nothing(
            results,
            f"{found} of {results.experiment} is selected",
            where=str(results.place),
            hint="look at --where and --outcome; `matrixbench status` says what has been measured",
        )
    tallies = {cell: tallied(rows[cell]) for cell in results.cells if cell in rows}
    ignored = results.ignoring_seeds(tallies)
    return [
        _shown(results, cell, rows[cell], tally, wanted, ignored.get(cell.key, ""))
        for cell, tally in tallies.items()
    ]


def _shown(
    results: Results,
    cell: ResultCell,
    rows: list[TrialRow],
    tally: Tally,
    wanted: ReplyFilter,
    seeds_ignored: str,
) -> ShownCell:
    rows.sort(key=_index)
    groups = _groups(rows) if wanted.distinct else [[row] for row in rows]
    kept = groups[: wanted.limit]
    return ShownCell(
        cell=cell,
        trials=len(rows),
        outcomes={
            outcome: tally.outcomes[outcome] for outcome in Outcome if tally.outcomes[outcome]
        },
        replies=sum(row.reply_digest is not None for row in rows),
        distinct=len({row.reply_digest for row in rows} - {None}),
        one_reply=not (cell.greedy or wanted.outcomes) and tally.one_reply,
        seeds_ignored="" if cell.greedy else seeds_ignored,
        shown=(
            ShownReply(
                trials=tuple(group),
                transcript=results.opened_store.transcript(group[0].id, checks=cell.checks),
            )
            for group in kept
        ),
        left_out=len(groups) - len(kept),
    )


def _index(row: TrialRow) -> int:
    return row.trial


def _groups(rows: Sequence[TrialRow]) -> list[list[TrialRow]]:
    """Return equal replies together, the most frequent first, then by their first trial."""
    groups: dict[tuple[object, ...], list[TrialRow]] = {}
    for row in rows:
        key = (row.reply_digest, row.outcome, row.kind, row.reason)
        groups.setdefault(key, []).append(row)
    return sorted(groups.values(), key=lambda group: (-len(group), group[0].trial))


def shown_trial(results: Results, trial: int) -> ShownTrial:
    """Return one trial of the one selected cell.

    Raises:
        UsageError: Several cells are selected.
        NothingSelectedError: The cell has no such trial.
        StoreError: The store cannot be read.
    """
    cell, store = _only(results), results.opened_store
    rows = [row for _, row in results.rows()]
    found = next((row for row in rows if row.trial == trial), None)
    if found is None:
        there = ", ".join(str(row.trial) for row in sorted(rows, key=_index)) or "none"
        raise NothingSelectedError(
            f"the cell has no trial {trial}", where=cell.id, hint=f"its trials: {there}"
        )
    launch = next((kept for kept in store.launches() if kept.id == found.launch), None)
    transcript = store.transcript(found.id, checks=cell.checks)
    record = launch.record if launch else None
    return ShownTrial(
        cell=cell,
        row=found,
        transcript=transcript,
        launch=launch,
        reproduction=reproduction(
            transcript,
            record,
            cell.of_plan.launch if cell.of_plan else None,
            Servers(results.prepared.settings).around if results.prepared else None,
        ),
    )


def _only(results: Results) -> ResultCell:
    cells, experiment = results.cells, results.experiment
    if len(cells) == 1:
        return cells[0]
    if not cells:
        raise _nothing(results, "no cell is selected", where=experiment)
    axes = varying_axes(cell.coordinates for cell in cells)
    raise UsageError(
        f"--trial shows a trial of one cell, and {len(cells):,} are selected",
        where=experiment,
        hint=f"narrow them with --where; they differ in {', '.join(axes[:_CELLS_NAMED])}",
    )


def _nothing(results: Results, message: str, *, where: str, hint: str = "") -> NothingSelectedError:
    """Say why nothing can be shown: what is selected may not be measurable at all."""
    if results.cells or not results.not_applicable:
        return NothingSelectedError(message, where=where, hint=hint)
    first = results.not_applicable[0]
    told = f"{message}: what is selected is not applicable ({first.reason})"
    return NothingSelectedError(told, where=where, hint=first.hint)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ShownLaunch:
    """A launch run, and how many of the selected trials it measured."""

    launch: StoredLaunch
    trials: int


def shown_launches(results: Results) -> list[ShownLaunch]:
    """Return the launch runs behind the selected cells, oldest first.

    Those whose trials count are among them, of whichever experiment they were; and those of this
    experiment's launches that measured nothing, for they say why.

    Raises:
        NothingSelectedError: No launch is selected.
        StoreError: The store cannot be read.
    """
    trials: dict[int, set[int]] = {}
    for _, row in results.rows():
        trials.setdefault(row.launch, set()).add(row.id)
    wanted = {(cell.launch, cell.launch_digest) for cell in results.cells}
    shown = [
        ShownLaunch(launch=launch, trials=len(trials.get(launch.id, ())))
        for launch in results.opened_store.launches()
        if launch.id in trials
        or (
            launch.record.experiment == results.experiment
            and (launch.record.name, launch.record.digest) in wanted
        )
    ]
    if not shown:
        raise NothingSelectedError(
            f"no launch of {results.experiment} has run for the selected cells",
            where=str(results.place),
        )
    return shown
