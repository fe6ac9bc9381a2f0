"""What stopping early costs and saves: coverage and trials of a cell.

It makes tables of docs/statistics/simulations.md. Every possible course of a cell is followed with
its probability, so the numbers have no sampling error.
Run: PYTHONPATH=. python tests/benchmarks/simulate_sequential.py
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from itertools import product

from matrixbench.stats.paired import ALPHA
from matrixbench.stats.proportions import Interval, boschloo, wilson_interval
from matrixbench.stats.sequential import (
    Precision,
    independent_evidence,
    p_value,
    sequential_interval,
)

RATIOS = (1.0, 0.99, 0.95, 0.9, 0.8, 0.65, 0.5)
COMPARED = (
    *((ratio, ratio) for ratio in (0.95, 0.85, 0.8, 0.7, 0.6, 0.5)),
    *((0.95, 0.7), (0.95, 0.5), (1.0, 0.5)),
)
_NEGLIGIBLE = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """Trials that were expected, and how often an interval at the end held the truth."""

    trials: float
    sequential: float
    peeked: float
    stopped: float


def follow(ratio: float, *, least: int, most: int, half_width: float, peek: bool) -> Course:
    """Return what a cell comes to that stops once an interval is narrow enough.

    Args:
        ratio: The true success ratio.
        least: Trials before which it never stops.
        most: Trials at which it always stops.
        half_width: How narrow the interval must be, to a side.
        peek: Stop by Wilson's interval instead, which is not meant to be looked at repeatedly.
    """
    alive = {0: 1.0}
    trials = sequential = peeked = stopped = 0.0
    for n in range(1, most + 1):
        grown: dict[int, float] = defaultdict(float)
        for passed, chance in alive.items():
            grown[passed + 1] += chance * ratio
            grown[passed] += chance * (1 - ratio)
        alive = {}
        for passed, chance in grown.items():
            valid, wilson = sequential_interval(passed, n), wilson_interval(passed, n)
            narrow = (wilson if peek else valid).half_width <= half_width
            if n < most and (n < least or not narrow):
                alive[passed] = chance
                continue
            trials += chance * n
            sequential += chance * _holds(valid, ratio)
            peeked += chance * _holds(wilson, ratio)
            stopped += chance * (n < most)
    return Course(trials=trials, sequential=sequential, peeked=peeked, stopped=stopped)


def _holds(interval: Interval, ratio: float) -> bool:
    return interval.low - 1e-12 <= ratio <= interval.high + 1e-12


def ever_missed(ratio: float, *, most: int, wilson: bool) -> float:
    """Return the chance that some interval on the way to `most` trials misses the truth."""
    alive = {0: 1.0}
    for n in range(1, most + 1):
        grown: dict[int, float] = defaultdict(float)
        for passed, chance in alive.items():
            grown[passed + 1] += chance * ratio
            grown[passed] += chance * (1 - ratio)
        interval = wilson_interval if wilson else sequential_interval
        alive = {
            passed: chance for passed, chance in grown.items() if _holds(interval(passed, n), ratio)
        }
    return 1 - sum(alive.values())


FIXED = 93
"""Trials with which Wilson's interval is at most 0.1 to a side, whatever the ratio."""


def stopping_table(*, least: int, most: int, half_width: float) -> list[str]:
    """Return the rows of one rule: true ratio, trials, saved, stopped early, coverage."""
    rows = []
    for ratio in RATIOS:
        course = follow(ratio, least=least, most=most, half_width=half_width, peek=False)
        peeking = follow(ratio, least=least, most=most, half_width=half_width, peek=True)
        rows.append(
            f"| {ratio:.2f} | {course.trials:.1f} | {1 - course.trials / min(most, FIXED):.0%} | "
            f"{course.stopped:.0%} | {course.sequential:.1%} | {peeking.peeked:.1%} |"
        )
    return rows


def looking_table(most: int) -> list[str]:
    """Return the rows: true ratio, chance that a sequence ever misses, and that Wilson's does."""
    rows = []
    for ratio in RATIOS[1:]:
        sequence, wilson = (ever_missed(ratio, most=most, wilson=name) for name in (False, True))
        rows.append(f"| {ratio:.2f} | {sequence:.1%} | {wilson:.1%} |")
    return rows


def ends(ratio: float, *, least: int, most: int, half_width: float) -> dict[tuple[int, int], float]:
    """Return (successes, trials) of a cell when it stops → the chance of that."""
    until = Precision(half_width=half_width, least=least)
    alive = {0: 1.0}
    found: dict[tuple[int, int], float] = {}
    for n in range(1, most + 1):
        grown: dict[int, float] = defaultdict(float)
        for passed, chance in alive.items():
            grown[passed + 1] += chance * ratio
            grown[passed] += chance * (1 - ratio)
        alive = {}
        for passed, chance in grown.items():
            if n == most or until.reached(passed, n):
                found[passed, n] = chance
            else:
                alive[passed] = chance
    return found


def comparing_table(*, least: int, most: int, half_width: float) -> list[str]:
    """Return the rows: two cells' ratios, the first's mean in the end, how often p ≤ 5 % by test.

    Where the ratios are equal that is the tests' error. Both cells stop by themselves.
    """
    rows = []
    for up, down in COMPARED:
        sides = [ends(ratio, least=least, most=most, half_width=half_width) for ratio in (up, down)]
        fixed = sequential = 0.0
        for (candidate, one), (baseline, other) in product(*(side.items() for side in sides)):
            if one * other < _NEGLIGIBLE:
                continue
            fixed += one * other * (boschloo(candidate, baseline) <= ALPHA)
            evidence = independent_evidence(candidate, baseline)
            sequential += one * other * (p_value(evidence) <= ALPHA)
        mean = sum(chance * passed / n for (passed, n), chance in sides[0].items())
        rows.append(f"| {up:.2f} and {down:.2f} | {mean:.3f} | {fixed:.1%} | {sequential:.1%} |")
    return rows


def main() -> None:
    """Print the tables."""
    for most in (50, 300):
        print(f"min 5, max {most}, half_width 0.1; saved against {min(most, FIXED)} trials")
        print("\n".join(stopping_table(least=5, most=most, half_width=0.1)))
    print("comparing two cells, min 5, max 50, half_width 0.2")
    print("\n".join(comparing_table(least=5, most=50, half_width=0.2)))
    print("looking after each of 100 trials")
    print("\n".join(looking_table(100)))


if __name__ == "__main__":
    main()
