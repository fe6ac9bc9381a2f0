"""What a run tells while it goes on; terminals, logs and notebooks make of it what they like."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from matrixbench.models.workers import FetchProgress
    from matrixbench.records import Kind, Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStarted:
    """A run begins: how many trials will be sent, in how many launches.

    Where trials are `adaptive` it is so many at most.
    """

    experiment: str
    trials: int
    done: int
    launches: int
    adaptive: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundsStarted:
    """The launches are visited for the trials of each cell up to the `rounds`-th of `most`."""

    rounds: int
    most: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GateDecided:
    """The gate that ends a run is decided after so many rounds: `trials` need not be sent."""

    verdict: str
    rounds: int
    most: int
    trials: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetching:
    """A model is on its way; sizes in bytes."""

    what: str
    done_bytes: int
    total_bytes: int | None

    @classmethod
    def seen(cls, progress: FetchProgress) -> Fetching:
        """Return the event for how far a fetch has got."""
        return cls(
            what=progress.what, done_bytes=progress.done_bytes, total_bytes=progress.total_bytes
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchStarting:
    """A launch begins: the `index`-th (from 1) of `count`."""

    name: str
    index: int
    count: int
    trials: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchReady:
    """Its server answers; `trials` is what remains under the build that really runs."""

    name: str
    trials: int
    build: str
    concurrency: int
    log: Path | None
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchNoticed:
    """Its server does something that its results should be read with; `hint`: what to do."""

    name: str
    message: str
    hint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmingUp:
    """Its server computes so many prompts before the trials; these requests are no trials."""

    name: str
    prompts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerRestarted:
    """A server died under way and was started again."""

    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialDone:
    """A trial has its outcome. It is not yet promised to be on disk: see TrialsStored."""

    launch: str
    outcome: Outcome
    kind: Kind | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialsSpared:
    """So many cells have enough trials, and so many that were to come need not be sent.

    Negative where a trial that was in flight by then left its cell with too little after all.
    """

    launch: str
    cells: int
    trials: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialsStored:
    """So many trials of this run are on disk by now."""

    stored: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchSkipped:
    """Others have done meanwhile what a launch was to do: so many trials."""

    name: str
    trials: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchFinished:
    """All trials of a launch have their outcome, and its server is gone."""

    name: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchFailed:
    """A launch was given up: why, and what to do."""

    name: str
    message: str
    hint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejudged:
    """Stored replies were judged by checks that have changed: how many verdicts are different."""

    replies: int
    changed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """Replies were compared with those of other cells: how many, and how many have none yet."""

    replies: int
    waiting: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Unverified:
    """Trials count as done that may be another build's.

    Args:
        name: The launch.
        trials: How many.
        note: Why that is not known.
        guessed: Whether they are those of the build that ran last, since the present one cannot be
            told; else the user asked for those of any build.
    """

    name: str
    trials: int
    note: str
    guessed: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Interrupted:
    """The user asked to stop; what is in flight is being finished or dropped."""


Event: TypeAlias = (
    RunStarted
    | RoundsStarted
    | GateDecided
    | Fetching
    | LaunchStarting
    | LaunchReady
    | LaunchNoticed
    | WarmingUp
    | ServerRestarted
    | TrialDone
    | TrialsSpared
    | TrialsStored
    | LaunchSkipped
    | LaunchFinished
    | LaunchFailed
    | Rejudged
    | Compared
    | Unverified
    | Interrupted
)

Listener: TypeAlias = "Callable[[Event], None]"
