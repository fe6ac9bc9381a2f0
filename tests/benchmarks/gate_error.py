"""How often the gate errs at one look, for docs/statistics/simulations.md.

Run: PYTHONPATH=. python tests/benchmarks/gate_error.py
"""

from __future__ import annotations

import zlib
from math import factorial, sqrt
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import ndtr, stdtrit

from matrixbench.stats.proportions import (
    normal_quantile,
    score_paired_difference,
    wilson_interval,
)
from tests.benchmarks.peeking import tango

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

DROP = 0.1
SHAPES = ((1, 1, 40), (3, 1, 20), (6, 5, 10), (20, 1, 10), (3, 10, 10))
"""Tests, cells of each, trials a side."""

ALIKE = {"no": (0.0, 0.0), "the two sides": (0.6, 0.0), "cells of a test": (0.0, 0.6)}
RUNS = 4000
Z = normal_quantile(0.95)
HEADER = (
    "| tests × cells × n | true drop | alike | no worse | regression | interval holds |",
    "| --- | ---: | --- | ---: | ---: | ---: |",
)


def newcombe_low(both: int, worse: int, better: int, neither: int) -> float:
    """Return the lower end of Newcombe's paired interval.

    R. G. Newcombe, Statistics in Medicine 17, 2635–2650 (1998), method 10: Wilson intervals of the
    two ratios, combined under their correlation phi with a continuity correction.
    """
    n = both + worse + better + neither
    margins = (both + worse) * (better + neither) * (both + better) * (worse + neither)
    excess = float(both * neither - worse * better)
    if excess > 0:
        excess = max(excess - n / 2, 0.0)
    phi = excess / sqrt(margins) if margins > 0 else 0.0
    up, down = wilson_interval(both + better, n), wilson_interval(both + worse, n)
    below, above = (both + better) / n - up.low, down.high - (both + worse) / n
    reach = sqrt(max(0.0, below * below - 2 * phi * below * above + above * above))
    return max(-1.0, (better - worse) / n - reach)


def one_cell(n: int, worse: float, better: float, both: float) -> tuple[float, float]:
    """Return how often Newcombe's and Tango's interval lie above a drop that is there, exactly."""
    shares = (both, worse, better, 1 - both - worse - better)
    limit = worse - better
    newcombe = tango = 0.0
    for w in range(n + 1):
        for b in range(n + 1 - w):
            for p in range(n + 1 - w - b):
                counts = (p, w, b, n - w - b - p)
                chance = float(factorial(n))
                for share, count in zip(shares, counts, strict=True):
                    chance *= max(share, 0.0) ** count / factorial(count)
                if chance < 1e-12:
                    continue
                newcombe += chance * (newcombe_low(*counts) >= -limit)
                score = score_paired_difference(worse=w, better=b, n=n)
                tango += chance * (score.interval.low >= -limit)
    return newcombe, tango


def made_up(
    *, tests: int, cells: int, n: int, drop: float, alike: tuple[float, float], runs: int
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return what the candidate and the baseline passed: runs × tests × cells × trials.

    Args:
        tests: How many.
        cells: Cells of each test; they share its seeds.
        n: Trials a side of each cell.
        drop: By which each cell is worse.
        alike: Correlation (of latent normals) of the two sides, and of the cells of one test.
        runs: Experiments.
    """
    rng = np.random.default_rng(zlib.crc32(f"{tests}/{cells}/{n}/{drop}/{alike}".encode()))
    sides, among = alike
    latent = sqrt(1 - sides - among) * rng.standard_normal((2, runs, tests, cells, n))
    latent += sqrt(sides) * rng.standard_normal((1, runs, tests, cells, n))
    latent += sqrt(among) * rng.standard_normal((2, runs, tests, 1, n))
    place = np.arange(tests) / max(1, tests - 1)
    ratios = (drop + (1 - drop) * (0.3 + 0.65 * place))[:, None, None]
    chance = ndtr(latent)
    return chance[0] < ratios - drop, chance[1] < ratios


def design_effects(seen: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the design effect of cells of one test, as `stats.stratified` has it."""
    _, tests, cells, n = seen.shape
    apart = seen - seen.mean(axis=3, keepdims=True)
    alone = (apart**2).sum(axis=(1, 2, 3))
    together = np.maximum(alone, (apart.sum(axis=2) ** 2).sum(axis=(1, 2)))
    small = (stdtrit(tests * (n - 1), 0.975) / Z) ** 2
    found: NDArray[np.float64] = np.clip((together * small + cells) / (alone + 1), 1.0, cells)
    return found


def scores(
    up: NDArray[np.bool_], down: NDArray[np.bool_], difference: float
) -> NDArray[np.float64]:
    """Return Tango's statistic of all pairs against a difference."""
    _, tests, cells, n = up.shape
    pairs = np.full(len(up), float(tests * cells * n))
    if cells > 1:
        pairs /= design_effects(up.astype(np.float64) - down)
    worse, better = (down & ~up).mean(axis=(1, 2, 3)), (up & ~down).mean(axis=(1, 2, 3))
    return tango(worse * pairs, better * pairs, pairs, difference)


def table(shapes: Sequence[tuple[int, int, int]] = SHAPES, *, runs: int = RUNS) -> list[str]:
    """Return the rows of the gate's errors by one look."""
    rows = []
    for tests, cells, n in shapes:
        for drop in (0.0, DROP):
            for name, alike in ALIKE.items():
                up, down = made_up(tests=tests, cells=cells, n=n, drop=drop, alike=alike, runs=runs)
                at_limit = scores(up, down, -DROP)
                held = np.abs(scores(up, down, -drop)) <= Z
                rows.append(
                    f"| {tests} × {cells} × {n} | {drop} | {name} | {(at_limit >= Z).mean():.1%} | "
                    f"{(at_limit < -Z).mean():.1%} | {held.mean():.1%} |"
                )
    return rows


if __name__ == "__main__":
    print("| n | worse, better, both | Newcombe | Tango |")
    print("| ---: | --- | ---: | ---: |")
    for n in (20, 30, 40, 60):
        for shares in ((0.1, 0.0, 0.45), (0.1, 0.0, 0.8), (0.15, 0.05, 0.6), (0.2, 0.1, 0.35)):
            newcombe, tango_own = one_cell(n, *shares)
            print(f"| {n} | {', '.join(map(str, shares))} | {newcombe:.3f} | {tango_own:.3f} |")
    print()
    print("\n".join((*HEADER, *table())))
