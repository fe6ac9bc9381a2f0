"""A run that ends once a comparison is decided: some rounds are run, looked at, and run on.

A round is one trial of every cell. The launches are visited in turn, each for the same rounds, so
that all cells have the same trials whenever somebody looks. A visit costs the start of a server.
So the first one goes to where a gate can be decided at all, and each further one to half as many
rounds again. Every second visit goes backwards: what drifts with time thereby hits all launches
about alike.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from matrixbench.execution.events import GateDecided, RoundsStarted, RunStarted, TrialsStored
from matrixbench.execution.launching import Launches

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterator, Sequence

    from matrixbench.execution.events import Event, Listener
    from matrixbench.execution.planning import Prepared
    from matrixbench.execution.summary import Rejection, RunSummary
    from matrixbench.records import Outcome
    from matrixbench.store.database import Store

_FURTHER = 1.5
"""How many times as many rounds there are after a further visit."""


class Gate(Protocol):
    """What decides that there are enough trials."""

    @property
    def first_look(self) -> int:
        """After how many rounds it can be decided at all."""

    def decided(self, store: Store) -> str:
        """Return what it says by now, in a word; empty as long as it is undecided."""


@dataclass(slots=True, kw_only=True, eq=False)
class Visits:
    """The visits of one run.

    Args:
        prepared: The plan of all trials.
        prepare: Gives the plan of some rounds, a fresh start or not.
        store: The open store.
        generation: Gives the generation that new trials belong to.
        tell: Is told of every event.
        stop: Is set to stop in an orderly way.
    """

    prepared: Prepared
    prepare: Callable[[range, bool], Prepared]
    store: Store
    generation: Callable[[], int]
    tell: Listener
    stop: asyncio.Event

    async def run(self, gate: Gate) -> RunSummary:
        """Run rounds until the gate is decided, or none is left.

        A launch that is given up ends the run after its visit: more rounds of the others decide
        nothing.

        Raises:
            ServerError: No server could be used, so that nothing was measured.
            ModelError: The same, for want of a model.
            StoreError: Trials cannot be stored; what was stored is intact.
        """
        plan, most = self.prepared.plan, self.prepared.wanted.trials
        self.tell(
            RunStarted(
                experiment=plan.experiment,
                trials=plan.remaining,
                done=plan.done,
                launches=len(plan.launches),
                adaptive=True,
            )
        )
        fresh = self.prepared.history.fresh
        # A gate that has nothing to compare says so before anything runs, at a fresh start too.
        before = gate.decided(self.store)
        verdict = "" if fresh else before
        done, left = 0, plan.remaining
        parts: list[RunSummary] = []
        for number, rounds in enumerate(visits(gate.first_look, most)):
            if verdict or self.stop.is_set():
                break
            visited = self.prepare(rounds, fresh and not parts)
            done = rounds.stop
            if not visited.plan.remaining and done < most:
                continue
            if visited.plan.remaining:
                self.tell(RoundsStarted(rounds=rounds.stop, most=most))
            launches = Launches(
                visited, self.store, self.generation, self._telling(parts), self.stop
            )
            part = await launches.run(backwards=number % 2 == 1, must_measure=not parts)
            parts.append(part)
            left -= visited.plan.remaining - part.remaining
            if part.failed_launches or part.interrupted:
                break
            verdict = gate.decided(self.store)
        if verdict:
            self.tell(GateDecided(verdict=verdict, rounds=done, most=most, trials=max(0, left)))
        summary = self._summary(parts, verdict, max(0, left))
        return replace(summary, undecided=_undecided(summary, most) if not verdict else "")

    def _telling(self, parts: Sequence[RunSummary]) -> Listener:
        """Return a listener that makes one run of the visits."""
        stored = sum(part.ran for part in parts)

        def tell(event: Event) -> None:
            if isinstance(event, TrialsStored):
                event = replace(event, stored=stored + event.stored)
            if not isinstance(event, RunStarted):
                self.tell(event)

        return tell

    def _summary(self, parts: Sequence[RunSummary], verdict: str, left: int) -> RunSummary:
        nothing = Launches(self.prepared, self.store, self.generation, self.tell, self.stop)
        summary = summed(parts) if parts else nothing.summary(0.0)
        cells = self.prepared.plan.cells if verdict and left else 0
        return replace(
            summary,
            remaining=0 if verdict else left,
            spared=left if verdict else 0,
            stopped=cells,
            decided=verdict,
        )


def _undecided(summary: RunSummary, most: int) -> str:
    """Return why a run ended though its gate is undecided, and what to do; empty if interrupted."""
    if summary.interrupted:
        return ""
    if summary.failed_launches:
        return (
            "more rounds of the others decide nothing as long as a launch is given up: mend it, or "
            "leave it out with --where"
        )
    return f"after all {most:,} rounds: raise max in the file, or look closer with compare --gate"


def visits(first: int, most: int) -> Iterator[range]:
    """Yield the rounds of each visit, from 0: the first `first`, then half as many again."""
    start, end = 0, min(max(first, 1), most)
    while start < most:
        yield range(start, end)
        start, end = end, min(most, max(end + 1, int(end * _FURTHER)))


def summed(parts: Sequence[RunSummary]) -> RunSummary:
    """Return what several runs of one experiment measured together; at least one."""
    outcomes: Counter[Outcome] = Counter()
    failed: dict[str, str] = {}
    errors: dict[str, tuple[int, str]] = {}
    rejections: dict[tuple[str, str], Rejection] = {}
    for part in parts:
        outcomes.update(part.outcomes)
        failed.update(part.failed_launches)
        for kind, (count, reason) in part.errors.items():
            errors[kind] = (errors.get(kind, (0, ""))[0] + count, reason)
        for one in part.rejections:
            key = (one.kind, one.reason)
            known = rejections.get(key, replace(one, trials=0))
            rejections[key] = replace(one, trials=known.trials + one.trials)
    return replace(
        parts[-1],
        ran=sum(part.ran for part in parts),
        outcomes=dict(outcomes),
        failed_launches=failed,
        errors=errors,
        rejections=tuple(sorted(rejections.values(), key=lambda one: -one.trials)),
        interrupted=any(part.interrupted for part in parts),
        seconds=sum(part.seconds for part in parts),
    )
