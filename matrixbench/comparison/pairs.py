"""From an experiment and its results to the pairs that are compared."""

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
from matrixbench.spec.axes import BUILD, label, same
from matrixbench.spec.wording import choose, nearest_first
from matrixbench.store.rows import KeptLook

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from matrixbench.comparison.values import Comparison
    from matrixbench.plan.cells import LaunchRun, Origin
    from matrixbench.results.experiment import Results
    from matrixbench.results.tally import ResultCell, Tally
    from matrixbench.run.settings import Settings
    from matrixbench.spec.axes import Coordinates
    from matrixbench.spec.load import Experiment
    from matrixbench.store.database import Store


def with_looks(candidates: Sequence[Candidate], store: Store) -> list[Candidate]:
    """Return candidates with the looks that were taken at their cells."""
    return [
        replace(
            candidate,
            looks=[
                Looked(
                    trials=look.trials,
                    max_drop=look.max_drop,
                    verdict=GateVerdict(look.verdict),
                    at=look.at,
                )
                for look in store.looks(compared(candidate))
            ],
        )
        for candidate in candidates
    ]


def remembered(comparison: Comparison, candidates: Sequence[Candidate], store: Store) -> Comparison:
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


def _stands(tally: Tally) -> bool:
    """Return whether one trial stands for a cell: its request was refused for what it is.

    Where the server has answered the same request as well, that was not the request's fault.
    """
    return bool(tally.by_request) and tally.outcomes[Outcome.REJECTED] == tally.trials


def _asked(tally: Tally) -> int:
    """Return how many rounds it takes to come to the last trial that was asked."""
    return max(tally.measured.bit_length(), tally.unmeasured.bit_length())


class _Due:
    """Which trials are due, known once all that were asked are counted."""

    def __init__(self, results: Results) -> None:
        self._results = results
        self._rounds: dict[_Launch, int] = {}
        for cell, tally in results.tallies.items():
            self._rounds[_launch(cell)] = max(_asked(tally), self._rounds.get(_launch(cell), 0))
        self._given_up = _given_up(results.opened_store, results.experiment)

    def trials(self, cell: ResultCell) -> range:
        """Return the indices of the trials of a cell that were due."""
        tally = self._results.tallies[cell]
        if _stands(tally):
            return range(0)
        if cell.until is None or not tally.trials:
            return range(cell.planned)
        n = tally.trials
        if n < cell.planned and cell.until.reached(tally.outcomes[Outcome.PASSED], n):
            return range(_asked(tally))
        return range(min(cell.planned, self.rounds(cell)))

    def rounds(self, cell: ResultCell) -> int:
        """Return how many rounds the launch of a cell has come to.

        All of them where it was given up: the rest was not left to be asked later.
        """
        if (cell.launch, cell.launch_digest) in self._given_up:
            return cell.planned
        return self._rounds[_launch(cell)]


def _given_up(store: Store, experiment: str) -> set[tuple[str, str]]:
    """Return name and digest of the launches whose newest run was given up."""
    newest = {
        (launch.record.name, launch.record.digest): launch.error
        for launch in store.launches(experiment)
    }
    return {launch for launch, error in newest.items() if error is not None}


_MISSING = "missing"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Side:
    """A cell with its trials."""

    cell: ResultCell
    trials: Trials

    def value(self, axis: str) -> str:
        """Return the value of an axis as text that tells values apart."""
        coordinates = self.cell.coordinates
        return canonical_json(coordinates[axis]) if axis in coordinates else _MISSING


def under_present_builds(results: Results) -> Results:
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
    cells = tuple(
        replace(cell, build=present.get((cell.launch, cell.launch_digest), cell.build))
        for cell in results.cells
    )
    return replace(results, cells=cells)


def sides_of(results: Results) -> list[Side]:
    """Return the selected cells with their trials, in the file's order."""
    due = _Due(results)
    return [Side(cell=cell, trials=_trials(cell, results, due)) for cell in results.cells]


