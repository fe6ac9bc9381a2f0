"""Which cells `try` sends a trial of: one for each test that was named."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from matrixbench.errors import NothingSelectedError, UsageError
from matrixbench.execution.planning import nothing_in_file
from matrixbench.plan.axes import axis_values, known_axes, known_handles
from matrixbench.plan.matrix import build_matrix
from matrixbench.plan.selector import parse_where
from matrixbench.spec.matching import fits, is_glob
from matrixbench.spec.wording import choose, listed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matrixbench.plan.cells import Cell, NotApplicable
    from matrixbench.plan.matrix import Matrix
    from matrixbench.spec.load import Experiment, TestCase


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Choice:
    """The cells that were chosen, and what else would have fitted.

    Args:
        cells: The first cell of each test, those of one launch together.
        matching: How many cells fit.
        differing: Axis → its values, where the cells that fit have several.
        aside: Of each test without a cell, one that does not apply.
    """

    cells: tuple[Cell, ...]
    matching: int
    differing: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    aside: tuple[NotApplicable, ...] = ()


def choose_cells(experiment: Experiment, tests: Sequence[str], where: Sequence[str]) -> Choice:
    """Return the first cell of each test that is named.

    Args:
        experiment: The experiment.
        tests: Names of tests, or globs; may be empty where there is only one test.
        where: Selector expressions; all must hold.

    Raises:
        UsageError: There is no such test, none is named, or a selector is wrong.
        NothingSelectedError: No cell is selected, or none of the selected ones applies.
        SpecError: The matrix is too large.
    """
    named = replace(experiment, tests=_named(experiment, tests))
    handles = known_handles(experiment)
    matrix = build_matrix(named, parse_where(where, known_axes(experiment), handles=handles))
    first: dict[int, Cell] = {}
    for group in matrix.launches:
        for cell in group.cells:
            first.setdefault(id(cell.test), cell)
    aside = _aside(matrix, {cell.test.name for cell in first.values()})
    if not first:
        raise _nothing(experiment, aside, where)
    places = {id(group.launch): place for place, group in enumerate(matrix.launches)}
    cells = [first[id(test)] for test in named.tests if id(test) in first]
    return Choice(
        cells=tuple(sorted(cells, key=lambda cell: places[id(cell.launch)])),
        matching=matrix.cells,
        differing=_differing(matrix),
        aside=aside,
    )


def choose_test(experiment: Experiment, tests: Sequence[str], where: Sequence[str]) -> TestCase:
    """Return the one test that is meant; without a selector, whether it applies or not.

    Raises:
        UsageError: There is no such test, several are meant, or a selector is wrong.
        NothingSelectedError: The selector leaves no cell.
        SpecError: The matrix is too large.
    """
    named = _named(experiment, tests)
    if where:
        named = tuple(cell.test for cell in choose_cells(experiment, tests, where).cells)
    if len(named) > 1:
        raise UsageError(
            f"a reply is judged by the checks of one test, and {len(named)} are meant",
            where=str(experiment.path),
            hint=f"choose with --test or --where: {listed(test.name for test in named)}",
        )
    return named[0]


def marks_of_all(experiment: Experiment, where: Sequence[str]) -> tuple[str, ...]:
    """Return the marks of reasoning that are taken out of every selected launch's replies.

    A saved reply is no launch's. Where launches differ, none is taken out: a note tells of them.

    Raises:
        UsageError: A selector is wrong.
        SpecError: The matrix is too large.
    """
    handles = known_handles(experiment)
    selector = parse_where(where, known_axes(experiment), handles=handles)
    groups = build_matrix(experiment, selector).launches
    marks = {group.launch.reasoning_marks for group in groups}
    return marks.pop() if len(marks) == 1 else ()


def _named(experiment: Experiment, patterns: Sequence[str]) -> tuple[TestCase, ...]:
    names = list(dict.fromkeys(test.name for test in experiment.tests))
    if not patterns:
        if len(experiment.tests) == 1:
            return experiment.tests
        raise UsageError(
            "which test is to be tried?",
            where=str(experiment.path),
            hint=f"name one with --test, or several with a glob: {listed(names)}",
        )
    for pattern in patterns:
        if not any(fits(pattern, name) for name in names):
            what = "no test matches" if is_glob(pattern) else "there is no test"
            raise UsageError(
                f"{what} «{pattern}»",
                where=str(experiment.path),
                hint=choose(pattern, names, what="its tests"),
            )
    return tuple(
        test for test in experiment.tests if any(fits(pattern, test.name) for pattern in patterns)
    )


def _aside(matrix: Matrix, applicable: set[str]) -> tuple[NotApplicable, ...]:
    found: dict[str, NotApplicable] = {}
    for point in matrix.not_applicable:
        if (test := point.coordinates["test"]) not in applicable:
            found.setdefault(test, point)
    return tuple(found.values())


def _differing(matrix: Matrix) -> dict[str, Sequence[Any]]:
    values = axis_values(cell.coordinates() for group in matrix.launches for cell in group.cells)
    return {
        axis: several
        for axis, several in values.items()
        if len(several) > 1 and axis != "test" and not axis.startswith("parameters.")
    }


def _nothing(
    experiment: Experiment, aside: Sequence[NotApplicable], where: Sequence[str]
) -> NothingSelectedError:
    if not aside:
        return nothing_in_file(experiment, where)
    names = listed(point.coordinates["test"] for point in aside)
    return NothingSelectedError(
        f"not applicable: {names}: {aside[0].reason}",
        where=str(experiment.path),
        hint=aside[0].hint,
    )
