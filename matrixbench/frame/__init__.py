"""Tidy pandas tables: one row a cell, one row a trial, a column for every axis.

`columns` says what stands in them, `tally` summarizes a cell, `intervals` gives its interval,
`tables` makes the frames, `pass_k` adds what several attempts are worth, `totals` sums up over
tests, `standing` holds rows against the best of them by the seeds of `outcomes`. pandas is
imported inside the functions: it costs half a second that `plan` should not pay.
"""

from __future__ import annotations

from matrixbench.frame.columns import COLUMNS, TRIAL_COLUMNS, pass_columns
from matrixbench.frame.intervals import IntervalKind, ends_of
from matrixbench.frame.outcomes import Outcomes
from matrixbench.frame.pass_k import DEFAULT_K, LEANS, pass_k, with_pass_k
from matrixbench.frame.tables import AXES_ATTR, axes_of, cell_frame, trial_frame
from matrixbench.frame.tally import CellStatus, Square, one_draw
from matrixbench.frame.totals import TOTAL_COLUMNS, ranked_axes, total_frame

__all__ = [
    "AXES_ATTR",
    "COLUMNS",
    "DEFAULT_K",
    "LEANS",
    "TOTAL_COLUMNS",
    "TRIAL_COLUMNS",
    "CellStatus",
    "IntervalKind",
    "Outcomes",
    "Square",
    "axes_of",
    "cell_frame",
    "ends_of",
    "one_draw",
    "pass_columns",
    "pass_k",
    "ranked_axes",
    "total_frame",
    "trial_frame",
    "with_pass_k",
]
