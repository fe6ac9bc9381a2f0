"""Cells with the trials that count."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from matrixbench.comparison.values import CellPair, Trials
from matrixbench.execution.ignored_seeds import ignoring
from matrixbench.identity import canonical_json
from matrixbench.pairing.due import Due, Tally
from matrixbench.plan.values import label

if TYPE_CHECKING:
    from matrixbench.execution.ignored_seeds import LaunchKey
    from matrixbench.results import ResultCell, Results
    from matrixbench.store.database import Store

_MISSING = "missing"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Side:
    """A cell with its trials."""

    cell: ResultCell
    trials: Trials

    def value(self, axis: str) -> str:
        """Return the value of an axis as text that tells values apart."""
        coordinates = self.cell.square.coordinates
        return canonical_json(coordinates[axis]) if axis in coordinates else _MISSING


def under_present_builds(results: Results) -> Results:
    """Return the results with each cell under the build that is there now.

    Results may show the build that ran last as long as the present one has not run. A comparison
    must not: it would pass a build that nobody has measured.
    """
    if results.prepared is None:
        return results
    present = {
        (plan.launch.name, plan.launch.digest): plan.build.build.id
        for plan in results.prepared.plan.launches
        if plan.build.build is not None
    }
    cells = tuple(
        replace(
            cell,
            square=replace(
                cell.square,
                build=present.get((cell.launch, cell.launch_digest), cell.square.build),
            ),
        )
        for cell in results.cells
    )
    return replace(results, cells=cells)


def sides_of(results: Results, store: Store) -> list[Side]:
    """Return the selected cells with their trials, in the file's order."""
    tallies: dict[ResultCell, Tally] = {cell: Tally() for cell in results.cells}
    for cell, row in results.rows(store):
        tallies[cell].add(row)
    due = Due(tallies, results, store)
    two_replies: dict[LaunchKey, bool] = {}
    for cell, tally in tallies.items():
        several = len(set(tally.replies.values()) - {None}) > 1
        two_replies[cell.key] = two_replies.get(cell.key, False) or several
    ignored = ignoring(store, two_replies)
    return [
        Side(cell=cell, trials=_trials(cell, tally, due, ignored.get(cell.key, "")))
        for cell, tally in tallies.items()
    ]


def _trials(cell: ResultCell, tally: Tally, due: Due, seeds_ignored: str) -> Trials:
    lacking = [trial for trial in due.trials(cell) if cell.first_seed + trial not in tally.passed]
    return Trials(
        cell=cell.square.cell,
        build=cell.square.build,
        passed=tally.passed,
        replies=tally.replies,
        by_request=tally.stands,
        missing=frozenset(cell.first_seed + trial for trial in lacking),
        rejected=tally.rejected,
        errored=len(tally.errored),
        raised=tally.raised,
        never_asked=sum(trial not in tally.errored for trial in lacking),
        adaptive=cell.square.until is not None,
        first_seed=cell.first_seed,
        rounds=0 if tally.stands else due.rounds(cell),
        common_seeds=cell.square.luck is not None,
        unverified=cell.square.unverified if tally.passed or tally.errored else "",
        seeds_ignored="" if cell.square.greedy or tally.stands else seeds_ignored,
    )


def pair_of(candidate: Side, baseline: Side) -> CellPair:
    """Return two cells as a pair."""
    up, down = candidate.cell.square, baseline.cell.square
    return CellPair(
        coordinates=up.coordinates,
        test=label(up.coordinates.get("test")),
        candidate=candidate.trials,
        baseline=baseline.trials,
        greedy=(up.greedy, down.greedy),
        planned=max(up.planned, down.planned),
    )


def alone(side: Side, *, candidate: bool) -> CellPair:
    """Return a cell that one side only has, with an empty other side that lacks every trial.

    Args:
        side: The cell.
        candidate: Whether the candidate has it; else the baseline.
    """
    has = side.trials
    square = side.cell.square
    lacks = Trials(
        cell="",
        build=None,
        missing=frozenset({*has.passed, *has.missing}),
        adaptive=has.adaptive,
        first_seed=has.first_seed,
        rounds=has.reached,
        common_seeds=has.common_seeds,
    )
    return CellPair(
        coordinates=square.coordinates,
        test=label(square.coordinates.get("test")),
        candidate=has if candidate else lacks,
        baseline=lacks if candidate else has,
        greedy=(square.greedy, square.greedy),
        planned=square.planned,
    )
