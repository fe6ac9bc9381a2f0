"""The trials of one launch against its running server: their order, doubts, full contexts."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from random import Random
from time import time
from typing import TYPE_CHECKING, Protocol, TypeAlias

from matrixbench.backends.http.faults import alike
from matrixbench.backends.http.served_names import misnamed
from matrixbench.checks.judge import checks_of
from matrixbench.errors import ServerError
from matrixbench.execution.conversation import Conversation, converse
from matrixbench.execution.events import LaunchNoticed, ServerRestarted, TrialDone
from matrixbench.identity import digest
from matrixbench.records import (
    Attempt,
    ChatReply,
    ChatRequest,
    Judgement,
    Kind,
    Outcome,
    Refusal,
    Trial,
    TrialKey,
)
from matrixbench.spec.trust import TRUSTED

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence

    from matrixbench.backends.registry import Session, SessionInfo
    from matrixbench.checks.judge import Checks
    from matrixbench.execution.events import Listener
    from matrixbench.plan.cells import Cell, Launch, RequestPoint
    from matrixbench.plan.planner import CellWork
    from matrixbench.records import JsonObject
    from matrixbench.spec.backends import Backend
    from matrixbench.spec.load import TestCase
    from matrixbench.spec.trust import Trust


@dataclass(frozen=True, slots=True)
class Task:
    """One trial to be sent: its cell, its index in the cell, its place in the launch's order."""

    cell: Cell
    trial: int
    order: int


def interleave(work: Sequence[CellWork], seed: int) -> Iterator[Task]:
    """Yield a launch's trials in rounds: trial 0 of every cell, then trial 1, and so on.

    Drift of the machine thereby hits all cells alike, and a run that is cut off shows the whole
    map. Within a round the order is shuffled by `seed`, with the cells of one test kept together:
    they share their prompt, so that the server's prompt cache still serves.
    """
    order = 0
    rounds = max((item.todo.bit_length() for item in work), default=0)
    for trial in range(rounds):
        tests: dict[TestCase, list[Cell]] = {}
        for item in work:
            if item.todo >> trial & 1:
                tests.setdefault(item.cell.test, []).append(item.cell)
        random = Random(f"{seed}/{trial}")  # noqa: S311  an order, not a secret
        groups = list(tests.values())
        random.shuffle(groups)
        for cells in groups:
            random.shuffle(cells)
            for cell in cells:
                yield Task(cell, trial, order)
                order += 1


Ask: TypeAlias = "Callable[[ChatRequest], Awaitable[ChatReply | Refusal]]"

LENGTH = "length"

_LEFT = 1
"""Tokens that may be left of a full context: some builds stop before they write the last one."""


def noticing_full_context(session: Session, declared: int | None) -> Ask:
    """Return what asks a session, and marks the replies that filled its context.

    Args:
        declared: The context that the file says, where the server does not say its own.
    """

    async def ask(request: ChatRequest) -> ChatReply | Refusal:
        answer = await session.ask(request)
        if not isinstance(answer, ChatReply) or answer.finish_reason != LENGTH:
            return answer
        return marked(answer, request.body.get("max_tokens"), context_in(session.info) or declared)

    return ask


def marked(reply: ChatReply, most: object, context: int | None) -> ChatReply:
    """Return a reply that was cut off, with the context if that is what it filled.

    Args:
        most: The `max_tokens` that it was asked for with.
        context: Tokens that one request may use; None where nobody says.
    """
    prompt, completion = reply.prompt_tokens, reply.completion_tokens
    if context is None or prompt is None or completion is None:
        return reply
    reached = isinstance(most, int) and completion >= most
    if reached or prompt + completion < context - _LEFT:
        return reply
    return replace(reply, filled_context=context)


def context_in(info: SessionInfo) -> int | None:
    """Return how many tokens one request may use, where the server says so."""
    said: JsonObject = info.effective
    model = said.get("model")
    listed = model.get("max_model_len") if isinstance(model, dict) else None
    found = said.get("n_ctx") or said.get("context_length") or listed
    return found if isinstance(found, int) and not isinstance(found, bool) else None


