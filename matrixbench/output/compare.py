"""What `compare` prints for people: the verdict, what it rests on, and a row a cell or a test.

As Markdown it says the same. The JSON of a comparison is made in `comparison.data`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from math import inf
from typing import TYPE_CHECKING

from matrixbench.comparison.gate import FRESH
from matrixbench.comparison.power import OFTEN, cell_drop, given, hundredths
from matrixbench.comparison.totals import DROP_SHOWN, shown_drop
from matrixbench.comparison.values import Basis, GateVerdict, Look, Missing
from matrixbench.output.text import (
    ABSENT,
    ROWS,
    TESTS_ACROSS,
    Column,
    left_out_line,
    number,
    p_value,
    print_table,
    prose,
    shared_parts,
    signed,
    telling_axes,
    whole,
)
from matrixbench.safe_text import for_markdown
from matrixbench.spec.axes import TEST, cell_name, varying_axes
from matrixbench.spec.wording import counted
from matrixbench.stats.paired import ALPHA
from matrixbench.stats.proportions import smallest_significant_drop

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import Console

    from matrixbench.comparison.data import Comparison
    from matrixbench.comparison.values import (
        CandidateResult,
        CellResult,
        Count,
        Deterministic,
        Extreme,
        Gate,
        Overall,
        TestResult,
    )
    from matrixbench.stats.proportions import Interval

IGNORED = "--missing ignore"
"""How it was asked for that missing trials be left out."""

_NEGATIVE = re.compile(r"(?<![\w-])-(?=\d)")
"""The sign of a number, which is no hyphen."""


def verdict(candidate: CandidateResult) -> str:
    """Return the gate's verdict without its reasons."""
    limit = f"{candidate.gate.max_drop:g}"
    return {
        GateVerdict.NO_WORSE: f"shown no worse than a drop of {limit}",
        GateVerdict.REGRESSION: f"regression: a drop of more than {limit} is shown",
        GateVerdict.UNDECIDED: f"undecided whether the drop is at most {limit}",
    }[candidate.gate.verdict]


def verdict_line(candidate: CandidateResult) -> str:
    """Return the gate's verdict in a sentence, with what would decide it."""
    gate, said = candidate.gate, verdict(candidate)
    decided = gate.verdict is not GateVerdict.UNDECIDED
    if gate.missing is Missing.IGNORE:
        said += f", trials without a verdict left out ({IGNORED})"
    elif gate.worst and gate.look is not Look.ANY and decided:
        said += ", whatever the trials without a verdict would have said"
    if not decided:
        return _undecided(candidate, said)
    bets = gate.anytime if gate.look is Look.ANY else None
    if bets is not None and bets.decided_after is not None:
        said += f" in round {bets.decided_after}"
    return f"{said}: {_why(gate)}"


def _why(gate: Gate) -> str:
    """Return the gate's reasons on one line, those that settle it first.

    That a drop is shown is none of them here: the line begins with it.
    """
    reasons = [reason for reason in gate.reasons if not reason.startswith(DROP_SHOWN)]
    return _NEGATIVE.sub("−", "; ".join(reasons))


def _undecided(candidate: CandidateResult, said: str) -> str:
    gate, overall = candidate.gate, candidate.overall
    if gate.unverified:  # no number of trials would decide
        return f"{said}: unverified build"
    if gate.only_bets:
        return f"{said} after {_complete_rounds(gate)}{_rounds_needed(gate)}: {gate.only_bets}"
    if (shown := shown_drop(candidate)) is not None:
        said = f"{DROP_SHOWN} (p = {p_value(shown.p_holm)}); {said}"
    said = f"{said}: {_why(gate) or 'no cell was compared'}"
    # Once all trials that were due are there, they may show it to be no worse.
    by_missing = gate.best is not None and gate.best.verdict is GateVerdict.NO_WORSE
    if gate.one_draw or (gate.unsettled and by_missing):
        return said
    if gate.trials_per_cell is None:
        if gate.unsettled or overall is None:
            return said
        return f"{said}; no number of trials would decide: the drop is too close to the limit"
    fixed = "a fixed number of " if overall is not None and overall.adaptive else ""
    trials = counted(gate.trials_per_cell, "trial")
    return (
        f"{said}; if ratios stay as they are, {fixed}{trials} per cell would decide in "
        f"{OFTEN} ({gate.more_trials:,} more in all)"
    )


def _complete_rounds(gate: Gate) -> str:
    """Return how many rounds count."""
    return counted(0 if gate.anytime is None else gate.anytime.rounds, "complete round")


