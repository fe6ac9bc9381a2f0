"""By what does the gate decide: by one look at the planned trials, or by bets on the rounds so far?

One look at a number of trials that was fixed before is the sharper test. Whoever looks, adds trials
and looks again errs more often than it says. Bets hold at however many looks. So the one look is
taken where all planned trials are there, and it is taken once: what is added later only bets see.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from matrixbench.comparison import rounds
from matrixbench.comparison.cells import assess
from matrixbench.comparison.certain import certain_cells
from matrixbench.comparison.gate import Part, judge
from matrixbench.comparison.missing import End, any_missing, completed
from matrixbench.comparison.values import Look, Looked, Missing, Verdict
from matrixbench.identity import digest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matrixbench.comparison.values import Anytime, Candidate, CellPair, Gate, Trials

FRESH = "fresh seeds (--seed-offset) give a fresh look"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What the rounds so far show, together with the cells that have no chance in them."""

    verdict: Verdict
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
    return shown if every.verdict is shown.verdict else replace(shown, verdict=Verdict.UNDECIDED)


def choose(once: Gate, shown: Shown, candidate: Candidate, asked: Look | None) -> Gate:
    """Return the gate by one look, by bets, or by both.

    Where nobody asks for either: if all planned trials are there and no look was taken at fewer of
    them, the one look counts, and where it is undecided, what a round had shown before: a verdict
    that was given on the way is not taken back. If some are still to come, bets count, and the one
    look where the rest could not change it any more. If there are more or fewer trials than at a
    look, bets alone count. Two verdicts that contradict each other decide nothing.

    Args:
        once: The gate by one look, with what missing trials make of it.
        shown: What the rounds show.
        candidate: The candidate with its cells, and the looks that were taken at them.
        asked: What was asked for.
    """
    adaptive = any(pair.adaptive for pair in candidate.pairs)
    if shown.anytime is None or adaptive:
        return replace(once, look=Look.SEQUENTIAL if adaptive else once.look)
    looked = _before(candidate)
    once = replace(once, anytime=shown.anytime, looked=looked)
    if asked is Look.ONCE:
        return replace(once, once=once.verdict)
    if only_bets := _only_bets(once, candidate, asked, looked):
        return _by_bets(once, shown, only_bets)
    return _either(once, shown, pending=any_missing(candidate))


def _either(once: Gate, shown: Shown, *, pending: bool) -> Gate:
    """Return what one look or a round on the way to it shows."""
    taken = None if pending and once.verdict is Verdict.UNDECIDED else once.verdict
    once = replace(once, once=taken, look=Look.ONCE if taken else Look.ANY)
    if shown.verdict in {Verdict.UNDECIDED, once.verdict}:
        return once
    if once.verdict is Verdict.UNDECIDED:
        return _by_bets(once, shown, "")
    said = "one look and the rounds on the way to it contradict each other"
    return replace(once, verdict=Verdict.UNDECIDED, reasons=(*once.reasons, said))


def compared(candidate: Candidate) -> str:
    """Return what stands for the trials that are compared: cells, builds and seeds of both sides.

    The same cells under other seeds, or of another build, are other trials. A fresh start under
    the same seeds is not: a server may well answer as before.
    """
    pairs = [*candidate.pairs, *candidate.alone]
    return digest(sorted([*_named(pair.candidate), *_named(pair.baseline)] for pair in pairs))


def trials_of(candidate: Candidate) -> int:
    """Return how many trials a cell has that the one look rests on, missing ones included."""
    return max((len(side.passed) + len(side.missing) for side in _sides(candidate)), default=0)


def _named(side: Trials) -> list[str]:
    return [side.cell, side.build or "", str(side.first_seed)]


def _sides(candidate: Candidate) -> list[Trials]:
    return [side for pair in candidate.pairs if pair.sampled for side in pair.sides]


def _before(candidate: Candidate) -> Looked | None:
    """Return the newest look that was taken at another number of trials of the same cells.

    Fewer than there were count as well: their number could be chosen by what had been seen.
    """
    now = trials_of(candidate)
    return next((look for look in reversed(candidate.looks) if look.trials != now), None)


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
    anytime = rounds.look(pairs, max_drop=max_drop, ignore=ignore)
    sampled = None if anytime is None else _part(anytime, max_drop)
    found = []
    for end in (End.WORST, End.BEST):
        whole = pairs if ignore else completed(pairs, end)
        results = [result for result, _ in assess(whole, each=False)]
        found.append(judge(results, sampled, certain_cells(results), max_drop=max_drop))
    (worst, reasons), (best, others) = found
    if worst is Verdict.NO_WORSE:
        return Shown(verdict=worst, reasons=reasons, anytime=anytime)
    if best is Verdict.REGRESSION:
        return Shown(verdict=best, reasons=others, anytime=anytime)
    return Shown(verdict=Verdict.UNDECIDED, reasons=reasons, anytime=anytime)


def _part(anytime: Anytime, max_drop: float) -> Part:
    low, high = anytime.difference.interval.low, anytime.difference.interval.high
    said = (
        f"over {anytime.rounds} complete rounds the mean success ratio differs by "
        f"{anytime.difference.estimate:+.3f} (95 % {low:+.3f} to {high:+.3f}, however often one "
        "looks)"
    )
    if anytime.verdict is Verdict.UNDECIDED:
        return Part(verdict=anytime.verdict, reason=f"{said}, which does not settle {max_drop:g}")
    where = "above" if anytime.verdict is Verdict.NO_WORSE else "below"
    after = f"all of it {where} −{max_drop:g} since round {anytime.decided_after}"
    return Part(verdict=anytime.verdict, reason=f"{said}: {after}")
