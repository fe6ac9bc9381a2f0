"""Is the candidate shown to be no worse, shown to be worse, or is it too early to say?"""

from __future__ import annotations

from dataclasses import dataclass, replace
from statistics import fmean
from typing import TYPE_CHECKING

from matrixbench.comparison.missing import lacking, unsettled
from matrixbench.comparison.power import trials_to_decide
from matrixbench.comparison.values import Basis, Gate, Verdict
from matrixbench.stats.multiple import ALPHA
from matrixbench.stats.stratified import no_worse, worse

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matrixbench.comparison.values import (
        Candidate,
        CellResult,
        Certain,
        Extreme,
        Overall,
    )
    from matrixbench.stats.stratified import Stratum

_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What some of the cells say by themselves."""

    verdict: Verdict
    reason: str


_NOTHING = Part(verdict=Verdict.UNDECIDED, reason="no pair of cells was compared")


def decide(
    results: Sequence[CellResult],
    strata: Sequence[Stratum],
    overall: Overall | None,
    certain: Certain,
    *,
    max_drop: float,
) -> Gate:
    """Return the verdict of the worst part: sampled cells, certain ones, those not measured.

    Sampled cells together are no worse where the whole 95 % interval of their mean difference
    lies above −max_drop; they are a regression where all of it lies below *and* the exact
    stratified test says that there is a difference. Each error has a chance of at most about
    2.5 %. Certain cells need no statistics: their mean difference is what it is. Cells that could
    not be compared leave the gate undecided, unless the others are a regression.

    All of that of the trials that have a verdict. `bounded` says what the missing ones leave of it.
    """
    sampled = None if overall is None else sampled_part(overall, max_drop)
    verdict, reasons = judge(results, sampled, certain, max_drop=max_drop)
    single = sum(cell.basis is Basis.ONE_DRAW for cell in results)
    if verdict is not Verdict.UNDECIDED or single:  # no number of trials makes one draw several
        return Gate(verdict=verdict, max_drop=max_drop, reasons=reasons, one_draw=single)
    needed = _trials_needed(results, strata, overall, max_drop)
    return Gate(
        verdict=verdict,
        max_drop=max_drop,
        reasons=reasons,
        trials_per_cell=needed,
        more_trials=None if needed is None else _more(results, needed),
    )


def judge(
    results: Sequence[CellResult],
    sampled: Part | None,
    certain: Certain,
    *,
    max_drop: float,
) -> tuple[Verdict, tuple[str, ...]]:
    """Return the verdict that `decide` speaks of, and its reasons."""
    parts = [
        sampled,
        _certain(certain, max_drop) if certain.cells else None,
        _one_draw(results),
        *_not_comparable(results),
    ]
    found = [part for part in parts if part is not None] or [_NOTHING]
    verdict = next(
        (v for v in (Verdict.REGRESSION, Verdict.UNDECIDED) if any(p.verdict is v for p in found)),
        Verdict.NO_WORSE,
    )
    # The reasons that settle it come first: they stand in the verdict's line.
    found.sort(key=lambda part: part.verdict is not verdict)
    return verdict, tuple(part.reason for part in found)


def bounded(
    measured: Gate,
    candidate: Candidate,
    results: Sequence[CellResult],
    worst: Extreme,
    best: Extreme,
) -> Gate:
    """Return the verdict that stands whatever the missing trials would have said.

    It is no worse only where all trials that were due say so with each missing one at its worst
    for the candidate, and a regression only where they say so with each at its best: the mean
    difference of whatever they would have said lies between those two, so that neither verdict
    can turn into the other. Anything else is undecided, however clear what was measured looks;
    and so is everything as long as no pair of cells was measured on both sides.

    Args:
        measured: The gate over the trials that have a verdict.
        candidate: The candidate with its cells and the baseline's.
        results: What is known of their pairs.
        worst: What all trials say with each missing one at its worst for the candidate.
        best: What they say with each at its best.
    """
    compared = any(cell.difference is not None for cell in results)
    reasons = tuple(f"of what has a verdict: {reason}" for reason in measured.reasons)
    bounds = replace(measured, worst=worst, best=best, trials_per_cell=None, more_trials=None)
    if compared and worst.verdict is Verdict.NO_WORSE:
        said = "no worse with each missing trial at its worst, too"
        return replace(bounds, verdict=Verdict.NO_WORSE, reasons=(*reasons, said))
    if compared and best.verdict is Verdict.REGRESSION:
        said = "a regression with each missing trial at its best, too"
        return replace(bounds, verdict=Verdict.REGRESSION, reasons=(*reasons, said))
    # Where both ends are undecided, so is everything between them: more trials are what it takes.
    open_either_way = worst.verdict is best.verdict
    why = lacking(candidate) if open_either_way else unsettled(candidate, worst, best)
    # More trials do not help where some of those that were asked have no verdict, and it matters.
    in_vain = not open_either_way and _asked_in_vain(results)
    needed = None if in_vain else _to_be_had(measured, results)
    return replace(
        bounds,
        verdict=Verdict.UNDECIDED,
        reasons=(*reasons, why),
        unsettled="" if open_either_way else why,
        trials_per_cell=needed,
        more_trials=None if needed is None else _more(results, needed),
    )


def doubted(gate: Gate, results: Sequence[CellResult]) -> Gate:
    """Return the verdict that stands where builds are unverified: none but a regression.

    Nobody knows whether the trials are those of what is there, so that no number of them decides.
    """
    doubts = tuple(dict.fromkeys(doubt for cell in results for doubt in cell.pair.unverified))
    if not doubts:
        return gate
    cells = sum(bool(cell.pair.unverified) for cell in results)
    said = f"unverified build in {cells} of {len(results)} pairs of cells"
    gate = replace(gate, reasons=(*gate.reasons, "; ".join([said, *doubts])), unverified=doubts)
    if gate.verdict is Verdict.REGRESSION:
        return gate
    return replace(gate, verdict=Verdict.UNDECIDED, trials_per_cell=None, more_trials=None)


def _to_be_had(measured: Gate, results: Sequence[CellResult]) -> int | None:
    """Return the trials a cell that would decide; those that were due are among them."""
    if measured.one_draw or (
        measured.verdict is Verdict.UNDECIDED and measured.trials_per_cell is None
    ):
        return None
    due = max(
        (
            max(len(side.passed) + len(side.missing), cell.pair.planned)
            for cell in results
            if cell.pair.sampled
            for side in cell.pair.sides
            if side.missing
        ),
        default=0,
    )
    return max(due, measured.trials_per_cell or 0) or None


def _asked_in_vain(results: Sequence[CellResult]) -> bool:
    """Return whether trials of cells that are compared were asked and have no verdict."""
    return any(
        side.errored
        for cell in results
        if not cell.pair.shared
        for side in (cell.pair.candidate, cell.pair.baseline)
    )


def sampled_part(overall: Overall, max_drop: float) -> Part:
    """Return what all sampled cells say at one look."""
    low, high = overall.difference.interval.low, overall.difference.interval.high
    said = (
        f"the mean success ratio differs by {overall.difference.estimate:+.3f} "
        f"(95 % {low:+.3f} to {high:+.3f})"
    )
    if no_worse(overall.difference, max_drop):
        return Part(verdict=Verdict.NO_WORSE, reason=f"{said}: all of it above −{max_drop:g}")
    if worse(overall.difference, max_drop) and overall.p <= ALPHA:
        return Part(verdict=Verdict.REGRESSION, reason=f"{said}: all of it below −{max_drop:g}")
    return Part(
        verdict=Verdict.UNDECIDED, reason=f"{said}, which does not settle a drop of {max_drop:g}"
    )


def _certain(certain: Certain, max_drop: float) -> Part:
    said = (
        f"of {certain.cells} cells without chance {certain.worse} are worse and {certain.better} "
        f"better: {certain.mean:+.3f} on average"
    )
    lost = certain.mean < -max_drop - _ROUNDING
    return Part(verdict=Verdict.REGRESSION if lost else Verdict.NO_WORSE, reason=said)


def _one_draw(results: Sequence[CellResult]) -> Part | None:
    """Return what cells say of which all trials of a side are one draw: nothing, and why."""
    single = [cell for cell in results if cell.basis is Basis.ONE_DRAW]
    if not single:
        return None
    found = [cell.difference.estimate for cell in single if cell.difference is not None]
    sides = ("candidate", any(cell.pair.candidate.seeds_ignored for cell in single))
    others = ("baseline", any(cell.pair.baseline.seeds_ignored for cell in single))
    whose = " and ".join(name for name, ignores in (sides, others) if ignores)
    said = (
        f"the server of the {whose} ignores seeds, so that in {len(single)} of {len(results)} "
        f"pairs of cells all trials of a side are one draw ({fmean(found):+.3f} on average), which "
        "is no evidence; have it take each request's seed and run again with --fresh, or select "
        "others with --where"
    )
    return Part(verdict=Verdict.UNDECIDED, reason=said)


def _not_comparable(results: Sequence[CellResult]) -> list[Part]:
    """Return why cells cannot be compared."""
    aside = [cell.pair for cell in results if cell.basis is Basis.NOT_COMPARABLE]
    greedy = sum(any(pair.greedy) and not all(pair.greedy) for pair in aside)
    of = f"of {len(results)} pairs of cells"
    found = (
        (greedy, f"{greedy} {of} greedy on one side only: one reply cannot be held against draws"),
        (len(aside) - greedy, f"{len(aside) - greedy} {of} not measured on both sides"),
    )
    return [Part(verdict=Verdict.UNDECIDED, reason=said) for count, said in found if count]


def _trials_needed(
    results: Sequence[CellResult],
    strata: Sequence[Stratum],
    overall: Overall | None,
    max_drop: float,
) -> int | None:
    """Return with how many trials of each cell 80 % of runs decide (`power.trials_to_decide`).

    Where trials are adaptive it is a fixed number, no lower than what cells could have had: a
    lower one would be chosen by what came out.
    """
    planned = max(
        (
            cell.pair.planned
            for cell in results
            if (cell.basis is Basis.NOT_COMPARABLE or cell.pair.adaptive)
            and not any(cell.pair.greedy)
        ),
        default=0,
    )
    if overall is None or no_worse(overall.difference, max_drop):
        return planned or None
    needed = trials_to_decide(strata, overall, max_drop)
    return None if needed is None else max(needed, planned)


def _more(results: Sequence[CellResult], needed: int) -> int:
    """Return how many trials are lacking, over both sides of all cells that take more."""
    fixed = {Basis.GREEDY, Basis.BY_REQUEST, Basis.SHARED, Basis.ONE_DRAW}
    sides = [
        side
        for cell in results
        if cell.basis not in fixed and not any(cell.pair.greedy)
        for side in cell.pair.sides
    ]
    return sum(max(0, needed - len(side.passed)) for side in sides)
