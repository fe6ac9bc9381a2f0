"""Rounds that are complete: which count, and what they show whenever one looks."""

from __future__ import annotations

from dataclasses import replace

import pytest

from matrixbench.comparison.rounds import judge_rounds, look
from matrixbench.comparison.values import Anytime, CellPair, GateVerdict, Trials


def side(outcomes: str, *, build: str, first_seed: int = 0, rounds: int = 0) -> Trials:
    """Return trials by their outcomes: `1` passed, `0` did not, `?` has no verdict."""
    seeds = {first_seed + place: char for place, char in enumerate(outcomes)}
    return Trials(
        cell="c",
        build=build,
        passed={seed: char == "1" for seed, char in seeds.items() if char != "?"},
        missing=frozenset(seed for seed, char in seeds.items() if char == "?"),
        first_seed=first_seed,
        rounds=rounds,
    )


def pair(
    candidate: str, baseline: str, *, test: str = "t", seeds: tuple[int, int] = (0, 0)
) -> CellPair:
    """Return two cells by their outcomes and first seeds."""
    return CellPair(
        coordinates={"test": test},
        test=test,
        candidate=side(candidate, build="new", first_seed=seeds[0]),
        baseline=side(baseline, build="old", first_seed=seeds[1]),
    )


def seen(*pairs: CellPair, max_drop: float = 0.1, ignore: bool = False) -> Anytime:
    """Return what the rounds show."""
    found = look(pairs, max_drop=max_drop, ignore=ignore)
    assert found is not None
    return found


def perfect(n: int, tests: int = 10) -> list[CellPair]:
    """Return tests that pass n trials on both sides."""
    return [pair("1" * n, "1" * n, test=f"t{place}") for place in range(tests)]


def test_ten_perfect_tests_are_no_worse_after_five_rounds() -> None:
    """The fifth round shows it, four do not, and it stays shown."""
    assert seen(*perfect(4)).verdict is GateVerdict.UNDECIDED
    found = seen(*perfect(20))
    assert (found.verdict, found.decided_after, found.rounds, found.tests) == (
        GateVerdict.NO_WORSE,
        5,
        20,
        10,
    )
    assert found.difference.interval.low > -0.1


def test_a_candidate_that_fails_is_a_regression() -> None:
    """Losing all is shown after a few rounds."""
    found = seen(pair("0" * 12, "1" * 12))
    assert (found.verdict, found.decided_after) == (GateVerdict.REGRESSION, 9)
    assert found.difference.interval.high < -0.1


def test_only_complete_rounds_count() -> None:
    """A cell that has come to its third round holds the others there."""
    found = seen(*perfect(20), pair("1" * 3, "1" * 20, test="behind"))
    assert (found.verdict, found.rounds) == (GateVerdict.UNDECIDED, 3)


def test_trials_of_other_seeds_pair_by_their_index() -> None:
    """The baseline began at another seed: the i-th trials are compared."""
    shifted = [pair("1" * 6, "1" * 6, test=f"t{place}", seeds=(0, 1000)) for place in range(10)]
    assert seen(*shifted).decided_after == 5


def test_what_is_missing_in_a_round_counts_at_its_worst() -> None:
    """One of ten tests errs in every round: a drop of 0.1 cannot be excluded, nor is it shown."""
    cells = [*perfect(40, tests=9), pair("1" + "?" * 39, "1" * 40, test="errs")]
    cells[-1] = replace(cells[-1], candidate=replace(cells[-1].candidate, rounds=40))
    found = seen(*cells)
    assert (found.verdict, found.rounds) == (GateVerdict.UNDECIDED, 40)
    assert found.difference.interval.low < -0.1
    assert seen(*cells, ignore=True).rounds == 1


def test_a_candidate_that_breaks_after_it_was_shown_no_worse_does_not_pass() -> None:
    """Ten good rounds show it; then the server answers nothing any more, and that is not hidden."""
    cells = [
        replace(one, candidate=replace(one.candidate, rounds=30))
        for one in (pair("1" * 10 + "?" * 20, "1" * 30, test=f"t{n}") for n in range(10))
    ]
    assert seen(*cells).verdict is GateVerdict.UNDECIDED


def test_trials_in_flight_do_not_undo_a_verdict() -> None:
    """What round 5 showed stays shown after a single failure in round 6."""
    after = [[0.0] * 10] * 5 + [[-1.0] + [0.0] * 9]
    assert judge_rounds(after, max_drop=0.1).decided_after == 5


def test_rounds_that_contradict_each_other_decide_nothing() -> None:
    """A machine that drifts: first shown no worse, then shown worse."""
    found = judge_rounds([[0.0] * 10] * 6 + [[-1.0] * 10] * 30, max_drop=0.1)
    assert (found.verdict, found.decided_after) == (GateVerdict.UNDECIDED, None)


def test_a_verdict_does_not_stand_against_the_mean_of_all_rounds() -> None:
    """Five perfect rounds show it, and bad ones take the mean below the limit again."""
    good, bad = [[0.0] * 10] * 5, [[-1.0] * 3 + [0.0] * 7]
    assert judge_rounds(good + bad * 2, max_drop=0.1).decided_after == 5
    found = judge_rounds(good + bad * 3, max_drop=0.1)
    assert found.difference.estimate < -0.1
    assert (found.verdict, found.decided_after) == (GateVerdict.UNDECIDED, None)


def test_common_seeds_make_a_round_one_bet() -> None:
    """Tests that share their luck take 38 rounds where independent ones take 5."""
    cells = [
        replace(one, candidate=replace(one.candidate, common_seeds=True)) for one in perfect(60)
    ]
    found = seen(*cells)
    assert (found.together, found.decided_after) == (True, 38)


def test_cells_of_a_test_are_averaged() -> None:
    """Copies of a cell are one observation: they decide no earlier than the cell alone."""
    alone = seen(pair("1" * 60, "1" * 60))
    copies = seen(*[pair("1" * 60, "1" * 60)] * 4)
    assert alone.decided_after == copies.decided_after == 47


def test_cells_without_chance_are_left_out() -> None:
    """Greedy and shared cells have no rounds."""
    one = pair("1" * 5, "1" * 5)
    assert look([replace(one, greedy=(True, True))], max_drop=0.1) is None
    assert look([replace(one, baseline=one.candidate)], max_drop=0.1) is None


@pytest.mark.parametrize(
    ("max_drop", "verdict"), [(1.0, GateVerdict.NO_WORSE), (0.0, GateVerdict.UNDECIDED)]
)
def test_the_ends_of_what_may_be_allowed(max_drop: float, verdict: GateVerdict) -> None:
    """No drop is larger than 1, and equal sides are never shown to drop by nothing at all."""
    assert seen(*perfect(30), max_drop=max_drop).verdict is verdict
    assert judge_rounds([], max_drop=max_drop).verdict is GateVerdict.UNDECIDED
