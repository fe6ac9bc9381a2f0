"""All cells together, and by test."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

from matrixbench.comparison import adaptive
from matrixbench.comparison.cells import assess
from matrixbench.comparison.certain import certain_cells
from matrixbench.comparison.gate import bounded, decide, doubted, judge, sampled_part
from matrixbench.comparison.looks import by_rounds, choose
from matrixbench.comparison.many import corrected
from matrixbench.comparison.missing import End, any_missing, completed, count
from matrixbench.comparison.power import sides_in, with_detectable_drops
from matrixbench.comparison.values import (
    MAX_DROP,
    CandidateResult,
    Comparison,
    Extreme,
    Missing,
    Overall,
    TestResult,
    Verdict,
)
from matrixbench.stats.paired import Pairs, pooled_phi
from matrixbench.stats.stratified import (
    across_tests,
    overall_p,
    stratified_difference,
    test_weights,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from matrixbench.comparison.values import Candidate, CellPair, CellResult, Gate, Look
    from matrixbench.stats.stratified import Stratum


def compare_cells(
    candidates: Iterable[Candidate],
    *,
    experiment: str,
    axis: str,
    baseline: str,
    max_drop: float = MAX_DROP,
    missing: Missing = Missing.WORST,
    look: Look | None = None,
) -> Comparison:
    """Return what pairs of cells say.

    Args:
        candidates: Each with its pairs of cells.
        experiment: The experiment's name.
        axis: What is compared.
        baseline: The value that is the baseline.
        max_drop: The drop of the mean success ratio that the gate allows, 0 … 1.
        missing: What is made of trials that were due and have no verdict.
        look: By what the gate decides, once or at any time; None: as `looks.choose` says.

    Raises:
        ValueError: `max_drop` is not within [0, 1].
    """
    if not 0 <= max_drop <= 1:
        raise ValueError(f"a drop of {max_drop} is not between 0 and 1")
    results = [_compared(candidate, max_drop, missing, look) for candidate in candidates]
    return Comparison(
        experiment=experiment,
        axis=axis,
        baseline=baseline,
        candidates=tuple(corrected(results)),
        missing=missing,
    )


def _compared(
    candidate: Candidate, max_drop: float, missing: Missing, look: Look | None
) -> CandidateResult:
    found = assess(candidate.pairs)
    results = [result for result, _ in found]
    strata = [stratum for _, stratum in found if stratum is not None]
    overall = _overall(found)
    certain = certain_cells(results)
    gate = decide(results, strata, overall, certain, max_drop=max_drop)
    gate = _allowing(gate, candidate, results, missing)
    shown = by_rounds(candidate, max_drop=max_drop, missing=missing)
    candidates_own = sum(bool(pair.candidate.cell) for pair in candidate.alone)
    compared = CandidateResult(
        name=candidate.name,
        cells=tuple(results),
        tests=_by_test(found),
        overall=overall,
        certain=certain,
        gate=doubted(choose(gate, shown, candidate, look), results),
        counts=count(candidate),
        without_partner=(candidates_own, len(candidate.alone) - candidates_own),
        sides=None if overall is None else sides_in(strata, overall.phi),
    )
    return with_detectable_drops(compared, strata)


def _allowing(
    measured: Gate, candidate: Candidate, results: Sequence[CellResult], missing: Missing
) -> Gate:
    """Return the gate with what missing trials make of it."""
    measured = replace(measured, missing=missing)
    if missing is Missing.IGNORE or not any_missing(candidate):
        return measured
    worst, best = (_extreme(candidate, end, measured.max_drop) for end in (End.WORST, End.BEST))
    return bounded(measured, candidate, results, worst, best)


def _extreme(candidate: Candidate, end: End, max_drop: float) -> Extreme:
    """Return what all trials say with the missing ones put in to one end.

    Cells that one side only has are among them; but they are no part of what both sides were
    asked, and must not water that down: a verdict holds with and without them.
    """
    extreme = _read(completed(candidate.pairs, end), max_drop)
    if not candidate.alone:
        return extreme
    every = _read(completed([*candidate.pairs, *candidate.alone], end), max_drop)
    agreed = every.verdict is extreme.verdict
    return every if agreed else replace(every, verdict=Verdict.UNDECIDED)


def _read(pairs: Sequence[CellPair], max_drop: float) -> Extreme:
    found = assess(pairs, each=False)
    results = [result for result, _ in found]
    overall, certain = _overall(found), certain_cells(results)
    sampled = None if overall is None else sampled_part(overall, max_drop)
    verdict, _ = judge(results, sampled, certain, max_drop=max_drop)
    return Extreme(verdict=verdict, overall=overall, certain=certain)


def _overall(found: Sequence[tuple[CellResult, Stratum | None]]) -> Overall | None:
    sampled = [(result, stratum) for result, stratum in found if stratum is not None]
    strata = [stratum for _, stratum in sampled]
    if not strata:
        return None
    if any(result.pair.adaptive for result, _ in sampled):
        return adaptive.overall([result for result, _ in sampled], strata)
    difference = stratified_difference(strata)
    counts = [stratum.counts() for stratum in strata]
    tables = [stratum.pairs() for stratum in strata if stratum.paired]
    p = overall_p(strata)
    weights = test_weights(strata)
    return Overall(
        ratios=(
            sum(w * up[0] / up[1] for w, (up, _) in zip(weights, counts, strict=True)),
            sum(w * down[0] / down[1] for w, (_, down) in zip(weights, counts, strict=True)),
        ),
        difference=difference,
        across_tests=across_tests(strata),
        p=p,
        p_holm=p,
        cells=len(strata),
        tests=len({stratum.test for stratum in strata}),
        trials=(sum(up[1] for up, _ in counts), sum(down[1] for _, down in counts)),
        pairs=Pairs.added(tables),
        phi=pooled_phi(tables),
    )


def _by_test(found: Sequence[tuple[CellResult, Stratum | None]]) -> tuple[TestResult, ...]:
    rows: dict[str, list[tuple[CellResult, Stratum | None]]] = defaultdict(list)
    for result, stratum in found:
        rows[result.pair.test].append((result, stratum))
    return tuple(
        TestResult(
            test=test, overall=_overall(row), certain=certain_cells([result for result, _ in row])
        )
        for test, row in rows.items()
    )
