"""Is the candidate shown to be no worse, shown to be worse, or is it too early to say?"""

from __future__ import annotations

from dataclasses import dataclass, replace
from statistics import fmean
from typing import TYPE_CHECKING

from matrixbench.comparison.cells import (
    End,
    any_missing,
    assess,
    certain_cells,
    completed,
    lacking,
    unsettled,
)
from matrixbench.comparison.power import trials_to_decide
from matrixbench.comparison.rounds import look
from matrixbench.comparison.values import Basis, Gate, GateVerdict, Look, Looked, Missing
from matrixbench.identity import digest
from matrixbench.stats.paired import ALPHA
from matrixbench.stats.stratified import no_worse, worse

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matrixbench.comparison.values import (
        Anytime,
        Candidate,
        CellPair,
        CellResult,
        Deterministic,
        Extreme,
        Overall,
        Trials,
    )
    from matrixbench.stats.stratified import Stratum

_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What some of the cells say by themselves."""

    verdict: GateVerdict
    reason: str


_NOTHING = Part(verdict=GateVerdict.UNDECIDED, reason="no pair of cells was compared")


def decide(
    results: Sequence[CellResult],
    strata: Sequence[Stratum],
    overall: Overall | None,
    certain: Deterministic,
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
    if verdict is not GateVerdict.UNDECIDED or single:  # no number of trials makes one draw several
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
    certain: Deterministic,
    *,
    max_drop: float,
) -> tuple[GateVerdict, tuple[str, ...]]:
    """Return the verdict that `decide` speaks of, and its reasons."""
    parts = [
        sampled,
        _certain(certain, max_drop) if certain.cells else None,
        _one_draw(results),
        *_not_comparable(results),
    ]
    found = [part for part in parts if part is not None] or [_NOTHING]
    verdict = next(
        (
            v
            for v in (GateVerdict.REGRESSION, GateVerdict.UNDECIDED)
            if any(p.verdict is v for p in found)
        ),
        GateVerdict.NO_WORSE,
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
        worst: What all trials say with each missing one at its worst for the candidate.
        best: What they say with each at its best.
    """
    compared = any(cell.difference is not None for cell in results)
    reasons = tuple(f"of what has a verdict: {reason}" for reason in measured.reasons)
    bounds = replace(measured, worst=worst, best=best, trials_per_cell=None, more_trials=None)
    if compared and worst.verdict is GateVerdict.NO_WORSE:
        said = "no worse with each missing trial at its worst, too"
        return replace(bounds, verdict=GateVerdict.NO_WORSE, reasons=(*reasons, said))
    if compared and best.verdict is GateVerdict.REGRESSION:
        said = "a regression with each missing trial at its best, too"
        return replace(bounds, verdict=GateVerdict.REGRESSION, reasons=(*reasons, said))
    # Where both ends are undecided, so is everything between them: more trials are what it takes.
    open_either_way = worst.verdict is best.verdict
    why = lacking(candidate) if open_either_way else unsettled(candidate, worst, best)
    # More trials do not help where some of those that were asked have no verdict, and it matters.
    in_vain = not open_either_way and _asked_in_vain(results)
    needed = None if in_vain else _to_be_had(measured, results)
    return replace(
        bounds,
        verdict=GateVerdict.UNDECIDED,
        reasons=(*reasons, why),
        unsettled="" if open_either_way else why,
        trials_per_cell=needed,
        more_trials=None if needed is None else _more(results, needed),
    )


def doubted(gate: Gate, results: Sequence[CellResult]) -> Gate:
    """Return the verdict that stands where builds are unverified: none but a regression.

    Nobody knows whether the trials are those of what is there, so that no number of them decides.
    Where replies are not judged by the present checks, a regression does not stand either.
    """
    unjudged = {side.unjudged for cell in results for side in cell.pair.sides} - {""}
    doubts = tuple(dict.fromkeys(doubt for cell in results for doubt in cell.pair.unverified))
    doubts = doubts or tuple(sorted(unjudged))
    if not doubts:
        return gate
    cells = sum(bool(cell.pair.unverified) for cell in results)
    what = "earlier checks or an unverified build" if unjudged else "unverified build"
    said = f"{what} in {cells} of {len(results)} pairs of cells"
    gate = replace(gate, reasons=(*gate.reasons, "; ".join([said, *doubts])), unverified=doubts)
    if gate.verdict is GateVerdict.REGRESSION and not unjudged:
        return gate
    return replace(gate, verdict=GateVerdict.UNDECIDED, trials_per_cell=None, more_trials=None)