def rounded_context(backend: Backend, info: SessionInfo) -> str:
    """Return that a server made more of the context than was asked for; empty where it did not."""
    asked, has = backend.context_given, context_in(info)
    if asked is None or has is None or has <= asked or not info.command:
        return ""
    return f"context: {asked} was asked for, and the server rounded it up to {has:,} tokens a slot"


class Doubts:
    """Which cells were refused in words that nobody understands, and by nothing else.

    A 400 may be the request's fault, and then every seed gets it; or the model's, whose words the
    server could not read. So it stands for its cell once a second seed got the same, nothing else
    was ever said to one, and no other trial of the cell is under way.
    """

    def __init__(self, answered: frozenset[str] = frozenset()) -> None:
        self._answered = set(answered)
        self._refused: dict[str, str] = {}
        self._asking: Counter[str] = Counter()

    @contextmanager
    def asking(self, cell: str) -> Iterator[None]:
        """Have a trial of a cell count as under way."""
        self._asking[cell] += 1
        try:
            yield
        finally:
            self._asking[cell] -= 1

    def replied(self, cell: str) -> None:
        """Note that a request of a cell was answered with a reply."""
        self._answered.add(cell)

    def settled(self, cell: str, refusal: Refusal) -> Refusal:
        """Return a refusal, `by_request` where it stands for its cell from now on."""
        if refusal.by_request or refusal.outcome is Outcome.ERRORED:
            return refusal
        if not refusal.unexplained or refusal.earlier:
            self._answered.add(cell)
            return refusal
        before = self._refused.get(cell)
        if before is None:
            self._refused[cell] = refusal.reason
            return refusal
        if not alike(before, refusal.reason):
            self._answered.add(cell)
        stands = cell not in self._answered and not self._asking[cell]
        return replace(refusal, by_request=stands)


def attempts_of(answer: Refusal) -> tuple[Attempt, ...]:
    """Return what was heard of a trial that is sent again as a whole."""
    last = Attempt(
        kind=answer.kind, reason=answer.reason, latency_s=answer.latency_s, body=answer.body
    )
    return (*answer.attempts, last)


def with_attempts(answer: ChatReply | Refusal, before: tuple[Attempt, ...]) -> ChatReply | Refusal:
    """Return an answer with what was heard when its trial was sent before."""
    return replace(answer, attempts=(*before, *answer.attempts)) if before else answer


DROP_AFTER_S = 5.0
"""How long requests in flight may take to finish once the user asked to stop."""

_DEATHS_TO_BLAME = 2
"""A request that was in flight this many times when the server died is held to have killed it."""


class Sink(Protocol):
    """Where trials go."""

    async def put(self, trial: Trial, body: JsonObject | None = None) -> None:
        """Take a trial to be stored; waits while too many are under way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What the trials of one launch share.

    Args:
        launch: Its number in the store.
        first_seed: Returns the seed of a cell's trial 0; trial i asks for that plus i.
        context: Tokens that one request may use, as the file says; None where it does not.
        extra: Fields that are sent as well, and are no part of the request that is stored.
    """

    name: str
    launch: int
    build: str
    generation: int
    first_seed: Callable[[Cell], int]
    timeout_s: float
    context: int | None = None
    extra: JsonObject = field(default_factory=dict)

    def seed(self, task: Task) -> int:
        """Return the seed that a trial asks for."""
        return self.first_seed(task.cell) + task.trial


