"""Which sampling leaves no choice, so that repeats say nothing new."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from matrixbench.plan.matrix import build_matrix, is_greedy
from matrixbench.plan.planner import wanted_of

if TYPE_CHECKING:
    from matrixbench.records import JsonObject
    from tests.conftest import Load

EXPERIMENT = """
name: demo
trials: 30
backends: {s: {kind: scripted, replies: [a]}}
sampling: {top_k: [1, 2], temperature: [1.5]}
tests:
  - {name: hi, messages: [{role: user, content: hi}], expect: [{content: a}]}
  - {name: own, messages: [{role: user, content: ho}], request: {top_k: 1}, expect: [{content: a}]}
"""


@pytest.mark.parametrize(
    ("fields", "greedy"),
    [
        ({"temperature": 0}, True),
        ({"temperature": 0.0, "top_k": 40}, True),
        ({"top_k": 1}, True),
        ({"top_k": 1, "temperature": 1.5}, True),
        ({"top_k": 2, "temperature": 1.5}, False),
        ({"top_k": 0}, False),
        ({"temperature": 0.01}, False),
        ({"top_p": 0.0}, False),
        ({}, False),
    ],
)
def test_temperature_0_and_top_k_1_are_greedy(fields: JsonObject, greedy: bool) -> None:
    """One token to choose from leaves no choice, however hot; anything else leaves one."""
    assert is_greedy(fields) is greedy


def test_a_greedy_cell_is_asked_for_greedy_trials(load: Load) -> None:
    """`top_k: 1` of the grid or of the test itself: two trials, and never more."""
    experiment = load(EXPERIMENT)
    wanted = wanted_of(experiment.file)
    planned = {
        (cell.test.name, cell.point.fields["top_k"]): wanted.of(cell)
        for cell in build_matrix(experiment).launches[0].cells
    }
    assert planned == {("hi", 1): 2, ("hi", 2): 30, ("own", 1): 2}
