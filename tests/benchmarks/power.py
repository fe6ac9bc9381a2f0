"""How often what is promised comes true: the detectable drop shown, the gate decided; simulated.

    PYTHONPATH=. python tests/benchmarks/power.py

It prints the tables of `docs/statistics.md`. The promises are those of `plan`, for a baseline and a
phi that are known; then outcomes are drawn at the promised drop, or with the promised number of
trials, and the tests that `compare` uses are asked. Trials under one seed are pairs of correlation
phi, but where that is more than two such ratios can have: then it is the most that they can.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from matrixbench.comparison.power import cell_drop, mean_drop, power_of, unpaired_drop
from matrixbench.comparison.values import ALPHA, MAX_DROP
from matrixbench.stats.independent import boschloo
from matrixbench.stats.paired import mcnemar_exact
from matrixbench.stats.power import Sides
from matrixbench.stats.stratified import (
    Stratum,
    exact_cmh_p,
    no_worse,
    overall_p,
    stratified_difference,
    worse,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

SHAPES = ((1, 30), (3, 12), (3, 30), (20, 5), (57, 5))
"""Tests, and trials of each."""

RATIOS = (1.0, 0.9, 0.7)
PHIS = (0.0, 0.3, 0.6)
RUNS = 2_000
GATES = 200


def shown(tests: int, trials: int, sides: Sides, drop: float, runs: int) -> float:
    """Return how often the exact test over paired cells shows a drop.

    With one cell a test it is the exact McNemar test of all pairs (`stratified.overall_p`).
    """
    lost, gained = sides.discordant(drop)
    draws = np.random.default_rng(tests * trials).multinomial(
        tests * trials, [lost, gained, 1 - lost - gained], size=runs
    )
    found: int = sum(b > c and mcnemar_exact(b, c) <= ALPHA for b, c, _ in draws.tolist())
    return found / runs


def shown_unpaired(tests: int, trials: int, ratio: float, drop: float, runs: int) -> float:
    """Return how often the exact test over unpaired cells shows a drop."""
    draws = np.random.default_rng(tests * trials).binomial(
        trials, [ratio - drop, ratio], size=(runs, tests, 2)
    )
    found = 0
    for run in draws.tolist():
        tables = [((up, trials), (down, trials)) for up, down in run]
        lower = sum(up - down for up, down in run) < 0
        found += lower and exact_cmh_p(tables) <= ALPHA
    return found / runs


def shown_alone(trials: int, ratio: float, drop: float, runs: int) -> float:
    """Return how often Boschloo's test of one cell shows a drop."""
    draws = np.random.default_rng(trials).binomial(trials, [ratio - drop, ratio], size=(runs, 2))
    found: int = sum(
        up < down and boschloo((up, trials), (down, trials)) <= ALPHA for up, down in draws.tolist()
    )
    return found / runs


def decided(tests: int, trials: int, sides: Sides, runs: int) -> float:
    """Return how often the gate decides of two equal sides."""
    lost, gained = sides.discordant(0.0)
    chances = [sides.ratio - lost, lost, gained, 1 - sides.ratio - gained]
    draw = np.random.default_rng(tests * trials)
    found = 0
    for _ in range(runs):
        kinds = draw.choice(
            4, p=np.maximum(chances, 0) / sum(np.maximum(chances, 0)), size=(tests, trials)
        )
        strata = [
            Stratum(
                test=f"t{place}",
                candidate=dict(enumerate(((row == 0) | (row == 2)).tolist())),
                baseline=dict(enumerate((row <= 1).tolist())),
                paired=True,
            )
            for place, row in enumerate(kinds)
        ]
        difference = stratified_difference(strata)
        lower = worse(difference, MAX_DROP) and overall_p(strata) <= ALPHA
        found += no_worse(difference, MAX_DROP) or lower
    return found / runs


def drop_table(runs: int = RUNS, shapes: Sequence[tuple[int, int]] = SHAPES) -> list[str]:
    """Return the rows of the page's table of detectable drops."""
    lines = []
    for tests, trials in shapes:
        for ratio in RATIOS:
            for phi in PHIS:
                sides = Sides(ratio=ratio, phi=phi)
                drop = mean_drop(tests * trials, sides)
                if drop is not None:
                    share = shown(tests, trials, sides, drop, runs)
                    lines.append(
                        f"| {tests} × {trials} | {ratio:g} | {phi:g} | {drop:.3f} | {share:.3f} |"
                    )
    return lines


def unpaired_table(runs: int = RUNS // 5) -> list[str]:
    """Return the rows of the page's table of drops where seeds are not shared."""
    lines = []
    for tests, trials in SHAPES:
        for ratio in RATIOS:
            drop = unpaired_drop(tests, trials, Sides(ratio=ratio, phi=0.0))
            if drop is not None:
                share = shown_unpaired(tests, trials, ratio, drop, runs)
                lines.append(f"| {tests} × {trials} | {ratio:g} | {drop:.3f} | {share:.3f} |")
    return lines


def cell_table(runs: int = RUNS) -> list[str]:
    """Return the rows of the page's table of the drop of one cell by Boschloo's test."""
    lines = []
    for trials in (12, 30):
        for ratio in RATIOS:
            drop = cell_drop(trials, Sides(ratio=ratio, phi=0.0), paired=False)
            if drop is not None:
                share = shown_alone(trials, ratio, drop, runs)
                lines.append(f"| {trials} | {ratio:g} | {drop:.3f} | {share:.3f} |")
    return lines


def gate_table(runs: int = GATES, tests: Sequence[int] = (1, 3, 20, 57)) -> list[str]:
    """Return the rows of the page's table of numbers of trials that decide."""
    lines = []
    for count in tests:
        for ratio in RATIOS:
            for phi in PHIS if ratio < 1 else PHIS[:1]:
                sides = Sides(ratio=ratio, phi=phi)
                needed = power_of(1, count, sides).trials_for_max_drop
                if needed is not None:
                    share = decided(count, needed, sides, runs)
                    lines.append(f"| {count} | {ratio:g} | {phi:g} | {needed} | {share:.3f} |")
    return lines


if __name__ == "__main__":
    for table in (drop_table, unpaired_table, cell_table, gate_table):
        print("\n".join(table()), end="\n\n", flush=True)
