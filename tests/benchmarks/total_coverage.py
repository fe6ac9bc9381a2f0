"""How often `rank`'s interval over these tests holds: simulated, against what it replaced.

    PYTHONPATH=. python tests/benchmarks/total_coverage.py

It prints a table of `docs/statistics/simulations.md`. The truth of a row's tests is drawn once:
every ratio is the row's, or the ratios are spread around it.
"""

from __future__ import annotations

from math import sqrt
from statistics import fmean
from typing import TYPE_CHECKING

import numpy as np

from matrixbench.stats.clustered import mean_of_these_tests, ratio_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from matrixbench.stats.clustered import Ratio

EXPERIMENTS = 2000
RATIOS = (0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999)
SHAPES = ((3, 10), (6, 5), (6, 30), (20, 5), (20, 10), (57, 5), (57, 10))
"""Tests, and trials of each."""

SPREAD = 20.0
"""How many draws a test's own ratio is worth where ratios are spread: a beta distribution's."""


def coverage(
    ratios: NDArray[np.float64], trials: int, *, experiments: int, seed: int
) -> tuple[float, float]:
    """Return how often the interval holds, and how often the one of before did.

    Args:
        ratios: The true ratio of each test.
        trials: Trials of each test.
        experiments: How many experiments are simulated.
        seed: Of the random numbers.
    """
    passed = np.random.default_rng(seed).binomial(trials, ratios, size=(experiments, len(ratios)))
    truth = float(ratios.mean())
    held = before = 0
    known = {k: ratio_of(k, trials) for k in range(trials + 1)}
    for row in passed.tolist():
        tests = [[known[k]] for k in row]
        interval = mean_of_these_tests(tests)
        held += interval.low <= truth <= interval.high
        low, high = squared_and_added([cells[0] for cells in tests])
        before += low <= truth <= high
    return held / experiments, before / experiments


def squared_and_added(tests: list[Ratio]) -> tuple[float, float]:
    """Return the interval of before: Wilson's reaches of the tests, squared and added."""
    mean = fmean(one.estimate for one in tests)
    below = sqrt(sum((one.estimate - one.interval.low) ** 2 for one in tests)) / len(tests)
    above = sqrt(sum((one.interval.high - one.estimate) ** 2 for one in tests)) / len(tests)
    return mean - below, mean + above


def truths(ratio: float, tests: int, *, spread: bool) -> NDArray[np.float64]:
    """Return the true ratios of some tests."""
    if not spread:
        return np.full(tests, ratio)
    draw = np.random.default_rng(tests).beta
    return draw(SPREAD * ratio, SPREAD * (1 - ratio), size=tests)


def table(experiments: int = EXPERIMENTS, shapes: Sequence[tuple[int, int]] = SHAPES) -> list[str]:
    """Return the rows of the page's table."""
    rows = []
    for tests, trials in shapes:
        for ratio in RATIOS:
            found = [
                coverage(
                    truths(ratio, tests, spread=spread),
                    trials,
                    experiments=experiments,
                    seed=round(1000 * ratio),
                )
                for spread in (False, True)
            ]
            cells = [f"{held:.3f} | {before:.3f}" for held, before in found]
            rows.append(f"| {tests} × {trials} | {ratio:g} | {' | '.join(cells)} |")
    return rows


if __name__ == "__main__":
    print("\n".join(table()))
