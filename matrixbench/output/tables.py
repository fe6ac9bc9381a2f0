"""What commands print for people: tables that fit 100 columns."""

from __future__ import annotations

import os
from collections import Counter
from typing import TYPE_CHECKING

from rich.console import Console, RenderHook
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from matrixbench.plan.builds import version_name
from matrixbench.plan.planner import Plan
from matrixbench.safe_text import for_line, for_terminal
from matrixbench.spec.axes import label

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import TextIO

    from rich.console import ConsoleOptions, ConsoleRenderable, RenderResult

    from matrixbench.plan.builds import HeldBuild
    from matrixbench.plan.cells import Cell, NotApplicable
    from matrixbench.plan.planner import LaunchPlan
    from matrixbench.run.settings import RunSummary
    from matrixbench.spec.axes import Coordinates

WIDTH = 100
"""Columns that a table may use at most."""

ROWS = 30
"""Rows that a table of results shows; the ones that matter most come first."""

TESTS_ACROSS = 4
"""With fewer tests an interval for «such tests» is too wide to say anything."""

ABSENT = "–"
"""Stands where there is no number."""

_SMALLEST_P = 0.0001

_REASONS_SHOWN = 8
_REJECTIONS_SHOWN = 3


def console(file: TextIO) -> Console:
    """Return a console that writes to a file, at most 100 columns wide."""
    made = _Console(file=file, highlight=False, soft_wrap=False)
    made.width = min(made.width, WIDTH) if made.is_terminal else WIDTH
    made.push_render_hook(_Harmless())
    return made


class _Console(Console):
    """A console whose reader may go away (`| head`): that changes no exit code, as a gate's."""

    def on_broken_pipe(self) -> None:
        """Print nowhere from now on; rich itself would leave the process with exit code 1."""
        self.quiet = True
        os.dup2(os.open(os.devnull, os.O_WRONLY), self.file.fileno())


class _Harmless(RenderHook):
    """Keeps control characters of what is printed from the terminal; the file may hold some."""

    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        """Return what prints the same without them."""
        return [_Shown(renderable) for renderable in renderables]


class _Shown:
    """Prints as another thing does, but for control characters, which it writes as escapes."""

    def __init__(self, meant: ConsoleRenderable) -> None:
        self._meant = meant

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for segment in console.render(self._meant, options):
            if segment.control:
                yield segment
            else:
                yield Segment(for_terminal(segment.text), segment.style)


def duration(seconds: float) -> str:
    """Return a span of time as people say it: `8 s`, `12 min`, `3 h 20 min`, `2 d 4 h`."""
    whole = round(seconds)
    if whole < 90:  # noqa: PLR2004  up to here seconds say more
        return f"{whole} s"
    minutes = round(seconds / 60)
    if minutes < 90:  # noqa: PLR2004  up to here minutes say more
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:  # noqa: PLR2004  up to here hours say more
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h" if hours else f"{days} d"


def counted(count: int, noun: str, plural: str = "s") -> str:
    """Return a number with its noun: `1 cell`, `2,000 cells`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}{plural}"


def p_value(p: float | None) -> str:
    """Return a p-value with four digits: `.0078`, `<.0001`; a dash where there is none."""
    if p is None:
        return ABSENT
    return "<.0001" if p < _SMALLEST_P else f"{p:.4f}".removeprefix("0")


def print_plan(plan: Plan, out: Console) -> None:
    """Print what an experiment will cost, what is done, and why the rest will run."""
    out.print(_headline(plan), soft_wrap=True)
    table = _table("launch", "cells", "trials", "done", "remain", "why")
    for launch in plan.launches:
        table.add_row(
            Text(launch.launch.name),
            f"{len(launch.cells):,}",
            between(launch),
            f"{launch.done:,}",
            f"{at_most(launch, '≤ ')}{launch.remaining:,}",
            Text(_why(launch)),
        )
    if plan.launches:
        out.print()
        out.print(table)
    for note in plan.notes:
        out.print()
        out.print(Text(f"note: {note}", style="yellow"))
    print_unverified(plan, out)
    _print_not_applicable(plan.not_applicable, out)


def between(plan: Plan | LaunchPlan) -> str:
    """Return how many trials there will be in all: `300`, or `174…300` where cells may stop."""
    most = _most(plan)
    return f"{most:,}" if plan.least == most else f"{plan.least:,}…{most:,}"


def at_most(plan: Plan | LaunchPlan, words: str = "at most ") -> str:
    """Return words that belong before what remains where cells may stop, else nothing."""
    return words if plan.least < _most(plan) else ""


def unverified(plan: Plan | LaunchPlan) -> str:
    """Return words that belong behind what is done where it may be another build's."""
    if not plan.unverified:
        return ""
    return " (unverified)" if plan.unverified == plan.done else f" ({plan.unverified:,} unverified)"


