"""How the rows of totals stand to the best of them, which was picked by looking."""

from __future__ import annotations

from collections import Counter, defaultdict
from math import isnan, nan
from typing import TYPE_CHECKING, Any, TypeAlias

from matrixbench.frame.intervals import IntervalKind
from matrixbench.frame.outcomes import as_bits
from matrixbench.frame.tally import luck_of, one_draw
from matrixbench.stats.best import Belief, belief, chances_of_best, holm_beside_best
from matrixbench.stats.multiple import ALPHA
from matrixbench.stats.sequential_tests import (
    independent_evidence,
    mean_evidence,
    p_value,
    paired_evidence,
)
from matrixbench.stats.stratified import are_pairs, overall_p, sign_flip_p, stratum_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from matrixbench.frame.outcomes import Outcomes, Passed
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
_Cells: TypeAlias = "Sequence[tuple[tuple[str, ...], _Row]]"
"""The measured cells of a row of totals, each with its point on the axes that all rows have."""


def standings(rows: Sequence[_Cells], outcomes: Outcomes | None) -> list[dict[str, object]]:
    """Return what `STANDING_COLUMNS` names of each row of totals, the best first.

    Args:
        rows: Of each row its measured cells.
        outcomes: Which of their trials passed; None: then nothing is tested.
    """
    measured = [place for place, cells in enumerate(rows) if cells]
    chances = chances_of_best([_belief(rows[place], outcomes) for place in measured])
    found: list[dict[str, object]] = [
        {"chance_of_best": nan, "p_vs_best": nan, "p_vs_best_holm": nan, "told_from_best": None}
        for _ in rows
    ]
    for place, chance in zip(measured, chances, strict=True):
        found[place]["chance_of_best"] = chance
    if outcomes is None or len(measured) < 2:  # noqa: PLR2004  a pair
        return found
    best, others = measured[0], measured[1:]
    tested = [_against(rows[best], rows[place], outcomes) for place in others]
    adjusted = holm_beside_best([p for p, _ in tested], len(measured))
    for place, (p, lower), corrected in zip(others, tested, adjusted, strict=True):
        if p is None or corrected is None:
            continue
        told = corrected <= ALPHA and lower
        found[place] |= {"p_vs_best": p, "p_vs_best_holm": corrected, "told_from_best": told}
    return found


def _belief(cells: _Cells, outcomes: Outcomes | None) -> Belief:
    tests: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for _, row in cells:
        # Where repeats say nothing new all of them are one trial.
        one = _single(row)
        n = 1 if one else int(row["trials"])
        passed = round(float(row["success_ratio"])) if one else int(row["passed"])
        tests[str(row.get("test"))].append((passed, n))
    return belief(list(tests.values()), effect=_effect(cells, outcomes))


def _effect(cells: _Cells, outcomes: Outcomes | None) -> float | None:
    """Return by how much cells that share seeds go together; None where nothing is known of it."""
    if outcomes is None or len({_sharing(row) for _, row in cells}) == len(cells):
        return None  # Each has seeds of its own: there is nothing to go together.
    of_test = Counter(str(row.get("test")) for _, row in cells)
    clusters: dict[tuple[str | int, int], NDArray[np.float64]] = {}
    alone = 0.0
    for _, row in cells:
        found = _found(row, outcomes)
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


def _against(best: _Cells, other: _Cells, outcomes: Outcomes) -> tuple[float | None, bool]:
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
    if (sums := _sums(partners, outcomes)) is not None:
        return sign_flip_p(sums), sum(sums) < 0
    strata: list[Stratum] = []
    adaptive = False
    for one, row in partners:
        up, down = _passed(row, outcomes), _passed(one, outcomes)
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


def _sums(partners: Sequence[tuple[_Row, _Row]], outcomes: Outcomes) -> list[int] | None:
    """Return what the row passed more than the best under each seed, where that is all.

    So it is where all cells are paired, and none is greedy or adaptive: what `overall_p` says is
    then the sign flip of these. Else None.
    """
    clusters: dict[int, NDArray[np.float64]] = {}
    for one, row in partners:
        if any(_single(cell) or cell["interval"] == IntervalKind.SEQUENTIAL for cell in (one, row)):
            return None
        up, down = _found(row, outcomes), _found(one, outcomes)
        if up is None or down is None or up.first_seed != down.first_seed:
            return None
        common = up.measured & down.measured
        counts = [mask.bit_count() for mask in (common, up.measured, down.measured)]
        if not are_pairs(*counts):
            return None
        # By seed alone: tests that have the same seeds share their luck.
        key = up.first_seed
        gained = _added(as_bits(up.passed & common), -as_bits(down.passed & common))
        clusters[key] = _added(clusters.get(key), gained)
    return [int(value) for sums in clusters.values() for value in sums.tolist()] or None


def _partners(best: _Cells, other: _Cells) -> list[tuple[_Row, _Row]]:
    by_point: dict[tuple[str, ...], list[_Row]] = defaultdict(list)
    for point, row in best:
        by_point[point].append(row)
    mine: dict[tuple[str, ...], list[_Row]] = defaultdict(list)
    for point, row in other:
        mine[point].append(row)
    return [
        pair
        for point, rows in mine.items()
        if len(rows) == len(by_point.get(point, ()))
        for pair in zip(by_point[point], rows, strict=True)
    ]


def _passed(row: _Row, outcomes: Outcomes) -> Mapping[int, bool]:
    found = _found(row, outcomes)
    return {} if found is None else found.by_seed(one=_single(row))


def _single(row: _Row) -> bool:
    """Return whether one trial of a cell says all: it is without chance, or one draw."""
    return isnan(row["low"]) or one_draw(row)


def _found(row: _Row, outcomes: Outcomes) -> Passed | None:
    return outcomes.of(row["cell"], row["build"], row.get("test"))


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