def _rounds_needed(gate: Gate) -> str:
    """Say how many rounds would decide by bets, if that is known."""
    if gate.anytime is None or gate.anytime.rounds_to_decide is None:
        return ""
    rounds = counted(gate.anytime.rounds_to_decide, "round")
    return f" ({rounds} would decide by bets if ratios stay as they are)"


def lines_of(comparison: Comparison, candidate: CandidateResult) -> list[str]:
    """Return what is said of a candidate beside the verdict."""
    lines = [] if candidate.overall is None else _overall(candidate, candidate.overall)
    for whose, count in zip(("candidate", "baseline"), candidate.counts, strict=True):
        lines.append(_count(whose, count))
    if not _to_come(candidate):
        lines += _missing(candidate.gate)
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
    lines += _hint(comparison, candidate)
    if not comparison.remembered and candidate.gate.once is not None:
        lines.append(
            "the store cannot be written, so that this look is not remembered: do not add trials"
        )
    return lines


def _to_come(candidate: CandidateResult) -> bool:
    """Return whether rounds have decided, so that what was never asked need not be.

    What it would say at its worst is then no news: nobody has thrown it away.
    """
    gate = candidate.gate
    decided = gate.look is Look.ANY and gate.verdict is not GateVerdict.UNDECIDED
    return decided and all(count.missing == count.never_asked for count in candidate.counts)


def _overall(candidate: CandidateResult, overall: Overall) -> list[str]:
    up, down = overall.trials
    sampled = counted(overall.cells, "sampled cell")
    pairs = (
        f"{sampled} of {counted(overall.tests, 'test')}, {up:,} against {down:,} trials; mean "
        f"success ratio {overall.ratios[0]:.3f} against {overall.ratios[1]:.3f}"
    )
    difference = f"{_difference(overall)} for these tests"
    if (such := overall.across_tests) is not None and overall.tests >= TESTS_ACROSS:
        difference += f"; {_ends(such)} for such tests"
    lines = [pairs, difference]
    tested = f"{'test' if overall.adaptive else 'exact stratified test'}: p = {p_value(overall.p)}"
    if overall.p_holm != overall.p:
        tested += f", {p_value(overall.p_holm)} over all candidates (Holm)"
    lines.append(tested)
    if candidate.sides is not None:
        drop = _drop(overall.detectable_drop, "mean drop")
        fixed = "with as many trials in fixed number " if overall.adaptive else ""
        lines.append(f"{fixed}{OFTEN} would show {drop} ({given(candidate.sides)})")
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


def _count(whose: str, count: Count) -> str:
    """Say how many trials of a side count, and what became of the others."""
    said = (
        f"{whose}: {count.counted:,} of {counted(count.due, 'trial')} count ({count.rejected:,} "
        f"rejected), {count.errored:,} errored ({counted(count.check_raised, 'check')} raised), "
        f"{count.never_asked:,} never asked"
    )
    if count.without_partner:
        said += f", {count.without_partner:,} of cells that only the other side has"
    return said


def _missing(gate: Gate) -> list[str]:
    """Say what all trials would say with the missing ones at either end, or that nobody asked."""
    if gate.missing is Missing.IGNORE:
        return [f"trials without a verdict are left out, as if by chance ({IGNORED})"]
    ends = (("worst", gate.worst), ("best", gate.best))
    return [f"missing trials at their {name}: {_end(end)}" for name, end in ends if end is not None]


def _look(gate: Gate) -> list[str]:
    """Say by what the gate decides, and what bets on the rounds so far show."""
    if gate.anytime is None:
        return []
    ends = _ends(gate.anytime.difference.interval)
    bets = f"bets on {_complete_rounds(gate)}: 95 % {ends}, however often one looks"
    if gate.anytime.together:
        bets += "; tests share their seeds, so that a round is one bet"
    decided = gate.verdict is not GateVerdict.UNDECIDED
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
    return [said, f"{bets}{'' if decided else _rounds_needed(gate)}"]


def _difference(overall: Overall) -> str:
    difference = overall.difference
    return f"difference {signed(difference.estimate)}, 95 % {_ends(difference.interval)}"


def _ends(interval: Interval) -> str:
    return f"{signed(interval.low)} to {signed(interval.high)}"


def _end(end: Extreme) -> str:
    said = []
    if end.overall is not None:
        up, down = end.overall.ratios
        said.append(f"{up:.3f} against {down:.3f}, {_difference(end.overall)}")
    if end.certain.cells:
        said.append(f"difference {signed(end.certain.mean)} over cells without chance")
    return "; ".join(said) or "nothing could be compared"


def _certain(certain: Deterministic) -> str:
    return (
        f"{counted(certain.cells, 'cell')} without chance (greedy, decided by the request, or "
        f"shared): {certain.same} with equal outcomes, {certain.same_replies} of them with equal "
        f"replies; {certain.worse} worse, {certain.better} better"
    )


