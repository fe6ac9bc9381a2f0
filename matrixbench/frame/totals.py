"""Totals over tests: which value of some axes does best, tests weighing the same."""

from __future__ import annotations

from math import inf, isnan, nan
from statistics import fmean, median
from typing import TYPE_CHECKING, Any, TypeAlias

from matrixbench.errors import UsageError
from matrixbench.frame.columns import pass_columns
from matrixbench.frame.intervals import IntervalKind
from matrixbench.frame.pass_k import with_pass_k
from matrixbench.frame.standing import STANDING_COLUMNS, standings
from matrixbench.frame.tables import axes_of
from matrixbench.frame.tally import CellStatus, one_draw
from matrixbench.plan.values import label
from matrixbench.spec.wording import choose
from matrixbench.stats import Interval
from matrixbench.stats.clustered import Ratio, mean_of_these_tests, mean_over_tests, ratio_of
from matrixbench.stats.shared_luck import Shared, mean_effect

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pandas import DataFrame

    from matrixbench.frame.outcomes import Outcomes

TOTAL_COLUMNS: Mapping[str, str] = {
    "tests": "How many tests have a trial that counts.",
    "cells": "How many cells have one.",
    "missing": "How many points of the matrix another row has measured and this one has not: where "
    "this is not 0, the row rests on other cells than the others.",
    "trials": "How many trials count (n): passed, failed and rejected ones.",
    "passed": "Trials in which every check passed.",
    "failed": "Trials in which the model answered and a check said no, or time ran out.",
    "rejected": "Trials that the server could not turn into a reply; they count.",
    "errored": "Trials in which nothing was measured; they do not count.",
    "one_reply": "How many cells gave one and the same reply to several seeds although their "
    "sampling is not greedy.",
    "seeds_ignored": "How many cells' trials are one draw, since their launch is shown to ignore "
    "seeds.",
    "certain": "How many cells are without chance: greedy, or decided by the request. Each is "
    "worth one trial.",
    "adaptive": "How many cells could stop early: their ratios, pass@k and pass^k lean outward a "
    "little.",
    "unverified": "How many cells are shown under a build that may not be what the backend has "
    "now.",
    "other_load": "How many cells have trials and yet no times and rates, since these ran under "
    "another load.",
    "success_ratio": "Mean over tests of their success ratios, between 0 and 1; a test's is the "
    "mean over its cells.",
    "low": "Lower end of its 95 % interval for such tests: clustered by test, Student's.",
    "high": "Upper end of the same interval.",
    "these_low": "Lower end of its 95 % interval for these very tests: only the trials are chance.",
    "these_high": "Upper end of the same interval.",
    **STANDING_COLUMNS,
    "latency_p50_s": "Median over cells of their median latencies, in seconds.",
    "time_to_first_token_p50_s": "The same of the time to the first token, in seconds.",
    "token_gap_p50_s": "The same of the time between tokens of streamed replies, in seconds.",
    "prompt_tokens_per_s": "The same of the rate of prompt processing, in tokens per second.",
    "completion_tokens_per_s": "The same of the rate of completion tokens, in tokens per second.",
    "completion_tokens": "The same of the number of completion tokens.",
    "computed_tokens": "The same of the number of prompt tokens that were computed.",
    "cached_share": "The same of the share of prompt tokens that came from the server's cache.",
    "draft_accepted_share": "The same of the share of drafted tokens that the model took.",
}
"""What stands in each column of `total_frame` that is not an axis, in the columns' order."""

_COUNTS = ("trials", "passed", "failed", "rejected", "errored")
_SPEEDS = (
    "latency_p50_s",
    "time_to_first_token_p50_s",
    "token_gap_p50_s",
    "prompt_tokens_per_s",
    "completion_tokens_per_s",
    "completion_tokens",
    "computed_tokens",
    "cached_share",
    "draft_accepted_share",
)
_SERVER = ("backend", "binary", "model", "chat_template")
_SERVER_PREFIXES = ("options.", "model.")
_TEST = "test"

_Row: TypeAlias = "dict[str, Any]"
_Point: TypeAlias = "tuple[str, ...]"


