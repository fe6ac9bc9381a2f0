"""The trials of a launch: what is stored for which answer, and what runs again."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import pytest

from matrixbench.backends.registry import SessionInfo
from matrixbench.errors import ServerError
from matrixbench.execution.events import Event, ServerRestarted, TrialDone
from matrixbench.execution.trials import Batch, BatchRun, Prompts, interleave
from matrixbench.plan.matrix import build_matrix
from matrixbench.plan.planner import CellWork
from matrixbench.records import (
    Build,
    ChatReply,
    ChatRequest,
    JsonObject,
    Kind,
    Outcome,
    Refusal,
    Timing,
    Trial,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from matrixbench.plan.cells import Cell
    from tests.conftest import Load

EXPERIMENT = """
name: demo
backends: {fake: {kind: scripted, replies: [a]}}
sampling: {temperature: [0.1, 0.2]}
tests:
  - {name: hi, messages: [{role: user, content: hi}], expect: [{content: good}]}
  - {name: ho, messages: [{role: user, content: ho}], expect: [{content: good}]}
"""
BATCH = Batch(name="demo", launch=1, build="b", generation=0, first_seed=lambda _: 10, timeout_s=5)
LOST = Refusal(outcome=Outcome.ERRORED, kind=Kind.NO_CONNECTION, reason="gone")


def said(text: str) -> ChatReply:
    """Return a reply with a content."""
    return ChatReply(message={"content": text}, content=text, timing=Timing(latency_s=0.1))


@dataclass
class Scripted:
    """A session whose answers a function decides, and which dies when it is told to."""

    answer: Callable[[ChatRequest, int], ChatReply | Refusal]
    deaths_allowed: int = 100
    concurrency: int = 3
    asked: list[ChatRequest] = field(default_factory=list)
    flying: int = 0
    flying_at: dict[tuple[str, int], int] = field(default_factory=dict)
    dead: bool = False
    build: str = "b"

    @property
    def info(self) -> SessionInfo:
        """What is known of it."""
        build = Build(id=self.build, kind="scripted", server="scripted")
        return SessionInfo(build=build, concurrency=self.concurrency)

    async def ask(self, request: ChatRequest) -> ChatReply | Refusal:
        """Answer, and note how many requests are under way at the moment."""
        self.asked.append(request)
        self.flying += 1
        await asyncio.sleep(0)
        self.flying_at[request.test, request.trial] = self.flying
        answer = self.answer(request, sum(a == request for a in self.asked))
        self.dead = self.dead or answer is LOST
        self.flying -= 1
        return answer

    def forgive(self, deaths: int) -> None:
        """Forget deaths that a request is to blame for."""
        self.deaths_allowed += deaths

    async def ensure_alive(self) -> bool:
        """Come back from the dead, as often as allowed."""
        if not self.dead:
            return False
        if self.deaths_allowed == 0:
            raise ServerError("it keeps dying")
        self.deaths_allowed -= 1
        self.dead = False
        return True


@dataclass
class MemorySink:
    """Keeps trials in memory."""

    trials: list[Trial] = field(default_factory=list)

    async def put(self, trial: Trial, body: JsonObject | None = None) -> None:
        """Keep a trial."""
        assert body is not None
        self.trials.append(trial)


@dataclass
class Ran:
    """What a batch left behind."""

    session: Scripted
    trials: list[Trial]
    events: list[Event]
    stopped: Refusal | None

    @property
    def outcomes(self) -> dict[Outcome, int]:
        """Outcome → how many."""
        return {
            outcome: sum(trial.judgement.outcome is outcome for trial in self.trials)
            for outcome in Outcome
        }


async def run(load: Load, session: Scripted, *, todo: int = 0b11, text: str = EXPERIMENT) -> Ran:
    """Run every cell of the experiment against a session."""
    experiment = load(text)
    cells: list[Cell] = build_matrix(experiment).launches[0].cells
    prompts = Prompts(experiment.tests)
    sink, events = MemorySink(), list[Event]()
    batch_run = BatchRun(session, BATCH, prompts, sink, events.append)
    tasks = interleave([CellWork(cell, todo) for cell in cells], seed=1)
    stopped = await batch_run.run(tasks, asyncio.Event())
    return Ran(session, sink.trials, events, stopped)


async def test_each_trial_is_asked_once_with_its_seed(load: Load) -> None:
    """Trial i asks for first seed + i, and its reply is judged."""
    ran = await run(load, Scripted(lambda request, _: said("good" if request.trial else "bad")))
    assert ran.outcomes[Outcome.PASSED] == 4
    assert ran.outcomes[Outcome.FAILED] == 4
    assert {(trial.trial, trial.key.seed) for trial in ran.trials} == {(0, 10), (1, 11)}
    assert sum(isinstance(event, TrialDone) for event in ran.events) == 8
    assert max(ran.session.flying_at.values()) == 3


async def test_each_trial_says_how_many_were_sent_at_a_time(load: Load) -> None:
    """That is what the server was sent, not what it may be sent: fewer trials are fewer at once."""
    experiment = load(EXPERIMENT)
    cells = build_matrix(experiment).launches[0].cells
    prompts = Prompts(experiment.tests)
    for todo, at_a_time in ((0b1, 4), (0b111, 8)):
        sink, session = MemorySink(), Scripted(lambda *_: said("good"), concurrency=8)
        batch_run = BatchRun(session, BATCH, prompts, sink, lambda _: None)
        work = [CellWork(cell, todo) for cell in cells]
        count = len(cells) * todo.bit_count()
        await batch_run.run(interleave(work, seed=1), asyncio.Event(), count=count)
        assert {trial.concurrency for trial in sink.trials} == {at_a_time}


async def test_a_trial_that_runs_again_alone_says_so(load: Load) -> None:
    """Its time is that of a server with nothing else to do."""
    busy = Refusal(outcome=Outcome.ERRORED, kind=Kind.OVERLOADED, reason="full", alone=True)
    ran = await run(
        load,
        Scripted(lambda request, tries: busy if request.trial and tries == 1 else said("good")),
    )
    assert {(trial.trial, trial.concurrency) for trial in ran.trials} == {(0, 3), (1, 1)}


async def test_what_the_request_decides_is_not_repeated(load: Load) -> None:
    """One trial stands for the cell that the template rejects; the others run on."""
    no = Refusal(outcome=Outcome.REJECTED, kind=Kind.TEMPLATE_ERROR, reason="no", by_request=True)
    ran = await run(
        load,
        Scripted(lambda request, _: no if request.test == "hi" else said("good"), concurrency=1),
    )
    assert ran.outcomes[Outcome.REJECTED] == 2
    assert ran.outcomes[Outcome.PASSED] == 4


async def test_load_is_tried_again_alone(load: Load) -> None:
    """A refusal that blames the load is sent again with nothing beside it, then it counts."""
    busy = Refusal(
        outcome=Outcome.ERRORED, kind=Kind.OVERLOADED, reason="context exceeded", alone=True
    )
    ran = await run(load, Scripted(lambda _, times: busy if times == 1 else said("good")))
    assert ran.outcomes[Outcome.PASSED] == 8
    assert set(ran.session.flying_at.values()) == {1}


async def test_a_server_that_dies_comes_back_and_its_trials_run_again(load: Load) -> None:
    """A death under way costs nothing but time: every trial has its outcome once."""
    ran = await run(
        load,
        Scripted(
            lambda request, times: (
                LOST if request.test == "hi" and request.trial == 0 and times == 1 else said("good")
            ),
        ),
    )
    assert ran.outcomes == {
        Outcome.PASSED: 8,
        Outcome.FAILED: 0,
        Outcome.REJECTED: 0,
        Outcome.ERRORED: 0,
    }
    assert len({trial.key for trial in ran.trials}) == 8
    assert any(isinstance(event, ServerRestarted) for event in ran.events)


async def test_a_request_that_kills_the_server_twice_is_rejected(load: Load) -> None:
    """It is set aside as kills_server, and the rest go on."""
    ran = await run(
        load,
        Scripted(
            lambda request, _: (
                LOST
                if request.test == "ho" and request.body["temperature"] == 0.2
                else said("good")
            ),
        ),
    )
    killers = [t for t in ran.trials if t.judgement.kind is Kind.KILLS_SERVER]
    assert {t.judgement.outcome for t in killers} == {Outcome.REJECTED}
    assert [t.refusal.by_request for t in killers if t.refusal] == [False, True]
    assert ran.outcomes[Outcome.PASSED] == 6


async def test_one_seed_that_kills_the_server_does_not_stand_for_its_cell(load: Load) -> None:
    """The other seeds of the cell are asked, and they count."""
    ran = await run(
        load,
        Scripted(
            lambda request, _: LOST if request.test == "ho" and request.trial == 1 else said("good")
        ),
        todo=0b1111,
    )
    killers = [t for t in ran.trials if t.judgement.kind is Kind.KILLS_SERVER]
    assert [t.refusal.by_request for t in killers if t.refusal] == [False, False]
    assert ran.outcomes[Outcome.PASSED] == 14


async def test_several_culprits_do_not_use_up_the_restarts(load: Load) -> None:
    """A cell that kills costs two deaths, which are forgiven once it is found out."""
    ran = await run(
        load,
        Scripted(
            lambda request, _: LOST if request.test == "ho" else said("good"),
            deaths_allowed=3,
            concurrency=1,
        ),
        todo=0b111111,
    )
    killers = [t for t in ran.trials if t.judgement.kind is Kind.KILLS_SERVER]
    assert len(killers) == 4
    assert ran.outcomes[Outcome.PASSED] == 12


async def test_a_server_that_hangs_is_started_again(load: Load) -> None:
    """When as many requests hang in a row as are sent at a time, the rest gets a new server."""
    hung = Refusal(outcome=Outcome.ERRORED, kind=Kind.SERVER_HUNG, reason="hung")

    class Hanging(Scripted):
        async def ask(self, request: ChatRequest) -> ChatReply | Refusal:
            """Hang until it is started again, which takes away an allowed death."""
            answer = await super().ask(request)
            if self.deaths_allowed == 100:
                self.dead = True
                return hung
            return answer

    ran = await run(load, Hanging(lambda *_: said("good"), concurrency=2))
    assert ran.outcomes[Outcome.ERRORED] == 2
    assert ran.outcomes[Outcome.PASSED] == 6
    assert sum(isinstance(event, ServerRestarted) for event in ran.events) == 1


async def test_a_lost_connection_to_a_living_server_is_errored(load: Load) -> None:
    """After one more try alone the trial is errored; the server is not blamed."""

    @dataclass
    class Alive(Scripted):
        async def ensure_alive(self) -> bool:
            return False

    ran = await run(load, Alive(lambda request, _: LOST if request.test == "hi" else said("good")))
    assert ran.outcomes[Outcome.ERRORED] == 4
    assert ran.outcomes[Outcome.PASSED] == 4


async def test_a_server_that_keeps_dying_ends_the_launch(load: Load) -> None:
    """The session's own bound on restarts ends the batch with its error."""
    with pytest.raises(ServerError, match="keeps dying"):
        await run(load, Scripted(lambda *_: LOST, deaths_allowed=1))


