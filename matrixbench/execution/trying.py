"""One trial of a test, for whoever is writing it: sent, judged, shown, and stored nowhere."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

from matrixbench.checks.judge import checks_of, no_reference
from matrixbench.errors import NothingSelectedError, ServerError
from matrixbench.execution.batch import request_body
from matrixbench.execution.company import in_company, place_of
from matrixbench.execution.conversation import Conversation, converse, history
from matrixbench.execution.events import Fetching, LaunchNoticed, LaunchReady, LaunchStarting
from matrixbench.execution.full_context import noticing_full_context
from matrixbench.execution.preflight import check_options
from matrixbench.execution.preparing import Renders, of_dropped_tools, split_off_tools
from matrixbench.execution.workshop import Workshop
from matrixbench.identity import canonical_json
from matrixbench.plan.seeds import SPAN, own_first_seed
from matrixbench.records import ChatReply, ChatRequest, Judgement, Outcome
from matrixbench.spec.backends import LlamaServerBackend
from matrixbench.spec.doubtful import context_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterator, Sequence

    from matrixbench.backends.protocol import Session
    from matrixbench.checks.judge import Checks
    from matrixbench.checks.verdicts import Reference
    from matrixbench.execution.company import Company
    from matrixbench.execution.events import Listener
    from matrixbench.execution.settings import Settings
    from matrixbench.models.files import FetchProgress
    from matrixbench.plan.cells import Cell, Launch
    from matrixbench.records import JsonObject, Refusal
    from matrixbench.spec.load import Experiment, TestCase


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tried:
    """One trial that was sent, or a saved reply that stands for one.

    Args:
        test: The test.
        answer: What came back.
        judgement: What the checks say of it.
        cell: Its cell; None for a saved reply, and so are the next three.
        body: What was sent (of a conversation first), without model and seed.
        seed: The seed that was asked for.
        build: The build that answered.
        prompt: The prompt that the request is rendered to (of a conversation the first one, or the
            one that was refused), where the server does not tell it beside its reply.
        log: The server's log, where nothing was measured.
        log_tail: Its end.
    """

    test: TestCase
    answer: ChatReply | Refusal
    judgement: Judgement
    cell: Cell | None = None
    body: JsonObject | None = None
    seed: int | None = None
    build: str | None = None
    prompt: str | None = None
    log: Path | None = None
    log_tail: str = ""

    @property
    def measured(self) -> bool:
        """Whether there is a verdict, whatever it says."""
        return self.judgement.outcome is not Outcome.ERRORED


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """How trials are sent.

    Args:
        base: The file's seed.
        seed: The seed to ask for; None for that of each test's trial 0.
        timeout_s: How long one reply may take.
    """

    base: int
    seed: int | None
    timeout_s: float

    def of(self, test: TestCase) -> tuple[int, int]:
        """Return the seed to ask for, and which trial of the test that is; where it is none, 0.

        Seeds from the file's on are those of trials of versions before.
        """
        first = own_first_seed(self.base, test)
        asked = first if self.seed is None else self.seed
        indices = (asked - first, asked - self.base)
        return asked, next((index for index in indices if 0 <= index < SPAN), 0)


def manner_of(experiment: Experiment, seed: int | None) -> Manner:
    """Return how an experiment's trials are sent; without a seed each as its cell's trial 0."""
    file = experiment.file
    return Manner(base=file.seed, seed=seed, timeout_s=file.timeouts.request_s)


def judged(
    test: TestCase,
    answer: ChatReply | Refusal,
    checks: Checks,
    reference: Reference = no_reference,
) -> Tried:
    """Return what a test's checks make of an answer."""
    if isinstance(answer, ChatReply):
        judgement = checks.judge(answer, reference)
    else:
        judgement = Judgement.of_refusal(answer)
    return Tried(test=test, answer=answer, judgement=judgement)


async def try_cells(
    experiment: Experiment,
    settings: Settings,
    cells: Sequence[Cell],
    manner: Manner,
    tell: Listener,
) -> AsyncGenerator[Tried]:
    """Send one trial of each cell and yield it; cells of one launch share a server.

    What a check `same_as` compares with is sent first, and yielded as well.

    No store is opened and none appears. Servers write their logs to a temporary folder, which is
    kept only where something could not be measured.

    Args:
        experiment: The experiment.
        settings: The caches and the environment.
        cells: The cells, one launch after the other.
        manner: How to send them.
        tell: Is told of servers that start and are ready, and of tests that do not apply.

    Raises:
        SpecError: A server lacks an option or a chat template that the file names.
        CheckError: A check cannot be loaded.
        ModelError: A model cannot be had.
        ServerError: A server cannot be started or used.
        NothingSelectedError: None of the tests applies: their tools would not reach the prompt.
    """
    company = in_company(experiment, cells, _compiler())
    groups = [list(found) for _, found in groupby(company.cells, key=_server)]
    by_launch = [(found[0].launch, found) for found in groups]
    check_options(experiment, [launch for launch, _ in by_launch], Workshop(settings))
    tried = 0
    dropped: list[Cell] = []
    with _folder_for_logs() as folder:
        settings = replace(settings, store=folder.path / "none")
        trying = _Trying(experiment, settings, manner, company, tell)
        for index, (launch, of_launch) in enumerate(by_launch, 1):
            tell(
                LaunchStarting(
                    name=launch.name, index=index, count=len(by_launch), trials=len(of_launch)
                )
            )
            async with aclosing(trying.launch(launch, of_launch, dropped)) as found:
                async for one in found:
                    tried += 1
                    folder.keep |= not one.measured
                    yield one
    _tell_dropped(dropped, tell, alone=not tried)


