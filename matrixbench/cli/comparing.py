"""The command that says whether cells differ: `compare`."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from matrixbench.cli.finding import Target, open_results
from matrixbench.cli.shared import AsJson, SeedOffset, StorePath, Where, print_json, say
from matrixbench.errors import ExitCode, UsageError
from matrixbench.safe_files import write_whole

if TYPE_CHECKING:
    from matrixbench.comparison.values import Comparison
    from matrixbench.results.experiment import Results

MARKDOWN = ".md"


class Rows(StrEnum):
    """What a row of the table is; as `comparison_table.By`, which is imported late."""

    CELL = "cell"
    TEST = "test"


class WithoutVerdict(StrEnum):
    """What is made of missing trials; as `comparison.values.Missing`, which is imported late."""

    WORST = "worst"
    IGNORE = "ignore"


class WhichLook(StrEnum):
    """By what the gate decides; as `comparison.values.Look`, which is imported late."""

    ONCE = "once"
    ANY = "any"


Baseline = Annotated[
    str | None,
    typer.Option(
        "--baseline",
        metavar="AXIS=VALUE",
        help="What to compare with, for example backend=baseline; build=previous for the build "
        "before the present one. All other values of the axis are candidates. Default: that of "
        "the gate which ends the file's trials.",
        show_default=False,
    ),
]
Output = Annotated[
    Path | None,
    typer.Option(
        "-o",
        "--output",
        metavar="PATH",
        help="Write Markdown (.md) or a heatmap of the differences (.png, .svg, .pdf, .html, "
        ".json) as well.",
    ),
]
MaxDrop = Annotated[
    float | None,
    typer.Option(
        "--max-drop",
        help="The drop of the mean success ratio that is allowed. Default: that of the gate which "
        "ends the file's trials, else 0.1.",
        show_default=False,
    ),
]
MissingTrials = Annotated[
    WithoutVerdict,
    typer.Option(
        "--missing",
        help="Trials that were due and have no verdict. worst: the gate is undecided where they "
        "could change what it says. ignore: they are left out, as if missing by chance.",
    ),
]
ByLook = Annotated[
    WhichLook | None,
    typer.Option(
        "--look",
        help="By what the gate decides. once: by one look at the trials that are there. any: by "
        "bets on complete rounds, at which one may look as often as one likes. Default: once where "
        "all planned trials are there and none was added after a look, else any.",
        show_default=False,
    ),
]
AsGate = Annotated[
    bool,
    typer.Option(
        "--gate",
        help="Exit 0: shown no worse than --max-drop; 8: a larger drop is shown; 9: undecided.",
    ),
]


def compare(  # noqa: PLR0913  the options of one command
    target: Target,
    *,
    baseline: Baseline = None,
    by: Annotated[Rows, typer.Option("--by", help="What a row of the table is.")] = Rows.CELL,
    max_drop: MaxDrop = None,
    gate: AsGate = False,
    missing: MissingTrials = WithoutVerdict.WORST,
    look: ByLook = None,
    output: Output = None,
    where: Where = None,
    seed_offset: SeedOffset = 0,
    store: StorePath = None,
    as_json: AsJson = False,
) -> None:
    """Say what differs from a baseline, and whether it got worse.

    Each difference comes with its interval; cells or tests that differ by themselves stand out.
    """
    from matrixbench.comparison.pairs import compare_results  # noqa: PLC0415  deferred: --help stays fast

    _check_output(output)
    with open_results(target, where, store, seed_offset) as (results, opened):
        against, allowed = _asked(results, baseline, max_drop)
        found = compare_results(
            results,
            opened,
            baseline=against,
            max_drop=allowed,
            missing=missing,
            look=look,
            unmeasured=gate,
        )
    _show(found, by, as_json=as_json)
    if output is not None:
        _write(found, by, output)
    if gate:
        raise typer.Exit(_exit_code(found))


def _asked(results: Results, baseline: str | None, max_drop: float | None) -> tuple[str, float]:
    """Return what is compared with what, and the drop that is allowed."""
    from matrixbench.comparison.values import MAX_DROP  # noqa: PLC0415  --help stays fast
    from matrixbench.plan.planner import wanted_of  # noqa: PLC0415  the same

    rule = None if results.prepared is None else wanted_of(results.prepared.experiment.file).gate
    if rule is not None and baseline in {None, rule.baseline}:
        return rule.baseline, rule.max_drop if max_drop is None else max_drop
    if baseline is None:
        raise UsageError(
            "what is to be compared with what?",
            where="--baseline",
            hint="write --baseline AXIS=VALUE, for example --baseline backend=baseline or "
            "build=previous",
        )
    return baseline, MAX_DROP if max_drop is None else max_drop


def _check_output(output: Path | None) -> None:
    if output is not None and output.suffix.lower() != MARKDOWN:
        from matrixbench.charts import check_suffix  # noqa: PLC0415  deferred: --help stays fast

        check_suffix(output)


def _show(comparison: Comparison, by: Rows, *, as_json: bool) -> None:
    if as_json:
        from matrixbench.comparison.data import comparison_json  # noqa: PLC0415  the same

        print_json(comparison_json(comparison))
        return
    from matrixbench.output.compare import By, print_comparison  # noqa: PLC0415  the same
    from matrixbench.output.tables import console  # noqa: PLC0415  the same

    print_comparison(comparison, By(by), console(sys.stdout))


def _write(comparison: Comparison, by: Rows, path: Path) -> None:
    if path.suffix.lower() == MARKDOWN:
        from matrixbench.output.compare import By, markdown  # noqa: PLC0415  deferred

        try:
            write_whole(path, markdown(comparison, By(by)).encode())
        except OSError as error:
            raise UsageError(
                f"the file cannot be written: {error.strerror}",
                where=str(path),
                hint="choose another place with -o",
            ) from error
    else:
        from matrixbench.charts import save  # noqa: PLC0415  heavy: altair
        from matrixbench.charts.difference import difference_map  # noqa: PLC0415  the same

        save(difference_map(comparison), path)
    say(f"wrote {path}")


def _exit_code(comparison: Comparison) -> ExitCode:
    from matrixbench.comparison.values import GateVerdict  # noqa: PLC0415  deferred: --help stays fast

    return {
        GateVerdict.NO_WORSE: ExitCode.DONE,
        GateVerdict.REGRESSION: ExitCode.REGRESSION,
        GateVerdict.UNDECIDED: ExitCode.UNDECIDED,
    }[comparison.verdict]
