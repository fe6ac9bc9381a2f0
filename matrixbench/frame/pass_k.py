"""pass@k and pass^k as columns of a cell frame."""

from __future__ import annotations

from math import nan
from typing import TYPE_CHECKING

from matrixbench.frame.columns import pass_columns
from matrixbench.stats.repeats import pass_at_k, pass_hat_k

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pandas import DataFrame

DEFAULT_K = (5,)
"""For which numbers of attempts where nobody says."""

LEANS = "~"
"""Stands before a pass@k or pass^k that leans outward, since the cell's trials are adaptive."""


def with_pass_k(frame: DataFrame, ks: Sequence[int] = DEFAULT_K) -> DataFrame:
    """Return a cell frame with the columns `pass_at_K` and `pass_hat_K` for each k, at its end.

    Raises:
        ValueError: A k is below 1.
    """
    wider = frame.copy()
    counts = list(zip(frame["passed"], frame["trials"], frame["draws"], strict=True))
    for k in dict.fromkeys(ks):
        found = [pass_k(int(passed), int(n), int(draws), k) for passed, n, draws in counts]
        for place, name in enumerate(pass_columns(k)):
            wider[name] = [nan if both[place] is None else both[place] for both in found]
    wider.attrs = frame.attrs
    return wider


def pass_k(passed: int, n: int, draws: int, k: int) -> tuple[float | None, float | None]:
    """Return pass@k and pass^k of `n` trials; None where there are fewer draws than attempts.

    Args:
        passed: How many passed.
        n: How many trials.
        draws: How many draws they are: n, or 1 where all of them are one.
        k: How many attempts are meant.
    """
    if draws == n:
        return pass_at_k(passed, n, k), pass_hat_k(passed, n, k)
    return (passed / n, passed / n) if k == 1 else (None, None)
