"""The plan: how many trials each cell should have, what will run, what is done, and why. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import zip_longest
from typing import TYPE_CHECKING, NamedTuple

from matrixbench.plan.cells import NOTHING, Cell, CellProgress, Judged, PresentBuild, Why
from matrixbench.plan.launches import changed_files, contents_of, same_but_for_files
from matrixbench.plan.matrix import is_greedy
from matrixbench.spec.axes import label
from matrixbench.spec.experiment import PROMPT_TIMES
from matrixbench.stats.betting import fewest_rounds
from matrixbench.stats.sequential import Precision, trials_to_precision

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from matrixbench.plan.cells import Launch, LaunchRun, NotApplicable, Progress
    from matrixbench.plan.matrix import LaunchCells, Matrix
    from matrixbench.records import Build
    from matrixbench.spec.experiment import ExperimentFile


class CellNeed(NamedTuple):
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
class TrialBudget:
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

    def need(self, cell: Cell, known: CellProgress) -> CellNeed:
        """Return what a cell lacks, given what is known of it under its build.

        It has enough where every set of checks that judges its trials knows enough of them.
        """
        greedy = is_greedy(cell.point.fields)
        most = min(self.trials, self.greedy) if greedy else self.trials
        if known.stands:
            return CellNeed(0, min(most, 1), min(most, 1), stopped=False)
        todo = (((1 << most) - 1) & ~known.kept) >> self.first << self.first
        done = most - todo.bit_count()
        if self.gate is not None:
            return CellNeed(todo, min(most, max(self.gate.least, done)), most, stopped=False)
        if self.until is None or greedy or not todo:
            return CellNeed(todo, most, most, stopped=False)
        if _enough(self.until, known.judged):
            return CellNeed(0, done, done, stopped=True)
        return CellNeed(
            todo, min(most, max(fewest_trials(self.until), done + 1)), most, stopped=False
        )

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


def wanted_of(file: ExperimentFile, trials: int | None = None) -> TrialBudget:
    """Return how many trials an experiment asks for; `trials` is a number that overrides it."""
    asked = trials or file.trials
    if isinstance(asked, int):
        return TrialBudget(trials=asked, greedy=file.greedy_trials)
    wanted = TrialBudget(trials=asked.max, greedy=file.greedy_trials)
    half_width, gate = asked.until.half_width, asked.until.gate
    if gate is not None:
        ((axis, value),) = gate.baseline.items()
        baseline = f"{axis}={label(value)}"
        until_gate = UntilGate(baseline=baseline, max_drop=gate.max_drop, least=asked.min)
        return replace(wanted, gate=until_gate)
    # The file's rules ask for one of the two.
    assert half_width is not None  # noqa: S101
    return replace(wanted, until=Precision(half_width=half_width, least=asked.min))


def looking_first(wanted: TrialBudget, matrix: Matrix) -> TrialBudget:
    """Return how many trials are wanted where the gate is first looked at when it can be decided.

    That is where the two sides do not differ at all; `min` may put it off further.
    """
    if wanted.gate is None:
        return wanted
    sampled = {
        cell.test
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


def cache_notes(file: ExperimentFile, matrix: Matrix) -> list[str]:
    """Return what should be known where a chart shows times and cells share their prompts."""
    charts = [name for name, chart in file.charts.items() if chart.metric in PROMPT_TIMES]
    if not charts or file.warm_up or file.faithful:
        return []
    if not any(_shares_prompts(group) for group in matrix.launches):
        return []
    shown = f"the chart {charts[0]} shows" if len(charts) == 1 else f"{len(charts)} charts show"
    note = (
        f"{shown} times, and cells share prompts: the first to ask has its prompt computed, the "
        "others find it in the server's cache. warm_up: true computes each prompt before the "
        "trials; faithful: true uses no cache"
    )
    return [note]


def _shares_prompts(group: LaunchCells) -> bool:
    """Return whether several cells of a launch ask the same, with other sampling perhaps."""
    if not group.launch.spec.has_model:
        return False
    return len(group.cells) > len({cell.test for cell in group.cells})


ANY_BUILD = "--any-build counts what any build has done"
"""Why trials are unverified that the present build did not run."""

_UNKNOWN_CONCURRENCY = 4
"""Where only the server knows how many requests it works on at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """What the store knows, as far as planning needs it.

    Args:
        progress: Build id → cell id → what is known; empty for a fresh start.
        builds: Build id → build, of every build that the store has seen, oldest first.
        runs: Under which builds which launches ran, newest first.
        durations: Cell id → mean latency in seconds, from any build.
        fresh: Whether a new generation is about to be opened.
        any_build: Whether a trial counts under whatever build it ran.
    """

    progress: Progress = field(default_factory=dict)
    builds: Mapping[str, Build] = field(default_factory=dict)
    runs: Sequence[LaunchRun] = ()
    durations: Mapping[str, float] = field(default_factory=dict)
    fresh: bool = False
    any_build: bool = False

    def under(self, build: Build | None) -> Mapping[str, CellProgress]:
        """Return cell id → what counts where a build is the present one."""
        if self.any_build:
            return _merged(self.progress)
        return {} if build is None else self.progress.get(build.id, {})


