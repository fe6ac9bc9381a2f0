"""`report`: one page from the map to the transcript."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from matrixbench.cli.opening import OfFileOrStore
from matrixbench.cli.shared import SeedOffset, StorePath, Where, put, say
from matrixbench.cli.trust import Trusting
from matrixbench.comparison.values import MAX_DROP
from matrixbench.output.report.content import Source
from matrixbench.output.report.making import MAX_MB, write_report
from matrixbench.plan.planner import wanted_of
from matrixbench.spec.wording import counted

if TYPE_CHECKING:
    from matrixbench.records import JsonObject
    from matrixbench.results.experiment import Results


@dataclass(frozen=True, slots=True, kw_only=True)
class Against:
    """What the report's gate compares with."""

    baseline: Annotated[
        str | None,
        typer.Option(
            "--baseline",
            metavar="AXIS=VALUE",
            help="Give the gate's verdict against this baseline, for example backend=baseline. "
            "Default: that of the gate which ends the file's trials.",
            show_default=False,
        ),
    ] = None
    max_drop: Annotated[
        float | None,
        typer.Option(
            "--max-drop",
            help="The drop of the mean success ratio that the gate allows. Default: the file's, "
            "else 0.1.",
            show_default=False,
        ),
    ] = None

    def over(self, results: Results) -> tuple[str | None, float]:
        """Return the baseline, None where there is none, and the drop that is allowed."""
        prepared = results.prepared
        own = None if prepared is None else wanted_of(prepared.experiment.file).gate
        allowed = MAX_DROP if self.max_drop is None else self.max_drop
        if own is None or self.baseline not in {None, own.baseline}:
            return self.baseline, allowed
        return own.baseline, own.max_drop if self.max_drop is None else allowed

    def source(self, target: str, results: Results) -> Source:
        """Return an experiment as a report takes it."""
        baseline, max_drop = self.over(results)
        return Source(target=target, results=results, baseline=baseline, max_drop=max_drop)


def report(
    *,
    targets: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE|NAME…",
            help="Experiment files, or names of experiments in the store.",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", metavar="PATH", help="Default: a .html beside the first file."
        ),
    ] = None,
    max_mb: Annotated[
        int,
        typer.Option(
            "--max-mb",
            min=2,
            help="How large the page may be. Failures come first, then each different reply once; "
            "the page says what it left out.",
        ),
    ] = MAX_MB,
    against: Against,
    where: Where = None,
    seed_offset: SeedOffset = 0,
    store: StorePath = None,
    trust: Trusting = False,
) -> None:
    """Write one page from the map to the transcript.

    It works offline: question, answer, charts, cells, replies, launches.
    """
    named = [
        OfFileOrStore(target=target, where=where, seed_offset=seed_offset, store=store, trust=trust)
        for target in targets
    ]
    with ExitStack() as stack:
        sources = [against.source(one.target, stack.enter_context(one.results())) for one in named]
        output = output or default_output(targets[0])
        left_out = write_report(sources, output, max_mb=max_mb)
    put(str(output))
    say_left_out(left_out)


def say_left_out(left_out: JsonObject) -> None:
    """Say what a report had no room for."""
    if left_out["replies"]:
        say(
            f"left out: the texts of {counted(left_out['trials'], 'trial')}, since the page was "
            "full; --max-mb takes in more"
        )


def default_output(target: str) -> Path:
    """Return where a report goes that nobody gave a name: beside the file, or in this folder."""
    path = Path(target)
    return path.with_suffix(".html") if path.is_file() else Path(f"{target.replace('/', '-')}.html")
