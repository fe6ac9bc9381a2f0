"""Cells with the trials that count."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from matrixbench.comparison.values import CellPair, Trials
from matrixbench.identity import canonical_json
from matrixbench.plan.values import label
from matrixbench.records import Outcome

if TYPE_CHECKING:
    from matrixbench.results import ResultCell, Results
    from matrixbench.store.database import Store
    from matrixbench.store.rows import TrialRow

_MISSING = "missing"


@dataclass(slots=True, eq=False)
class _Tally:
    passed: dict[int, bool] = field(default_factory=dict)
    replies: dict[int, str | None] = field(default_factory=dict)
    by_request: int = 0
    errored: int = 0

    def add(self, row: TrialRow) -> None:
        if row.outcome is Outcome.ERRORED:
            self.errored += 1
            return
        self.passed[row.seed] = row.outcome is Outcome.PASSED
        self.replies[row.seed] = row.reply_digest
        self.by_request += row.by_request


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
    tallies: dict[ResultCell, _Tally] = {cell: _Tally() for cell in results.cells}
    for cell, row in results.rows(store):
        tallies[cell].add(row)
    return [
        Side(
            cell=cell,
            trials=Trials(
                cell=cell.square.cell,
                build=cell.square.build,
                passed=tally.passed,
                replies=tally.replies,
                by_request=0 < len(tally.passed) == tally.by_request,
                errored=tally.errored,
                adaptive=cell.square.until is not None,
                unverified=cell.square.unverified if tally.passed or tally.errored else "",
            ),
        )
        for cell, tally in tallies.items()
    ]


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
