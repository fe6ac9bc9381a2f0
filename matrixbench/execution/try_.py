"""One trial of a test, for whoever is writing it: a run whose trials go to the screen, unstored."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import groupby
from math import nan
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeAlias

from matrixbench.backends.http.openai_reply import BROKEN, Answer, classify
from matrixbench.backends.process import log_tail
from matrixbench.backends.registry import answer_of
from matrixbench.checks.judge import no_reference
from matrixbench.checks.reasoning import taken_apart
from matrixbench.checks.verdicts import UnjudgeableError
from matrixbench.errors import NothingSelectedError, ServerError, UsageError
from matrixbench.execution.conversation import history
from matrixbench.execution.events import LaunchNoticed, LaunchStarting
from matrixbench.execution.inspection import Renders, of_dropped_tools, split_off_tools
from matrixbench.execution.judging import partners_of
from matrixbench.execution.launches import serving, tell_ready
from matrixbench.execution.preflight import check_options
from matrixbench.execution.prepare import nothing_in_file, selected, selector_of
from matrixbench.execution.servers import Servers
from matrixbench.execution.trials import Batch, BatchRun, Prompts, Task
from matrixbench.identity import canonical_json
from matrixbench.plan.matrix import build_matrix
from matrixbench.plan.seeds import SPAN, own_first_seed
from matrixbench.records import ChatReply, Judgement, Kind, Outcome, Refusal, Turn
from matrixbench.safe_files import open_input
from matrixbench.spec.axes import Level, fits, is_glob, level_of, values_of_axis
from matrixbench.spec.backends import Obstacle
from matrixbench.spec.wording import choose, listed

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence

    from matrixbench.backends.registry import Session
    from matrixbench.checks.judge import Checks
    from matrixbench.checks.verdicts import Reference
    from matrixbench.execution.events import Event, Listener
    from matrixbench.execution.settings import Settings
    from matrixbench.plan.cells import Cell, Launch, NotApplicable
    from matrixbench.plan.matrix import Matrix
    from matrixbench.records import JsonObject, Trial
    from matrixbench.spec.load import Experiment, TestCase


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Choice:
    """The cells that were chosen, and what else would have fitted.

    Args:
        cells: The first cell of each test, those of one launch together.
        matching: How many cells fit.
        differing: Axis → its values, where the cells that fit have several.
        aside: Of each test without a cell, one that does not apply.
    """

    cells: tuple[Cell, ...]
    matching: int
    differing: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    aside: tuple[NotApplicable, ...] = ()


def choose_cells(experiment: Experiment, tests: Sequence[str], where: Sequence[str]) -> Choice:
    """Return the first cell of each test that is named.

    Args:
        tests: Names of tests, or globs; may be empty where there is only one test.

    Raises:
        UsageError: There is no such test, none is named, or a selector is wrong.
        NothingSelectedError: No cell is selected, or none of the selected ones applies.
        SpecError: The matrix is too large.
    """
    named = replace(experiment, tests=_named(experiment, tests))
    matrix = build_matrix(named, selector_of(experiment, where))
    first: dict[TestCase, Cell] = {}
    for group in matrix.launches:
        for cell in group.cells:
            first.setdefault(cell.test, cell)
    aside = _aside(matrix, {cell.test.name for cell in first.values()})
    if not first:
        raise _nothing(experiment, aside, where)
    places = {group.launch: place for place, group in enumerate(matrix.launches)}
    cells = [first[test] for test in named.tests if test in first]
    return Choice(
        cells=tuple(sorted(cells, key=lambda cell: places[cell.launch])),
        matching=matrix.cells,
        differing=_differing(matrix),
        aside=aside,
    )


def choose_test(experiment: Experiment, tests: Sequence[str], where: Sequence[str]) -> TestCase:
    """Return the one test that is meant; without a selector, whether it applies or not.

    Raises:
        UsageError: There is no such test, several are meant, or a selector is wrong.
        NothingSelectedError: The selector leaves no cell.
        SpecError: The matrix is too large.
    """
    named = _named(experiment, tests)
    if where:
        named = tuple(cell.test for cell in choose_cells(experiment, tests, where).cells)
    if len(named) > 1:
        raise UsageError(
            f"a reply is judged by the checks of one test, and {len(named)} are meant",
            where=str(experiment.path),
            hint=f"choose with --test or --where: {listed(test.name for test in named)}",
        )
    return named[0]


def marks_of_all(experiment: Experiment, where: Sequence[str]) -> tuple[str, ...]:
    """Return the marks of reasoning that are taken out of every selected launch's replies.

    A saved reply is no launch's. Where launches differ, none is taken out: a note tells of them.

    Raises:
        UsageError: A selector is wrong.
        SpecError: The matrix is too large.
    """
    groups = build_matrix(experiment, selector_of(experiment, where)).launches
    marks = {group.launch.reasoning_marks for group in groups}
    return marks.pop() if len(marks) == 1 else ()


def _named(experiment: Experiment, patterns: Sequence[str]) -> tuple[TestCase, ...]:
    names = list(dict.fromkeys(test.name for test in experiment.tests))
    if not patterns:
        if len(experiment.tests) == 1:
            return experiment.tests
        raise UsageError(
            "which test is to be tried?",
            where=str(experiment.path),
            hint=f"name one with --test, or several with a glob: {listed(names)}",
        )
    for pattern in patterns:
        if not any(fits(pattern, name) for name in names):
            what = "no test matches" if is_glob(pattern) else "there is no test"
            raise UsageError(
                f"{what} «{pattern}»",
                where=str(experiment.path),
                hint=choose(pattern, names, what="its tests"),
            )
    return tuple(
        test for test in experiment.tests if any(fits(pattern, test.name) for pattern in patterns)
    )


def _aside(matrix: Matrix, applicable: set[str]) -> tuple[NotApplicable, ...]:
    found: dict[str, NotApplicable] = {}
    for point in matrix.not_applicable:
        if (test := point.coordinates["test"]) not in applicable:
            found.setdefault(test, point)
    return tuple(found.values())


def _differing(matrix: Matrix) -> dict[str, Sequence[Any]]:
    values = values_of_axis(cell.coordinates() for group in matrix.launches for cell in group.cells)
    return {
        axis: several
        for axis, several in values.items()
        if len(several) > 1 and level_of(axis) is not Level.TEST
    }


def _nothing(
    experiment: Experiment, aside: Sequence[NotApplicable], where: Sequence[str]
) -> NothingSelectedError:
    if not aside:
        return nothing_in_file(experiment, where)
    names = listed(point.coordinates["test"] for point in aside)
    return NothingSelectedError(
        f"not applicable: {names}: {aside[0].reason}",
        where=str(experiment.path),
        hint=aside[0].hint,
    )


STDIN = "-"
MAX_BYTES = 32 * 1024 * 1024
"""A larger file is no reply."""

SHAPES = (
    "a whole answer of a chat API (with `choices`), an assistant's message (with `role`), "
    "what `show --trial` or `try` print with --json, or, in a .txt file, the text alone"
)
_OK = 200


def read_reply(name: str) -> ChatReply | Refusal:
    """Return the reply that a file holds; `-` is standard input.

    A `.txt` file is the reply's text (less its last line break) and a `.json` file a reply in JSON;
    any other is in JSON where it has one of the known shapes, and else the text. An answer that
    holds an error is judged as one. The reply's latency is not a number: nobody measured it.

    Raises:
        UsageError: The file cannot be read, or is in no known shape.
    """
    where = "standard input" if name == STDIN else name
    text = _read(name, where)
    suffix = Path(name).suffix.lower()
    data = None if suffix == ".txt" else _json(text)
    answer = _answer(data)
    if answer is None and suffix != ".json":
        answer = _heard({"role": "assistant", "content": text.removesuffix("\n")})
    if isinstance(answer, Refusal) and answer.reason.startswith(BROKEN):
        raise _no_reply(answer.reason.removeprefix(BROKEN), where)
    if answer is None:
        found = "not JSON" if data is None else "JSON of another shape"
        raise _no_reply(found, where)
    return answer


def _no_reply(found: str, where: str) -> UsageError:
    return UsageError(f"this is no reply: {found}", where=where, hint=f"it may hold {SHAPES}")


def _read(name: str, where: str) -> str:
    try:
        if name == STDIN:
            content = sys.stdin.buffer.read(MAX_BYTES + 1)
        else:
            with open_input(Path(name)) as file:
                content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise _no_reply(f"more than {MAX_BYTES >> 20} MB", where)
        return content.decode()
    except UnicodeDecodeError:
        raise _no_reply("not text in UTF-8", where) from None
    except OSError as error:
        raise UsageError(
            f"the reply cannot be read: {error.strerror}",
            where=where,
            hint="--reply names a file, or is - for standard input",
        ) from error


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _answer(data: Any) -> ChatReply | Refusal | None:
    """Return the reply that JSON holds; None where it is in no known shape."""
    match data:
        case {"choices": [_, *_]} | {"error": str() | dict()}:
            return classify(_received(data))
        case {"role": "assistant"}:
            return _heard(data)
        case {"content": _, "tool_calls": [*calls], "reasoning": _}:
            return _conversation(data, calls)
        case {"trials": [dict() as one]}:
            return _answer(one)
        case _:
            return answer_of(data, _received(data))


def _conversation(data: JsonObject, calls: list[Any]) -> ChatReply | Refusal | None:
    """Return a reply as `show` prints it, with the turns of a conversation before it."""
    last = _shown(data, calls)
    earlier: list[Turn] = []
    for turn in data.get("earlier") or ():
        before = _answer(turn) if isinstance(turn, dict) else None
        then = turn.get("then") if isinstance(turn, dict) else None
        if not isinstance(before, ChatReply) or not isinstance(then, list):
            return None
        earlier.append(Turn(reply=before, then=tuple(then)))
    if not isinstance(last, ChatReply):
        return last
    return replace(last, earlier=tuple(earlier), turn_limit=data.get("turn_limit") is True)


def _shown(data: JsonObject, calls: list[Any]) -> ChatReply | Refusal:
    """Return a reply as `show` prints it, with its calls not wrapped."""
    message = {
        "role": "assistant",
        "content": data["content"],
        "reasoning_content": data["reasoning"],
        "tool_calls": [
            {"id": call.get("id"), "function": call} if isinstance(call, dict) else call
            for call in calls
        ],
    }
    return _heard(message, finish_reason=data.get("finish_reason"))


def _heard(message: JsonObject, finish_reason: str | None = None) -> ChatReply | Refusal:
    return classify(_received({"choices": [{"message": message, "finish_reason": finish_reason}]}))


def _received(data: object) -> Answer:
    return Answer(status=_OK, content_type="", body=json.dumps(data).encode(), latency_s=nan)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tried:
    """One trial that was sent, or a saved reply that stands for one.

    Args:
        judgement: What the checks say of it.
        cell: Its cell; None for a saved reply, and so are the next three.
        body: What was sent (of a conversation first), without model and seed.
        seed: The seed that was asked for.
        build: The build that answered.
        prompt: The prompt that the request is rendered to (of a conversation the first one, or the
            one that was refused), where the server does not tell it beside its reply.
        log: The server's log, where nothing was measured.
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