def _hint(comparison: Comparison, candidate: CandidateResult) -> list[str]:
    """Say what drop of a single cell is shown in 80 % of runs, alone and among so many.

    Holm's correction runs over the cells of all candidates.
    """
    tested = [cell for cell in candidate.cells if cell.p is not None and cell.evidence is None]
    if not tested or candidate.sides is None:
        return []
    n = max(min(cell.trials) for cell in tested)
    paired = all(cell.test == "mcnemar" for cell in tested)
    tests = sum(cell.p is not None for one in comparison.candidates for cell in one.cells)
    trials, cells = counted(n, "trial"), counted(tests, "cell")
    first = ALPHA / tests
    if smallest_significant_drop(n, paired=paired, alpha=first) is None:
        said = f"{trials} cannot make one of {cells} stand out (Holm)"
        return [f"{said}: look --by test, or raise trials"]
    alone = cell_drop(n, candidate.sides, paired=paired)
    among = cell_drop(n, candidate.sides, paired=paired, alpha=first)
    said = f"{trials} show, in {OFTEN}, {_drop(alone)} of a cell alone"
    return [f"{said}, {_drop(among)} of the first of {cells} (Holm)"]


def _drop(drop: float | None, noun: str = "drop") -> str:
    return f"no {noun}" if drop is None else f"a {noun} of {hundredths(drop)}"


_COLUMNS = {
    "n": 3, "base": 1, "cand.": 0, "diff.": 0, "95 %": 0, "−/+": 4, "phi": 5, "p": 2, "Holm": 0
}  # fmt: skip
"""Columns of figures, and which of them go first where there is no room: the highest."""


