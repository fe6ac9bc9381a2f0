"""What the selected cells answered, and the launch runs behind them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from matrixbench.errors import NothingSelectedError, UsageError
from matrixbench.records import Outcome
from matrixbench.run.reproduce import Reproduction, reproduction
from matrixbench.run.servers import Servers
from matrixbench.run.stopping import ignoring
from matrixbench.spec.axes import varying_axes
from matrixbench.spec.backends import OllamaBackend

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matrixbench.plan.cells import Launch
    from matrixbench.results.experiment import ResultCell, Results
    from matrixbench.run.stopping import LaunchKey
    from matrixbench.store.database import Store
    from matrixbench.store.rows import StoredLaunch, Transcript, TrialRow

_CELLS_NAMED = 5


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ShownReply:
    """One reply, or several that are equal, with the texts of the first.

    Args:
        trials: The trials that gave it, by index.
        transcript: The first of them, with its texts.
    """

    trials: tuple[TrialRow, ...]
    transcript: Transcript


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ShownCell:
    """A cell and its replies.

    Args:
        cell: The cell.
        trials: How many of its trials are shown, before the limit.
        outcomes: Outcome → how many of them.
        replies: How many of them have a reply whose text is known.
        distinct: How many different replies these gave.
        one_reply: Whether several trials gave one reply although the sampling is not greedy.
        seeds_ignored: What shows that its launch ignores seeds, so that its trials are one draw;
            empty where nothing does, and where the sampling is greedy.
        shown: The replies; with equal ones together the most frequent first.
        left_out: Replies that the limit left out.
    """

    cell: ResultCell
    trials: int
    outcomes: dict[Outcome, int]
    replies: int
    distinct: int
    one_reply: bool
    seeds_ignored: str
    shown: tuple[ShownReply, ...]
    left_out: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ShownTrial:
    """One trial whole.

    Args:
        cell: Its cell.
        row: The trial.
        transcript: What was sent, what came back, and what each check said.
        launch: The launch that it ran in.
        reproduction: The lines that do it again.
    """

    cell: ResultCell
    row: TrialRow
    transcript: Transcript
    launch: StoredLaunch | None
    reproduction: Reproduction


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What is to be shown of each cell.

    Args:
        outcomes: Only trials with these outcomes; none: all.
        distinct: Equal replies once, with their count.
        limit: Replies of each cell, at most; None: all.
    """

    outcomes: tuple[Outcome, ...] = ()
    distinct: bool = False
    limit: int | None = None


def shown_cells(results: Results, store: Store, wish: Wish) -> list[ShownCell]:
    """Return the cells that have a trial to show, in the file's order.

    Raises:
        NothingSelectedError: No trial is selected.
        StoreError: The store cannot be read.
    """
    rows = _rows_by_cell(results, store, wish.outcomes)
    cells = [cell for cell in results.cells if id(cell) in rows]
    two_replies: dict[LaunchKey, bool] = {}
    for cell in cells:
        replies = {row.reply_digest for row in rows[id(cell)]} - {None}
        two_replies[cell.key] = two_replies.get(cell.key, False) or len(replies) > 1
    ignored = ignoring(store, two_replies)
    shown = [_shown(cell, rows[id(cell)], store, wish, ignored.get(cell.key, "")) for cell in cells]
    if not shown:
        found = f"no {' or '.join(wish.outcomes)} trial" if wish.outcomes else "no trial"
        raise _nothing(
            results,
            f"{found} of {results.experiment} is selected",
            where=str(store.path),
            hint="look at --where and --outcome; `matrixbench status` says what has been measured",
        )
    return shown


def shown_trial(results: Results, store: Store, trial: int) -> ShownTrial:
    """Return one trial of the one selected cell.

    Raises:
        UsageError: Several cells are selected.
        NothingSelectedError: The cell has no such trial.
        StoreError: The store cannot be read.
    """
    cell = _only(results)
    rows = [row for owner, row in results.rows(store) if owner is cell]
    found = next((row for row in rows if row.trial == trial), None)
    if found is None:
        there = ", ".join(str(row.trial) for row in sorted(rows, key=_index)) or "none"
        raise NothingSelectedError(
            f"the cell has no trial {trial}", where=cell.square.cell, hint=f"its trials: {there}"
        )
    launch = next((kept for kept in store.launches() if kept.id == found.launch), None)
    transcript = store.transcript(found.id, checks=cell.checks)
    return ShownTrial(
        cell=cell,
        row=found,
        transcript=transcript,
        launch=launch,
        reproduction=reproduction(
            transcript,
            launch.record if launch else None,
            _as_given(results, cell),
        ),
    )


