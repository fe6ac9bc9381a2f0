"""How likely a comparison shows a drop, or a gate decides: planned before trials are paid for.

Nothing is drawn: chances are summed over all outcomes that are not negligible, so that the same
question has the same answer. A pair of trials under one seed is worse (only the baseline passes),
better or concordant; the numbers of worse and better pairs are multinomial. Power of the exact
McNemar test: S. W. Duffy, Biometrics 40(2) (1984); of Boschloo's: R. D. Boschloo, Statistica
Neerlandica 24 (1970); of the test over strata a normal approximation with half a step of
continuity (J. M. Nam, Biometrics 48(2) (1992)).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import log, sqrt
from statistics import NormalDist
from typing import TYPE_CHECKING

from matrixbench.stats.proportions import CONFIDENCE, border, normal_quantile

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Flags = NDArray[np.bool_]

POWER = 0.8
"""The share of runs that is promised (J. Cohen, Statistical Power Analysis (1988), section 2.4)."""

RATIO, PHI = 0.9, 0.3
"""The baseline's success ratio and the correlation of pairs where nothing is stored."""

_ALPHA = 1 - CONFIDENCE
_SPREADS = 6.0
"""Standard deviations of a count beyond which its chances are negligible."""

_MOST_PAIRS = 1_500
"""Beyond, McNemar's test is the normal one: sums over more outcomes take long and say the same."""

_MOST_GATED = 20_000

_MOST_ALONE = 120
"""Trials of a side beyond which Boschloo's test is taken for the normal one that it becomes."""

_HALVINGS = 14
_RATIOS = 128
"""Common ratios between 0 and 1 over which Boschloo's test takes the worst."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sides:
    """What is known, or assumed, of the outcomes that will be compared.

    Args:
        ratio: Mean success ratio of the baseline, over tests.
        phi: Correlation of the two sides' outcomes under one seed, within cells.
        variance: Mean over tests of p · (1 − p), p being a test's ratio. None: all tests have the
            same ratio. It is less where tests differ.
        ratio_known: Whether ratio and variance were measured; else they are assumed.
        phi_known: The same of phi.
    """

    ratio: float = RATIO
    phi: float = PHI
    variance: float | None = None
    ratio_known: bool = False
    phi_known: bool = False

    def discordant(self, drop: float) -> tuple[float, float]:
        """Return the chance that a pair is worse, and that it is better, at a drop of every test.

        The difference of a pair has the variance v + w − 2 · phi · √(v · w), with the two sides'
        v and w, and its mean square is the chance of a discordant pair.
        """
        down = self.ratio * (1 - self.ratio) if self.variance is None else self.variance
        # p − d in place of p: (p − d)(1 − p + d), in which p · p stands in `down` alone.
        up = max(0.0, down + drop * (2 * self.ratio - 1) - drop * drop)
        square = up + down - 2 * self.phi * sqrt(up * down) + drop * drop
        square = min(1.0, max(abs(drop), square))
        return (square + drop) / 2, (square - drop) / 2


def sides_of(
    tests: Sequence[Sequence[tuple[float, int]]], phi: float | None, *, default_phi: float = PHI
) -> Sides:
    """Return what is known of a baseline: of each test the successes and trials of its cells.

    p · (1 − p) of a cell is estimated without bias, k (n − k) / n (n − 1). It is taken to be no
    less than half a failure in all trials would make it, for what always passed may fail yet.
    """
    known = [[(k, n) for k, n in cells if n] for cells in tests]
    known = [cells for cells in known if cells]
    said = default_phi if phi is None else phi
    if not known:
        return Sides(phi=said, phi_known=phi is not None)
    ratio = sum(sum(k / n for k, n in cells) / len(cells) for cells in known) / len(known)
    trials = sum(n for cells in known for _, n in cells)
    spread = [
        sum(k * (n - k) / n / max(n - 1, 1) for k, n in cells) / len(cells) for cells in known
    ]
    return Sides(
        ratio=ratio,
        phi=said,
        variance=min(0.25, max(sum(spread) / len(spread), 0.5 / (trials + 1))),
        ratio_known=True,
        phi_known=phi is not None,
    )


def drop_shown(
    power: Callable[[float], float], *, most: float = 1.0, share: float = POWER
) -> float | None:
    """Return the smallest drop that is shown in a share of runs; None where none is.

    Args:
        power: Drop → the share of runs that show it; it grows with the drop.
        most: The largest drop that there can be: the baseline's ratio.
    """

    def shown(drop: float) -> bool:
        return power(drop) >= share

    return border(most, 0.0, shown, _HALVINGS) if shown(most) else None


def trials_for(
    power: Callable[[int], float], *, least: int = 1, most: int, share: float = POWER
) -> int | None:
    """Return the fewest trials with which a share of runs decides; None where `most` do not.

    Counts are whole, so that power has teeth: one trial more may give a little less. One trial
    fewer than what is returned is too few; still fewer may by luck be enough.
    """
    low, high = max(1, least) - 1, max(1, least)
    while power(high) < share:
        if high >= most:
            return None
        low, high = high, min(most, 2 * high)
    while low + 1 < high:
        middle = (low + high) // 2
        if power(middle) >= share:
            high = middle
        else:
            low = middle
    return high


def mcnemar_power(pairs: int, worse: float, better: float, *, alpha: float = _ALPHA) -> float:
    """Return how likely the exact McNemar test shows that the candidate is worse.

    Args:
        pairs: How many pairs there are, all independent.
        worse: The chance that a pair is worse.
        better: The chance that it is better.
    """
    import numpy as np

    chance = worse + better
    if pairs < 1 or chance <= 0:
        return 0.0
    if pairs > _MOST_PAIRS:
        return _normal_mcnemar(pairs, worse, better, alpha)
    # As many discordant pairs as are not unlikely, and of each the chance of enough worse ones.
    counts = np.arange(*_range(pairs, chance))
    needed = _least_worse(int(counts[-1]), alpha)[counts]
    kept = counts >= needed
    counts, needed = counts[kept], needed[kept]
    if not len(counts):
        return 0.0
    likely = _binomial(pairs, chance, counts)
    tails = _upper_tails(counts, needed, min(1.0, worse / chance))
    return float((likely * tails).sum())


def boschloo_power(trials: int, ratio: float, drop: float, *, alpha: float = _ALPHA) -> float:
    """Return how likely Boschloo's test of one cell shows a drop from a ratio, unpaired."""
    import numpy as np

    if trials < 1:
        return 0.0
    if trials > _MOST_ALONE:
        return stratified_power(1, trials, Sides(ratio=ratio, phi=0.0), drop, alpha=alpha)
    counts = np.arange(trials + 1)
    down, up = _binomial(trials, ratio, counts), _binomial(trials, max(0.0, ratio - drop), counts)
    return float((np.outer(up, down) * _boschloo_rejects(trials, alpha)).sum())


