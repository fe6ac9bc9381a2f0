"""What is asked of a server once it is up and before its trials, and warming its prompts."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from time import monotonic
from typing import (
    TYPE_CHECKING,
    Any,
    NamedTuple,
    Protocol,
    TypeAlias,
    TypeVar,
    get_args,
    runtime_checkable,
)

from matrixbench.execution.canary import CANARY, canary
from matrixbench.identity import digest, digest_bytes
from matrixbench.plan.cells import NotApplicable
from matrixbench.plan.matrix import LaunchCells, Matrix
from matrixbench.records import ChatRequest, Refusal
from matrixbench.spec.backends import Obstacle
from matrixbench.spec.experiment import SamplingField

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence

    from matrixbench.backends.registry import Session
    from matrixbench.execution.trials import Prompts
    from matrixbench.identity import Json
    from matrixbench.plan.cells import Cell, Launch, PresentBuild
    from matrixbench.plan.planner import CellWork
    from matrixbench.records import JsonObject
    from matrixbench.spec.load import TestCase
    from matrixbench.store.rows import LaunchNote

PROMPTS, PROMPTS_CHANGED, NOT_APPLICABLE = "prompts", "prompts_changed", "not_applicable"
"""The names of the notes that a launch run gets, beside the canary's."""

WARM_UP = "warm_up"
"""The name of the note that a launch run gets of its warm-up."""

_LENGTH = frozenset({"max_tokens", "max_completion_tokens"})
_NOT_THE_PROMPT = frozenset(
    {*get_args(SamplingField), *_LENGTH, "stop", "n", "logprobs", "top_logprobs", "logit_bias"}
)
"""Request fields that no template sees."""

_SEED = 7_001

Found = TypeVar("Found")
Keep: TypeAlias = "Callable[[str, Json, Sequence[Noticed]], Awaitable[None]]"


@runtime_checkable
class Renders(Protocol):
    """A session whose server shows the prompt that a request becomes."""

    async def rendered(self, body: JsonObject) -> str | None:
        """Return the prompt of a request; None where the server does not show it."""


class Noticed(NamedTuple):
    """What the results of a launch should be read with, and what to do about it."""

    message: str
    hint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class InspectionTarget:
    """What a server is looked at for.

    Args:
        dropped: Those that it will not, since their tools would not reach the prompt.
    """

    launch: Launch
    tests: Sequence[TestCase]
    dropped: Sequence[TestCase]
    canary: bool
    timeout_s: float


def distinct_tests(cells: Iterable[Cell]) -> list[TestCase]:
    """Return the tests of some cells, each once."""
    return list({cell.test.name: cell.test for cell in cells}.values())


async def look(
    session: Session, target: InspectionTarget, earlier: Sequence[LaunchNote], found: Keep
) -> None:
    """Look at what a server does before its trials begin.

    Args:
        earlier: What earlier runs of the same launch and build noted of prompts, oldest first.
        found: Is given each finding's name, the finding, and what people should know of it.
    """
    if target.dropped:
        reason, _ = tools_obstacle(target.launch)
        names = [test.name for test in target.dropped]
        noticed = of_dropped_tools(target.launch, names)
        await found(NOT_APPLICABLE, dict.fromkeys(names, reason), [noticed])
    if not target.tests or not target.launch.spec.has_model:
        return
    if rendered := await prompts(session, target.tests):
        await found(PROMPTS, rendered, [])
        if changed := changed_prompts(rendered, earlier):
            await found(PROMPTS_CHANGED, dict(changed), of_changed_prompts(changed))
    if target.canary:
        heard = await canary(session, target.timeout_s)
        await found(CANARY, heard, [*filter(None, [of_canary(heard)])])


async def unless_stopped(looking: Coroutine[Any, Any, Found], stop: asyncio.Event) -> Found | None:
    """Return what a coroutine finds, or None where the user asked to stop before it was done."""
    task, watch = asyncio.ensure_future(looking), asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait({task, watch}, return_when=asyncio.FIRST_COMPLETED)
        return task.result() if task.done() else None
    finally:
        task.cancel()
        watch.cancel()
        await asyncio.wait({task, watch})


def of_canary(found: JsonObject) -> Noticed | None:
    """Return what people should know of a canary's findings, if anything."""
    if found.get("seeds_differ") is not False:
        return None
    return Noticed(
        "two seeds gave the same reply at temperature 1: a cell's trials may all be one",
        "does the server honour a request's seed and temperature?",
    )


async def prompts(session: Session, tests: Iterable[TestCase]) -> JsonObject:
    """Return test → the digest of what it asks and of the prompt that it is rendered to.

    Empty where the server does not show prompts. A test is rendered with its messages and tools,
    without what single cells ask for beside them.
    """
    found: JsonObject = {}
    if not isinstance(session, Renders):
        return found
    for test in tests:
        body: JsonObject = {"messages": list(test.messages)}
        if test.tools:
            body["tools"] = list(test.tools)
        prompt = await session.rendered(body)
        if prompt is None:
            break
        found[test.name] = {"asked": digest(body), "rendered": digest_bytes(prompt.encode())}
    return found