class By(StrEnum):
    """What a row of the table is."""

    CELL = "cell"
    TEST = "test"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A row: its name, its text in each column that has one, and where it stands."""

    name: str
    figures: Mapping[str, str]
    stands_out: bool
    place: tuple[float, ...]


def rows_of(candidate: CandidateResult, by: By, axis: str) -> tuple[list[Row], int]:
    """Return the rows that are shown, those that differ most first, and how many are not.

    Cells are named by the axes in which they differ beside the one that is compared.
    """
    if by is By.TEST:
        rows = [_test_row(test) for test in candidate.tests]
    else:
        varying = varying_axes(cell.pair.coordinates for cell in candidate.cells)
        axes = telling_axes(name for name in varying if name != axis) or [TEST]
        rows = [_cell_row(cell, axes) for cell in candidate.cells]
    rows.sort(key=lambda row: row.place)
    return rows[:ROWS], len(rows) - len(rows[:ROWS])


def _cell_row(cell: CellResult, axes: Sequence[str]) -> Row:
    figures = {"n": _against(cell.trials)}
    if cell.difference is not None:
        estimate, interval = cell.difference.estimate, cell.difference.interval
        base = _baseline_ratio(cell)
        figures |= {"base": f"{base:.2f}", "cand.": f"{base + estimate:.2f}"}
        figures["diff."] = signed(estimate, 2)
        if cell.p is not None or cell.basis is Basis.ONE_DRAW:
            figures["95 %"] = _interval(interval)
    if cell.difference is None or cell.basis is Basis.ONE_DRAW:
        figures["p"] = str(cell.basis)
    elif cell.p is None:
        figures["p"] = "same" if cell.same_replies else "outcome" if cell.same else "changed"
    else:
        figures |= {"p": p_value(cell.p), "Holm": p_value(cell.p_holm)}
        if cell.pairs is not None:
            figures["−/+"] = f"{cell.pairs.worse}/{cell.pairs.better}"
            figures["phi"] = number(cell.phi)
    estimate = 0.0 if cell.difference is None else cell.difference.estimate
    first = cell.basis is not Basis.NOT_COMPARABLE and cell.same is False
    return Row(
        name=cell_name(cell.pair.coordinates, axes),
        figures=figures,
        stands_out=cell.stands_out or first,
        place=(0.0 if first else 1.0, inf if cell.p is None else cell.p, estimate),
    )


def _baseline_ratio(cell: CellResult) -> float:
    if cell.pairs is not None and cell.evidence is None:
        return (cell.pairs.both + cell.pairs.worse) / cell.pairs.n
    return cell.pair.baseline.ratio or 0.0


def _test_row(test: TestResult) -> Row:
    overall, certain = test.overall, test.certain
    if overall is None:
        told = f"{certain.same}/{certain.cells} same" if certain.cells else ABSENT
        changed = certain.same < certain.cells
        return Row(
            name=test.test,
            figures={"diff.": signed(certain.mean, 2) if certain.cells else "", "p": told},
            stands_out=changed,
            place=(0.0 if changed else 1.0, inf, certain.mean),
        )
    figures = {
        "n": _against(overall.trials),
        "base": f"{overall.ratios[1]:.2f}",
        "cand.": f"{overall.ratios[0]:.2f}",
        "diff.": signed(overall.difference.estimate, 2),
        "95 %": _interval(overall.difference.interval),
        "p": p_value(overall.p),
        "Holm": p_value(overall.p_holm),
    }
    if overall.pairs.n:
        figures["−/+"] = f"{overall.pairs.worse}/{overall.pairs.better}"
        figures["phi"] = number(overall.phi)
    return Row(
        name=test.test,
        figures=figures,
        stands_out=overall.stands_out,
        place=(1.0, overall.p, overall.difference.estimate),
    )


def _against(trials: tuple[int, int]) -> str:
    up, down = trials
    return f"{up}" if up == down else f"{up}/{down}"


def _interval(interval: Interval) -> str:
    return f"{signed(interval.low, 2)} {signed(interval.high, 2)}"


_STYLES = {
    GateVerdict.NO_WORSE: "green",
    GateVerdict.REGRESSION: "red",
    GateVerdict.UNDECIDED: "yellow",
}


def print_comparison(comparison: Comparison, by: By, out: Console) -> None:
    """Print every candidate: the gate's verdict, what all cells say together, then the rows.

    At the end the verdicts stand again, where the eye is when the tables have passed.
    """
    for candidate in comparison.candidates:
        style = _STYLES[candidate.gate.verdict]
        whole(_headline(comparison, candidate), out, "bold")
        prose(verdict_line(candidate), out, style, indent=2)
        for line in lines_of(comparison, candidate):
            prose(line, out, indent=2)
        out.print()
        rows, hidden = rows_of(candidate, by, comparison.axis)
        if rows:
            _print_rows(rows, by, out)
        if hidden:
            whole(f"and {counted(hidden, 'row')} more (--json lists all)", out)
        if rows:
            out.print()
    for candidate in comparison.candidates:
        said = f"{candidate.name}: {verdict(candidate)}"
        prose(said, out, _STYLES[candidate.gate.verdict])


def _print_rows(rows: Sequence[Row], by: By, out: Console) -> None:
    columns = [
        Column(name, [row.figures.get(name, "") for row in rows], drop=drop)
        for name, drop in _COLUMNS.items()
    ]
    bold = {place for place, row in enumerate(rows) if row.stands_out}
    left_out_line(print_table(str(by), [row.name for row in rows], columns, out, bold=bold), out)


def markdown(comparison: Comparison, by: By) -> str:
    """Return the comparison as Markdown, for a pull request."""
    said = f"{comparison.experiment}: {comparison.axis} against {comparison.baseline}"
    parts = [f"## {for_markdown(said)}"]
    for candidate in comparison.candidates:
        parts.append(f"### {for_markdown(candidate.name)}: {candidate.gate.verdict}")
        parts.append(for_markdown(verdict_line(candidate)))
        lines = lines_of(comparison, candidate)
        parts.append("\n".join(f"- {for_markdown(line)}" for line in lines))
        rows, hidden = rows_of(candidate, by, comparison.axis)
        if rows:
            parts.append(_markdown_table(rows, by))
        if hidden:
            parts.append(f"and {counted(hidden, 'row')} more")
    parts.append(
        "Bold rows are shown to differ (Holm over the rows of all candidates, 5 %). Differences "
        "are candidate less baseline; −/+ counts pairs of trials with one seed that only the "
        "baseline, only the candidate passed."
    )
    return "\n\n".join(part for part in parts if part) + "\n"


def _markdown_table(rows: Sequence[Row], by: By) -> str:
    shared, names = shared_parts([row.name for row in rows])
    lines = [f"All rows: {for_markdown(shared)}", ""] if shared else []
    lines += [
        f"| {' | '.join((str(by), *_COLUMNS))} |",
        f"| --- |{' ---: |' * len(_COLUMNS)}",
    ]
    for row, name in zip(rows, map(for_markdown, names), strict=True):
        texts = (row.figures.get(column, "") for column in _COLUMNS)
        lines.append(f"| {' | '.join((f'**{name}**' if row.stands_out else name, *texts))} |")
    return "\n".join(lines)


def _headline(comparison: Comparison, candidate: CandidateResult) -> str:
    return (
        f"{comparison.experiment}: {comparison.axis} {candidate.name} against "
        f"{comparison.baseline}, {counted(len(candidate.cells), 'pair')} of cells"
    ).replace("build build", "build")