def _merged(progress: Progress) -> Mapping[str, CellProgress]:
    """Return what all builds together have done; what one has kept no other has to repeat."""
    merged: dict[str, CellProgress] = {}
    for cells in progress.values():
        for cell, known in cells.items():
            other = merged.get(cell, NOTHING)
            kept = known.kept | other.kept
            merged[cell] = CellProgress(
                kept=kept,
                errored=(known.errored | other.errored) & ~kept,
                short=(known.short | other.short) & ~kept,
                stands=known.stands or other.stands,
                judged=tuple(
                    one.then(more)
                    for one, more in zip_longest(other.judged, known.judged, fillvalue=Judged())
                ),
            )
    return merged


@dataclass(slots=True, eq=False)
class CellWork:
    """The trials of one cell that will run: bit i of `todo` stands for trial i."""

    cell: Cell
    todo: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LaunchPlan:
    """One launch: its cells, its build, and what remains to be done.

    Args:
        launch: The server configuration.
        build: What would run now, or may be that.
        cells: All its cells.
        wanted: Trials that its cells should have in all; where trials are adaptive, at most.
        least: Trials that they will have at least.
        done: Of these, trials that the store holds.
        unverified: Of those that are done, trials that may be another build's.
        doubt: Why they may be; empty where none is.
        stopped: How many cells have enough trials, though fewer than they could have.
        why: Reason → trials that will run for it.
        own: Those of its cells that no earlier launch with the same build has as well.
        shared_with: The earlier launch whose trials the other cells share; empty for none.
        estimate_s: Seconds that the remaining trials will take, or None where nothing tells.
    """

    launch: Launch
    build: PresentBuild
    cells: Sequence[Cell]
    own: Sequence[Cell]
    wanted: int
    least: int
    done: int
    stopped: int
    why: Mapping[Why, int]
    unverified: int = 0
    doubt: str = ""
    shared_with: str = ""
    estimate_s: float | None = None

    @property
    def remaining(self) -> int:
        """How many trials will run; where trials are adaptive, at most."""
        return sum(self.why.values())


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Plan:
    """All launches of an experiment, with what is done and what remains.

    Args:
        experiment: The experiment's name.
        launches: In the file's order.
        not_applicable: Points that cannot be measured as asked.
        adaptive: Whether cells stop early: what is wanted and what remains is so at most.
        notes: What should be known of what the file asks for.
        old_seeds: How many cells ask for seeds by the rule of versions before, in which tests share
            theirs.
    """

    experiment: str
    launches: tuple[LaunchPlan, ...]
    not_applicable: tuple[NotApplicable, ...]
    adaptive: bool = False
    notes: tuple[str, ...] = ()
    old_seeds: int = 0

    @property
    def cells(self) -> int:
        """How many cells apply."""
        return sum(len(launch.cells) for launch in self.launches)

    @property
    def trials(self) -> int:
        """How many trials the cells should have in all, at most; shared ones count once."""
        return sum(launch.wanted for launch in self.launches)

    @property
    def least(self) -> int:
        """How many trials the cells will have in all, at least."""
        return sum(launch.least for launch in self.launches)

    @property
    def stopped(self) -> int:
        """How many cells have enough trials, though fewer than they could have."""
        return sum(launch.stopped for launch in self.launches)

    @property
    def done(self) -> int:
        """How many of them the store holds."""
        return sum(launch.done for launch in self.launches)

    @property
    def unverified(self) -> int:
        """How many of those may be another build's."""
        return sum(launch.unverified for launch in self.launches)

    @property
    def remaining(self) -> int:
        """How many trials will run, at most."""
        return sum(launch.remaining for launch in self.launches)

    @property
    def server_starts(self) -> int:
        """How many servers will be started."""
        return sum(plan.remaining > 0 and plan.launch.spec.starts_server for plan in self.launches)

    @property
    def verified(self) -> bool:
        """Whether no count rests on a guess of which build is there now."""
        return all(launch.build.verified for launch in self.launches)

    @property
    def estimate_s(self) -> float | None:
        """Seconds that the remaining trials will take, or None where nothing tells.

        Launches that nothing is known of are taken to be as fast as the others.
        """
        told = [plan for plan in self.launches if plan.remaining and plan.estimate_s is not None]
        trials = sum(plan.remaining for plan in told)
        seconds = sum(plan.estimate_s or 0.0 for plan in told)
        return seconds * self.remaining / trials if trials else None


