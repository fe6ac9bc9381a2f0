"""What `rank` prints: totals over tests, the best first, for people and for machines."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite, isnan
from shlex import quote
from typing import TYPE_CHECKING, Any

from matrixbench.charts.metrics import number, seconds
from matrixbench.output.text import (
    ABSENT,
    ROWS,
    TESTS_ACROSS,
    Column,
    p_value,
    print_table,
    prose,
    whole,
)
from matrixbench.results.tables import LEANS, pass_columns
from matrixbench.spec.axes import cell_name, label
from matrixbench.spec.wording import counted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pandas import DataFrame
    from rich.console import Console

    from matrixbench.records import JsonObject

_DOUBT = " (unverified)"

_MOST_KS = 3
"""Tables show so many numbers of attempts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fresh:
    """How to measure the best anew: a mean that was picked for being the best is too high.

    From `seed_offset` seeds on, no trial was measured or planned.
    """

    target: str
    seed_offset: int

    def commands(self, by: Sequence[str], best: Mapping[Any, Any]) -> list[str]:
        """Return the commands that measure with other seeds and compare with the best there."""
        run = f"matrixbench execute {self.target} --resume --seed-offset {self.seed_offset}"
        if len(by) != 1:
            return [run]
        baseline = quote(f"{by[0]}={label(best[by[0]])}")
        compare = f"matrixbench compare {self.target} --baseline {baseline}"
        return [run, f"{compare} --seed-offset {self.seed_offset}"]


def ranking_json(experiment: str, by: Sequence[str], totals: DataFrame, fresh: Fresh) -> JsonObject:
    """Return totals as data: `rows`, the best first, each with its columns of `TOTAL_COLUMNS`.

    Of equal means the faster row comes first, then the file's order. `pairs_of_rows` is what
    `p_vs_best_holm` is corrected over; `fresh_seeds` says how to measure the best anew. Units are
    in the names; what is missing is null.
    """
    rows = totals.to_dict("records")
    measured = sum(bool(row["trials"]) for row in rows)
    return {
        "experiment": experiment,
        "by": list(by),
        "pairs_of_rows": measured * (measured - 1) // 2,
        "fresh_seeds": {
            "seed_offset": fresh.seed_offset,
            "commands": fresh.commands(by, rows[0]) if measured > 1 else [],
        },
        "rows": [{str(name): _plain(value) for name, value in record.items()} for record in rows],
    }


def print_ranking(
    experiment: str,
    by: Sequence[str],
    totals: DataFrame,
    out: Console,
    *,
    ks: Sequence[int] = (),
    fresh: Fresh,
) -> None:
    """Print totals as tables that fit the console, and what they rest on."""
    rows = totals.to_dict("records")
    tests = max((row["tests"] for row in rows), default=0)
    over = f"over {counted(tests, 'test')}"
    prose(f"by {', '.join(by) or 'nothing'}, {over}", out, lead=experiment)
    out.print()
    # pass@k and pass^k take the place of the second interval.
    across = tests >= TESTS_ACROSS and not ks
    several = sum(bool(row["trials"]) for row in rows) > 1
    names = _columns(ks[:_MOST_KS], across=across, several=several)
    _print_rows(rows[:ROWS], by, names, ks, out)
    if len(rows) > ROWS:
        whole(f"and {counted(len(rows) - ROWS, 'row')} more (--json lists all)", out)
    out.print()
    prose(_explained(across=across, speeds="latency" in names), out, "dim")
    if len(ks) > _MOST_KS:
        prose(f"--json has all {len(ks)} numbers of attempts", out, "dim")
    if several:
        prose(_STANDING, out, "dim")
    for line in _warnings(rows, ks):
        prose(line, out, "yellow")
    if several:
        out.print()
        _print_best(rows, by, out, fresh)


def _print_rows(
    rows: Sequence[Mapping[Any, Any]],
    by: Sequence[str],
    names: Sequence[str],
    ks: Sequence[int],
    out: Console,
) -> None:
    """Print the rows; columns without room come in another table below, so that none is lost."""
    figures = [_texts(row, ks, first=place == 0) for place, row in enumerate(rows)]
    columns = [
        Column(name, [each[name] for each in figures], drop=place)
        for place, name in enumerate(names)
    ]
    called = [f"{cell_name(row, by)}{_DOUBT if row['unverified'] else ''}".strip() for row in rows]
    left = print_table(" · ".join(by) or "all cells", called, columns, out)
    while left:
        out.print()
        first, *rest = left
        kept = [Column(first.name, first.texts), *rest]
        left = print_table(" · ".join(by) or "all cells", called, kept, out)


def _print_best(
    rows: Sequence[Mapping[Any, Any]], by: Sequence[str], out: Console, fresh: Fresh
) -> None:
    """Print which rows may be as good as the best, and how to find out."""
    measured = [row for row in rows if row["trials"]]
    alike = sum(row["told_from_best"] is False for row in measured)
    untested = sum(row["told_from_best"] is None for row in measured) - 1
    said = f"{counted(alike, 'row')} cannot be told from the best of {len(measured):,}"
    if not alike and not untested:
        said = f"The best of {len(measured):,} rows is told from all others"
    if untested:
        said += f", {untested:,} could not be tested against it"
    prose(
        f"{said}. The best looks better than it is, for it was picked by these very trials: "
        "measure with fresh seeds, and compare on those alone:",
        out,
    )
    for command in fresh.commands(by, measured[0]):
        whole(f"  {command}", out)


