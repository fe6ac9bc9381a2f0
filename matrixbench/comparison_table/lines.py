"""What stands above a comparison's rows: what all cells of a candidate say together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matrixbench.comparison.looks import FRESH
from matrixbench.comparison.power import OFTEN, cell_drop, given, hundredths
from matrixbench.comparison.values import Look, Missing, Verdict
from matrixbench.comparison_table.numbers import number, signed
from matrixbench.comparison_table.verdict import IGNORED, complete_rounds, rounds_needed
from matrixbench.stats.multiple import ALPHA
from matrixbench.stats.proportions import smallest_significant_drop
from matrixbench.tables import TESTS_ACROSS, counted, p_value

if TYPE_CHECKING:
    from matrixbench.comparison.values import (
        CandidateResult,
        Certain,
        Comparison,
        Count,
        Extreme,
        Gate,
        Overall,
    )


def cell_tests(comparison: Comparison) -> int:
    """Return over how many cells, of all candidates, Holm's correction runs."""
    return sum(cell.p is not None for found in comparison.candidates for cell in found.cells)


def lines_of(comparison: Comparison, candidate: CandidateResult, tests: int) -> list[str]:
    """Return what is said of a candidate before the verdict.

    Args:
        comparison: The comparison.
        candidate: One of its candidates.
        tests: Over how many cells Holm's correction runs (`cell_tests`).
    """
    lines = [] if candidate.overall is None else _overall(candidate, candidate.overall)
    for whose, count in zip(("candidate", "baseline"), candidate.counts, strict=True):
        lines.append(_count(whose, count))
    if not _to_come(candidate):
        lines += _ends(candidate.gate)
    lines += _look(candidate.gate)
    sampled = [cell.pair for cell in candidate.cells if cell.p is not None]
    if alike := sum(pair.candidate.one_reply or pair.baseline.one_reply for pair in sampled):
        lines.append(f"{counted(alike, 'sampled cell')} with one reply to several seeds on a side")
    if candidate.certain.cells:
        lines.append(_certain(candidate.certain))
    if candidate.not_comparable:
        lines.append(
            f"{counted(candidate.not_comparable, 'pair')} of cells not comparable: not measured on "
            "both sides, or greedy on one side only"
        )
    if any(candidate.without_partner):
        up, down = candidate.without_partner
        lines.append(f"without a partner: {up} cells of the candidate, {down} of the baseline")
    lines += [f"unverified build: {doubt}" for doubt in candidate.gate.unverified]
    return [*lines, *_hint(candidate, tests), *_forgotten(comparison, candidate)]


def _to_come(candidate: CandidateResult) -> bool:
    """Return whether rounds have decided, so that what was never asked need not be.

    What it would say at its worst is then no news: nobody has thrown it away.
    """
    gate = candidate.gate
    decided = gate.look is Look.ANY and gate.verdict is not Verdict.UNDECIDED
    return decided and all(count.missing == count.never_asked for count in candidate.counts)


def _overall(candidate: CandidateResult, overall: Overall) -> list[str]:
    interval = overall.difference.interval
    up, down = overall.trials
    sampled = counted(overall.cells, "sampled cell")
    lines: list[str] = []
    lines.append(
        f"{sampled} of {counted(overall.tests, 'test')}, {up:,} against {down:,} trials; mean "
        f"success ratio {overall.ratios[0]:.3f} against {overall.ratios[1]:.3f}"
    )
    lines.append(
        f"difference {signed(overall.difference.estimate)}, 95 % {signed(interval.low)} to "
        f"{signed(interval.high)} for these tests{_across(overall)}"
    )
    tested = f"{'test' if overall.adaptive else 'exact stratified test'}: p = {p_value(overall.p)}"
    if overall.p_holm != overall.p:
        tested += f", {p_value(overall.p_holm)} over all candidates (Holm)"
    lines.append(tested)
    lines += _detectable(candidate, overall)
    if overall.adaptive:
        lines.append(
            "trials are adaptive: test and interval are those that hold although cells stop early; "
            "a fixed number of trials sees smaller drops"
        )
    if overall.pairs.n:
        lines.append(
            f"{overall.pairs.n:,} pairs by seed: {overall.pairs.worse} worse, "
            f"{overall.pairs.better} better, phi {number(overall.phi)}"
        )
    return lines


def _detectable(candidate: CandidateResult, overall: Overall) -> list[str]:
    """Say which mean drop the test shows in 80 % of runs, and of which baseline and phi."""
    if candidate.sides is None:
        return []
    drop = overall.detectable_drop
    what = "no mean drop" if drop is None else f"a mean drop of {hundredths(drop)}"
    fixed = "with as many trials in fixed number " if overall.adaptive else ""
    return [f"{fixed}{OFTEN} would show {what} ({given(candidate.sides)})"]