def plan_matrix(
    experiment: str,
    matrix: Matrix,
    *,
    wanted: TrialBudget,
    history: History,
    builds: Mapping[str, PresentBuild],
) -> Plan:
    """Return what will run and why.

    Args:
        builds: Launch name → the build that is there now, or may be.
    """
    planned: list[LaunchPlan] = []
    earlier: dict[tuple[str, str], list[LaunchCells]] = {}
    names = {group.launch.name for group in matrix.launches}
    for group in matrix.launches:
        build = builds.get(group.launch.name, PresentBuild(build=None, verified=False))
        # A guess never makes two launches share: one of them would get no request at all.
        known = build.build.id if build.build and build.verified else ""
        key = (group.launch.digest, known or group.launch.name)
        planned.append(
            plan_launch(
                group,
                build,
                wanted=wanted,
                history=history,
                earlier=earlier.get(key, ()),
                others=names,
            )
        )
        earlier.setdefault(key, []).append(group)
    return Plan(
        experiment=experiment,
        launches=tuple(planned),
        not_applicable=matrix.not_applicable,
        adaptive=wanted.adaptive,
        notes=tuple(filter(None, [wanted.note, *_of_files(planned)])),
    )


def _of_files(planned: Sequence[LaunchPlan]) -> Iterator[str]:
    """Yield which files that options name have changed since they were measured."""
    told: dict[str, list[str]] = {}
    for plan in planned:
        build, last = plan.build.build, plan.build.last
        if build is None or last is None or not plan.why.get(Why.FILES_CHANGED):
            continue
        for name in changed_files(build, last):
            note = f"what is in {name} has changed since it was measured"
            told.setdefault(note, []).append(plan.launch.name)
    for note, names in told.items():
        yield f"{names[0] if len(names) == 1 else f'{len(names):,} launches'}: {note}"


def plan_launch(
    group: LaunchCells,
    build: PresentBuild,
    *,
    wanted: TrialBudget,
    history: History,
    earlier: Sequence[LaunchCells] = (),
    others: Collection[str] = (),
) -> LaunchPlan:
    """Return what will run of one launch under a build, and why.

    Args:
        earlier: Launches of the same digest and build: cells that they have are theirs.
        others: Names of all launches: what ran under another one does not explain why this runs.
    """
    own = _untaken(group, {cell.id for other in earlier for cell in other.cells})
    total = least = done = stopped = 0
    why: Counter[Why] = Counter()
    present, before = history.under(build.build), _without(history, group.launch, others)
    for cell in own:
        known = present.get(cell.id, NOTHING)
        need = wanted.need(cell, known)
        count = need.todo.bit_count()
        total += need.most
        least += need.least
        done += need.most - count
        stopped += need.stopped
        if count:
            _explain(cell.id, known, need.todo, build.build, before, why)
    unverified = done
    if build.verified:
        unverified = done - _done_by(own, build, wanted, history) if history.any_build else 0
    doubt = ANY_BUILD if history.any_build else build.note
    return LaunchPlan(
        launch=group.launch,
        build=build,
        cells=group.cells,
        own=own,
        wanted=total,
        least=least,
        done=done,
        unverified=max(0, unverified),
        doubt=doubt if unverified > 0 else "",
        stopped=stopped,
        why=dict(why),
        shared_with=earlier[0].launch.name if earlier and len(own) < len(group.cells) else "",
        estimate_s=_estimate(group.launch, own, total - done, history),
    )