def _most(plan: Plan | LaunchPlan) -> int:
    return plan.trials if isinstance(plan, Plan) else plan.wanted


def print_aside(line: str, out: Console) -> None:
    """Print a line that explains, below a table."""
    out.print()
    out.print(Text(line, style="dim"))


def print_builds(launches: Iterable[tuple[LaunchPlan, Sequence[HeldBuild]]], out: Console) -> None:
    """Print under which builds the store holds trials of each launch, the present one first."""
    table = bare_table()
    for name in ("launch", "build", "version"):
        table.add_column(name, overflow="fold")
    table.add_column("trials", justify="right", no_wrap=True)
    table.add_column("")
    for plan, held in launches:
        for known in held:
            now = "present" if plan.build.verified else "ran last (unverified)"
            table.add_row(
                Text(plan.launch.name),
                Text(known.id[:8]),
                Text(version_name(known.build) or "unknown"),
                f"{known.trials:,}",
                now if known.present else "",
            )
    out.print()
    out.print(table if table.row_count else "the store holds no trials of these launches")


def _headline(plan: Plan) -> Text:
    noun = "trial" if plan.trials == 1 else "trials"
    done = f"{plan.done:,} done{unverified(plan)}"
    parts = [
        f"{counted(plan.cells, 'cell')} in {counted(len(plan.launches), 'launch', 'es')}",
        f"{between(plan)} {noun}: {done}, {at_most(plan)}{plan.remaining:,} to run",
    ]
    if plan.stopped:
        parts.append(f"{counted(plan.stopped, 'cell')} stopped early")
    if plan.server_starts:
        parts.append(counted(plan.server_starts, "server start"))
    if plan.remaining:
        seconds = plan.estimate_s
        parts.append("time unknown" if seconds is None else f"about {duration(seconds)}")
    return Text.assemble((plan.experiment, "bold"), ": ", "; ".join(parts))


def _why(launch: LaunchPlan) -> str:
    reasons = ", ".join(f"{count:,} {why}" for why, count in launch.why.items())
    if len(launch.why) == 1:
        reasons = str(next(iter(launch.why)))
    if launch.stopped:
        text = f"{counted(launch.stopped, 'cell')} stopped early"
        reasons = f"{reasons}; {text}" if reasons else text
    if launch.shared_with:
        shared = len(launch.cells) - len(launch.own)
        text = f"{counted(shared, 'cell')} shared with {launch.shared_with}"
        reasons = f"{reasons}; {text}" if reasons else text
    return f"{reasons}{unverified(launch)}".strip()


def print_unverified(plan: Plan, out: Console) -> None:
    """Print why trials may be another build's, where some may."""
    notes = Counter(launch.doubt for launch in plan.launches if launch.unverified)
    if not notes:
        return
    out.print()
    out.print("unverified: trials that may be another build's are counted, for", style="yellow")
    for note, count in notes.items():
        out.print(Text(f"  {counted(count, 'launch', 'es')}: {note}"))


