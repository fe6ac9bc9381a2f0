"""Which trials of a cell were due?

Where their number is fixed, all of them: one look at a declared number needs them all. Where they
are adaptive, those of the rounds that are done, for there one may look at any time; of a cell that
has stopped, those up to its last. What was due and has no verdict is missing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from matrixbench.records import Kind, Outcome

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matrixbench.results import ResultCell, Results
    from matrixbench.store.database import Store
    from matrixbench.store.rows import TrialRow

_Launch: TypeAlias = "tuple[str, str, str | None]"
"""Name, digest and build."""


@dataclass(slots=True, eq=False)
class Tally:
    """The trials of a cell, counted while they stream by.

    Args:
        passed: Seed → whether it passed.
        replies: Seed → digest of the reply; None for a refusal.
        errored: The indices of those that were asked and have no verdict.
        rounds: How many rounds it takes to come to the last that was asked.
        by_request: How many the request alone decided.
        rejected: How many the server refused.
        raised: At how many a check raised.
    """

    passed: dict[int, bool] = field(default_factory=dict)
    replies: dict[int, str | None] = field(default_factory=dict)
    errored: set[int] = field(default_factory=set)
    rounds: int = 0
    by_request: int = 0
    rejected: int = 0
    raised: int = 0

    def add(self, row: TrialRow) -> None:
        """Count a trial."""
        self.rounds = max(self.rounds, row.trial + 1)
        if row.outcome is Outcome.ERRORED:
            self.errored.add(row.trial)
            self.raised += row.kind is Kind.CHECK_RAISED
            return
        self.passed[row.seed] = row.outcome is Outcome.PASSED
        self.replies[row.seed] = row.reply_digest
        self.rejected += row.outcome is Outcome.REJECTED
        self.by_request += row.by_request

    @property
    def stands(self) -> bool:
        """Whether one trial stands for the cell: its request was refused for what it is.

        Where the server has answered the same request as well, that was not the request's fault.
        """
        return bool(self.by_request) and self.rejected == len(self.passed)


class Due:
    """Which trials are due, known once all that were asked are counted.

    Args:
        tallies: The cells, and what was asked of them.
        results: The results that they are of.
        store: The store; asked for launches that were given up.
    """

    def __init__(self, tallies: Mapping[ResultCell, Tally], results: Results, store: Store) -> None:
        self._tallies = tallies
        self._rounds: dict[_Launch, int] = {}
        self._given_up = _given_up(store, results.experiment)
        for cell, tally in tallies.items():
            self._rounds[_launch(cell)] = max(tally.rounds, self._rounds.get(_launch(cell), 0))

    def trials(self, cell: ResultCell) -> range:
        """Return the indices of the trials of a cell that were due."""
        tally, square = self._tallies[cell], cell.square
        if tally.stands:
            return range(0)
        if square.until is None or not tally.passed:
            return range(square.planned)
        passes, n = sum(tally.passed.values()), len(tally.passed)
        if n < square.planned and square.until.reached(passes, n):
            return range(tally.rounds)
        if (cell.launch, cell.launch_digest) in self._given_up:
            return range(square.planned)
        return range(min(square.planned, self._rounds[_launch(cell)]))

    def rounds(self, cell: ResultCell) -> int:
        """Return how many rounds the launch of a cell has come to.

        All of them where it was given up: the rest was not left to be asked later.
        """
        if (cell.launch, cell.launch_digest) in self._given_up:
            return cell.square.planned
        return self._rounds[_launch(cell)]


def _launch(cell: ResultCell) -> _Launch:
    return cell.launch, cell.launch_digest, cell.square.build


def _given_up(store: Store, experiment: str) -> set[tuple[str, str]]:
    """Return name and digest of the launches whose newest run was given up."""
    newest = {
        (launch.record.name, launch.record.digest): launch.error
        for launch in store.launches(experiment)
    }
    return {launch for launch, error in newest.items() if error is not None}