def changed_prompts(found: JsonObject, earlier: Iterable[LaunchNote]) -> dict[str, str]:
    """Return test → date of the newest earlier run in which the same was rendered otherwise.

    Args:
        found: What `prompts` returned.
        earlier: Its earlier notes of the same launch and build, oldest first. Those in which a
            test asked something else are no comparison.
    """
    newest: dict[str, tuple[str, float]] = {}
    for note in earlier:
        for test, known in note.value.items():
            if test in found and known["asked"] == found[test]["asked"]:
                newest[test] = (known["rendered"], note.started_at)
    return {
        test: datetime.fromtimestamp(started_at, UTC).date().isoformat()
        for test, (rendered, started_at) in newest.items()
        if rendered != found[test]["rendered"]
    }


def of_changed_prompts(changed: Mapping[str, str]) -> list[Noticed]:
    """Return what people should know of prompts that have changed."""
    return [
        Noticed(
            f"{test}: the template renders another prompt than on {date}; does it write "
            "today's date?"
        )
        for test, date in changed.items()
    ]


def drops_tools(effective: JsonObject) -> bool:
    """Return whether a server says that its chat template leaves tools out of the prompt.

    llama.cpp finds it out by rendering; such a template's prompt is the same with and without.
    """
    caps = effective.get("chat_template_caps")
    return isinstance(caps, dict) and caps.get("supports_tools") is False


def split_off_tools(
    cells: Sequence[Cell], effective: JsonObject
) -> tuple[Sequence[Cell], Sequence[Cell]]:
    """Return the cells that a server can be asked, and those whose tools would be dropped."""
    if not drops_tools(effective):
        return cells, ()
    dropped = [cell for cell in cells if cell.test.tools]
    return [cell for cell in cells if not cell.test.tools], dropped


def tools_obstacle(launch: Launch) -> Obstacle:
    """Return why tests with tools do not apply to a launch whose template drops them."""
    return Obstacle(
        f"the chat template {launch.template.name} of model {launch.model} has no place for tools",
        "give the model a chat template that has one, or exclude these cells",
    )


def of_dropped_tools(launch: Launch, tests: Sequence[str]) -> Noticed:
    """Return what people should know of tests that are not asked."""
    obstacle = tools_obstacle(launch)
    return Noticed(f"not applicable: {', '.join(tests)}: {obstacle.reason}", obstacle.hint)


def set_aside(
    matrix: Matrix, builds: Mapping[str, PresentBuild], noted: Iterable[LaunchNote]
) -> Matrix:
    """Return a matrix without the cells of which a run found that their tools would be dropped.

    Args:
        builds: Launch name → the build that is there now.
        noted: What runs found not applicable; it holds for their launch under their build.
    """
    dropping = {(note.launch_digest, note.build) for note in noted}
    kept: list[LaunchCells] = []
    aside: list[NotApplicable] = []
    for group in matrix.launches:
        build = builds[group.launch.name].build
        if build is None or (group.launch.digest, build.id) not in dropping:
            kept.append(group)
            continue
        reason, hint = tools_obstacle(group.launch)
        aside += [
            NotApplicable(coordinates=cell.coordinates(), reason=reason, hint=hint)
            for cell in group.cells
            if cell.test.tools
        ]
        if cells := [cell for cell in group.cells if not cell.test.tools]:
            kept.append(LaunchCells(launch=group.launch, twins=group.twins, cells=cells))
    if not aside:
        return matrix
    return Matrix(
        launches=tuple(kept), not_applicable=(*matrix.not_applicable, *aside), axes=matrix.axes
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """One prompt of a launch, and how many cells share it."""

    body: JsonObject
    test: str
    cells: int


def distinct_prompts(work: Iterable[CellWork], prompts: Prompts) -> list[Prompt]:
    """Return the prompts that the trials of a launch begin with, each once."""
    found: dict[str, Prompt] = {}
    seen: dict[str, str] = {}
    for item in work:
        body, whole = prompts.body(item.cell)
        if whole not in seen:
            kept = {name: value for name, value in body.items() if name not in _NOT_THE_PROMPT}
            seen[whole] = digest(kept)
            found.setdefault(
                seen[whole],
                Prompt(body={**kept, "max_tokens": 1}, test=item.cell.test.name, cells=0),
            )
        known = found[seen[whole]]
        found[seen[whole]] = Prompt(body=known.body, test=known.test, cells=known.cells + 1)
    return list(found.values())


async def warm_up(session: Session, prompts: Sequence[Prompt], timeout_s: float) -> JsonObject:
    """Ask for one token of each prompt; return what it came to.

    An answer that is none is no reason to stop: the trials will say what is wrong.
    """
    began, requests, refused = monotonic(), 0, 0
    for prompt in prompts:
        request = ChatRequest(
            body=prompt.body, seed=_SEED, trial=0, test=prompt.test, timeout_s=timeout_s
        )
        copies = min(session.info.concurrency, prompt.cells)
        answers = await asyncio.gather(*(session.ask(request) for _ in range(copies)))
        requests += copies
        refused += sum(isinstance(answer, Refusal) for answer in answers)
    return {
        "prompts": len(prompts),
        "requests": requests,
        "refused": refused,
        "seconds": round(monotonic() - began, 3),
    }
