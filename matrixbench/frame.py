"""Tidy pandas tables: one row a cell, one row a trial, a column for every axis.

pandas is imported inside the functions: it costs half a second that `plan` should not pay.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from math import floor, nan
from statistics import median
from typing import TYPE_CHECKING, Any

from matrixbench.plan.values import label
from matrixbench.records import Outcome
from matrixbench.stats import wilson_interval

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pandas import DataFrame

    from matrixbench.plan.cells import Coordinates, NotApplicable
    from matrixbench.store.rows import TrialRow

COLUMNS: Mapping[str, str] = {
    "cell": "The cell's id; missing where the cell is not applicable.",
    "build": "The id of the build whose trials are shown; missing where there is none yet.",
    "status": "measured, partial, empty (no trial counts yet) or not_applicable.",
    "reason": "Why the cell is not applicable; missing otherwise.",
    "hint": "The way out where the cell is not applicable; missing otherwise.",
    "greedy": "Whether the sampling is greedy, so that repeats say nothing new.",
    "by_request": "Whether the request alone decides: one trial stands for the cell.",
    "planned": "How many trials the cell should have.",
    "trials": "How many trials count (n): passed, failed and rejected ones.",
    "passed": "Trials in which every check passed.",
    "failed": "Trials in which the model answered and a check said no, or time ran out.",
    "rejected": "Trials that the server could not turn into a reply; they count.",
    "errored": "Trials in which nothing was measured; they do not count.",
    "success_ratio": "passed / trials, between 0 and 1; missing where no trial counts.",
    "low": "Lower end of Wilson's 95 % interval; 0 where no trial counts; missing where repeats "
    "say nothing new (greedy, by_request) and where the cell is not applicable.",
    "high": "Upper end of the same interval; 1 where no trial counts.",
    "distinct": "How many different replies the trials that count gave.",
    "top_kind": "The most frequent kind of failure; of errors only where nothing else failed.",
    "top_count": "How many trials are of that kind.",
    "top_reason": "The most frequent reason of that kind.",
    "latency_p50_s": "Median latency of the trials that count, in seconds; by_request ones, which "
    "no model answered, left out.",
    "latency_p90_s": "90th percentile of the same latencies, in seconds, linearly interpolated.",
    "time_to_first_token_p50_s": "Median time to the first token, in seconds.",
    "completion_tokens_per_s": "Median rate of completion tokens, in tokens per second.",
    "completion_tokens": "Median number of completion tokens.",
}
"""What stands in each column of `cell_frame` that is not an axis, in the columns' order."""

TRIAL_COLUMNS: Mapping[str, str] = {
    "cell": "The cell's id.",
    "build": "The id of the build that ran.",
    "trial": "The trial's index in its cell, from 0.",
    "seed": "The seed that was sent.",
    "outcome": "passed, failed, rejected or errored.",
    "kind": "The kind of the failure; missing for a trial that passed.",
    "reason": "The failure's reason, one line.",
    "by_request": "Whether the request alone decided the outcome.",
    "latency_s": "From the first byte sent to the last byte received, in seconds.",
    "time_to_first_token_s": "Time to the first token, in seconds.",
    "prompt_tokens": "Number of prompt tokens.",
    "completion_tokens": "Number of completion tokens.",
    "prompt_tokens_per_s": "Rate of prompt processing, in tokens per second.",
    "completion_tokens_per_s": "Rate of completion tokens, in tokens per second.",
    "reply_digest": "Digest of the reply: equal replies have equal digests.",
    "launch": "Number of the launch that it ran in; `show --launch` prints what that was.",
    "imported": "Whether another tool measured it.",
}
"""What stands in each column of `trial_frame` that is not an axis, in the columns' order."""

AXES_ATTR = "axes"
"""Key of `DataFrame.attrs`: axis → the labels of its values, in the file's order."""


