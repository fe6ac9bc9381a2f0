"""In which order the trials of a launch are sent."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from matrixbench.plan.cells import Cell
    from matrixbench.plan.planner import CellWork


@dataclass(frozen=True, slots=True)
class Task:
    """One trial to be sent: its cell, its index in the cell, its place in the launch's order."""

    cell: Cell
    trial: int
    order: int


def interleave(work: Sequence[CellWork], seed: int) -> Iterator[Task]:
    """Yield a launch's trials in rounds: trial 0 of every cell, then trial 1, and so on.

    Drift of the machine thereby hits all cells alike, and a run that is cut off shows the whole
    map. Within a round the order is shuffled by `seed`, with the cells of one test kept together:
    they share their prompt, so that the server's prompt cache still serves.
    """
    order = 0
    rounds = max((item.todo.bit_length() for item in work), default=0)
    for trial in range(rounds):
        tests: dict[int, list[Cell]] = {}
        for item in work:
            if item.todo >> trial & 1:
                tests.setdefault(id(item.cell.test), []).append(item.cell)
        random = Random(f"{seed}/{trial}")  # noqa: S311  an order, not a secret
        groups = list(tests.values())
        random.shuffle(groups)
        for cells in groups:
            random.shuffle(cells)
            for cell in cells:
                yield Task(cell, trial, order)
                order += 1
