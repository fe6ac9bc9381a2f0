"""What is counted of one cell's trials, and which of them count."""

from __future__ import annotations

from matrixbench.records import Outcome
from matrixbench.results.tally import tallied
from tests.results.cells import attempts


def test_what_errored_is_no_verdict() -> None:
    """Neither as passed nor as failed, for totals and comparisons; what was rejected failed."""
    tally = tallied(attempts("c", "pefr"))
    assert tally.trials == 3
    assert tally.by_trial() == "1-00"
    assert tally.by_seed() == {1: True, 3: False, 4: False}
    assert tally.by_seed(one=True) == {1: True}
    assert tally.unmeasured == 0b10
    assert sorted(tally.replies) == [0, 2, 3]
    assert tally.outcomes[Outcome.ERRORED] == 1
    assert sum(tally.errors.values()) == 1
    assert sum(tally.failures.values()) == 2