class CellStatus(StrEnum):
    """What is known of a cell."""

    MEASURED = "measured"
    PARTIAL = "partial"
    EMPTY = "empty"
    NOT_APPLICABLE = "not_applicable"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Square:
    """A cell of the plan, and the one build that it is shown for.

    Args:
        cell: The cell's id.
        coordinates: Axis → value.
        build: The build whose trials count; None where nothing has run. To show several builds
            beside each other give one square for each, with the same cell.
        planned: How many trials the cell should have.
        greedy: Whether its sampling is greedy.
    """

    cell: str
    coordinates: Coordinates
    build: str | None
    planned: int
    greedy: bool = False


def cell_frame(
    squares: Iterable[Square],
    not_applicable: Iterable[NotApplicable],
    trials: Iterable[TrialRow],
    *,
    axes: Mapping[str, Sequence[Any]] | None = None,
) -> DataFrame:
    """Return one row a cell: its axes, then `COLUMNS`; squares first, in the order given.

    An axis that a cell lacks, and a null one, are None. Trials of cells or builds that no square
    shows are passed over.

    Args:
        squares: The cells that apply.
        not_applicable: The cells that do not.
        trials: The newest attempt of each trial; read once, not kept.
        axes: Axis → its values in the file's order, for charts; default: as they appear.
    """
    shown = list(squares)
    aside = list(not_applicable)
    tallies = {(square.cell, square.build): _Tally() for square in shown}
    for trial in trials:
        if (tally := tallies.get((trial.cell, trial.build))) is not None:
            tally.add(trial)
    records = [_measured(square, tallies[square.cell, square.build]) for square in shown]
    records += [_not_applicable(cell) for cell in aside]
    frame = _frame(
        [*(square.coordinates for square in shown), *(cell.coordinates for cell in aside)],
        {name: [record[name] for record in records] for name in COLUMNS},
    )
    if axes is not None:
        frame.attrs[AXES_ATTR] = {
            axis: [label(value) for value in values] for axis, values in axes.items()
        }
    return frame


def trial_frame(squares: Iterable[Square], trials: Iterable[TrialRow]) -> DataFrame:
    """Return one row a trial: its axes, then `TRIAL_COLUMNS`, in the order of the trials.

    A trial that several squares share (two backends of one build) has a row for each of them.
    """
    by_cell: dict[tuple[str, str | None], list[Square]] = {}
    for square in squares:
        by_cell.setdefault((square.cell, square.build), []).append(square)
    rows = [
        (square.coordinates, trial)
        for trial in trials
        for square in by_cell.get((trial.cell, trial.build), ())
    ]
    return _frame(
        [coordinates for coordinates, _ in rows],
        {name: [_plain(getattr(trial, name)) for _, trial in rows] for name in TRIAL_COLUMNS},
    )


def axes_of(frame: DataFrame) -> list[str]:
    """Return the names of the columns that are axes, in the order of the columns."""
    return [
        str(name) for name in frame.columns if name not in COLUMNS and name not in TRIAL_COLUMNS
    ]


@dataclass(slots=True, eq=False)
class _Tally:
    """What is kept of the trials of one cell while they stream by."""

    outcomes: Counter[str] = field(default_factory=Counter)
    by_request: int = 0
    replies: set[str] = field(default_factory=set)
    failures: Counter[tuple[str, str]] = field(default_factory=Counter)
    errors: Counter[tuple[str, str]] = field(default_factory=Counter)
    latencies_s: list[float] = field(default_factory=list)
    first_tokens_s: list[float] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)

    def add(self, trial: TrialRow) -> None:
        self.outcomes[trial.outcome] += 1
        if trial.outcome == Outcome.ERRORED:
            self.errors[trial.kind or "", trial.reason] += 1
            return
        if trial.outcome != Outcome.PASSED:
            self.failures[trial.kind or "", trial.reason] += 1
        if trial.reply_digest is not None:
            self.replies.add(trial.reply_digest)
        if trial.by_request:
            self.by_request += 1
            return
        if trial.latency_s is not None:
            self.latencies_s.append(trial.latency_s)
        if trial.time_to_first_token_s is not None:
            self.first_tokens_s.append(trial.time_to_first_token_s)
        if trial.completion_tokens_per_s is not None:
            self.rates.append(trial.completion_tokens_per_s)
        if trial.completion_tokens is not None:
            self.tokens.append(trial.completion_tokens)