def judged(
    test: TestCase, answer: ChatReply | Refusal, checks: Checks, reference: Reference = no_reference
) -> Tried:
    """Return what a test's checks make of an answer."""
    if isinstance(answer, ChatReply):
        judgement = checks.judge(answer, reference)
    else:
        judgement = Judgement.of_refusal(answer)
    return Tried(test=test, answer=answer, judgement=judgement)


Place: TypeAlias = str
"""A cell's coordinates as text: two matrices of one experiment have no cell in common."""


def _place(cell: Cell) -> Place:
    return canonical_json(cell.coordinates())


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ReferenceCells:
    """Cells that are tried, with those that they are compared with.

    Args:
        cells: All of them, each after those that it is compared with.
        added: Those that are there for comparison alone.
        compared: Place → key of a `same_as` → the other cell, or why there is none.
    """

    cells: list[Cell]
    added: list[Cell]
    compared: dict[Place, dict[str, Cell | Obstacle]]


def with_references(
    experiment: Experiment, cells: Sequence[Cell], prompts: Prompts
) -> ReferenceCells:
    """Return cells with those that their checks compare with, whose tests are compiled as well."""

    def whole() -> Iterator[Cell]:
        return selected(build_matrix(experiment))

    partners = partners_of(cells, whole, prompts.checks)
    tried = {_place(cell) for cell in cells}
    others = {
        place: other
        for found in partners.values()
        for other in found.values()
        if not isinstance(other, Obstacle) and (place := _place(other)) not in tried
    }
    added = list(others.values())
    prompts.add({cell.test for cell in added} - prompts.checks.keys())
    every = partners | partners_of(added, whole, prompts.checks)
    return ReferenceCells(
        cells=[*added, *(cell for cell in cells if cell not in partners), *partners],
        added=added,
        compared={_place(cell): found for cell, found in every.items()},
    )