def _print_not_applicable(points: Sequence[NotApplicable], out: Console) -> None:
    if not points:
        return
    reasons = Counter((point.reason, point.hint) for point in points)
    out.print()
    out.print(f"not applicable: {counted(len(points), 'cell')}", style="bold")
    for (reason, hint), count in reasons.most_common(_REASONS_SHOWN):
        out.print(Text(f"  {count:>7,}  {reason}"))
        out.print(Text(f"           {hint}", style="dim"))
    if len(reasons) > _REASONS_SHOWN:
        out.print(f"           and {len(reasons) - _REASONS_SHOWN} more reasons (--json lists all)")


def print_cells(cells: Iterable[tuple[Cell, int, int, bool]], out: Console) -> None:
    """Print one line a cell: its id, trials done of trials wanted, and its coordinates."""
    for cell, done, wanted, verified in cells:
        doubt = "  (unverified)" if done and not verified else ""
        told = f"{done:>4}/{wanted:<4}  {coordinates_text(cell.coordinates())}{doubt}"
        out.print(Text(f"{cell.id}  {told}"), soft_wrap=True)


def coordinates_text(coordinates: Coordinates) -> str:
    """Return a cell's coordinates on one line."""
    return "  ".join(for_line(f"{axis}={label(value)}") for axis, value in coordinates.items())


def print_summary(summary: RunSummary, out: Console) -> None:
    """Print what a run measured, and what could not be measured."""
    counts = ", ".join(
        f"{count:,} {outcome}" for outcome, count in summary.outcomes.items() if count
    )
    text = f"{summary.experiment}: {counted(summary.ran, 'trial')} in {duration(summary.seconds)}"
    out.print(Text(f"{text}: {counts}" if counts else text))
    if summary.decided:
        saved = counted(summary.spared, "trial")
        rest = f": {saved} of at most {summary.most:,} not needed" if summary.spared else ""
        out.print(Text(f"the gate is decided: {summary.decided}{rest}"))
    elif summary.undecided:
        out.print(Text(f"the gate is undecided: {summary.undecided}", style="yellow"))
    elif summary.stopped:
        cells = counted(summary.stopped, "cell")
        saved = counted(summary.spared, "trial")
        out.print(Text(f"{cells} stopped early: {saved} of at most {summary.most:,} not needed"))
    for kind, (count, reason) in summary.errors.items():
        text = f"not measured: {counted(count, 'trial')}, {kind}, such as: {reason}"
        out.print(Text(text, style="red"), soft_wrap=True)
    for rejection in summary.rejections[:_REJECTIONS_SHOWN]:
        trials = counted(rejection.trials, "trial")
        text = f"rejected: {trials}, {rejection.kind}, such as: {rejection.reason}"
        out.print(Text(text, style="yellow"), soft_wrap=True)
    if len(summary.rejections) > _REJECTIONS_SHOWN:
        more = counted(len(summary.rejections) - _REJECTIONS_SHOWN, "more reason")
        out.print(Text(f"rejected: {more}", style="yellow"))
    for name, reason in summary.failed_launches.items():
        out.print(Text(f"given up: {name}: {reason}", style="red"), soft_wrap=True)
    if summary.store is not None:
        out.print(Text(f"stored in {summary.store}"), soft_wrap=True)


def bare_table(*, header: bool = True) -> Table:
    """Return a table without lines around it, its columns two blanks apart."""
    blanks = (0, 2, 0, 0)
    return Table(box=None, pad_edge=False, padding=blanks, header_style="bold", show_header=header)


def _table(first: str, *rest: str) -> Table:
    table = bare_table()
    table.add_column(first, overflow="fold", min_width=20)
    for name in rest:
        if name == "why":
            table.add_column(name, overflow="fold", max_width=34)
        else:
            table.add_column(name, justify="right", no_wrap=True)
    return table
