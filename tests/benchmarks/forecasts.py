"""Comparisons that say what they decide, and not what more trials would."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING
from unittest.mock import patch

from matrixbench.comparison import gate, totals

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def no_forecasts() -> Iterator[None]:
    """Leave out the trials that would decide and the drops that would be seen.

    They are told beside a verdict and are no part of it, and take most of a comparison's time:
    simulations that count verdicts do without.
    """
    with (
        patch.object(gate, "trials_to_decide", return_value=None),
        patch.object(totals, "with_detectable_drops", side_effect=lambda result, _: result),
    ):
        yield
