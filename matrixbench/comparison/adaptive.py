"""Cells that stop when they know enough: how they are compared.

How many trials such a cell has depends on what came out, which no test for a fixed number allows
for; not even where a cell went on to the end, since that, too, was decided by its outcomes. So
every pair of an experiment with adaptive trials is tested by what holds whenever one stops.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from matrixbench.comparison.values import Overall
from matrixbench.stats.paired import Pairs, phi, pooled_phi
from matrixbench.stats.sequential_tests import (
    independent_evidence,
    mean_difference,
    mean_evidence,
    p_value,
    paired_evidence,
    sequential_difference,
)
from matrixbench.stats.stratified import test_weights

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matrixbench.comparison.values import CellResult, Trials
    from matrixbench.stats.stratified import Stratum

PAIRED, UNPAIRED = "sequential pairs", "sequential"
"""What the tests are called."""


def tested(result: CellResult, stratum: Stratum, *, as_pairs: bool) -> CellResult:
    """Return a pair of cells with its test and its interval, over all trials of both sides."""
    candidate, baseline = _counts(result)
    table = stratum.pairs() if stratum.paired else None
    paired = table is not None and as_pairs
    evidence = (
        paired_evidence(table.worse, table.better)
        if table is not None and paired
        else independent_evidence(candidate, baseline)
    )
    return replace(
        result,
        trials=(candidate[1], baseline[1]),
        difference=sequential_difference(candidate, baseline),
        pairs=table,
        phi=None if table is None else phi(table),
        test=PAIRED if paired else UNPAIRED,
        evidence=evidence,
        p=p_value(evidence),
    )


def overall(results: Sequence[CellResult], strata: Sequence[Stratum]) -> Overall:
    """Return all sampled cells together: the mean of their evidence, the mean difference.

    Nothing is said of «such tests»: Student's interval does not allow for stopping.
    """
    counts = [_counts(result) for result in results]
    weights = test_weights(strata)
    difference = mean_difference(counts, weights)
    tables = [stratum.pairs() for stratum in strata if stratum.paired]
    p = p_value(mean_evidence([result.evidence or 0.0 for result in results]))
    ratios = [
        sum(w * both[side][0] / both[side][1] for w, both in zip(weights, counts, strict=True))
        for side in (0, 1)
    ]
    return Overall(
        ratios=(ratios[0], ratios[1]),
        difference=difference,
        across_tests=None,
        p=p,
        p_holm=p,
        cells=len(results),
        tests=len({stratum.test for stratum in strata}),
        trials=(sum(up[1] for up, _ in counts), sum(down[1] for _, down in counts)),
        pairs=Pairs.added(tables),
        phi=pooled_phi(tables),
        adaptive=True,
    )


def _counts(result: CellResult) -> tuple[tuple[int, int], tuple[int, int]]:
    return _count(result.pair.candidate), _count(result.pair.baseline)


def _count(side: Trials) -> tuple[int, int]:
    return sum(side.passed.values()), len(side.passed)
