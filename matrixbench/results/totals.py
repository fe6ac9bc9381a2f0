"""Totals over tests: which value of some axes does best, and how sure that is."""

from __future__ import annotations

from collections import Counter, defaultdict
from itertools import zip_longest
from math import inf, isnan, nan
from statistics import fmean, median
from typing import TYPE_CHECKING, Any, TypeAlias

from matrixbench.errors import UsageError
from matrixbench.results.experiment import Results
from matrixbench.results.tables import axes_of, cell_frame, pass_columns, with_pass_k
from matrixbench.results.tally import CellStatus, IntervalKind, as_bits, luck_of, one_draw
from matrixbench.spec.axes import TEST, Level, label, level_of, varies
from matrixbench.spec.wording import choose
from matrixbench.stats.best import Belief, belief, chances_of_best, holm_beside_best
from matrixbench.stats.clustered import Ratio, mean_of_these_tests, mean_over_tests, ratio_of
from matrixbench.stats.paired import ALPHA, Shared, mean_effect
from matrixbench.stats.proportions import Interval
from matrixbench.stats.sequential import (
    independent_evidence,
    mean_evidence,
    p_value,
    paired_evidence,
)
from matrixbench.stats.stratified import are_pairs, overall_p, sign_flip_p, stratum_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray
    from pandas import DataFrame

    from matrixbench.results.tally import Tally
    from matrixbench.stats.stratified import Stratum

STANDING_COLUMNS: Mapping[str, str] = {
    "chance_of_best": "How likely the row has the largest true mean, from Jeffreys' prior for each "
    "cell; over all rows 1. Missing where nothing was measured.",
    "p_vs_best": "Two-sided p-value of the exact test by seed against the best row, on the cells "
    "that both have; missing for the best row, and where the two have no cell to be tested on.",
    "p_vs_best_holm": "The same after Holm's correction over all pairs of rows, for any of them "
    "could have come out best.",
    "told_from_best": "Whether the row is shown to be worse than the best: the corrected p is at "
    "most 0.05. Missing for the best row, and where it was not tested.",
}
"""What stands in the columns of `total_frame` that are about the best row."""

_Row: TypeAlias = "dict[str, Any]"
"""A row of a cell frame, with the cell's `Tally` under `tally` where it is known."""

_Point: TypeAlias = "tuple[str, ...]"
_Cells: TypeAlias = "Sequence[tuple[_Point, _Row]]"
"""The measured cells of a row of totals, each with its point on the axes that all rows have."""

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

BY_ATTR = "by"
"""Key of `DataFrame.attrs`: the axes whose values a row of totals stands for."""

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


def total_frame(
    source: DataFrame | Results,
    by: Sequence[str] = (),
    *,
    ks: Sequence[int] = (),
    common: bool = False,
) -> DataFrame:
    """Return one row for each combination of some axes' values, the best first.

    Its columns are those axes, `TOTAL_COLUMNS`, and for each k `pass_at_K` and `pass_hat_K`, means
    over tests too.

    Args:
        source: Open results, or one row a cell (`cell_frame`). A table does not say which of the
            trials passed, so that no row is tested against the best.
        by: The axes. Default: `ranked_axes`.
        ks: Numbers of attempts, from 1 on.
        common: Whether only points count that every row has measured.

    Raises:
        UsageError: There is no such axis, or the rows have no point in common.
        NothingSelectedError: Of the results nothing has been measured.
    """
    import pandas as pd

    frame = cell_frame(source) if isinstance(source, Results) else source
    tallies = list(source.tallies.values()) if isinstance(source, Results) else []
    axes = _known(frame, by) if by else ranked_axes(frame)
    groups = _groups(with_pass_k(frame, ks), axes, tallies)
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
    standing = standings([cells for _, cells in found])
    rows = [{**row, **stands} for (row, _), stands in zip(found, standing, strict=True)]
    columns = [*axes, *TOTAL_COLUMNS, *(name for k in ks for name in pass_columns(k))]
    objects = {*axes, "told_from_best"}
    totals = pd.DataFrame(
        {
            name: pd.Series([row[name] for row in rows], dtype=object if name in objects else None)
            for name in columns
        },
        columns=columns,
    )
    totals.attrs[BY_ATTR] = axes
    return totals


