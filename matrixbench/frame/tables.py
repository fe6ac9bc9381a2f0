"""From squares and trials to tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from matrixbench.frame.columns import COLUMNS, TRIAL_COLUMNS, is_pass_column
from matrixbench.frame.intervals import IntervalKind
from matrixbench.frame.speeds import most_at_a_time
from matrixbench.frame.tally import Tally, not_applicable, plain, summary
from matrixbench.plan.values import label

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pandas import DataFrame

    from matrixbench.frame.tally import Square
    from matrixbench.plan.cells import Coordinates, NotApplicable
    from matrixbench.store.rows import TrialRow

AXES_ATTR = "axes"
"""Key of `DataFrame.attrs`: axis → the labels of its values, in the file's order."""


def cell_frame(
    squares: Iterable[Square],
    aside: Iterable[NotApplicable],
    trials: Iterable[TrialRow],
    *,
    axes: Mapping[str, Sequence[Any]] | None = None,
    interval: IntervalKind = IntervalKind.WILSON,
) -> DataFrame:
    """Return one row a cell: its axes, then `COLUMNS`; squares first, in the order given.

    An axis that a cell lacks, and a null one, are None. Trials of cells or builds that no square
    shows are passed over.

    Args:
        squares: The cells that apply.
        aside: The cells that do not.
        trials: The newest attempt of each trial; read once, not kept.
        axes: Axis → its values in the file's order, for charts; default: as they appear.
        interval: Which interval cells have whose number of trials is fixed.
    """
    shown = list(squares)
    lacking = list(aside)
    tallies = {(square.cell, square.build): Tally() for square in shown}
    for trial in trials:
        if (tally := tallies.get((trial.cell, trial.build))) is not None:
            tally.add(trial)
    in_force = most_at_a_time(
        (square, tallies[square.cell, square.build].speeds.groups) for square in shown
    )
    records = [
        summary(
            square,
            tallies[square.cell, square.build],
            in_force.get((square.launch, square.build)),
            interval,
        )
        for square in shown
    ]
    records += [not_applicable(cell) for cell in lacking]
    frame = _frame(
        [*(square.coordinates for square in shown), *(cell.coordinates for cell in lacking)],
        {name: [record[name] for record in records] for name in COLUMNS},
    )
    if axes is not None:
        frame.attrs[AXES_ATTR] = {
            axis: [label(value) for value in values] for axis, values in axes.items()
        }
    return frame


def trial_frame(squares: Iterable[Square], trials: Iterable[TrialRow]) -> DataFrame:
    """Return one row a trial: its axes, then `TRIAL_COLUMNS`, in the order of the trials.

    A trial that several squares share (two backends of one build) has a row for each of them.
    """
    by_cell: dict[tuple[str, str | None], list[Square]] = {}
    for square in squares:
        by_cell.setdefault((square.cell, square.build), []).append(square)
    rows = [
        (square, trial) for trial in trials for square in by_cell.get((trial.cell, trial.build), ())
    ]
    columns = {
        name: [_of_trial(trial, name) for _, trial in rows]
        for name in TRIAL_COLUMNS
        if name != "unverified"
    }
    # It is known of the square: one build may be a guess for one launch, and read of another.
    columns["unverified"] = [square.unverified or None for square, _ in rows]
    return _frame(
        [square.coordinates for square, _ in rows],
        {name: columns[name] for name in TRIAL_COLUMNS},
    )


def _of_trial(trial: TrialRow, name: str) -> object:
    value = plain(getattr(trial, name))
    return None if name == "noted" and value == "" else value


def axes_of(frame: DataFrame) -> list[str]:
    """Return the names of the columns that are axes, in the order of the columns."""
    return [
        str(name)
        for name in frame.columns
        if name not in COLUMNS and name not in TRIAL_COLUMNS and not is_pass_column(str(name))
    ]


_AS_THEY_ARE = frozenset(
    {
        *(
            "cell",
            "build",
            "unverified",
            "launches",
            "reason",
            "hint",
            "interval",
            "load",
            "shared_luck",
        ),
        *("speed_reason", "concurrency_in_force", "reply_model", "fingerprint"),
        *("top_kind", "top_reason", "kind", "noted", "reply_digest", "asked_again"),
        "seeds_ignored",
    }
)
"""Columns that may hold None, which must stay None and not become NaN."""


def _frame(coordinates: Sequence[Coordinates], columns: Mapping[str, list[Any]]) -> DataFrame:
    import pandas as pd  # noqa: PLC0415  heavy: half a second

    axes = dict.fromkeys(axis for point in coordinates for axis in point)
    table = {
        # Values stay what the file says: 0 is not 0.0, null is not NaN.
        **{axis: pd.Series([p.get(axis) for p in coordinates], dtype=object) for axis in axes},
        **{
            name: pd.Series(values, dtype=object if name in _AS_THEY_ARE else None)
            for name, values in columns.items()
        },
    }
    return pd.DataFrame(table, columns=list(table))
