"""Many questions in one table: each p-value is corrected over all that are asked beside it.

Who looks at forty candidates sees the one that chance was hardest on. So cells are corrected over
the cells of all candidates, tests over the tests of all candidates, and candidates as wholes over
all candidates: in each of the three tables the chance of any false alarm stays at 5 %.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from matrixbench.comparison.values import Verdict
from matrixbench.stats.multiple import ALPHA, holm

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from matrixbench.comparison.values import CandidateResult, Gate, Overall

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
    if gate.verdict is not Verdict.UNDECIDED or shown is None:
        return gate
    said = f"{DROP_SHOWN} (p = {shown.p_holm:.2g}), but not whether it is larger than allowed"
    return replace(gate, reasons=(*gate.reasons, said))


def _holm(p_values: Sequence[float | None]) -> Iterator[float | None]:
    """Yield Holm's adjusted p-values; None where there is none."""
    adjusted = iter(holm([p for p in p_values if p is not None]))
    return iter([None if p is None else next(adjusted) for p in p_values])
