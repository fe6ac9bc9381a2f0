"""The error of choosing a cell's test by phi, exactly, for docs/statistics/simulations.md.

The worst case is taken: the phi is that of the one cell itself, not pooled over many. Run:
python tests/benchmarks/pairing_error.py
"""

from __future__ import annotations

from math import factorial, sqrt

from matrixbench.comparison.cells import PAIRING_PAYS
from matrixbench.stats.paired import Pairs, mcnemar_exact, phi
from matrixbench.stats.proportions import boschloo


def rejections(n: int) -> dict[Pairs, tuple[bool, bool, bool]]:
    """Return for every table of n pairs whether McNemar, Boschloo and the chosen one reject."""
    found = {}
    for both in range(n + 1):
        for worse in range(n + 1 - both):
            for better in range(n + 1 - both - worse):
                table = Pairs(
                    both=both, worse=worse, better=better, neither=n - both - worse - better
                )
                paired = mcnemar_exact(worse, better) <= 0.05
                sides = sorted((both + better, both + worse))
                unpaired = boschloo((sides[0], n), (sides[1], n)) <= 0.05
                seen = phi(table)
                chosen = paired if seen is not None and seen >= PAIRING_PAYS else unpaired
                found[table] = (paired, unpaired, chosen)
    return found


def chances(n: int, baseline: float, candidate: float, correlation: float) -> list[float]:
    """Return the chance of rejecting of each of the three."""
    both = baseline * candidate + correlation * sqrt(
        baseline * (1 - baseline) * candidate * (1 - candidate)
    )
    shares = (both, baseline - both, candidate - both, 1 - baseline - candidate + both)
    totals = [0.0, 0.0, 0.0]
    for table, rejected in _TABLES[n].items():
        if any(rejected):
            counts = (table.both, table.worse, table.better, table.neither)
            chance = float(factorial(n))
            for share, count in zip(shares, counts, strict=True):
                chance *= max(share, 0.0) ** count / factorial(count)
            totals = [t + chance * hit for t, hit in zip(totals, rejected, strict=True)]
    return totals


_TABLES = {n: rejections(n) for n in (10, 20, 30)}


def main() -> None:
    """Print the tables."""
    print("| n | ratios | phi | McNemar | Boschloo | chosen by phi |")
    print("| ---: | --- | ---: | ---: | ---: | ---: |")
    cases = [(p, p) for p in (0.5, 0.7, 0.85, 0.95)] + [(0.9, 0.4), (0.95, 0.6)]
    for n in _TABLES:
        for baseline, candidate in cases:
            for correlation in (0.0, 0.3, 0.6) if baseline == candidate else (0.0, 0.2):
                told = chances(n, baseline, candidate, correlation)
                numbers = " | ".join(f"{value:.3f}" for value in told)
                print(f"| {n} | {baseline} and {candidate} | {correlation} | {numbers} |")


if __name__ == "__main__":
    main()
