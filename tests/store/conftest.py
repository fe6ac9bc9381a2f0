"""What the store's tests share: records with as little in them as can be, and a store."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest

from matrixbench.identity import digest
from matrixbench.records import (
    Build,
    ChatReply,
    Judgement,
    Kind,
    Outcome,
    Refusal,
    Timing,
    Trial,
    TrialKey,
    Verdict,
)
from matrixbench.store.database import Store, open_store
from matrixbench.store.rows import LaunchRecord

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from matrixbench.records import JsonObject

PASSED = Judgement(outcome=Outcome.PASSED, verdicts=(Verdict(check="content", passed=True),))


@dataclass(frozen=True, slots=True)
class Make:
    """Makes records; whatever a test does not name has a plain value."""

    build: Build
    body: JsonObject

    def launch(self, **changes: Any) -> LaunchRecord:
        """Return a launch run's record."""
        record = LaunchRecord(
            experiment="exp",
            digest="d1",
            name="llama · native",
            build=self.build,
            started_at=1_700_000_000.25,
            request_timeout_s=300.0,
        )
        return replace(record, **changes)

    def reply(self, content: str | None = "Paris", **changes: Any) -> ChatReply:
        """Return a reply of plain text."""
        message = {"role": "assistant", "content": content}
        timing = Timing(latency_s=0.5)
        return replace(ChatReply(message=message, content=content, timing=timing), **changes)

    def trial(
        self,
        launch: int,
        cell: str = "c1",
        seed: int = 1,
        *,
        generation: int = 0,
        refusal: Refusal | None = None,
        **changes: Any,
    ) -> Trial:
        """Return a trial that passed, or was refused."""
        said = refusal and Judgement(
            outcome=refusal.outcome, kind=refusal.kind, reason=refusal.reason
        )
        trial = Trial(
            key=TrialKey(cell=cell, build=self.build.id, seed=seed, generation=generation),
            trial=seed - 1,
            launch=launch,
            order=0,
            request=digest(self.body),
            started_at=1_700_000_001.5,
            reply=None if refusal else self.reply(),
            refusal=refusal,
            judgement=said or PASSED,
            checks="" if refusal else "k1",
        )
        return replace(trial, **changes)

    def errored(self) -> Refusal:
        """Return a refusal that measured nothing."""
        return Refusal(outcome=Outcome.ERRORED, kind=Kind.SERVER_CRASHED, reason="it died")

    def timeout(self) -> Refusal:
        """Return a refusal for want of time."""
        return Refusal(outcome=Outcome.FAILED, kind=Kind.TIMEOUT, reason="300 s", latency_s=300.0)

    def rejected(self, *, by_request: bool) -> Refusal:
        """Return a refusal by the server."""
        kind = Kind.TEMPLATE_ERROR if by_request else Kind.UNPARSED_OUTPUT
        return Refusal(
            outcome=Outcome.REJECTED, kind=kind, reason="no", by_request=by_request, latency_s=0.1
        )

    def stored(self, store: Store, trials: Sequence[Trial]) -> None:
        """Write trials, and wait until they are on the disk."""
        with store.writer() as writer:
            for trial in trials:
                writer.offer(trial, self.body)


def maker() -> Make:
    """Return the maker of records."""
    build = Build(id="b" * 24, kind="llama-server", server="5" * 64, model="6" * 64, device="CPU")
    return Make(build, {"messages": [{"role": "user", "content": "Capital of France?"}]})


@pytest.fixture(scope="session")
def make() -> Make:
    """Return the maker of records."""
    return maker()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return where the store goes."""
    return tmp_path / ".matrixbench" / "results.db"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    """Return an empty store."""
    with open_store(path, create=True) as opened:
        yield opened


@pytest.fixture
def launch(store: Store, make: Make) -> int:
    """Return the number of a launch run in the store."""
    with store.writer() as writer:
        return writer.start_launch(make.launch())
