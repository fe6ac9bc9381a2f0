"""What `rank` prints: totals over tests, the best first, for people and for machines."""

from __future__ import annotations

from math import isfinite, isnan
from typing import TYPE_CHECKING, Any

from rich.text import Text

from matrixbench.charts.metrics import number, seconds
from matrixbench.frame import pass_columns
from matrixbench.plan.values import label
from matrixbench.tables import bare_table, counted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pandas import DataFrame
    from rich.console import Console
    from rich.table import Table

    from matrixbench.records import JsonObject

_ABSENT = "–"
_TESTS_ACROSS = 4
"""With fewer tests an interval for «such tests» is too wide to say anything."""

_DOUBT = " (unverified)"

LEANS = "~"
"""Stands before a pass@k or pass^k that leans, since a cell's number of trials was adaptive."""

_ROWS = 30
"""Rows that a table shows."""

_MOST_KS = 3
"""For more numbers of attempts a table of 100 columns has no room."""

_BARE = frozenset({"backend", "binary", "model", "chat_template", "test"})


def ranking_json(experiment: str, by: Sequence[str], totals: DataFrame) -> JsonObject:
    """Return totals as data: `rows`, the best first, each with its columns of `TOTAL_COLUMNS`.

    Units are in the names; what is missing is null.
    """
    return {
        "experiment": experiment,
        "by": list(by),
        "rows": [
            {str(name): _plain(value) for name, value in record.items()}
            for record in totals.to_dict("records")
        ],
    }


def print_ranking(
    experiment: str, by: Sequence[str], totals: DataFrame, out: Console, *, ks: Sequence[int] = ()
) -> None:
    """Print totals as a table of at most 100 columns, and what they rest on."""
    rows = totals.to_dict("records")
    tests = max((row["tests"] for row in rows), default=0)
    over = f"over {counted(tests, 'test')}"
    out.print(Text.assemble((experiment, "bold"), f": by {', '.join(by) or 'nothing'}, {over}"))
    out.print()
    # pass@k and pass^k take the place of the second interval: the table has 100 columns.
    across = tests >= _TESTS_ACROSS and not ks
    out.print(_table(rows[:_ROWS], by, ks[:_MOST_KS], across=across))
    if len(rows) > _ROWS:
        out.print(f"and {counted(len(rows) - _ROWS, 'row')} more (--json lists all)")
    out.print()
    out.print(_explained(across=across), style="dim")
    if len(ks) > _MOST_KS:
        out.print(f"--json has all {len(ks)} numbers of attempts", style="dim")
    for line in _warnings(rows, by, ks):
        out.print(Text(line, "yellow"))


def _table(
    rows: Sequence[Mapping[Any, Any]], by: Sequence[str], ks: Sequence[int], *, across: bool
) -> Table:
    table = bare_table()
    table.add_column(" · ".join(by) or "all cells", overflow="fold", min_width=16)
    names = ["tests", "n", "mean", "95 % these", *(["95 % such"] if across else [])]
    names += ["rej.", "err.", *(f"pass{sign}{k}" for k in ks for sign in "@^")]
    speeds = ["latency", "tok/s"] if len(ks) <= 1 else []
    for name in (*names, *speeds):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(
            Text(f"{_name(row, by)}{_DOUBT if row['unverified'] else ''}".strip()),
            f"{row['tests']}" + ("*" if row["missing"] else ""),
            f"{row['trials']:,}",
            _number(row["success_ratio"], "{:.3f}"),
            _ends(row, "these_low", "these_high"),
            *([_ends(row, "low", "high")] if across else []),
            f"{row['rejected']:,}",
            f"{row['errored']:,}",
            *(
                _number(row[name], LEANS + "{:.2f}" if row["adaptive"] else "{:.2f}")
                for k in ks
                for name in pass_columns(k)
            ),
            *(_speeds(row) if speeds else []),
        )
    return table


def _speeds(row: Mapping[Any, Any]) -> list[str]:
    latency, rate = row["latency_p50_s"], row["completion_tokens_per_s"]
    return [
        _ABSENT if isnan(latency) else seconds(latency),
        _ABSENT if isnan(rate) else number(rate),
    ]


def _explained(*, across: bool) -> str:
    said = (
        "mean: of the tests' success ratios, each test weighing the same. 95 % for these tests: "
        "their trials are chance"
    )
    if across:
        said += (
            "; for such tests: the tests are a sample too (clustered by test), and tests that fail "
            "rarely but wholly are not seen"
        )
    return f"{said}. latency, tok/s: medians over cells."


def _warnings(rows: Sequence[Mapping[Any, Any]], by: Sequence[str], ks: Sequence[int]) -> list[str]:
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
    if len(rows) > 1 and len(by) == 1 and rows[0]["trials"]:
        best = label(rows[0][by[0]])
        lines.append(
            "intervals of rows may overlap though the difference is real; to test it: matrixbench "
            f"compare … --baseline '{by[0]}={best}'"
        )
    return lines


def _name(row: Mapping[Any, Any], by: Sequence[str]) -> str:
    words = []
    for axis in by:
        missing = isinstance(row[axis], float) and isnan(row[axis])
        text = label(None if missing else row[axis])
        words.append(text if axis in _BARE else f"{axis.split('.', 1)[-1]}={text}")
    return " · ".join(words)


def _ends(row: Mapping[Any, Any], low: str, high: str) -> str:
    return f"{row[low]:.2f}–{row[high]:.2f}" if row["trials"] else _ABSENT


def _number(value: float, form: str) -> str:
    return _ABSENT if isnan(value) else form.format(value)


def _plain(value: Any) -> Any:  # noqa: ANN401  a cell of a table
    if hasattr(value, "item"):  # a number of NumPy's
        value = value.item()
    return None if isinstance(value, float) and not isfinite(value) else value