def _columns(ks: Sequence[int], *, across: bool, several: bool) -> list[str]:
    names = ["tests", "n", "mean", "95 % these", *(["95 % such"] if across else [])]
    names += ["P(best)", "vs best"] if several else []
    names += ["rej.", "err.", *(f"pass{sign}{k}" for k in ks for sign in "@^")]
    return names + (["latency", "tok/s"] if len(ks) <= 1 else [])


def _texts(row: Mapping[Any, Any], ks: Sequence[int], *, first: bool) -> dict[str, str]:
    """Return what stands in each column of a row."""
    latency, rate = row["latency_p50_s"], row["completion_tokens_per_s"]
    attempts = {
        f"pass{sign}{k}": _number(row[name], LEANS + "{:.2f}" if row["adaptive"] else "{:.2f}")
        for k in ks
        for sign, name in zip("@^", pass_columns(k), strict=True)
    }
    return attempts | {
        "tests": f"{row['tests']}" + ("*" if row["missing"] else ""),
        "n": f"{row['trials']:,}",
        "mean": _number(row["success_ratio"], "{:.3f}"),
        "95 % these": _ends(row, "these_low", "these_high"),
        "95 % such": _ends(row, "low", "high"),
        "P(best)": _number(row["chance_of_best"], "{:.2f}"),
        "vs best": _versus(row, first=first),
        "rej.": f"{row['rejected']:,}",
        "err.": f"{row['errored']:,}",
        "latency": ABSENT if isnan(latency) else seconds(latency),
        "tok/s": ABSENT if isnan(rate) else number(rate),
    }


def _versus(row: Mapping[Any, Any], *, first: bool) -> str:
    """Return the corrected p, with what it says: told to be below the best, or not."""
    if first and row["trials"]:
        return "best"
    p = row["p_vs_best_holm"]
    if isnan(p):
        return ABSENT
    return f"{'below' if row['told_from_best'] else '≈'} {p_value(p)}"


_STANDING = (
    "P(best): the chance to have the highest true mean. vs best: p of the exact test by seed, over "
    "all pairs of rows (Holm); ≈: cannot be told from the best; –: not tested (nothing measured on "
    "both, only one is greedy, or one draw). Of equal means the faster comes first, then the "
    "file's order."
)


def _explained(*, across: bool, speeds: bool) -> str:
    said = (
        "mean: of the tests' success ratios, each test weighing the same. 95 % for these tests: "
        "their trials are chance"
    )
    if across:
        said += (
            "; for such tests: the tests are a sample too (clustered by test), and tests that fail "
            "rarely but wholly are not seen"
        )
    return f"{said}.{' latency, tok/s: medians over cells.' if speeds else ''}"


def _warnings(rows: Sequence[Mapping[Any, Any]], ks: Sequence[int]) -> list[str]:
    lines = []
    if any(row["missing"] for row in rows):
        lines.append(
            "* not measured everywhere that another row is: the means rest on different cells; "
            "--common counts only what all rows have"
        )
    if certain := sum(row["certain"] for row in rows):
        cells = counted(certain, "cell")
        lines.append(
            f"{cells} without chance (greedy, or decided by the request): each is worth one trial"
        )
    if single := sum(row["seeds_ignored"] for row in rows):
        cells = counted(single, "cell")
        lines.append(
            f"{cells} of servers that ignore seeds: all trials of a cell are one draw, and more "
            "would say nothing new (matrixbench status says what shows it)"
        )
    if ks and (stopped := sum(row["adaptive"] for row in rows)):
        lines.append(
            f"{LEANS} with {counted(stopped, 'cell')} of adaptive trials: pass@k and pass^k lean "
            "outward a little"
        )
    if doubtful := sum(row["unverified"] for row in rows):
        cells = counted(doubtful, "cell")
        lines.append(
            f"unverified: results of {cells} may be another build's; matrixbench status says why"
        )
    if alike := sum(row["one_reply"] for row in rows):
        cells = counted(alike, "cell")
        lines.append(f"{cells} gave one reply to several seeds: matrixbench status lists them")
    if other := sum(row["other_load"] for row in rows):
        cells = counted(other, "cell")
        lines.append(f"latency, tok/s: without {cells} whose trials ran under another load")
    return lines


def _ends(row: Mapping[Any, Any], low: str, high: str) -> str:
    return f"{row[low]:.2f}–{row[high]:.2f}" if row["trials"] else ABSENT


def _number(value: float, form: str) -> str:
    return ABSENT if isnan(value) else form.format(value)


def _plain(value: Any) -> Any:
    if hasattr(value, "item"):  # a number of NumPy's
        value = value.item()
    return None if isinstance(value, float) and not isfinite(value) else value
