"""Which interval a cell's success ratio has."""

from __future__ import annotations

from enum import StrEnum
from functools import lru_cache

from matrixbench.stats import exact_interval, jeffreys_interval, wilson_interval
from matrixbench.stats.sequential import sequential_interval


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
