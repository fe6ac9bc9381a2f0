"""How often one cell's 95 % interval holds, exact: over all counts that can come out.

PYTHONPATH=. python tests/benchmarks/interval_coverage.py
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import binom

from matrixbench.stats.proportions import exact_interval, jeffreys_interval, wilson_interval

if TYPE_CHECKING:
    from collections.abc import Iterator

TRIALS = (5, 10, 20, 30, 50, 100)
RATIOS = np.arange(1, 10_000) / 10_000
"""Where the coverage is looked at; it is the same at p and 1 − p."""

INTERVALS = {"Wilson": wilson_interval, "Jeffreys": jeffreys_interval, "exact": exact_interval}


def coverage(name: str, n: int, ratios: np.ndarray) -> np.ndarray:
    """Return how often the interval of `n` trials contains each of some true ratios."""
    found = np.zeros(len(ratios))
    for successes in range(n + 1):
        interval = INTERVALS[name](successes, n)
        inside = (interval.low <= ratios) & (ratios <= interval.high)
        found += inside * binom.pmf(successes, n, ratios)
    return found


def row(n: int) -> str:
    """Return a row of the table: mean and least coverage over all ratios, and where that is."""
    cells: list[str] = []
    for name in INTERVALS:
        found = coverage(name, n, RATIOS)
        least = int(found.argmin())
        at = max(RATIOS[least], 1 - RATIOS[least])
        cells.append(f"{found.mean():.3f} | {found.min():.3f} at {at:.3f}")
    return f"| {n} | {' | '.join(cells)} |"


def table() -> Iterator[str]:
    """Yield the lines of the table."""
    names = " | ".join(f"{name}: mean | least" for name in INTERVALS)
    yield f"| n | {names} |"
    yield "| ---: |" + " ---: | ---: |" * len(INTERVALS)
    for n in TRIALS:
        yield row(n)


def main() -> None:
    """Print the table."""
    for line in table():
        print(line)


if __name__ == "__main__":
    main()
