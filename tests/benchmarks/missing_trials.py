"""What the gate says where trials are missing, not by chance either.

It makes the table in docs/statistics/simulations.md.

Complete data are made up and gated. Then trials are taken away, and the rest is gated. The verdict
on the rest must never be «no worse» where the complete data are a regression, nor the other way
round. Where it is decided, the complete data decide alike.
Run: PYTHONPATH=. python tests/benchmarks/missing_trials.py
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist
from typing import TYPE_CHECKING, TypeAlias

from matrixbench.comparison.totals import compare_cells
from matrixbench.comparison.values import Candidate, CellPair, GateVerdict, Missing, Trials
from tests.benchmarks.forecasts import no_forecasts

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Pair: TypeAlias = "tuple[list[bool], list[bool]]"
"""The outcomes of a cell, by seed, of the candidate and of the baseline."""

LIMIT = 0.1
DROPS = (0.0, LIMIT)
SHAPES = ((1, 1, 60), (3, 1, 30), (4, 2, 15))
"""Tests, cells of each, trials a side."""

RUNS = 100
HEADER = (
    "| tests × cells × n | true drop | taken away | missing | complete | gate | ignore | wrong |",
    "| --- | ---: | --- | ---: | ---: | ---: | ---: | ---: |",
)


def made_up(
    rng: random.Random, *, tests: int, cells: int, n: int, drop: float
) -> list[tuple[str, Pair]]:
    """Return tests with the outcomes of their cells; the two sides go together, as pairs do."""
    normal = NormalDist()
    common, own = sqrt(0.8), sqrt(0.2)
    found = []
    for test in range(tests):
        ratio = drop + (0.97 - drop) * (0.8 + 0.2 * test / max(1, tests - 1))
        bars = (normal.inv_cdf(max(1e-6, ratio - drop)), normal.inv_cdf(ratio))
        for _ in range(cells):
            shared = [rng.gauss(0, 1) for _ in range(n)]
            sides = [
                [common * shared[seed] + own * rng.gauss(0, 1) < bar for seed in range(n)]
                for bar in bars
            ]
            found.append((f"t{test}", (sides[0], sides[1])))
    return found


def few(rng: random.Random, pair: Pair) -> tuple[set[int], set[int]]:
    """Take any trial away, one of a hundred."""
    up, down = ({seed for seed in range(len(side)) if rng.random() < 0.01} for side in pair)
    return up, down


def many(rng: random.Random, pair: Pair) -> tuple[set[int], set[int]]:
    """Take any trial away, one of ten."""
    up, down = ({seed for seed in range(len(side)) if rng.random() < 0.1} for side in pair)
    return up, down


def failures(rng: random.Random, pair: Pair) -> tuple[set[int], set[int]]:
    """Take what the candidate fails: its server errs where it cannot answer."""
    lost = {seed for seed, passed in enumerate(pair[0]) if not passed}
    return {seed for seed in lost if rng.random() < 0.9}, set()


def passes(rng: random.Random, pair: Pair) -> tuple[set[int], set[int]]:
    """Take what the baseline passes and the candidate does not."""
    up, down = pair
    lost = {seed for seed in range(len(up)) if down[seed] and not up[seed]}
    return set(), {seed for seed in lost if rng.random() < 0.9}


def successes(rng: random.Random, pair: Pair) -> tuple[set[int], set[int]]:
    """Take what the candidate passes, one of three: what is left looks like a regression."""
    won = {seed for seed, passed in enumerate(pair[0]) if passed}
    return {seed for seed in won if rng.random() < 1 / 3}, set()


def rest(rng: random.Random, pair: Pair) -> tuple[set[int], set[int]]:
    """Take the last rounds, up to a quarter: the run was interrupted."""
    n = len(pair[0])
    away = set(range(n - rng.randint(1, n // 4), n))
    return away, away


PATTERNS: dict[str, Callable[[random.Random, Pair], tuple[set[int], set[int]]]] = {
    "one of 100, at random": few,
    "one of 10, at random": many,
    "the candidate's failures": failures,
    "what only the baseline passes": passes,
    "the candidate's successes": successes,
    "the last rounds": rest,
}


def verdict(
    data: Sequence[tuple[str, Pair]],
    away: Sequence[tuple[set[int], set[int]]],
    missing: Missing = Missing.WORST,
) -> GateVerdict:
    """Return what the gate says of data of which some trials were taken away."""
    pairs = [
        CellPair(
            coordinates={"test": test, "cell": place},
            test=test,
            candidate=_side("new", pair[0], gone[0]),
            baseline=_side("old", pair[1], gone[1]),
            planned=len(pair[0]),
        )
        for place, ((test, pair), gone) in enumerate(zip(data, away, strict=True))
    ]
    return compare_cells(
        [Candidate(name="c", pairs=pairs)],
        experiment="e",
        axis="a",
        baseline="b",
        max_drop=LIMIT,
        missing=missing,
    ).verdict


def _side(build: str, outcomes: Sequence[bool], away: set[int]) -> Trials:
    return Trials(
        cell="c",
        build=build,
        passed={seed: passed for seed, passed in enumerate(outcomes) if seed not in away},
        missing=frozenset(away),
        errored=len(away),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What came of many runs.

    Args:
        missing: The share of trials that were taken away.
        complete: How often complete data are no worse.
        gate: How often the gate says so of the rest.
        ignored: How often it would say so if missing trials were left out.
        wrong: How often, left out, it would say so though complete data do not.
        contradicted: How often a decided gate says anything else than complete data.
    """

    missing: float
    complete: float
    gate: float
    ignored: float
    wrong: float
    contradicted: int


