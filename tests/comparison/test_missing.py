"""What trials that were due and have no verdict do to the gate."""

from __future__ import annotations

import random
from itertools import product
from typing import TYPE_CHECKING

import pytest

from matrixbench.comparison.totals import compare_cells
from matrixbench.comparison.values import Candidate, CellPair, GateVerdict, Missing, Trials
from matrixbench.output.compare import verdict_line
from tests.benchmarks.forecasts import no_forecasts

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matrixbench.comparison.values import CandidateResult

N = 40


def side(outcomes: str, *, cell: str = "c", build: str = "new", adaptive: bool = False) -> Trials:
    """Return trials by their outcomes: `1` passed, `0` did not, `?` has no verdict."""
    known = {seed: char == "1" for seed, char in enumerate(outcomes) if char != "?"}
    missing = frozenset(range(len(outcomes))) - known.keys()
    return Trials(
        cell=cell,
        build=build,
        passed=known,
        replies=dict.fromkeys(known, "r"),
        missing=missing,
        errored=len(missing),
        adaptive=adaptive,
    )


def pair(
    candidate: str, baseline: str, *, test: str = "t", cell: int = 0, greedy: bool = False
) -> CellPair:
    """Return two cells by their outcomes; an empty text is a side that has no such cell."""
    longest = max(len(candidate), len(baseline))
    up = side(candidate) if candidate else side("?" * longest, cell="", build="none")
    down = side(baseline, build="old") if baseline else side("?" * longest, cell="", build="none")
    return CellPair(
        coordinates={"test": test, "cell": cell},
        test=test,
        candidate=up,
        baseline=down,
        greedy=(greedy, greedy),
        planned=longest,
    )


def gated(
    *pairs: CellPair,
    alone: Sequence[CellPair] = (),
    max_drop: float = 0.1,
    missing: Missing = Missing.WORST,
) -> CandidateResult:
    """Return what the gate makes of one candidate."""
    candidate = Candidate(name="c", pairs=pairs, alone=alone)
    return compare_cells(
        [candidate], experiment="e", axis="a", baseline="b", max_drop=max_drop, missing=missing
    ).candidates[0]


def verdict(*pairs: CellPair, max_drop: float = 0.1) -> GateVerdict:
    """Return the gate's verdict."""
    with no_forecasts():
        return gated(*pairs, max_drop=max_drop).gate.verdict


def test_a_candidate_that_errs_at_two_of_five_does_not_pass() -> None:
    """What it did answer is perfect; what it did not may have been anything."""
    found = gated(pair("1??11" * 8, "1" * N))
    assert found.gate.verdict is GateVerdict.UNDECIDED
    assert found.counts[0].missing == 16
    line = verdict_line(found)
    assert "16 of the candidate's 40 trials (16 errored) have no verdict" in line
    assert "execute --resume" in line
    assert "1 more in all" not in line
    ignored = gated(pair("1??11" * 16, "1" * 80), missing=Missing.IGNORE)
    assert ignored.gate.verdict is GateVerdict.NO_WORSE
    assert "(--missing ignore)" in verdict_line(ignored)


def test_a_missing_trial_of_the_baseline_counts_as_passed() -> None:
    """The candidate must be no worse than whatever the baseline would have said."""
    assert verdict(pair("1" * N, "?" * 20 + "0" * 20)) is GateVerdict.NO_WORSE
    assert verdict(pair("1" * 32 + "0" * 8, "1" * 32 + "?" * 8)) is GateVerdict.UNDECIDED


def test_missing_trials_that_change_nothing_leave_the_verdict() -> None:
    """A hundred trials bear one that is missing, and a lost cell is lost all the same."""
    found = gated(pair("?" + "1" * 99, "1" * 100))
    assert found.gate.verdict is GateVerdict.NO_WORSE
    assert "whatever the trials without a verdict would have said" in verdict_line(found)
    assert verdict(pair("?" * 4 + "0" * 36, "1" * N)) is GateVerdict.REGRESSION
    assert verdict(pair("0" * N, "1" * 36 + "?" * 4)) is GateVerdict.REGRESSION


def test_a_regression_outranks_missing_cells() -> None:
    """Also with every missing trial in its favour it is one; with too many of them it is none."""
    lost = [pair("0" * N, "1" * N, test=f"lost{n}") for n in range(3)]
    assert verdict(*lost, pair("?" * N, "1" * N, test="gone")) is GateVerdict.REGRESSION
    assert verdict(*lost, pair("?" * N, "?" * N, test="gone")) is GateVerdict.REGRESSION
    gone = [pair("?" * N, "?" * N, test=f"gone{n}") for n in range(3)]
    assert verdict(*lost, *gone) is GateVerdict.UNDECIDED


