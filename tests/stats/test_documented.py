"""The figures in docs/statistics/simulations.md are those that the simulation gives."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from matrixbench.comparison.power import cell_drop, unpaired_drop
from matrixbench.stats.power import Sides
from matrixbench.stats.proportions import wilson_interval
from tests.benchmarks import (
    interval_coverage,
    missing_trials,
    one_draw,
    power,
    real_aa,
    simulate_sequential,
    total_coverage,
    winners_curse,
)
from tests.benchmarks.forecasts import no_forecasts

DOCUMENT = Path(__file__).parents[2] / "docs" / "statistics" / "simulations.md"


@pytest.mark.parametrize("most", [50, 300])
def test_the_figures_of_stopping_early_are_current(most: int) -> None:
    """Every row of the simulation stands in the page as it is."""
    lines = DOCUMENT.read_text(encoding="utf-8").splitlines()
    rows = simulate_sequential.stopping_table(least=5, most=most, half_width=0.1)
    assert [row for row in rows if row not in lines] == []


def test_the_figures_of_looking_are_current() -> None:
    """The chances that an interval ever misses stand in the page."""
    lines = DOCUMENT.read_text(encoding="utf-8").splitlines()
    assert [row for row in simulate_sequential.looking_table(100) if row not in lines] == []


def test_the_figures_of_comparing_are_current() -> None:
    """How often the tests see a difference of two cells that stop by themselves."""
    lines = DOCUMENT.read_text(encoding="utf-8").splitlines()
    rows = simulate_sequential.comparing_table(least=5, most=50, half_width=0.2)
    assert [row for row in rows if row not in lines] == []


def test_the_figures_of_totals_are_current() -> None:
    """Rows of the coverage of `rank`'s interval stand in the page, as near as chance allows.

    NumPy promises its random numbers for one version alone, so the figures are not compared as
    texts; the short rows stand for all.
    """
    lines = DOCUMENT.read_text(encoding="utf-8").splitlines()
    for row in total_coverage.table(shapes=[(3, 10)]):
        shape, ratio, *simulated = row.strip("| ").split(" | ")
        (line,) = [one for one in lines if one.startswith(f"| {shape} | {ratio} | ")]
        told = line.strip("| ").split(" | ")[2:]
        assert list(map(float, simulated)) == pytest.approx(list(map(float, told)), abs=0.03)


def test_the_fixed_number_is_the_smallest() -> None:
    """With 93 trials Wilson's interval is at most 0.1 to a side for every ratio, not with 92."""
    fixed = simulate_sequential.FIXED
    assert all(wilson_interval(k, fixed).half_width <= 0.1 for k in range(fixed + 1))
    assert any(wilson_interval(k, fixed - 1).half_width > 0.1 for k in range(fixed))


@pytest.mark.parametrize("pattern", missing_trials.PATTERNS)
def test_the_figures_of_missing_trials_are_current(pattern: str) -> None:
    """No decided gate is contradicted by the complete data, and the rows stand in the page."""
    lines = DOCUMENT.read_text(encoding="utf-8").splitlines()
    rows = missing_trials.table([(3, 1, 30)], [missing_trials.LIMIT], patterns=[pattern])
    assert [row for row in (*missing_trials.HEADER, *rows) if row not in lines] == []


@pytest.mark.parametrize("pattern", missing_trials.PATTERNS)
def test_verdicts_are_the_same_without_forecasts(pattern: str) -> None:
    """What simulations leave out of a comparison is no part of what it decides."""
    rng = Random(pattern)
    data = missing_trials.made_up(rng, tests=2, cells=1, n=20, drop=0.2)
    away = [missing_trials.PATTERNS[pattern](rng, pair) for _, pair in data]
    with no_forecasts():
        told = missing_trials.verdict(data, away)
    assert missing_trials.verdict(data, away) is told