async def test_a_refusal_for_all_stops_the_launch(load: Load) -> None:
    """After a 401 nothing more is sent."""
    no = Refusal(outcome=Outcome.ERRORED, kind=Kind.UNAUTHORIZED, reason="401", stops_launch=True)
    ran = await run(load, Scripted(lambda *_: no, concurrency=1))
    assert ran.stopped == no
    assert len(ran.session.asked) == 1


async def test_an_interruption_stops_new_requests(load: Load) -> None:
    """Once the event is set nothing more is sent, and what has an outcome is kept."""
    experiment = load(EXPERIMENT)
    cells = build_matrix(experiment).launches[0].cells
    prompts = Prompts(experiment.tests)
    sink, stop = MemorySink(), asyncio.Event()

    def answer(_: ChatRequest, __: int) -> ChatReply:
        stop.set()
        return said("good")

    session = Scripted(answer, concurrency=1)
    batch_run = BatchRun(session, BATCH, prompts, sink, lambda _: None)
    await batch_run.run(interleave([CellWork(cell, 0b1) for cell in cells], seed=1), stop)
    assert len(sink.trials) == len(session.asked) == 1


async def test_a_check_that_raises_makes_the_trial_errored(load: Load) -> None:
    """A bug in a check is never the model's failure."""
    broken = replace(said("good"), content=object())  # type: ignore[arg-type]  # the fault itself
    ran = await run(load, Scripted(lambda *_: broken))
    assert ran.outcomes[Outcome.ERRORED] == 8
    assert {trial.judgement.kind for trial in ran.trials} == {Kind.CHECK_RAISED}


async def test_a_server_that_comes_back_as_another_build_ends_the_launch(load: Load) -> None:
    """Its replies would be taken for the old build's."""

    def answer(request: ChatRequest, _: int) -> ChatReply | Refusal:
        if request.trial == 0:
            return said("good")
        session.build = "rebuilt"
        return LOST

    session = Scripted(answer, concurrency=1)
    with pytest.raises(ServerError, match="demo: the server came back as another build"):
        await run(load, session)
    assert session.asked[-1].trial == 1
