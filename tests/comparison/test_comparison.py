"""What pairs of cells say: bases, tests, culprits, and the gate."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from matrixbench.comparison.totals import compare_cells
from matrixbench.comparison.values import (
    Basis,
    Candidate,
    CandidateResult,
    CellPair,
    GateVerdict,
    Trials,
)
from matrixbench.output.compare import verdict_line

if TYPE_CHECKING:
    from matrixbench.comparison.data import Comparison


def trials(
    outcomes: str,
    *,
    cell: str = "c",
    build: str = "new",
    first_seed: int = 1,
    by_request: bool = False,
    unverified: str = "",
) -> Trials:
    """Return trials by their outcomes: `1` passed, `0` did not."""
    passed = {first_seed + place: char == "1" for place, char in enumerate(outcomes)}
    return Trials(
        cell=cell,
        build=build,
        passed=passed,
        replies={seed: f"said {outcome}" for seed, outcome in passed.items()},
        by_request=by_request,
        unverified=unverified,
    )


def pair(
    candidate: str | Trials,
    baseline: str | Trials,
    *,
    test: str = "t",
    greedy: tuple[bool, bool] = (False, False),
    **axes: object,
) -> CellPair:
    """Return two cells from their outcomes."""
    if isinstance(candidate, str):
        candidate = trials(candidate)
    if isinstance(baseline, str):
        baseline = trials(baseline, build="old")
    return CellPair(
        coordinates={"test": test, **axes},
        test=test,
        candidate=candidate,
        baseline=baseline,
        greedy=greedy,
        planned=10,
    )


def compared(*pairs: CellPair, max_drop: float = 0.1) -> CandidateResult:
    """Return the comparison of one candidate."""
    return several({"c": pairs}, max_drop).candidates[0]


def several(candidates: dict[str, tuple[CellPair, ...]], max_drop: float = 0.1) -> Comparison:
    """Return the comparison of several candidates."""
    return compare_cells(
        [Candidate(name=name, pairs=pairs) for name, pairs in candidates.items()],
        experiment="e",
        axis="backend",
        baseline="b",
        max_drop=max_drop,
    )


def test_shared_seeds_that_agree_are_tested_as_pairs() -> None:
    """Where outcomes go together McNemar counts the discordant pairs; phi is shown."""
    found = compared(pair("1111100000" * 3, "1111110000" * 3)).cells[0]
    assert (found.basis, found.test) == (Basis.PAIRED, "mcnemar")
    assert found.pairs is not None
    assert (found.pairs.worse, found.pairs.better) == (3, 0)
    assert found.phi == pytest.approx(0.8165, abs=1e-4)
    assert found.p == pytest.approx(0.25)


def test_shared_seeds_that_do_not_agree_are_tested_by_boschloo() -> None:
    """Where phi says that pairing does not hold, discordant pairs are shown all the same."""
    found = compared(pair("1010101010", "1100110011")).cells[0]
    assert (found.basis, found.test) == (Basis.PAIRED, "boschloo")
    assert found.pairs is not None
    assert found.pairs.discordant == 5
    assert found.phi is not None
    assert found.phi < 0.2


def test_phi_is_judged_over_all_cells() -> None:
    """One cell that happens to disagree is tested like the others."""
    agreeing = [pair("1111100000", "1111110000", test=f"t{n}") for n in range(5)]
    found = compared(*agreeing, pair("1010101010", "1100110011", test="odd"))
    assert {cell.test for cell in found.cells} == {"mcnemar"}


def test_other_seeds_are_no_pairs() -> None:
    """Without shared seeds all trials are compared, unpaired."""
    other = trials("1111111111", build="old", first_seed=100)
    found = compared(pair("1111100000", other)).cells[0]
    assert (found.basis, found.test, found.trials) == (Basis.UNPAIRED, "boschloo", (10, 10))
    assert found.pairs is None
    assert found.p == pytest.approx(0.01278, abs=1e-5)


def test_only_shared_seeds_are_paired() -> None:
    """Seeds that one side lacks are left out, unless they are most of the trials."""
    assert compared(pair("11110000", "1111111111")).cells[0].trials == (8, 8)
    few = compared(pair("1111", "1111111111")).cells[0]
    assert (few.basis, few.trials) == (Basis.UNPAIRED, (4, 10))


@pytest.mark.parametrize(
    ("candidate", "baseline", "greedy", "basis", "same"),
    [
        ("11", "11", (True, True), Basis.GREEDY, True),
        ("00", "11", (True, True), Basis.GREEDY, False),
        (trials("0", by_request=True), "1111", (False, False), Basis.BY_REQUEST, False),
        (
            trials("0", by_request=True),
            trials("0", build="old", by_request=True),
            (False, False),
            Basis.BY_REQUEST,
            True,
        ),
        ("1010", trials("1010"), (False, False), Basis.SHARED, True),
        ("", "1111", (False, False), Basis.NOT_COMPARABLE, None),
        ("11", "1111", (True, False), Basis.NOT_COMPARABLE, None),
    ],
)
def test_cells_without_chance_have_no_p_value(
    candidate: str | Trials,
    baseline: str | Trials,
    greedy: tuple[bool, bool],
    basis: Basis,
    same: bool | None,
) -> None:
    """Greedy, request-determined and shared cells are compared by equality."""
    found = compared(pair(candidate, baseline, greedy=greedy)).cells[0]
    assert (found.basis, found.same, found.p) == (basis, same, None)


def test_equal_outcomes_may_have_other_replies() -> None:
    """Equality of outcomes and of replies are told apart."""
    up = Trials(cell="c", build="new", passed={1: True}, replies={1: "one"})
    down = Trials(cell="c", build="old", passed={1: True}, replies={1: "other"})
    found = compared(pair(up, down, greedy=(True, True)))
    assert (found.certain.same, found.certain.same_replies) == (1, 0)


def test_holm_points_at_the_culprit() -> None:
    """Of many cells the one that lost stands out; the others do not."""
    fine = [pair("1" * 30, "1" * 30, test=f"t{n}") for n in range(9)]
    found = compared(*fine, pair("0" * 20 + "1" * 10, "1" * 30, test="culprit"))
    assert [cell.pair.test for cell in found.cells if cell.stands_out] == ["culprit"]
    assert [test.test for test in found.tests if test.overall and test.overall.stands_out] == [
        "culprit"
    ]


def test_a_row_by_test_sums_its_cells_up() -> None:
    """All cells of a test make one row; its seeds are its clusters."""
    cells = [pair("0000011111", "1111111111", temperature=t) for t in (0.5, 1, 1.5)]
    (test,) = compared(*cells).tests
    assert test.overall is not None
    assert (test.overall.cells, test.overall.p) == (3, 0.0625)
    assert test.overall.ratios == pytest.approx((0.5, 1.0))


@pytest.mark.parametrize(
    ("candidate", "baseline", "verdict"),
    [
        ("1" * 40, "1" * 40, GateVerdict.NO_WORSE),
        ("1" * 34, "1" * 34, GateVerdict.UNDECIDED),
        ("0" * 20 + "1" * 20, "1" * 40, GateVerdict.REGRESSION),
        ("0" * 4 + "1" * 36, "1" * 40, GateVerdict.UNDECIDED),
        ("1" * 40, "0" * 20 + "1" * 20, GateVerdict.NO_WORSE),
        # The interval lies below −0.1, but 5 losses of 5 are p = .0625.
        ("0" * 5, "1" * 5, GateVerdict.UNDECIDED),
    ],
)
def test_the_gate(candidate: str, baseline: str, verdict: GateVerdict) -> None:
    """No worse, worse, or too early to say: by the interval and the exact test."""
    assert compared(pair(candidate, baseline)).gate.verdict is verdict


def test_an_undecided_gate_says_what_would_decide() -> None:
    """So many trials per cell; with them, the same ratios are decided."""
    gate = compared(pair("1" * 30, "1" * 30)).gate
    assert (gate.trials_per_cell, gate.more_trials) == (53, 46)
    assert compared(pair("1" * 35, "1" * 35)).gate.verdict is GateVerdict.NO_WORSE
    lost = compared(pair("0" * 5, "1" * 5)).gate
    assert (lost.trials_per_cell, lost.more_trials) == (6, 2)
    assert compared(pair("0" * 6, "1" * 6)).gate.verdict is GateVerdict.REGRESSION


def test_a_drop_at_the_limit_is_never_decided() -> None:
    """Where the estimate is the limit itself, no number of trials is promised."""
    gate = compared(pair("0" + "1" * 9, "1" * 10)).gate
    assert (gate.verdict, gate.trials_per_cell, gate.more_trials) == (
        GateVerdict.UNDECIDED,
        None,
        None,
    )


def test_a_larger_drop_may_be_allowed() -> None:
    """The limit is the user's; outside [0, 1] it is refused."""
    cell = pair("0" * 4 + "1" * 36, "1" * 40)
    assert compared(cell, max_drop=0.3).gate.verdict is GateVerdict.NO_WORSE
    with pytest.raises(ValueError, match="drop"):
        compared(cell, max_drop=1.5)


