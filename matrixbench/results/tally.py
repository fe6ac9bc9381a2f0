"""One cell's trials, counted and summarized while they stream by: ratios, intervals, speeds."""

from __future__ import annotations

from array import array
from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from math import floor, nan
from statistics import fmean
from sys import intern
from typing import TYPE_CHECKING, Any, TypeAlias

from matrixbench.plan.cells import load_in, load_text
from matrixbench.records import Kind, Outcome
from matrixbench.stats.proportions import exact_interval, jeffreys_interval, wilson_interval
from matrixbench.stats.sequential import sequential_interval

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from matrixbench.execution.canary import LaunchKey
    from matrixbench.plan.cells import Cell, NotApplicable
    from matrixbench.spec.axes import Coordinates
    from matrixbench.stats.sequential import Precision
    from matrixbench.store.rows import TrialRow


class IntervalKind(StrEnum):
    """Which interval a cell has."""

    WILSON = "wilson"
    JEFFREYS = "jeffreys"
    EXACT = "exact"
    SEQUENTIAL = "sequential"


_FIXED = {
    IntervalKind.WILSON: wilson_interval,
    IntervalKind.JEFFREYS: jeffreys_interval,
    IntervalKind.EXACT: exact_interval,
}


@lru_cache(maxsize=4096)
def ends_of(passed: float, n: int, kind: IntervalKind) -> tuple[float, float]:
    """Return the ends of the 95 % interval of `passed` of `n`; those of nothing are 0 and 1.

    Args:
        passed: How many passed; not whole where several trials are one draw.
        n: How many trials, or draws.
        kind: Which interval. A sequential one needs whole counts.
    """
    if kind is IntervalKind.SEQUENTIAL:
        interval = sequential_interval(int(passed), n)
    else:
        interval = _FIXED[kind](passed, n)
    return interval.low, interval.high


_MEASURES: Mapping[str, tuple[str, str | None]] = {
    "latency_s": ("latency_p50_s", "latency_p90_s"),
    "time_to_first_token_s": ("time_to_first_token_p50_s", "time_to_first_token_p90_s"),
    "token_gap_p50_s": ("token_gap_p50_s", "token_gap_p90_s"),
    "token_gap_max_s": ("token_gap_max_p50_s", "token_gap_max_p90_s"),
    "prompt_tokens_per_s": ("prompt_tokens_per_s", "prompt_tokens_per_s_p90"),
    "completion_tokens_per_s": ("completion_tokens_per_s", "completion_tokens_per_s_p90"),
    "completion_tokens": ("completion_tokens", None),
    "computed_tokens": ("computed_tokens", None),
}
"""Field of a trial → the columns of its median and of its 90th percentile."""


_OF_ALL = frozenset({"completion_tokens"})
"""Columns that no load changes: every trial that counts is in them."""


@dataclass(slots=True, eq=False)
class Measures:
    """What was measured of some trials while they stream by."""

    trials: int = 0
    values: dict[str, list[float]] = field(default_factory=dict)
    cached: int = 0
    prompt: int = 0
    accepted: int = 0
    drafted: int = 0

    def add(self, trial: TrialRow) -> None:
        """Take a trial's figures."""
        self.trials += 1
        for name in _MEASURES:
            if (value := getattr(trial, name)) is not None:
                self.values.setdefault(name, []).append(value)
        if trial.cached_share is not None:
            self.cached += trial.cached_tokens or 0
            self.prompt += (trial.cached_tokens or 0) + (trial.computed_tokens or 0)
        if trial.draft_accepted_share is not None:
            self.accepted += trial.draft_accepted_tokens or 0
            self.drafted += trial.draft_tokens or 0

    def medians(self) -> dict[str, float]:
        """Return the medians and 90th percentiles; what was not measured is no number."""
        found: dict[str, float] = {}
        for name, (middle, upper) in _MEASURES.items():
            ordered = sorted(self.values.get(name, ()))
            found[middle] = _quantile(ordered, 0.5)
            if upper is not None:
                found[upper] = _quantile(ordered, 0.9)
        return found


