"""Tests whose trials have the same seeds share their luck: how much less their mean then knows.

A sampler draws the same random numbers for equal seeds, so that outcomes of different tests under
one seed go together a little. Tests have seeds of their own but for trials of earlier versions, and
for tests that send the same words.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from math import sqrt
from statistics import fmean
from typing import TYPE_CHECKING

from matrixbench.stats.clustered import student_quantile
from matrixbench.stats.proportions import CONFIDENCE, normal_quantile

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

LEAST = 0.2
"""The correlation of two tests' outcomes under one seed that is allowed for in any case: about the
largest that was measured on real replies (docs/statistics.md)."""


def least_effect(tests: int) -> float:
    """Return the design effect of so many tests that share seeds at the correlation `LEAST`."""
    return 1 + (tests - 1) * LEAST


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """A cell whose seeds other tests have as well.

    Args:
        test: Its test.
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
        confidence: Of the interval that is to be widened.
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
    if len(seeds) < 2:  # noqa: PLR2004  one has no spread
        return alone, alone * len(by_test)
    quantile = student_quantile(len(seeds) - 1, confidence=confidence)
    small = (quantile / normal_quantile(confidence)) ** 2
    together = sum(value * value for value in seeds.values())
    return alone, max(least, together * small)
