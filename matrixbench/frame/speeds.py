"""Times, rates and lengths of a cell's trials, and what of them was cached or drafted."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import floor, nan
from typing import TYPE_CHECKING, TypeAlias

from matrixbench.plan.loads import load_in, load_text

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from matrixbench.frame.tally import Square
    from matrixbench.store.rows import TrialRow

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

    def columns(self, square: Square, in_force: int | None) -> dict[str, object]:
        """Return the columns of `columns.COLUMNS` that they give; missing ones are no numbers."""
        group = own_group(self.groups, square, in_force)
        own = Measures() if group is None else self.groups[group]
        every = self.groups.values()
        drafted = sum(measures.drafted for measures in every)
        found = own.medians()
        if group is None or len(self.groups) > 1:
            found |= {name: _median_of(every, name) for name in _OF_ALL}
        return {
            "speed_trials": own.trials,
            "concurrency_in_force": None if group is None else group[1],
            "speed_reason": _why_none(self.groups, square, in_force) if group is None else None,
            **found,
            "cached_share": own.cached / own.prompt if own.prompt else nan,
            "draft_accepted_share": (
                sum(measures.accepted for measures in every) / drafted if drafted else nan
            ),
        }


def group_of(trial: TrialRow) -> Group:
    """Return under what a trial ran."""
    return trial.load, None if trial.load is None else trial.concurrency


def own_group(groups: Collection[Group], square: Square, in_force: int | None) -> Group | None:
    """Return the trials whose times are those of a square's own load; None where there are none.

    A server is sent fewer requests at a time than its load says where fewer trials were left to
    run. The trials of such a batch are no part of a launch's times where others ran in a larger
    one. Trials of which no load is known, since an older version stored them, count where there are
    no others and no other launch of the file could have run them.
    """
    own = square.load, in_force
    if own in groups:
        return own
    if load_in(square.cell) is None and not any(load == square.load for load, _ in groups):
        return next((group for group in groups if group == (None, None)), None)
    return None


def most_at_a_time(
    squares: Iterable[tuple[Square, Iterable[Group]]],
) -> dict[tuple[str, str | None], int]:
    """Return launch and build → how many requests at a time their load's trials were sent at most.

    Squares of one launch are compared with each other: all take the trials of the largest batches.
    """
    most: dict[tuple[str, str | None], int] = {}
    for square, groups in squares:
        key = square.launch, square.build
        for load, concurrency in groups:
            if load is not None and load == square.load and concurrency is not None:
                most[key] = max(most.get(key, 0), concurrency)
    return most


def _why_none(groups: Collection[Group], square: Square, in_force: int | None) -> str | None:
    if not groups:
        return None
    way = "--fresh measures it anew"
    if any(load == square.load for load, _ in groups):
        sent = max(concurrency or 0 for load, concurrency in groups if load == square.load)
        return f"its trials were sent {sent} at a time, others of its launch {in_force}: {way}"
    loads = sorted({load for load, _ in groups if load is not None})
    if not loads:
        return f"it is not known under which load its trials ran: {way}"
    ran = " or ".join(map(load_text, loads))
    own = "a load that is not known" if square.load is None else load_text(square.load)
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
