"""Which of many is the best, where the best was picked by looking."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

_STEPS = 400
"""Parts into which the ratios that matter are divided."""

_SPREAD_STEPS = 21
"""Spreads of the rows' true means that are looked at."""

_SPREADS = 6.0
"""Standard deviations beyond which a row has no chance."""

_MOST_ROWS = 300
"""Rows that may be the best; the chance of others is 0 to three decimals."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Belief:
    """What is believed of a mean success ratio: its mean and variance, within [0, 1]."""

    mean: float
    variance: float


def belief(tests: Sequence[Sequence[tuple[int, int]]], *, effect: float | None = None) -> Belief:
    """Return what is believed of a mean ratio over tests, tests weighing the same.

    A cell with k of n passed is believed to have a ratio of Beta(k + ½, n − k + ½), as H. Jeffreys'
    prior has it (Proceedings of the Royal Society A 186 (1946)), so that n of n is not certainty;
    resampling what was seen would draw n of n for ever. Tests are independent.

    Args:
        tests: Of each test the cells' (passed, trials); at least one test, none without a cell.
        effect: By how much the variance grows since cells of one test share their seeds; None: as
            much as if they went wholly together.
    """
    mean = variance = 0.0
    for cells in tests:
        alone = together = 0.0
        for passed, trials in cells:
            ratio = (passed + 0.5) / (trials + 1)
            spread = ratio * (1 - ratio) / (trials + 2)
            mean += ratio / (len(cells) * len(tests))
            alone += spread
            together += sqrt(spread)
        whole = together * together
        found = whole if effect is None else min(whole, alone * effect)
        variance += found / (len(cells) * len(tests)) ** 2
    return Belief(mean=mean, variance=variance)


def chances_of_best(beliefs: Sequence[Belief]) -> list[float]:
    """Return of each mean ratio how likely it is the largest; together 1.

    The largest of many is the largest by luck too, so means are drawn towards each other by as much
    as they can have differed by chance: they are taken to be normal around a common one, with a
    spread of which every value is as likely before (A. Gelman, Bayesian Analysis 1(3) (2006)).
    Without that, a row that is said to be the best with .85 is so in a third of the cases where
    forty rows differ a little. For each spread the chance is ∫ f_i · Π F_j, summed over small
    steps: nothing is drawn. What is believed of one row is taken to be independent of the others.
    Where seeds go together between them, the chances are nearer to each other than need be.
    """
    if not beliefs:
        return []
    import numpy as np

    means = np.array([one.mean for one in beliefs])
    noise = np.array([one.variance for one in beliefs])
    widest = min(0.5, 4 * max(float(np.ptp(means)), float(np.sqrt(noise.max()))))
    chances = np.zeros(len(beliefs))
    weights: list[float] = []
    found = []
    for spread in np.linspace(0.0, widest, _SPREAD_STEPS):
        total = noise + spread * spread
        centre = float((means / total).sum() / (1 / total).sum())
        weights.append(
            -0.5
            * float(
                np.log(total).sum()
                + np.log((1 / total).sum())
                + ((means - centre) ** 2 / total).sum()
            )
        )
        drawn = centre + (means - centre) * spread * spread / total
        found.append(_largest(drawn, np.sqrt(noise * spread * spread / total)))
    likely = np.exp(np.array(weights) - max(weights))
    for weight, part in zip(likely / likely.sum(), found, strict=True):
        chances += weight * part
    return [float(chance) for chance in chances]


def _largest(means: NDArray[np.float64], errors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return of each of several independent normal variables how likely it is the largest."""
    import numpy as np
    from scipy.special import log_ndtr, ndtr

    chances: NDArray[np.float64] = np.zeros(len(means))
    if not errors.any():
        chances += 1 / len(means)
        return chances
    least = float((means - _SPREADS * errors).max())
    able = np.flatnonzero(means + _SPREADS * errors >= least)
    able = able[np.argsort(-means[able], kind="stable")][:_MOST_ROWS]
    highest = float((means + _SPREADS * errors)[able].max())
    steps = np.linspace(least, highest, _STEPS + 1)
    scaled = (steps[None, :] - means[able, None]) / errors[able, None]
    middle = log_ndtr((scaled[:, 1:] + scaled[:, :-1]) / 2)
    weights = np.diff(ndtr(scaled), axis=1) * np.exp(middle.sum(axis=0) - middle)
    found = weights.sum(axis=1)
    chances[able] = found / found.sum()
    return chances


def holm_beside_best(p_values: Sequence[float | None], rows: int) -> list[float | None]:
    """Return p-values of the best row against others, corrected for its having been picked.

    Any row could have come out best, so that every pair of rows might have been asked: Holm's
    procedure over all rows · (rows − 1) / 2 pairs, of which those without the best are let be (S.
    Holm, Scandinavian Journal of Statistics 6(2) (1979)). If all rows that are told from the best
    are to be worse than it, the chance of any mistake is at most α whatever their dependence.

    Args:
        p_values: Of each other row; None where it was not tested.
        rows: How many rows there are.
    """
    pairs = rows * (rows - 1) // 2
    order = sorted((p, place) for place, p in enumerate(p_values) if p is not None)
    found: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for rank, (p, place) in enumerate(order):
        largest = max(largest, min(1.0, (pairs - rank) * p))
        found[place] = largest
    return found
