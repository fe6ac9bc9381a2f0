"""Refusals that nobody understands: for which trials they count, and when for a whole cell."""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from matrixbench.backends.faults import alike
from matrixbench.records import Attempt, Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator

    from matrixbench.records import ChatReply, Refusal


class Doubts:
    """Which cells were refused in words that nobody understands, and by nothing else.

    A 400 may be the request's fault, and then every seed gets it; or the model's, whose words the
    server could not read. So it stands for its cell once a second seed got the same, nothing else
    was ever said to one, and no other trial of the cell is under way.

    Args:
        answered: Cells that had an answer before.
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