def test_certain_cells_need_no_statistics() -> None:
    """A request that is refused now is a regression, however good the other cells are."""
    refused = pair(trials("0", by_request=True), "1" * 40, test="refused")
    fine = pair("1" * 40, "1" * 40, test="fine")
    found = compared(fine, refused)
    assert found.gate.verdict is GateVerdict.REGRESSION
    assert (found.certain.worse, found.certain.mean) == (1, -1.0)
    assert (
        compared(fine, pair("11", "11", greedy=(True, True))).gate.verdict is GateVerdict.NO_WORSE
    )


@pytest.mark.parametrize(
    ("lost", "verdict"), [(1, GateVerdict.NO_WORSE), (2, GateVerdict.REGRESSION)]
)
def test_certain_cells_may_drop_by_what_is_allowed(lost: int, verdict: GateVerdict) -> None:
    """One of ten is a tenth, as is allowed; two are more."""
    cells = [
        pair("00" if place < lost else "11", "11", test=f"t{place}", greedy=(True, True))
        for place in range(10)
    ]
    assert compared(*cells).gate.verdict is verdict


def test_cells_that_were_not_measured_leave_it_undecided() -> None:
    """Nobody knows what a crashed candidate would have answered."""
    found = compared(pair("1" * 40, "1" * 40), pair("", "1" * 40, test="gone"))
    assert found.not_comparable == 1
    assert found.gate.verdict is GateVerdict.UNDECIDED
    assert (found.gate.trials_per_cell, found.gate.more_trials) == (10, 10)