async def try_cells(
    experiment: Experiment,
    settings: Settings,
    cells: Sequence[Cell],
    seed: int | None,
    tell: Listener,
) -> AsyncGenerator[Tried]:
    """Send one trial of each cell and yield it; cells of one launch share a server.

    What a check `same_as` compares with is sent first, and yielded as well.

    No store is opened and none appears. Servers write their logs to a temporary folder, which is
    kept only where something could not be measured.

    Args:
        cells: The cells, one launch after the other.
        seed: The seed to ask for; None for that of each test's trial 0.
        tell: Is told of servers that start and are ready, and of tests that do not apply.

    Raises:
        SpecError: A server lacks an option or a chat template that the file names.
        CheckError: A check cannot be loaded.
        ModelError: A model cannot be had.
        ServerError: A server cannot be started or used.
        NothingSelectedError: None of the tests applies: their tools would not reach the prompt.
    """
    prompts = Prompts(dict.fromkeys(cell.test for cell in cells))
    references = with_references(experiment, cells, prompts)
    trying = _Trying(
        experiment=experiment,
        prompts=prompts,
        compared=references.compared,
        seed=seed,
        tell=tell,
    )
    groups = [list(found) for _, found in groupby(references.cells, key=_server)]
    check_options(experiment, [found[0].launch for found in groups], Servers(settings))
    dropped: list[Cell] = []
    with _folder_for_logs() as folder:
        servers = Servers(replace(settings, store=folder.path / "none"))
        for index, found in enumerate(groups, 1):
            launch, began = found[0].launch, monotonic()
            starting = LaunchStarting(
                name=launch.name, index=index, count=len(groups), trials=len(found)
            )
            tell(starting)
            async with serving(servers, launch, experiment, tell) as session:
                asked, toolless = split_off_tools(found, session.info.effective)
                dropped += toolless
                seconds = monotonic() - began
                tell_ready(launch, session, tell, trials=len(asked), seconds=seconds)
                if any(cell in references.added for cell in asked):
                    message = "asked as well: same_as compares with its reply"
                    tell(LaunchNoticed(name=launch.name, message=message, hint=""))
                run = trying.batch_run(launch, session)
                for cell in asked:
                    tried = await trying.one(cell, run, session)
                    folder.keep |= not tried.measured
                    yield tried
    _tell_dropped(dropped, tell, alone=not trying.heard)


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


