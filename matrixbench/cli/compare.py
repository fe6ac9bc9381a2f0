"""`compare`: whether cells differ from a baseline, and whether it got worse."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from matrixbench.charts import check_suffix, draw, save
from matrixbench.cli.opening import OfFileOrStore
from matrixbench.cli.shared import AsJson, print_json, say
from matrixbench.comparison.pairs import compare_results
from matrixbench.comparison.values import MAX_DROP, GateVerdict, Look, Missing
from matrixbench.errors import ExitCode, UsageError
from matrixbench.output.compare import By, markdown, print_comparison
from matrixbench.output.text import console
from matrixbench.plan.planner import wanted_of
from matrixbench.safe_files import write_whole

if TYPE_CHECKING:
    from matrixbench.comparison.data import Comparison
    from matrixbench.results.experiment import Results

MARKDOWN = ".md"

EXIT_CODES = {
    GateVerdict.NO_WORSE: ExitCode.DONE,
    GateVerdict.REGRESSION: ExitCode.REGRESSION,
    GateVerdict.UNDECIDED: ExitCode.UNDECIDED,
}
"""How a gate ends the command."""


class WhichLook(StrEnum):
    """By what the gate can be asked to decide; the file alone says that trials are adaptive."""

    ONCE = Look.ONCE.value
    ANY = Look.ANY.value


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What is compared with what, and what the gate allows."""

    baseline: Annotated[
        str | None,
        typer.Option(
            "--baseline",
            metavar="AXIS=VALUE",
            help="What to compare with, for example backend=baseline; build=previous for the build "
            "before the present one. All other values of the axis are candidates. Default: that of "
            "the gate which ends the file's trials.",
            show_default=False,
        ),
    ] = None
    max_drop: Annotated[
        float | None,
        typer.Option(
            "--max-drop",
            help="The drop of the mean success ratio that is allowed. Default: that of the gate "
            "which ends the file's trials, else 0.1.",
            show_default=False,
        ),
    ] = None
    gate: Annotated[
        bool,
        typer.Option(
            "--gate",
            help="Exit 0: shown no worse than --max-drop; 8: a larger drop is shown; 9: undecided.",
        ),
    ] = False
    missing: Annotated[
        Missing,
        typer.Option(
            "--missing",
            help="Trials that were due and have no verdict. worst: the gate is undecided where "
            "they could change what it says. ignore: they are left out, as if missing by chance.",
        ),
    ] = Missing.WORST
    look: Annotated[
        WhichLook | None,
        typer.Option(
            "--look",
            help="By what the gate decides. once: by one look at the trials that are there. any: "
            "by bets on complete rounds, at which one may look as often as one likes. Default: "
            "once where all planned trials are there and none was added after a look, else any.",
            show_default=False,
        ),
    ] = None

    def over(self, results: Results) -> tuple[str, float]:
        """Return the baseline and the drop that is allowed: what was asked, else the file's.

        Raises:
            UsageError: Neither says what the baseline is.
        """
        prepared = results.prepared
        own = None if prepared is None else wanted_of(prepared.experiment.file).gate
        if own is not None and self.baseline in {None, own.baseline}:
            return own.baseline, own.max_drop if self.max_drop is None else self.max_drop
        if self.baseline is None:
            raise UsageError(
                "what is to be compared with what?",
                where="--baseline",
                hint="write --baseline AXIS=VALUE, for example --baseline backend=baseline or "
                "build=previous",
            )
        return self.baseline, MAX_DROP if self.max_drop is None else self.max_drop


def compare(
    *,
    rule: Rule,
    by: Annotated[By, typer.Option("--by", help="What a row of the table is.")] = By.CELL,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="PATH",
            help="Write Markdown (.md) or a heatmap of the differences (.png, .svg, .pdf, .html, "
            ".json) as well.",
        ),
    ] = None,
    source: OfFileOrStore,
    as_json: AsJson = False,
) -> None:
    """Say what differs from a baseline, and whether it got worse.

    Each difference comes with its interval; cells or tests that differ by themselves stand out.
    """
    if output is not None and output.suffix.lower() != MARKDOWN:
        check_suffix(output)
    with source.results() as results:
        baseline, max_drop = rule.over(results)
        found = compare_results(
            results,
            baseline=baseline,
            max_drop=max_drop,
            missing=rule.missing,
            look=rule.look,
            unmeasured=rule.gate,
        )
    if as_json:
        print_json(found.to_dict())
    else:
        print_comparison(found, by, console(sys.stdout))
    if output is not None:
        _write(found, by, output)
    if rule.gate:
        raise typer.Exit(EXIT_CODES[found.verdict])


def _write(comparison: Comparison, by: By, path: Path) -> None:
    if path.suffix.lower() == MARKDOWN:
        try:
            write_whole(path, markdown(comparison, by).encode())
        except OSError as error:
            raise UsageError(
                f"the file cannot be written: {error.strerror}",
                where=str(path),
                hint="choose another place with -o",
            ) from error
    else:
        save(draw(comparison), path)
    say(f"wrote {path}")