Group: TypeAlias = "tuple[str | None, int | None]"
"""The key of the load that trials ran under, and how many requests at a time were really sent."""


@dataclass(slots=True, eq=False)
class Speeds:
    """The figures of a cell's trials, those of each load by themselves."""

    groups: dict[Group, Measures] = field(default_factory=dict)

    def add(self, trial: TrialRow) -> None:
        """Take a trial's figures."""
        group = group_of(trial)
        if (measures := self.groups.get(group)) is None:
            measures = self.groups[group] = Measures()
        measures.add(trial)

    def columns(self, cell: ResultCell, in_force: int | None) -> dict[str, object]:
        """Return the columns of `tables.COLUMNS` that they give; missing ones are no numbers."""
        group = own_group(self.groups, cell, in_force)
        own = Measures() if group is None else self.groups[group]
        every = self.groups.values()
        drafted = sum(measures.drafted for measures in every)
        found = own.medians()
        if group is None or len(self.groups) > 1:
            found |= {name: _median_of(every, name) for name in _OF_ALL}
        return {
            "speed_trials": own.trials,
            "concurrency_in_force": None if group is None else group[1],
            "speed_reason": _why_none(self.groups, cell, in_force) if group is None else None,
            **found,
            "cached_share": own.cached / own.prompt if own.prompt else nan,
            "draft_accepted_share": (
                sum(measures.accepted for measures in every) / drafted if drafted else nan
            ),
        }


def group_of(trial: TrialRow) -> Group:
    """Return under what a trial ran."""
    return trial.load, None if trial.load is None else trial.concurrency


def own_group(groups: Collection[Group], cell: ResultCell, in_force: int | None) -> Group | None:
    """Return the trials whose times are those of a cell's own load; None where there are none.

    A server is sent fewer requests at a time than its load says where fewer trials were left to
    run. The trials of such a batch are no part of a launch's times where others ran in a larger
    one. Trials of which no load is known, since an older version stored them, count where there are
    no others and no other launch of the file could have run them.
    """
    own = cell.load, in_force
    if own in groups:
        return own
    if load_in(cell.id) is None and not any(load == cell.load for load, _ in groups):
        return next((group for group in groups if group == (None, None)), None)
    return None


def most_at_a_time(
    cells: Iterable[tuple[ResultCell, Iterable[Group]]],
) -> dict[tuple[str, str | None], int]:
    """Return launch and build → how many requests at a time their load's trials were sent at most.

    Cells of one launch are compared with each other: all take the trials of the largest batches.
    """
    most: dict[tuple[str, str | None], int] = {}
    for cell, groups in cells:
        key = cell.launch, cell.build
        for load, concurrency in groups:
            if load is not None and load == cell.load and concurrency is not None:
                most[key] = max(most.get(key, 0), concurrency)
    return most


def _why_none(groups: Collection[Group], cell: ResultCell, in_force: int | None) -> str | None:
    if not groups:
        return None
    way = "--fresh measures it anew"
    if any(load == cell.load for load, _ in groups):
        sent = max(concurrency or 0 for load, concurrency in groups if load == cell.load)
        return f"its trials were sent {sent} at a time, others of its launch {in_force}: {way}"
    loads = sorted({load for load, _ in groups if load is not None})
    if not loads:
        return f"it is not known under which load its trials ran: {way}"
    ran = " or ".join(map(load_text, loads))
    own = "a load that is not known" if cell.load is None else load_text(cell.load)
    return f"its trials ran {ran}, this is {own}: {way}"


def _median_of(every: Iterable[Measures], name: str) -> float:
    return _quantile(sorted(value for one in every for value in one.values.get(name, ())), 0.5)


