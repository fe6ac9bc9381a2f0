"""Which cells are compared with which, with the trials that each has and was due."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

from matrixbench.comparison.gate import compared, trials_of
from matrixbench.comparison.totals import compare_cells
from matrixbench.comparison.values import (
    MAX_DROP,
    Candidate,
    CellPair,
    GateVerdict,
    Look,
    Looked,
    Missing,
    Trials,
)
from matrixbench.errors import NothingSelectedError, StoreError, UsageError
from matrixbench.identity import canonical_json
from matrixbench.records import Kind, Outcome
from matrixbench.results.tables import opened
from matrixbench.spec.axes import BUILD, TEST, label, same
from matrixbench.spec.wording import choose, nearest_first
from matrixbench.store.rows import KeptLook

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from matrixbench.comparison.data import Comparison
    from matrixbench.execution.settings import Settings
    from matrixbench.plan.cells import LaunchRun
    from matrixbench.results.experiment import Results
    from matrixbench.results.tally import ResultCell, Tally
    from matrixbench.spec.axes import Coordinates
    from matrixbench.spec.load import Experiment
    from matrixbench.store.database import Store

PREVIOUS = "previous"
"""The newest build of a launch before the present one."""

_AT_CHECKS = frozenset({Kind.CHECK_RAISED, Kind.CHECK_TIMEOUT})
"""Why a reply that is there has no verdict: one of the user's own checks is to be mended."""

_LOOKS = (Look.ONCE, Look.ANY)
"""What may be asked for."""