def _trials(cell: ResultCell, results: Results, due: _Due) -> Trials:
    tally = results.tallies[cell]
    passed, stands = tally.by_seed(), _stands(tally)
    lacking = [trial for trial in due.trials(cell) if not tally.measured >> trial & 1]
    return Trials(
        cell=cell.id,
        build=cell.build,
        passed=passed,
        replies={tally.first_seed + trial: digest for trial, digest in tally.replies.items()},
        by_request=stands,
        missing=frozenset(cell.first_seed + trial for trial in lacking),
        rejected=tally.outcomes[Outcome.REJECTED],
        errored=tally.outcomes[Outcome.ERRORED],
        raised=sum(n for (kind, _), n in tally.errors.items() if kind == Kind.CHECK_RAISED),
        never_asked=sum(not tally.unmeasured >> trial & 1 for trial in lacking),
        adaptive=cell.until is not None,
        first_seed=cell.first_seed,
        rounds=0 if stands else due.rounds(cell),
        common_seeds=cell.luck is not None,
        unverified=cell.unverified if tally.outcomes else "",
        seeds_ignored="" if cell.greedy or stands else results.seeds_ignored.get(cell.key, ""),
    )


def pair_of(candidate: Side, baseline: Side) -> CellPair:
    """Return two cells as a pair."""
    up, down = candidate.cell, baseline.cell
    return CellPair(
        coordinates=up.coordinates,
        test=label(up.coordinates.get("test")),
        candidate=candidate.trials,
        baseline=baseline.trials,
        greedy=(up.greedy, down.greedy),
        planned=max(up.planned, down.planned),
    )


def alone(side: Side, *, candidate: bool) -> CellPair:
    """Return a cell that one side only has, with an empty other side that lacks every trial.

    Args:
        side: The cell.
        candidate: Whether the candidate has it; else the baseline.
    """
    has, cell = side.trials, side.cell
    lacks = Trials(
        cell="",
        build=None,
        missing=frozenset({*has.passed, *has.missing}),
        adaptive=has.adaptive,
        first_seed=has.first_seed,
        rounds=has.reached,
        common_seeds=has.common_seeds,
    )
    return CellPair(
        coordinates=cell.coordinates,
        test=label(cell.coordinates.get("test")),
        candidate=has if candidate else lacks,
        baseline=lacks if candidate else has,
        greedy=(cell.greedy, cell.greedy),
        planned=cell.planned,
    )


_Key: TypeAlias = "tuple[str, ...]"


def by_value(results: Results, axis: str, value: str) -> tuple[list[Candidate], str]:
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
    groups: dict[str, list[Side]] = defaultdict(list)
    for side in sides_of(results):
        if axis in side.cell.coordinates:
            groups[label(side.cell.coordinates[axis])].append(side)
    told = next((name for name, group in groups.items() if _is(group, axis, value)), None)
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


def _is(group: Sequence[Side], axis: str, text: str) -> bool:
    value = group[0].cell.coordinates[axis]
    try:
        read = json.loads(text)
    except ValueError:
        read = text
    return label(value) == text or same(read, value)


def _against(
    base: Sequence[Side], name: str, group: Sequence[Side], axis: str
) -> Iterator[Candidate]:
    """Yield the candidates of one value.

    Axes that only one side has (a backend's own options, say) belong to what is compared: each of
    the candidate's own points is a candidate by itself, the baseline may have one only.
    """
    axes_down, axes_up = _axes(base), _axes(group)
    common = [other for other in axes_down if other in axes_up and other != axis]
    own = [other for other in axes_up if other not in axes_down]
    partners = _by_key(base, common, axis)
    points: dict[_Key, list[Side]] = defaultdict(list)
    for side in group:
        points[tuple(side.value(other) for other in own)].append(side)
    varying = [
        other for place, other in enumerate(own) if len({point[place] for point in points}) > 1
    ]
    for sides in points.values():
        coordinates = sides[0].cell.coordinates
        parts = [f"{other}={label(coordinates.get(other))}" for other in varying]
        keys = [tuple(side.value(other) for other in common) for side in sides]
        keyed = list(zip(sides, keys, strict=True))
        yield Candidate(
            name=" · ".join([name, *parts]),
            pairs=[pair_of(side, partners[key]) for side, key in keyed if key in partners],
            alone=[
                *(alone(side, candidate=True) for side, key in keyed if key not in partners),
                *(
                    alone(side, candidate=False)
                    for key, side in partners.items()
                    if key not in set(keys)
                ),
            ],
        )


def _axes(sides: Iterable[Side]) -> dict[str, None]:
    return {axis: None for side in sides for axis in side.cell.coordinates}


