"""One cell's trials, counted and summarized while they stream by."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from math import floor, nan
from statistics import fmean
from typing import TYPE_CHECKING

from matrixbench.records import Kind, Outcome
from matrixbench.stats import wilson_interval
from matrixbench.stats.sequential import sequential_interval

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matrixbench.plan.cells import Coordinates, NotApplicable
    from matrixbench.stats.sequential import Precision
    from matrixbench.store.rows import TrialRow


class CellStatus(StrEnum):
    """What is known of a cell."""

    MEASURED = "measured"
    PARTIAL = "partial"
    EMPTY = "empty"
    NOT_APPLICABLE = "not_applicable"


class IntervalKind(StrEnum):
    """Which interval a cell has."""

    WILSON = "wilson"
    SEQUENTIAL = "sequential"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Square:
    """A cell of the plan, and the one build that it is shown for.

    Args:
        cell: The cell's id.
        coordinates: Axis → value.
        build: The build whose trials count; None where nothing has run. To show several builds
            beside each other give one square for each, with the same cell.
        unverified: Why the build may not be what the backend has now; empty where it is.
        planned: How many trials the cell should have; where they are adaptive, at most.
        greedy: Whether its sampling is greedy.
        until: When fewer are enough; None where their number is fixed.
    """

    cell: str
    coordinates: Coordinates
    build: str | None
    planned: int
    unverified: str = ""
    greedy: bool = False
    until: Precision | None = None


@dataclass(slots=True, eq=False)
class Tally:
    """What is kept of the trials of one cell while they stream by."""

    outcomes: Counter[str] = field(default_factory=Counter)
    launches: set[int] = field(default_factory=set)
    by_request: int = 0
    replies: Counter[str] = field(default_factory=Counter)
    failures: Counter[tuple[str, str]] = field(default_factory=Counter)
    errors: Counter[tuple[str, str]] = field(default_factory=Counter)
    noted: Counter[str] = field(default_factory=Counter)
    scores: list[float] = field(default_factory=list)
    measures: dict[str, list[float]] = field(default_factory=dict)

    def add(self, trial: TrialRow) -> None:
        """Count a trial."""
        self.outcomes[trial.outcome] += 1
        self.launches.add(trial.launch)
        if trial.outcome == Outcome.ERRORED:
            self.errors[trial.kind or "", trial.reason] += 1
            return
        if trial.outcome != Outcome.PASSED:
            self.failures[trial.kind or "", trial.reason] += 1
        if trial.reply_digest is not None:
            self.replies[trial.reply_digest] += 1
        if trial.noted:
            self.noted.update(trial.noted.split())
        if trial.score is not None:
            self.scores.append(trial.score)
        if trial.by_request:
            self.by_request += 1
            return
        for name in _MEASURES:
            if (value := getattr(trial, name)) is not None:
                self.measures.setdefault(name, []).append(value)


_MEASURES: Mapping[str, tuple[str, str | None]] = {
    "latency_s": ("latency_p50_s", "latency_p90_s"),
    "time_to_first_token_s": ("time_to_first_token_p50_s", "time_to_first_token_p90_s"),
    "token_gap_p50_s": ("token_gap_p50_s", "token_gap_p90_s"),
    "token_gap_max_s": ("token_gap_max_p50_s", "token_gap_max_p90_s"),
    "prompt_tokens_per_s": ("prompt_tokens_per_s", "prompt_tokens_per_s_p90"),
    "completion_tokens_per_s": ("completion_tokens_per_s", "completion_tokens_per_s_p90"),
    "completion_tokens": ("completion_tokens", None),
}
"""Field of a trial → the columns of its median and of its 90th percentile."""


def plain(value: object) -> object:
    """Return a value as tables hold it: an enumeration's as its text."""
    return value.value if isinstance(value, StrEnum) else value


def summary(square: Square, tally: Tally) -> dict[str, object]:
    """Return what `columns.COLUMNS` names of a cell that applies."""
    passed, rejected = tally.outcomes[Outcome.PASSED], tally.outcomes[Outcome.REJECTED]
    n = tally.outcomes.total() - tally.outcomes[Outcome.ERRORED]
    # One that is understood stands at once; of others a second one stands, for the first as well.
    by_request = 0 < n == rejected and tally.by_request > 0
    repeats = not (square.greedy or by_request)
    until = square.until if repeats else None
    stopped = until is not None and n < square.planned and until.reached(passed, n)
    which = IntervalKind.WILSON if until is None else IntervalKind.SEQUENTIAL
    low, high = _interval(passed, n, which) if repeats else (nan, nan)
    kind, count, reason = _most_frequent(tally.failures or tally.errors)
    return {
        "cell": square.cell,
        "build": square.build,
        "unverified": (square.unverified if tally.outcomes else "") or None,
        "launches": " ".join(map(str, sorted(tally.launches))) or None,
        "status": _status(n, 1 if by_request else n if stopped else square.planned),
        "reason": None,
        "hint": None,
        "greedy": square.greedy,
        "by_request": by_request,
        "planned": square.planned,
        "stopped": stopped,
        "trials": n,
        "passed": passed,
        "failed": tally.outcomes[Outcome.FAILED],
        "rejected": rejected,
        "errored": tally.outcomes[Outcome.ERRORED],
        "success_ratio": passed / n if n else nan,
        "low": low,
        "high": high,
        "interval": which.value if repeats else None,
        "success_ratio_without_rejected": passed / (n - rejected) if n > rejected else nan,
        "score": fmean(tally.scores) if tally.scores else nan,
        "distinct": len(tally.replies),
        "one_reply": not square.greedy and len(tally.replies) == 1 < tally.replies.total() == n,
        "reasoning_in_content": tally.noted[Kind.REASONING_IN_CONTENT],
        "call_in_content": tally.noted[Kind.CALL_IN_CONTENT],
        "top_kind": plain(kind),
        "top_count": count,
        "top_reason": reason,
        **_percentiles(tally.measures),
    }


def not_applicable(cell: NotApplicable) -> dict[str, object]:
    """Return what `columns.COLUMNS` names of a cell that does not apply."""
    empty = Square(cell="", coordinates=cell.coordinates, build=None, planned=0)
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


@lru_cache(maxsize=4096)
def _interval(passed: int, n: int, which: IntervalKind) -> tuple[float, float]:
    sequential = which is IntervalKind.SEQUENTIAL
    interval = sequential_interval(passed, n) if sequential else wilson_interval(passed, n)
    return interval.low, interval.high


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


def _percentiles(measures: Mapping[str, list[float]]) -> dict[str, float]:
    found: dict[str, float] = {}
    for name, (middle, upper) in _MEASURES.items():
        ordered = sorted(measures.get(name, ()))
        found[middle] = _quantile(ordered, 0.5)
        if upper is not None:
            found[upper] = _quantile(ordered, 0.9)
    return found


def _quantile(ordered: Sequence[float], share: float) -> float:
    """Interpolate linearly between order statistics: type 7 of Hyndman and Fan (1996)."""
    if not ordered:
        return nan
    position = (len(ordered) - 1) * share
    below = floor(position)
    above = min(below + 1, len(ordered) - 1)
    return float(ordered[below] + (ordered[above] - ordered[below]) * (position - below))
