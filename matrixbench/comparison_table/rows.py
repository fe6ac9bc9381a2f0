"""The rows of a comparison: a pair of cells each, or a test."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from math import inf
from typing import TYPE_CHECKING

from rich.text import Text

from matrixbench.comparison.values import Basis
from matrixbench.comparison_table.numbers import number, signed
from matrixbench.plan.values import beside, label
from matrixbench.safe_text import for_markdown
from matrixbench.tables import ABSENT, ROWS, bare_table, p_value

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from matrixbench.comparison.values import CandidateResult, CellResult, TestResult

_COLUMNS = ("n", "base", "cand.", "diff.", "95 %", "−/+", "phi", "p", "Holm")


class By(StrEnum):
    """What a row of the table is."""

    CELL = "cell"
    TEST = "test"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A row: its name, a text for each of the columns, and where it stands."""

    name: str
    texts: tuple[str, ...]
    stands_out: bool
    place: tuple[float, ...]


def rows_of(candidate: CandidateResult, by: By, axis: str) -> tuple[list[Row], int]:
    """Return the rows that are shown, those that differ most first, and how many are not.

    Args:
        candidate: The candidate.
        by: What a row is.
        axis: What is compared.
    """
    if by is By.TEST:
        rows = [_test_row(test) for test in candidate.tests]
    else:
        axes = _varying(candidate.cells, axis)
        rows = [_cell_row(cell, axes) for cell in candidate.cells]
    rows.sort(key=lambda row: row.place)
    return rows[:ROWS], len(rows) - len(rows[:ROWS])


def _varying(cells: Sequence[CellResult], axis: str) -> list[str]:
    values: dict[str, set[str]] = {}
    for cell in cells:
        for name, value in cell.pair.coordinates.items():
            values.setdefault(name, set()).add(label(value))
    varying = [name for name, found in values.items() if len(found) > 1 and name != axis]
    return varying or ["test"]


def _cell_row(cell: CellResult, axes: Sequence[str]) -> Row:
    coordinates = cell.pair.coordinates
    name = " · ".join(
        beside(axis, label(coordinates[axis])) for axis in axes if axis in coordinates
    )
    up, down = cell.trials
    texts: tuple[str, ...] = (f"{up}" if up == down else f"{up}/{down}",)
    if cell.difference is None:
        texts += ("", "", "", "", "", "", str(cell.basis), "")
    else:
        ratio = cell.difference.estimate
        base = _baseline_ratio(cell)
        texts += (f"{base:.2f}", f"{base + ratio:.2f}", signed(ratio, 2))
        if cell.basis is Basis.ONE_DRAW:
            interval = cell.difference.interval
            ends = f"{signed(interval.low, 2)} {signed(interval.high, 2)}"
            texts += (ends, "", "", str(cell.basis), "")
        elif cell.p is None:
            equal = "same" if cell.same_replies else "outcome" if cell.same else "changed"
            texts += ("", "", "", equal, "")
        else:
            table = cell.pairs
            interval = cell.difference.interval
            texts += (
                f"{signed(interval.low, 2)} {signed(interval.high, 2)}",
                "" if table is None else f"{table.worse}/{table.better}",
                "" if table is None else number(cell.phi),
                p_value(cell.p),
                p_value(cell.p_holm),
            )
    estimate = 0.0 if cell.difference is None else cell.difference.estimate
    first = cell.basis is not Basis.NOT_COMPARABLE and cell.same is False
    return Row(
        name=name,
        texts=texts,
        stands_out=cell.stands_out or first,
        place=(0.0 if first else 1.0, inf if cell.p is None else cell.p, estimate),
    )


def _baseline_ratio(cell: CellResult) -> float:
    if cell.pairs is not None and cell.evidence is None:
        return (cell.pairs.both + cell.pairs.worse) / cell.pairs.n
    return cell.pair.baseline.ratio or 0.0


def _test_row(test: TestResult) -> Row:
    overall = test.overall
    if overall is None:
        told = f"{test.certain.same}/{test.certain.cells} same" if test.certain.cells else ABSENT
        mean = signed(test.certain.mean, 2) if test.certain.cells else ""
        changed = test.certain.same < test.certain.cells
        return Row(
            name=test.test,
            texts=("", "", "", mean, "", "", "", told, ""),
            stands_out=changed,
            place=(0.0 if changed else 1.0, inf, test.certain.mean),
        )
    interval = overall.difference.interval
    up, down = overall.trials
    table = overall.pairs
    return Row(
        name=test.test,
        texts=(
            f"{up}" if up == down else f"{up}/{down}",
            f"{overall.ratios[1]:.2f}",
            f"{overall.ratios[0]:.2f}",
            signed(overall.difference.estimate, 2),
            f"{signed(interval.low, 2)} {signed(interval.high, 2)}",
            f"{table.worse}/{table.better}" if table.n else "",
            number(overall.phi) if table.n else "",
            p_value(overall.p),
            p_value(overall.p_holm),
        ),
        stands_out=overall.stands_out,
        place=(1.0, overall.p, overall.difference.estimate),
    )


def table(rows: Sequence[Row], by: By) -> Table:
    """Return rows as a table for the terminal."""
    made = bare_table()
    made.add_column(str(by), overflow="fold", min_width=20)
    for name in _COLUMNS:
        made.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        made.add_row(Text(row.name), *row.texts, style="bold" if row.stands_out else "")
    return made


def markdown_table(rows: Sequence[Row], by: By) -> str:
    """Return the same rows in Markdown."""
    lines = [
        f"| {' | '.join((str(by), *_COLUMNS))} |",
        f"| --- |{' ---: |' * len(_COLUMNS)}",
    ]
    for row in rows:
        name = f"**{for_markdown(row.name)}**" if row.stands_out else for_markdown(row.name)
        lines.append(f"| {' | '.join((name, *row.texts))} |")
    return "\n".join(lines)