def test_a_regression_outranks_cells_that_cannot_be_compared() -> None:
    """Where only one side is greedy nothing would ever say what the other does."""
    lost = pair("0" * 20 + "1" * 20, "1" * N, test="lost")
    odd = CellPair(
        coordinates={"test": "odd"},
        test="odd",
        candidate=side("11"),
        baseline=side("1" * N, build="old"),
        greedy=(True, False),
        planned=N,
    )
    assert verdict(lost, odd) is GateVerdict.REGRESSION
    assert verdict(pair("1" * N, "1" * N), odd) is GateVerdict.UNDECIDED
    lacking = pair("0" * 20 + "1" * 19 + "?", "1" * N, test="lost")
    assert verdict(lacking, odd) is GateVerdict.REGRESSION


def test_a_cell_that_was_never_asked_bounds_the_verdict() -> None:
    """One of forty tests may be anything; one of three may not."""
    fine = [pair("1" * 30, "1" * 30, test=f"t{n}") for n in range(39)]
    gone = pair("?" * 30, "1" * 30, test="gone")
    assert verdict(*fine, gone) is GateVerdict.NO_WORSE
    assert verdict(*fine[:2], gone) is GateVerdict.UNDECIDED


def test_cells_without_a_partner_are_missing_too() -> None:
    """A candidate does not pass by lacking the tests that it would fail."""
    fine = [pair("1" * 30, "1" * 30, test=f"t{n}") for n in range(5)]
    assert verdict(*fine) is GateVerdict.NO_WORSE
    found = gated(*fine, alone=[pair("", "1" * 30, test="hard")])
    assert found.gate.verdict is GateVerdict.UNDECIDED
    assert (found.without_partner, found.counts[0].without_partner) == ((0, 1), 30)
    assert "of cells that only the other side has" in verdict_line(found)
    assert "--where" in verdict_line(found)
    won = gated(*fine, alone=[pair("1" * 30, "", test="new")])
    assert (won.gate.verdict, won.without_partner) == (GateVerdict.NO_WORSE, (1, 0))


def test_cells_of_one_side_do_not_water_a_drop_down() -> None:
    """A lost test stays lost beside any number of tests that the baseline never had."""
    lost = pair("0" * 20 + "1" * 20, "1" * N, test="lost")
    won = [pair("1" * N, "", test=f"new{n}") for n in range(20)]
    assert gated(lost, alone=won).gate.verdict is GateVerdict.UNDECIDED


def test_cells_that_share_their_trials_miss_nothing() -> None:
    """What a trial of both sides would have said, it would have said of both."""
    shared = CellPair(
        coordinates={"test": "t"},
        test="t",
        candidate=side("1" * 5 + "?" * 35),
        baseline=side("1" * 5 + "?" * 35),
        planned=N,
    )
    found = gated(shared)
    assert (found.gate.verdict, found.counts[0].missing) == (GateVerdict.NO_WORSE, 0)


def test_certain_cells_are_bounded_too() -> None:
    """A greedy trial that errored may have been another reply."""
    fine = pair("1" * N, "1" * N, test="fine")
    assert verdict(fine, pair("1?", "11", test="g", greedy=True)) is GateVerdict.UNDECIDED
    found = gated(pair("0?", "11", test="g", greedy=True), max_drop=0.4)
    assert found.gate.verdict is GateVerdict.REGRESSION


def test_too_few_trials_are_said_to_be_too_few() -> None:
    """Where no missing trial could decide it, the number that would is what is said."""
    found = gated(pair("1" * 9 + "?", "1" * 10))
    assert found.gate.verdict is GateVerdict.UNDECIDED
    lost = gated(pair("111?", "1111"), max_drop=0.05)
    assert lost.gate.unsettled == ""
    assert lost.gate.trials_per_cell is not None
    assert "trials per cell would decide" in verdict_line(lost)
    assert any("have no verdict" in reason for reason in lost.gate.reasons)


@pytest.mark.parametrize(("candidate", "baseline"), [("1" * 5, "?" * 5), ("10?" * 9, "110" * 9)])
def test_no_number_of_trials_is_said_where_those_that_were_asked_have_no_verdict(
    candidate: str, baseline: str
) -> None:
    """More of them would have none either, and leave it as undecided as it is."""
    found = gated(pair(candidate, baseline))
    assert found.gate.unsettled
    assert (found.gate.trials_per_cell, found.gate.more_trials) == (None, None)
    assert "would decide" not in verdict_line(found)