def _count(whose: str, count: Count) -> str:
    """Say how many trials of a side count, and what became of the others."""
    said = (
        f"{whose}: {count.counted:,} of {counted(count.due, 'trial')} count ({count.rejected:,} "
        f"rejected), {count.errored:,} errored ({counted(count.raised, 'check')} raised), "
        f"{count.never_asked:,} never asked"
    )
    if count.without_partner:
        said += f", {count.without_partner:,} of cells that only the other side has"
    return said


def _ends(gate: Gate) -> list[str]:
    """Say what all trials would say with the missing ones at either end, or that nobody asked."""
    if gate.missing is Missing.IGNORE:
        return [f"trials without a verdict are left out, as if by chance ({IGNORED})"]
    ends = (("worst", gate.worst), ("best", gate.best))
    return [f"missing trials at their {name}: {_end(end)}" for name, end in ends if end is not None]


def _look(gate: Gate) -> list[str]:
    """Say by what the gate decides, and what bets on the rounds so far show."""
    if gate.anytime is None:
        return []
    interval = gate.anytime.difference.interval
    bets = (
        f"bets on {complete_rounds(gate)}: 95 % {signed(interval.low)} to {signed(interval.high)}, "
        "however often one looks"
    )
    if gate.anytime.together:
        bets += "; tests share their seeds, so that a round is one bet"
    decided = gate.verdict is not Verdict.UNDECIDED
    if gate.only_bets:
        return [f"{bets}; nothing else counts{': ' + gate.only_bets if decided else ''}"]
    if gate.look is Look.ANY and gate.once is None:
        return [f"{bets}; the one look is still to come, when all planned trials are there"]
    said = "one look, at the planned trials; what is added later only bets see"
    if gate.looked is not None:
        said = (
            f"one more look after the one at {counted(gate.looked.trials, 'trial')} per cell errs "
            f"more often than it says; {FRESH}"
        )
    return [said, f"{bets}{'' if decided else rounds_needed(gate)}"]


def _forgotten(comparison: Comparison, candidate: CandidateResult) -> list[str]:
    """Say where a look was taken of which the store knows nothing."""
    if comparison.remembered or candidate.gate.once is None:
        return []
    return ["the store cannot be written, so that this look is not remembered: do not add trials"]


def _end(end: Extreme) -> str:
    said = []
    if end.overall is not None:
        (up, down), difference = end.overall.ratios, end.overall.difference
        low, high = difference.interval.low, difference.interval.high
        said.append(
            f"{up:.3f} against {down:.3f}, difference {signed(difference.estimate)}, "
            f"95 % {signed(low)} to {signed(high)}"
        )
    if end.certain.cells:
        said.append(f"difference {signed(end.certain.mean)} over cells without chance")
    return "; ".join(said) or "nothing could be compared"


def _across(overall: Overall) -> str:
    found = overall.across_tests
    if found is None or overall.tests < TESTS_ACROSS:
        return ""
    return f"; {signed(found.low)} to {signed(found.high)} for such tests"


def _certain(certain: Certain) -> str:
    return (
        f"{counted(certain.cells, 'cell')} without chance (greedy, decided by the request, or "
        f"shared): {certain.same} with equal outcomes, {certain.same_replies} of them with equal "
        f"replies; {certain.worse} worse, {certain.better} better"
    )


def _hint(candidate: CandidateResult, tests: int) -> list[str]:
    """Say what drop of a single cell is shown in 80 % of runs, alone and among so many."""
    tested = [cell for cell in candidate.cells if cell.p is not None and cell.evidence is None]
    if not tested or candidate.sides is None:
        return []
    n = max(min(cell.trials) for cell in tested)
    paired = all(cell.test == "mcnemar" for cell in tested)
    trials, cells = counted(n, "trial"), counted(tests, "cell")
    first = ALPHA / tests
    if smallest_significant_drop(n, paired=paired, alpha=first) is None:
        said = f"{trials} cannot make one of {cells} stand out (Holm)"
        return [f"{said}: look --by test, or raise trials"]
    alone = cell_drop(n, candidate.sides, paired=paired)
    among = cell_drop(n, candidate.sides, paired=paired, alpha=first)
    said = f"{trials} show, in {OFTEN}, {_drop(alone)} of a cell alone"
    return [f"{said}, {_drop(among)} of the first of {cells} (Holm)"]


def _drop(drop: float | None) -> str:
    return "no drop" if drop is None else f"a drop of {hundredths(drop)}"
