"""How many trials a cell should have, given what is known of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from matrixbench.plan.requests import is_greedy
from matrixbench.plan.values import label
from matrixbench.stats.betting import fewest_rounds
from matrixbench.stats.sequential import Precision, trials_to_precision

if TYPE_CHECKING:
    from matrixbench.plan.cells import Cell, CellProgress, Judged
    from matrixbench.plan.matrix import Matrix
    from matrixbench.spec.experiment import ExperimentFile


class Need(NamedTuple):
    """What a cell lacks.

    Args:
        todo: Trials that will run, at most: bit i stands for trial i.
        least: Trials that it will have in the end, at least.
        most: Trials that it will have in the end, at most.
        stopped: It has enough, though fewer than it could have.
    """

    todo: int
    least: int
    most: int
    stopped: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class UntilGate:
    """A comparison that ends the trials of all cells once it is decided.

    Args:
        baseline: What is compared with what: `AXIS=VALUE`.
        max_drop: The drop of the mean success ratio that it allows, 0 … 1.
        least: Rounds after which it is first looked at; a round is one trial of every cell.
    """

    baseline: str
    max_drop: float
    least: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """How many trials a cell should have.

    Args:
        trials: Trials per cell; where `until` or `gate` is given, at most.
        greedy: Trials per cell whose sampling is greedy; never more than `trials`.
        until: When fewer are enough of a cell; greedy cells do not ask.
        gate: When fewer are enough of all cells together.
        first: The first round that is run; what earlier ones lack stays lacking.
    """

    trials: int
    greedy: int
    until: Precision | None = None
    gate: UntilGate | None = None
    first: int = 0

    @property
    def adaptive(self) -> bool:
        """Whether what comes out decides how many trials there are."""
        return self.until is not None or self.gate is not None

    def of(self, cell: Cell) -> int:
        """Return how many trials a cell should have at most."""
        return min(self.trials, self.greedy) if is_greedy(cell.point.fields) else self.trials

    def until_of(self, cell: Cell) -> Precision | None:
        """Return when fewer are enough of a cell."""
        return None if self.until is None or is_greedy(cell.point.fields) else self.until

    def need(self, cell: Cell, known: CellProgress) -> Need:
        """Return what a cell lacks, given what is known of it under its build.

        It has enough where every set of checks that judges its trials knows enough of them.
        """
        greedy = is_greedy(cell.point.fields)
        most = min(self.trials, self.greedy) if greedy else self.trials
        if known.stands:
            return Need(0, min(most, 1), min(most, 1), stopped=False)
        todo = (((1 << most) - 1) & ~known.kept) >> self.first << self.first
        done = most - todo.bit_count()
        if self.gate is not None:
            return Need(todo, min(most, max(self.gate.least, done)), most, stopped=False)
        if self.until is None or greedy or not todo:
            return Need(todo, most, most, stopped=False)
        if _enough(self.until, known.judged):
            return Need(0, done, done, stopped=True)
        return Need(todo, min(most, max(fewest_trials(self.until), done + 1)), most, stopped=False)

    @property
    def note(self) -> str:
        """What should be known of a number of trials that makes no sense; empty for one that does.

        It is no mistake in the file: `max` may be raised later.
        """
        if self.gate is not None and self.gate.least > self.trials:
            return (
                f"the gate cannot end the trials early: without any difference it takes "
                f"{self.gate.least:,} rounds, and max is {self.trials:,}"
            )
        if self.until is None or (fewest := fewest_trials(self.until)) <= self.trials:
            return ""
        return (
            f"no cell can stop early: a half-width of {self.until.half_width:g} takes {fewest:,} "
            f"trials even where all of them pass, and max is {self.trials:,}"
        )


def wanted_of(file: ExperimentFile, trials: int | None = None) -> Wanted:
    """Return how many trials an experiment asks for; `trials` is a number that overrides it."""
    asked = trials or file.trials
    if isinstance(asked, int):
        return Wanted(trials=asked, greedy=file.greedy_trials)
    wanted = Wanted(trials=asked.max, greedy=file.greedy_trials)
    half_width, gate = asked.until.half_width, asked.until.gate
    if gate is not None:
        ((axis, value),) = gate.baseline.items()
        baseline = f"{axis}={label(value)}"
        until_gate = UntilGate(baseline=baseline, max_drop=gate.max_drop, least=asked.min)
        return replace(wanted, gate=until_gate)
    # The file's rules ask for one of the two.
    assert half_width is not None  # noqa: S101
    return replace(wanted, until=Precision(half_width=half_width, least=asked.min))


def looking_first(wanted: Wanted, matrix: Matrix) -> Wanted:
    """Return how many trials are wanted where the gate is first looked at when it can be decided.

    That is where the two sides do not differ at all; `min` may put it off further.
    """
    if wanted.gate is None:
        return wanted
    sampled = {
        id(cell.test)
        for group in matrix.launches
        for cell in group.cells
        if not is_greedy(cell.point.fields)
    }
    rounds = fewest_rounds(len(sampled), wanted.gate.max_drop) if sampled else 1
    least = max(wanted.gate.least, rounds or _MOST)
    return replace(wanted, gate=replace(wanted.gate, least=least))


@lru_cache(maxsize=65536)
def _enough(until: Precision, judged: tuple[Judged, ...]) -> bool:
    """Return whether trials are enough; of a million cells most are known alike."""
    return bool(judged) and all(until.reached(one.passes, one.n) for one in judged)


@lru_cache(maxsize=64)
def fewest_trials(until: Precision) -> int:
    """Return how many trials are enough where all of them pass."""
    found = trials_to_precision(1.0, half_width=until.half_width, most=_MOST)
    return max(until.least, found or _MOST)


_MOST = 10**7
"""More than anybody waits for."""