def total_frame(
    frame: DataFrame,
    by: Sequence[str] = (),
    *,
    ks: Sequence[int] = (),
    common: bool = False,
    outcomes: Outcomes | None = None,
) -> DataFrame:
    """Return one row for each combination of some axes' values, the best first.

    Its columns are those axes, `TOTAL_COLUMNS`, and for each k `pass_at_K` and `pass_hat_K`, means
    over tests too.

    Args:
        frame: One row a cell (`tables.cell_frame`).
        by: The axes. Default: `ranked_axes`.
        ks: Numbers of attempts, from 1 on.
        common: Whether only points count that every row has measured.
        outcomes: Which trials of the cells passed; without it no row is tested against the best.

    Raises:
        UsageError: There is no such axis, or the rows have no point in common.
    """
    import pandas as pd  # noqa: PLC0415  heavy: half a second

    axes = _known(frame, by) if by else ranked_axes(frame)
    groups = _groups(with_pass_k(frame, ks), axes)
    points = _points(groups.values(), [axis for axis in axes_of(frame) if axis not in axes])
    if common and groups:
        groups, points = _in_common(groups, points)
    everywhere = frozenset[_Point]().union(*map(set, points))
    found = [
        (
            {
                **{axis: cells[0][axis] for axis in axes},
                **_total(cells, ks),
                "missing": len(everywhere - set(where)),
            },
            list(zip(where, (cell for cell in cells if cell["trials"]), strict=True)),
        )
        for cells, where in zip(groups.values(), points, strict=True)
    ]
    found.sort(key=lambda one: _place(one[0]))
    standing = standings([cells for _, cells in found], outcomes)
    rows = [{**row, **stands} for (row, _), stands in zip(found, standing, strict=True)]
    columns = [*axes, *TOTAL_COLUMNS, *(name for k in ks for name in pass_columns(k))]
    objects = {*axes, "told_from_best"}
    return pd.DataFrame(
        {
            name: pd.Series([row[name] for row in rows], dtype=object if name in objects else None)
            for name in columns
        },
        columns=columns,
    )


def ranked_axes(frame: DataFrame) -> list[str]:
    """Return the axes that one chooses by: those of servers, models and templates that vary.

    Where none does: any other that varies, but tests and their parameters; none where none does.
    """
    applies = frame[frame["status"] != CellStatus.NOT_APPLICABLE.value]
    varying = [axis for axis in axes_of(frame) if len({_text(v) for v in applies[axis]}) > 1]
    chosen = [axis for axis in varying if axis in _SERVER or axis.startswith(_SERVER_PREFIXES)]
    others = [axis for axis in varying if axis != _TEST and not axis.startswith("parameters.")]
    return chosen or others


def _known(frame: DataFrame, by: Sequence[str]) -> list[str]:
    known = axes_of(frame)
    for axis in by:
        if axis not in known:
            raise UsageError(
                f"no selected cell has the axis «{axis}»",
                where="--by",
                hint=choose(axis, list(known), what="the axes"),
            )
    return list(dict.fromkeys(by))


def _groups(frame: DataFrame, axes: Sequence[str]) -> dict[_Point, list[_Row]]:
    groups: dict[_Point, list[_Row]] = {}
    for record in frame.to_dict("records"):
        if record["status"] != CellStatus.NOT_APPLICABLE:
            row = {str(name): value for name, value in record.items()}
            groups.setdefault(tuple(_text(row[axis]) for axis in axes), []).append(row)
    return groups


def _points(groups: Iterable[Sequence[_Row]], axes: Sequence[str]) -> list[list[_Point]]:
    """Return where each row stands on the axes that all groups have; without a trial nowhere."""
    groups = list(groups)
    shared = [
        axis
        for axis in axes
        if all(any(_text(row[axis]) != "null" for row in rows) for rows in groups)
    ]
    return [
        [tuple(_text(row[axis]) for axis in shared) for row in rows if row["trials"]]
        for rows in groups
    ]


def _in_common(
    groups: Mapping[_Point, list[_Row]], points: Sequence[Sequence[_Point]]
) -> tuple[dict[_Point, list[_Row]], list[list[_Point]]]:
    shared = set(points[0]).intersection(*points[1:])
    if not shared:
        raise UsageError(
            "no point has been measured in every row",
            where="--common",
            hint="leave --common out, or let --where choose fewer rows",
        )
    kept = {
        key: [
            row
            for row, point in zip((r for r in rows if r["trials"]), found, strict=True)
            if point in shared
        ]
        for (key, rows), found in zip(groups.items(), points, strict=True)
    }
    return kept, [[point for point in found if point in shared] for found in points]


