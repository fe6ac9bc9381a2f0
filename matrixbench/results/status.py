"""How far an experiment is: what is done, what remains, and what could not be measured."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from matrixbench.records import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from matrixbench.plan.planner import LaunchPlan, Plan
    from matrixbench.results.experiment import Results
    from matrixbench.results.tally import ResultCell, Tally


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
        kinds: Kind of an answer after which it was sent again → how often, most frequent first.
    """

    trials: int = 0
    kinds: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LaunchStatus:
    """What has become of one launch.

    Args:
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
        outcomes: Outcome → trials, each trial once.
        one_reply: Cells whose several trials gave one reply although their sampling is not
            greedy, with how many trials.
    """

    plan: Plan
    outcomes: Mapping[Outcome, int]
    unmeasured: tuple[Unmeasured, ...]
    asked_again: AskedAgain
    one_reply: tuple[tuple[ResultCell, int], ...]
    launches: tuple[LaunchStatus, ...]


def status_of(results: Results) -> Status:
    """Return how far an experiment is, of results of its file; starts and fetches nothing.

    Raises:
        StoreError: The store cannot be read.
    """
    assert results.prepared is not None  # noqa: S101  results of a file have their plan
    plan = results.prepared.plan
    once = dict.fromkeys(results.tallies.values())
    by_launch: dict[str, Counter[Outcome]] = {}
    ignored: dict[tuple[str, str], str] = {}
    for cell, tally in results.tallies.items():
        by_launch.setdefault(cell.launch, Counter()).update(tally.outcomes)
        ignored[cell.launch, cell.launch_digest] = results.seeds_ignored.get(cell.key, "")
    return Status(
        plan=plan,
        outcomes=_ordered(sum((tally.outcomes for tally in once), Counter())),
        unmeasured=_unmeasured(once),
        asked_again=_asked_again(once),
        one_reply=tuple(
            (cell, tally.trials)
            for cell, tally in results.tallies.items()
            if tally.one_reply and not cell.greedy
        ),
        launches=tuple(
            LaunchStatus(
                plan=launch,
                outcomes=_ordered(by_launch.get(launch.launch.name, Counter())),
                given_up=results.given_up.get((launch.launch.name, launch.launch.digest), ""),
                seeds_ignored=ignored.get((launch.launch.name, launch.launch.digest), ""),
            )
            for launch in plan.launches
        ),
    )


def _unmeasured(tallies: Iterable[Tally]) -> tuple[Unmeasured, ...]:
    counts: Counter[str] = Counter()
    newest: dict[str, tuple[int, str]] = {}
    for tally in tallies:
        for (kind, _), count in tally.errors.items():
            counts[kind] += count
        for kind, error in tally.newest_errors.items():
            newest[kind] = max(newest.get(kind, error), error)
    return tuple(
        Unmeasured(kind=kind or "unknown", count=count, example=newest[kind][1])
        for kind, count in counts.most_common()
    )


def _asked_again(tallies: Iterable[Tally]) -> AskedAgain:
    # By their number: tests that differ in their checks share a trial, which was asked once.
    why = {number: kinds for tally in tallies for number, kinds in tally.asked_again.items()}
    kinds = Counter(kind for found in why.values() for kind in found.split())
    return AskedAgain(trials=len(why), kinds=dict(kinds.most_common()))


def _ordered(counts: Counter[Outcome]) -> dict[Outcome, int]:
    return {outcome: counts[outcome] for outcome in Outcome if counts[outcome]}
