"""Pairs of one cell under two builds."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias

from matrixbench.comparison.values import Candidate
from matrixbench.errors import UsageError
from matrixbench.pairing.sides import alone, pair_of, sides_of

if TYPE_CHECKING:
    from collections.abc import Sequence

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
        listed = ", ".join(sorted({build for _, _, build in _runs(store)}))
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
            replace(cell, square=replace(cell.square, build=earlier[_launch(cell)]))
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
    have one digest. A launch that was renamed is found by its digest alone, other backends'
    present builds left out.
    """
    launches = {_launch(cell) for cell in results.cells}
    shown = {build for _, _, build in launches}
    runs = _runs(store)
    found: dict[_Launch, str] = {}
    for name, digest, present in launches:
        if present is None:
            continue
        fitting = [
            (run_name, build)
            for run_name, run_digest, build in runs
            if run_digest == digest
            and build != present
            and (value == PREVIOUS or build.startswith(value))
        ]
        by_name = [build for run_name, build in fitting if run_name == name]
        others = [build for _, build in fitting if build not in shown]
        if by_name or others:
            found[name, digest, present] = (by_name or others)[0]
    return found


def _runs(store: Store) -> list[tuple[str, str, str]]:
    """Return name, digest and build of every launch run that had a build, newest first."""
    return [
        (launch.record.name, launch.record.digest, launch.record.build.id)
        for launch in reversed(store.launches())
        if launch.record.build is not None
    ]


def _short(builds: Sequence[str]) -> str:
    return ", ".join(build[:8] for build in builds)