def stratified_power(
    cells: float, trials: int, sides: Sides, drop: float, *, alpha: float = _ALPHA
) -> float:
    """Return how likely the exact test over unpaired cells shows a drop; approximately.

    Args:
        cells: How many cells there are, or as many independent ones as they are worth.
        trials: Trials of each side of each.
        sides: What is known of them; unpaired, so that phi does not count.
    """
    down = sides.ratio * (1 - sides.ratio) if sides.variance is None else sides.variance
    up = max(0.0, down + drop * (2 * sides.ratio - 1) - drop * drop)
    # Given a table's margins its candidate's successes are hypergeometric.
    mixed = (up + down) / 2 + drop * drop / 4
    conditional = cells * trials * mixed / 2
    spread = sqrt(cells * trials * (up + down) / 4)
    beyond = cells * trials * drop / 2 - _quantile(alpha) * sqrt(conditional) - 0.5
    normal = NormalDist().cdf(beyond / spread) if spread else float(beyond >= 0)
    # Rare failures are on either side as by a coin: then it is McNemar's test of them, or sharper.
    lost, kept = 1 - sides.ratio + drop, 1 - sides.ratio
    rare = mcnemar_power(round(cells * trials), lost, kept, alpha=alpha) if lost + kept < 1 else 0.0
    return max(normal, rare)


