"""One pair of cells: what the comparison rests on, and its test."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from matrixbench.comparison import adaptive
from matrixbench.comparison.values import Basis, CellResult
from matrixbench.stats.independent import boschloo
from matrixbench.stats.multiple import holm
from matrixbench.stats.paired import mcnemar_exact, phi, pooled_phi
from matrixbench.stats.proportions import Difference, Interval, newcombe_difference
from matrixbench.stats.stratified import are_pairs, stratum_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matrixbench.comparison.values import CellPair, Trials
    from matrixbench.stats.stratified import Stratum

PAIRING_PAYS = 0.2
"""From this pooled phi on, cells that share seeds are tested as pairs. Below it the unpaired test
sees more; choosing like this keeps the error below 5 % (tests/benchmarks/pairing_error.py)."""


def assess(
    pairs: Sequence[CellPair], *, each: bool = True
) -> list[tuple[CellResult, Stratum | None]]:
    """Return what is known of each pair of cells; the stratum where there is chance in it.

    Cells that share seeds are tested as pairs (exact McNemar) where the correlation within cells,
    pooled over all of them, says that pairing holds, else by Boschloo's test. Holm's correction
    runs over all cells with a p-value; that over all candidates is the caller's.

    Args:
        pairs: The pairs of cells.
        each: Whether each cell is tested by itself. All of them together do not need it, but for
            adaptive trials, and exact tests of many cells take long.
    """
    found = [_described(pair) for pair in pairs]
    if not each and not any(pair.adaptive for pair in pairs):
        return found
    strata = [stratum for _, stratum in found if stratum is not None]
    correlation = pooled_phi(stratum.pairs() for stratum in strata if stratum.paired)
    as_pairs = correlation is not None and correlation >= PAIRING_PAYS
    tested = [
        (result if stratum is None else _tested(result, stratum, as_pairs=as_pairs), stratum)
        for result, stratum in found
    ]
    adjusted = iter(holm([result.p for result, _ in tested if result.p is not None]))
    return [
        (result if result.p is None else replace(result, p_holm=next(adjusted)), stratum)
        for result, stratum in tested
    ]


def basis_of(pair: CellPair) -> Basis:
    """Return what the comparison of two cells can rest on."""
    up, down = pair.sides
    if not up.passed or not down.passed:
        return Basis.NOT_COMPARABLE
    if pair.shared:
        return Basis.SHARED
    if up.by_request or down.by_request:
        return Basis.BY_REQUEST
    if any(pair.greedy):
        return Basis.GREEDY if all(pair.greedy) else Basis.NOT_COMPARABLE
    if up.seeds_ignored or down.seeds_ignored:
        return Basis.ONE_DRAW
    shared = len(up.passed.keys() & down.passed.keys())
    return Basis.PAIRED if are_pairs(shared, len(up.passed), len(down.passed)) else Basis.UNPAIRED


def _described(pair: CellPair) -> tuple[CellResult, Stratum | None]:
    basis = basis_of(pair)
    if basis is Basis.NOT_COMPARABLE:
        return CellResult(pair=pair, basis=basis), None
    if basis is Basis.ONE_DRAW:
        return _one_draw(pair), None
    if basis in {Basis.PAIRED, Basis.UNPAIRED}:
        up, down = pair.candidate.passed, pair.baseline.passed
        return CellResult(pair=pair, basis=basis), stratum_of(pair.test, up, down, luck=_luck(pair))
    return _equality(pair, basis), None


def _one_draw(pair: CellPair) -> CellResult:
    """Return what is known where all trials of a side are one draw of chance.

    The difference has the interval of so many draws. It has no test: two sides of one draw each
    differ or do not, and neither is evidence.
    """
    up, down = (((side.ratio or 0.0) * side.draws, side.draws) for side in pair.sides)
    return CellResult(
        pair=pair,
        basis=Basis.ONE_DRAW,
        trials=(up[1], down[1]),
        difference=newcombe_difference(up, down),
    )


def _luck(pair: CellPair) -> int | None:
    """Return the seed of trial 0 where a side shares its seeds with other tests."""
    return next((side.first_seed for side in pair.sides if side.common_seeds), None)


def _equality(pair: CellPair, basis: Basis) -> CellResult:
    up, down = pair.sides
    estimate = (up.ratio or 0.0) - (down.ratio or 0.0)
    same = up.by_request == down.by_request and _alike(up, down) and estimate == 0
    return CellResult(
        pair=pair,
        basis=basis,
        trials=(len(up.passed), len(down.passed)),
        difference=Difference(estimate=estimate, interval=Interval(low=estimate, high=estimate)),
        same=same,
        same_replies=same and all(up.replies[s] == down.replies[s] for s in _common(up, down)),
    )


def _common(up: Trials, down: Trials) -> list[int]:
    return sorted(up.replies.keys() & down.replies.keys())


def _alike(up: Trials, down: Trials) -> bool:
    return all(up.passed[seed] == down.passed[seed] for seed in up.passed.keys() & down.passed)


def _tested(result: CellResult, stratum: Stratum, *, as_pairs: bool) -> CellResult:
    if result.pair.adaptive:
        return adaptive.tested(result, stratum, as_pairs=as_pairs)
    candidate, baseline = stratum.counts()
    table = stratum.pairs() if stratum.paired else None
    mcnemar = table is not None and as_pairs
    return replace(
        result,
        trials=(candidate[1], baseline[1]),
        difference=stratum.difference(),
        pairs=table,
        phi=None if table is None else phi(table),
        test="mcnemar" if mcnemar else "boschloo",
        p=(
            mcnemar_exact(table.worse, table.better)
            if table is not None and mcnemar
            else boschloo(candidate, baseline)
        ),
    )