def _as_given(results: Results, cell: ResultCell) -> Launch | None:
    """Return a cell's launch; of Ollama, with the paths in its options as its server got them.

    Those became variables, which no record of the launch holds. Of other servers the command line
    is stored.
    """
    launch = cell.cell.launch if cell.cell else None
    if launch is None or results.prepared is None or not isinstance(launch.spec, OllamaBackend):
        return launch
    return replace(launch, options=Servers(results.prepared.settings).meant(launch).options)


def _index(row: TrialRow) -> int:
    return row.trial


def _only(results: Results) -> ResultCell:
    cells, experiment = results.cells, results.experiment
    if len(cells) == 1:
        return cells[0]
    if not cells:
        raise _nothing(results, "no cell is selected", where=experiment)
    axes = varying_axes(cell.square.coordinates for cell in cells)
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


def _rows_by_cell(
    results: Results, store: Store, outcomes: Sequence[Outcome]
) -> dict[int, list[TrialRow]]:
    rows: dict[int, list[TrialRow]] = {}
    for cell, row in results.rows(store):
        if not outcomes or row.outcome in outcomes:
            rows.setdefault(id(cell), []).append(row)
    return rows


def _shown(
    cell: ResultCell, rows: list[TrialRow], store: Store, wish: Wish, seeds_ignored: str
) -> ShownCell:
    rows.sort(key=_index)
    groups = _groups(rows) if wish.distinct else [[row] for row in rows]
    kept = groups[: wish.limit]
    known = [row.reply_digest for row in rows if row.reply_digest is not None]
    return ShownCell(
        cell=cell,
        trials=len(rows),
        outcomes={
            outcome: count
            for outcome in Outcome
            if (count := sum(row.outcome is outcome for row in rows))
        },
        replies=len(known),
        distinct=len(set(known)),
        one_reply=not (cell.square.greedy or wish.outcomes) and _one_reply(rows),
        seeds_ignored="" if cell.square.greedy else seeds_ignored,
        shown=tuple(
            ShownReply(
                trials=tuple(group),
                transcript=store.transcript(group[0].id, checks=cell.checks),
            )
            for group in kept
        ),
        left_out=len(groups) - len(kept),
    )


def _one_reply(rows: Sequence[TrialRow]) -> bool:
    """Return whether all trials that count, and several do, gave one and the same reply."""
    found = [row.reply_digest for row in rows if row.outcome is not Outcome.ERRORED]
    return len(set(found)) == 1 < len(found) and found[0] is not None


def _groups(rows: Sequence[TrialRow]) -> list[list[TrialRow]]:
    """Return equal replies together, the most frequent first, then by their first trial."""
    groups: dict[tuple[object, ...], list[TrialRow]] = {}
    for row in rows:
        key = (row.reply_digest, row.outcome, row.kind, row.reason)
        groups.setdefault(key, []).append(row)
    return sorted(groups.values(), key=lambda group: (-len(group), group[0].trial))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ShownLaunch:
    """A launch run, and how many of the selected trials it measured."""

    launch: StoredLaunch
    trials: int


def shown_launches(results: Results, store: Store) -> list[ShownLaunch]:
    """Return the launch runs behind the selected cells, oldest first.

    Those whose trials count are among them, of whichever experiment they were; and those of this
    experiment's launches that measured nothing, for they say why.

    Raises:
        NothingSelectedError: No launch is selected.
        StoreError: The store cannot be read.
    """
    trials: dict[int, set[int]] = {}
    for _, row in results.rows(store):
        trials.setdefault(row.launch, set()).add(row.id)
    wanted = {(cell.launch, cell.launch_digest) for cell in results.cells}
    shown = [
        ShownLaunch(launch=launch, trials=len(trials.get(launch.id, ())))
        for launch in store.launches()
        if launch.id in trials
        or (
            launch.record.experiment == results.experiment
            and (launch.record.name, launch.record.digest) in wanted
        )
    ]
    if not shown:
        raise NothingSelectedError(
            f"no launch of {results.experiment} has run for the selected cells",
            where=str(store.path),
        )
    return shown
