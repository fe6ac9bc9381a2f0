"""How likely tests show a drop: against enumeration, and against what gives it away."""

from __future__ import annotations

from itertools import product
from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from matrixbench.stats.paired import mcnemar_exact
from matrixbench.stats.power import (
    Sides,
    boschloo_power,
    drop_shown,
    gate_power,
    mcnemar_power,
    sides_of,
    stratified_power,
    tango_decides,
    trials_for,
)
from matrixbench.stats.proportions import boschloo, score_paired_difference
from matrixbench.stats.stratified import exact_cmh_p
from tests.properties import examples

SIDES = st.builds(Sides, ratio=st.floats(0.3, 1.0), phi=st.floats(-0.2, 0.8), variance=st.none())


@pytest.mark.parametrize(("n", "worse", "better"), [(12, 0.4, 0.0), (20, 0.3, 0.1), (25, 0.1, 0.2)])
def test_mcnemars_power_is_that_of_all_tables(n: int, worse: float, better: float) -> None:
    """Each pair of counts with its multinomial chance, and the test asked of each."""
    expected = 0.0
    for b in range(n + 1):
        for c in range(min(b, n - b + 1)):
            if mcnemar_exact(b, c) <= 0.05:
                ways = comb(n, b) * comb(n - b, c)
                expected += ways * worse**b * better**c * (1 - worse - better) ** (n - b - c)
    assert mcnemar_power(n, worse, better) == pytest.approx(expected, abs=1e-8)


@pytest.mark.parametrize("n", [1, 3, 8, 12])
def test_boschloos_power_is_that_of_all_tables(n: int) -> None:
    """The table of what is rejected is scipy's."""
    up, down = 0.35, 0.8
    expected = sum(
        comb(n, a) * up**a * (1 - up) ** (n - a) * comb(n, b) * down**b * (1 - down) ** (n - b)
        for a, b in product(range(n + 1), repeat=2)
        if a < b and boschloo((a, n), (b, n)) <= 0.05
    )
    assert boschloo_power(n, down, down - up) == pytest.approx(expected, abs=1e-8)


@given(
    st.integers(1, 150), st.integers(0, 60), st.integers(0, 60), st.sampled_from([0.02, 0.1, 0.3])
)
def test_the_gates_rule_is_its_interval(n: int, worse: int, better: int, limit: float) -> None:
    """Tango's interval decides where the score of the limit is beyond the quantile."""
    worse = min(worse, n)
    better = min(better, n - worse)
    interval = score_paired_difference(worse=worse, better=better, n=n).interval
    decided = interval.low >= -limit or interval.high < -limit
    counts = np.array([float(worse)]), np.array([float(better)])
    assert bool(tango_decides(*counts, n, limit)[0]) is decided


@given(SIDES, st.floats(0.0, 0.3))
def test_discordant_pairs_make_up_the_drop(sides: Sides, drop: float) -> None:
    """Worse less better is the drop; both are chances."""
    worse, better = sides.discordant(drop)
    assert worse - better == pytest.approx(drop)
    assert 0 <= better <= worse <= 1
    assert worse + better <= 1 + 1e-12


@examples(20)
@given(SIDES, st.integers(10, 200))
def test_the_drop_that_is_shown_is_shown_in_four_of_five_runs(sides: Sides, pairs: int) -> None:
    """A little less is shown less often, as long as nothing but the drop changes."""

    def power(drop: float) -> float:
        return mcnemar_power(pairs, *sides.discordant(drop))

    drop = drop_shown(power, most=sides.ratio)
    if drop is None:
        assert power(sides.ratio) < 0.8
        return
    assert power(drop) == pytest.approx(0.8, abs=0.02) or drop in (0.0, sides.ratio)


def test_exact_and_normal_powers_meet() -> None:
    """Where the sums over outcomes end, the normal formula goes on."""
    worse, better = Sides().discordant(0.03)
    found = [mcnemar_power(n, worse, better) for n in (1_490, 1_510)]
    assert found[0] == pytest.approx(found[1], abs=0.02)
    gates = [
        gate_power(n, 0.05, 0.05, max_drop=0.005, decides=tango_decides) for n in (19_900, 20_100)
    ]
    assert gates[0] == pytest.approx(gates[1], abs=0.02)


@pytest.mark.parametrize("pairs", [5, 37, 400, 801, 5_000])
def test_a_gate_has_its_power_where_every_pair_is_discordant(pairs: int) -> None:
    """Also where the counts that are looked at never add up to all pairs."""
    found, near = (
        gate_power(pairs, p, p, max_drop=0.1, decides=tango_decides) for p in (0.5, 0.499)
    )
    assert found == pytest.approx(near, abs=0.05)


def test_the_unpaired_power_of_cells_is_near_what_the_exact_test_shows() -> None:
    """Three cells of 12 trials: the normal approximation against the test, asked 300 times."""
    sides, drop = Sides(phi=0.0), 0.3
    draw = np.random.default_rng(1).binomial
    passed = draw(12, [0.9 - drop, 0.9], size=(300, 3, 2)).tolist()
    shown = sum(
        exact_cmh_p([((up, 12), (down, 12)) for up, down in cells]) <= 0.05 for cells in passed
    )
    assert stratified_power(3, 12, sides, drop) == pytest.approx(shown / 300, abs=0.1)


def test_what_is_stored_says_how_outcomes_vary() -> None:
    """Tests that differ vary less than their mean says; what always passed may fail yet."""
    apart = sides_of([[(30, 30)], [(0, 30)]], 0.4)
    assert (apart.ratio, apart.phi, apart.phi_known) == (0.5, 0.4, True)
    assert apart.variance is not None
    assert apart.variance < 0.01
    passed = sides_of([[(20, 20)]], None)
    assert passed.variance == pytest.approx(0.5 / 21)
    assert (passed.phi, passed.phi_known, passed.ratio_known) == (0.3, False, True)
    assert sides_of([[]], None) == Sides()


def test_the_fewest_trials_are_enough() -> None:
    """One fewer is not; where no number is, none is said."""
    sides = Sides(ratio=0.7)

    def power(n: int) -> float:
        return gate_power(n, *sides.discordant(0.0), max_drop=0.1, decides=tango_decides)

    needed = trials_for(power, most=10_000)
    assert needed is not None
    assert power(needed) >= 0.8
    assert power(needed - 1) < 0.8
    never = trials_for(lambda _: 0.5, most=1_000)
    assert never is None