def simulate(shape: tuple[int, int, int], drop: float, pattern: str, *, runs: int) -> Row:
    """Return what comes of some runs; the same ones each time."""
    tests, cells, n = shape
    rng = random.Random(f"{shape}/{drop}/{pattern}")
    said: Counter[str] = Counter()
    for _ in range(runs):
        data = made_up(rng, tests=tests, cells=cells, n=n, drop=drop)
        away = [PATTERNS[pattern](rng, pair) for _, pair in data]
        with no_forecasts():
            whole = verdict(data, [(set(), set())] * len(data))
            told = verdict(data, away)
            ignoring = verdict(data, away, Missing.IGNORE)
        said["missing"] += sum(len(gone) for both in away for gone in both)
        said["complete"] += whole is GateVerdict.NO_WORSE
        said["gate"] += told is GateVerdict.NO_WORSE
        said["ignored"] += ignoring is GateVerdict.NO_WORSE
        said["wrong"] += ignoring is GateVerdict.NO_WORSE and whole is not GateVerdict.NO_WORSE
        said["contradicted"] += told is not GateVerdict.UNDECIDED and told is not whole
    return Row(
        missing=said["missing"] / (2 * tests * cells * n * runs),
        complete=said["complete"] / runs,
        gate=said["gate"] / runs,
        ignored=said["ignored"] / runs,
        wrong=said["wrong"] / runs,
        contradicted=said["contradicted"],
    )


def table(
    shapes: Sequence[tuple[int, int, int]] = SHAPES,
    drops: Sequence[float] = DROPS,
    *,
    patterns: Sequence[str] = tuple(PATTERNS),
    runs: int = RUNS,
) -> list[str]:
    """Return the table's rows.

    Raises:
        AssertionError: A decided gate was contradicted by the complete data.
    """
    rows = []
    for shape in shapes:
        for drop in drops:
            for pattern in patterns:
                row = simulate(shape, drop, pattern, runs=runs)
                assert not row.contradicted, (shape, drop, pattern)
                rows.append(
                    f"| {' × '.join(map(str, shape))} | {drop} | {pattern} | {row.missing:.1%} | "
                    f"{row.complete:.1%} | {row.gate:.1%} | {row.ignored:.1%} | {row.wrong:.1%} |"
                )
    return rows


if __name__ == "__main__":
    print("\n".join((*HEADER, *table())))
