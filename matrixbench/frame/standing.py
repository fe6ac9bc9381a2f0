"""How the rows of totals stand to the best of them, which was picked by looking."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from math import isnan, nan
from typing import TYPE_CHECKING, Any, TypeAlias

from matrixbench.frame.tally import IntervalKind, luck_of
from matrixbench.stats.best import Belief, belief, chances_of_best, holm_beside_best
from matrixbench.stats.sequential_tests import (
    independent_evidence,
    mean_evidence,
    p_value,
    paired_evidence,
)
from matrixbench.stats.stratified import Stratum, design_effect, overall_p

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matrixbench.frame.outcomes import Outcomes

ALPHA = 0.05
"""The level of what is told from the best, over all pairs of rows."""

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

_SHARED_SEEDS = 0.5
"""Trials are pairs where at least this share of the larger side's have a seed of the other's."""

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
        one = isnan(row["low"])
        n = 1 if one else int(row["trials"])
        passed = round(float(row["success_ratio"])) if one else int(row["passed"])
        tests[str(row.get("test"))].append((passed, n))
    return belief(list(tests.values()), effect=_effect(cells, outcomes))


def _effect(cells: _Cells, outcomes: Outcomes | None) -> float | None:
    """Return by how much cells of one test go together; None where nothing is known of it."""
    if outcomes is None:
        return None
    strata = []
    for _, row in cells:
        passed = _passed(row, outcomes)
        if not passed:
            return None
        # Against a side that never passes the influences are those of one side.
        never = dict.fromkeys(passed, False)
        strata.append(
            Stratum(
                test=str(row.get("test")),
                candidate=passed,
                baseline=never,
                paired=True,
                luck=luck_of(row),
            )
        )
    return design_effect(strata)


def _against(best: _Cells, other: _Cells, outcomes: Outcomes) -> tuple[float | None, bool]:
    """Return the p-value of a row against the best, and whether it is the lower one of the two.

    On the points that both have, and there on as many cells as both have; not where only one side
    is greedy. Of greedy cells and those that the request alone decides one trial stands for all.
    """
    strata: list[Stratum] = []
    adaptive = False
    for one, row in _partners(best, other):
        if bool(one["greedy"]) is not bool(row["greedy"]):
            continue
        up, down = _passed(row, outcomes), _passed(one, outcomes)
        if not up or not down:
            continue
        luck = luck_of(row) if luck_of(row) is not None else luck_of(one)
        strata.append(replace(_stratum(str(row.get("test")), up, down), luck=luck))
        adaptive |= IntervalKind.SEQUENTIAL in {one["interval"], row["interval"]}
    if not strata:
        return None, False
    p = _sequential(strata) if adaptive else overall_p(strata)
    counts = [stratum.counts() for stratum in strata]
    return p, sum(up[0] / up[1] - down[0] / down[1] for up, down in counts) < 0


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
    found = outcomes.of(row["cell"], row["build"], row.get("test"))
    return {} if found is None else found.by_seed(one=isnan(row["low"]))


def _stratum(test: str, up: Mapping[int, bool], down: Mapping[int, bool]) -> Stratum:
    common = sorted(up.keys() & down.keys())
    paired = len(common) >= _SHARED_SEEDS * max(len(up), len(down))
    if paired:
        up, down = ({seed: side[seed] for seed in common} for side in (up, down))
    return Stratum(test=test, candidate=up, baseline=down, paired=paired)


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
