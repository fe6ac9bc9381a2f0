"""What `compare` prints for people: a table of at most 100 columns, and Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.padding import Padding
from rich.text import Text

from matrixbench.comparison.values import Verdict
from matrixbench.comparison_table.lines import cell_tests, lines_of
from matrixbench.comparison_table.rows import By, markdown_table, rows_of, table
from matrixbench.comparison_table.verdict import verdict_line
from matrixbench.safe_text import for_markdown
from matrixbench.tables import counted

if TYPE_CHECKING:
    from rich.console import Console

    from matrixbench.comparison.values import CandidateResult, Comparison

__all__ = ["By", "markdown", "print_comparison", "verdict_line"]

_STYLES = {Verdict.NO_WORSE: "green", Verdict.REGRESSION: "red", Verdict.UNDECIDED: "yellow"}


def print_comparison(comparison: Comparison, by: By, out: Console) -> None:
    """Print every candidate: what all cells say together, the gate's verdict, then the rows."""
    tests = cell_tests(comparison)
    for place, candidate in enumerate(comparison.candidates):
        if place:
            out.print()
        out.print(Text(_headline(comparison, candidate), style="bold"), soft_wrap=True)
        for line in lines_of(comparison, candidate, tests):
            out.print(_indented(line))
        out.print(_indented(verdict_line(candidate), _STYLES[candidate.gate.verdict]))
        rows, hidden = rows_of(candidate, by, comparison.axis)
        if rows:
            out.print()
            out.print(table(rows, by))
        if hidden:
            out.print(f"and {counted(hidden, 'row')} more (--json lists all)")


def _indented(line: str, style: str = "") -> Padding:
    return Padding(Text(line, style=style), (0, 0, 0, 2))


def markdown(comparison: Comparison, by: By) -> str:
    """Return the comparison as Markdown, for a pull request."""
    tests = cell_tests(comparison)
    said = f"{comparison.experiment}: {comparison.axis} against {comparison.baseline}"
    parts = [f"## {for_markdown(said)}"]
    for candidate in comparison.candidates:
        parts.append(f"### {for_markdown(candidate.name)}: {candidate.gate.verdict}")
        parts.append(for_markdown(verdict_line(candidate)))
        lines = lines_of(comparison, candidate, tests)
        parts.append("\n".join(f"- {for_markdown(line)}" for line in lines))
        rows, hidden = rows_of(candidate, by, comparison.axis)
        if rows:
            parts.append(markdown_table(rows, by))
        if hidden:
            parts.append(f"and {counted(hidden, 'row')} more")
    parts.append(
        "Bold rows are shown to differ (Holm over the rows of all candidates, 5 %). Differences "
        "are candidate less baseline; −/+ counts pairs of trials with one seed that only the "
        "baseline, only the candidate passed."
    )
    return "\n\n".join(part for part in parts if part) + "\n"


def _headline(comparison: Comparison, candidate: CandidateResult) -> str:
    return (
        f"{comparison.experiment}: {comparison.axis} {candidate.name} against "
        f"{comparison.baseline}, {counted(len(candidate.cells), 'pair')} of cells"
    ).replace("build build", "build")
