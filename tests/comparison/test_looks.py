"""By one look, by bets or by both: which decides, and what is said of it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from matrixbench.comparison.gate import compared, trials_of
from matrixbench.comparison.totals import compare_cells
from matrixbench.comparison.values import (
    Candidate,
    CellPair,
    GateVerdict,
    Look,
    Looked,
    Missing,
    Trials,
)
from matrixbench.output.compare import By, markdown, verdict_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matrixbench.comparison.data import Comparison
    from matrixbench.comparison.values import Gate

TESTS = 10


def side(outcomes: str, *, build: str, first_seed: int = 0) -> Trials:
    """Return trials by their outcomes: `1` passed, `0` did not, `?` was never asked."""
    known = {first_seed + n: char == "1" for n, char in enumerate(outcomes) if char != "?"}
    missing = {first_seed + n for n, char in enumerate(outcomes) if char == "?"}
    return Trials(
        cell="c",
        build=build,
        passed=known,
        replies=dict.fromkeys(known, "r"),
        missing=frozenset(missing),
        never_asked=len(missing),
        first_seed=first_seed,
    )


def candidate(
    up: Sequence[str], down: Sequence[str] | None = None, *, looks: Sequence[Looked] = ()
) -> Candidate:
    """Return a candidate with a test for each text of outcomes; the baseline passes all."""
    others = down or ["".join("?" if char == "?" else "1" for char in one) for one in up]
    pairs = [
        CellPair(
            coordinates={"test": f"t{n}"},
            test=f"t{n}",
            candidate=side(one, build="new"),
            baseline=side(other, build="old"),
            planned=len(one),
        )
        for n, (one, other) in enumerate(zip(up, others, strict=True))
    ]
    return Candidate(name="new", pairs=pairs, looks=looks)


def comparison(
    made: Candidate, look: Look | None = None, missing: Missing = Missing.WORST
) -> Comparison:
    """Return the comparison of one candidate."""
    return compare_cells(
        [made], experiment="e", axis="a", baseline="old", look=look, missing=missing
    )


def gate(made: Candidate, look: Look | None = None, missing: Missing = Missing.WORST) -> Gate:
    """Return its gate."""
    return comparison(made, look, missing).candidates[0].gate


def looked(trials: int, verdict: GateVerdict = GateVerdict.UNDECIDED) -> Looked:
    """Return a look that was taken before."""
    return Looked(trials=trials, max_drop=0.1, verdict=verdict, at=0.0)


PERFECT = ["1" * 4] * TESTS
"""One look at 4 trials of ten tests passes them; bets take 5 rounds."""


def test_one_look_decides_where_all_planned_trials_are_there() -> None:
    """It sees more than bets, and is a look that is taken."""
    found = gate(candidate(PERFECT))
    assert (found.verdict, found.look, found.once) == (
        GateVerdict.NO_WORSE,
        Look.ONCE,
        GateVerdict.NO_WORSE,
    )
    assert found.anytime is not None
    assert found.anytime.verdict is GateVerdict.UNDECIDED


def test_bets_can_be_asked_for() -> None:
    """They take no look, and decide one round later; one look can be asked for as well."""
    found = gate(candidate(PERFECT), Look.ANY)
    assert (found.verdict, found.look, found.once) == (GateVerdict.UNDECIDED, Look.ANY, None)
    assert gate(candidate(["1" * 5] * TESTS), Look.ANY).verdict is GateVerdict.NO_WORSE
    assert gate(candidate(PERFECT), Look.ONCE).look is Look.ONCE


def test_after_a_look_only_bets_count() -> None:
    """Trials that were added after a verdict are seen by bets alone, and the verdict says why."""
    added = candidate(PERFECT, looks=[looked(3)])
    found = comparison(added)
    told = found.candidates[0].gate
    assert (told.verdict, told.look, told.once) == (GateVerdict.UNDECIDED, Look.ANY, None)
    line = verdict_line(found.candidates[0])
    assert "after 4 complete rounds (5 rounds would decide by bets if ratios stay" in line
    assert "a look at 3 trials per cell (undecided), and trials changed in number since" in line
    assert "--seed-offset" in line
    assert told.trials_per_cell is None
    enough = gate(candidate(["1" * 9] * TESTS, looks=[looked(3)]))
    assert (enough.verdict, enough.look) == (GateVerdict.NO_WORSE, Look.ANY)


def test_looking_twice_at_the_same_trials_is_one_look() -> None:
    """The same number of trials is; fewer could be chosen by what was seen, and are another."""
    found = gate(candidate(PERFECT, looks=[looked(4)]))
    assert (found.verdict, found.look) == (GateVerdict.NO_WORSE, Look.ONCE)
    fewer = gate(candidate(PERFECT, looks=[looked(9)]))
    assert (fewer.look, fewer.once) == (Look.ANY, None)


def test_who_insists_on_one_more_look_is_told_what_it_is() -> None:
    """It decides, and the report says that it errs more often than it says."""
    found = comparison(candidate(PERFECT, looks=[looked(3)]), Look.ONCE)
    assert found.verdict is GateVerdict.NO_WORSE
    page = " ".join(markdown(found, By.CELL).split())
    assert "one more look after the one at 3 trials per cell" in page


def test_on_the_way_bets_decide_and_no_look_is_taken() -> None:
    """Five of forty rounds show it; three do not, and the planned look is still to come."""
    found = comparison(candidate(["1" * 5 + "?" * 35] * TESTS))
    told = found.candidates[0].gate
    assert (told.verdict, told.look, told.once) == (GateVerdict.NO_WORSE, Look.ANY, None)
    line = verdict_line(found.candidates[0])
    assert "in round 5: over 5 complete rounds" in line
    assert "whatever the trials without a verdict" not in line
    early = comparison(candidate(["1" * 3 + "?" * 37] * TESTS))
    assert early.candidates[0].gate.once is None
    assert early.verdict is GateVerdict.UNDECIDED
    assert "still to come" in " ".join(markdown(early, By.CELL).split())


def test_what_the_rest_cannot_change_is_the_planned_look_taken_early() -> None:
    """38 of 40 rounds of one test are lost: whatever the last two say, it is a regression."""
    found = gate(candidate(["0" * 4 + "1" + "0" * 33 + "??"]))
    assert (found.verdict, found.look, found.once) == (
        GateVerdict.REGRESSION,
        Look.ONCE,
        GateVerdict.REGRESSION,
    )


def test_what_a_round_had_shown_is_not_taken_back() -> None:
    """Bets showed it on the way; one look at the whole is undecided, and takes nothing back."""
    late = ["1" * 14 + "1000000"] + ["1" * 21] * 4
    down = ["1" * 21] * 5
    found = gate(candidate(late, down))
    assert found.once is GateVerdict.UNDECIDED
    assert (found.verdict, found.look) == (GateVerdict.NO_WORSE, Look.ANY)


def test_left_out_trials_do_not_make_a_look_of_an_interrupted_run() -> None:
    """With `--missing ignore` planned trials that were never asked leave the look to come."""
    found = gate(candidate(["1" * 4 + "?" * 36] * TESTS), missing=Missing.IGNORE)
    assert (found.verdict, found.look, found.once) == (GateVerdict.UNDECIDED, Look.ANY, None)
    assert "360 of the planned trials were never asked" not in found.only_bets
    assert "720 of the planned trials were never asked" in found.only_bets


def test_adaptive_cells_keep_their_evidence() -> None:
    """Cells of which each stopped for itself have no rounds."""
    made = candidate(PERFECT)
    pairs = [
        replace(one, candidate=replace(one.candidate, adaptive=True), baseline=one.baseline)
        for one in made.pairs
    ]
    found = gate(replace(made, pairs=pairs), Look.ANY)
    assert (found.look, found.once, found.anytime) == (Look.SEQUENTIAL, None, None)


def test_what_is_compared_is_known_by_cells_builds_and_seeds() -> None:
    """More trials are the same; other seeds or another build are not, nor is the order."""
    made = candidate(PERFECT)
    assert compared(made) == compared(candidate(["1" * 9] * TESTS))
    assert compared(made) == compared(replace(made, pairs=list(reversed(made.pairs))))
    moved = [replace(one, candidate=side("1" * 4, build="new", first_seed=7)) for one in made.pairs]
    other = [replace(one, candidate=side("1" * 4, build="newer")) for one in made.pairs]
    assert len({compared(replace(made, pairs=pairs)) for pairs in (made.pairs, moved, other)}) == 3
    assert trials_of(made) == 4
    assert trials_of(candidate(["1?1" * 5])) == 15


def test_every_output_says_which_look_it_was() -> None:
    """JSON has the look and the interval of the bets, Markdown says it in words."""
    found = comparison(candidate(["1" * 5 + "?" * 35] * TESTS))
    told = found.to_dict()["candidates"][0]["gate"]
    assert (told["look"], told["once"], told["looked"]) == ("any", None, None)
    assert told["anytime"]["decided_after"] == 5
    assert told["anytime"]["low"] > -0.1
    assert told["anytime"]["high"] < 0.1
    page = " ".join(markdown(found, By.CELL).split())
    assert "bets on 5 complete rounds: 95 %" in page
    whole = " ".join(markdown(comparison(candidate(PERFECT)), By.CELL).split())
    assert "one look, at the planned trials; what is added later only bets see" in whole


@pytest.mark.parametrize("remembered", [True, False])
def test_a_look_that_is_not_remembered_is_told(*, remembered: bool) -> None:
    """Where the store cannot be written the report says so."""
    found = replace(comparison(candidate(PERFECT)), remembered=remembered)
    assert ("this look is not remembered" in markdown(found, By.CELL)) is not remembered
    assert found.to_dict()["look_remembered"] is remembered