def _compiler() -> Callable[[TestCase], Checks]:
    """Return what compiles the checks of a test, once."""
    compiled: dict[int, Checks] = {}

    def checks(test: TestCase) -> Checks:
        if id(test) not in compiled:
            compiled[id(test)] = checks_of(test)
        return compiled[id(test)]

    return checks


def _server(cell: Cell) -> str:
    return canonical_json(cell.launch.coordinates)


def _tell_dropped(dropped: Sequence[Cell], tell: Listener, *, alone: bool) -> None:
    for launch, cells in groupby(dropped, key=lambda cell: cell.launch):
        noticed = of_dropped_tools(launch, [cell.test.name for cell in cells])
        if alone:
            raise NothingSelectedError(noticed.message, where=launch.name, hint=noticed.hint)
        tell(LaunchNoticed(name=launch.name, message=noticed.message, hint=noticed.hint))


@dataclass(slots=True)
class _LogFolder:
    path: Path
    keep: bool = False


@contextmanager
def _folder_for_logs() -> Iterator[_LogFolder]:
    folder = _LogFolder(Path(tempfile.mkdtemp(prefix="matrixbench-try-")))
    try:
        yield folder
    except ServerError:
        folder.keep = True  # its message names the log
        raise
    finally:
        if not folder.keep or not any(path.is_file() for path in folder.path.rglob("*")):
            shutil.rmtree(folder.path, ignore_errors=True)


class _Trying:
    """What the launches of one `try` share."""

    def __init__(
        self,
        experiment: Experiment,
        settings: Settings,
        manner: Manner,
        company: Company,
        tell: Listener,
    ) -> None:
        self._experiment = experiment
        self._workshop = Workshop(settings)
        self._manner = manner
        self._company = company
        self._tell = tell

    async def launch(
        self, launch: Launch, cells: Sequence[Cell], dropped: list[Cell]
    ) -> AsyncGenerator[Tried]:
        """Yield a launch's trials; add to `dropped` the cells whose tools it would not see."""
        began = monotonic()
        order = await self._workshop.order(launch, self._experiment, self._fetching)
        async with self._workshop.open(order) as session:
            asked, toolless = split_off_tools(cells, session.info.effective)
            self._tell_ready(launch, session, len(asked), monotonic() - began)
            dropped += toolless
            for remark in session.info.noticed:
                noticed = LaunchNoticed(name=launch.name, message=remark.message, hint=remark.hint)
                self._tell(noticed)
            if any(cell in self._company.added for cell in asked):
                message = "asked as well: same_as compares with its reply"
                self._tell(LaunchNoticed(name=launch.name, message=message, hint=""))
            for cell in asked:
                yield await self._one(cell, session)

    async def _one(self, cell: Cell, session: Session) -> Tried:
        body = request_body(cell)
        seed, trial = self._manner.of(cell.test)
        verbose = {"verbose": True} if _is_llama_cpp(cell.launch, session) else {}
        request = ChatRequest(
            body={**verbose, **body},
            seed=seed,
            trial=trial,
            test=cell.test.name,
            timeout_s=self._manner.timeout_s,
        )
        script = cell.test.script
        conversation = None if script is None else Conversation(script, where=cell.test.name)
        ask = noticing_full_context(session, context_of(cell.launch.spec))
        answer = await converse(ask, request, conversation)
        if not isinstance(answer, ChatReply) and answer.stops_launch:
            raise ServerError(answer.reason, where=cell.launch.name)
        self._company.heard[place_of(cell)] = answer
        checks = self._company.checks(cell.test).taking_apart(cell.launch.reasoning_marks)
        found = judged(cell.test, answer, checks, self._company.reference(cell))
        return replace(
            found,
            cell=cell,
            body=body,
            seed=seed,
            build=session.info.build.id,
            prompt=await _prompt(session, body, answer),
            log=None if found.measured else session.info.log,
            log_tail="" if found.measured else _log_tail(session),
        )

    def _tell_ready(self, launch: Launch, session: Session, trials: int, seconds: float) -> None:
        info = session.info
        self._tell(
            LaunchReady(
                name=launch.name,
                trials=trials,
                build=info.build.id,
                concurrency=info.concurrency,
                log=info.log,
                seconds=seconds,
            )
        )

    def _fetching(self, progress: FetchProgress) -> None:
        self._tell(Fetching.seen(progress))


def _is_llama_cpp(launch: Launch, session: Session) -> bool:
    """Return whether a server knows `verbose`; others may refuse a field that they do not know."""
    return isinstance(launch.spec, LlamaServerBackend) or "build_info" in session.info.effective


async def _prompt(session: Session, body: JsonObject, answer: ChatReply | Refusal) -> str | None:
    """Return the prompt where it does not stand beside the reply.

    Of a conversation that was refused it is the one that was refused.
    """
    told = isinstance(answer, ChatReply) and answer.view is not None and answer.view.prompt
    if told or not isinstance(session, Renders):
        return None
    said = [] if isinstance(answer, ChatReply) else history(answer.earlier)
    return await session.rendered({**body, "messages": [*body["messages"], *said]})


def _log_tail(session: Session) -> str:
    from matrixbench.backends.process import log_tail  # noqa: PLC0415  only where something failed

    return "" if session.info.log is None else log_tail(session.info.log)
