"""Two cells that were asked with the same seeds: pairs of outcomes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import sqrt
from typing import TYPE_CHECKING

from matrixbench.stats.proportions import CONFIDENCE, Difference, score_paired_difference

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


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
