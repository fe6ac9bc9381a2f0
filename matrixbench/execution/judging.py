"""What judges each cell, and stored replies judged again when their checks change."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeAlias

from matrixbench.checks.reasoning import taken_apart
from matrixbench.checks.same import named_cell
from matrixbench.checks.verdicts import UnjudgeableError
from matrixbench.identity import combine, digest
from matrixbench.plan.cells import ANY_LOAD, NotApplicable
from matrixbench.plan.matrix import experiment_loads, is_greedy
from matrixbench.plan.selector import Partners
from matrixbench.records import Kind
from matrixbench.spec.backends import Obstacle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from matrixbench.checks.judge import Checks
    from matrixbench.checks.verdicts import Reference
    from matrixbench.execution.trials import Prompts
    from matrixbench.plan.cells import Cell, Launch, Loads, PresentBuild
    from matrixbench.plan.matrix import LaunchCells, Matrix
    from matrixbench.plan.planner import Plan
    from matrixbench.plan.seeds import Seeds
    from matrixbench.records import ChatReply, Judgement
    from matrixbench.spec.load import Experiment, TestCase
    from matrixbench.store.database import Store

LOADED_REPLIES = 1024
"""Replies of other cells that are held in memory at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Partner:
    """The cell that another one is compared with.

    Args:
        name: What the file names it by.
        build: The build that its replies are taken from; None where none is known.
        greedy: Whether any of its replies will do, since all should be the same.
        marks: The marks of reasoning that its server leaves in the content.
        unverified: Why that build may not be what its backend has now; empty where it is.
    """

    name: str
    cell: Cell
    build: str | None
    greedy: bool
    marks: tuple[str, ...] = ()
    unverified: str = ""


Compared: TypeAlias = "Partner | Obstacle | None"
"""Whom a cell is compared with; an obstacle says why with nobody, None is the cell itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Replies:
    """The replies of a partner that are there.

    Args:
        trials: Seed → number of the trial.
        ahead: The partner's first seed less that of the cell that is compared: a trial is compared
            with the one of the same index, which in another test has another seed.
    """

    partner: Partner
    trials: Mapping[int, int]
    ahead: int = 0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CellChecks:
    """The checks of one cell, ready to judge stored replies.

    Args:
        digest: What stands for the checks, and for the replies that they compare with.
        others: Key of a `same_as` → the replies that it compares with; None is the reply itself.
        seeds: Number of the cell's trials → their seed.
    """

    digest: str
    checks: Checks
    others: Mapping[str, Replies | None] = field(default_factory=dict)
    seeds: Mapping[int, int] = field(default_factory=dict)
    load: Callable[[int], ChatReply] | None = None

    @property
    def compares_others(self) -> bool:
        """Whether they compare with the replies of a cell that is not the reply's own."""
        return any(other is not None for other in self.others.values())

    @property
    def unverified(self) -> str:
        """Why what they compare with may be another build's; empty where it is not."""
        partners = [other.partner for other in self.others.values() if other is not None]
        return next((partner.unverified for partner in partners if partner.unverified), "")

    def judge(self, trial: int, reply: ChatReply) -> Judgement:
        """Return what the checks make of a stored reply."""
        if not self.others:
            return self.checks.judge(reply)
        return self.checks.judge(reply, self._reference(trial, reply))

    def _reference(self, trial: int, reply: ChatReply) -> Reference:
        def reference(key: str) -> ChatReply:
            other = self.others[key]
            if other is None:
                return taken_apart(reply, self.checks.marks)
            return taken_apart(self._reply(other, self.seeds.get(trial)), other.partner.marks)

        return reference

    def _reply(self, replies: Replies, seed: int | None) -> ChatReply:
        seed = None if seed is None else seed + replies.ahead
        number = replies.trials.get(-1 if seed is None else seed)
        if number is None and replies.partner.greedy:
            number = next(iter(replies.trials.values()), None)
        if number is None or self.load is None:
            with_seed = "" if replies.partner.greedy else f" with seed {seed}"
            reason = f"{replies.partner.name} has no reply{with_seed}"
            raise UnjudgeableError(Kind.NO_REFERENCE, reason)
        return self.load(number)