def ranked_axes(frame: DataFrame) -> list[str]:
    """Return the axes that one chooses by: those of servers, models and templates that vary.

    Where none does: any other that varies, but tests and their parameters; none where none does.
    """
    applies = frame[frame["status"] != CellStatus.NOT_APPLICABLE.value]
    varying = [axis for axis in axes_of(frame) if varies(applies[axis])]
    chosen = [axis for axis in varying if level_of(axis) is Level.LAUNCH]
    return chosen or [axis for axis in varying if level_of(axis) is not Level.TEST]


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


def _groups(
    frame: DataFrame, axes: Sequence[str], tallies: Sequence[Tally]
) -> dict[_Point, list[_Row]]:
    groups: dict[_Point, list[_Row]] = {}
    # Cells that do not apply come last, and have none.
    for record, tally in zip_longest(frame.to_dict("records"), tallies):
        if record["status"] != CellStatus.NOT_APPLICABLE:
            row = {str(name): value for name, value in record.items()}
            row |= {} if tally is None else {"tally": tally}
            groups.setdefault(tuple(label(row[axis]) for axis in axes), []).append(row)
    return groups


def _points(groups: Iterable[Sequence[_Row]], axes: Sequence[str]) -> list[list[_Point]]:
    """Return where each row stands on the axes that all groups have; without a trial nowhere."""
    groups = list(groups)
    shared = [
        axis
        for axis in axes
        if all(any(label(row[axis]) != "null" for row in rows) for rows in groups)
    ]
    return [
        [tuple(label(row[axis]) for axis in shared) for row in rows if row["trials"]]
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
        tests.setdefault(label(cell.get(TEST)), []).append(cell)
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


def _place(row: _Row) -> tuple[float, float]:
    """Return what rows are ordered by: the best first, of equals the faster, unmeasured last."""
    ratio, latency = row["success_ratio"], row["latency_p50_s"]
    return (inf if isnan(ratio) else -ratio, inf if isnan(latency) else latency)


def standings(rows: Sequence[_Cells]) -> list[dict[str, object]]:
    """Return what `STANDING_COLUMNS` names of each row of totals, the best first.

    Nothing is tested where it is not known which of the trials passed.
    """
    measured = [place for place, cells in enumerate(rows) if cells]
    chances = chances_of_best([_belief(rows[place]) for place in measured])
    found: list[dict[str, object]] = [
        {"chance_of_best": nan, "p_vs_best": nan, "p_vs_best_holm": nan, "told_from_best": None}
        for _ in rows
    ]
    for place, chance in zip(measured, chances, strict=True):
        found[place]["chance_of_best"] = chance
    known = all("tally" in row for cells in rows for _, row in cells)
    if not known or len(measured) < 2:  # noqa: PLR2004  a pair
        return found
    best, others = measured[0], measured[1:]
    tested = [_against(rows[best], rows[place]) for place in others]
    adjusted = holm_beside_best([p for p, _ in tested], len(measured))
    for place, (p, lower), corrected in zip(others, tested, adjusted, strict=True):
        if p is None or corrected is None:
            continue
        told = corrected <= ALPHA and lower
        found[place] |= {"p_vs_best": p, "p_vs_best_holm": corrected, "told_from_best": told}
    return found


def _belief(cells: _Cells) -> Belief:
    tests: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for _, row in cells:
        # Where repeats say nothing new all of them are one trial.
        one = _single(row)
        n = 1 if one else int(row["trials"])
        passed = round(float(row["success_ratio"])) if one else int(row["passed"])
        tests[str(row.get("test"))].append((passed, n))
    return belief(list(tests.values()), effect=_effect(cells))


def _effect(cells: _Cells) -> float | None:
    """Return by how much cells that share seeds go together; None where nothing is known of it."""
    if len({_sharing(row) for _, row in cells}) == len(cells):
        return None  # Each has seeds of its own: there is nothing to go together.
    of_test = Counter(str(row.get("test")) for _, row in cells)
    clusters: dict[tuple[str | int, int], NDArray[np.float64]] = {}
    alone = 0.0
    for _, row in cells:
        found = _tally(row)
        if found is None or _single(row):
            return None
        test = str(row.get("test"))
        known, passed = found.bits()
        share = known * (passed - float(row["success_ratio"])) / int(row["trials"]) / of_test[test]
        alone += float((share * share).sum())
        key = _sharing(row), found.first_seed
        clusters[key] = _added(clusters.get(key), share)
    together = sum(float((sums * sums).sum()) for sums in clusters.values())
    return max(1.0, together / alone) if alone else None


def _sharing(row: _Row) -> str | int:
    """Return what all cells have in common whose trials of one seed may go together."""
    luck = luck_of(row)
    return str(row.get("test")) if luck is None else luck


def _added(one: NDArray[np.float64] | None, other: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the sum of two numbers a trial, of which there may be fewer of one."""
    if one is None:
        return other
    long, short = (one, other) if len(one) >= len(other) else (other, one)
    summed = long.copy()
    summed[: len(short)] += short
    return summed


def _against(best: _Cells, other: _Cells) -> tuple[float | None, bool]:
    """Return the p-value of a row against the best, and whether it is the lower one of the two.

    On the points that both have, and there on as many cells as both have; not where only one side
    is greedy, nor where all trials of a side are one draw, which is no evidence. Of greedy cells
    and those that the request alone decides one trial stands for all.
    """
    partners = [
        (one, row)
        for one, row in _partners(best, other)
        if bool(one["greedy"]) is bool(row["greedy"]) and not (one_draw(one) or one_draw(row))
    ]
    if (sums := _sums(partners)) is not None:
        return sign_flip_p(sums), sum(sums) < 0
    strata: list[Stratum] = []
    adaptive = False
    for one, row in partners:
        up, down = _passed(row), _passed(one)
        if not up or not down:
            continue
        luck = luck_of(row) if luck_of(row) is not None else luck_of(one)
        strata.append(stratum_of(str(row.get("test")), up, down, luck=luck))
        adaptive |= IntervalKind.SEQUENTIAL in {one["interval"], row["interval"]}
    if not strata:
        return None, False
    p = _sequential(strata) if adaptive else overall_p(strata)
    counts = [stratum.counts() for stratum in strata]
    return p, sum(up[0] / up[1] - down[0] / down[1] for up, down in counts) < 0


def _sums(partners: Sequence[tuple[_Row, _Row]]) -> list[int] | None:
    """Return what the row passed more than the best under each seed, where that is all.

    So it is where all cells are paired, and none is greedy or adaptive: what `overall_p` says is
    then the sign flip of these. Else None.
    """
    clusters: dict[int, NDArray[np.float64]] = {}
    for one, row in partners:
        if any(_single(cell) or cell["interval"] == IntervalKind.SEQUENTIAL for cell in (one, row)):
            return None
        up, down = _tally(row), _tally(one)
        if up is None or down is None or up.first_seed != down.first_seed:
            return None
        common = up.measured & down.measured
        counts = [mask.bit_count() for mask in (common, up.measured, down.measured)]
        if not are_pairs(*counts):
            return None
        # By seed alone: tests that have the same seeds share their luck.
        key = up.first_seed
        gained = _added(as_bits(up.passes & common), -as_bits(down.passes & common))
        clusters[key] = _added(clusters.get(key), gained)
    return [int(value) for sums in clusters.values() for value in sums.tolist()] or None


def _partners(best: _Cells, other: _Cells) -> list[tuple[_Row, _Row]]:
    base, mine = defaultdict[_Point, list[_Row]](list), defaultdict[_Point, list[_Row]](list)
    for found, cells in ((base, best), (mine, other)):
        for point, row in cells:
            found[point].append(row)
    return [
        pair
        for point, rows in mine.items()
        if len(rows) == len(base[point])
        for pair in zip(base[point], rows, strict=True)
    ]


def _passed(row: _Row) -> Mapping[int, bool]:
    found = _tally(row)
    return {} if found is None else found.by_seed(one=_single(row))


def _single(row: _Row) -> bool:
    """Return whether one trial of a cell says all: it is without chance, or one draw."""
    return isnan(row["low"]) or one_draw(row)


def _tally(row: _Row) -> Tally | None:
    """Return a cell's trials where they are known and one has a verdict."""
    found: Tally | None = row.get("tally")
    return found if found is not None and found.measured else None


def _sequential(strata: Sequence[Stratum]) -> float:
    """Return the p-value that holds although cells stop early: of the mean of their evidence."""
    evidence = []
    for stratum in strata:
        if stratum.paired:
            table = stratum.pairs()
            evidence.append(paired_evidence(table.worse, table.better))
        else:
            evidence.append(independent_evidence(*stratum.counts()))
    return p_value(mean_evidence(evidence))
