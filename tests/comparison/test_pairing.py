"""`compare` from Python, as docs/comparing.md shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import matrixbench as mb
from matrixbench.comparison.pairs import compare
from matrixbench.errors import NothingSelectedError, UsageError

if TYPE_CHECKING:
    from tests.conftest import Load

EXPERIMENT = """
name: demo
trials: 40
backends:
  candidate: {kind: scripted, replies: {hard: [Paris, x], "*": [Paris]}}
  baseline: {kind: scripted, replies: [Paris]}
tests:
  - {name: hard, messages: [{role: user, content: a}], expect: [{content: {contains: Paris}}]}
  - {name: easy, messages: [{role: user, content: b}], expect: [{content: {contains: Paris}}]}
"""


async def test_a_comparison_is_a_value(load: Load) -> None:
    """Candidates with their verdict, and the cells that stand out with their coordinates."""
    experiment = load(EXPERIMENT)
    settings = mb.settings_for(experiment, {})
    await mb.execute(experiment, settings, mode=mb.Mode.NEW)
    found = compare(experiment, settings, baseline="backend=baseline", max_drop=0.1)
    (candidate,) = found.candidates
    culprits = [cell.pair.coordinates for cell in candidate.cells if cell.stands_out]
    assert [point["test"] for point in culprits] == ["hard"]
    assert candidate.overall is not None
    assert candidate.overall.difference.estimate == pytest.approx(-0.25)
    assert found.verdict is candidate.gate.verdict
    easy = compare(experiment, settings, baseline="backend=baseline", where=["test=easy"])
    assert [cell.pair.test for cell in easy.candidates[0].cells] == ["easy"]
    with pytest.raises(UsageError, match="drop"):
        compare(experiment, settings, baseline="backend=baseline", max_drop=-1)


def test_without_a_store_nothing_was_measured(load: Load) -> None:
    """It says what to run first, and makes no store."""
    experiment = load(EXPERIMENT)
    settings = mb.settings_for(experiment, {})
    with pytest.raises(NothingSelectedError, match="nothing has been measured"):
        compare(experiment, settings, baseline="backend=baseline")
    assert not settings.store.exists()
