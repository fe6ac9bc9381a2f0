"""Pairs of outcomes under the same seeds, luck that tests share, and many questions at once."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import lru_cache
from math import sqrt
from statistics import fmean
from typing import TYPE_CHECKING

from matrixbench.stats.clustered import student_quantile
from matrixbench.stats.proportions import (
    CONFIDENCE,
    Difference,
    normal_quantile,
    score_paired_difference,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

ALPHA = 0.05
"""The level of every test, two-sided, and after a correction that of all of them together."""

LEAST = 0.2
"""The correlation of two tests' outcomes under one seed that is allowed for in any case: about the
largest that was measured on real replies (docs/statistics.md)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairs:
    """A paired 2×2 table.

    Args:
        both: Pairs in which both passed.
        worse: Discordant: only the baseline passed.
        better: Discordant: only the candidate passed.
        neither: Pairs in which none passed.
    """

    both: int = 0
    worse: int = 0
    better: int = 0
    neither: int = 0

    @classmethod
    def added(cls, tables: Sequence[Pairs]) -> Pairs:
        """Return the pairs of several tables in one."""
        return cls(
            both=sum(table.both for table in tables),
            worse=sum(table.worse for table in tables),
            better=sum(table.better for table in tables),
            neither=sum(table.neither for table in tables),
        )

    @property
    def n(self) -> int:
        """How many pairs there are."""
        return self.both + self.worse + self.better + self.neither

    @property
    def discordant(self) -> int:
        """In how many pairs the two sides differ."""
        return self.worse + self.better

    def difference(self, *, n: float | None = None, confidence: float = CONFIDENCE) -> Difference:
        """Return the candidate's ratio less the baseline's, with Tango's interval.

        With `n` given, what so many pairs would give if their shares stayed as they are.
        """
        scale = 1.0 if n is None or not self.n else n / self.n
        return score_paired_difference(
            worse=self.worse * scale,
            better=self.better * scale,
            n=self.n * scale,
            confidence=confidence,
        )


@lru_cache(maxsize=4096)
def mcnemar_exact(worse: int, better: int) -> float:
    """Return the two-sided p-value of the exact McNemar test: 1 where no pair is discordant.

    Source: Q. McNemar, Psychometrika 12 (1947); exact, it is the sign test: of the discordant
    pairs each is as likely to be better as worse, Binomial(n, 1/2).

    Raises:
        ValueError: A count is negative.
    """
    if worse < 0 or better < 0:
        raise ValueError(f"{worse} worse and {better} better pairs")
    n = worse + better
    tail = term = 1
    for k in range(min(worse, better)):
        term = term * (n - k) // (k + 1)
        tail += term
    return min(1.0, 2 * tail / (1 << n))


def phi(pairs: Pairs) -> float | None:
    """Return the correlation of the two sides' outcomes, −1 … 1.

    None where one side always passed or never did, so that nothing can be said of it.
    """
    return pooled_phi([pairs])


def pooled_phi(tables: Iterable[Pairs]) -> float | None:
    """Return the correlation within cells, pooled over them: Σ covariance / Σ (sd · sd).

    Each cell counts by its pairs. Cells of which one side is constant say nothing; None where
    all are like that. Differences *between* cells (easy and hard tests) do not enter.
    """
    covariance = spread = 0.0
    for table in tables:
        if not (n := table.n):
            continue
        down, up = (table.both + table.worse) / n, (table.both + table.better) / n
        covariance += (table.both * table.neither - table.worse * table.better) / n
        spread += n * sqrt(down * (1 - down) * up * (1 - up))
    return max(-1.0, min(1.0, covariance / spread)) if spread > 0 else None


def holm(p_values: Sequence[float]) -> list[float]:
    """Return Holm's adjusted p-values, in the order given.

    Rejecting those up to α keeps the chance of any false alarm at α, whatever the dependence.
    Source: S. Holm, Scandinavian Journal of Statistics 6(2) (1979).
    """
    adjusted = [1.0] * len(p_values)
    largest = 0.0
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    for rank, place in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = largest
    return adjusted


def least_effect(tests: int) -> float:
    """Return the design effect of so many tests that share seeds at the correlation `LEAST`."""
    return 1 + (tests - 1) * LEAST


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """A cell whose seeds other tests have as well.

    Args:
        luck: The seed of trial 0: cells of equal ones share their luck.
        passed: Index of a trial → whether it passed; not empty.
    """

    test: str
    luck: int
    passed: Mapping[int, bool]

    @property
    def ratio(self) -> float:
        """The success ratio."""
        return sum(self.passed.values()) / len(self.passed)

    @property
    def standard_error(self) -> float:
        """That of its ratio; 0 where every trial came out alike."""
        return sqrt(self.ratio * (1 - self.ratio) / len(self.passed))


def mean_effect(cells: Sequence[Shared], *, confidence: float = CONFIDENCE) -> float:
    """Return by how much the variance of a mean over tests grows since tests share seeds.

    The cluster-robust variance (clusters: the seeds) times (t / z)² for their number, over that of
    independent tests, of which each may go wholly together within itself; at least what tests of
    the correlation `LEAST` have, also where nothing varied, so that nothing is known of it. Groups
    of tests that share seeds with each other are independent of other groups.

    Args:
        cells: The cells that share seeds; at least one.
    """
    groups: dict[int, list[Shared]] = defaultdict(list)
    for cell in cells:
        groups[cell.luck].append(cell)
    variances = [_variances(group, confidence) for group in groups.values()]
    alone = sum(one for one, _ in variances)
    return sum(together for _, together in variances) / alone if alone else 1.0


def _variances(cells: Sequence[Shared], confidence: float) -> tuple[float, float]:
    """Return the variance of a group's sum of its tests' means, without and with shared luck."""
    by_test: dict[str, list[Shared]] = defaultdict(list)
    for cell in cells:
        by_test[cell.test].append(cell)
    errors = [fmean(cell.standard_error for cell in found) for found in by_test.values()]
    varied = any(errors)
    if not varied:
        errors = [fmean(1 / sqrt(len(cell.passed)) for cell in found) for found in by_test.values()]
    alone = sum(error * error for error in errors)
    least = alone + LEAST * (sum(errors) ** 2 - alone)
    if not varied:
        return alone, least
    seeds: dict[int, float] = defaultdict(float)
    for found in by_test.values():
        for cell in found:
            for index, passed in cell.passed.items():
                seeds[index] += (passed - cell.ratio) / len(cell.passed) / len(found)
    if len(seeds) < 2:
        return alone, alone * len(by_test)
    quantile = student_quantile(len(seeds) - 1, confidence=confidence)
    small = (quantile / normal_quantile(confidence)) ** 2
    together = sum(value * value for value in seeds.values())
    return alone, max(least, together * small)
