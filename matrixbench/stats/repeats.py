"""What several attempts at one task are worth."""

from __future__ import annotations

from math import comb


def pass_at_k(successes: int, n: int, k: int) -> float | None:
    """Return the chance that at least one of k attempts passes; None where n < k.

    The unbiased estimate 1 − C(n−c, k) / C(n, k). Source: M. Chen et al., arXiv 2107.03374
    (2021). Average it over tests; never pool the trials of several.

    Raises:
        ValueError: `successes` is not between 0 and `n`, or k is below 1.
    """
    _check(successes, n, k)
    return None if n < k else 1 - comb(n - successes, k) / comb(n, k)


def pass_hat_k(successes: int, n: int, k: int) -> float | None:
    """Return pass^k, the chance that all of k attempts pass; None where n < k.

    The unbiased estimate C(c, k) / C(n, k), where (c/n)ᵏ would be too high for small n. Source:
    S. Yao et al., τ-bench, arXiv 2406.12045 (2024).

    Raises:
        ValueError: `successes` is not between 0 and `n`, or k is below 1.
    """
    _check(successes, n, k)
    return None if n < k else comb(successes, k) / comb(n, k)


def _check(successes: int, n: int, k: int) -> None:
    if not 0 <= successes <= n:
        raise ValueError(f"{successes} successes of {n}")
    if k < 1:
        raise ValueError(f"k is {k}; it counts attempts, from 1 on")
