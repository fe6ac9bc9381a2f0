"""What a pull request is told: the gate as JUnit XML, and the answer as Markdown with a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote
from xml.etree import ElementTree as ET

from matrixbench.charts import draw, save
from matrixbench.charts.files import charts_of
from matrixbench.comparison.values import GateVerdict
from matrixbench.output.compare import By, lines_of, markdown, rows_of, verdict_line
from matrixbench.results.tables import frame_of
from matrixbench.results.totals import ranked_axes, total_frame
from matrixbench.safe_text import for_markdown, for_picture
from matrixbench.spec.axes import cell_name
from matrixbench.spec.experiment import Metric

if TYPE_CHECKING:
    from pathlib import Path

    from matrixbench.comparison.data import Comparison
    from matrixbench.results.experiment import Results

_RANKED = 20
"""So many rows of a rank are told; a pull request is no place for hundreds."""


def junit(comparison: Comparison) -> str:
    """Return the gate as JUnit XML: a test for each candidate.

    A regression is a failure. Undecided is an error, for nothing was shown: neither passes.
    """
    verdicts = [candidate.gate.verdict for candidate in comparison.candidates]
    counts = {
        "tests": str(len(verdicts)),
        "failures": str(verdicts.count(GateVerdict.REGRESSION)),
        "errors": str(verdicts.count(GateVerdict.UNDECIDED)),
    }
    suites = ET.Element("testsuites", {"name": "matrixbench", **counts})
    name = for_picture(comparison.experiment)
    suite = ET.SubElement(suites, "testsuite", {"name": name, **counts})
    for candidate in comparison.candidates:
        gate = candidate.gate
        asked = f"{candidate.name} no worse than {comparison.baseline} by {gate.max_drop:g}"
        case = ET.SubElement(suite, "testcase", {"classname": name, "name": for_picture(asked)})
        said = for_picture(verdict_line(candidate))
        if gate.verdict is not GateVerdict.NO_WORSE:
            kind = "failure" if gate.verdict is GateVerdict.REGRESSION else "error"
            ET.SubElement(case, kind, {"message": said, "type": str(gate.verdict)}).text = said
        rows, _ = rows_of(candidate, By.CELL, comparison.axis)
        told = [said, *lines_of(comparison, candidate)]
        told += [f"shown to differ: {row.name}" for row in rows if row.stands_out]
        ET.SubElement(case, "system-out").text = "\n".join(map(for_picture, told))
    ET.indent(suites)
    return ET.tostring(suites, encoding="unicode", xml_declaration=True) + "\n"


def for_pull_request(
    results: Results, comparison: Comparison | None, *, by: By, picture: str | None
) -> str:
    """Return Markdown: the gate's verdict and what differs, or a rank where nothing is compared.

    Args:
        results: The results.
        comparison: What is compared with what; None: nothing.
        by: What a row of the comparison is.
        picture: The address of the picture; None: there is none.
    """
    told = markdown(comparison, by) if comparison is not None else _ranking(results)
    if picture is None:
        return told
    head, _, rest = told.partition("\n\n")
    alt = for_markdown(f"Success ratios of {results.experiment}")
    return f"{head}\n\n![{alt}]({quote(picture)})\n\n{rest}"


def draw_beside(results: Results, comparison: Comparison | None, path: Path) -> None:
    """Draw the picture that goes with it: the differences, or the file's first chart.

    Raises:
        UsageError: The file cannot be written.
    """
    if comparison is not None:
        save(draw(comparison), path)
        return
    charts = (one for one in charts_of(results).values() if one.metric is not Metric.DIFFERENCE)
    save(draw(frame_of(results), next(charts, None), title=results.experiment), path)


def _ranking(results: Results) -> str:
    axes = ranked_axes(frame_of(results))
    by = for_markdown(" · ".join(axes) or "all cells")
    rows = total_frame(results, axes).to_dict("records")
    lines = [
        f"## {for_markdown(results.experiment)}",
        "",
        f"| {by} | tests | n | mean | 95 % these | P(best) | vs best |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for place, row in enumerate(rows[:_RANKED]):
        name = for_markdown(cell_name({axis: row[axis] for axis in axes}) or "all cells")
        told = [f"{row['tests']}", f"{row['trials']:,}"]
        if row["trials"]:
            told += [
                f"{row['success_ratio']:.3f}",
                f"{row['these_low']:.2f}–{row['these_high']:.2f}",
                f"{row['chance_of_best']:.2f}",
                _versus(row["told_from_best"], row["p_vs_best_holm"], first=place == 0),
            ]
        else:
            told += ["–"] * 4
        lines.append(f"| {' | '.join([name, *told])} |")
    if len(rows) > _RANKED:
        lines += ["", f"and {len(rows) - _RANKED:,} rows more"]
    return "\n".join([*lines, "", _EXPLAINED, ""])


_EXPLAINED = (
    "mean: of the tests' success ratios, each test weighing the same. vs best: p of the exact test "
    "by seed, over all pairs of rows (Holm). ≈: cannot be distinguished from the best."
)


def _versus(told: bool | None, p: float, *, first: bool) -> str:
    if first:
        return "best"
    return "–" if told is None else f"{'below' if told else '≈'} {p:.3f}"