def _plain(value: object) -> object:
    return value.value if isinstance(value, StrEnum) else value


def _measured(square: Square, tally: _Tally) -> dict[str, object]:
    passed = tally.outcomes[Outcome.PASSED]
    n = tally.outcomes.total() - tally.outcomes[Outcome.ERRORED]
    by_request = 0 < n == tally.by_request
    low, high = (nan, nan) if square.greedy or by_request else _interval(passed, n)
    kind, count, reason = _most_frequent(tally.failures or tally.errors)
    tally.latencies_s.sort()
    return {
        "cell": square.cell,
        "build": square.build,
        "status": _status(n, 1 if by_request else square.planned),
        "reason": None,
        "hint": None,
        "greedy": square.greedy,
        "by_request": by_request,
        "planned": square.planned,
        "trials": n,
        "passed": passed,
        "failed": tally.outcomes[Outcome.FAILED],
        "rejected": tally.outcomes[Outcome.REJECTED],
        "errored": tally.outcomes[Outcome.ERRORED],
        "success_ratio": passed / n if n else nan,
        "low": low,
        "high": high,
        "distinct": len(tally.replies),
        "top_kind": _plain(kind),
        "top_count": count,
        "top_reason": reason,
        "latency_p50_s": _median(tally.latencies_s),
        "latency_p90_s": _quantile(tally.latencies_s, 0.9),
        "time_to_first_token_p50_s": _median(tally.first_tokens_s),
        "completion_tokens_per_s": _median(tally.rates),
        "completion_tokens": _median(tally.tokens),
    }


def _not_applicable(cell: NotApplicable) -> dict[str, object]:
    empty = Square(cell="", coordinates=cell.coordinates, build=None, planned=0)
    return {
        **_measured(empty, _Tally()),
        "cell": None,
        "status": CellStatus.NOT_APPLICABLE.value,
        "reason": cell.reason,
        "hint": cell.hint,
        "low": nan,
        "high": nan,
    }


def _status(n: int, wanted: int) -> str:
    if n == 0:
        return CellStatus.EMPTY.value
    return (CellStatus.MEASURED if n >= wanted else CellStatus.PARTIAL).value


@lru_cache(maxsize=4096)
def _interval(passed: int, n: int) -> tuple[float, float]:
    interval = wilson_interval(passed, n)
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


def _median(values: Sequence[float]) -> float:
    return float(median(values)) if values else nan


def _quantile(ordered: Sequence[float], share: float) -> float:
    """Interpolate linearly between order statistics: type 7 of Hyndman and Fan (1996)."""
    if not ordered:
        return nan
    position = (len(ordered) - 1) * share
    below = floor(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (position - below)


_TEXTS = frozenset(
    {"cell", "build", "reason", "hint", "top_kind", "top_reason", "kind", "reply_digest"}
)
"""Columns that may hold None, which must stay None and not become NaN."""


def _frame(coordinates: Sequence[Coordinates], columns: Mapping[str, list[Any]]) -> DataFrame:
    import pandas as pd  # noqa: PLC0415  heavy: half a second

    axes = dict.fromkeys(axis for point in coordinates for axis in point)
    table = {
        # Values stay what the file says: 0 is not 0.0, null is not NaN.
        **{axis: pd.Series([p.get(axis) for p in coordinates], dtype=object) for axis in axes},
        **{
            name: pd.Series(values, dtype=object if name in _TEXTS else None)
            for name, values in columns.items()
        },
    }
    return pd.DataFrame(table, columns=list(table))