def test_one_and_the_same_build_is_no_worse() -> None:
    """Cells that share their trials are equal, whatever they say."""
    found = compared(pair("1010", trials("1010")))
    assert found.overall is None
    assert found.gate.verdict is GateVerdict.NO_WORSE


def test_the_worst_candidate_decides() -> None:
    """Regression before undecided before no worse; p-values are corrected over candidates."""
    fine, lost = pair("1" * 40, "1" * 40), pair("0" * 20 + "1" * 20, "1" * 40)
    unsure = pair("1" * 5, "1" * 5)
    assert several({"a": (fine,), "b": (unsure,), "c": (lost,)}).verdict is GateVerdict.REGRESSION
    assert several({"a": (fine,), "b": (unsure,)}).verdict is GateVerdict.UNDECIDED
    found = several({"a": (fine,), "b": (fine,)})
    assert found.verdict is GateVerdict.NO_WORSE
    overall = several({"a": (lost,), "b": (fine,)}).candidates[0].overall
    assert overall is not None
    assert overall.p_holm == pytest.approx(2 * overall.p)


def test_nothing_compared_is_undecided() -> None:
    """Without any pair of cells nothing is shown."""
    gate = compared().gate
    assert (gate.verdict, gate.trials_per_cell) == (GateVerdict.UNDECIDED, None)
    assert gate.reasons == ("no pair of cells was compared",)


def adaptive(outcomes: str, *, build: str = "new") -> Trials:
    """Return trials whose number depends on what came out."""
    return replace(trials(outcomes, build=build), adaptive=True)


def test_adaptive_trials_are_tested_by_what_holds_all_the_same() -> None:
    """No test for a fixed number is used of them, not even where both sides went to the end."""
    found = compared(
        pair(adaptive("0" * 29), adaptive("1" * 29, build="old"), test="a"),
        pair(adaptive("10" * 25), adaptive("10" * 25, build="old"), test="b"),
        pair(adaptive("1" * 29), adaptive("1110" * 12, build="old"), test="c"),
    )
    assert {cell.test for cell in found.cells} <= {"sequential", "sequential pairs"}
    lost, same, _ = found.cells
    assert lost.stands_out
    assert same.p == 1
    assert found.overall is not None
    assert found.overall.adaptive
    assert found.overall.across_tests is None
    assert found.overall.p == pytest.approx(
        3 / sum(cell.evidence for cell in found.cells if cell.evidence is not None)
    )
    interval = found.overall.difference.interval
    assert interval.low < found.overall.difference.estimate < interval.high


