"""One pair of cells: what its comparison rests on, its test, and what missing trials change."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from enum import StrEnum
from typing import TYPE_CHECKING

from matrixbench.comparison.values import Basis, CellResult, Count, Deterministic
from matrixbench.stats.paired import holm, mcnemar_exact, phi, pooled_phi
from matrixbench.stats.proportions import Difference, Interval, boschloo, newcombe_difference
from matrixbench.stats.sequential import (
    independent_evidence,
    p_value,
    paired_evidence,
    sequential_difference,
)
from matrixbench.stats.stratified import are_pairs, stratum_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from matrixbench.comparison.values import Candidate, CellPair, Extreme, Trials
    from matrixbench.stats.stratified import Stratum

PAIRING_PAYS = 0.2
"""From this pooled phi on, cells that share seeds are tested as pairs. Below it the unpaired test
sees more; choosing like this keeps the error below 5 % (tests/benchmarks/pairing_error.py)."""

SEQUENTIAL_PAIRS, SEQUENTIAL = "sequential pairs", "sequential"
"""What the tests of adaptive trials are called."""


def assess(
    pairs: Sequence[CellPair], *, each: bool = True
) -> list[tuple[CellResult, Stratum | None]]:
    """Return what is known of each pair of cells; the stratum where there is chance in it.

    Cells that share seeds are tested as pairs (exact McNemar) where the correlation within cells,
    pooled over all of them, says that pairing holds, else by Boschloo's test. Holm's correction
    runs over all cells with a p-value; that over all candidates is the caller's.

    Args:
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
        luck = next((side.first_seed for side in pair.sides if side.common_seeds), None)
        return CellResult(pair=pair, basis=basis), stratum_of(pair.test, up, down, luck=luck)
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


def _equality(pair: CellPair, basis: Basis) -> CellResult:
    up, down = pair.sides
    estimate = (up.ratio or 0.0) - (down.ratio or 0.0)
    common = up.passed.keys() & down.passed.keys()
    alike = all(up.passed[seed] == down.passed[seed] for seed in common)
    same = up.by_request == down.by_request and alike and estimate == 0
    answered = up.replies.keys() & down.replies.keys()
    return CellResult(
        pair=pair,
        basis=basis,
        trials=(len(up.passed), len(down.passed)),
        difference=Difference(estimate=estimate, interval=Interval(low=estimate, high=estimate)),
        same=same,
        same_replies=same and all(up.replies[seed] == down.replies[seed] for seed in answered),
    )


def _tested(result: CellResult, stratum: Stratum, *, as_pairs: bool) -> CellResult:
    """Return a pair of cells with its test and its interval, over all trials of both sides."""
    adaptive = result.pair.adaptive
    up, down = result.pair.counts if adaptive else stratum.counts()
    table = stratum.pairs() if stratum.paired else None
    result = replace(
        result, trials=(up[1], down[1]), pairs=table, phi=None if table is None else phi(table)
    )
    if adaptive:
        if table is not None and as_pairs:
            evidence, test = paired_evidence(table.worse, table.better), SEQUENTIAL_PAIRS
        else:
            evidence, test = independent_evidence(up, down), SEQUENTIAL
        difference = sequential_difference(up, down)
        p = p_value(evidence)
        return replace(result, difference=difference, test=test, evidence=evidence, p=p)
    if table is not None and as_pairs:
        p, test = mcnemar_exact(table.worse, table.better), "mcnemar"
    else:
        p, test = boschloo(up, down), "boschloo"
    return replace(result, difference=stratum.difference(), test=test, p=p)


def certain_cells(results: Sequence[CellResult]) -> Deterministic:
    """Count the cells that equality decides."""
    sampled = {Basis.PAIRED, Basis.UNPAIRED, Basis.ONE_DRAW, Basis.NOT_COMPARABLE}
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
    return Deterministic(
        cells=len(all_of_them),
        same=same,
        same_replies=same_replies,
        worse=sum(value < 0 for value in all_of_them),
        better=sum(value > 0 for value in all_of_them),
        mean=sum(means) / len(means) if means else 0.0,
    )


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
        check_raised=sum(side.raised for side in every),
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
        (side.errored - side.check_raised, "errored"),
        (side.check_raised, "at which a check raised"),
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
    unheard = [side.errored > side.check_raised or side.never_asked > 0 for side in counts]
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
            any(side.check_raised for side in counts),
            "mend the check that raised, and the stored replies are judged again",
        ),
        (
            any(side.without_partner for side in counts),
            "select with --where what both sides have",
        ),
    )
    return ", ".join(step for needed, step in steps if needed)
