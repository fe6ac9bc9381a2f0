"""Two cells whose trials are not paired."""

from __future__ import annotations

from functools import lru_cache
from math import sqrt
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Floats: TypeAlias = "NDArray[np.float64]"

_FEWEST_ANGLES = 129
_NEAR = 0.98
"""How high a hump must be, as a share of the highest point, to be looked at closely."""
_ZOOMS = 5
"""Each makes the step an eighth; at the top of a hump the error is the square of it."""
_EQUAL = 1e-9
"""Fisher's p-values that differ by no more than this share are one: rounding parts them."""


def boschloo(candidate: tuple[int, int], baseline: tuple[int, int]) -> float:
    """Return the two-sided p-value of Boschloo's exact test: 1 where a side has no trials.

    Source: R. D. Boschloo, Statistica Neerlandica 24 (1970): an unconditional test that orders
    tables by Fisher's p-value, and never has less power than Fisher's. Two-sided it is twice the
    smaller of both sides, as scipy's `boschloo_exact` has it, to whose values it agrees.

    Args:
        candidate: Successes and trials.
        baseline: Successes and trials.

    Raises:
        ValueError: Successes are not between 0 and the trials.
    """
    for successes, n in (candidate, baseline):
        if not 0 <= successes <= n:
            raise ValueError(f"{successes} successes of {n}")
    if not candidate[1] or not baseline[1]:
        return 1.0
    # Neither swapping the sides nor calling failures successes changes the p-value: thus one
    # entry of the cache, of which thousands of cells fill few, serves up to four tables.
    complement = tuple((n - successes, n) for successes, n in (candidate, baseline))
    return _boschloo(*min(sorted((candidate, baseline)), sorted(complement)))


@lru_cache(maxsize=65536)
def _boschloo(one: tuple[int, int], other: tuple[int, int]) -> float:
    if not one[0] + other[0] or one[0] + other[0] == one[1] + other[1]:
        return 1.0
    return min(1.0, 2 * min(_fewer(one, other), _fewer(other, one)))


def _fewer(one: tuple[int, int], other: tuple[int, int]) -> float:
    """Return the one-sided p-value that the first side succeeds less often.

    Given s successes in all, the tables that count are those whose first side has at most some
    number: Fisher's tail, whose probability knows no common ratio. The p-value is the greatest
    that these tails come to, each with the binomial probability of its s, over all common ratios.
    """
    import numpy as np  # noqa: PLC0415  heavy: numpy

    n = one[1] + other[1]
    tails = _tails(one, other)
    rows = np.flatnonzero(tails)
    weights = np.log(tails[rows]) + _log_combinations(n)[rows]

    def chance(angles: Floats) -> Floats:
        """Return the chance of these tables at common ratios sin²(angle)."""
        up, down = (np.log(np.maximum(side(angles) ** 2, 1e-300)) for side in (np.sin, np.cos))
        logs = weights + up[..., None] * rows + down[..., None] * (n - rows)
        return np.asarray(np.exp(logs).sum(axis=-1))

    # In angles a binomial is equally wide everywhere, about 1/√n: no hump is between two points.
    angles = np.linspace(0, np.pi / 2, max(_FEWEST_ANGLES, int(8 * sqrt(n))))
    found = chance(angles)
    best = float(found.max())
    beside = np.concatenate([[0.0], found, [0.0]])
    humps = (found >= beside[:-2]) & (found >= beside[2:]) & (found >= _NEAR * best)
    around, step = angles[humps], float(angles[1])
    for _ in range(_ZOOMS):
        looked = np.clip(around[:, None] + step * np.linspace(-1, 1, 17), 0, np.pi / 2)
        found = chance(looked)
        around = looked[np.arange(len(looked)), found.argmax(axis=1)]
        best = max(best, float(found.max()))
        step /= 8
    return best


def _tails(one: tuple[int, int], other: tuple[int, int]) -> Floats:
    """Return for each s the probability of those tables with s successes that count.

    These are the ones whose one-sided Fisher's p-value is not above that of the table observed.
    """
    import numpy as np  # noqa: PLC0415  the same

    ours, theirs = _log_combinations(one[1]), _log_combinations(other[1])
    both = _log_combinations(one[1] + other[1])

    def tail(s: int) -> Floats:
        """Return Fisher's p-value of each table with s successes, from the fewest of ours on."""
        low, high = max(0, s - other[1]), min(one[1], s)
        ways = ours[low : high + 1] + theirs[s - high : s - low + 1][::-1]
        return np.cumsum(np.exp(ways - both[s]))

    s = one[0] + other[0]
    limit = tail(s)[one[0] - max(0, s - other[1])] * (1 + _EQUAL)
    counting = (tail(s) for s in range(len(both)))
    return np.array([p[p <= limit].max(initial=0.0) for p in counting])


def _log_combinations(n: int) -> Floats:
    """Return the logarithms of n over k, for k from 0 to n."""
    import numpy as np  # noqa: PLC0415  the same

    factorials = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, n + 1)))])
    return np.asarray(factorials[n] - factorials - factorials[::-1])
