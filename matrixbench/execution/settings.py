"""Where a run keeps things, what it is asked to do, and what came out of it."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

from matrixbench.errors import ExitCode, UsageError
from matrixbench.execution.events import LaunchFailed, TrialDone, TrialsSpared, TrialsStored
from matrixbench.records import Kind, Outcome
from matrixbench.spec.trust import TRUSTED

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matrixbench.errors import MatrixbenchError
    from matrixbench.execution.events import Event, Listener
    from matrixbench.records import Judgement
    from matrixbench.spec.load import Experiment
    from matrixbench.spec.trust import Trust

STORE_VARIABLE = "MATRIXBENCH_STORE"
CACHE_VARIABLE = "MATRIXBENCH_CACHE"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a run needs to know of its surroundings.

    Args:
        store: The store's file.
        cache: The folder for models from packages and for files' digests, shared by all runs.
        environ: The environment variables.
        here: The folder of the experiment file.
        trust: What of the file may run. Whoever calls from Python decides that by calling.
    """

    store: Path
    cache: Path
    environ: Mapping[str, str] = field(repr=False)
    here: Path | None = None
    trust: Trust = field(default=TRUSTED, repr=False)


def settings_for(
    experiment: Experiment,
    environ: Mapping[str, str] | None = None,
    *,
    store: str | Path | None = None,
) -> Settings:
    """Return the settings for an experiment, as `settings_in` its file's folder.

    Without `environ` its own environment counts, in which it was loaded.
    """
    environ = experiment.environ if environ is None else environ
    return settings_in(experiment.path.parent, environ, store=store)


def settings_in(
    folder: Path, environ: Mapping[str, str], *, store: str | Path | None = None
) -> Settings:
    """Return the settings for experiments in a folder.

    The store is the one named, else `$MATRIXBENCH_STORE`, else `.matrixbench/results.db` in
    the folder; the cache `$MATRIXBENCH_CACHE`, else the user's cache folder.
    """
    from platformdirs import user_cache_path

    named = environ.get(STORE_VARIABLE)
    beside = folder / ".matrixbench" / "results.db"
    cache = environ.get(CACHE_VARIABLE)
    return Settings(
        store=Path(store or (Path(named).expanduser() if named else beside)).absolute(),
        cache=Path(cache).expanduser() if cache else user_cache_path("matrixbench"),
        environ=environ,
        here=folder,
    )


class Mode(StrEnum):
    """What a run does with trials that are already there."""

    NEW = "new"
    RESUME = "resume"
    FRESH = "fresh"


def mode_of(name: Mode | str) -> Mode:
    """Return the mode of a name.

    Raises:
        UsageError: There is none.
    """
    try:
        return Mode(name)
    except ValueError:
        raise UsageError(f"there is no mode «{name}»", hint=f"modes: {', '.join(Mode)}") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRequest:
    """What of an experiment is to be planned or run.

    Args:
        where: Selector expressions; all must hold.
        trials: Trials per cell, over the file's.
        any_build: Whether trials of any build count as done, not only those of the present one.
    """

    experiment: Experiment
    settings: Settings
    where: str | Sequence[str] = ()
    trials: int | None = None
    any_build: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """Why trials were rejected: those of one kind whose reasons differ in numbers alone.

    Args:
        reason: One of the reasons.
    """

    kind: str
    reason: str
    trials: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSummary:
    """What a run measured.

    Args:
        experiment: The experiment's name.
        store: The store's file.
        ran: Trials that this run stored.
        outcomes: Outcome → how many of them.
        remaining: Trials that still have to run.
        failed_launches: Launch → why it was given up.
        errors: Kind of what could not be measured → how many, and the newest reason.
        rejections: Why trials were rejected, the most frequent first.
        stopped: Cells that had enough trials before they had all.
        spared: Trials that were not sent for that.
        decided: What the gate that ends the run said in the end; empty where there is none, or it
            is undecided.
        undecided: Why it ended though such a gate is undecided, and what to do.
        interrupted: Whether the user stopped it.
        seconds: How long it took.
    """

    experiment: str
    store: Path | None
    ran: int
    outcomes: Mapping[Outcome, int]
    remaining: int
    failed_launches: Mapping[str, str] = field(default_factory=dict)
    errors: Mapping[str, tuple[int, str]] = field(default_factory=dict)
    rejections: tuple[Rejection, ...] = ()
    stopped: int = 0
    spared: int = 0
    decided: str = ""
    undecided: str = ""
    interrupted: bool = False
    seconds: float = 0.0

    @property
    def most(self) -> int:
        """How many trials it would have been without stopping early."""
        return self.ran + self.spared + self.remaining

    def settled(self, judgements: Sequence[Judgement]) -> RunSummary:
        """Return the summary once trials that waited for another cell's replies are judged.

        Args:
            judgements: What was made of each; they were `errored` until then.
        """
        outcomes = Counter(self.outcomes)
        outcomes[Outcome.ERRORED] -= len(judgements)
        outcomes.update(judgement.outcome for judgement in judgements)
        errors = {kind: said for kind, said in self.errors.items() if kind != Kind.NO_REFERENCE}
        for judgement in judgements:
            if judgement.outcome is Outcome.ERRORED and judgement.kind is Kind.NO_REFERENCE:
                count, _ = errors.get(Kind.NO_REFERENCE, (0, ""))
                errors[Kind.NO_REFERENCE] = (count + 1, judgement.reason)
        return replace(self, outcomes=dict(+outcomes), errors=errors)

    @property
    def exit_code(self) -> ExitCode:
        """What the process should tell the shell."""
        if self.interrupted:
            return ExitCode.INTERRUPTED
        errored = self.outcomes.get(Outcome.ERRORED, 0)
        if self.failed_launches and self.ran == errored:
            return ExitCode.NO_SERVER
        return ExitCode.PARTIAL if self.failed_launches or errored else ExitCode.DONE


