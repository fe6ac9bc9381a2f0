"""All cells together, and by test."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

from matrixbench.comparison import adaptive
from matrixbench.comparison.cells import assess
from matrixbench.comparison.gate import bounded, decide, doubted, judge
from matrixbench.comparison.many import corrected
from matrixbench.comparison.missing import End, any_missing, completed, count
from matrixbench.comparison.power import sides_in, with_detectable_drops
from matrixbench.comparison.values import (
    MAX_DROP,
    Basis,
    CandidateResult,
    Certain,
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

    from matrixbench.comparison.values import Candidate, CellPair, CellResult, Gate
    from matrixbench.stats.stratified import Stratum


def compare_cells(
    candidates: Iterable[Candidate],
    *,
    experiment: str,
    axis: str,
    baseline: str,
    max_drop: float = MAX_DROP,
    missing: Missing = Missing.WORST,
) -> Comparison:
    """Return what pairs of cells say.

    Args:
        candidates: Each with its pairs of cells.
        experiment: The experiment's name.
        axis: What is compared.
        baseline: The value that is the baseline.
        max_drop: The drop of the mean success ratio that the gate allows, 0 … 1.
        missing: What is made of trials that were due and have no verdict.

    Raises:
        ValueError: `max_drop` is not within [0, 1].
    """
    if not 0 <= max_drop <= 1:
        raise ValueError(f"a drop of {max_drop} is not between 0 and 1")
    results = [_compared(candidate, max_drop, missing) for candidate in candidates]
    return Comparison(
        experiment=experiment,
        axis=axis,
        baseline=baseline,
        candidates=tuple(corrected(results)),
        missing=missing,
    )


def _compared(candidate: Candidate, max_drop: float, missing: Missing) -> CandidateResult:
    found = assess(candidate.pairs)
    results = [result for result, _ in found]
    strata = [stratum for _, stratum in found if stratum is not None]
    overall = _overall(found)
    certain = _certain(results)
    gate = decide(results, strata, overall, certain, max_drop=max_drop)
    candidates_own = sum(bool(pair.candidate.cell) for pair in candidate.alone)
    compared = CandidateResult(
        name=candidate.name,
        cells=tuple(results),
        tests=_by_test(found),
        overall=overall,
        certain=certain,
        gate=doubted(_allowing(gate, candidate, results, missing), results),
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
    overall, certain = _overall(found), _certain(results)
    verdict, _ = judge(results, overall, certain, max_drop=max_drop)
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


def _certain(results: Sequence[CellResult]) -> Certain:
    """Count the cells that equality decides."""
    sampled = {Basis.PAIRED, Basis.UNPAIRED, Basis.NOT_COMPARABLE}
    by_test: dict[str, list[float]] = defaultdict(list)
    same = same_replies = 0
    for result in results:
        if result.basis in sampled or result.difference is None:
            continue
        by_test[result.pair.test].append(result.difference.estimate)
        same += result.same is True
        same_replies += result.same_replies is True
    all_of_them = [value for values in by_test.values() for value in values]
    means = [sum(values) / len(values) for values in by_test.values()]
    return Certain(
        cells=len(all_of_them),
        same=same,
        same_replies=same_replies,
        worse=sum(value < 0 for value in all_of_them),
        better=sum(value > 0 for value in all_of_them),
        mean=sum(means) / len(means) if means else 0.0,
    )


def _by_test(found: Sequence[tuple[CellResult, Stratum | None]]) -> tuple[TestResult, ...]:
    rows: dict[str, list[tuple[CellResult, Stratum | None]]] = defaultdict(list)
    for result, stratum in found:
        rows[result.pair.test].append((result, stratum))
    return tuple(
        TestResult(
            test=test, overall=_overall(row), certain=_certain([result for result, _ in row])
        )
        for test, row in rows.items()
    )
