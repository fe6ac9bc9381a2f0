"""How often what is promised comes true: the detectable drop shown, the gate decided; simulated.

    PYTHONPATH=. python tests/benchmarks/power.py

It prints the tables of `docs/statistics/simulations.md`. The promises are those of `plan`, for a
baseline and a phi that are known. Then outcomes are drawn at the promised drop, or with the
promised number of trials, and the tests that `compare` uses are asked. Trials under one seed are
pairs of correlation phi, or of the most that two such ratios can have.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from matrixbench.comparison.power import cell_drop, mean_drop, power_of, unpaired_drop
from matrixbench.comparison.totals import compare_cells
from matrixbench.comparison.values import MAX_DROP, Candidate, CellPair, Trials
from matrixbench.stats.paired import ALPHA, mcnemar_exact
from matrixbench.stats.power import Sides
from matrixbench.stats.proportions import boschloo
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

    from numpy.typing import NDArray

    from matrixbench.comparison.data import Comparison

SHAPES = ((1, 30), (3, 12), (3, 30), (20, 5), (57, 5))
"""Tests, and trials of each."""

RATIOS = (1.0, 0.9, 0.7)
PHIS = (0.0, 0.3, 0.6)
RUNS = 2_000
GATES = 200

ADVISED = ((1, 30), (3, 12), (20, 3))
"""The same, of the runs whose gate is undecided."""

MOST_ADVISED = 3_000
"""A larger number is none: the estimate is too close to the limit."""


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
    draw = np.random.default_rng(tests * trials)
    return sum(_decides(_strata(_kinds(tests, trials, sides, draw))) for _ in range(runs)) / runs


def advised(tests: int, trials: int, sides: Sides, runs: int) -> tuple[int, float, float]:
    """Return what comes of «N trials would decide», where two equal sides are undecided.

    How many runs were undecided and had a number, the median of the numbers, and how often the gate
    decides with that number where its trials are added to those that there are.
    """
    draw = np.random.default_rng(tests * trials)
    numbers = []
    followed = 0
    for _ in range(runs):
        kinds = _kinds(tests, trials, sides, draw)
        strata = _strata(kinds)
        if _decides(strata):
            continue
        (whole,) = compared(strata).candidates
        needed = whole.gate.trials_per_cell
        if needed is None or needed > MOST_ADVISED:
            continue
        numbers.append(needed)
        more = _kinds(tests, needed - trials, sides, draw)
        followed += _decides(_strata(np.concatenate([kinds, more], axis=1)))
    return len(numbers), float(np.median(numbers)), followed / len(numbers)


def compared(strata: Sequence[Stratum]) -> Comparison:
    """Return the comparison of cells that are given as strata."""
    pairs = [
        CellPair(
            coordinates={"test": stratum.test},
            test=stratum.test,
            candidate=Trials(cell=f"new {stratum.test}", build="b", passed=stratum.candidate),
            baseline=Trials(cell=f"old {stratum.test}", build="b", passed=stratum.baseline),
            planned=len(stratum.candidate),
        )
        for stratum in strata
    ]
    candidate = Candidate(name="new", pairs=pairs)
    return compare_cells([candidate], experiment="simulated", axis="side", baseline="old")


def _kinds(tests: int, trials: int, sides: Sides, draw: np.random.Generator) -> NDArray[np.int64]:
    """Return pairs, tests × trials: 0 both passed, 1 worse, 2 better, 3 neither."""
    lost, gained = sides.discordant(0.0)
    chances = np.maximum([sides.ratio - lost, lost, gained, 1 - sides.ratio - gained], 0)
    return draw.choice(4, p=chances / chances.sum(), size=(tests, trials))


def _strata(kinds: NDArray[np.int64]) -> list[Stratum]:
    return [
        Stratum(
            test=f"t{place}",
            candidate=dict(enumerate(((row == 0) | (row == 2)).tolist())),
            baseline=dict(enumerate((row <= 1).tolist())),
            paired=True,
        )
        for place, row in enumerate(kinds)
    ]


def _decides(strata: Sequence[Stratum]) -> bool:
    difference = stratified_difference(strata)
    lower = worse(difference, MAX_DROP) and overall_p(strata) <= ALPHA
    return no_worse(difference, MAX_DROP) or lower


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


def advice_table(runs: int = GATES) -> list[str]:
    """Return the rows of the page's table of what comes of following the advice."""
    lines = []
    for tests, trials in ADVISED:
        for ratio, phi in ((0.9, 0.3), (0.7, 0.3)):
            found, number, share = advised(tests, trials, Sides(ratio=ratio, phi=phi), runs)
            case = f"{tests} × {trials} | {ratio:g} | {phi:g}"
            lines.append(f"| {case} | {found} | {number:.0f} | {share:.2f} |")
    return lines


if __name__ == "__main__":
    for table in (drop_table, unpaired_table, cell_table, gate_table, advice_table):
        print("\n".join(table()), end="\n\n", flush=True)
