"""Many cells at once: one difference, one interval, one exact test, clustered by test.

A cell is a stratum. Tests weigh the same, and within a test its cells. Cells of one test share
their seeds, so they are not taken to be independent of each other. Different tests are, unless
they share seeds as well.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from functools import lru_cache
from math import comb, exp, lgamma, log, sqrt
from typing import TYPE_CHECKING

from matrixbench.stats.clustered import student_quantile
from matrixbench.stats.paired import Pairs, least_effect, mcnemar_exact
from matrixbench.stats.proportions import (
    CONFIDENCE,
    Difference,
    Interval,
    newcombe_difference,
    normal_quantile,
    score_paired_difference,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

SHARED_SEEDS = 0.5
"""Pairs are used where they are at least this share of the trials of the larger side."""

MOST_TRIALS = 100_000
"""Trials a cell beyond which nobody plans."""

_ROUNDING = 1e-9

_UNSEEN = {False: 1.0, True: 2.0}
"""How many discordant pairs the dependence counts for that is assumed before any was seen, with
seeds of each test's own and with common ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stratum:
    """One cell on both sides.

    Args:
        candidate: Seed → whether the trial passed; not empty.
        baseline: The same; not empty.
        paired: Whether the two are pairs: then both have the same seeds.
        luck: The seed of trial 0 where other tests have the same seeds; None where none has.
    """

    test: str
    candidate: Mapping[int, bool]
    baseline: Mapping[int, bool]
    paired: bool
    luck: int | None = None

    @property
    def sharing(self) -> str | int:
        """What all cells have in common whose trials of one seed may go together."""
        return self.test if self.luck is None else self.luck

    def counts(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Return successes and trials of the candidate, then of the baseline."""
        up, down = self.candidate, self.baseline
        return (sum(up.values()), len(up)), (sum(down.values()), len(down))

    def pairs(self) -> Pairs:
        """Return the paired table of the seeds that both sides have."""
        tally = Counter(
            (self.baseline[seed], passed)
            for seed, passed in self.candidate.items()
            if seed in self.baseline
        )
        return Pairs(
            both=tally[True, True],
            worse=tally[True, False],
            better=tally[False, True],
            neither=tally[False, False],
        )

    def difference(self, *, n: float | None = None, confidence: float = CONFIDENCE) -> Difference:
        """Return the cell's difference with its interval, or what n trials a side would give."""
        if self.paired:
            return self.pairs().difference(n=n, confidence=confidence)
        scaled = [
            (float(passed), float(trials)) if n is None else (passed / trials * n, n)
            for passed, trials in self.counts()
        ]
        return newcombe_difference(scaled[0], scaled[1], confidence=confidence)

    def discordant(self) -> tuple[float, float]:
        """Return the shares of pairs that only the baseline, only the candidate passed.

        Where trials are no pairs, those to be expected of pairs drawn at random, one trial of
        either side. The variance of a difference follows from them in either case.
        """
        (up, up_n), (down, down_n) = self.counts()
        if self.paired:
            table = self.pairs()
            return table.worse / table.n, table.better / table.n
        p, q = up / up_n, down / down_n
        return q * (1 - p), p * (1 - q)

    def precision(self, *, n: int | None = None) -> tuple[float, float]:
        """Return how many pairs a side is worth, and an unbiased variance of the difference.

        Args:
            n: Trials a side to which that is scaled; None for those that there are.
        """
        (up, up_n), (down, down_n) = self.counts()
        if self.paired:
            worse, better = self.discordant()
            one = worse + better - (better - worse) ** 2
            return float(n or up_n), one / (n or up_n) * up_n / max(1, up_n - 1)
        p, q = up / up_n, down / down_n
        many, least = (n or up_n, n or down_n), max(1, min(up_n, down_n) - 1)
        one = p * (1 - p) / many[0] + q * (1 - q) / many[1]
        return 2 / (1 / many[0] + 1 / many[1]), one * (least + 1) / least

    def influences(self) -> Iterator[tuple[int, float]]:
        """Yield each trial's (or pair's) seed, and its share in the deviation of the difference."""
        (up, up_n), (down, down_n) = self.counts()
        if self.paired:
            mean = up / up_n - down / down_n
            for seed, passed in self.candidate.items():
                yield seed, (passed - self.baseline[seed] - mean) / up_n
            return
        for seed, passed in self.candidate.items():
            yield seed, (passed - up / up_n) / up_n
        for seed, passed in self.baseline.items():
            yield seed, (down / down_n - passed) / down_n


def are_pairs(common: int, up: int, down: int) -> bool:
    """Return whether trials of two sides are used as pairs: if enough seeds are in common."""
    return common >= SHARED_SEEDS * max(up, down)


def stratum_of(
    test: str, up: Mapping[int, bool], down: Mapping[int, bool], *, luck: int | None = None
) -> Stratum:
    """Return one cell on both sides, as pairs of their common seeds where these are enough."""
    common = sorted(up.keys() & down.keys())
    paired = are_pairs(len(common), len(up), len(down))
    if paired:
        up, down = ({seed: side[seed] for seed in common} for side in (up, down))
    return Stratum(test=test, candidate=up, baseline=down, paired=paired, luck=luck)


def stratified_difference(
    strata: Sequence[Stratum], *, n: int | None = None, confidence: float = CONFIDENCE
) -> Difference:
    """Return the mean difference over tests, with an interval for these very tests.

    T. Tango's score interval (Statistics in Medicine 17, 1998) of all pairs in one table, in which
    each cell's shares have its weight. Pooled, the variance is the cells' own and what their
    differences differ, so that it is never too small where tests differ. Cells whose seeds differ
    have the discordant pairs that are to be expected, which keeps the error where Newcombe's
    interval does not. The table has as many pairs as the weighted mean is worth
    (`effective_pairs`). tests/benchmarks/peeking.py has its errors.

    Args:
        strata: The cells; at least one.
        n: Trials a side of each cell, to see what they would give if the ratios stayed; None for
            those that there are.
    """
    worse, better = _pooled(strata)
    pairs = effective_pairs(strata, n=n, confidence=confidence)
    return score_paired_difference(
        worse=worse * pairs, better=better * pairs, n=pairs, confidence=confidence
    )


def effective_pairs(
    strata: Sequence[Stratum], *, n: int | None = None, confidence: float = CONFIDENCE
) -> float:
    """Return how many pairs of one table the weighted mean over cells is worth.

    1 / Σ w² / n for cells that vary alike. Where some weigh more for each of their trials than
    others, it is fewer if those vary the most: as many as the cells' own variances leave. Cells
    that go together divide it by the `design_effect`.
    """
    weights = test_weights(strata)
    cells = [stratum.precision(n=n) for stratum in strata]
    pairs = 1 / sum(w * w / many for w, (many, _) in zip(weights, cells, strict=True))
    each = [w / many for w, (many, _) in zip(weights, cells, strict=True)]
    if max(each) > min(each) * (1 + _ROUNDING):
        worse, better = _pooled(strata)
        pooled = worse + better - (better - worse) ** 2
        own = sum(w * w * variance for w, (_, variance) in zip(weights, cells, strict=True))
        pairs = min(pairs, pooled / own) if pooled > 0 and own > 0 else pairs
    return pairs / design_effect(strata, n=n, confidence=confidence)


def _pooled(strata: Sequence[Stratum]) -> tuple[float, float]:
    """Return the weighted means of the cells' discordant shares."""
    shares = [stratum.discordant() for stratum in strata]
    weights = test_weights(strata)
    return (
        sum(weight * worse for weight, (worse, _) in zip(weights, shares, strict=True)),
        sum(weight * better for weight, (_, better) in zip(weights, shares, strict=True)),
    )


def test_weights(strata: Sequence[Stratum]) -> list[float]:
    """Return each cell's weight: 1 / (tests · cells of its test)."""
    cells = Counter(stratum.test for stratum in strata)
    return [1 / (len(cells) * cells[stratum.test]) for stratum in strata]


def design_effect(
    strata: Sequence[Stratum], *, n: int | None = None, confidence: float = CONFIDENCE
) -> float:
    """Return by how much the variance grows since cells share their seeds.

    The cluster-robust variance (clusters: test and seed; of tests that share seeds the seed alone)
    over that of independent cells, at least 1, times (t / z)² for the number of clusters. Few
    discordant pairs say little of how cells go together, so that it is averaged with what is
    assumed of them before any is seen, which counts for one pair: complete dependence of the cells
    of a test. Between tests that share seeds it is `paired.LEAST`, and counts for two. At most
    what complete dependence of all that may go together gives; 1 where nothing may.

    Args:
        n: Trials a side of each cell to which that is scaled; None for those that there are.
    """
    groups: dict[str | int, Counter[str]] = defaultdict(Counter)
    for stratum in strata:
        groups[stratum.sharing][stratum.test] += 1
    most = max(group.total() for group in groups.values())
    if most == 1:
        return 1.0
    clusters: dict[tuple[str | int, int], float] = defaultdict(float)
    alone = unit = trials = 0.0
    for stratum, weight in zip(strata, test_weights(strata), strict=True):
        many, _ = stratum.precision()
        unit += (weight / many) ** 2 / len(strata)
        trials += many / len(strata)
        for seed, influence in stratum.influences():
            clusters[stratum.sharing, seed] += weight * influence
            alone += (weight * influence) ** 2
    df = len(clusters) - len(groups) if n is None else (n - 1) * len(groups)
    if df < 1:
        return float(most)
    small = (student_quantile(df, confidence=confidence) / normal_quantile(confidence)) ** 2
    together = max(alone, sum(value * value for value in clusters.values()))
    # Both in discordant pairs, of which n trials a side would show more.
    scale = 1 / unit if n is None else n / trials / unit
    unseen = _UNSEEN[any(len(group) > 1 for group in groups.values())]
    assumed = max(max(group.values()) * least_effect(len(group)) for group in groups.values())
    effect = (together * small * scale + unseen * assumed) / (alone * scale + unseen)
    return min(float(most), max(1.0, effect))


def across_tests(strata: Sequence[Stratum], *, confidence: float = CONFIDENCE) -> Interval | None:
    """Return Student's interval of the mean difference, the tests being a sample of such tests.

    Its standard error is cluster-robust by test (`clustered.mean_over_tests`); never narrower
    than that for these very tests. None for fewer than two tests.
    """
    by_test: dict[str, list[float]] = defaultdict(list)
    for stratum in strata:
        (up, up_n), (down, down_n) = stratum.counts()
        by_test[stratum.test].append(up / up_n - down / down_n)
    count = len(by_test)
    if count < 2:
        return None
    means = [sum(found) / len(found) for found in by_test.values()]
    mean = sum(means) / count
    error = sqrt(sum((value - mean) ** 2 for value in means) / (count - 1) / count)
    reach = student_quantile(count - 1, confidence=confidence) * error
    these = stratified_difference(strata, confidence=confidence).interval
    return Interval(
        low=max(-1.0, min(these.low, mean - reach)), high=min(1.0, max(these.high, mean + reach))
    )


def overall_p(strata: Sequence[Stratum]) -> float:
    """Return the exact two-sided p-value of «no cell differs», over all cells.

    Where every cell is paired, `sign_flip_p` over test and seed (of tests that share seeds over
    the seed); with one cell a test that is the pooled exact McNemar test. Else `exact_cmh_p` over
    all trials; it takes them to be independent, so that where tests share seeds the larger p of it
    and of the cluster-robust `student_p` is told.
    """
    if not all(stratum.paired for stratum in strata):
        p = exact_cmh_p([stratum.counts() for stratum in strata])
        shared = any(stratum.luck is not None for stratum in strata)
        return max(p, student_p(strata)) if shared else p
    sums: dict[tuple[str | int, int], int] = defaultdict(int)
    for stratum in strata:
        for seed, passed in stratum.candidate.items():
            sums[stratum.sharing, seed] += passed - stratum.baseline[seed]
    return sign_flip_p(list(sums.values()))


def student_p(strata: Sequence[Stratum]) -> float:
    """Return the two-sided p-value of the mean difference by its cluster-robust standard error.

    Trials that share test and seed, of tests that share seeds those of a seed, are a cluster; the
    quantile is Student's for few of them (A. C. Cameron and D. L. Miller, Journal of Human
    Resources 50(2) (2015)). 1 where nothing varied, or there is one cluster.
    """
    from scipy.special import stdtr

    clusters: dict[tuple[str | int, int], float] = defaultdict(float)
    mean = 0.0
    for stratum, weight in zip(strata, test_weights(strata), strict=True):
        (up, up_n), (down, down_n) = stratum.counts()
        mean += weight * (up / up_n - down / down_n)
        for seed, influence in stratum.influences():
            clusters[stratum.sharing, seed] += weight * influence
    variance = sum(value * value for value in clusters.values())
    df = len(clusters) - len({stratum.sharing for stratum in strata})
    if df < 1 or variance == 0:
        return 1.0
    return min(1.0, 2 * float(stdtr(df, -abs(mean) / sqrt(variance))))


def sign_flip_p(sums: Sequence[int]) -> float:
    """Return the exact two-sided p-value of a sum of clusters whose signs are a coin's.

    If the candidate is no different, swapping the two sides of all trials that share a seed
    changes nothing, whatever their dependence, so each cluster's sum is as likely to be negative
    as positive. Source: R. A. Fisher's permutation test of paired differences (The Design of
    Experiments (1935), section 21). With sums of ±1 it is the exact sign test.
    """
    sizes = Counter(abs(value) for value in sums if value)
    observed = abs(sum(sums))
    if not sizes or observed == 0:
        return 1.0
    if set(sizes) == {1}:
        return mcnemar_exact((sizes[1] - observed) // 2, (sizes[1] + observed) // 2)
    import numpy as np

    mass: NDArray[np.float64] = np.ones(1)
    for size, count in sizes.items():
        steps = np.zeros(size * count + 1)
        steps[::size] = _coin(count)
        mass = np.convolve(mass, steps)
    # The place k of `mass` stands for a sum of 2k − the largest sum.
    largest = len(mass) - 1
    return min(1.0, 2 * float(mass[(largest + observed + 1) // 2 :].sum()))


def exact_cmh_p(tables: Sequence[tuple[tuple[int, int], tuple[int, int]]]) -> float:
    """Return the exact two-sided p-value of the conditional test for a common odds ratio of 1.

    Given each table's margins its successes are hypergeometric; the p-value sums the chances of
    all totals that are no more likely than the one observed. With one table it is Fisher's test.
    Sources: N. Mantel and W. Haenszel, JNCI 22(4) (1959); the exact version, A. Agresti,
    Categorical Data Analysis (2002), section 6.7.5, as R's mantelhaen.test(exact=TRUE).

    Args:
        tables: For each cell (successes, trials) of the candidate, then of the baseline.
    """
    import numpy as np

    mass: NDArray[np.float64] = np.ones(1)
    observed = 0
    for (up, up_n), (down, down_n) in tables:
        least, chances = _hypergeometric(up_n, down_n, up + down)
        mass = np.convolve(mass, chances)
        observed += up - least
    likely = mass[observed] * (1 + 1e-7)  # Equal chances differ by rounding.
    return min(1.0, float(mass[mass <= likely].sum()))


@lru_cache(maxsize=1024)
def _hypergeometric(up_n: int, down_n: int, successes: int) -> tuple[int, tuple[float, ...]]:
    """Return the least number of successes among `up_n`, and the chances from there on."""
    least, most = max(0, successes - down_n), min(up_n, successes)
    total = comb(up_n + down_n, successes)
    return least, tuple(
        comb(up_n, k) * comb(down_n, successes - k) / total for k in range(least, most + 1)
    )


def _coin(n: int) -> list[float]:
    """Return the chances of 0 … n heads."""
    top = lgamma(n + 1) - n * log(2)
    return [exp(top - lgamma(k + 1) - lgamma(n - k + 1)) for k in range(n + 1)]


def no_worse(difference: Difference, max_drop: float) -> bool:
    """Return whether a difference is shown to be no drop larger than `max_drop`.

    Non-inferiority: the whole interval lies above −max_drop (G. Piaggio et al., CONSORT, JAMA
    308(24) (2012)).
    """
    return difference.interval.low >= -max_drop


def worse(difference: Difference, max_drop: float) -> bool:
    """Return whether a difference is shown to be a drop larger than `max_drop`."""
    return difference.interval.high < -max_drop