def _without(history: History, launch: Launch, others: Collection[str]) -> History:
    """Return a history without the builds that only other launches of a digest ran under."""
    runs = [run for run in history.runs if run.digest == launch.digest]
    own = {run.build for run in runs if run.name == launch.name or run.name not in others}
    foreign = {run.build for run in runs} - own
    if not foreign:
        return history
    kept = {build: cells for build, cells in history.progress.items() if build not in foreign}
    return replace(history, progress=kept)


def _done_by(
    cells: Sequence[Cell], build: PresentBuild, wanted: TrialBudget, history: History
) -> int:
    """Return how many trials a build has done by itself, whatever others have."""
    own = {} if build.build is None else history.progress.get(build.build.id, {})
    needs = (wanted.need(cell, own.get(cell.id, NOTHING)) for cell in cells)
    return sum(need.most - need.todo.bit_count() for need in needs)


def _estimate(
    launch: Launch, cells: Sequence[Cell], remaining: int, history: History
) -> float | None:
    """Return seconds for the remaining trials at the mean latency of the launch's known cells."""
    known = [history.durations[cell.id] for cell in cells if cell.id in history.durations]
    if not known or not remaining:
        return None
    return remaining * sum(known) / len(known) / expected_concurrency(launch)


def _untaken(group: LaunchCells, taken: set[str]) -> Sequence[Cell]:
    if not taken and not group.twins:
        return group.cells
    own: list[Cell] = []
    for cell in group.cells:
        if cell.id not in taken:
            taken.add(cell.id)
            own.append(cell)
    return own


def launch_work(
    cells: Sequence[Cell], build: Build | None, *, wanted: TrialBudget, history: History
) -> Iterator[CellWork]:
    """Yield the cells that have trials to run under a build, each with its trials."""
    present = history.under(build)
    for cell in cells:
        todo = wanted.need(cell, present.get(cell.id, NOTHING)).todo
        if todo:
            yield CellWork(cell, todo)


def expected_concurrency(launch: Launch) -> int:
    """Return how many requests at a time a launch will be sent."""
    return launch.load.concurrency or _UNKNOWN_CONCURRENCY


def _explain(
    cell: str,
    known: CellProgress,
    todo: int,
    build: Build | None,
    history: History,
    why: Counter[Why],
) -> None:
    """Add the reasons for which some trials of a cell will run."""
    if history.fresh:
        why[Why.FRESH] += todo.bit_count()
        return
    errored = (todo & known.errored).bit_count()
    short = (todo & known.short & ~known.errored).bit_count()
    rest = todo.bit_count() - errored - short
    if errored:
        why[Why.ERRORED] += errored
    if short:
        why[Why.TIMEOUT_RAISED] += short
    if rest:
        started = known.kept or known.errored or known.short
        why[Why.MORE_TRIALS if started else _why_new(cell, build, history)] += rest


def _why_new(cell: str, build: Build | None, history: History) -> Why:
    others = [
        history.builds[other]
        for other, cells in history.progress.items()
        if cell in cells and other in history.builds and (build is None or other != build.id)
    ]
    if not others:
        return Why.NEW
    if build is not None and any(other.server == build.server for other in others):
        return Why.MODEL_CHANGED
    alike = [other for other in others if build and same_but_for_files(build, other)]
    if any(contents_of(other) for other in alike):
        return Why.FILES_CHANGED
    return Why.FILES_UNKNOWN if alike else Why.SERVER_CHANGED
