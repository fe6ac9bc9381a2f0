"""Cells that stop early: what is sent, and what is known in the end."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from matrixbench.execution.events import Event, TrialsSpared
from matrixbench.execution.launches import Stopping
from matrixbench.plan.cells import CellProgress, Judged
from matrixbench.plan.matrix import Matrix, build_matrix
from matrixbench.plan.planner import CellWork
from matrixbench.records import ChatReply, JsonObject, Judgement, Outcome, Timing, Trial, TrialKey
from matrixbench.spec.load import load_experiment
from matrixbench.stats.sequential import Precision
from matrixbench.store.outcomes import Judges

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matrixbench.plan.cells import Cell

UNTIL = Precision(half_width=0.2, least=3)
MAX = 24
ANY_ORDER = Random(1)
ERRORED = Judgement(outcome=Outcome.ERRORED)
BY = {"p": Judgement(outcome=Outcome.PASSED), "f": Judgement(outcome=Outcome.FAILED), "e": ERRORED}


@pytest.fixture(scope="session")
def cells(tmp_path_factory: pytest.TempPathFactory) -> list[Cell]:
    """Return three cells; nothing changes them, so that property tests may share them."""
    path = tmp_path_factory.mktemp("stopping") / "exp.yaml"
    path.write_text(
        "name: demo\n"
        "backends: {fake: {kind: scripted, replies: [a]}}\n"
        "sampling: {temperature: [0.1, 0.2, 0.3]}\n"
        "tests: [{name: hi, messages: [{role: user, content: hi}], expect: []}]\n",
        encoding="utf-8",
    )
    matrix: Matrix = build_matrix(load_experiment(path, environ={}))
    return matrix.launches[0].cells


@dataclass
class Run:
    """A launch whose trials end as a script says, in an order that chance decides."""

    scripts: Mapping[str, str]
    stopping: Stopping
    ended: dict[str, list[int]] = field(default_factory=dict)

    async def put(self, trial: Trial, body: JsonObject | None = None) -> None:
        """Keep which trials ended."""
        assert body is None
        self.ended.setdefault(trial.key.cell, []).append(trial.trial)

    def all(self, work: list[CellWork], *, width: int, luck: Random | None) -> None:
        """Send everything, some trials at a time; without luck the first ends first."""
        asyncio.run(self._all(work, width, luck))

    async def _all(self, work: list[CellWork], width: int, luck: Random | None) -> None:
        self.stopping.sink = self
        while work:
            tasks = self.stopping.tasks(work, seed=1)
            flying = [task for _, task in zip(range(width), tasks, strict=False)]
            while flying:
                task = flying.pop(luck.randrange(len(flying)) if luck else 0)
                await self.stopping.put(
                    trial(task.cell.id, task.trial, self.scripts[task.cell.id][task.trial])
                )
                flying += [task for _, task in zip(range(1), tasks, strict=False)]
            work = self.stopping.rest()


class Nowhere:
    """A sink that keeps nothing."""

    async def put(self, trial: Trial, body: JsonObject | None = None) -> None:
        """Take a trial."""


def trial(cell: str, index: int, letter: str) -> Trial:
    """Return a trial that ended as a letter says."""
    return Trial(
        key=TrialKey(cell=cell, build="b", seed=index + 1, generation=0),
        trial=index,
        launch=1,
        order=0,
        request="r",
        started_at=0.0,
        reply=ChatReply(message={"content": "x"}, content="x", timing=Timing(latency_s=0.1)),
        refusal=None,
        judgement=BY[letter],
        checks="k",
    )


def stopping(
    cells: list[Cell],
    told: list[Event],
    *,
    checks: tuple[str, ...] = ("k",),
    until: Precision = UNTIL,
) -> Stopping:
    """Return what stops the cells; other checks than «k» always say no."""
    return Stopping(
        until=until,
        judges=Judges(
            cells={cell.id: checks for cell in cells}, judge=lambda _, __: Outcome.FAILED
        ),
        launch="demo",
        sink=Nowhere(),
        tell=told.append,
    )


def spared(told: list[Event]) -> tuple[int, int]:
    """Return cells and trials that were spared in all."""
    events = [event for event in told if isinstance(event, TrialsSpared)]
    return sum(event.cells for event in events), sum(event.trials for event in events)


SCRIPT = st.text("ppppfe", min_size=MAX, max_size=MAX) | st.just("p" * MAX) | st.just("f" * MAX)


@given(st.tuples(SCRIPT, SCRIPT, SCRIPT), st.integers(1, 9), st.randoms(use_true_random=False))
def test_every_cell_ends_where_the_rule_holds_or_at_max(
    cells: list[Cell], scripts: tuple[str, str, str], width: int, luck: Random
) -> None:
    """Whatever comes back in whatever order: the trials are the first so many, and are enough."""
    told: list[Event] = []
    run = Run(
        scripts=dict(zip((cell.id for cell in cells), scripts, strict=True)),
        stopping=stopping(cells, told),
    )
    work = [CellWork(cell, (1 << MAX) - 1) for cell in cells]
    run.stopping.begin(work, {})
    run.all(work, width=width, luck=luck)
    not_sent = 0
    for cell in cells:
        sent = len(run.ended[cell.id])
        assert sorted(run.ended[cell.id]) == list(range(sent))
        counted = run.scripts[cell.id][:sent].replace("e", "")
        assert sent == MAX or UNTIL.reached(counted.count("p"), len(counted))
        not_sent += MAX - sent
    assert spared(told)[1] == not_sent


def test_one_at_a_time_stops_at_once(cells: list[Cell]) -> None:
    """Where nothing else is in flight a perfect cell gets not one trial too many."""
    told: list[Event] = []
    run = Run(scripts={cells[0].id: "p" * MAX}, stopping=stopping(cells, told))
    work = [CellWork(cells[0], (1 << MAX) - 1)]
    run.stopping.begin(work, {})
    run.all(work, width=1, luck=ANY_ORDER)
    enough = len(run.ended[cells[0].id])
    assert UNTIL.reached(enough, enough)
    assert not UNTIL.reached(enough - 1, enough - 1)
    assert spared(told) == (1, MAX - enough)


def test_what_was_known_before_counts(cells: list[Cell]) -> None:
    """A run that goes on needs only what is lacking."""
    told: list[Event] = []
    run = Run(scripts={cells[0].id: "p" * MAX}, stopping=stopping(cells, told))
    before = (1 << 10) - 1
    known = CellProgress(kept=before, judged=(Judged(measured=before, passed=before),))
    work = [CellWork(cells[0], ((1 << MAX) - 1) & ~before)]
    run.stopping.begin(work, {cells[0].id: known})
    run.all(work, width=1, luck=ANY_ORDER)
    assert run.ended[cells[0].id][0] == 10
    assert UNTIL.reached(10 + len(run.ended[cells[0].id]), 10 + len(run.ended[cells[0].id]))
    assert spared(told)[1] == MAX - 10 - len(run.ended[cells[0].id])


def test_a_trial_in_flight_may_call_a_cell_back(cells: list[Cell]) -> None:
    """What makes an interval too wide again makes the cell go on, and the total grow again."""
    enough = next(n for n in range(1, MAX) if UNTIL.reached(n, n))
    told: list[Event] = []
    run = Run(
        scripts={cells[0].id: ("p" * enough + "f").ljust(MAX, "p")}, stopping=stopping(cells, told)
    )
    work = [CellWork(cells[0], (1 << MAX) - 1)]
    run.stopping.begin(work, {})
    run.all(work, width=2, luck=None)
    assert [event.cells for event in told if isinstance(event, TrialsSpared)][:2] == [1, -1]
    assert len(run.ended[cells[0].id]) > enough + 1


def test_tests_that_share_their_trials_end_together(cells: list[Cell]) -> None:
    """Each set of checks judges each reply, and all of them must know enough."""
    mixed, told = "pf" * (MAX // 2), list[Event]()
    run = Run(scripts={cells[0].id: mixed}, stopping=stopping(cells, told, checks=("other", "k")))
    work = [CellWork(cells[0], (1 << MAX) - 1)]
    run.stopping.begin(work, {})
    run.all(work, width=1, luck=ANY_ORDER)
    assert len(run.ended[cells[0].id]) == MAX
    assert spared(told) == (0, 0)


def test_cells_that_nobody_judges_get_all_their_trials(cells: list[Cell]) -> None:
    """Greedy cells are not asked whether they have enough."""
    run = Run(scripts={cells[0].id: "p" * MAX}, stopping=stopping([], []))
    work = [CellWork(cells[0], (1 << MAX) - 1)]
    run.stopping.begin(work, {})
    run.all(work, width=4, luck=ANY_ORDER)
    assert len(run.ended[cells[0].id]) == MAX
