"""Two cells whose trials are not paired."""

from __future__ import annotations

from functools import lru_cache


def boschloo(candidate: tuple[int, int], baseline: tuple[int, int]) -> float:
    """Return the two-sided p-value of Boschloo's exact test: 1 where a side has no trials.

    Source: R. D. Boschloo, Statistica Neerlandica 24 (1970): an unconditional test that orders
    tables by Fisher's p-value, and never has less power than Fisher's. scipy computes it.

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
    passed = [one[0], other[0]]
    failed = [one[1] - one[0], other[1] - other[0]]
    if not any(passed) or not any(failed):
        return 1.0
    from scipy.stats import boschloo_exact  # noqa: PLC0415  heavy: scipy.stats takes half a second

    return min(1.0, float(boschloo_exact([passed, failed]).pvalue))
