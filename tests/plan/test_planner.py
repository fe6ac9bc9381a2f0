"""The plan: what is done, what remains, and why."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from matrixbench.plan.cells import CellProgress, PresentBuild, Why
from matrixbench.plan.launches import file_details
from matrixbench.plan.matrix import build_matrix, is_greedy
from matrixbench.plan.planner import History, Plan, TrialBudget, launch_work, plan_matrix
from matrixbench.records import Build

if TYPE_CHECKING:
    from matrixbench.plan.matrix import Matrix
    from tests.conftest import Load

NOW = Build(id="now", kind="llama-server", server="s2", model="m1")
OLD_SERVER = Build(id="old-server", kind="llama-server", server="s1", model="m1")
OLD_MODEL = Build(id="old-model", kind="llama-server", server="s2", model="m0")
BUILDS = {build.id: build for build in (NOW, OLD_SERVER, OLD_MODEL)}
WANTED = TrialBudget(trials=4, greedy=2)
EXPERIMENT = """
name: demo
backends: {s: {kind: llama-server}}
models: {a: {gguf: a.gguf}}
sampling: {temperature: [0, 1]}
tests:
  - {name: hi, messages: [{role: user, content: hi}], expect: [{content: {contains: a}}]}
"""


def planned(matrix: Matrix, history: History, *, wanted: TrialBudget = WANTED) -> Plan:
    """Return the plan under the present build."""
    here = PresentBuild(build=NOW, verified=True)
    builds = {group.launch.name: here for group in matrix.launches}
    return plan_matrix("demo", matrix, wanted=wanted, history=history, builds=builds)


def progress(
    matrix: Matrix, build: str, hot: CellProgress, greedy: CellProgress | None = None
) -> History:
    """Return a history of the hot cell, and of the greedy one where it is given."""
    cells = {}
    for cell in matrix.launches[0].cells:
        known = greedy if is_greedy(cell.point.fields) else hot
        if known is not None:
            cells[cell.id] = known
    return History(progress={build: cells}, builds=BUILDS)


def test_nothing_done_is_all_new(load: Load) -> None:
    """Greedy cells want fewer trials; all of them are new."""
    plan = planned(build_matrix(load(EXPERIMENT)), History())
    assert (plan.cells, plan.trials, plan.done, plan.remaining) == (2, 6, 0, 6)
    assert plan.launches[0].why == {Why.NEW: 6}
    assert plan.server_starts == 1
    assert plan.estimate_s is None


def test_what_is_kept_does_not_run_again(load: Load) -> None:
    """Trials 0 and 2 are kept; 1 and 3 run, since more trials are wanted."""
    matrix = build_matrix(load(EXPERIMENT))
    history = progress(matrix, "now", CellProgress(kept=0b101), CellProgress(kept=0b11))
    plan = planned(matrix, history)
    assert (plan.done, plan.remaining) == (4, 2)
    assert plan.launches[0].why == {Why.MORE_TRIALS: 2}
    work = list(launch_work(matrix.launches[0].cells, NOW, wanted=WANTED, history=history))
    assert [item.todo for item in work] == [0b1010]


def test_reasons_are_told_apart(load: Load) -> None:
    """Errored attempts, timeouts under a shorter limit and missing trials have their own."""
    matrix = build_matrix(load(EXPERIMENT))
    hot = CellProgress(kept=0b0001, errored=0b0010, short=0b0100)
    plan = planned(matrix, progress(matrix, "now", hot, CellProgress(kept=0b11)))
    assert plan.launches[0].why == {
        Why.ERRORED: 1,
        Why.TIMEOUT_RAISED: 1,
        Why.MORE_TRIALS: 1,
    }


def test_a_changed_server_or_model_is_named(load: Load) -> None:
    """What ran under another build runs again, for the reason that differs."""
    matrix = build_matrix(load(EXPERIMENT))
    done = CellProgress(kept=0b1111)
    assert planned(matrix, progress(matrix, "old-server", done, done)).launches[0].why == {
        Why.SERVER_CHANGED: 6
    }
    assert planned(matrix, progress(matrix, "old-model", done, done)).launches[0].why == {
        Why.MODEL_CHANGED: 6
    }


def test_a_changed_file_of_an_option_is_named(load: Load) -> None:
    """The reason is neither the server nor the model, and the plan says which file it is."""
    matrix = build_matrix(load(EXPERIMENT))

    def build(name: str, content: str) -> Build:
        details = file_details("s2", {"lora ./a.gguf": content, "mmproj p": "same"})
        return Build(id=name, kind="llama-server", server=name, model="m1", details=details)

    now, then = build("trained-again", "2"), build("before", "1")
    unknown = Build(id="older", kind="llama-server", server="s2", model="m1")

    def plan_after(old: Build) -> Plan:
        here = PresentBuild(build=now, verified=True, last=old)
        history = progress(matrix, old.id, CellProgress(kept=0b1111), CellProgress(kept=0b11))
        history = replace(history, builds={**BUILDS, now.id: now, old.id: old})
        builds = {group.launch.name: here for group in matrix.launches}
        return plan_matrix("demo", matrix, wanted=WANTED, history=history, builds=builds)

    changed = plan_after(then)
    assert changed.launches[0].why == {Why.FILES_CHANGED: 6}
    assert changed.notes == (
        "s · a · native: what is in lora ./a.gguf has changed since it was measured",
    )
    assert plan_after(unknown).launches[0].why == {Why.FILES_UNKNOWN: 6}
    assert plan_after(OLD_SERVER).launches[0].why == {Why.SERVER_CHANGED: 6}


def test_a_fresh_start_runs_everything(load: Load) -> None:
    """The reason is the fresh start, whatever the store holds."""
    plan = planned(build_matrix(load(EXPERIMENT)), History(fresh=True))
    assert plan.launches[0].why == {Why.FRESH: 6}


def test_one_trial_stands_where_the_request_alone_decides(load: Load) -> None:
    """A cell that the template rejects is done with one trial."""
    matrix = build_matrix(load(EXPERIMENT))
    stands = CellProgress(kept=0b1, stands=True)
    plan = planned(matrix, progress(matrix, "now", stands, stands))
    assert (plan.trials, plan.done, plan.remaining) == (2, 2, 0)


def test_equal_backends_share_their_trials(load: Load) -> None:
    """Two backends of one build and the same options count once, and the plan says so."""
    matrix = build_matrix(
        load(
            EXPERIMENT.replace(
                "{s: {kind: llama-server}}",
                "{s: {kind: llama-server}, t: {kind: llama-server}, "
                "u: {kind: llama-server, replica: 2}}",
            )
        )
    )
    plan = planned(matrix, History())
    assert [launch.remaining for launch in plan.launches] == [6, 0, 6]
    assert plan.launches[1].shared_with == plan.launches[0].launch.name
    assert plan.server_starts == 2


def test_tests_that_send_the_same_share_their_trials(load: Load) -> None:
    """Two tests that differ in their checks alone are two cells and one set of trials."""
    matrix = build_matrix(
        load(
            EXPERIMENT
            + "  - {name: ho, messages: [{role: user, content: hi}], expect: [{content: b}]}\n"
        )
    )
    plan = planned(matrix, History())
    assert (plan.cells, plan.trials) == (4, 6)


def test_time_is_estimated_from_earlier_trials(load: Load) -> None:
    """Mean latency times what remains, over the requests at a time."""
    matrix = build_matrix(load(EXPERIMENT))
    durations = {cell.id: 2.0 for cell in matrix.launches[0].cells}
    plan = planned(matrix, History(durations=durations))
    assert plan.estimate_s == 6 * 2.0 / 4


def test_without_a_build_nothing_counts_and_nothing_is_verified(load: Load) -> None:
    """A launch whose build is unknown is planned all the same."""
    matrix = build_matrix(load(EXPERIMENT))
    plan = plan_matrix("demo", matrix, wanted=WANTED, history=History(), builds={})
    assert plan.remaining == 6
    assert not plan.verified


@given(
    kept=st.integers(0, 2**8 - 1),
    errored=st.integers(0, 2**8 - 1),
    trials=st.integers(1, 8),
)
def test_done_and_remaining_add_up(load_hot: Matrix, kept: int, errored: int, trials: int) -> None:
    """Whatever is kept, done plus remaining is what is wanted, and the reasons explain it all."""
    wanted = TrialBudget(trials=trials, greedy=trials)
    known = CellProgress(kept=kept, errored=errored & ~kept)
    history = progress(load_hot, "now", known, known)
    plan = planned(load_hot, history, wanted=wanted)
    assert plan.done + plan.remaining == plan.trials == 2 * trials
    todo = launch_work(load_hot.launches[0].cells, NOW, wanted=wanted, history=history)
    assert sum(item.todo.bit_count() for item in todo) == plan.remaining


def test_any_build_accepts_what_another_build_has_done(load: Load) -> None:
    """What any build has kept counts; a trial that another one errored is not missing."""
    matrix = build_matrix(load(EXPERIMENT))
    cells = [cell.id for cell in matrix.launches[0].cells]
    history = History(
        progress={
            "old-server": {cell: CellProgress(kept=0b0011) for cell in cells},
            "now": {cell: CellProgress(kept=0b0100, errored=0b0001) for cell in cells},
        },
        builds=BUILDS,
        any_build=True,
    )
    plan = planned(matrix, history)
    assert (plan.done, plan.remaining) == (5, 1)
    work = list(launch_work(matrix.launches[0].cells, NOW, wanted=WANTED, history=history))
    assert [item.todo for item in work] == [0b1000]