class ChecksByCell:
    """What judges each cell of a plan.

    Args:
        compared: Cell → key of each `same_as` → whom it is compared with.
    """

    def __init__(self, prompts: Prompts, compared: Mapping[Cell, Mapping[str, Compared]]) -> None:
        self._prompts = prompts
        self._compared = compared
        self._plain: dict[tuple[Launch, TestCase], CellChecks] = {}
        self._by_cell: dict[Cell, CellChecks] = {}

    @property
    def compares(self) -> bool:
        """Whether any cell is compared with another one."""
        return bool(self._compared)

    def of(self, cell: Cell) -> CellChecks:
        """Return what judges a cell."""
        return self._by_cell.get(cell) or self._without_others(cell)

    def _without_others(self, cell: Cell) -> CellChecks:
        key = cell.launch, cell.test
        if key not in self._plain:
            own = self._prompts.checks_of(cell)
            self._plain[key] = CellChecks(digest=own.digest, checks=own)
        return self._plain[key]

    def read(
        self, store: Store | None, experiment: Experiment, cells: Iterable[Cell], seeds: Seeds
    ) -> None:
        """Look up which replies are there to compare with.

        Args:
            store: The store; None where nothing was ever run.
            experiment: Whose fresh starts and loads hold.
            seeds: From which seed on the trials of each cell ask.

        Raises:
            StoreError: The store cannot be read.
        """
        comparing = [cell for cell in cells if cell in self._compared] if self.compares else []
        if not comparing:
            return
        trials: dict[tuple[str, str], dict[int, int]] = {}
        of_trials: dict[str, dict[int, int]] = {}
        for kept in (
            []
            if store is None
            else store.kept(
                experiment.file.name,
                first_seed=self._first_seeds(comparing, seeds),
                loads=experiment_loads(experiment),
            )
        ):
            trials.setdefault((kept.cell, kept.build), {})[kept.seed] = kept.id
            of_trials.setdefault(kept.cell, {})[kept.id] = kept.seed
        load = None if store is None else lru_cache(LOADED_REPLIES)(store.reply)
        for cell in comparing:
            checks = self._without_others(cell).checks
            others = {
                key: _replies(other, trials, seeds.first(other.cell) - seeds.first(cell))
                if isinstance(other, Partner)
                else None
                for key, other in self._compared[cell].items()
            }
            self._by_cell[cell] = CellChecks(
                digest=combine(checks.digest, *map(_stands_for, others.values())),
                checks=checks,
                others=others,
                seeds=of_trials.get(cell.id, {}),
                load=load,
            )

    def _first_seeds(self, cells: Iterable[Cell], seeds: Seeds) -> dict[str, int]:
        found = {}
        for cell in cells:
            found[cell.id] = seeds.first(cell)
            for partner in self._compared[cell].values():
                if isinstance(partner, Partner):
                    found[partner.cell.id] = seeds.first(partner.cell)
        return found


def _replies(
    partner: Partner, trials: Mapping[tuple[str, str], Mapping[int, int]], ahead: int
) -> Replies:
    known = {} if partner.build is None else trials.get((partner.cell.id, partner.build), {})
    return Replies(partner=partner, trials=dict(sorted(known.items())), ahead=ahead)


def _stands_for(other: Replies | None) -> str:
    """Return the digest of what a cell is compared with; a trial's reply never changes."""
    if other is None:
        return digest(None)
    marks = [list(other.partner.marks)] if other.partner.marks else []
    ahead = [other.ahead] if other.ahead else []
    replies = [list(pair) for pair in other.trials.items()]
    return digest([other.partner.greedy, replies, *marks, *ahead])


def partners_of(
    cells: Iterable[Cell], among: Callable[[], Iterable[Cell]], checks: Mapping[TestCase, Checks]
) -> dict[Cell, dict[str, Cell | Obstacle]]:
    """Return cell → key of each `same_as` of its test → the other cell, or why there is none.

    Args:
        cells: The cells that are judged; those that are not compared are left out.
        among: Returns all cells of the experiment, selected or not; asked if there is need.
    """
    comparing = [cell for cell in cells if checks[cell.test].compares]
    if not comparing:
        return {}
    partners = Partners(among())
    return {
        cell: {key: partners.of(cell, axes) for key, axes in checks[cell.test].compares.items()}
        for cell in comparing
    }


def compared_with(
    partners: Mapping[Cell, Mapping[str, Cell | Obstacle]],
    checks: Mapping[TestCase, Checks],
    builds: Mapping[str, PresentBuild],
) -> dict[Cell, dict[str, Compared]]:
    """Return whom cells are compared with under the builds that are there (launch name → build)."""
    return {
        cell: {
            key: _partner(cell, other, checks[cell.test].compares[key], builds)
            for key, other in others.items()
        }
        for cell, others in partners.items()
    }


