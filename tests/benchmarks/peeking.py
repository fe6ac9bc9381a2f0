"""How often the gate errs, looked at once or after every round, for docs/statistics/simulations.md.

The same formulas as in `stats.betting` and `stats.stratified`, over many experiments at once; a
test compares the two. Run: PYTHONPATH=. python tests/benchmarks/peeking.py
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from scipy.special import ndtr, stdtrit

from matrixbench.stats.betting import APART, TOGETHER
from matrixbench.stats.paired import least_effect
from matrixbench.stats.proportions import normal_quantile

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

Floats: TypeAlias = "NDArray[np.float64]"

LIMIT = 0.1
ROUNDS = 100
"""Rounds after each of which the gate is looked at."""
ONCE = {1: 60, 3: 30, 10: 20, 20: 10}
"""The number of trials that is planned, by the number of tests."""
RUNS = 1000
_Z = normal_quantile(0.95)
_RICH = float(np.log(40))
_LOST = 1e-300


class Alike(StrEnum):
    """What goes together."""

    NOTHING = "nothing"
    """Pairs that share a seed and nothing else."""
    SIDES = "sides"
    """The two sides under one seed: phi about .5."""
    TESTS = "tests"
    """The tests under one seed, on each side by itself: phi about .05 to .15."""
    UNPAIRED = "unpaired"
    """Nothing, and the two sides have different seeds."""


KINDS = ("0.5", "0.7", "0.9", "0.99", "spread", "one")
"""The baseline's ratio; `spread`: .45 and .99 in turn; `one`: .95, and all of the drop in one test
or in as few as hold it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Data:
    """Made-up experiments with one cell a test.

    Args:
        up: Whether the candidate passed: runs × rounds × tests.
        down: Whether the baseline did.
        alike: What goes together.
    """

    up: NDArray[np.bool_]
    down: NDArray[np.bool_]
    alike: Alike

    @property
    def differences(self) -> Floats:
        """Candidate less baseline."""
        return self.up.astype(np.float64) - self.down


def truths(kind: str, tests: int, drop: float) -> tuple[Floats, Floats]:
    """Return the tests' ratios on the baseline's side and their drops, whose mean is `drop`."""
    places = np.arange(tests)
    if kind == "spread":
        return np.where(places % 2 == 0, 0.45, 0.99), np.full(tests, drop)
    if kind == "one":
        ratio = 0.95
        return np.full(tests, ratio), np.clip(drop * tests - ratio * places, 0.0, ratio)
    return np.full(tests, float(kind)), np.full(tests, drop)


def made_up(
    kind: str, tests: int, drop: float, alike: Alike, *, runs: int, rounds: int = ROUNDS
) -> Data:
    """Return experiments; the same ones each time."""
    rng = np.random.default_rng(zlib.crc32(f"{kind}/{tests}/{drop}/{alike}".encode()))
    shape = (2, runs, rounds, tests)
    latent = rng.standard_normal(shape)
    if alike is Alike.SIDES:
        latent = np.sqrt(0.3) * latent + np.sqrt(0.7) * rng.standard_normal((1, *shape[1:]))
    if alike is Alike.TESTS:
        latent = np.sqrt(0.8) * latent + np.sqrt(0.2) * rng.standard_normal((*shape[:3], 1))
    chance = ndtr(latent)
    ratios, drops = truths(kind, tests, drop)
    return Data(up=chance[0] < ratios - drops, down=chance[1] < ratios, alike=alike)


def log_capital(data: Data, mean: float, *, above: bool) -> Floats:
    """Return the logarithm of the capital after each round, as `stats.betting` has it."""
    sign = 1 if above else -1
    together = data.alike is Alike.TESTS
    seen = data.differences
    if together:
        seen = seen.mean(axis=2, keepdims=True)
    pays = (1 + sign * seen) / (1 + sign * mean)
    parts = []
    for stake, part in TOGETHER if together else APART:
        grown = np.log(np.maximum(1 - stake + stake * pays, _LOST)).sum(axis=2)
        parts.append(np.log(part) + np.cumsum(grown, axis=1))
    capital: Floats = np.logaddexp.reduce(parts, axis=0)
    return capital


def scores(data: Data, n: int, limit: float = LIMIT) -> Floats:
    """Return Tango's statistic of all pairs of the first n rounds against a drop of the limit."""
    up, down = data.up[:, :n], data.down[:, :n]
    tests = up.shape[2]
    if data.alike is Alike.UNPAIRED:
        p, q = up.mean(axis=1), down.mean(axis=1)
        worse, better = (q * (1 - p)).mean(axis=1), (p * (1 - q)).mean(axis=1)
    else:
        worse, better = (down & ~up).mean(axis=(1, 2)), (up & ~down).mean(axis=(1, 2))
    pairs = n * tests / (_design_effects(data, n) if data.alike is Alike.TESTS else 1.0)
    return tango(worse * pairs, better * pairs, pairs, -limit)