_NUMBERS = re.compile(r"\d+")
"""Reasons that differ in the number of tokens alone are one."""


@dataclass(slots=True, kw_only=True, eq=False)
class Counts:
    """What a run has come to so far; a listener that hands on what it is told.

    Args:
        tell: Is told of every event as well.
        outcomes: Outcome → trials.
        errors: Kind of what could not be measured → how many, and the newest reason.
        failed: Launch → why it was given up.
        failure: The first error for which one was.
        stored: Trials on the disk.
        stopped: Cells that have enough trials.
        spared: Trials that need not be sent for that.
        needless: Trials that others have done meanwhile, or that a server cannot be asked.
    """

    tell: Listener
    outcomes: Counter[Outcome] = field(default_factory=Counter)
    errors: dict[str, tuple[int, str]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    failure: MatrixbenchError | None = None
    stored: int = 0
    stopped: int = 0
    spared: int = 0
    needless: int = 0
    _rejected: Counter[tuple[str, str]] = field(default_factory=Counter)
    _reasons: dict[tuple[str, str], str] = field(default_factory=dict)
    _began: float = field(default_factory=monotonic)

    def __call__(self, event: Event) -> None:
        """Count an event, and hand it on."""
        match event:
            case TrialDone():
                self._count(event)
            case TrialsSpared():
                self.stopped += event.cells
                self.spared += event.trials
            case LaunchFailed():
                self.failed[event.name] = event.message.partition("\n")[0]
            case _:
                pass
        self.tell(event)

    def _count(self, trial: TrialDone) -> None:
        self.outcomes[trial.outcome] += 1
        if trial.outcome not in {Outcome.ERRORED, Outcome.REJECTED}:
            return
        kind = str(trial.kind or "unknown")
        if trial.outcome is Outcome.ERRORED:
            count, _ = self.errors.get(kind, (0, ""))
            self.errors[kind] = (count + 1, trial.reason)
        else:
            alike = kind, _NUMBERS.sub("#", trial.reason)
            self._rejected[alike] += 1
            self._reasons.setdefault(alike, trial.reason)

    def note_stored(self, trials: int) -> None:
        """Count trials that are on the disk by now, and tell so."""
        self.stored += trials
        self.tell(TrialsStored(stored=self.stored))

    @property
    def ran(self) -> int:
        """How many trials have their outcome."""
        return self.outcomes.total()

    def left_of(self, trials: int) -> int:
        """Return how many of so many trials still have to run."""
        return max(0, trials - self.ran - self.needless - self.spared)

    def summary(self, request: RunRequest, trials: int, *, interrupted: bool) -> RunSummary:
        """Return what a run has come to that had so many trials to run."""
        return RunSummary(
            experiment=request.experiment.file.name,
            store=request.settings.store,
            ran=self.ran,
            outcomes=dict(self.outcomes),
            remaining=self.left_of(trials),
            failed_launches=self.failed,
            errors=self.errors,
            rejections=tuple(
                Rejection(kind=key[0], reason=self._reasons[key], trials=count)
                for key, count in self._rejected.most_common()
            ),
            stopped=self.stopped,
            spared=self.spared,
            interrupted=interrupted,
            seconds=monotonic() - self._began,
        )