def gate_power(
    pairs: int,
    worse: float,
    better: float,
    *,
    max_drop: float,
    decides: Callable[[Floats, Floats, int, float], Flags],
) -> float:
    """Return how likely a gate decides, over all numbers of worse and better pairs.

    Beyond `_MOST_GATED` pairs the interval is taken for the normal one that it becomes.

    Args:
        pairs: How many pairs there are, all independent.
        worse: The chance that a pair is worse.
        better: The chance that it is better.
        decides: The gate's rule: numbers of worse and of better pairs, all pairs, the limit →
            whether it decides.
    """
    import numpy as np

    if pairs < 1:
        return 0.0
    if pairs > _MOST_GATED:
        return _normal_power(pairs, worse, better, max_drop)
    lost = _some(*_range(pairs, worse))
    gained = _some(*_range(pairs, better))
    b, c = (found.ravel() for found in np.meshgrid(lost, gained, indexing="ij"))
    possible = b + c <= pairs
    b, c = b[possible], c[possible]
    chances = _trinomial(pairs, (worse, better), (b, c, pairs - b - c))
    total = chances.sum()  # Less than 1 where not every count is looked at.
    if not total:  # Every pair is discordant, and the counts that were looked at do not add up.
        return _normal_power(pairs, worse, better, max_drop)
    return float(
        (chances * decides(b.astype(float), c.astype(float), pairs, max_drop)).sum() / total
    )


def _normal_power(pairs: int, worse: float, better: float, max_drop: float) -> float:
    """Return the same by the normal interval that it becomes with many pairs."""
    drop = worse - better
    error = sqrt(max(0.0, worse + better - drop * drop) / pairs)
    if not error:
        return 1.0
    return NormalDist().cdf(abs(max_drop - drop) / error - normal_quantile(CONFIDENCE))


def tango_decides(worse: Floats, better: Floats, pairs: int, max_drop: float) -> Flags:
    """Return for which numbers of worse and better pairs Tango's interval decides.

    It lies above −max_drop or below it where the score of that very difference is beyond the
    quantile (`proportions.score_paired_difference`).
    """
    import numpy as np

    a = 2.0 * pairs
    b = -worse - better - (2 * pairs - better + worse) * max_drop
    c = worse * max_drop * (1 + max_drop)
    lost = (np.sqrt(np.maximum(0.0, b * b - 4 * a * c)) - b) / (2 * a)
    variance = pairs * (2 * lost - max_drop * (1 + max_drop))
    excess = better - worse + pairs * max_drop
    with np.errstate(divide="ignore", invalid="ignore"):
        score = np.where(variance > 0, excess / np.sqrt(variance), np.sign(excess) * np.inf)
    decided: Flags = np.abs(np.nan_to_num(score, nan=0.0)) >= normal_quantile(CONFIDENCE)
    return decided


def gate_decides(worse: Floats, better: Floats, pairs: int, max_drop: float) -> Flags:
    """Return for which numbers the gate decides: a regression takes the exact test as well."""
    import numpy as np

    decided = tango_decides(worse, better, pairs, max_drop)
    if pairs > _MOST_PAIRS:
        return decided
    discordant = (worse + better).astype(np.int64)
    needed = _least_worse(min(pairs, int(discordant.max(initial=0))), _ALPHA)[discordant]
    regression = worse - better > pairs * max_drop
    confirmed: Flags = decided & (~regression | (worse >= needed))
    return confirmed


def _some(low: int, high: int, most: int = 160) -> NDArray[np.int64]:
    """Return whole numbers from `low` up to `high`, evenly thinned to a number of them at most."""
    import numpy as np

    return np.arange(low, high, max(1, -(-(high - low) // most)))


def _range(n: int, chance: float) -> tuple[int, int]:
    """Return from where up to where (exclusive) a binomial count is not unlikely."""
    middle, spread = n * chance, sqrt(n * chance * (1 - chance))
    reach = _SPREADS * spread + 4
    return max(0, int(middle - reach)), min(n, int(middle + reach) + 1) + 1


def _log_factorials(most: int) -> Floats:
    """Return the logarithms of 0!, 1!, … up to at least `most`!."""
    return _log_factorials_up_to(1 << max(8, most.bit_length()))  # Few sizes, so that few are kept.


@lru_cache(maxsize=8)
def _log_factorials_up_to(size: int) -> Floats:
    import numpy as np

    logs: Floats = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, size + 1)))])
    return logs


def _binomial(n: int, chance: float, counts: NDArray[np.int64]) -> Floats:
    import numpy as np

    if chance <= 0 or chance >= 1:
        return np.where(counts == (n if chance >= 1 else 0), 1.0, 0.0)
    logs = _log_factorials(n)
    power = logs[n] - logs[counts] - logs[n - counts]
    chances: Floats = np.exp(power + counts * log(chance) + (n - counts) * log(1 - chance))
    return chances


