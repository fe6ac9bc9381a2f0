"""Several candidates beside each other: what is corrected over which of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from matrixbench.comparison.totals import compare_cells
from matrixbench.comparison.values import Candidate, CellPair, GateVerdict, Trials
from matrixbench.output.compare import By, markdown, verdict_line
from matrixbench.stats.paired import mcnemar_exact

if TYPE_CHECKING:
    from matrixbench.comparison.data import Comparison


def beside(*losses: int, trials: int = 40) -> Comparison:
    """Return candidates that lose so many of the trials that the baseline always passes."""
    return compare_cells(
        [
            Candidate(name=f"c{place}", pairs=[_pair(f"c{place}", lost, trials)])
            for place, lost in enumerate(losses)
        ],
        experiment="e",
        axis="a",
        baseline="old",
    )


def _pair(name: str, lost: int, trials: int) -> CellPair:
    # The baseline fails once, so that phi can be told and cells are tested as pairs.
    down = {seed: seed > 0 for seed in range(trials)}
    up = {seed: seed > lost for seed in range(trials)}
    return CellPair(
        coordinates={"test": "t"},
        test="t",
        candidate=Trials(cell=name, build="b", passed=up),
        baseline=Trials(cell="old", build="b", passed=down),
        planned=trials,
    )


def test_cells_tests_and_wholes_are_corrected_over_all_candidates() -> None:
    """Eight losses are p = .0078: of one candidate a bold row, of ten none."""
    alone = beside(8).candidates[0]
    assert alone.cells[0].p_holm == alone.cells[0].p == mcnemar_exact(8, 0)
    assert alone.cells[0].stands_out
    among = beside(8, *[0] * 9).candidates[0]
    for found in (among.cells[0], among.tests[0].overall, among.overall):
        assert found is not None
        assert found.p_holm == pytest.approx(10 * mcnemar_exact(8, 0))
        assert not found.stands_out


def test_a_drop_is_shown_only_where_it_is_so_among_all() -> None:
    """The verdict's line says the corrected p, or nothing of a drop."""
    alone = beside(8).candidates[0]
    assert alone.gate.verdict is GateVerdict.UNDECIDED
    assert verdict_line(alone).startswith("a drop is shown (p = .0078)")
    assert verdict_line(alone).count("a drop is shown") == 1
    assert any("a drop is shown (p = 0.0078)" in reason for reason in alone.gate.reasons)
    two = beside(8, 0).candidates[0]
    assert verdict_line(two).startswith("a drop is shown (p = .0156)")
    among = beside(8, *[0] * 9).candidates[0]
    assert "a drop is shown" not in verdict_line(among)
    assert not any("a drop is shown" in reason for reason in among.gate.reasons)


def test_raw_and_corrected_are_named() -> None:
    """JSON has both at every level; the text says the corrected one where it is another."""
    comparison = beside(8, 0)
    told = comparison.to_dict()["candidates"][0]
    for found in (told["overall"], told["cells"][0], told["tests"][0]["overall"]):
        assert found["p_holm"] == pytest.approx(2 * found["p"])
    text = markdown(comparison, By.CELL)
    assert "p = .0078, .0156 over all candidates" in text
    assert "Holm over the rows of all candidates" in text