class Prompts:
    """What each cell sends, what follows a reply, and how it is judged, worked out once.

    Raises:
        CheckError: A check, or a matcher of a tool's results, is wrong.
    """

    def __init__(self, tests: Iterable[TestCase], trust: Trust = TRUSTED) -> None:
        self._trust = trust
        self.checks: dict[TestCase, Checks] = {}
        self._conversations: dict[TestCase, Conversation] = {}
        self._of_launch: dict[tuple[Launch, TestCase], Checks] = {}
        self._bodies: dict[tuple[RequestPoint, TestCase], tuple[JsonObject, str]] = {}
        self.add(tests)

    def add(self, tests: Iterable[TestCase]) -> None:
        """Compile the checks and the scripts of more tests."""
        for test in tests:
            self.checks[test] = checks_of(test, self._trust)
            if test.script is not None:
                self._conversations[test] = Conversation(test.script, where=test.name)

    def body(self, cell: Cell) -> tuple[JsonObject, str]:
        """Return a cell's request body and its digest."""
        key = cell.point, cell.test
        if key not in self._bodies:
            body = request_body(cell)
            self._bodies[key] = (body, digest(body))
        return self._bodies[key]

    def checks_of(self, cell: Cell) -> Checks:
        """Return what judges a cell's replies: its test's checks, for what its server writes."""
        key = cell.launch, cell.test
        if key not in self._of_launch:
            own = self.checks[cell.test].taking_apart(cell.launch.reasoning_marks)
            self._of_launch[key] = own
        return self._of_launch[key]

    def conversation(self, test: TestCase) -> Conversation | None:
        """Return a test's compiled script; None where a trial is one request."""
        return self._conversations.get(test)


def request_body(cell: Cell) -> JsonObject:
    """Return what a cell sends, in OpenAI's shape, without model and seed.

    `stream` is in it where it is true: false is what is sent without a word.
    """
    test = cell.test
    tools: JsonObject = {"tools": list(test.tools)} if test.tools else {}
    return {"messages": list(test.messages), **tools, **cell.point.fields}


@dataclass(slots=True)
class _State:
    """What the workers of a batch share."""

    stood: set[str] = field(default_factory=set)
    suspects: set[str] = field(default_factory=set)
    killers: set[str] = field(default_factory=set)
    answered: set[str] = field(default_factory=set)
    hung_in_a_row: int = 0
    doubts: Doubts = field(default_factory=Doubts)
    heard: dict[Task, tuple[Attempt, ...]] = field(default_factory=dict)
    alone: list[tuple[Task, int]] = field(default_factory=list)
    stop: Refusal | None = None
    named: str | None = None
    told: bool = False
    revive: asyncio.Lock = field(default_factory=asyncio.Lock)
    epoch: int = 0