def _by_key(base: Sequence[Side], common: Sequence[str], axis: str) -> Mapping[_Key, Side]:
    found: dict[_Key, Side] = {}
    for side in base:
        key = tuple(side.value(other) for other in common)
        if key in found:
            raise _several(found[key].cell.coordinates, side.cell.coordinates, axis)
        found[key] = side
    return found


def _several(one: Coordinates, other: Coordinates, axis: str) -> UsageError:
    apart = next((name for name in other if one.get(name) != other[name]), axis)
    return UsageError(
        f"the baseline has several cells for one of a candidate: they differ in {apart}, which the "
        "candidate does not have",
        where="--baseline",
        hint=f"choose one, for example --where '{axis}!={label(other[axis])} or "
        f"{apart}={label(other.get(apart))}'",
    )


PREVIOUS = "previous"
"""The newest build of a launch before the present one."""

_Launch: TypeAlias = "tuple[str, str, str | None]"
"""Name, digest and present build."""


def by_build(results: Results, value: str) -> tuple[list[Candidate], str]:
    """Return the present build of the launches as the candidate, and what the baseline is called.

    Args:
        results: The selected cells.
        value: `previous`, or the beginning of a build's id.

    Raises:
        UsageError: No selected launch has run under such a build.
    """
    earlier = _earlier_builds(results, value)
    kept = [cell for cell in results.cells if earlier.get(_launch(cell)) is not None]
    if not kept:
        listed = ", ".join(sorted({run.build for run in results.opened_store.launch_runs()}))
        raise UsageError(
            "no selected launch has run under an earlier build"
            if value == PREVIOUS
            else f"no selected launch has run under another build «{value}»",
            where=f"--baseline {BUILD}={value}",
            hint=f"the store's builds are {listed}" if listed else "nothing has run yet",
        )
    before = replace(
        results,
        cells=tuple(replace(cell, build=earlier[_launch(cell)], unverified="") for cell in kept),
    )
    sides = sides_of(results)
    present = [side for side in sides if earlier.get(_launch(side.cell)) is not None]
    names = sorted({str(side.trials.build) for side in present})
    told = sorted({earlier[_launch(cell)] for cell in kept})
    candidate = Candidate(
        name=f"build {_short(names)}",
        pairs=[
            pair_of(candidate, baseline)
            for candidate, baseline in zip(present, sides_of(before), strict=True)
        ],
        alone=[
            alone(side, candidate=True) for side in sides if earlier.get(_launch(side.cell)) is None
        ],
        earlier=True,
    )
    return [candidate], f"build {_short(told)}"


def _launch(cell: ResultCell) -> _Launch:
    return cell.launch, cell.launch_digest, cell.build


def _earlier_builds(results: Results, value: str) -> dict[_Launch, str]:
    """Return for each launch the newest other build that it ran under, where there is one.

    A launch is known by its digest and its name: two backends that differ only in their binary
    have one digest. A launch that was renamed is found by its digest alone, other backends' names,
    selected or not, and present builds left out. What another experiment ran counts where its
    server was at the same place; older versions did not keep that, so that the name has to do.
    """
    launches = {_launch(cell) for cell in results.cells}
    shown = {build for _, _, build in launches}
    runs = results.opened_store.launch_runs()
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
    """Return what `compare` does.

    Args:
        results: The results.
        baseline: As for `compare`.
        max_drop: As for `compare`.
        missing: As for `compare`.
        look: As for `compare`.
        unmeasured: Whether a comparison is wanted also where no pair was measured on both sides: a
            gate is undecided then.
        remember: Whether the store keeps that these trials were looked at: where a verdict is
            shown.
    """
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
    axis, value = _named(baseline)
    results = under_present_builds(results)
    if axis == BUILD:
        candidates, told = by_build(results, value)
    else:
        candidates, told = by_value(results, axis, value)
    candidates = with_looks(candidates, results.opened_store)
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
        cell.trials[0] for found in comparison.candidates for cell in found.cells
    ):
        raise NothingSelectedError(
            "no pair of cells has been measured on both sides",
            hint="run the rest first: matrixbench execute --resume",
        )
    return remembered(comparison, candidates, results.opened_store) if remember else comparison


def _named(baseline: str) -> tuple[str, str]:
    axis, sign, value = (part.strip() for part in baseline.partition("="))
    if not sign or not axis or not value:
        raise UsageError(
            f"«{baseline}» names no baseline",
            where="--baseline",
            hint="write AXIS=VALUE, for example --baseline backend=baseline or build=previous",
        )
    return axis, value