def test_all_trials_of_both_sides_count_where_they_are_adaptive() -> None:
    """A side that went on longer than the other loses nothing of its ratio."""
    (cell,) = compared(pair(adaptive("1" * 29), adaptive("1" * 29 + "0" * 11, build="old"))).cells
    assert cell.trials == (29, 40)
    assert cell.pairs is not None
    assert cell.pairs.n == 29
    assert cell.difference is not None
    assert cell.difference.estimate == pytest.approx(1 - 29 / 40)


def test_a_gate_over_adaptive_trials_asks_for_a_fixed_number() -> None:
    """The wide interval seldom decides; what would is a fixed number, never below the maximum."""
    both = [replace(pair(adaptive("1" * 29), adaptive("1" * 29, build="old")), planned=50)]
    found = compared(*both)
    assert found.gate.verdict is GateVerdict.UNDECIDED
    assert (found.gate.trials_per_cell, found.gate.more_trials) == (60, 62)
    assert "a fixed number of 60 trials per cell would decide in 80 % of runs" in verdict_line(
        found
    )
    fixed = [replace(pair("1" * 50, trials("1" * 50, build="old")), planned=50)]
    assert compared(*fixed).gate.verdict is GateVerdict.NO_WORSE


def ignoring(outcomes: str, build: str = "new") -> Trials:
    """Return trials of a launch that is shown to ignore seeds."""
    return replace(trials(outcomes, build=build), seeds_ignored="its canary says so")


@pytest.mark.parametrize("sides", [(True, True), (True, False), (False, True)])
def test_a_difference_of_one_draw_is_no_evidence(sides: tuple[bool, bool]) -> None:
    """Thirty times the same draw, on either side, decides nothing however many trials there are."""
    up, down = trials("0" * 30), trials("1" * 30, build="old")
    one = replace(
        pair(
            replace(up, seeds_ignored="shown" if sides[0] else ""),
            replace(down, seeds_ignored="shown" if sides[1] else ""),
        ),
        planned=30,
    )
    found = compared(*[one] * 3)
    assert (found.overall, found.gate.verdict) == (None, GateVerdict.UNDECIDED)
    assert (found.gate.one_draw, found.gate.trials_per_cell) == (3, None)
    assert found.cells[0].basis is Basis.ONE_DRAW
    assert found.cells[0].trials == tuple(1 if ignores else 30 for ignores in sides)
    assert found.cells[0].difference is not None
    assert found.cells[0].difference.interval.low < -0.6
    line = verdict_line(found)
    assert line.startswith("undecided whether the drop is at most 0.1: the server of the ")
    assert "(−1.000 on average), which is no evidence" in line
    assert "--fresh" in line
    assert "would decide" not in line


def test_one_draw_hides_no_regression_of_others_and_passes_none() -> None:
    """The other cells decide a regression by themselves, and nothing else."""
    single = pair(ignoring("1" * 30), ignoring("1" * 30, build="old"), test="single")
    lost = pair(trials("0" * 60), trials("1" * 60, build="old"))
    same = pair(trials("1" * 60), trials("1" * 60, build="old"))
    assert compared(lost, single).gate.verdict is GateVerdict.REGRESSION
    assert compared(same).gate.verdict is GateVerdict.NO_WORSE
    assert compared(same, single).gate.verdict is GateVerdict.UNDECIDED


def test_greedy_and_shared_cells_stay_without_chance() -> None:
    """Whether their server honours seeds plays no part."""
    greedy = pair(ignoring("11"), ignoring("11", build="old"), greedy=(True, True))
    shared = pair(ignoring("11"), ignoring("11"))
    assert [cell.basis for cell in compared(greedy, shared).cells] == [Basis.GREEDY, Basis.SHARED]


def test_the_verdicts_line_gives_the_gates_reasons() -> None:
    """Those that settle it come first: a cell that is greedy on one side says so."""
    same = pair(trials("1" * 60), trials("1" * 60, build="old"))
    aside = pair("11", "1111", greedy=(True, False), test="other")
    found = compared(same, aside)
    assert found.gate.verdict is GateVerdict.UNDECIDED
    line = verdict_line(found)
    assert line.startswith(
        "undecided whether the drop is at most 0.1: 1 of 2 pairs of cells greedy on one side only"
    )
    assert "the mean success ratio differs by +0.000" in line
    nothing = verdict_line(compared(pair("", "1111")))
    assert "1 of 1 pairs of cells not measured on both sides" in nothing
    lost = verdict_line(compared(pair("0" * 60, trials("1" * 60, build="old"))))
    assert lost.startswith("regression: a drop of more than 0.1 is shown: the mean")
    assert "−1.000" in lost