def _to_be_had(measured: Gate, results: Sequence[CellResult]) -> int | None:
    """Return the trials a cell that would decide; those that were due are among them."""
    if measured.one_draw or (
        measured.verdict is GateVerdict.UNDECIDED and measured.trials_per_cell is None
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
        return Part(verdict=GateVerdict.NO_WORSE, reason=f"{said}: all of it above −{max_drop:g}")
    if worse(overall.difference, max_drop) and overall.p <= ALPHA:
        return Part(verdict=GateVerdict.REGRESSION, reason=f"{said}: all of it below −{max_drop:g}")
    return Part(
        verdict=GateVerdict.UNDECIDED,
        reason=f"{said}, which does not settle a drop of {max_drop:g}",
    )


def _certain(certain: Deterministic, max_drop: float) -> Part:
    said = (
        f"of {certain.cells} cells without chance {certain.worse} are worse and {certain.better} "
        f"better: {certain.mean:+.3f} on average"
    )
    lost = certain.mean < -max_drop - _ROUNDING
    return Part(verdict=GateVerdict.REGRESSION if lost else GateVerdict.NO_WORSE, reason=said)


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
    return Part(verdict=GateVerdict.UNDECIDED, reason=said)


def _not_comparable(results: Sequence[CellResult]) -> list[Part]:
    """Return why cells cannot be compared."""
    aside = [cell.pair for cell in results if cell.basis is Basis.NOT_COMPARABLE]
    greedy = sum(any(pair.greedy) and not all(pair.greedy) for pair in aside)
    of = f"of {len(results)} pairs of cells"
    found = (
        (greedy, f"{greedy} {of} greedy on one side only: one reply cannot be held against draws"),
        (len(aside) - greedy, f"{len(aside) - greedy} {of} not measured on both sides"),
    )
    return [Part(verdict=GateVerdict.UNDECIDED, reason=said) for count, said in found if count]


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


FRESH = "fresh seeds (--seed-offset) give a fresh look"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What the rounds so far show, together with the cells that have no chance in them."""

    verdict: GateVerdict
    reasons: tuple[str, ...]
    anytime: Anytime | None


def by_rounds(candidate: Candidate, *, max_drop: float, missing: Missing) -> Shown:
    """Return what may be said after every round.

    As with one look, missing trials count at their worst and at their best, and what cells of one
    side alone change is not shown.
    """
    shown = _read(candidate.pairs, max_drop, missing)
    if not candidate.alone or missing is Missing.IGNORE:
        return shown
    every = _read([*candidate.pairs, *candidate.alone], max_drop, missing)
    return (
        shown if every.verdict is shown.verdict else replace(shown, verdict=GateVerdict.UNDECIDED)
    )


def choose(once: Gate, shown: Shown, candidate: Candidate, asked: Look | None) -> Gate:
    """Return the gate by one look, by bets, or by both.

    Where nobody asks for either: if all planned trials are there and no look was taken at fewer of
    them, the one look counts, and where it is undecided, what a round had shown before: a verdict
    that was given on the way is not taken back. If some are still to come, bets count, and the one
    look where the rest could not change it any more. If there are more or fewer trials than at a
    look, bets alone count. Two verdicts that contradict each other decide nothing.
    """
    adaptive = any(pair.adaptive for pair in candidate.pairs)
    if shown.anytime is None or adaptive:
        return replace(once, look=Look.SEQUENTIAL if adaptive else once.look)
    now = trials_of(candidate)
    # Fewer than there were count as well: their number could be chosen by what had been seen.
    looked = next((look for look in reversed(candidate.looks) if look.trials != now), None)
    once = replace(once, anytime=shown.anytime, looked=looked)
    if asked is Look.ONCE:
        return replace(once, once=once.verdict)
    if only_bets := _only_bets(once, candidate, asked, looked):
        return _by_bets(once, shown, only_bets)
    return _either(once, shown, pending=any_missing(candidate))


def _either(once: Gate, shown: Shown, *, pending: bool) -> Gate:
    """Return what one look or a round on the way to it shows."""
    taken = None if pending and once.verdict is GateVerdict.UNDECIDED else once.verdict
    once = replace(once, once=taken, look=Look.ONCE if taken else Look.ANY)
    if shown.verdict in {GateVerdict.UNDECIDED, once.verdict}:
        return once
    if once.verdict is GateVerdict.UNDECIDED:
        return _by_bets(once, shown, "")
    said = "one look and the rounds on the way to it contradict each other"
    return replace(once, verdict=GateVerdict.UNDECIDED, reasons=(*once.reasons, said))


def compared(candidate: Candidate) -> str:
    """Return what stands for the trials that are compared: cells, builds and seeds of both sides.

    The same cells under other seeds, or of another build, are other trials. A fresh start under
    the same seeds is not: a server may well answer as before.
    """
    pairs = [*candidate.pairs, *candidate.alone]
    return digest(
        sorted(
            [
                text
                for side in pair.sides
                for text in (side.cell, side.build or "", str(side.first_seed))
            ]
            for pair in pairs
        )
    )


def trials_of(candidate: Candidate) -> int:
    """Return how many trials a cell has that the one look rests on, missing ones included."""
    return max((len(side.passed) + len(side.missing) for side in _sides(candidate)), default=0)


def _sides(candidate: Candidate) -> list[Trials]:
    return [side for pair in candidate.pairs if pair.sampled for side in pair.sides]


def _only_bets(once: Gate, candidate: Candidate, asked: Look | None, looked: Looked | None) -> str:
    if asked is Look.ANY:
        return "bets were asked for (--look any)"
    if looked is not None:
        return (
            f"there was a look at {looked.trials} trials per cell ({looked.verdict}), and trials "
            f"changed in number since; {FRESH}"
        )
    to_come = sum(side.never_asked for side in _sides(candidate))
    if once.missing is Missing.IGNORE and to_come:
        return f"{to_come:,} of the planned trials were never asked"
    return ""


def _by_bets(once: Gate, shown: Shown, only_bets: str) -> Gate:
    return replace(
        once,
        verdict=shown.verdict,
        reasons=shown.reasons,
        look=Look.ANY,
        only_bets=only_bets,
        unsettled="",
        trials_per_cell=None,
        more_trials=None,
    )


def _read(pairs: Sequence[CellPair], max_drop: float, missing: Missing) -> Shown:
    ignore = missing is Missing.IGNORE
    anytime = look(pairs, max_drop=max_drop, ignore=ignore)
    sampled = None if anytime is None else _part(anytime, max_drop)
    some_lack = not ignore and any(side.missing for pair in pairs for side in pair.sides)
    found = []
    for whole in [completed(pairs, end) for end in End] if some_lack else [pairs]:
        results = [result for result, _ in assess(whole, each=False)]
        found.append(judge(results, sampled, certain_cells(results), max_drop=max_drop))
    (worst, reasons), (best, others) = found[0], found[-1]
    if worst is GateVerdict.NO_WORSE:
        return Shown(verdict=worst, reasons=reasons, anytime=anytime)
    if best is GateVerdict.REGRESSION:
        return Shown(verdict=best, reasons=others, anytime=anytime)
    return Shown(verdict=GateVerdict.UNDECIDED, reasons=reasons, anytime=anytime)


def _part(anytime: Anytime, max_drop: float) -> Part:
    low, high = anytime.difference.interval.low, anytime.difference.interval.high
    said = (
        f"over {anytime.rounds} complete rounds the mean success ratio differs by "
        f"{anytime.difference.estimate:+.3f} (95 % {low:+.3f} to {high:+.3f}, however often one "
        "looks)"
    )
    if anytime.verdict is GateVerdict.UNDECIDED:
        return Part(verdict=anytime.verdict, reason=f"{said}, which does not settle {max_drop:g}")
    where = "above" if anytime.verdict is GateVerdict.NO_WORSE else "below"
    after = f"all of it {where} −{max_drop:g} since round {anytime.decided_after}"
    return Part(verdict=anytime.verdict, reason=f"{said}: {after}")
