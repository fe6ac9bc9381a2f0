"""The simulated gate is the shipped one, and its errors are those that the page tells."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from matrixbench.comparison.rounds import judge_rounds
from matrixbench.comparison.values import GateVerdict
from matrixbench.stats.stratified import Stratum, no_worse, stratified_difference, worse
from tests.benchmarks import gate_error, peeking
from tests.benchmarks.peeking import LIMIT, Alike, Data

DOCUMENT = Path(__file__).parents[2] / "docs" / "statistics" / "simulations.md"
EXPERIMENTS = 12


def strata(data: Data, run: int) -> list[Stratum]:
    """Return one experiment as the gate takes it."""
    return [
        Stratum(
            test=f"t{test}",
            candidate={seed: bool(x) for seed, x in enumerate(data.up[run, :, test])},
            baseline={seed: bool(x) for seed, x in enumerate(data.down[run, :, test])},
            paired=data.alike is not Alike.UNPAIRED,
            luck=0 if data.alike is Alike.TESTS else None,
        )
        for test in range(data.up.shape[2])
    ]


@pytest.mark.parametrize("alike", list(Alike))
@pytest.mark.parametrize(("kind", "drop"), [("0.9", 0.0), ("0.5", 0.3), ("0.99", 0.1)])
def test_the_simulated_gate_is_the_shipped_one(alike: Alike, kind: str, drop: float) -> None:
    """The vectorised formulas say the same of made-up experiments, by rounds and once."""
    data = peeking.made_up(kind, 3, drop, alike, runs=EXPERIMENTS, rounds=30)
    found = peeking.shown(data, planned=30)
    for run in range(EXPERIMENTS):
        difference = stratified_difference(strata(data, run))
        assert no_worse(difference, LIMIT) is bool(found.once_no_worse[run])
        assert worse(difference, LIMIT) is bool(found.once_regression[run])
        rounds = data.differences[run].tolist()
        told = judge_rounds(rounds, max_drop=LIMIT, together=alike is Alike.TESTS)
        if told.verdict is not GateVerdict.UNDECIDED:
            first = found.no_worse if told.verdict is GateVerdict.NO_WORSE else found.regression
            assert told.decided_after == first[run]
        elif np.minimum(found.no_worse[run], found.regression[run]) <= 30:
            assert abs(told.difference.estimate + LIMIT) < 0.1  # the other side, or the limit


@pytest.mark.parametrize("alike", list(gate_error.ALIKE))
def test_cells_of_a_test_are_simulated_as_the_gate_takes_them(alike: str) -> None:
    """With several cells a test the vectorised statistic decides as the shipped interval."""
    up, down = gate_error.made_up(
        tests=2, cells=3, n=20, drop=0.1, alike=gate_error.ALIKE[alike], runs=EXPERIMENTS
    )
    found = gate_error.scores(up, down, -LIMIT)
    for run in range(EXPERIMENTS):
        difference = stratified_difference(
            [
                Stratum(
                    test=f"t{test}",
                    candidate=dict(enumerate(up[run, test, cell].tolist())),
                    baseline=dict(enumerate(down[run, test, cell].tolist())),
                    paired=True,
                )
                for test in range(2)
                for cell in range(3)
            ]
        )
        assert no_worse(difference, LIMIT) is bool(found[run] >= gate_error.Z)
        assert worse(difference, LIMIT) is bool(found[run] < -gate_error.Z)


def test_the_figures_of_one_look_are_current() -> None:
    """Rows of several cells a test stand in the page, as near as chance allows."""
    lines = DOCUMENT.read_text(encoding="utf-8").splitlines()
    for row in gate_error.table([(6, 5, 10)], runs=1000):
        *names, no, regression, held = row.strip("| ").split(" | ")
        (line,) = [one for one in lines if one.startswith(f"| {' | '.join(names)} | ")]
        told = percents(line.strip("| ").split(" | ")[3:])
        assert percents([no, regression, held]) == pytest.approx(told, abs=5.0)


def rows_of(header: str) -> dict[tuple[str, str, str], list[str]]:
    """Return a table of the page by its first three columns."""
    lines = DOCUMENT.read_text(encoding="utf-8").splitlines()
    found = {}
    for line in lines[lines.index(header) + 2 :]:
        if not line.startswith("|"):
            break
        tests, kind, alike, *rest = line.strip("| ").split(" | ")
        found[tests, kind, alike] = rest
    return found


def percents(texts: list[str]) -> list[float]:
    """Return the percentages that texts begin with."""
    return [float(text.split("%")[0]) for text in texts]


def test_the_figures_of_looking_at_gates_are_current() -> None:
    """Rows of the errors stand in the page, as near as chance allows.

    NumPy promises its random numbers for one version alone, so that figures are not compared as
    texts; fewer runs of three tests stand for all.
    """
    told = rows_of(peeking.HEADER[0])
    for row in peeking.table([3], ["0.9"], runs=1000):
        tests, kind, alike, *rest = row.strip("| ").split(" | ")
        assert percents(rest) == pytest.approx(percents(told[tests, kind, alike]), abs=2.0)


def test_the_figures_of_what_bets_decide_are_current() -> None:
    """So do those of how often, and after which round, bets decide."""
    told = rows_of(peeking.POWER_HEADER[0])
    for row in peeking.power_table([3], runs=500):
        tests, kind, alike, *rest = row.strip("| ").split(" | ")
        assert percents(rest) == pytest.approx(percents(told[tests, kind, alike]), abs=8.0)


@pytest.mark.parametrize("kind", peeking.KINDS)
@pytest.mark.parametrize("alike", list(Alike))
def test_the_errors_that_are_promised(kind: str, alike: Alike) -> None:
    """At 10 tests: no rule errs far above what is promised, three standard errors allowed for."""
    bets, once, both, on, *regressions, at_0 = peeking.errors(10, kind, alike, runs=500)
    assert bets <= 0.025 + 0.021
    assert once <= 0.035 + 0.021
    assert max(both, on) <= 0.05 + 0.025
    assert max(regressions) <= 0.05 + 0.025
    assert at_0 <= 0.01
