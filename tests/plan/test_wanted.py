"""How many trials a cell needs, where fewer may be enough."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from matrixbench.plan.cells import CellProgress, Judged, PresentBuild, Why
from matrixbench.plan.matrix import is_greedy
from matrixbench.plan.planner import (
    History,
    Plan,
    TrialBudget,
    fewest_trials,
    launch_work,
    plan_matrix,
    wanted_of,
)
from matrixbench.records import Build
from matrixbench.stats.sequential import Precision, sequential_interval

if TYPE_CHECKING:
    from matrixbench.plan.cells import Cell
    from matrixbench.plan.matrix import Matrix
    from tests.conftest import Load

NOW = Build(id="now", kind="llama-server", server="s", model="m")
UNTIL = Precision(half_width=0.1, least=5)
WANTED = TrialBudget(trials=50, greedy=2, until=UNTIL)
EXPERIMENT = """
name: demo
trials: TRIALS
backends: {s: {kind: scripted, replies: [a]}}
tests: [{name: hi, messages: [{role: user, content: hi}], expect: []}]
"""


def hot(matrix: Matrix) -> Cell:
    """Return the cell whose sampling leaves a choice."""
    return next(cell for cell in matrix.launches[0].cells if not is_greedy(cell.point.fields))


def known(passed: int, failed: int, *, judges: int = 1) -> CellProgress:
    """Return what is known after so many trials, those that passed first."""
    measured = (1 << passed + failed) - 1
    judged = Judged(measured=measured, passed=(1 << passed) - 1)
    return CellProgress(kept=measured, judged=(judged,) * judges)


def planned(matrix: Matrix, progress: CellProgress, wanted: TrialBudget) -> tuple[Plan, int]:
    """Return the plan where that is known of the hot cell, and the trials that will run of it."""
    history = History(progress={"now": {hot(matrix).id: progress}}, builds={"now": NOW})
    builds = {
        group.launch.name: PresentBuild(build=NOW, verified=True) for group in matrix.launches
    }
    plan = plan_matrix("demo", matrix, wanted=wanted, history=history, builds=builds)
    work = launch_work([hot(matrix)], NOW, wanted=wanted, history=history)
    return plan, sum(item.todo.bit_count() for item in work)


def test_a_cell_with_enough_trials_is_done(load_hot: Matrix) -> None:
    """29 of 29 are enough for 0.1 a side; the plan counts them as all that is wanted."""
    plan, todo = planned(load_hot, known(29, 0), WANTED)
    assert todo == 0
    assert (plan.done, plan.remaining, plan.stopped) == (29, 2, 1)
    assert (plan.trials, plan.least) == (31, 31)


def test_a_cell_with_too_few_lacks_all_up_to_max(load_hot: Matrix) -> None:
    """28 of 28 are not: up to 22 more will run, since more trials are wanted; at least one."""
    plan, todo = planned(load_hot, known(28, 0), WANTED)
    assert todo == 22
    assert plan.launches[0].why == {Why.MORE_TRIALS: 22, Why.NEW: 2}
    assert (plan.least, plan.trials, plan.stopped) == (31, 52, 0)


def test_bounds_and_precision_may_change(load_hot: Matrix) -> None:
    """A looser half-width needs nothing more, a tighter one and a higher min top up."""
    cell, progress = hot(load_hot), known(29, 0)

    def todo(trials: int, half_width: float, least: int = 5) -> int:
        until = Precision(half_width=half_width, least=least)
        return (
            TrialBudget(trials=trials, greedy=2, until=until).need(cell, progress).todo.bit_count()
        )

    assert todo(50, 0.1) == todo(50, 0.3) == todo(500, 0.1) == 0
    assert (todo(50, 0.05), todo(300, 0.05), todo(50, 0.1, least=30)) == (21, 271, 21)
    assert todo(29, 0.05) == 0


def test_a_changed_check_decides_anew(load_hot: Matrix) -> None:
    """The same trials with other verdicts may be too few: who has stopped is derived."""
    assert planned(load_hot, known(29, 0), WANTED)[1] == 0
    assert planned(load_hot, known(20, 9), WANTED)[1] == 21


def test_every_set_of_checks_must_know_enough(load_hot: Matrix) -> None:
    """Tests that share their trials share the end: it is that of the one that needs most."""
    sure, unsure = known(30, 0).judged[0], known(15, 15).judged[0]
    cell = hot(load_hot)
    for judged, todo in (((sure, sure), 0), ((sure, unsure), 20), ((unsure, sure), 20)):
        progress = CellProgress(kept=sure.measured, judged=judged)
        assert WANTED.need(cell, progress).todo.bit_count() == todo


def test_without_outcomes_nothing_stops(load_hot: Matrix) -> None:
    """Trials that nobody judged are no reason to stop, and those that raised do not count."""
    cell = hot(load_hot)
    kept = (1 << 40) - 1
    raised = Judged(measured=(1 << 10) - 1, passed=(1 << 10) - 1)
    assert WANTED.need(cell, CellProgress(kept=kept)).todo.bit_count() == 10
    assert WANTED.need(cell, CellProgress(kept=kept, judged=(raised,))).todo.bit_count() == 10


def test_greedy_cells_keep_their_own_number(load_hot: Matrix) -> None:
    """Greedy cells want two trials, however few are known to be enough for others."""
    greedy = next(c for c in load_hot.launches[0].cells if is_greedy(c.point.fields))
    loose = TrialBudget(trials=50, greedy=2, until=Precision(half_width=0.49))
    assert loose.need(greedy, known(1, 0)).todo == 0b10
    assert loose.need(hot(load_hot), known(1, 0)).todo == 0


def test_what_the_request_decides_is_done_with_one(load_hot: Matrix) -> None:
    """One trial stands for the cell; that is no early stop."""
    need = WANTED.need(hot(load_hot), CellProgress(kept=1, stands=True))
    assert need == (0, 1, 1, False)


@given(
    st.integers(0, 60),
    st.integers(0, 60),
    st.integers(1, 120),
    st.integers(1, 120),
    st.floats(0.02, 0.45),
)
def test_what_remains_fits_what_is_known(
    load_hot: Matrix, passed: int, failed: int, least: int, most: int, half_width: float
) -> None:
    """Least ≤ most ≤ max, done and todo add up, and a cell stops exactly where the rule holds."""
    least, most = sorted((least, most))
    total = passed + failed
    if total > most:
        passed, failed = min(passed, most), most - min(passed, most)
        total = most
    until = Precision(half_width=half_width, least=least)
    need = TrialBudget(trials=most, greedy=1, until=until).need(
        hot(load_hot), known(passed, failed)
    )
    assert total <= need.least <= need.most <= most
    assert need.todo.bit_count() + total == need.most
    narrow = sequential_interval(passed, total).half_width <= half_width
    assert need.stopped == (total < most and total >= least and narrow)


def test_any_build_counts_a_trial_once(load_hot: Matrix) -> None:
    """Of two builds that measured one trial the earlier counts; together they may be enough."""
    first = CellProgress(kept=0b0111, judged=(Judged(measured=0b0111, passed=0b0011),))
    then = CellProgress(kept=0b1110, judged=(Judged(measured=0b1110, passed=0b1110),))
    cell = hot(load_hot).id
    history = History(progress={"old": {cell: first}, "now": {cell: then}}, any_build=True)
    (judged,) = history.under(NOW)[cell].judged
    assert (judged.n, judged.passes) == (4, 3)


@pytest.mark.parametrize(
    ("trials", "note"),
    [
        ("{max: 28, until: {half_width: 0.1}}", "takes 29 trials even where all of them pass"),
        ("{max: 29, until: {half_width: 0.1}}", ""),
        ("20", ""),
    ],
)
def test_a_max_that_nothing_can_reach_is_noted(load: Load, trials: str, note: str) -> None:
    """What can never stop early is worth a note, and no error: max may be raised later."""
    wanted = wanted_of(load(EXPERIMENT.replace("TRIALS", trials)).file)
    assert (note in wanted.note) if note else not wanted.note


def test_the_file_and_the_command_line_say_how_many(load: Load) -> None:
    """A number on the command line is a fixed number, whatever the file says."""
    file = load(EXPERIMENT.replace("TRIALS", "{min: 5, max: 50, until: {half_width: 0.1}}")).file
    assert wanted_of(file) == TrialBudget(trials=50, greedy=2, until=UNTIL)
    assert wanted_of(file, 7) == TrialBudget(trials=7, greedy=2)
    assert fewest_trials(UNTIL) == 29