def _design_effects(data: Data, n: int) -> Floats:
    """Return the design effect of tests with common seeds, as `stats.stratified` has it."""
    seen = data.differences[:, :n]
    tests = seen.shape[2]
    apart = seen - seen.mean(axis=1, keepdims=True)
    alone = (apart**2).sum(axis=(1, 2))
    together = np.maximum(alone, (apart.sum(axis=2) ** 2).sum(axis=1))
    small = (stdtrit(n - 1, 0.975) / _Z) ** 2
    assumed = least_effect(tests)
    found: Floats = np.clip((together * small + 2 * assumed) / (alone + 2), 1.0, tests)
    return found


def tango(worse: Floats, better: Floats, n: Floats | float, difference: float) -> Floats:
    """Return Tango's statistic of many tables, as `stats.proportions` has it."""
    a = 2 * n
    b = -worse - better + (2 * n - better + worse) * difference
    c = -worse * difference * (1 - difference)
    lost = (np.sqrt(np.maximum(0.0, b * b - 4 * a * c)) - b) / (2 * a)
    variance = n * (2 * lost + difference * (1 - difference))
    found: Floats = (better - worse - n * difference) / np.sqrt(np.maximum(variance, 1e-12))
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """After which round something is shown; beyond the last where it never is.

    Args:
        no_worse: By bets, for each run.
        regression: By bets.
        once_no_worse: Whether the one look at the planned number shows it.
        once_regression: The same.
    """

    no_worse: NDArray[np.intp]
    regression: NDArray[np.intp]
    once_no_worse: NDArray[np.bool_]
    once_regression: NDArray[np.bool_]


def shown(data: Data, planned: int) -> Shown:
    """Return what rounds, and the planned number, show."""
    score = scores(data, planned)
    return Shown(
        no_worse=_first(log_capital(data, -LIMIT, above=True) >= _RICH),
        regression=_first(log_capital(data, -LIMIT, above=False) >= _RICH),
        once_no_worse=score >= _Z,
        once_regression=score < -_Z,
    )


def _first(hit: NDArray[np.bool_]) -> NDArray[np.intp]:
    found: NDArray[np.intp] = np.where(hit.any(axis=1), hit.argmax(axis=1) + 1, 10**6)
    return found


HEADER = (
    "| tests | ratio | alike | bets | once | both | on | bets | once | both | at 0 |",
    "| ---: | ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
)
POWER_HEADER = (
    "| tests | ratio | alike | drop 0 | drop .05 | drop .2 |",
    "| ---: | ---: | --- | ---: | ---: | ---: |",
)


def errors(tests: int, kind: str, alike: Alike, *, runs: int = RUNS) -> list[float]:
    """Return how often «no worse» is said at the limit, «regression» there, «regression» at 0.

    Of the first: by bets after every round; once at the planned number; by bets before and once at
    it; by bets before and afterwards as well. Of the second the first three; of the third all.
    """
    planned = ONCE[tests]
    at_limit, at_0 = (
        shown(made_up(kind, tests, drop, alike, runs=runs), planned) for drop in (LIMIT, 0.0)
    )
    bets, once = at_limit.no_worse, at_limit.once_no_worse
    down, once_down = at_limit.regression, at_limit.once_regression
    return [
        float(found.mean())
        for found in (
            bets <= ROUNDS,
            once,
            once | (bets < planned),
            once | (bets <= ROUNDS),
            down <= ROUNDS,
            once_down,
            once_down | (down < planned),
            at_0.once_regression | (at_0.regression <= ROUNDS),
        )
    ]


def power(tests: int, kind: str, alike: Alike, *, runs: int = RUNS) -> list[tuple[float, float]]:
    """Return how often rounds decide, and the median of the round, at drops of 0, .05 and .2."""
    found = []
    for drop in (0.0, 0.05, 0.2):
        data = made_up(kind, tests, drop, alike, runs=runs)
        after = _first(log_capital(data, -LIMIT, above=drop < LIMIT) >= _RICH)
        found.append((float((after <= ROUNDS).mean()), float(np.median(after))))
    return found


def table(
    tests: Iterable[int] = tuple(ONCE),
    kinds: Sequence[str] = KINDS,
    alike: Iterable[Alike] = tuple(Alike),
    *,
    runs: int = RUNS,
) -> list[str]:
    """Return the rows of errors."""
    return [
        f"| {many} | {kind} | {how} | "
        + " | ".join(f"{value:.1%}" for value in errors(many, kind, how, runs=runs))
        + " |"
        for many in tests
        for how in alike
        for kind in kinds
        if not (many == 1 and (kind in {"spread", "one"} or how is Alike.TESTS))
    ]


def power_table(tests: Iterable[int] = tuple(ONCE), *, runs: int = RUNS) -> list[str]:
    """Return the rows of what bets decide."""
    return [
        f"| {many} | {kind} | {how} | "
        + " | ".join(
            f"{share:.0%}" + (f", {after:.0f}" if share > 0.5 else "")
            for share, after in power(many, kind, how, runs=runs)
        )
        + " |"
        for many in tests
        for how in (Alike.NOTHING, Alike.SIDES, Alike.TESTS)
        for kind in ("0.5", "0.9", "0.99")
        if not (many == 1 and how is Alike.TESTS)
    ]


if __name__ == "__main__":
    print("\n".join(HEADER))
    for number in ONCE:
        print("\n".join(table([number])), flush=True)
    print()
    print("\n".join(POWER_HEADER))
    for number in ONCE:
        print("\n".join(power_table([number])), flush=True)
