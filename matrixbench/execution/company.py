"""What the checks `same_as` of a trial by itself need: the other cell's reply, asked for first."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, TypeAlias

from matrixbench.checks.reasoning import taken_apart
from matrixbench.checks.verdicts import UnjudgeableError
from matrixbench.identity import canonical_json
from matrixbench.plan.applicability import Obstacle
from matrixbench.plan.matrix import build_matrix
from matrixbench.plan.partners import Partners
from matrixbench.records import ChatReply, Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from matrixbench.checks.judge import Checks
    from matrixbench.checks.verdicts import Reference
    from matrixbench.plan.cells import Cell
    from matrixbench.records import Refusal
    from matrixbench.spec.load import Experiment, TestCase

Place: TypeAlias = str
"""A cell's coordinates as text: two matrices of one experiment have no cell in common."""


@dataclass(slots=True, eq=False)
class Company:
    """Cells that are tried, those that they are compared with, and what each answered.

    Args:
        cells: All of them, each after those that it is compared with.
        checks: Returns a test's checks.
        added: Those that are there for comparison alone.
        compared: Place → key of a `same_as` → the other cell, or why there is none.
        heard: Place → what was answered there.
    """

    cells: list[Cell]
    checks: Callable[[TestCase], Checks]
    added: list[Cell] = field(default_factory=list)
    compared: dict[Place, dict[str, Cell | Obstacle]] = field(default_factory=dict)
    heard: dict[Place, ChatReply | Refusal] = field(default_factory=dict)

    def reference(self, cell: Cell) -> Reference:
        """Return what looks up the replies that a cell's own is compared with."""

        def reference(key: str) -> ChatReply:
            other = self.compared[place_of(cell)][key]
            if isinstance(other, Obstacle):
                raise UnjudgeableError(Kind.NO_REFERENCE, other.reason)
            answer = self.heard.get(place_of(other))
            if not isinstance(answer, ChatReply):
                reason = f"{other.launch.name} gave no reply to compare with"
                raise UnjudgeableError(Kind.NO_REFERENCE, reason)
            return taken_apart(answer, other.launch.reasoning_marks)

        return reference


def place_of(cell: Cell) -> Place:
    """Return where a cell stands, as text."""
    return canonical_json(cell.coordinates())


def in_company(
    experiment: Experiment, cells: Sequence[Cell], checks: Callable[[TestCase], Checks]
) -> Company:
    """Return cells with those that their checks compare with, which come first.

    Args:
        experiment: The experiment.
        cells: The cells that are to be tried.
        checks: Returns a test's checks.
    """
    comparing = [cell for cell in cells if checks(cell.test).compares]
    if not comparing:
        return Company(cells=list(cells), checks=checks)
    matrix = build_matrix(experiment)
    partners = Partners(chain.from_iterable(group.cells for group in matrix.launches))

    def compared(cell: Cell) -> dict[str, Cell | Obstacle]:
        axes = checks(cell.test).compares
        return {key: partners.of(cell, named) for key, named in axes.items()}

    tried = {place_of(cell) for cell in cells}
    others = {
        place: other
        for cell in comparing
        for other in compared(cell).values()
        if not isinstance(other, Obstacle) and (place := place_of(other)) not in tried
    }
    alone = [cell for cell in cells if not checks(cell.test).compares]
    return Company(
        cells=[*others.values(), *alone, *comparing],
        checks=checks,
        added=list(others.values()),
        compared={place_of(cell): compared(cell) for cell in (*others.values(), *comparing)},
    )