def compare(
    source: Experiment | Results,
    settings: Settings | None = None,
    *,
    baseline: str,
    where: str | Sequence[str] = (),
    max_drop: float = MAX_DROP,
    missing: str = Missing.WORST,
    look: str | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Comparison:
    """Return how cells differ that differ only in what `baseline` names.

    Args:
        source: The experiment, or its results, open already.
        settings: Where an experiment's store is; default: `settings_for(experiment)`.
        baseline: `AXIS=VALUE`: each other value of the axis is a candidate. `build=previous`: the
            build before the present one; `build=ID`: the one whose id begins so.
        where: Selector expressions, of an experiment; all must hold, for both sides.
        max_drop: The drop of the mean success ratio that the gate allows, 0 … 1.
        missing: `worst`: trials without a verdict leave the gate undecided where they could change
            what it says. `ignore`: they are left out.
        look: `once`: the gate decides by one look at what is there. `any`: by bets on the rounds
            that are complete, at which one may look as often as one likes. None: by one look where
            all planned trials are there and none was added after a look, else by bets.
        say: Is told how many replies were judged again.

    Raises:
        UsageError: A selector or `baseline` is wrong, or no two cells differ only in it.
        NothingSelectedError: No cell is selected, or nothing has been measured.
        StoreError: The store cannot be read.
    """
    with opened(source, settings, where, say) as results:
        return compare_results(
            results, baseline=baseline, max_drop=max_drop, missing=missing, look=look
        )


def compare_results(
    results: Results,
    *,
    baseline: str,
    max_drop: float = MAX_DROP,
    missing: str = Missing.WORST,
    look: str | None = None,
    unmeasured: bool = False,
    remember: bool = True,
) -> Comparison:
    """Return what `compare` does, of results that are open.

    Args:
        unmeasured: Whether a comparison is wanted also where no pair was measured on both sides: a
            gate is undecided then.
        remember: Whether the store keeps that these trials were looked at: where a verdict is
            shown.
    """
    axis, value = _asked(baseline, max_drop, missing, look)
    results = _under_present_builds(results)
    found = _by_build(results, value) if axis == BUILD else _by_value(results, axis, value)
    store, (candidates, told) = results.opened_store, found
    candidates = [replace(one, looks=_looks(store, one)) for one in candidates]
    comparison = compare_cells(
        candidates,
        experiment=results.experiment,
        axis=axis,
        baseline=told,
        max_drop=max_drop,
        missing=Missing(missing),
        look=None if look is None else Look(look),
    )
    if not unmeasured and not any(
        cell.trials[0] for result in comparison.candidates for cell in result.cells
    ):
        raise NothingSelectedError(
            "no pair of cells has been measured on both sides",
            hint="run the rest first: matrixbench execute --resume",
        )
    return _remembered(comparison, candidates, store) if remember else comparison


def _asked(baseline: str, max_drop: float, missing: str, look: str | None) -> tuple[str, str]:
    """Return the axis and the value that a baseline names; refuse what cannot be asked for."""
    if not 0 <= max_drop <= 1:
        raise UsageError(
            f"a drop of {max_drop:g} is not between 0 and 1", hint="for example --max-drop 0.1"
        )
    if missing not in set(Missing):
        raise UsageError(
            f"«{missing}» is nothing that can be made of missing trials",
            where="--missing",
            hint=f"write {' or '.join(Missing)}",
        )
    if look is not None and look not in _LOOKS:
        raise UsageError(
            f"«{look}» is no way of looking", where="--look", hint=f"write {' or '.join(_LOOKS)}"
        )
    axis, _, value = (part.strip() for part in baseline.partition("="))
    if not axis or not value:
        raise UsageError(
            f"«{baseline}» names no baseline",
            where="--baseline",
            hint="write AXIS=VALUE, for example --baseline backend=baseline or build=previous",
        )
    return axis, value


def _looks(store: Store, candidate: Candidate) -> list[Looked]:
    """Return the looks that were taken at a candidate's cells."""
    return [
        Looked(
            trials=look.trials,
            max_drop=look.max_drop,
            verdict=GateVerdict(look.verdict),
            at=look.at,
        )
        for look in store.looks(compared(candidate))
    ]


def _remembered(
    comparison: Comparison, candidates: Sequence[Candidate], store: Store
) -> Comparison:
    """Keep the looks that a comparison took; where the store cannot be written it says so."""
    try:
        for candidate, found in zip(candidates, comparison.candidates, strict=True):
            if found.gate.once is not None:
                look = KeptLook(
                    trials=trials_of(candidate),
                    max_drop=found.gate.max_drop,
                    verdict=found.gate.once.value,
                    at=time.time(),
                )
                store.add_look(compared(candidate), look)
    except StoreError:
        return replace(comparison, remembered=False)
    return comparison


def _under_present_builds(results: Results) -> Results:
    """Return the results with each cell under the build that is there now.

    Results may show the build that ran last as long as the present one has not run. A comparison
    must not: it would pass a build that nobody has measured.
    """
    if results.prepared is None:
        return results
    present = {
        (plan.launch.name, plan.launch.digest): plan.build.build.id
        for plan in results.prepared.plan.launches
        if plan.build.build is not None
    }
    builds = [present.get((cell.launch, cell.launch_digest), cell.build) for cell in results.cells]
    if all(cell.build == build for cell, build in zip(results.cells, builds, strict=True)):
        return results
    cells = zip(results.cells, builds, strict=True)
    return replace(results, cells=tuple(replace(cell, build=build) for cell, build in cells))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Side:
    """A cell with its trials."""

    cell: ResultCell
    trials: Trials

    def point(self, axes: Iterable[str]) -> tuple[str, ...]:
        """Return the values of some axes as texts that tell values apart."""
        found = self.cell.coordinates
        return tuple(canonical_json(found[axis]) if axis in found else "missing" for axis in axes)


_Launch: TypeAlias = "tuple[str, str, str | None]"
"""Name, digest and build."""


def _launch(cell: ResultCell) -> _Launch:
    return cell.launch, cell.launch_digest, cell.build


def _sides(results: Results) -> list[_Side]:
    """Return the selected cells with their trials, in the file's order."""
    asked: dict[_Launch, int] = {}
    for cell, tally in results.tallies.items():
        asked[_launch(cell)] = max(tally.asked, asked.get(_launch(cell), 0))
    return [
        _Side(cell=cell, trials=_trials(results, cell, asked[_launch(cell)]))
        for cell in results.cells
    ]


def _trials(results: Results, cell: ResultCell, asked: int) -> Trials:
    """Return the trials of a cell whose launch has been asked so many rounds.

    A launch that was given up has come to all of its rounds: the rest was not left to be asked
    later.
    """
    tally = results.tallies[cell]
    given_up = (cell.launch, cell.launch_digest) in results.given_up
    rounds = cell.planned if given_up else asked
    # One trial stands for the cell: its request was refused for what it is. Where the server has
    # answered the same request as well, that was not the request's fault.
    stands = 0 < tally.trials == tally.outcomes[Outcome.REJECTED] and tally.by_request > 0
    due = range(0 if stands else _due(cell, tally, rounds))
    lacking = [trial for trial in due if not tally.measured >> trial & 1]
    return Trials(
        cell=cell.id,
        build=cell.build,
        passed=tally.by_seed(),
        replies={tally.first_seed + trial: digest for trial, digest in tally.replies.items()},
        by_request=stands,
        missing=frozenset(cell.first_seed + trial for trial in lacking),
        rejected=tally.outcomes[Outcome.REJECTED],
        errored=tally.outcomes[Outcome.ERRORED],
        raised=sum(n for (kind, _), n in tally.errors.items() if kind in _AT_CHECKS),
        never_asked=sum(not tally.unmeasured >> trial & 1 for trial in lacking),
        adaptive=cell.until is not None,
        first_seed=cell.first_seed,
        rounds=0 if stands else rounds,
        common_seeds=cell.luck is not None,
        unverified=cell.unverified if tally.outcomes else "",
        unjudged=cell.unjudged if tally.outcomes else "",
        seeds_ignored="" if cell.greedy or stands else results.seeds_ignored.get(cell.key, ""),
    )


def _due(cell: ResultCell, tally: Tally, rounds: int) -> int:
    """Return how many trials of a cell were due, all that were asked being counted."""
    if cell.until is None or not tally.trials:
        return cell.planned
    n = tally.trials
    if n < cell.planned and cell.until.reached(tally.outcomes[Outcome.PASSED], n):
        return tally.asked
    return min(cell.planned, rounds)


def _pair(candidate: _Side, baseline: _Side) -> CellPair:
    up, down = candidate.cell, baseline.cell
    return CellPair(
        coordinates=up.coordinates,
        test=label(up.coordinates.get(TEST)),
        candidate=candidate.trials,
        baseline=baseline.trials,
        greedy=(up.greedy, down.greedy),
        planned=max(up.planned, down.planned),
    )


def _alone(side: _Side, *, candidate: bool) -> CellPair:
    """Return a cell that one side only has, with an empty other side that lacks every trial."""
    has = side.trials
    lacks = Trials(
        cell="",
        build=None,
        missing=frozenset({*has.passed, *has.missing}),
        adaptive=has.adaptive,
        first_seed=has.first_seed,
        rounds=has.reached,
        common_seeds=has.common_seeds,
    )
    other = replace(side, trials=lacks)
    return _pair(side, other) if candidate else _pair(other, side)


def _by_value(results: Results, axis: str, value: str) -> tuple[list[Candidate], str]:
    """Return a candidate for each other value of an axis, and the baseline as the file writes it.

    Raises:
        UsageError: The axis or the value is not there, is the only one, or no two cells pair.
    """
    known = {name for cell in results.cells for name in cell.coordinates}
    if axis not in known:
        raise UsageError(
            f"no selected cell has the axis «{axis}»",
            where="--baseline",
            hint=choose(axis, [*sorted(known), BUILD], what="the axes"),
        )
    groups: dict[str, list[_Side]] = defaultdict(list)
    for side in _sides(results):
        if axis in side.cell.coordinates:
            groups[label(side.cell.coordinates[axis])].append(side)
    told = next(
        (name for name, group in groups.items() if _is(group[0].cell.coordinates[axis], value)),
        None,
    )
    listed = choose(value, nearest_first(value, groups), what=f"the values of {axis}")
    if told is None:
        raise UsageError(f"{axis} has no value «{value}»", where="--baseline", hint=listed)
    if len(groups) == 1:
        raise UsageError(
            f"{told} is the only selected value of {axis}: there is nothing to compare it with",
            where="--baseline",
            hint="let --where select the other values too",
        )
    base = groups.pop(told)
    candidates = [
        found for name, group in groups.items() for found in _against(base, name, group, axis)
    ]
    if not any(candidate.pairs for candidate in candidates):
        raise UsageError(
            f"no two cells differ only in {axis}", where=f"--baseline {axis}={value}", hint=listed
        )
    return candidates, told


def _is(value: object, text: str) -> bool:
    try:
        read = json.loads(text)
    except ValueError:
        read = text
    return label(value) == text or same(read, value)


def _against(
    base: Sequence[_Side], name: str, group: Sequence[_Side], axis: str
) -> Iterator[Candidate]:
    """Yield the candidates of one value.

    Axes that only one side has (a backend's own options, say) belong to what is compared: each of
    the candidate's own points is a candidate by itself, the baseline may have one only.
    """
    axes_down, axes_up = _axes(base), _axes(group)
    common = [other for other in axes_down if other in axes_up and other != axis]
    own = [other for other in axes_up if other not in axes_down]
    partners: dict[tuple[str, ...], _Side] = {}
    for side in base:
        first = partners.setdefault(side.point(common), side)
        if first is not side:
            raise _several(first.cell.coordinates, side.cell.coordinates, axis)
    points: dict[tuple[str, ...], list[_Side]] = defaultdict(list)
    for side in group:
        points[side.point(own)].append(side)
    varying = [
        other for place, other in enumerate(own) if len({point[place] for point in points}) > 1
    ]
    for sides in points.values():
        coordinates = sides[0].cell.coordinates
        parts = [f"{other}={label(coordinates.get(other))}" for other in varying]
        mine = [(side.point(common), side) for side in sides]
        taken = {point for point, _ in mine}
        yield Candidate(
            name=" · ".join([name, *parts]),
            pairs=[_pair(side, partners[point]) for point, side in mine if point in partners],
            alone=[
                *(_alone(side, candidate=True) for point, side in mine if point not in partners),
                *(
                    _alone(side, candidate=False)
                    for point, side in partners.items()
                    if point not in taken
                ),
            ],
        )


def _axes(sides: Iterable[_Side]) -> dict[str, None]:
    return {axis: None for side in sides for axis in side.cell.coordinates}


def _several(one: Coordinates, other: Coordinates, axis: str) -> UsageError:
    apart = next((name for name in other if one.get(name) != other[name]), axis)
    return UsageError(
        f"the baseline has several cells for one of a candidate: they differ in {apart}, which the "
        "candidate does not have",
        where="--baseline",
        hint=f"choose one, for example --where '{axis}!={label(other[axis])} or "
        f"{apart}={label(other.get(apart))}'",
    )


def _by_build(results: Results, value: str) -> tuple[list[Candidate], str]:
    """Return the present build of the launches as the candidate, and what the baseline is called.

    Args:
        value: `previous`, or the beginning of a build's id.

    Raises:
        UsageError: No selected launch has run under such a build.
    """
    runs = results.opened_store.launch_runs()
    earlier = _earlier_builds(results, runs, value)
    if not earlier:
        listed = ", ".join(sorted({run.build for run in runs}))
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
            replace(cell, build=earlier[_launch(cell)], unverified="")
            for cell in results.cells
            if _launch(cell) in earlier
        ),
    )
    sides = _sides(results)
    present = [side for side in sides if _launch(side.cell) in earlier]
    candidate = Candidate(
        name=_called(side.cell.build for side in present),
        pairs=[_pair(up, down) for up, down in zip(present, _sides(before), strict=True)],
        alone=[_alone(side, candidate=True) for side in sides if _launch(side.cell) not in earlier],
        earlier=True,
    )
    return [candidate], _called(cell.build for cell in before.cells)


