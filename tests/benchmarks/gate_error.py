"""How often the gate errs, for docs/statistics.md. Run: python tests/benchmarks/gate_error.py."""

from __future__ import annotations

import random
from collections import Counter
from math import factorial, sqrt
from statistics import NormalDist

from matrixbench.comparison.totals import compare_cells
from matrixbench.comparison.values import Candidate, CellPair, Trials, Verdict
from matrixbench.stats.proportions import newcombe_paired_difference, score_paired_difference

DROP = 0.1


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
                found = newcombe_paired_difference(both=p, worse=w, better=b, neither=n - w - b - p)
                newcombe += chance * (found.interval.low >= -limit)
                score = score_paired_difference(worse=w, better=b, n=n)
                tango += chance * (score.interval.low >= -limit)
    return newcombe, tango


def experiment(
    rng: random.Random, *, tests: int, cells: int, n: int, drop: float, alike: tuple[float, float]
) -> Candidate:
    """Return a made-up experiment whose mean drop is `drop`.

    Args:
        rng: Where chance comes from.
        tests: How many.
        cells: Cells of each test; they share its seeds.
        n: Trials a side of each cell.
        drop: By which each cell is worse.
        alike: Correlation (of latent normals) of the two sides, and of the cells of one test.
    """
    normal = NormalDist()
    sides, among = (sqrt(value) for value in alike)
    own = sqrt(max(0.0, 1 - alike[0] - alike[1]))
    pairs = []
    for test in range(tests):
        ratio = drop + (1 - drop) * (0.3 + 0.65 * test / max(1, tests - 1))
        bars = (normal.inv_cdf(ratio - drop), normal.inv_cdf(min(ratio, 0.9999)))
        shared = [[rng.gauss(0, 1) for _ in range(2)] for _ in range(n)]
        for cell in range(cells):
            both = [rng.gauss(0, 1) for _ in range(n)]
            passed = [
                {
                    seed: among * shared[seed][side] + sides * both[seed] + own * rng.gauss(0, 1)
                    < bars[side]
                    for seed in range(n)
                }
                for side in range(2)
            ]
            pairs.append(
                CellPair(
                    coordinates={"test": f"t{test}", "cell": cell},
                    test=f"t{test}",
                    candidate=Trials(cell="c", build="new", passed=passed[0]),
                    baseline=Trials(cell="c", build="old", passed=passed[1]),
                )
            )
    return Candidate(name="c", pairs=pairs)


def main() -> None:
    """Print the tables."""
    print("| n | worse, better, both | Newcombe | Tango |")
    print("| ---: | --- | ---: | ---: |")
    for n in (20, 30, 40, 60):
        for shares in ((0.1, 0.0, 0.45), (0.1, 0.0, 0.8), (0.15, 0.05, 0.6), (0.2, 0.1, 0.35)):
            newcombe, tango = one_cell(n, *shares)
            print(f"| {n} | {', '.join(map(str, shares))} | {newcombe:.3f} | {tango:.3f} |")
    print("\n| tests × cells × n | true drop | alike | no worse | regression | p ≤ .05 | covered |")
    print("| --- | ---: | --- | ---: | ---: | ---: | ---: |")
    rng = random.Random(1)  # noqa: S311  a simulation
    runs = 1000
    for tests, cells, n in ((1, 1, 40), (3, 1, 20), (6, 5, 10), (20, 1, 10), (3, 10, 10)):
        for drop in (0.0, DROP):
            for alike in ((0.0, 0.0), (0.6, 0.0), (0.0, 0.6)):
                said: Counter[Verdict] = Counter()
                significant = covered = 0
                for _ in range(runs):
                    made = experiment(rng, tests=tests, cells=cells, n=n, drop=drop, alike=alike)
                    told = compare_cells(
                        [made], experiment="e", axis="a", baseline="b", max_drop=DROP
                    ).candidates[0]
                    assert told.overall is not None
                    said[told.gate.verdict] += 1
                    significant += told.overall.p <= 0.05
                    interval = told.overall.difference.interval
                    covered += interval.low <= -drop <= interval.high
                print(
                    f"| {tests} × {cells} × {n} | {drop} | {alike} | "
                    f"{said[Verdict.NO_WORSE] / runs:.1%} | "
                    f"{said[Verdict.REGRESSION] / runs:.1%} | {significant / runs:.1%} | "
                    f"{covered / runs:.1%} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
