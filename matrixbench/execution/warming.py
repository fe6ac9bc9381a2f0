"""Each prompt of a launch is computed before its trials, so that none of them pays for it alone.

Cells that differ in their sampling share a prompt. The first trial of it waits until the server has
computed it, the others find it in the cache. A warm-up asks for one token of each prompt first, and
as often at a time as cells share it, up to what the server is sent: it may keep a cache for each of
its slots. Its answers are no trials; nothing of them is stored but that there was one.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING, get_args

from matrixbench.identity import digest
from matrixbench.records import ChatRequest, Refusal
from matrixbench.spec.experiment import SamplingField

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from matrixbench.backends.protocol import Session
    from matrixbench.execution.batch import Prompts
    from matrixbench.plan.planner import CellWork
    from matrixbench.records import JsonObject

WARM_UP = "warm_up"
"""The name of the note that a launch run gets of its warm-up."""

_LENGTH = frozenset({"max_tokens", "max_completion_tokens"})
_NOT_THE_PROMPT = frozenset(
    {*get_args(SamplingField), *_LENGTH, "stop", "n", "logprobs", "top_logprobs", "logit_bias"}
)
"""Request fields that no template sees."""

_SEED = 7_001


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