def _quantile(ordered: Sequence[float], share: float) -> float:
    """Interpolate linearly between order statistics: type 7 of Hyndman and Fan (1996)."""
    if not ordered:
        return nan
    position = (len(ordered) - 1) * share
    below = floor(position)
    above = min(below + 1, len(ordered) - 1)
    return float(ordered[below] + (ordered[above] - ordered[below]) * (position - below))


class CellStatus(StrEnum):
    """What is known of a cell."""

    MEASURED = "measured"
    PARTIAL = "partial"
    EMPTY = "empty"
    NOT_APPLICABLE = "not_applicable"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ResultCell:
    """A cell, and the one build that it is shown for.

    Args:
        build: The build whose trials count; None where nothing has run. To show several builds
            beside each other give one for each, with the same id.
        planned: How many trials the cell should have; where they are adaptive, at most.
        unverified: Why the build may not be what the backend has now; empty where it is.
        greedy: Whether its sampling is greedy.
        until: When fewer are enough; None where their number is fixed.
        load: The key of the load that it is measured under (`plan.cells`); None where that is not
            known.
        first_seed: The seed of trial 0.
        luck: That seed where other tests have the same seeds; None where none has.
        checks: Digest of its present checks; empty where they are not known: then the newest
            judgement counts.
        of_plan: The cell of the plan; None where only the store knows it.
        unjudged: Why replies of it are not judged by the present checks; empty where all are.
    """

    id: str
    coordinates: Coordinates
    build: str | None
    planned: int
    unverified: str = ""
    greedy: bool = False
    until: Precision | None = None
    launch: str = ""
    launch_digest: str = ""
    load: str | None = None
    first_seed: int = 0
    luck: int | None = None
    checks: str = ""
    of_plan: Cell | None = None
    imported: bool = False
    unjudged: str = ""

    @property
    def key(self) -> LaunchKey:
        """Its launch, under the build that it is shown for."""
        return self.launch_digest, self.build


