"""What could the trials that were due and have no verdict have said?

They are not missing at random. A server that errs at what it cannot do answers the rest well, a
check that raises at odd replies never judges them: left out, they flatter. So they are put in, all
at their worst for the candidate and all at their best, and the gate looks at both ends.
"""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from typing import TYPE_CHECKING

from matrixbench.comparison.values import Count

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from matrixbench.comparison.values import Candidate, CellPair, Extreme, Trials


class End(StrEnum):
    """To which end of what they could have said the missing trials are put in."""

    WORST = "worst"
    """Against the candidate: its own as failures, the baseline's as passes."""
    BEST = "best"
    """For the candidate: its own as passes, the baseline's as failures."""


def any_missing(candidate: Candidate) -> bool:
    """Return whether a trial is missing that could change what the comparison says."""
    return any(side.missing for pair in _of_two(candidate) for side in pair.sides)


def completed(pairs: Sequence[CellPair], end: End) -> list[CellPair]:
    """Return pairs of cells with the missing trials put in, all to one end.

    Cells that share their trials are left as they are: what a trial of theirs would have said it
    would have said of both sides.
    """
    passes = end is End.BEST
    return [
        pair
        if pair.shared
        else replace(
            pair,
            candidate=_filled(pair.candidate, passed=passes),
            baseline=_filled(pair.baseline, passed=not passes),
        )
        for pair in pairs
    ]


def _filled(side: Trials, *, passed: bool) -> Trials:
    return replace(
        side,
        passed={**side.passed, **dict.fromkeys(sorted(side.missing), passed)},
        missing=frozenset(),
    )


def count(candidate: Candidate) -> tuple[Count, Count]:
    """Return how many trials there are and are not, of the candidate and of the baseline."""
    every = [*candidate.pairs, *candidate.alone]
    two = list(_of_two(candidate))
    return (
        _count([pair.candidate for pair in every], [pair.candidate for pair in two]),
        _count([pair.baseline for pair in every], [pair.baseline for pair in two]),
    )


def _of_two(candidate: Candidate) -> Iterator[CellPair]:
    return (pair for pair in (*candidate.pairs, *candidate.alone) if not pair.shared)


def _count(every: Sequence[Trials], two: Sequence[Trials]) -> Count:
    counted = sum(len(side.passed) for side in every)
    return Count(
        due=counted + sum(len(side.missing) for side in every),
        counted=counted,
        rejected=sum(side.rejected for side in every),
        errored=sum(side.errored for side in every),
        raised=sum(side.raised for side in every),
        never_asked=sum(side.never_asked for side in every),
        missing=sum(len(side.missing) for side in two),
        without_partner=sum(len(side.missing) for side in two if not side.cell),
    )


def lacking(candidate: Candidate) -> str:
    """Return how many trials have no verdict, of which side and of which kind."""
    found = " and ".join(
        f"{side.missing:,} of the {whose}'s {side.due:,} trials ({_kinds(cells)})"
        for whose, side, cells in zip(
            ("candidate", "baseline"), count(candidate), _where_missing(candidate), strict=True
        )
        if side.missing
    )
    return f"{found} have no verdict"


def unsettled(candidate: Candidate, worst: Extreme, best: Extreme) -> str:
    """Return why missing trials leave the gate undecided, and what to do about it, in a line."""
    return (
        f"{lacking(candidate)}, and could change it: the difference is {_said(worst)} with each at "
        f"its worst, {_said(best)} with each at its best; {_advice(candidate)}"
    )


def _where_missing(candidate: Candidate) -> tuple[Count, Count]:
    """Return the trials of those cells alone of which some are missing."""
    two = list(_of_two(candidate))
    up = [pair.candidate for pair in two if pair.candidate.missing]
    down = [pair.baseline for pair in two if pair.baseline.missing]
    return _count(up, up), _count(down, down)


def _kinds(side: Count) -> str:
    found = (
        (side.errored - side.raised, "errored"),
        (side.raised, "at which a check raised"),
        (side.never_asked, "never asked"),
        (side.without_partner, "of cells that only the other side has"),
    )
    return ", ".join(f"{n:,} {kind}" for n, kind in found if n)


def _said(extreme: Extreme) -> str:
    found = []
    if extreme.overall is not None:
        difference = extreme.overall.difference
        low, high = difference.interval.low, difference.interval.high
        found.append(f"{difference.estimate:+.3f} (95 % {low:+.3f} to {high:+.3f})")
    if extreme.certain.cells:
        found.append(f"{extreme.certain.mean:+.3f} over cells without chance")
    return " and ".join(found).replace("-", "−")


def _advice(candidate: Candidate) -> str:
    counts = _where_missing(candidate)
    unheard = [side.errored > side.raised or side.never_asked > 0 for side in counts]
    steps = (
        (
            unheard[0] or (unheard[1] and not candidate.earlier),
            "run what is missing with matrixbench execute --resume",
        ),
        (
            unheard[1] and candidate.earlier,
            "an earlier build is not asked again, but trials may be lowered to what it has",
        ),
        (
            any(side.raised for side in counts),
            "mend the check that raised, and the stored replies are judged again",
        ),
        (
            any(side.without_partner for side in counts),
            "select with --where what both sides have",
        ),
    )
    return ", ".join(step for needed, step in steps if needed)