def _total(cells: Sequence[_Row], ks: Sequence[int]) -> _Row:
    measured = [cell for cell in cells if cell["trials"]]
    tests = _by_test(measured)
    ratios = [[_ratio(cell) for cell in found] for found in tests]
    luck = _luck(tests)
    mean = mean_over_tests(ratios, luck=luck)
    these = mean_of_these_tests(ratios, luck=luck) if ratios else Interval(low=0.0, high=1.0)
    return {
        "tests": len(tests),
        "cells": len(measured),
        **{name: int(sum(cell[name] for cell in cells)) for name in _COUNTS},
        "one_reply": sum(bool(cell["one_reply"]) for cell in measured),
        "seeds_ignored": sum(map(one_draw, measured)),
        "certain": sum(isnan(cell["low"]) for cell in measured),
        "adaptive": sum(bool(cell["adaptive"]) for cell in measured),
        "unverified": sum(isinstance(cell["unverified"], str) for cell in measured),
        "other_load": sum(isinstance(cell["speed_reason"], str) for cell in measured),
        "success_ratio": nan if mean is None else mean.estimate,
        "low": 0.0 if mean is None else mean.interval.low,
        "high": 1.0 if mean is None else mean.interval.high,
        "these_low": these.low,
        "these_high": these.high,
        **{name: _median(cell[name] for cell in measured) for name in _SPEEDS},
        **{name: _mean(tests, name) for k in ks for name in pass_columns(k)},
    }


def _by_test(cells: Iterable[_Row]) -> list[list[_Row]]:
    tests: dict[str, list[_Row]] = {}
    for cell in cells:
        tests.setdefault(_text(cell.get(_TEST)), []).append(cell)
    return list(tests.values())


def _luck(tests: Sequence[Sequence[_Row]]) -> list[float]:
    """Return the design effect of each test; 1 where it shares no seeds with another one."""
    shared = [[_shared(cell, place) for cell in cells] for place, cells in enumerate(tests)]
    known = [one for cells in shared for one in cells if one is not None]
    effect = mean_effect(known) if known else 1.0
    return [effect if any(cells) else 1.0 for cells in shared]


def _shared(cell: _Row, test: int) -> Shared | None:
    """Return what is known of a cell that shares seeds; None where there is no chance in it."""
    told = cell.get("shared_luck")
    if not isinstance(told, str) or isnan(cell["low"]):
        return None
    luck, _, signs = told.partition(":")
    passed = {place: sign == "1" for place, sign in enumerate(signs) if sign != "-"}
    return Shared(test=str(test), luck=int(luck), passed=passed)


def _ratio(cell: _Row) -> Ratio:
    """Return a cell's ratio; where repeats say nothing new it is worth one trial.

    Whichever interval the cell itself was given: the mean's is built of Wilson's.
    """
    ratio = float(cell["success_ratio"])
    if isnan(cell["low"]):
        return ratio_of(ratio, 1)
    if cell["interval"] != IntervalKind.SEQUENTIAL:
        return ratio_of(ratio * cell["draws"], cell["draws"])
    return Ratio(estimate=ratio, interval=Interval(low=cell["low"], high=cell["high"]), n=None)


def _mean(tests: Iterable[Sequence[_Row]], name: str) -> float:
    """Return a mean over tests of means over cells that have a value; missing for want of one."""
    known = [[cell[name] for cell in cells if not isnan(cell[name])] for cells in tests]
    return fmean(map(fmean, known)) if known and all(known) else nan


def _median(values: Iterable[float]) -> float:
    known = [value for value in values if not isnan(value)]
    return float(median(known)) if known else nan


def _text(value: object) -> str:
    missing = isinstance(value, float) and isnan(value)
    return label(None if missing else value)


def _place(row: _Row) -> tuple[float, float]:
    """Return what rows are ordered by: the best first, of equals the faster, unmeasured last."""
    ratio, latency = row["success_ratio"], row["latency_p50_s"]
    return (inf if isnan(ratio) else -ratio, inf if isnan(latency) else latency)