@dataclass(slots=True, eq=False)
class Tally:
    """What is kept of the trials of one cell while they stream by.

    Args:
        first_seed: The seed of trial 0.
        measured: Bit i stands for trial i, and says whether it has a verdict.
        passes: The same for those that passed.
        unmeasured: The same for those that were asked and have no verdict.
        counted: The trials with a verdict, as they came.
        digests: Digests of their replies; None for a refusal.
        by_request: How many the request alone decided.
        failures: Kind and reason → trials that count and did not pass.
        errors: Kind and reason → trials without a verdict.
        newest_errors: Kind → number and reason of the newest of these.
        asked_again: Number of a trial that was asked more than once → why, as the store has it.
        noted: What was noticed of replies → in how many.
    """

    first_seed: int = 0
    measured: int = 0
    passes: int = 0
    unmeasured: int = 0
    outcomes: Counter[Outcome] = field(default_factory=Counter)
    counted: array[int] = field(default_factory=lambda: array("Q"))
    digests: list[str | None] = field(default_factory=list)
    by_request: int = 0
    failures: Counter[tuple[str, str]] = field(default_factory=Counter)
    errors: Counter[tuple[str, str]] = field(default_factory=Counter)
    newest_errors: dict[str, tuple[int, str]] = field(default_factory=dict)
    asked_again: dict[int, str] = field(default_factory=dict)
    launches: set[int] = field(default_factory=set)
    noted: Counter[str] = field(default_factory=Counter)
    scores: list[float] = field(default_factory=list)
    speeds: Speeds = field(default_factory=Speeds)

    def add(self, trial: TrialRow) -> None:
        """Count a trial."""
        outcome, bit = trial.outcome, 1 << trial.trial
        self.first_seed = trial.seed - trial.trial
        self.outcomes[outcome] += 1
        self.launches.add(trial.launch)
        if trial.asked_again:
            self.asked_again[trial.id] = trial.asked_again
        if outcome is Outcome.ERRORED:
            kind = trial.kind or ""
            self.unmeasured |= bit
            self.errors[kind, trial.reason] += 1
            self.newest_errors[kind] = trial.id, trial.reason
            return
        self.measured |= bit
        if outcome is Outcome.PASSED:
            self.passes |= bit
        else:
            self.failures[trial.kind or "", trial.reason] += 1
        digest = trial.reply_digest
        self.counted.append(trial.trial)
        self.digests.append(None if digest is None else intern(digest))
        if trial.noted:
            self.noted.update(trial.noted.split())
        if trial.score is not None:
            self.scores.append(trial.score)
        if trial.by_request:
            self.by_request += 1
        else:
            self.speeds.add(trial)

    @property
    def trials(self) -> int:
        """How many trials count."""
        return len(self.digests)

    @property
    def asked(self) -> int:
        """How many rounds it takes to come to the last trial that was asked."""
        return max(self.measured.bit_length(), self.unmeasured.bit_length())

    @property
    def replies(self) -> dict[int, str | None]:
        """Trial that counts → digest of its reply; None for a refusal."""
        return dict(zip(self.counted, self.digests, strict=True))

    @property
    def distinct(self) -> int:
        """How many different replies there are."""
        return len(set(self.digests) - {None})

    @property
    def one_reply(self) -> bool:
        """Whether several trials count, and all gave one and the same reply."""
        return len(self.digests) > 1 == len(set(self.digests)) and None not in self.digests

    def by_seed(self, *, one: bool = False) -> dict[int, bool]:
        """Return seed → whether the trial passed; of the first one only, where one says it all."""
        measured, found = self.measured, {}
        while measured:
            low = (measured & -measured).bit_length() - 1
            found[self.first_seed + low] = bool(self.passes >> low & 1)
            if one:
                break
            measured &= measured - 1
        return found

    def by_trial(self) -> str:
        """Return 1, 0 or - for each trial: passed, did not pass, does not count."""
        signs = {(True, True): "1", (True, False): "0", (False, False): "-"}
        return "".join(
            signs[bool(self.measured >> place & 1), bool(self.passes >> place & 1)]
            for place in range(self.measured.bit_length())
        )

    def bits(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return for each index 1 where the trial counts, and 1 where it passed, else 0."""
        measured, passed = as_bits(self.measured), as_bits(self.passes)
        found = measured * 0  # as long: the last trials need not have passed
        found[: len(passed)] = passed
        return measured, found


def tallied(trials: Iterable[TrialRow]) -> Tally:
    """Return the tally of some trials."""
    tally = Tally()
    for trial in trials:
        tally.add(trial)
    return tally


def as_bits(mask: int) -> NDArray[np.float64]:
    """Return the bits of a mask as numbers, bit 0 first, in whole bytes of them."""
    import numpy as np

    held = np.frombuffer(mask.to_bytes(-(-mask.bit_length() // 8), "little"), dtype=np.uint8)
    return np.unpackbits(held, bitorder="little").astype(np.float64)


def luck_of(row: Mapping[str, Any]) -> int | None:
    """Return the seed of trial 0 where other tests have a cell's seeds, from its row of a table."""
    told = row.get("shared_luck")
    return int(told.partition(":")[0]) if isinstance(told, str) else None


def one_draw(row: Mapping[str, Any]) -> bool:
    """Return whether all trials of a cell are one draw of chance, from its row of a table."""
    return isinstance(row.get("seeds_ignored"), str)


def plain(value: object) -> object:
    """Return a value as tables hold it: an enumeration's as its text."""
    return value.value if isinstance(value, StrEnum) else value


def summary(
    cell: ResultCell,
    tally: Tally,
    *,
    in_force: int | None = None,
    seeds_ignored: str = "",
    interval: IntervalKind = IntervalKind.WILSON,
) -> dict[str, object]:
    """Return what `tables.COLUMNS` names of a cell that applies.

    Args:
        in_force: How many requests at a time its launch was sent at most.
        seeds_ignored: What shows that its launch ignores seeds; empty where nothing does.
        interval: Which interval it has where its trials are a fixed number.
    """
    n, passed, rejected = (
        tally.trials,
        tally.outcomes[Outcome.PASSED],
        tally.outcomes[Outcome.REJECTED],
    )
    # One that is understood stands at once; of others a second one stands, for the first as well.
    by_request = 0 < n == rejected and tally.by_request > 0
    repeats = not (cell.greedy or by_request)
    until = cell.until if repeats else None
    stopped = until is not None and n < cell.planned and until.reached(passed, n)
    one_draw = bool(seeds_ignored) and repeats and n > 0
    draws = 1 if one_draw else n
    # One draw is one draw, whatever made its repeats that many.
    which = interval if until is None or one_draw else IntervalKind.SEQUENTIAL
    low, high = nan, nan
    if repeats:
        low, high = ends_of(passed / n if one_draw else passed, draws, which)
    kind, count, reason = _most_frequent(tally.failures or tally.errors)
    return {
        "cell": cell.id,
        "build": cell.build,
        "unverified": (cell.unverified if tally.outcomes else "") or None,
        "launches": " ".join(map(str, sorted(tally.launches))) or None,
        "status": _status(n, 1 if by_request else n if stopped else cell.planned),
        "reason": None,
        "hint": None,
        "greedy": cell.greedy,
        "by_request": by_request,
        "planned": cell.planned,
        "stopped": stopped,
        "adaptive": until is not None and n > 0 and not one_draw,
        "trials": n,
        "draws": draws,
        "passed": passed,
        "failed": tally.outcomes[Outcome.FAILED],
        "rejected": rejected,
        "errored": tally.outcomes[Outcome.ERRORED],
        "success_ratio": passed / n if n else nan,
        "low": low,
        "high": high,
        "interval": which.value if repeats else None,
        "shared_luck": None if cell.luck is None else f"{cell.luck}:{tally.by_trial()}",
        "success_ratio_without_rejected": passed / (n - rejected) if n > rejected else nan,
        "score": fmean(tally.scores) if tally.scores else nan,
        "distinct": tally.distinct,
        "one_reply": tally.one_reply and not cell.greedy,
        "seeds_ignored": seeds_ignored if one_draw else None,
        "reasoning_in_content": tally.noted[Kind.REASONING_IN_CONTENT],
        "call_in_content": tally.noted[Kind.CALL_IN_CONTENT],
        "top_kind": plain(kind),
        "top_count": count,
        "top_reason": reason,
        **tally.speeds.columns(cell, in_force),
    }


def not_applicable(cell: NotApplicable) -> dict[str, object]:
    """Return what `tables.COLUMNS` names of a cell that does not apply."""
    empty = ResultCell(id="", coordinates=cell.coordinates, build=None, planned=0)
    return {
        **summary(empty, Tally()),
        "cell": None,
        "status": CellStatus.NOT_APPLICABLE.value,
        "reason": cell.reason,
        "hint": cell.hint,
        "low": nan,
        "high": nan,
        "interval": None,
    }


def _status(n: int, wanted: int) -> str:
    if n == 0:
        return CellStatus.EMPTY.value
    return (CellStatus.MEASURED if n >= wanted else CellStatus.PARTIAL).value


def _most_frequent(found: Counter[tuple[str, str]]) -> tuple[str | None, int, str | None]:
    """Return the most frequent kind, how often it occurs, and its most frequent reason."""
    if not found:
        return None, 0, None
    kinds: Counter[str] = Counter()
    for (kind, _), count in found.items():
        kinds[kind] += count
    top, total = kinds.most_common(1)[0]
    reason = max((key for key in found if key[0] == top), key=found.__getitem__)[1]
    return top, total, reason