@dataclass(slots=True, kw_only=True, eq=False)
class _Trying:
    """The sink of a `try`: it keeps trials in memory, where those that are compared find them.

    Args:
        seed: The seed to ask for; None for that of each test's trial 0.
        heard: Place → the trial of the cell there.
        newest: The one that was put last.
    """

    experiment: Experiment
    prompts: Prompts
    compared: dict[Place, dict[str, Cell | Obstacle]]
    seed: int | None
    tell: Listener
    heard: dict[Place, Trial] = field(default_factory=dict)
    newest: Trial | None = None

    async def put(self, trial: Trial, body: JsonObject | None = None) -> None:
        """Take a trial."""
        del body  # is the cell's, by which it is shown
        self.newest = trial

    def batch_run(self, launch: Launch, session: Session) -> BatchRun:
        """Return what sends the trials of a launch, as a run does.

        A server that dies is not started again: its log says why.
        """
        batch = Batch(
            name=launch.name,
            launch=0,
            build=session.info.build.id,
            generation=0,
            first_seed=lambda cell: self._asked(cell.test) - self._index(cell.test),
            timeout_s=self.experiment.file.timeouts.request_s,
            context=launch.spec.context_given,
            extra={"verbose": True} if _is_llama_cpp(launch, session) else {},
        )
        return BatchRun(session, batch, self.prompts, self, self._notice, restarts=False)

    def _notice(self, event: Event) -> None:
        if isinstance(event, LaunchNoticed):
            self.tell(event)

    async def one(self, cell: Cell, run: BatchRun, session: Session) -> Tried:
        """Send a trial of a cell, and return what came of it."""
        refusal = await run.one(Task(cell, self._index(cell.test), 0))
        if refusal is not None:
            raise ServerError(refusal.reason, where=cell.launch.name)
        trial, (body, _) = self.newest, self.prompts.body(cell)
        assert trial is not None  # noqa: S101  what was sent is put
        self.heard[_place(cell)] = trial
        answer = trial.reply or trial.refusal
        assert answer is not None  # noqa: S101  and has one of them
        checks = self.prompts.checks_of(cell)
        tried = Tried(test=cell.test, answer=answer, judgement=trial.judgement)
        if checks.compares:
            tried = judged(cell.test, answer, checks, self._reference(cell))
        return replace(
            tried,
            cell=cell,
            body=body,
            seed=trial.key.seed,
            build=trial.key.build,
            prompt=await _prompt(session, body, answer),
            log=None if tried.measured else session.info.log,
            log_tail="" if tried.measured else _log_tail(session),
        )

    def _reference(self, cell: Cell) -> Reference:
        """Return what looks up the replies that a cell's own is compared with."""

        def reference(key: str) -> ChatReply:
            other = self.compared[_place(cell)][key]
            if isinstance(other, Obstacle):
                raise UnjudgeableError(Kind.NO_REFERENCE, other.reason)
            trial = self.heard.get(_place(other))
            if trial is None or trial.reply is None:
                reason = f"{other.launch.name} gave no reply to compare with"
                raise UnjudgeableError(Kind.NO_REFERENCE, reason)
            return taken_apart(trial.reply, other.launch.reasoning_marks)

        return reference

    def _asked(self, test: TestCase) -> int:
        """Return the seed to ask a test with."""
        first = own_first_seed(self.experiment.file.seed, test)
        return first if self.seed is None else self.seed

    def _index(self, test: TestCase) -> int:
        """Return which trial of a test that is; where it is none, 0.

        Seeds from the file's on are those of trials of versions before.
        """
        asked, base = self._asked(test), self.experiment.file.seed
        indices = (asked - own_first_seed(base, test), asked - base)
        return next((index for index in indices if 0 <= index < SPAN), 0)


def _is_llama_cpp(launch: Launch, session: Session) -> bool:
    """Return whether a server knows `verbose`; others may refuse a field that they do not know."""
    return launch.spec.is_llama_cpp or "build_info" in session.info.effective


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
    return "" if session.info.log is None else log_tail(session.info.log)
