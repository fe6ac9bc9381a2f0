"""How often the gate sees a regression between two equal servers that both ignore seeds.

Each side draws once a test, and all its trials are that draw again. The numbers are exact: a
verdict depends on how many tests passed on both sides, on one of them, or on none, and every such
count comes with its multinomial probability. `before` is what the gate would say if it took the
repeats for trials of their own.

    PYTHONPATH=. nice python tests/benchmarks/one_draw.py
"""

from __future__ import annotations

from collections import defaultdict
from functools import cache
from math import comb
from typing import TYPE_CHECKING

from matrixbench.comparison.totals import compare_cells
from matrixbench.comparison.values import Candidate, CellPair, GateVerdict, Trials

if TYPE_CHECKING:
    from collections.abc import Iterator

TRIALS = 10
RATIOS = (0.5, 0.8, 0.95)
TESTS = (1, 3, 20)
SHOWN = "its canary says so"


def side(build: str, *, passes: bool, ignores: bool) -> Trials:
    """Return the trials of a cell that drew once."""
    return Trials(
        cell="c",
        build=build,
        passed=dict.fromkeys(range(TRIALS), passes),
        replies=dict.fromkeys(range(TRIALS), f"{build} {passes}"),
        seeds_ignored=SHOWN if ignores else "",
    )


@cache
def verdict(counts: tuple[int, int, int, int], *, ignores: bool) -> GateVerdict:
    """Return the gate's verdict.

    Args:
        counts: Tests that both passed, only the baseline, only the candidate, none.
        ignores: Whether the launches are known to ignore seeds.
    """
    kinds = ((True, True), (False, True), (True, False), (False, False))
    draws = [kind for kind, count in zip(kinds, counts, strict=True) for _ in range(count)]
    pairs = [
        CellPair(
            coordinates={"test": f"{place}"},
            test=f"{place}",
            candidate=side("new", passes=up, ignores=ignores),
            baseline=side("old", passes=down, ignores=ignores),
            planned=TRIALS,
        )
        for place, (up, down) in enumerate(draws)
    ]
    found = compare_cells(
        [Candidate(name="new", pairs=pairs)], experiment="e", axis="build", baseline="old"
    )
    return found.candidates[0].gate.verdict


def outcomes(tests: int, ratio: float) -> Iterator[tuple[tuple[int, int, int, int], float]]:
    """Yield how the tests can come out, each with its probability."""
    q = 1 - ratio
    for both in range(tests + 1):
        for worse in range(tests - both + 1):
            for better in range(tests - both - worse + 1):
                neither = tests - both - worse - better
                ways = comb(tests, both) * comb(tests - both, worse)
                ways *= comb(tests - both - worse, better)
                chance = (ratio * ratio) ** both * (ratio * q) ** (worse + better)
                yield (both, worse, better, neither), ways * chance * (q * q) ** neither


def rates(tests: int, ratio: float, *, ignores: bool) -> dict[GateVerdict, float]:
    """Return verdict → how often equal servers get it."""
    found: dict[GateVerdict, float] = defaultdict(float)
    for counts, chance in outcomes(tests, ratio):
        if chance > 1e-9:
            found[verdict(counts, ignores=ignores)] += chance
    return found


def row(tests: int, ratio: float) -> str:
    """Return a row of the table."""
    before, now = (rates(tests, ratio, ignores=ignores) for ignores in (False, True))
    cells = [
        f"{100 * found[which]:.1f}%"
        for which in (GateVerdict.REGRESSION, GateVerdict.NO_WORSE)
        for found in (before, now)
    ]
    return f"| {tests} | {ratio} | {' | '.join(cells)} |"


def table() -> Iterator[str]:
    """Yield the lines of the table."""
    yield "| tests | ratio | regression, before | now | no worse, before | now |"
    yield "| ---: | ---: | ---: | ---: | ---: | ---: |"
    for tests in TESTS:
        for ratio in RATIOS:
            yield row(tests, ratio)


def main() -> None:
    """Print the table."""
    for line in table():
        print(line, flush=True)


if __name__ == "__main__":
    main()
