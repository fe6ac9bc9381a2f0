"""How far an experiment is: what is done, what remains, and what could not be measured."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from matrixbench.records import Outcome
from matrixbench.run.stopping import ignoring

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from matrixbench.plan.planner import LaunchPlan, Plan
    from matrixbench.results.experiment import ResultCell, Results
    from matrixbench.results.tally import Square
    from matrixbench.run.stopping import LaunchKey
    from matrixbench.store.database import Store
    from matrixbench.store.rows import StoredLaunch, TrialRow

_NO_REPLY = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unmeasured:
    """Trials of one kind in which nothing was measured, with the reason of the newest one."""

    kind: str
    count: int
    example: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedAgain:
    """Trials whose requests were sent more than once, and why.

    Args:
        trials: How many.
        kinds: Kind of an answer after which it was sent again → how often, most frequent first.
    """

    trials: int = 0
    kinds: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LaunchStatus:
    """What has become of one launch.

    Args:
        plan: Its cells, what is done and what remains.
        outcomes: Outcome → trials, in its cells under its build; shared trials are counted in
            each launch that has them.
        given_up: Why its newest run was given up; empty where it was not.
        seeds_ignored: What shows that it ignores seeds, so that all trials of a cell are one draw;
            empty where nothing does.
    """

    plan: LaunchPlan
    outcomes: Mapping[Outcome, int]
    given_up: str = ""
    seeds_ignored: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Status:
    """How far an experiment is.

    Args:
        plan: What is done and what remains.
        outcomes: Outcome → trials, each trial once.
        unmeasured: What could not be measured, most frequent kind first.
        asked_again: What was asked more than once.
        one_reply: Cells whose several trials gave one reply although their sampling is not
            greedy, with how many trials.
        launches: One for each launch, in the file's order.
    """

    plan: Plan
    outcomes: Mapping[Outcome, int]
    unmeasured: tuple[Unmeasured, ...]
    asked_again: AskedAgain
    one_reply: tuple[tuple[Square, int], ...]
    launches: tuple[LaunchStatus, ...]


@dataclass(slots=True)
class _Count:
    """What is counted while trials stream by."""

    seen: set[tuple[int, str]] = field(default_factory=set)
    outcomes: Counter[Outcome] = field(default_factory=Counter)
    by_launch: dict[str, Counter[Outcome]] = field(default_factory=dict)
    errors: Counter[str] = field(default_factory=Counter)
    asked_again: set[int] = field(default_factory=set)
    why_again: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)
    replies: dict[ResultCell, Counter[str]] = field(default_factory=dict)

    def add(self, cell: ResultCell, row: TrialRow) -> None:
        self.by_launch.setdefault(cell.launch, Counter())[row.outcome] += 1
        if row.outcome is not Outcome.ERRORED:
            self.replies.setdefault(cell, Counter())[row.reply_digest or _NO_REPLY] += 1
        # Tests that differ in their checks share a trial, and each has its own outcome of it.
        if (row.id, cell.checks) in self.seen:
            return
        self.seen.add((row.id, cell.checks))
        self.outcomes[row.outcome] += 1
        if row.asked_again and row.id not in self.asked_again:
            self.asked_again.add(row.id)
            self.why_again.update(row.asked_again.split())
        if row.outcome is Outcome.ERRORED:
            kind = row.kind or "unknown"
            self.errors[kind] += 1
            self.examples[kind] = row.reason

    def two_replies(self, results: Results) -> dict[LaunchKey, bool]:
        """Return of which launches some cell has two different replies."""
        found: dict[LaunchKey, bool] = {}
        for cell in results.cells:
            several = len(self.replies.get(cell, Counter()).keys() - {_NO_REPLY}) > 1
            found[cell.key] = found.get(cell.key, False) or several
        return found


def status_of(results: Results, plan: Plan, store: Store | None) -> Status:
    """Return how far an experiment is; reads the store, and starts and fetches nothing.

    Args:
        results: Its cells.
        plan: Its plan.
        store: The store; None where nothing was ever run.

    Raises:
        StoreError: The store cannot be read.
    """
    count = _Count()
    given_up: dict[tuple[str, str], str] = {}
    ignored: dict[tuple[str, str], str] = {}
    if store is not None:
        for cell, row in results.rows(store):
            count.add(cell, row)
        given_up = dict(_given_up(store.launches(plan.experiment)))
        found = ignoring(store, count.two_replies(results))
        ignored = {
            (cell.launch, cell.launch_digest): found.get(cell.key, "") for cell in results.cells
        }
    return Status(
        plan=plan,
        outcomes=_ordered(count.outcomes),
        unmeasured=tuple(
            Unmeasured(kind=kind, count=number, example=count.examples[kind])
            for kind, number in count.errors.most_common()
        ),
        asked_again=AskedAgain(
            trials=len(count.asked_again), kinds=dict(count.why_again.most_common())
        ),
        one_reply=tuple(
            (cell.square, found.total())
            for cell, found in count.replies.items()
            if not cell.square.greedy and len(found) == 1 < found.total() and not found[_NO_REPLY]
        ),
        launches=tuple(
            LaunchStatus(
                plan=launch,
                outcomes=_ordered(count.by_launch.get(launch.launch.name, Counter())),
                given_up=given_up.get((launch.launch.name, launch.launch.digest), ""),
                seeds_ignored=ignored.get((launch.launch.name, launch.launch.digest), ""),
            )
            for launch in plan.launches
        ),
    )


def _ordered(counts: Counter[Outcome]) -> dict[Outcome, int]:
    return {outcome: counts[outcome] for outcome in Outcome if counts[outcome]}


def _given_up(runs: list[StoredLaunch]) -> Iterator[tuple[tuple[str, str], str]]:
    """Yield name and digest of each launch run with its error: of several the newest counts."""
    for run in runs:
        yield (run.record.name, run.record.digest), run.error or ""