def _trinomial(
    n: int, chances: tuple[float, float], counts: tuple[NDArray[np.int64], ...]
) -> Floats:
    import numpy as np

    logs = _log_factorials(n)
    power = np.full(counts[0].shape, logs[n])
    for chance, count in zip((*chances, 1 - sum(chances)), counts, strict=True):
        spoken = count * log(chance) if chance > 0 else np.where(count > 0, -np.inf, 0.0)
        power = power - logs[count] + spoken
    found: Floats = np.exp(power)
    return found


def _upper_tails(n: NDArray[np.int64], least: NDArray[np.int64], chance: float) -> Floats:
    """Return P(X ≥ least) for X ~ Binomial(n, chance), of each n."""
    import numpy as np

    k = np.arange(int(n[-1]) + 1)
    if chance <= 0 or chance >= 1:
        return np.where(least <= (n if chance >= 1 else 0), 1.0, 0.0)
    logs = _log_factorials(int(n[-1]))
    inside = k[None, :] <= n[:, None]
    rest = np.where(inside, n[:, None] - k[None, :], 0)
    power = logs[n][:, None] - logs[k][None, :] - logs[rest]
    power = power + k[None, :] * log(chance) + rest * log(1 - chance)
    chances = np.where(inside & (k[None, :] >= least[:, None]), np.exp(power), 0.0)
    tails: Floats = chances.sum(axis=1)
    return tails


@lru_cache(maxsize=16)
def _least_worse_up_to(size: int, alpha: float) -> NDArray[np.int64]:
    import numpy as np

    found = np.empty(size + 1, dtype=np.int64)
    logs = _log_factorials(size)
    for m in range(size + 1):
        k = np.arange(m + 1)
        tails = np.cumsum(np.exp(logs[m] - logs[k] - logs[m - k] - m * log(2)))
        # 2 · P(better ≤ k) ≤ α for the k that are left over.
        few = int(np.searchsorted(2 * tails, alpha * (1 + 1e-12), side="right"))
        found[m] = m - few + 1
    return found


def _least_worse(most: int, alpha: float) -> NDArray[np.int64]:
    """Return for each number of discordant pairs how many must be worse; one more for never."""
    return _least_worse_up_to(1 << max(6, most.bit_length()), alpha)


def _normal_mcnemar(pairs: int, worse: float, better: float, alpha: float) -> float:
    """Return the power by R. J. Connor's formula (Biometrics 43(1) (1987))."""
    drop, chance = worse - better, worse + better
    spread = sqrt(max(0.0, chance - drop * drop))
    beyond = sqrt(pairs) * drop - _quantile(alpha) * sqrt(chance)
    return NormalDist().cdf(beyond / spread) if spread else float(beyond >= 0)


def _quantile(alpha: float) -> float:
    return normal_quantile(1 - alpha)


@lru_cache(maxsize=32)
def _boschloo_rejects(n: int, alpha: float) -> Flags:
    """Return of which numbers of successes (candidate, baseline) the test shows a drop.

    One tail at half the level, doubled, as scipy's two-sided test is.
    """
    import numpy as np

    counts = np.arange(n + 1)
    logs = _log_factorials(2 * n)
    choose = logs[n] - logs[counts] - logs[n - counts]
    fisher = np.empty((n + 1, n + 1))
    for total in range(2 * n + 1):
        up = np.arange(max(0, total - n), min(n, total) + 1)
        chances = np.exp(
            choose[up] + choose[total - up] - logs[2 * n] + logs[total] + logs[2 * n - total]
        )
        fisher[up, total - up] = np.cumsum(chances)
    order = np.argsort(fisher, axis=None, kind="stable")
    # Equal statistics belong together; they differ by rounding.
    groups = np.concatenate([[0], np.cumsum(np.diff(fisher.ravel()[order]) > 1e-10)])
    ends = np.searchsorted(groups, np.arange(groups[-1] + 1), side="right") - 1
    worst = np.zeros(len(order))
    for ratio in np.linspace(0, 1, _RATIOS + 1)[1:-1]:
        one = _binomial(n, float(ratio), counts)
        mass = np.cumsum(np.outer(one, one).ravel()[order])
        worst = np.maximum(worst, mass[ends][groups])
    rejects = np.zeros(len(order), dtype=bool)
    rejects[order] = 2 * worst <= alpha
    return rejects.reshape(fisher.shape)
