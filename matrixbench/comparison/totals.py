"""All cells together, by test, and each p-value corrected over all that are asked beside it."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

from matrixbench.comparison.cells import End, any_missing, assess, certain_cells, completed, count
from matrixbench.comparison.data import Comparison
from matrixbench.comparison.gate import (
    bounded,
    by_rounds,
    choose,
    decide,
    doubted,
    judge,
    sampled_part,
)
from matrixbench.comparison.power import sides_in, with_detectable_drops
from matrixbench.comparison.values import (
    MAX_DROP,
    CandidateResult,
    Extreme,
    GateVerdict,
    Missing,
    Overall,
    TestResult,
)
from matrixbench.stats.paired import ALPHA, Pairs, holm, pooled_phi
from matrixbench.stats.sequential import mean_difference, mean_evidence, p_value
from matrixbench.stats.stratified import (
    across_tests,
    overall_p,
    stratified_difference,
    test_weights,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from matrixbench.comparison.values import Candidate, CellPair, CellResult, Gate, Look
    from matrixbench.stats.stratified import Stratum

DROP_SHOWN = "a drop is shown"
"""How the gate's reason begins where it is undecided and a drop is shown all the same."""


def corrected(results: Sequence[CandidateResult]) -> list[CandidateResult]:
    """Return the results with every `p_holm` corrected over all candidates."""
    cells = _holm([cell.p for result in results for cell in result.cells])
    tests = _holm([_p(test.overall) for result in results for test in result.tests])
    wholes = _holm([_p(result.overall) for result in results])
    bests = _holm([_p(_at_best(result)) for result in results])
    found = []
    for result in results:
        whole, best = next(wholes), next(bests)
        adjusted = replace(
            result,
            cells=tuple(replace(cell, p_holm=next(cells)) for cell in result.cells),
            tests=tuple(
                replace(test, overall=_with(test.overall, next(tests))) for test in result.tests
            ),
            overall=_with(result.overall, whole),
            gate=_with_best(result.gate, best),
        )
        found.append(replace(adjusted, gate=_saying(adjusted)))
    return found


def shown_drop(result: CandidateResult) -> Overall | None:
    """Return the cells together where they show a drop, also with missing trials at their best.

    Corrected over all candidates.
    """
    overall = _at_best(result)
    if overall is None or overall.p_holm > ALPHA or overall.difference.estimate >= 0:
        return None
    return overall


def _at_best(result: CandidateResult) -> Overall | None:
    best = result.gate.best
    return result.overall if best is None else best.overall


def _p(overall: Overall | None) -> float | None:
    return None if overall is None else overall.p


def _with(overall: Overall | None, p_holm: float | None) -> Overall | None:
    return None if overall is None or p_holm is None else replace(overall, p_holm=p_holm)


def _with_best(gate: Gate, p_holm: float | None) -> Gate:
    if gate.best is None:
        return gate
    return replace(gate, best=replace(gate.best, overall=_with(gate.best.overall, p_holm)))


def _saying(result: CandidateResult) -> Gate:
    """Return a gate that says of a drop where it is undecided and one is shown."""
    gate, shown = result.gate, shown_drop(result)
    if gate.verdict is not GateVerdict.UNDECIDED or shown is None:
        return gate
    said = f"{DROP_SHOWN} (p = {shown.p_holm:.2g}), but not whether it is larger than allowed"
    return replace(gate, reasons=(*gate.reasons, said))


def _holm(p_values: Sequence[float | None]) -> Iterator[float | None]:
    """Yield Holm's adjusted p-values; None where there is none."""
    adjusted = iter(holm([p for p in p_values if p is not None]))
    return iter([None if p is None else next(adjusted) for p in p_values])


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
        max_drop: The drop of the mean success ratio that the gate allows, 0 … 1.
        look: By what the gate decides, once or at any time; None: as `gate.choose` says.

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
    return every if agreed else replace(every, verdict=GateVerdict.UNDECIDED)


def _read(pairs: Sequence[CellPair], max_drop: float) -> Extreme:
    found = assess(pairs, each=False)
    results = [result for result, _ in found]
    overall, certain = _overall(found), certain_cells(results)
    sampled = None if overall is None else sampled_part(overall, max_drop)
    verdict, _ = judge(results, sampled, certain, max_drop=max_drop)
    return Extreme(verdict=verdict, overall=overall, certain=certain)


def _overall(found: Sequence[tuple[CellResult, Stratum | None]]) -> Overall | None:
    """Return all sampled cells together; None where there is none.

    Of adaptive trials nothing is said of «such tests»: Student's interval does not allow for
    stopping.
    """
    sampled = [(result, stratum) for result, stratum in found if stratum is not None]
    if not sampled:
        return None
    strata = [stratum for _, stratum in sampled]
    weights = test_weights(strata)
    adaptive = any(result.pair.adaptive for result, _ in sampled)
    counts = [result.pair.counts if adaptive else stratum.counts() for result, stratum in sampled]
    if adaptive:
        p = p_value(mean_evidence([result.evidence or 0.0 for result, _ in sampled]))
        difference = mean_difference(counts, weights)
    else:
        p, difference = overall_p(strata), stratified_difference(strata)
    tables = [stratum.pairs() for stratum in strata if stratum.paired]
    return Overall(
        ratios=(
            sum(w * up[0] / up[1] for w, (up, _) in zip(weights, counts, strict=True)),
            sum(w * down[0] / down[1] for w, (_, down) in zip(weights, counts, strict=True)),
        ),
        difference=difference,
        across_tests=None if adaptive else across_tests(strata),
        p=p,
        p_holm=p,
        cells=len(strata),
        tests=len({stratum.test for stratum in strata}),
        trials=(sum(up[1] for up, _ in counts), sum(down[1] for _, down in counts)),
        pairs=Pairs.added(tables),
        phi=pooled_phi(tables),
        adaptive=adaptive,
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