def test_a_drop_is_only_shown_where_missing_trials_leave_it() -> None:
    """A p-value of the trials that are left says nothing of those that are not."""
    found = gated(pair("0" * 10 + "?" * 10 + "1" * 20, "1" * N), max_drop=0.3)
    assert verdict_line(found).startswith("a drop is shown")
    hidden = gated(pair("0" * 10 + "1" * 30, "?" * 10 + "1" * 30))
    assert hidden.gate.verdict is GateVerdict.UNDECIDED
    assert "a drop is shown" not in verdict_line(hidden)
    assert not any("a drop is shown" in reason for reason in hidden.gate.reasons)


def test_nothing_that_was_compared_decides_nothing() -> None:
    """However large a drop is allowed, nothing is shown of a candidate that nobody asked."""
    assert verdict(pair("?" * N, "1" * N), max_drop=1.0) is GateVerdict.UNDECIDED


@pytest.mark.parametrize("of_a_test", [1, 2])
@pytest.mark.parametrize("start", range(4))
def test_a_verdict_is_what_every_completion_says(start: int, of_a_test: int) -> None:
    """By brute force: all values of the missing trials are tried with the gate on whole data."""
    rng = random.Random(100 * of_a_test + start)
    for _ in range(6):
        drop = rng.choice([0.1, 0.3, 0.5])
        whole = _made_up(rng)
        holes = rng.sample(sorted(whole), rng.randint(1, 5))
        lacking = whole | dict.fromkeys(holes, "?")
        said = {
            verdict(
                *_pairs(whole | dict(zip(holes, values, strict=True)), of_a_test), max_drop=drop
            )
            for values in product("01", repeat=len(holes))
        }
        expected = said.pop() if len(said) == 1 else GateVerdict.UNDECIDED
        assert verdict(*_pairs(lacking, of_a_test), max_drop=drop) is expected


def _made_up(rng: random.Random) -> dict[tuple[int, int, int], str]:
    """Return (cell, side, seed) → outcome of a few cells."""
    n, cells = rng.randint(4, 12), rng.randint(1, 4)
    whole = {}
    for cell in range(cells):
        ratios = (rng.choice([0.0, 0.5, 0.9, 1.0]), rng.choice([0.5, 1.0, 1.0]))
        for place, ratio in enumerate(ratios):
            for seed in range(n):
                whole[cell, place, seed] = "1" if rng.random() < ratio else "0"
    return whole


def _pairs(outcomes: Mapping[tuple[int, int, int], str], of_a_test: int) -> list[CellPair]:
    """Return the pairs of cells, so many of each test."""
    sides: dict[tuple[int, int], str] = {}
    for (cell, place, _), outcome in sorted(outcomes.items()):
        sides[cell, place] = sides.get((cell, place), "") + outcome
    count = len(sides) // 2
    return [
        pair(sides[cell, 0], sides[cell, 1], test=f"t{cell // of_a_test}", cell=cell)
        for cell in range(count)
    ]


def test_an_earlier_build_is_not_asked_again() -> None:
    """What it lacks cannot be run any more; the line says what can be done instead."""
    candidate = Candidate(
        name="c",
        pairs=[pair("1" * 38 + "00", "0" * 20 + "?" * 20)],
        earlier=True,
    )
    found = compare_cells([candidate], experiment="e", axis="build", baseline="build x")
    assert found.verdict is GateVerdict.NO_WORSE
    candidate = Candidate(
        name="c",
        pairs=[pair("1" * 30 + "0" * 10, "1" * 25 + "?" * 15)],
        earlier=True,
    )
    found = compare_cells([candidate], experiment="e", axis="build", baseline="build x")
    line = verdict_line(found.candidates[0])
    assert "an earlier build is not asked again, but trials may be lowered" in line
    assert "execute --resume" not in line


def test_only_what_is_missing_is_named() -> None:
    """An error in a cell that both sides share is counted, but is not what leaves it undecided."""
    shared = CellPair(
        coordinates={"test": "s"},
        test="s",
        candidate=side("1" * 30 + "?" * 10),
        baseline=side("1" * 30 + "?" * 10),
        planned=N,
    )
    found = gated(shared, pair("1" * 30 + "?" * 10, "1" * N))
    assert "10 of the candidate's 80 trials (10 errored) have no verdict" in verdict_line(found)
    assert "the baseline's" not in verdict_line(found)
    assert [count.errored for count in found.counts] == [20, 10]
