"""Bets on rounds: what they rule out, and that they seldom err however often one looks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from matrixbench.stats.betting import APART, TOGETHER, Bets
from tests.properties import examples

DROP = 0.1
ROUNDS = st.integers(1, 3).flatmap(
    lambda tests: st.lists(
        st.lists(st.sampled_from([-1.0, -0.5, 0.0, 1.0]), min_size=tests, max_size=tests),
        max_size=12,
    )
)


def ever_ruled_out(worse: float, better: float, mean: float, *, above: bool, most: int) -> float:
    """Return the chance that one test of such discordant shares ever rules a mean out: exactly.

    With fixed stakes the capital depends on the counts so far, so that all courses can be followed.
    """
    sign = 1 if above else -1
    values = np.array([-1.0, 1.0, 0.0])
    counts = np.arange(most + 1)
    lost, won = np.meshgrid(counts, counts, indexing="ij")
    alive = np.zeros((most + 1, most + 1))
    alive[0, 0] = 1.0
    shown = 0.0
    for n in range(1, most + 1):
        after = alive * (1 - worse - better)
        after[1:, :] += worse * alive[:-1, :]
        after[:, 1:] += better * alive[:, :-1]
        tied = np.maximum(n - lost - won, 0)
        capital = sum(
            part
            * np.prod(
                [
                    np.maximum(1 - stake + stake * (1 + sign * x) / (1 + sign * mean), 1e-12) ** k
                    for x, k in zip(values, (lost, won, tied), strict=True)
                ],
                axis=0,
            )
            for stake, part in APART
        )
        rich = capital >= 40
        shown += float(after[rich].sum())
        alive = np.where(rich, 0.0, after)
    return shown


@pytest.mark.parametrize("stakes", [APART, TOGETHER])
def test_the_stakes_share_out_one_capital(stakes: tuple[tuple[float, float], ...]) -> None:
    """Parts of the capital add up to 1, and no stake is more than all of it."""
    assert sum(part for _, part in stakes) == pytest.approx(1)
    assert all(0 < stake <= 1 and part > 0 for stake, part in stakes)


@pytest.mark.parametrize("shares", [(0.1, 0.0), (0.12, 0.02), (0.2, 0.1), (0.4, 0.3), (0.55, 0.45)])
def test_looking_after_every_round_errs_seldom(shares: tuple[float, float]) -> None:
    """A mean that is the true one is ruled out in at most 2.5 % of 120 rounds' courses, exactly."""
    worse, better = shares
    for above in (True, False):
        found = ever_ruled_out(worse, better, better - worse, above=above, most=120)
        assert 0 < found <= 0.025


def test_the_first_round_that_shows_it_is_told() -> None:
    """Where all pass, one test takes 47 rounds, ten tests take 5; together they take 38."""
    assert Bets([[0.0]] * 60).ruled_out(-DROP, above=True) == 47
    assert Bets([[0.0] * 10] * 60).ruled_out(-DROP, above=True) == 5
    assert Bets([[0.0] * 10] * 60, together=True).ruled_out(-DROP, above=True) == 38
    assert Bets([[0.0]] * 46).ruled_out(-DROP, above=True) is None
    assert Bets([[-1.0]] * 10).ruled_out(-DROP, above=False) == 9


def test_what_it_takes_is_told() -> None:
    """If shares stay as they are: 47 rounds of one test that passes, none of one at the limit."""
    assert Bets([[0.0]] * 5).rounds_to_rule_out(-DROP, above=True) == 47
    assert Bets([[0.0] * 10] * 2).rounds_to_rule_out(-DROP, above=True) == 5
    assert Bets([[-1.0], *[[0.0]] * 9]).rounds_to_rule_out(-DROP, above=True) is None
    assert Bets([]).rounds_to_rule_out(-DROP, above=True) is None


def test_what_was_ruled_out_stays_so() -> None:
    """Later rounds take nothing back: one may have stopped there."""
    shown = [[0.0]] * 47
    assert Bets([*shown, [-1.0], [-1.0]]).ruled_out(-DROP, above=True) == 47


@examples(60)
@given(ROUNDS, st.floats(-0.95, 0.95), st.booleans())
def test_the_interval_is_what_is_not_ruled_out(
    rounds: list[list[float]], mean: float, together: bool
) -> None:
    """Means outside the interval are ruled out and those inside are not, on either side."""
    bets = Bets(rounds, together=together)
    found = bets.interval()
    for above, outside in ((True, found.low - mean), (False, mean - found.high)):
        if abs(outside) > 1e-9:
            assert (bets.ruled_out(mean, above=above) is not None) is (outside > 0)


@examples(60)
@given(ROUNDS)
def test_both_directions_are_alike(rounds: list[list[float]]) -> None:
    """Swapping the two sides turns the interval round."""
    found = Bets(rounds).interval()
    turned = Bets([[-value for value in values] for values in rounds]).interval()
    assert (found.low, found.high) == pytest.approx((-turned.high, -turned.low), abs=1e-9)


def test_without_rounds_nothing_is_known() -> None:
    """No round, no knowledge."""
    bets = Bets([])
    assert (bets.interval().low, bets.interval().high) == (-1.0, 1.0)
    assert bets.ruled_out(0.0, above=True) is None
    assert bets.ruled_out(-1.0, above=True) is None


def test_what_is_no_round_is_refused() -> None:
    """A round lacks a test, or holds what is no difference of ratios."""
    with pytest.raises(ValueError, match="number of tests"):
        Bets([[0.0, 0.0], [0.0]])
    with pytest.raises(ValueError, match="within"):
        Bets([[1.5]])


def test_tests_of_different_drops_are_safe() -> None:
    """One test of ten loses all, the others nothing: the mean is at the limit, seldom ruled out."""
    rng = np.random.default_rng(1)
    wrong = 0
    for _ in range(300):
        noise = rng.choice([-1.0, 0.0, 1.0], p=[0.05, 0.9, 0.05], size=(60, 10))
        noise[:, 0] = -1.0
        noise[:, 1:] += 0.0
        wrong += Bets(noise.tolist()).ruled_out(-DROP, above=True) is not None
    assert wrong / 300 <= 0.025 + 0.02
