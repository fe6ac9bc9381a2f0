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


def with_pass_k(frame: DataFrame, ks: Sequence[int] = DEFAULT_K) -> DataFrame:
    """Return a cell frame with the columns `pass_at_K` and `pass_hat_K` for each k, at its end.

    Raises:
        ValueError: A k is below 1.
    """
    wider = frame.copy()
    counts = list(zip(frame["passed"], frame["trials"], strict=True))
    for k in dict.fromkeys(ks):
        for name, estimate in zip(pass_columns(k), (pass_at_k, pass_hat_k), strict=True):
            found = [estimate(int(passed), int(n), k) for passed, n in counts]
            wider[name] = [nan if value is None else value for value in found]
    wider.attrs = frame.attrs
    return wider
