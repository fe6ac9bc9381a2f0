"""The best of many rows was picked by looking: what `rank` and `compare` make of it, simulated.

    PYTHONPATH=. python tests/benchmarks/winners_curse.py

It prints the tables of `docs/statistics/simulations.md`. Rows are compared with the
functions that the commands use; outcomes are independent.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from matrixbench.comparison.totals import compare_cells
from matrixbench.comparison.values import Candidate, CellPair, Trials
from matrixbench.results.tally import Tally
from matrixbench.results.totals import standings
from tests.benchmarks.forecasts import no_forecasts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Table = NDArray[np.bool_]

EQUAL = ((40, 3, 10, 0.8), (40, 20, 5, 0.8), (40, 3, 30, 0.9), (12, 20, 5, 0.9))
"""Rows, tests, trials of each, and the ratio of all."""

UNEQUAL = ((12, 20, 5, 0.85), (12, 3, 30, 0.9), (40, 20, 10, 0.9))
"""The same; the ratio is the highest that a row can have where they lie evenly in a range."""

BELOW = 0.15
FEW = 5
"""Rows with fewer say nothing of a chance."""

RUNS = 200
_PARTS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)


def stood(table: Table) -> tuple[NDArray[np.int64], list[dict[str, Any]]]:
    """Return the order of the rows, and how they stand to the first.

    Args:
        table: Whether a trial passed: rows × tests × trials.
    """
    order = np.argsort(-table.mean(axis=(1, 2)), kind="stable")
    _, tests, trials = table.shape
    weights = [1 << index for index in range(trials)]
    every = sum(weights)
    rows = []
    for place in order.tolist():
        cells = []
        for test in range(tests):
            outcome = table[place, test].tolist()
            mask = sum(weight for weight, good in zip(weights, outcome, strict=True) if good)
            name = f"t{test}"
            tally = Tally(first_seed=1 + 1_000_000 * test, measured=every, passes=mask)
            count = sum(outcome)
            row = {
                "cell": f"r{place}",
                "build": "b",
                "test": name,
                "trials": trials,
                "draws": trials,
            }
            row |= {"passed": count, "success_ratio": count / trials, "low": 0.0}
            cells.append(((name,), row | {"greedy": False, "interval": "wilson", "tally": tally}))
        rows.append(cells)
    return order, cast("list[dict[str, Any]]", standings(rows))


def equal_rows(shape: tuple[int, int, int, float], runs: int, seed: int = 1) -> tuple[float, ...]:
    """Return how much too high the best is, and how often a row is falsely told from it.

    Thirdly how often that is so by raw p-values, and how often a given row is kept.
    """
    count, tests, trials, ratio = shape
    draw = np.random.default_rng(seed)
    high = told = raw = kept = 0.0
    for _ in range(runs):
        table = draw.random((count, tests, trials)) < ratio
        order, found = stood(table)
        high += float(table.mean(axis=(1, 2)).max()) - ratio
        told += any(one["told_from_best"] for one in found)
        raw += any(one["p_vs_best"] <= 0.05 for one in found[1:])
        kept += found[int(np.flatnonzero(order == 0)[0])]["told_from_best"] is not True
    return high / runs, told / runs, raw / runs, kept / runs


def unequal_rows(
    shape: tuple[int, int, int, float], runs: int, *, normal: bool = False, seed: int = 1
) -> tuple[float, float, list[tuple[float, float, int]]]:
    """Return how often the truly best row is kept, how many are told from it, and P(best)'s truth.

    The latter is for each part of 0 … 1 the mean chance that was said of rows, the share of them
    that were truly the best, and how many there were.
    """
    count, tests, trials, best = shape
    draw = np.random.default_rng(seed)
    kept, told = 0, 0.0
    said: list[float] = []
    true: list[bool] = []
    for _ in range(runs):
        ratios = best - BELOW * draw.random(count)
        if normal:
            ratios = np.clip(draw.normal(best - BELOW / 2, BELOW / 4, count), 0, 1)
        table = draw.random((count, tests, trials)) < ratios[:, None, None]
        order, found = stood(table)
        truly = int(np.argmax(ratios))
        for place, one in zip(order.tolist(), found, strict=True):
            said.append(one["chance_of_best"])
            true.append(place == truly)
            kept += place == truly and one["told_from_best"] is not True
        told += sum(one["told_from_best"] is True for one in found) / count
    chances, hits = np.array(said), np.array(true)
    parts = []
    for low, high in pairwise(_PARTS):
        inside = (chances > low) & (chances <= high)
        n = int(inside.sum())
        parts.append(
            (float(chances[inside].mean()), float(hits[inside].mean()), n) if n else (low, low, 0)
        )
    return kept / runs, told / runs, parts


def false_bold(candidates: int, tests: int, trials: int, ratio: float, runs: int) -> float:
    """Return how often `compare` shows some row in bold though all candidates are equal."""
    draw = np.random.default_rng(candidates)
    with no_forecasts():
        bold = sum(
            any(
                cell.stands_out
                for one in compared(draw.random((candidates + 1, tests, trials)) < ratio).candidates
                for cell in one.cells
            )
            for _ in range(runs)
        )
    return bold / runs


def compared(table: Table) -> Any:
    """Return the comparison of all rows but the first with the first."""
    _, tests, trials = table.shape

    def side(row: int, test: int) -> Trials:
        passed = dict(enumerate(table[row, test].tolist()))
        replies = {seed: f"{row} {test} {seed}" for seed in passed}
        return Trials(cell=f"r{row}t{test}", build="b", passed=passed, replies=replies)

    return compare_cells(
        [
            Candidate(
                name=f"r{row}",
                pairs=[
                    CellPair(
                        coordinates={"test": f"t{test}"},
                        test=f"t{test}",
                        candidate=side(row, test),
                        baseline=side(0, test),
                        planned=trials,
                    )
                    for test in range(tests)
                ],
            )
            for row in range(1, len(table))
        ],
        experiment="simulated",
        axis="row",
        baseline="r0",
    )


def equal_table(
    runs: int = RUNS, shapes: Sequence[tuple[int, int, int, float]] = EQUAL
) -> list[str]:
    """Return the rows of the page's table of equal rows."""
    lines = []
    for shape in shapes:
        high, told, raw, kept = equal_rows(shape, runs)
        rows, tests, trials, ratio = shape
        lines.append(
            f"| {rows} | {tests} × {trials} | {ratio:g} | {high:.3f} | {raw:.3f} | {told:.3f} | "
            f"{kept:.3f} |"
        )
    return lines


def unequal_table(runs: int = RUNS) -> list[str]:
    """Return the rows of the page's table of unequal rows."""
    lines = []
    for shape in UNEQUAL:
        for normal in (True, False):
            kept, told, parts = unequal_rows(shape, runs, normal=normal)
            rows, tests, trials, _ = shape
            calibrated = " | ".join(
                f"{said:.2f}: {true:.2f}" if n >= FEW else "–" for said, true, n in parts
            )
            name = "normal" if normal else "even"
            lines.append(
                f"| {rows} | {tests} × {trials} | {name} | {kept:.3f} | {told:.2f} | {calibrated} |"
            )
    return lines


def bold_table(runs: int = RUNS) -> list[str]:
    """Return the rows of the page's table of false bold rows."""
    return [
        f"| {candidates} | 3 × 30 | 0.8 | {false_bold(candidates, 3, 30, 0.8, runs):.3f} |"
        for candidates in (11, 39)
    ]


if __name__ == "__main__":
    print("\n".join(equal_table()))
    print("\n".join(unequal_table()))
    print("\n".join(bold_table(RUNS // 2)))
