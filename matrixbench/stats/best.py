"""Which of many is the best, where the best was picked by looking."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

_STEPS = 2_000
"""Parts into which the ratios that matter are divided."""

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

    A mean of beta variables is taken for the beta variable with its mean and variance, and the
    chance ∫ f_i · Π F_j is summed up over small steps: nothing is drawn. What is believed of one is
    taken to be independent of the others. Where seeds go together between them, the chances are
    nearer to each other than need be.
    """
    if not beliefs:
        return []
    import numpy as np  # noqa: PLC0415  heavy

    least = max(one.mean - _SPREADS * sqrt(one.variance) for one in beliefs)
    able = [
        place
        for place, one in enumerate(beliefs)
        if one.mean + _SPREADS * sqrt(one.variance) >= least
    ]
    able = sorted(able, key=lambda place: -beliefs[place].mean)[:_MOST_ROWS]
    edges = _distribution([beliefs[place] for place in able], max(0.0, least))
    middle = np.log(np.maximum((edges[:, 1:] + edges[:, :-1]) / 2, 1e-300))
    weights = np.diff(edges, axis=1) * np.exp(middle.sum(axis=0) - middle)
    found = weights.sum(axis=1)
    chances = [0.0] * len(beliefs)
    for place, chance in zip(able, (found / found.sum()).tolist(), strict=True):
        chances[place] = chance
    return chances


def _distribution(beliefs: Sequence[Belief], least: float) -> NDArray[np.float64]:
    """Return of each the chance to lie below each step from `least` to 1; below `least` is 0."""
    import numpy as np  # noqa: PLC0415  heavy
    from scipy.special import betainc  # noqa: PLC0415  heavy

    means = np.array([one.mean for one in beliefs])[:, None]
    worth = means * (1 - means) / np.array([one.variance for one in beliefs])[:, None] - 1
    steps = np.linspace(least, 1.0, _STEPS + 1)[None, :]
    found: NDArray[np.float64] = betainc(means * worth, (1 - means) * worth, steps)
    return found


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
