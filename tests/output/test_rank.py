"""What `rank` says below its table: on what the numbers rest."""

from __future__ import annotations

import io
from typing import Any

from matrixbench.comparison.totals import compare_cells
from matrixbench.comparison.values import Candidate, CellPair, Trials
from matrixbench.output.compare import By, print_comparison
from matrixbench.output.rank import Fresh, print_ranking
from matrixbench.output.text import console
from matrixbench.results.totals import total_frame
from matrixbench.stats.sequential import Precision
from tests.results.cells import table

FRESH = Fresh(target="exp.yaml", seed_offset=10)
AXES: dict[str, list[Any]] = {"model": ["small"], "temperature": [0, 1], "test": ["a", "b"]}


def told(outcomes: str, ks: tuple[int, ...] = (), **options: Any) -> str:
    """Return what is printed of a table, on one line."""
    out = io.StringIO()
    totals = total_frame(table(AXES, outcomes, **options), ["model"], ks=ks)
    print_ranking("demo", ["model"], totals, console(out), ks=ks, fresh=FRESH)
    return " ".join(out.getvalue().split())


def test_cells_without_chance_have_one_name_in_rank_and_compare() -> None:
    """Greedy cells are among them, in either command; the verdict stands first and last."""
    assert "2 cells without chance (greedy, or decided by the request)" in told("pp", planned=2)
    side = Trials(cell="c", build="new", passed={1: True}, replies={1: "r"})
    other = Trials(cell="c", build="old", passed={1: True}, replies={1: "r"})
    pair = CellPair(
        coordinates={"test": "t"}, test="t", candidate=side, baseline=other, greedy=(True, True)
    )
    found = compare_cells(
        [Candidate(name="new", pairs=[pair])], experiment="e", axis="build", baseline="old"
    )
    out = io.StringIO()
    print_comparison(found, By.CELL, console(out))
    said = out.getvalue()
    assert "1 cell without chance (greedy, decided by the request, or" in said
    verdict = "shown no worse than a drop of 0.1"
    first, *_, last = [line for line in said.splitlines() if verdict in line]
    assert first == said.splitlines()[1]
    assert last == f"new: {verdict}" == said.splitlines()[-1]


def test_one_draw_is_told() -> None:
    """Of the two cells at temperature 1; those at 0 are without chance anyway."""
    said = told("pp", planned=2, seeds_ignored="its canary says so")
    assert "2 cells of servers that ignore seeds: all trials of a cell are one draw" in said
    assert "ignore seeds" not in told("pp", planned=2)


def test_what_leans_is_marked() -> None:
    """pass@k and pass^k of adaptive trials, and only where they are shown."""
    until = Precision(half_width=0.1, least=5)
    said = told("p" * 29, ks=(5,), planned=50, until=until)
    assert "~1.00" in said
    assert "~ with 2 cells of adaptive trials: pass@k and pass^k lean outward a little" in said
    assert "~" not in told("p" * 29, planned=50, until=until)
    assert "~" not in told("p" * 10, ks=(5,))
