"""Which cells need no more trials, and which launches are shown to ignore seeds."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from matrixbench.plan.cells import NOTHING
from matrixbench.plan.planner import CellWork
from matrixbench.records import Outcome
from matrixbench.run.events import TrialsSpared
from matrixbench.run.inspection import CANARY
from matrixbench.run.trials import interleave

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from matrixbench.plan.cells import Cell, CellProgress
    from matrixbench.records import JsonObject, Trial
    from matrixbench.run.events import Listener
    from matrixbench.run.trials import Sink, Task
    from matrixbench.stats.sequential import Precision
    from matrixbench.store.database import Store
    from matrixbench.store.outcomes import Judges
    from matrixbench.store.rows import SeedReplies


@dataclass(slots=True, eq=False)
class _Counts:
    """What is known of a cell: passes and trials by each set of checks, and what is not sent."""

    cell: Cell
    unsent: int
    passes: list[int]
    n: list[int]
    enough: bool = False
    passed_over: bool = False


@dataclass(slots=True, kw_only=True, eq=False)
class Stopping:
    """The cells of a launch whose trials are adaptive; a sink that counts what passes through.

    Args:
        until: When a cell has enough trials.
        judges: The checks that judge a cell's trials; cells without any never stop early.
        launch: The launch's name.
        sink: Where the trials go.
        tell: Is told whenever trials become needless, or needful again.
    """

    until: Precision
    judges: Judges
    launch: str
    sink: Sink
    tell: Listener
    _counts: dict[str, _Counts] = field(default_factory=dict)

    def begin(self, work: Sequence[CellWork], known: Mapping[str, CellProgress]) -> None:
        """Take over the cells that have trials to run, with what is known of them."""
        for item in work:
            if digests := self.judges.cells.get(item.cell.id):
                judged = known.get(item.cell.id, NOTHING).judged
                self._counts[item.cell.id] = _Counts(
                    cell=item.cell,
                    unsent=item.todo,
                    passes=[one.passes for one in judged] or [0] * len(digests),
                    n=[one.n for one in judged] or [0] * len(digests),
                )

    def tasks(self, work: Sequence[CellWork], seed: int) -> Iterator[Task]:
        """Yield the trials in rounds, as `interleave` does, those of cells with enough left out.

        A cell that was passed over once is so until the end: `rest` has what it lacks then.
        """
        for task in interleave(work, seed):
            counts = self._counts.get(task.cell.id)
            if counts is None:
                yield task
            elif counts.enough or counts.passed_over:
                counts.passed_over = True
            else:
                counts.unsent &= ~(1 << task.trial)
                yield task

    def rest(self) -> list[CellWork]:
        """Return the cells that were passed over, and lack something after all."""
        found = [one for one in self._counts.values() if one.passed_over and not one.enough]
        for counts in found:
            counts.passed_over = False
        return [CellWork(counts.cell, counts.unsent) for counts in found]

    async def put(self, trial: Trial, body: JsonObject | None = None) -> None:
        """Count a trial, and hand it on."""
        if counts := self._counts.get(trial.key.cell):
            self._count(counts, trial)
        await self.sink.put(trial, body)

    def _count(self, counts: _Counts, trial: Trial) -> None:
        for place, digest in enumerate(self.judges.cells[trial.key.cell]):
            outcome = trial.judgement.outcome
            if trial.reply is not None and digest != trial.checks:
                outcome = self.judges.judge(digest, trial.reply)
            counts.n[place] += outcome is not Outcome.ERRORED
            counts.passes[place] += outcome is Outcome.PASSED
        before, counts.enough = counts.enough, self._reached(counts)
        if change := counts.enough - before:
            spared = change * counts.unsent.bit_count()
            self.tell(TrialsSpared(launch=self.launch, cells=change, trials=spared))

    def _reached(self, counts: _Counts) -> bool:
        # A cell that has all its trials did not stop: nothing is left to be spared.
        return counts.unsent > 0 and all(map(self.until.reached, counts.passes, counts.n))


LaunchKey: TypeAlias = "tuple[str, str | None]"
"""A launch's digest and a build's id."""

OPEN_TOKENS = 32
"""From so many completion tokens on a reply could have been said otherwise."""

OPEN_TEMPERATURE = 0.7
"""From this temperature on sampling would say it otherwise."""

TOKENS_ALIKE = 256
"""So many tokens, in open-ended replies, must have come again under other seeds: a sampler that
takes the likeliest token with a chance of .985 on average repeats so many in 2 % of cases."""

_NEW_REPLIES = 0.5
"""Where more than this share of a launch's later open-ended replies are new ones, seeds (or
whatever it draws by) do reach its sampling, whatever the canary heard."""

_WIDE_TOP_P, _WIDE_TOP_K, _WIDE_MIN_P = 0.9, 20, 0.1
"""Beyond these sampling is so narrow that replies may be alike for that reason."""

_FORMS = ("tools", "response_format", "json_schema", "grammar", "format")
"""Fields that give a reply its form; models are sure of forms."""

BY_CANARY = "the canary's two seeds gave one reply, and one seed repeats"
BY_REPLIES = "none of its open-ended requests ever got two different replies"


def ignoring(store: Store, launches: Mapping[LaunchKey, bool]) -> dict[LaunchKey, str]:
    """Return the launches that are shown to ignore seeds, each with what shows it.

    Of several canaries of a launch and build the newest that found it out counts.

    Args:
        store: The store.
        launches: The launches to look at → whether trials of theirs are known already in which two
            seeds gave two replies. It spares reading all of the store's trials.

    Raises:
        StoreError: The store cannot be read.
    """
    heard = _canaries(store, launches)
    doubtful = [
        launch
        for launch, two_replies in launches.items()
        if heard.get(launch) is False or (launch not in heard and not two_replies)
    ]
    if not doubtful:
        return {}
    said: dict[LaunchKey, list[SeedReplies]] = defaultdict(list)
    for found in store.replies_to_seeds(digest for digest, _ in doubtful):
        said[found.launch_digest, found.build].append(found)
    reasons = {launch: shown_by(heard.get(launch), said[launch]) for launch in doubtful}
    return {launch: reason for launch, reason in reasons.items() if reason}


def _canaries(store: Store, launches: Iterable[LaunchKey]) -> dict[LaunchKey, bool]:
    """Return launch → whether seeds reach its sampling; none where no canary found it out."""
    wanted = set(launches)
    found: dict[LaunchKey, bool] = {}
    for note in store.noted(CANARY):
        launch = (note.launch_digest, note.build)
        if launch in wanted and note.value.get("repeatable") is True:
            differ = note.value.get("seeds_differ")
            if isinstance(differ, bool):
                found[launch] = differ
    return found


def shown_by(heard: bool | None, said: Sequence[SeedReplies]) -> str:
    """Return what shows that a launch ignores seeds; empty where nothing does.

    Args:
        heard: Whether its canary found that seeds reach the sampling; None where none found out.
        said: What its trials said to each request.
    """
    opened = [found for found in said if is_open_ended(found)]
    if heard is False:
        later = sum(found.seeds - 1 for found in opened)
        new = sum(found.distinct - 1 for found in opened)
        return "" if new > _NEW_REPLIES * later else BY_CANARY
    alike = sum((found.seeds - 1) * (found.tokens or 0) for found in opened)
    if alike < TOKENS_ALIKE or any(found.distinct > 1 for found in said):
        return ""
    return BY_REPLIES


def is_open_ended(found: SeedReplies) -> bool:
    """Return whether a request's replies could have been said otherwise, and sampling would have.

    They are long enough and hot enough, the sampling is not narrow, and nothing prescribes a form.
    """
    return (
        found.tokens is not None
        and found.tokens >= OPEN_TOKENS
        and _number(found.body, "temperature", 0.0) >= OPEN_TEMPERATURE
        and _number(found.body, "top_p", 1.0) >= _WIDE_TOP_P
        and (_number(found.body, "top_k", 0.0) <= 0 or found.body["top_k"] >= _WIDE_TOP_K)
        and _number(found.body, "min_p", 0.0) <= _WIDE_MIN_P
        and not any(found.body.get(form) for form in _FORMS)
    )


def _number(body: JsonObject, name: str, default: float) -> float:
    value = body.get(name)
    return float(value) if isinstance(value, (int, float)) else default
