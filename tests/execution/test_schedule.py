"""The order in which trials are sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matrixbench.execution.trials import interleave
from matrixbench.plan.matrix import build_matrix
from matrixbench.plan.planner import CellWork

if TYPE_CHECKING:
    from matrixbench.plan.cells import Cell
    from tests.conftest import Load

EXPERIMENT = """
name: demo
backends: {fake: {kind: scripted, replies: [a]}}
sampling: {temperature: [0.1, 0.2, 0.3]}
tests:
  - {name: hi, messages: [{role: user, content: hi}], expect: [{content: a}]}
  - {name: ho, messages: [{role: user, content: ho}], expect: [{content: a}]}
"""


def cells(load: Load) -> list[Cell]:
    """Return the six cells."""
    return build_matrix(load(EXPERIMENT)).launches[0].cells


def test_trials_come_in_rounds(load: Load) -> None:
    """Trial 1 of any cell comes after trial 0 of every cell, and each trial comes once."""
    tasks = list(interleave([CellWork(cell, 0b111) for cell in cells(load)], seed=1))
    assert [task.trial for task in tasks] == [0] * 6 + [1] * 6 + [2] * 6
    assert len({(task.cell.id, task.trial) for task in tasks}) == 18
    assert [task.order for task in tasks] == list(range(18))


def test_equal_prompts_stay_together(load: Load) -> None:
    """Within a round the cells of one test follow each other, for the prompt cache."""
    tasks = list(interleave([CellWork(cell, 0b11) for cell in cells(load)], seed=1))
    for start in range(0, 12, 3):
        assert len({task.cell.test.name for task in tasks[start : start + 3]}) == 1


def test_only_what_is_to_do_is_sent(load: Load) -> None:
    """A trial whose bit is not set is left out."""
    work = [CellWork(cells(load)[0], 0b101)]
    assert [task.trial for task in interleave(work, seed=1)] == [0, 2]


def test_a_seed_repeats_its_order(load: Load) -> None:
    """The same seed gives the same order, another one another."""
    work = [CellWork(cell, 0b1111) for cell in cells(load)]

    def order(seed: int) -> list[str]:
        return [task.cell.id for task in interleave(work, seed)]

    assert order(1) == order(1)
    assert order(1) != order(2)


def rounds(work: list[CellWork]) -> dict[int, list[str]]:
    """Return trial → the cells in the order in which it is sent."""
    found: dict[int, list[str]] = {}
    for task in interleave(work, seed=1):
        found.setdefault(task.trial, []).append(task.cell.id)
    return found


def test_each_round_has_an_order_of_its_own(load: Load) -> None:
    """No cell comes first in every round: what the first one pays would be its own."""
    orders = rounds([CellWork(cell, 0b11111111) for cell in cells(load)])
    assert len({tuple(order) for order in orders.values()}) > 4
    assert len({order[0] for order in orders.values()}) > 2


def test_a_round_is_shuffled_by_its_own_index(load: Load) -> None:
    """A run that goes on sends round 2 in the order in which it would have been sent at once."""
    at_once = rounds([CellWork(cell, 0b1111) for cell in cells(load)])
    for trial in range(4):
        alone = rounds([CellWork(cell, 1 << trial) for cell in cells(load)])
        assert alone == {trial: at_once[trial]}
