"""Pairs of one cell under two builds."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias

from matrixbench.comparison.values import Candidate
from matrixbench.errors import UsageError
from matrixbench.pairing.sides import alone, pair_of, sides_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matrixbench.plan.origin import LaunchRun, Origin
    from matrixbench.results import ResultCell, Results
    from matrixbench.store.database import Store

BUILD = "build"
"""Named like an axis, it compares two builds of the same launches."""

PREVIOUS = "previous"
"""The newest build of a launch before the present one."""

_Launch: TypeAlias = "tuple[str, str, str | None]"
"""Name, digest and present build."""


def by_build(results: Results, store: Store, value: str) -> tuple[list[Candidate], str]:
    """Return the present build of the launches as the candidate, and what the baseline is called.

    Args:
        results: The selected cells.
        store: The store.
        value: `previous`, or the beginning of a build's id.

    Raises:
        UsageError: No selected launch has run under such a build.
    """
    earlier = _earlier_builds(results, store, value)
    kept = [cell for cell in results.cells if earlier.get(_launch(cell)) is not None]
    if not kept:
        listed = ", ".join(sorted({run.build for run in store.launch_runs()}))
        raise UsageError(
            "no selected launch has run under an earlier build"
            if value == PREVIOUS
            else f"no selected launch has run under another build «{value}»",
            where=f"--baseline {BUILD}={value}",
            hint=f"the store's builds are {listed}" if listed else "nothing has run yet",
        )
    before = replace(
        results,
        cells=tuple(
            replace(cell, square=replace(cell.square, build=earlier[_launch(cell)], unverified=""))
            for cell in kept
        ),
    )
    sides = sides_of(results, store)
    present = [side for side in sides if earlier.get(_launch(side.cell)) is not None]
    names = sorted({str(side.trials.build) for side in present})
    told = sorted({earlier[_launch(cell)] for cell in kept})
    candidate = Candidate(
        name=f"build {_short(names)}",
        pairs=[
            pair_of(candidate, baseline)
            for candidate, baseline in zip(present, sides_of(before, store), strict=True)
        ],
        alone=[
            alone(side, candidate=True) for side in sides if earlier.get(_launch(side.cell)) is None
        ],
        earlier=True,
    )
    return [candidate], f"build {_short(told)}"


def _launch(cell: ResultCell) -> _Launch:
    return cell.launch, cell.launch_digest, cell.square.build


def _earlier_builds(results: Results, store: Store, value: str) -> dict[_Launch, str]:
    """Return for each launch the newest other build that it ran under, where there is one.

    A launch is known by its digest and its name: two backends that differ only in their binary
    have one digest. A launch that was renamed is found by its digest alone, other backends' names,
    selected or not, and present builds left out. What another experiment ran counts where its
    server was at the same place; older versions did not keep that, so that the name has to do.
    """
    launches = {_launch(cell) for cell in results.cells}
    shown = {build for _, _, build in launches}
    runs = store.launch_runs()
    found: dict[_Launch, str] = {}
    for name, digest, present in launches:
        if present is None:
            continue
        origin = results.origins.get((name, digest))
        fitting = [
            run
            for run in runs
            if run.digest == digest
            and run.build != present
            and (value == PREVIOUS or run.build.startswith(value))
        ]
        by_name = [
            run.build
            for run in fitting
            if run.name == name and _may_be_here(run, results, origin, unknown=True)
        ]
        others = [
            run.build
            for run in fitting
            if (run.name, digest) not in results.origins
            and run.build not in shown
            and _may_be_here(run, results, origin, unknown=False)
        ]
        if by_name or others:
            found[name, digest, present] = (by_name or others)[0]
    return found


def _may_be_here(run: LaunchRun, results: Results, origin: Origin | None, *, unknown: bool) -> bool:
    if run.experiment == results.experiment:
        return True
    if run.origin is None or origin is None:
        return unknown
    return run.origin.same_place(origin)


def _short(builds: Sequence[str]) -> str:
    return ", ".join(build[:8] for build in builds)