def _partner(
    cell: Cell, found: Cell | Obstacle, axes: Mapping[str, Any], builds: Mapping[str, PresentBuild]
) -> Compared:
    if isinstance(found, Obstacle):
        return found
    if found is cell or found.coordinates() == cell.coordinates():
        return None
    present = builds[found.launch.name]
    build, name = present.build, named_cell(axes)
    doubt = f"compared with an unverified build of {name}: {present.note}"
    return Partner(
        name=name,
        cell=found,
        build=None if build is None else build.id,
        greedy=is_greedy(found.point.fields),
        marks=found.launch.reasoning_marks,
        unverified="" if build is None or present.verified else doubt,
    )


def comparable(matrix: Matrix, compared: Mapping[Cell, Mapping[str, Compared]]) -> Matrix:
    """Return a matrix without the cells that have nobody to be compared with: none could pass."""
    aside: list[NotApplicable] = []
    kept: list[LaunchCells] = []
    for group in matrix.launches:
        cells: list[Cell] = []
        for cell in group.cells:
            others = compared.get(cell, {}).values()
            alone = next((other for other in others if isinstance(other, Obstacle)), None)
            if alone is None:
                cells.append(cell)
                continue
            reason, coordinates = f"same_as: {alone.reason}", cell.coordinates()
            aside.append(NotApplicable(coordinates=coordinates, reason=reason, hint=alone.hint))
        if cells:
            kept.append(replace(group, cells=cells))
    if not aside:
        return matrix
    return replace(matrix, launches=tuple(kept), not_applicable=(*matrix.not_applicable, *aside))


@dataclass(slots=True, kw_only=True)
class Rejudgement:
    """What came of judging again.

    Args:
        replies: How many replies were judged; by several sets of checks, once for each.
        changed: How many outcomes differ from the one before.
        judgements: Number of a trial → what was made of it at last.
        left: Cell and digest of its checks → replies that those could not judge.
        closed: Why they could not.
    """

    replies: int = 0
    changed: int = 0
    judgements: dict[int, Judgement] = field(default_factory=dict)
    left: Counter[tuple[str, str]] = field(default_factory=Counter)
    closed: dict[str, None] = field(default_factory=dict)

    def leaves(self, cell: str, checks: CellChecks) -> bool:
        """Return whether a reply of a cell is left as earlier checks judged it, and count it."""
        closed = checks.checks.closed
        if closed:
            self.left[cell, checks.digest] += 1
            self.closed[closed] = None
        return bool(closed)

    def of_kind(self, kind: Kind) -> int:
        """Return how many trials are of a kind now."""
        return sum(judgement.kind is kind for judgement in self.judgements.values())


def rejudge(
    store: Store,
    plan: Plan,
    checks: ChecksByCell,
    loads: Loads = ANY_LOAD,
    *,
    keep: bool = True,
) -> Rejudgement:
    """Judge every stored reply that the present checks have not seen, and keep what they say.

    Args:
        keep: Whether it is written; else it counts for as long as the store is open.

    Raises:
        StoreError: The store cannot be read or written.
    """
    add = store.add_judgements if keep else store.judge_for_now
    done = Rejudgement()
    for layer in judged_by(plan, checks):
        stale = store.stale({cell: of_cell.digest for cell, of_cell in layer.items()}, loads)
        judgements = [
            (trial, layer[cell].digest, layer[cell].judge(trial, reply))
            for trial, cell, reply in stale
            if not done.leaves(cell, layer[cell])
        ]
        done.replies += len(judgements)
        done.judgements |= {trial: judgement for trial, _, judgement in judgements}
        done.changed += add(judgements)
    return done


def judged_by(plan: Plan, checks: ChecksByCell) -> list[dict[str, CellChecks]]:
    """Return cell id → checks, in as many layers as cells that send the same have checks.

    Tests that differ in their checks alone share their trials; each layer holds a cell id once.
    Cells that are compared with others come last: two builds of one backend share a cell's id, and
    where nobody says which cell is meant, the newest verdict counts, which should be that of the
    comparison, not that of a cell that is compared with itself.
    """
    layers: list[dict[str, CellChecks]] = []
    every = [checks.of(cell) for launch in plan.launches for cell in launch.cells]
    cells = [cell.id for launch in plan.launches for cell in launch.cells]
    if checks.compares:
        order = sorted(range(len(every)), key=lambda place: every[place].compares_others)
        every, cells = [every[place] for place in order], [cells[place] for place in order]
    for cell, own in zip(cells, every, strict=True):
        for layer in layers:
            if layer.setdefault(cell, own).digest == own.digest:
                break
        else:
            layers.append({cell: own})
    return layers