def _called(builds: Iterable[str | None]) -> str:
    return f"build {', '.join(build[:8] for build in sorted(set(map(str, builds))))}"


def _earlier_builds(results: Results, runs: Sequence[LaunchRun], value: str) -> dict[_Launch, str]:
    """Return for each launch the newest other build that it ran under, where there is one.

    A launch is known by its digest and its name: two backends that differ only in their binary
    have one digest. A launch that was renamed is found by its digest alone, other backends' names,
    selected or not, and present builds left out. What another experiment ran counts where its
    server was at the same place; older versions did not keep that, so that the name has to do.
    """
    launches = {_launch(cell) for cell in results.cells}
    shown = {build for _, _, build in launches}

    def may_be_here(run: LaunchRun, launch: tuple[str, str], *, unknown: bool) -> bool:
        if run.experiment == results.experiment:
            return True
        origin = results.origins.get(launch)
        if run.origin is None or origin is None:
            return unknown
        return run.origin.same_place(origin)

    found: dict[_Launch, str] = {}
    for name, digest, present in launches:
        if present is None:
            continue
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
            if run.name == name and may_be_here(run, (name, digest), unknown=True)
        ]
        others = [
            run.build
            for run in fitting
            if (run.name, digest) not in results.origins
            and run.build not in shown
            and may_be_here(run, (name, digest), unknown=False)
        ]
        if by_name or others:
            found[name, digest, present] = (by_name or others)[0]
    return found