@pytest.mark.parametrize("shape", missing_trials.SHAPES)
def test_no_gate_is_contradicted_by_the_complete_data(shape: tuple[int, int, int]) -> None:
    """The simulation in its short form: whatever is taken away, and for whatever reason."""
    drops = (0.0, missing_trials.LIMIT, 0.25)
    rows = missing_trials.table([shape], drops, runs=3)
    assert len(rows) == len(drops) * len(missing_trials.PATTERNS)


def test_the_figures_of_one_cells_intervals_are_current() -> None:
    """How often each interval holds, and its least coverage, stand in the page as computed."""
    lines = DOCUMENT.read_text(encoding="utf-8").splitlines()
    assert [row for row in interval_coverage.table() if row not in lines] == []


def test_one_draw_a_side_is_never_a_regression() -> None:
    """The short rows stand in the page; before, equal servers came out as a regression."""
    lines = DOCUMENT.read_text(encoding="utf-8").splitlines()
    rows = [one_draw.row(tests, ratio) for tests in (1, 3) for ratio in one_draw.RATIOS]
    assert [row for row in rows if row not in lines] == []
    assert all(" | 0.0% | " in row and row.endswith(" | 0.0% |") for row in rows)


def test_the_detectable_drops_are_current() -> None:
    """Promised drops stand in the page, and 75 to 90 % of simulated runs show them."""
    lines = DOCUMENT.read_text(encoding="utf-8").splitlines()
    for row in power.drop_table(400, shapes=[(1, 30), (20, 5)]):
        promised, shown = row.strip("| ").rsplit(" | ", 1)
        (line,) = [one for one in lines if one.startswith(f"| {promised} | ")]
        assert float(line.strip("| ").rsplit(" | ", 1)[1]) == pytest.approx(float(shown), abs=0.07)
        assert 0.75 <= float(shown) <= 0.9


def test_unpaired_drops_and_those_of_one_cell_are_shown() -> None:
    """In about 80 % of runs; a little more where the normal approximation is cautious."""
    shown = [
        power.shown_unpaired(3, 12, 0.9, unpaired_drop(3, 12, Sides(phi=0)) or 0, 200),
        power.shown_alone(12, 0.9, cell_drop(12, Sides(phi=0), paired=False) or 0, 400),
    ]
    assert all(0.72 <= share <= 0.93 for share in shown)


def test_the_gate_decides_as_often_as_is_said() -> None:
    """With the number of trials that is promised, or more where one trial a test is much."""
    for row in power.gate_table(100, tests=(3,)):
        ratio, share = float(row.split(" | ")[1]), float(row.strip("| ").rsplit(" | ", 1)[1])
        assert 0.7 <= share <= (0.92 if ratio < 1 else 1)


def test_no_equal_row_is_told_from_the_best() -> None:
    """The short form: of 60 runs of 20 equal rows at most a tenth, where 5 % is meant."""
    _, told, _, kept = winners_curse.equal_rows((20, 3, 10, 0.8), 60)
    assert told <= 0.1
    assert kept >= 0.95


def test_the_truly_best_row_is_kept() -> None:
    """Of unequal rows the best one is hardly ever told from the first, and some others are."""
    kept, told, _ = winners_curse.unequal_rows((12, 20, 10, 0.9), 40)
    assert kept >= 0.95
    assert told > 0


def test_equal_candidates_have_no_bold_row() -> None:
    """Corrected over the cells of all candidates."""
    assert winners_curse.false_bold(8, 3, 30, 0.8, 20) <= 0.15


def test_equal_servers_on_real_replies_are_no_regression() -> None:
    """Thirty runs as they were recorded, compared by the present rules, stand in the page."""
    lines = DOCUMENT.read_text(encoding="utf-8").splitlines()
    runs = real_aa.recorded()
    assert len(runs) == 30
    rows = list(real_aa.table(runs))
    assert [row for row in rows if row not in lines] == []
    figures = [list(map(int, row.strip("| ").split(" | ")[1:])) for row in rows]
    assert all(once == any_look == 0 for _, _, once, _, any_look, _, _ in figures)