class BatchRun:
    """Runs the trials of one launch, a number of them at a time.

    Args:
        answered: Cells that the store has answers of already.
        restarts: Whether a server that dies is started again.
    """

    def __init__(
        self,
        session: Session,
        batch: Batch,
        prompts: Prompts,
        sink: Sink,
        listener: Listener,
        *,
        answered: frozenset[str] = frozenset(),
        restarts: bool = True,
    ) -> None:
        self._session = session
        self._restarts = restarts
        self._ask = noticing_full_context(session, batch.context)
        self._batch = batch
        self._prompts = prompts
        self._sink = sink
        self._listener = listener
        self._state = _State(doubts=Doubts(answered))
        self._in_force = 1

    async def run(
        self, tasks: Iterator[Task], interrupted: asyncio.Event, *, count: int | None = None
    ) -> Refusal | None:
        """Send all trials; return the refusal that stopped the launch, or None.

        Args:
            count: How many there are at most; None where that is not known.

        Raises:
            ServerError: The server died more often than it may.
            StoreError: The trials cannot be stored.
        """
        workers_wanted = self._session.info.concurrency
        self._in_force = workers_wanted if count is None else max(1, min(workers_wanted, count))
        try:
            async with asyncio.TaskGroup() as workers:
                running = [
                    workers.create_task(self._work(tasks, interrupted))
                    for _ in range(workers_wanted)
                ]
                watch = workers.create_task(_drop_when(interrupted, running))
                await asyncio.wait(running)
                watch.cancel()
        except* Exception as group:  # noqa: BLE001  the first cause is what the user needs
            raise _first(group) from None
        self._in_force = 1
        while self._state.alone and not interrupted.is_set() and self._state.stop is None:
            task, deaths = self._state.alone.pop(0)
            if task.cell.id not in self._state.stood:
                await self._attempt(task, deaths, alone=True)
        return self._state.stop

    async def one(self, task: Task) -> Refusal | None:
        """Send one trial by itself; return the refusal that stops the launch, or None.

        Raises:
            ServerError: The server died more often than it may.
        """
        await self._attempt(task, 0, alone=True)
        return self._state.stop

    async def _work(self, tasks: Iterator[Task], interrupted: asyncio.Event) -> None:
        state = self._state
        for task in tasks:
            if interrupted.is_set() or state.stop is not None:
                return
            if task.cell.id in state.stood:
                continue
            if task.cell.id in state.suspects:
                # Its request was in flight when the server died: until that is cleared up, its
                # other trials would only cost one restart each.
                state.alone.append((task, 0))
                continue
            if state.revive.locked():
                async with state.revive:  # a request sent now would be held to have met a death
                    pass
            await self._attempt(task, 0, alone=False)

    async def _attempt(self, task: Task, deaths: int, *, alone: bool) -> None:
        batch = self._batch
        body, body_digest = self._prompts.body(task.cell)
        started_at = time()
        epoch = self._state.epoch
        request = ChatRequest(
            body={**batch.extra, **body} if batch.extra else body,
            seed=batch.seed(task),
            trial=task.trial,
            test=task.cell.test.name,
            timeout_s=batch.timeout_s,
        )
        conversation = self._prompts.conversation(task.cell.test)
        with self._state.doubts.asking(task.cell.id):
            answer = await converse(self._ask, request, conversation)
        answer = with_attempts(answer, self._state.heard.pop(task, ()))
        if answer.earlier:
            self._state.answered.add(task.cell.id)
            self._state.hung_in_a_row = 0
        answer = self._of_another_model(answer)
        if isinstance(answer, Refusal):
            refusal = await self._settle(answer, task, deaths, epoch, alone=alone)
            if refusal is None:
                self._state.heard[task] = attempts_of(answer)
                return
            answer = refusal
        else:
            self._state.answered.add(task.cell.id)
            self._state.doubts.replied(task.cell.id)
            self._state.hung_in_a_row = 0
        await self._store(task, answer, body, body_digest, started_at)
        if isinstance(answer, Refusal) and answer.kind is Kind.SERVER_HUNG:
            await self._after_hang(alone=alone)

    def _of_another_model(self, answer: ChatReply | Refusal) -> ChatReply | Refusal:
        """Say once that another model answers; where that is not to be, return a refusal."""
        info = self._session.info
        if not isinstance(answer, ChatReply) or answer.model == self._state.named:
            return answer
        remark = misnamed(info.asked_model, answer.model)
        if remark is not None and info.strict_model:
            return Refusal(
                outcome=Outcome.ERRORED,
                kind=Kind.WRONG_MODEL,
                reason=remark.message,
                stops_launch=True,
                latency_s=answer.timing.latency_s,
                earlier=answer.earlier,
                attempts=answer.attempts,
            )
        self._state.named = answer.model
        if remark is not None and not info.noticed and not self._state.told:
            self._state.told = True
            self._listener(
                LaunchNoticed(name=self._batch.name, message=remark.message, hint=remark.hint)
            )
        return answer

    async def _settle(
        self, refusal: Refusal, task: Task, deaths: int, epoch: int, *, alone: bool
    ) -> Refusal | None:
        """Return what to store for a refusal, or None where the trial is to run again alone."""
        if refusal.stops_launch:
            self._state.stop = refusal
            return refusal
        refusal = self._state.doubts.settled(task.cell.id, refusal)
        if refusal.by_request:
            self._state.stood.add(task.cell.id)
            return refusal
        if refusal.kind is Kind.NO_CONNECTION:
            return await self._after_lost_connection(refusal, task, deaths, epoch, alone=alone)
        if refusal.alone and not alone:
            self._state.alone.append((task, deaths))
            return None
        return refusal

    async def _after_lost_connection(
        self, refusal: Refusal, task: Task, deaths: int, epoch: int, *, alone: bool
    ) -> Refusal | None:
        died = await self._revive(epoch)
        if died:
            deaths += 1
            self._state.suspects.add(task.cell.id)
            if deaths >= _DEATHS_TO_BLAME and alone:
                self._session.forgive(deaths)
                return self._culprit(task.cell.id, deaths, refusal)
            # A suspect is tried again at once, before others cost the server more of its lives.
            self._state.alone.insert(0 if alone else len(self._state.alone), (task, deaths))
            return None
        if alone:
            return refusal
        self._state.alone.append((task, deaths))
        return None

    async def _after_hang(self, *, alone: bool) -> None:
        """Start a server again that leaves every request unanswered until its time is up.

        One request that hangs alone may be the request's; as many in a row as are sent at a time,
        with no reply between them, are the server's.
        """
        self._state.hung_in_a_row += 1
        if alone or self._state.hung_in_a_row >= self._session.info.concurrency:
            self._state.hung_in_a_row = 0
            await self._revive(self._state.epoch)

    def _culprit(self, cell: str, deaths: int, refusal: Refusal) -> Refusal:
        """Return the rejection of a request that kills the server.

        One seed may do it and the next not. Where a second one does and none was ever answered, it
        is the request: it stands for the cell, and the server is spared the rest.
        """
        by_request = cell in self._state.killers and cell not in self._state.answered
        self._state.killers.add(cell)
        if by_request:
            self._state.stood.add(cell)
        return replace(
            refusal,
            outcome=Outcome.REJECTED,
            kind=Kind.KILLS_SERVER,
            reason=f"the server died {deaths} times while this request was in flight",
            by_request=by_request,
        )

    async def _revive(self, epoch: int) -> bool:
        """Bring a dead server back; return whether it died since `epoch` was read."""
        if not self._restarts:
            return False
        async with self._state.revive:
            if self._state.epoch != epoch:
                return True
            if not await self._session.ensure_alive():
                return False
            if self._session.info.build.id != self._batch.build:
                raise ServerError(
                    f"{self._batch.name}: the server came back as another build",
                    hint="--resume runs what is left with what is there now",
                )
            self._state.epoch += 1
            self._listener(ServerRestarted(name=self._batch.name))
            return True

    async def _store(
        self,
        task: Task,
        answer: ChatReply | Refusal,
        body: JsonObject,
        body_digest: str,
        started_at: float,
    ) -> None:
        batch = self._batch
        checks = self._prompts.checks_of(task.cell)
        judgement = (
            await checks.judge_beside(answer)
            if isinstance(answer, ChatReply)
            else Judgement.of_refusal(answer)
        )
        trial = Trial(
            key=TrialKey(
                cell=task.cell.id,
                build=batch.build,
                seed=batch.seed(task),
                generation=batch.generation,
            ),
            trial=task.trial,
            launch=batch.launch,
            order=task.order,
            request=body_digest,
            started_at=started_at,
            reply=answer if isinstance(answer, ChatReply) else None,
            refusal=answer if isinstance(answer, Refusal) else None,
            judgement=judgement,
            checks=checks.digest,
            concurrency=self._in_force,
        )
        await self._sink.put(trial, body)
        self._listener(
            TrialDone(
                launch=batch.name,
                outcome=judgement.outcome,
                kind=judgement.kind,
                reason=judgement.reason,
            )
        )


async def _drop_when(interrupted: asyncio.Event, running: list[asyncio.Task[None]]) -> None:
    """Cancel the requests in flight if they have not finished soon after an interruption."""
    await interrupted.wait()
    _, late = await asyncio.wait(running, timeout=DROP_AFTER_S)
    for task in late:
        task.cancel()


def _first(group: BaseExceptionGroup[Exception]) -> Exception:
    first = group.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first
